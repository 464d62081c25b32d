"""Writes .weir stores, from docs/format.md alone: what make_golden.py builds its stores with.

A store is plain records that a caller may bend before store_bytes() turns them into bytes.  Whatever
is left None is worked out (sizes, checksums, hashes), so a record that breaks one rule breaks
nothing else.  zstd frames are made by hand of raw and repeat blocks, so that the bytes do not depend
on a version of the library.
"""

import ctypes
import hashlib
import struct
from dataclasses import dataclass, field

LANES = 64
MAX_TILE = 131072
EXTENT_TILES = 32
HEADER_BYTES = 64
ALIGNMENT = 4096
NO_NUMBER = 0xFFFFFFFF
REFERENCE = 0xFFFFFFFE  # for the number of a coding
SCALE, DIFFERENCE, XOR = 1, 2, 3  # kinds of transforms
RAW, CONSTANT, ZSTD, SPLIT, MADE = range(5)
FILE, DIRECTORY, LINK = range(3)

_xxhash = ctypes.CDLL("libxxhash.so.0")
for _name in ("XXH3_64bits", "XXH64"):
    getattr(_xxhash, _name).restype = ctypes.c_uint64


def xxh3(data):
    return _xxhash.XXH3_64bits(ctypes.c_char_p(data), ctypes.c_size_t(len(data)))


def sha256(data):
    return hashlib.sha256(data).digest()


def pad(data, multiple):
    return bytes(data) + bytes(-len(data) % multiple)


def chunks(data, n):
    return [data[at : at + n] for at in range(0, len(data), n)]


# zstd frames (RFC 8878)


def zstd_frame(blocks, *, content_size=True, checksum=False, dictionary=0):
    """A frame of blocks: bytes are stored as they are, (byte, count) is that byte repeated."""
    plain = b"".join(b if isinstance(b, bytes) else bytes([b[0]]) * b[1] for b in blocks)
    descriptor = (0xA0 if content_size else 0x00) | (0x04 if checksum else 0)
    frame = struct.pack("<IB", 0xFD2FB528, descriptor | (1 if dictionary else 0))
    if not content_size:
        frame += bytes([7 << 3])  # a window of 128 KiB
    if dictionary:
        frame += bytes([dictionary])
    if content_size:
        frame += struct.pack("<I", len(plain))
    for i, block in enumerate(blocks):
        last = i == len(blocks) - 1
        repeat = not isinstance(block, bytes)
        size = block[1] if repeat else len(block)
        frame += struct.pack("<I", last | repeat << 1 | size << 3)[:3]
        frame += bytes([block[0]]) if repeat else block
    if checksum:
        xxh64 = _xxhash.XXH64(ctypes.c_char_p(plain), ctypes.c_size_t(len(plain)), ctypes.c_uint64(0))
        frame += struct.pack("<I", xxh64 & 0xFFFFFFFF)
    return frame


# codings and streams


@dataclass
class Part:
    offset: int
    count: int
    item_bytes: int
    symbol_bits: int
    sign_first: bool = False
    drop: int = 0
    base: int = 0
    first: int = 0
    freq: list = field(default_factory=list)
    last: int = None
    flags: int = None

    def width(self):
        return 8 * self.item_bytes

    def raw_bits(self):
        return self.width() - self.drop - self.symbol_bits

    def split(self, v):
        """Symbol, raw bits and dropped bits of an item."""
        w = self.width()
        if self.sign_first:
            code = ((v % (1 << (w - 1))) >> self.drop) * 2 + (v >> (w - 1))
        else:
            code = v >> self.drop
        return code >> self.raw_bits(), code % (1 << self.raw_bits()), v % (1 << self.drop)

    def index_of(self, v):
        """The table index of an item, or None if it is a patch."""
        symbol, _, dropped = self.split(v)
        index = 0 if symbol == 0 else symbol - self.base
        if dropped or (symbol and not 1 <= index <= 255):
            return None
        listed = self.first <= index < self.first + len(self.freq)
        return index if listed and self.freq[index - self.first] else None

    def table(self):
        """frequency and sum below, by table index"""
        below, out = 0, {}
        for j, f in enumerate(self.freq):
            out[self.first + j] = (f, below)
            below += f
        return out

    def encode(self):
        last = self.first + len(self.freq) - 1 if self.last is None else self.last
        flags = self.sign_first if self.flags is None else self.flags
        out = struct.pack(
            "<HHBBBB", self.offset, self.count, self.item_bytes, flags, self.drop, self.symbol_bits
        )
        out += struct.pack("<HBB", self.base, self.first, last)
        return out + struct.pack(f"<{len(self.freq)}H", *self.freq)


