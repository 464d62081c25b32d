"""Bad stores, continued: what is wrong in the extents, which are not read when a store is opened.

BAD holds all of them after this module is loaded.
"""

from bad_stores import BAD, bad, poke_file, set_all
from good_stores import small, two_extents
from weir_format import (
    ALIGNMENT,
    CONSTANT,
    FILE,
    MAX_TILE,
    NO_NUMBER,
    RAW,
    ZSTD,
    Entry,
    Object,
    Segment,
    Tile,
    encode_symbols,
    items_of,
    pad,
    zstd_frame,
)

# Section 2: zeros between extents; section 4: tile heads and payloads


@bad("padding-after-header", "verify", base=small)
def _(store):
    poke_file(64, b"\1")(store)


@bad("padding-before-extent-0", "verify", base=small)
def _(store):
    poke_file(ALIGNMENT - 1, b"\1")(store)


@bad("padding-between-extents", "verify", base=two_extents)
def _(store):
    poke_file(2 * ALIGNMENT - 1, b"\1")(store)


def new_object(store, plain, tile=None, coding=NO_NUMBER):
    """Adds an object, and a file that shows it."""
    store.objects.append(Object(plain, coding, [tile or Tile(RAW, plain, plain)]))
    store.entries.append(Entry(FILE, b"z", segments=[Segment(len(store.objects) - 1)]))


@bad("extent-sha256", "verify", base=small)
def _(store):
    store.bend_hashes = lambda hashes: [bytes(32)]


def tile(number, **fields):
    """Changes the one tile of an object of small()."""
    return lambda store: set_all(store.objects[number].tiles[0], **fields)


bad("padding-after-payload", "verify", base=small)(tile(0, fill=1))
bad("padding-after-last-payload", "verify", base=small)(tile(4, fill=1))


def payload(number, change):
    def apply(store):
        t = store.objects[number].tiles[0]
        t.payload = change(t.payload)

    return apply


def append_to_extent(data):
    return lambda store: setattr(store, "bend_extents", lambda extents: [extents[0] + data])


for _name, _change in {
    "head-zeros-first": tile(0, zeros=b"\1\0\0"),
    "head-zeros-last": tile(4, zeros=b"\0\0\1"),
    "head-checksum": tile(2, checksum=1),
    "head-checksum-raw": tile(0, checksum=1),
    "mode-4": tile(0, mode=4),
    "mode-255": tile(0, mode=255),
    "payload-0-bytes": tile(4, payload=b""),
    "payload-huge": tile(0, payload_bytes=0xFFFFFFF1),
    "extent-leftover": append_to_extent(bytes(16)),
    "extent-leftover-byte": append_to_extent(b"\0"),
    "extent-cut": lambda store: setattr(store, "bend_extents", lambda extents: [extents[0][:-16]]),
    "extent-only-heads": lambda store: setattr(store, "bend_extents", lambda extents: [extents[0][:80]]),
    "extent-cut-in-heads": lambda store: setattr(store, "bend_extents", lambda extents: [extents[0][:79]]),
    "raw-short": payload(0, lambda p: p[:-1]),
    "raw-long": payload(0, lambda p: p + b"\0"),
    "constant-short": payload(4, lambda p: p[:1]),
    "constant-long": payload(4, lambda p: p + p),
    "zstd-checksum": payload(1, lambda p: zstd_frame([b"head", (0, 200), b"er"], checksum=True)[:-1] + b"\0"),
    "zstd-plain-short": payload(1, lambda p: zstd_frame([b"head", (0, 200), b"e"])),
    "zstd-plain-long": payload(1, lambda p: zstd_frame([b"head", (0, 200), b"er", (0, 9)])),
    "zstd-plain-long-unsaid": payload(
        1, lambda p: zstd_frame([b"head", (0, 200), b"er", (0, 9)], content_size=False)
    ),
    "zstd-bomb": payload(1, lambda p: zstd_frame([(0, MAX_TILE)] * 30, content_size=False)),
    "zstd-dictionary": payload(1, lambda p: zstd_frame([b"head", (0, 200), b"er"], dictionary=9)),
    "zstd-two-frames": payload(1, lambda p: zstd_frame([b"head", (0, 200)]) + zstd_frame([b"er"])),
    "zstd-trailing": payload(1, lambda p: p + b"\0"),
    "zstd-cut": payload(1, lambda p: p[:-1]),
    "zstd-not": payload(1, lambda p: b"\0" + p[1:]),
}.items():
    bad(_name, "read", base=small)(_change)


@bad("payload-longer-than-plain", "read", base=small)
def _(store):
    """A zstd frame that gives the right bytes, and is longer than they are."""
    plain = store.objects[0].plain
    store.objects[0].tiles[0] = Tile(ZSTD, plain, zstd_frame([plain]))


@bad("payload-too-short-for-next", "read", base=small)
def _(store):
    """Heads whose sizes do not add up, though every payload decodes from its start."""
    tile(0, payload_bytes=84)(store)


@bad("constant-part-of-an-element", "read", base=small)
def _(store):
    plain = b"\1\2" * 50 + b"\1"
    new_object(store, plain, Tile(CONSTANT, plain, b"\1\2"), coding=1)


@bad("constant-opaque-pair", "read", base=small)
def _(store):
    plain = b"\1\2" * 50
    new_object(store, plain, Tile(CONSTANT, plain, b"\1\2"))


@bad("split-opaque", "read", base=small)
def _(store):
    """Object 2, of which only the coding is gone; its bytes would decode with one."""
    store.objects[2].coding = NO_NUMBER


@bad("split-part-of-an-element", "read", base=small)
def _(store):
    o = store.objects[3]
    o.plain += b"\0"
    o.tiles[0].plain = o.plain


# Section 7: streams.  Object 2 has one, object 3 two; both have patches and end in a partial row.


def stream(number=2, which=0, **fields):
    return lambda store: set_all(store.objects[number].tiles[0].streams[which], **fields)


def change_stream(number=2, which=0):
    """Registers a function that changes a stream."""
    return lambda change: lambda store: change(store.objects[number].tiles[0].streams[which])


def encode_again(number, which, start):
    """The stream's symbols coded once more, with lane 63 ending at `start`."""

    def apply(store):
        o = store.objects[number]
        s, c = o.tiles[0].streams[which], store.codings[o.coding]
        items = items_of(c, s.part, o.plain)
        found = [s.part.index_of(v) for v in items]
        some = next(j for j in found if j is not None)
        indices = [some if j is None else j for j in found] + [some] * (-len(found) % 64)
        s.states, s.words = encode_symbols(s.part, indices, len(indices) // 64, start)

    return apply


def positions(change):
    def apply(s):
        at = change([p for p, _ in s.patches])
        s.patches = [(p, v) for p, (_, v) in zip(at, s.patches)]

    return apply


def raw_of_padding(s):
    """A raw bit of lane 63's item in the last row, which is padding."""
    n_rows = -(-900 // 64)
    number, within = divmod(n_rows * s.part.raw_bits() - 1, s.part.width())
    s.numbers[64 * number + 63] |= 1 << within


def raw_of_fill(s):
    """The top bit of lane 0's last number, which no row reaches."""
    s.numbers[64 * (len(s.numbers) // 64 - 1)] |= 1 << (s.part.width() - 1)


for _name, _change in {
    "stream-zero": stream(zero=1),
    "stream-zero-top": stream(zero=1 << 63),
    "state-end": encode_again(2, 0, 65537),
    "state-end-second-stream": encode_again(3, 1, 65539),
    "words-left-over": change_stream()(lambda s: s.words.append(0)),
    "words-missing": change_stream()(lambda s: s.words.pop()),
    "words-huge": stream(n_words=0xFFFFFFFF),
    "words-wrap": stream(n_words=0x80000000),
    "patches-huge": stream(n_patches=0xFFFFFFFF),
    "patches-more-than-items": stream(n_patches=901),
    "patches-one-less": lambda store: stream(n_patches=len(store.objects[2].tiles[0].streams[0].patches) - 1)(
        store
    ),
    "patches-one-more": lambda store: stream(n_patches=len(store.objects[2].tiles[0].streams[0].patches) + 1)(
        store
    ),
    "positions-equal": change_stream()(lambda s: s.patches.insert(0, s.patches[0])),
    "positions-descend": change_stream()(lambda s: s.patches.reverse()),
    "positions-at-end": change_stream()(lambda s: s.patches.append((900, 0))),
    "positions-huge": change_stream()(lambda s: s.patches.append((0xFFFFFFFF, 0))),
    "raw-bits-of-padding": change_stream()(raw_of_padding),
    "raw-bits-fill": change_stream()(raw_of_fill),
    "stream-padding": stream(3, 0, fill=1),
}.items():
    bad(_name, "read", base=small)(_change)


def with_payload(number, change):
    """The streams of a tile as bytes, changed."""

    def apply(store):
        t = store.objects[number].tiles[0]
        t.payload = change(b"".join(s.encode(i == len(t.streams) - 1) for i, s in enumerate(t.streams)))

    return apply


@bad("words-padding", "read", base=small)
def _(store):
    s = store.objects[2].tiles[0].streams[0]
    assert len(s.words) % 2 == 1 and len(store.objects[2].tiles[0].streams) == 1
    s.fill = 1


bad("stream-trailing", "read", base=small)(with_payload(2, lambda p: p + b"\0"))
bad("stream-trailing-padding", "read", base=small)(with_payload(2, lambda p: p + bytes(-len(p) % 16 or 16)))
bad("stream-cut", "read", base=small)(with_payload(2, lambda p: p[:-1]))
bad("stream-cut-in-states", "read", base=small)(with_payload(2, lambda p: p[:271]))
bad("stream-cut-in-head", "read", base=small)(with_payload(2, lambda p: p[:15]))
bad("stream-second-missing", "read", base=small)(with_payload(3, lambda p: p[: len(p) // 2 // 16 * 16]))
bad("stream-in-excess", "read", base=small)(with_payload(3, lambda p: pad(p, 16) + p[:272]))


@bad("file-sha256", "verify", base=small)
def _(store):
    store.entries[4].sha256 = bytes(32)


@bad("file-sha256-of-empty", "verify", base=small)
def _(store):
    store.entries[3].sha256 = bytes(32)