@dataclass
class Transform:
    number: int
    made: int
    item_bytes: int
    row_elements: int
    block_rows: int
    block_columns: int
    near: int = 0

    def encode(self):
        out = struct.pack("<4B", self.number, self.made, self.near, self.item_bytes)
        return out + struct.pack("<3I", self.row_elements, self.block_rows, self.block_columns)


@dataclass
class Coding:
    element_bytes: int
    parts: list
    kind: int = None
    n_parts: int = None
    transform: Transform = None

    def encode(self):
        n = len(self.parts) if self.n_parts is None else self.n_parts
        kind = (SCALE if self.transform else 0) if self.kind is None else self.kind
        out = struct.pack("<HBB", self.element_bytes, n, kind)
        out += b"".join(p.encode() for p in self.parts)
        return out + (self.transform.encode() if self.transform else b"")


@dataclass
class Stream:
    part: Part
    states: list
    numbers: list  # q x 64: number j of lane l is numbers[64 j + l]
    words: list
    patches: list  # (position, item)
    n_words: int = None
    n_patches: int = None
    zero: int = 0
    fill: int = 0  # of the padding bytes

    def encode(self, is_last):
        n_words = len(self.words) if self.n_words is None else self.n_words
        n_patches = len(self.patches) if self.n_patches is None else self.n_patches
        out = struct.pack("<IIQ", n_words, n_patches, self.zero) + struct.pack("<64I", *self.states)
        out += b"".join(v.to_bytes(self.part.item_bytes, "little") for v in self.numbers)
        out += struct.pack(f"<{len(self.words)}H", *self.words)
        out += bytes([self.fill] * (-len(out) % 4))
        out += b"".join(struct.pack("<I", at) for at, _ in self.patches)
        out += b"".join(v.to_bytes(self.part.item_bytes, "little") for _, v in self.patches)
        return out if is_last else out + bytes([self.fill] * (-len(out) % 16))


def items_of(coding, part, plain):
    out = []
    for element in chunks(plain, coding.element_bytes):
        for k in range(part.count):
            at = part.offset + k * part.item_bytes
            out.append(int.from_bytes(element[at : at + part.item_bytes], "little"))
    return out


def encode_raw_bits(part, raws, n_rows):
    r, w = part.raw_bits(), part.width()
    q = -(-n_rows * r // w)
    lanes = [sum(raws[64 * row + lane] << (r * row) for row in range(n_rows)) for lane in range(LANES)]
    return [lanes[lane] >> (w * j) & ((1 << w) - 1) for j in range(q) for lane in range(LANES)]


def encode_symbols(part, indices, n_rows, end=65536):
    """rANS: the states that decoding starts from, and the words in the order it reads them.

    `end` is where lane 63's state ends."""
    states, words, table = [65536] * (LANES - 1) + [end], [], part.table()
    for i in reversed(range(LANES * n_rows)):
        x = states[i % LANES]
        f, below = table[indices[i]]
        if x >= f << 20:
            words.append(x % 65536)
            x >>= 16
        states[i % LANES] = x // f * 4096 + x % f + below
    return states, words[::-1]


def encode_stream(coding, part, plain, rng=None):
    """Patches and padding may have any index that occurs: the commonest, or one that rng chooses."""
    items = items_of(coding, part, plain)
    n_rows = -(-len(items) // LANES)
    n_padding = LANES * n_rows - len(items)
    table = part.table()
    occurring = [j for j in table if table[j][0]]
    cheap = max(occurring, key=lambda j: table[j][0])

    def free():
        return rng.choice(occurring) if rng else cheap

    found = [part.index_of(v) for v in items]
    patches = [(i, v) for i, v in enumerate(items) if found[i] is None]
    unused = rng.getrandbits(part.raw_bits()) if rng else 0
    raws = [unused if found[i] is None else part.split(v)[1] for i, v in enumerate(items)] + [0] * n_padding
    indices = [free() if j is None else j for j in found] + [free() for _ in range(n_padding)]
    states, words = encode_symbols(part, indices, n_rows)
    return Stream(part, states, encode_raw_bits(part, raws, n_rows), words, patches)


def fit(part, coding, plain, leave_out=()):
    """Gives `part` the frequencies that suit the plain bytes; indices in leave_out get none."""
    count = {}
    part.first, part.freq = 0, [1] * 256
    for v in items_of(coding, part, plain):
        j = part.index_of(v)
        if j is not None and j not in leave_out:
            count[j] = count.get(j, 0) + 1
    if len(count) == 1:  # one index alone would have 4096; its neighbour takes 1
        j = next(iter(count))
        count[j - 1 if j else 1] = 0
    total = sum(count.values())
    part.first, last = min(count), max(count)
    part.freq = [0] * (last - part.first + 1)
    for j, n in count.items():
        part.freq[j - part.first] = max(1, min(4095, n * 4096 // total))
    commonest = max(range(len(part.freq)), key=lambda j: part.freq[j])
    part.freq[commonest] += 4096 - sum(part.freq)


# tiles, objects, entries, stores


@dataclass
class Tile:
    mode: int
    plain: bytes
    payload: bytes = None  # else the streams
    streams: list = None
    checksum: int = None
    payload_bytes: int = None
    zeros: bytes = bytes(3)
    fill: int = 0  # of the padding after the payload

    def encode(self):
        payload = self.payload
        if payload is None:
            payload = b"".join(s.encode(i == len(self.streams) - 1) for i, s in enumerate(self.streams))
        n = len(payload) if self.payload_bytes is None else self.payload_bytes
        checksum = xxh3(self.plain) if self.checksum is None else self.checksum
        head = struct.pack("<QIB", checksum, n, self.mode) + self.zeros
        return head, payload + bytes([self.fill] * (-len(payload) % 16))


@dataclass
class Object:
    plain: bytes
    coding: int  # its number, NO_NUMBER or REFERENCE
    tiles: list
    plain_bytes: int = None
    nearness: tuple = None  # of a near-lossless one: sums of w^2 and e^2, largest e, step
    below: tuple = None  # of one that needs the base: object of the base, offset in it


@dataclass
class Segment:
    object: int = NO_NUMBER
    n_bytes: int = None
    kind: int = 0
    name: bytes = b""
    dtype: bytes = b""
    dims: tuple = ()
    n_dims: int = None

    def encode(self, objects):
        n = self.n_bytes
        if n is None:
            n = 0 if self.object == NO_NUMBER else len(objects[self.object].plain)
        out = struct.pack("<QIB", n, self.object, self.kind)
        if self.kind == 0:
            return out
        out += struct.pack("<H", len(self.name)) + self.name + bytes([len(self.dtype)]) + self.dtype
        out += bytes([len(self.dims) if self.n_dims is None else self.n_dims])
        return out + struct.pack(f"<{len(self.dims)}Q", *self.dims)


@dataclass
class Entry:
    kind: int
    path: bytes
    mode: int = None
    segments: list = None
    target: bytes = None
    zero: int = 0
    size: int = None
    sha256: bytes = None

    def plain(self, objects):
        return b"".join(objects[s.object].plain for s in self.segments if s.object < len(objects))

    def shown_mode(self):
        usual = {FILE: 0o644, DIRECTORY: 0o755, LINK: 0o777}
        return usual.get(self.kind, 0) if self.mode is None else self.mode

    def encode(self, objects):
        out = struct.pack("<BBHH", self.kind, self.zero, self.shown_mode(), len(self.path)) + self.path
        if self.kind == FILE:
            plain = self.plain(objects)
            size = len(plain) if self.size is None else self.size
            out += (
                struct.pack("<Q", size)
                + (self.sha256 or sha256(plain))
                + struct.pack("<I", len(self.segments))
            )
            out += b"".join(s.encode(objects) for s in self.segments)
        elif self.kind == LINK:
            out += struct.pack("<H", len(self.target)) + self.target
        return out


@dataclass
class Store:
    codings: list = field(default_factory=list)
    objects: list = field(default_factory=list)
    entries: list = field(default_factory=list)
    base: bytes = None  # the digest of the base
    base_name: str = None  # the golden store that a reader is given as the base
    # Each may change what it is given; all that hangs on it is worked out after.
    bend_extents: object = None  # (list of bytes) -> the same
    bend_hashes: object = None  # (list of SHA-256) -> the same
    bend_index: object = None  # (plain index) -> the same
    frame: object = None  # (plain index) -> stored index
    bend_trailer: object = None  # (bytearray of 64), in place
    present: object = None  # a part: the set of extents that are there; the others become zeros
    bend_appendix: object = None  # (bytearray), in place
    bend_file: object = None  # (bytearray), in place


def extents_of(store):
    tiles = [t.encode() for o in store.objects for t in o.tiles]
    groups = chunks(tiles, EXTENT_TILES)
    extents = [b"".join(h for h, _ in g) + b"".join(p for _, p in g) for g in groups]
    return store.bend_extents(extents) if store.bend_extents else extents


def index_of(store, extents):
    hashes = [sha256(e) for e in extents]
    if store.bend_hashes:
        hashes = store.bend_hashes(hashes)
    out = store.base or b""
    out += struct.pack("<4I", len(store.codings), len(store.objects), len(extents), len(store.entries))
    out += b"".join(c.encode() for c in store.codings)
    for o in store.objects:
        out += struct.pack("<QI", len(o.plain) if o.plain_bytes is None else o.plain_bytes, o.coding)
        out += struct.pack("<ddff", *o.nearness) if o.nearness else b""
        out += struct.pack("<IQ", *o.below) if o.below else b""
    out += b"".join(struct.pack("<I", len(e)) + h for e, h in zip(extents, hashes))
    out += b"".join(e.encode(store.objects) for e in store.entries)
    return store.bend_index(out) if store.bend_index else out


def features_of(store):
    transforms = [c.transform for c in store.codings if c.transform]
    near, below = any(t.near for t in transforms), any(o.below for o in store.objects)
    return (1 if transforms else 0) | (2 if near else 0) | (4 if below else 0)


def digest_of(stored):
    """The digest of a whole store."""
    return stored[-48:-16]


def appendix_of(store, store_bytes, n_extents, digest):
    """Section 10: which extents are there."""
    bits = sum(1 << e for e in store.present)
    out = bytearray(bits.to_bytes((n_extents + 7) // 8, "little"))
    out += struct.pack("<QII", store_bytes, n_extents, 0) + digest
    out += struct.pack("<HHI", 1, 0, 0) + b"weirpart"
    if store.bend_appendix:
        store.bend_appendix(out)
    return out


def store_bytes(store):
    extents = extents_of(store)
    index = index_of(store, extents)
    stored = store.frame(index) if store.frame else zstd_frame(chunks(index, MAX_TILE))
    out = bytearray(pad(b"\x89weir\r\n\x1a" + struct.pack("<HHI", 1, 0, 0), ALIGNMENT))
    for i, extent in enumerate(extents):
        there = store.present is None or i in store.present
        out = bytearray(pad(out, ALIGNMENT)) + (extent if there else bytes(len(extent)))
    trailer = bytearray(struct.pack("<QII", len(out), len(stored), len(index)) + sha256(stored))
    trailer += struct.pack("<HHI", 1, features_of(store), 0) + b"weirend\n"
    if store.bend_trailer:
        store.bend_trailer(trailer)
    out += stored + trailer
    if store.present is not None:
        out += appendix_of(store, len(out), len(extents), sha256(stored))
    if store.bend_file:
        store.bend_file(out)
    return bytes(out)
