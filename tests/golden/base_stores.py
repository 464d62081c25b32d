"""Stores that need a base (docs/format.md, 3.2 and 5.1), and the base."""

import random
import struct

from good_stores import (
    TENSOR,
    add_coding,
    add_object,
    bf16_plain,
    floats,
    make_tile,
    show,
    show_too_often,
    two_extents,
)
from made_stores import near
from weir_format import (
    CONSTANT,
    DIFFERENCE,
    FILE,
    MADE,
    MAX_TILE,
    RAW,
    REFERENCE,
    SPLIT,
    XOR,
    ZSTD,
    Coding,
    Entry,
    Object,
    Part,
    Segment,
    Store,
    Tile,
    Transform,
    chunks,
    digest_of,
    encode_stream,
    fit,
    store_bytes,
)

DTYPE = {1: b"U8", 2: b"BF16", 4: b"F32", 8: b"F64"}
OF_WIDTH = {1: 0, 2: 1, 4: 2, 8: 3}  # the objects of base() with items of so many bytes
LONG = 4  # its object of two tiles


def base():
    """Objects of items of 1, 2, 4 and 8 bytes, and one of a constant tile and a raw one."""
    store = Store()
    rng = random.Random(31)
    f8 = bytes(rng.choice((0, 0x80)) | rng.randrange(0x40, 0x48) for _ in range(1500))
    f8 = bytes(range(256)) + f8
    number = add_coding(store, Coding(1, [Part(0, 1, 1, symbol_bits=7, sign_first=True)]), f8)
    add_object(store, f8, [SPLIT], number)
    add_object(store, bf16_plain(32, 900), [RAW])
    add_object(store, b"".join(struct.pack("<f", v) for v in floats(33, 500)), [RAW])
    add_object(store, b"".join(struct.pack("<d", v / 3) for v in floats(34, 640)), [RAW])
    add_object(store, b"\x5a" * MAX_TILE + rng.randbytes(700), [CONSTANT, RAW])
    store.entries = [Entry(FILE, b"all", segments=[Segment(k) for k in range(5)])]
    return store


def needs(name, build):
    """A store that needs the golden store `name`, which is what build() gives; and its objects."""
    made = build()
    return Store(base=digest_of(store_bytes(made)), base_name=name), made.objects


def ordered(u, w):
    """m of 5.1: floats by their bits in the order of their values."""
    top = 1 << w - 1
    return u ^ (2 * top - 1) if u & top else u | top


def item_of(kind, below, element, n_bytes):
    """What, with the element below, gives the element."""
    b, e = int.from_bytes(below, "little"), int.from_bytes(element, "little")
    w = 8 * n_bytes
    if kind == XOR:
        return (b ^ e).to_bytes(n_bytes, "little")
    z = (ordered(e, w) - ordered(b, w)) % (1 << w)
    t = 2 * z if z < 1 << w - 1 else 2 * ((1 << w) - z) - 1
    return t.to_bytes(n_bytes, "little")


def items_between(kind, below, plain, n_bytes):
    assert len(below) == len(plain) and len(plain) % n_bytes == 0
    pairs = zip(chunks(below, n_bytes), chunks(plain, n_bytes))
    return b"".join(item_of(kind, b, e, n_bytes) for b, e in pairs)


def difference_tile(kind, parts, below, plain, n_bytes):
    over = Coding(n_bytes, parts)
    items = items_between(kind, below, plain, n_bytes)
    streams = [encode_stream(over, p, items) for p in parts]
    payload = bytes(16) + b"".join(s.encode(i == len(streams) - 1) for i, s in enumerate(streams))
    return Tile(MADE, plain, payload)


def difference_coding(kind, n_bytes, parts):
    return Coding(n_bytes, parts, kind=kind, transform=Transform(0, 0, n_bytes, 0, 0, 0))


def add_difference(store, bases, kind, parts, at, plain, modes=(MADE,), leave_out=()):
    """Adds an object that differs from the bytes below it; at: object of the base, offset in it."""
    n_bytes = sum(p.count * p.item_bytes for p in parts)
    below = bases[at[0]].plain[at[1] : at[1] + len(plain)]
    tile_bytes = n_bytes * (MAX_TILE // n_bytes)
    cut = list(zip(modes, chunks(below, tile_bytes), chunks(plain, tile_bytes)))
    assert len(cut) == len(chunks(plain, tile_bytes))
    made = b"".join(items_between(kind, b, p, n_bytes) for mode, b, p in cut if mode == MADE)
    for part in parts:
        if not part.freq:
            fit(part, Coding(n_bytes, parts), made, leave_out)
    coding = difference_coding(kind, n_bytes, parts)
    store.codings.append(coding)
    tiles = [
        difference_tile(kind, parts, b, p, n_bytes) if mode == MADE else make_tile(p, mode, coding)
        for mode, b, p in cut
    ]
    store.objects.append(Object(plain, len(store.codings) - 1, tiles, below=at))
    return len(store.objects) - 1


def add_reference(store, bases, number, offset=0, n=None):
    plain = bases[number].plain[offset:][:n]
    store.objects.append(Object(plain, REFERENCE, [], below=(number, offset)))
    return len(store.objects) - 1


def show_tensor(store, path, number, n_bytes):
    n = len(store.objects[number].plain) // n_bytes
    tensor = Segment(number, kind=TENSOR, name=b"w", dtype=DTYPE[n_bytes], dims=(n,))
    store.entries.append(Entry(FILE, path, segments=[tensor]))


def references():
    """Whole objects of the base, parts of them from odd offsets, from within its second tile and across; and own bytes."""
    store, bases = needs("base", base)
    add_object(store, b"own bytes\n", [RAW])
    add_reference(store, bases, 1)
    add_reference(store, bases, 1, 3, 501)
    add_reference(store, bases, 3, len(bases[3].plain) - 1)
    add_reference(store, bases, LONG, MAX_TILE + 7, 100)
    add_object(store, bytes(5000), [CONSTANT])
    add_reference(store, bases, LONG, 1, MAX_TILE + 600)
    add_reference(store, bases, LONG)
    show(store, b"a", 0, 1, 2, 0, 3)
    show(store, b"b", 4, 5, 6, 2)
    show(store, b"c", 7)
    return store


def only_references():
    """No tile of its own, so no extent."""
    store, bases = needs("base", base)
    for k in range(5):
        add_reference(store, bases, k)
    show(store, b"again", 0, 1, 2, 3, 4)
    return store


def of_near():
    """What a near-lossless base gives, from its elements and their exceptions."""
    store, bases = needs("near", near)
    add_reference(store, bases, 1)
    add_reference(store, bases, 0)
    add_reference(store, bases, 1, 9, 4)
    show(store, b"w", 0, 1, 2)
    return store


def odd_ends(n_bytes):
    """Items at the ends of the ranges, of their signs and of the order that 5.1 puts them in."""
    top = 1 << 8 * n_bytes - 1
    return [0, top, top - 1, 2 * top - 1, 1, top + 1, top // 2, top + top // 2]


def near_to(below, n_bytes, seed, steps):
    """Some of the elements a few steps away, some anywhere, and each odd end."""
    rng = random.Random(seed)
    items = [int.from_bytes(v, "little") for v in chunks(below, n_bytes)]
    for i, v in enumerate(items):
        if rng.random() < 0.6:
            items[i] = (v + rng.randrange(-steps, steps + 1)) % (1 << 8 * n_bytes)
        elif rng.random() < 0.02:
            items[i] = rng.getrandbits(8 * n_bytes)
    for k, v in enumerate(odd_ends(n_bytes)):
        items[k * 31 + 1] = v
    return b"".join(v.to_bytes(n_bytes, "little") for v in items)


def whole(n_bytes):
    """One part: the top bits of an item are the symbol; of two bytes all are."""
    return [Part(0, 1, n_bytes, symbol_bits={1: 8, 2: 16, 4: 16, 8: 16}[n_bytes])]


def planes(n_bytes):
    return [Part(k, 1, 1, symbol_bits=8) for k in range(n_bytes)]


def with_sign(n_bytes):
    return [Part(0, 1, n_bytes, symbol_bits=7 if n_bytes < 4 else 15, sign_first=True)]


def differences(kind, make_parts, seed, widths=(1, 2, 4, 8)):
    """An object of each width; those of 2 bytes and more begin an element, and then a byte, into the base's."""

    def build():
        store, bases = needs("base", base)
        for n_bytes in widths:
            number = OF_WIDTH[n_bytes]
            for offset in (0, n_bytes + 1 if n_bytes > 1 else 1):
                n = (len(bases[number].plain) - offset) // n_bytes * n_bytes
                plain = near_to(bases[number].plain[offset : offset + n], n_bytes, seed + n_bytes, 9)
                k = add_difference(store, bases, kind, make_parts(n_bytes), (number, offset), plain)
                show_tensor(store, b"%d bytes from %d" % (n_bytes, offset), k, n_bytes)
        return store

    return build


def dropped():
    """Exclusive ors with 16 low bits dropped, and two halves of an element in one part."""
    store, bases = needs("base", base)
    plain = bytearray(bases[2].plain)
    for at in range(0, len(plain), 4):
        plain[at + 2] ^= at % 7
    plain[40] ^= 1
    parts = [Part(0, 1, 4, symbol_bits=8, sign_first=True, drop=16)]
    add_difference(store, bases, XOR, parts, (2, 0), bytes(plain))
    plain = near_to(bases[2].plain, 4, 41, 70)
    add_difference(store, bases, DIFFERENCE, [Part(0, 2, 2, symbol_bits=9)], (2, 0), plain)
    show_tensor(store, b"a", 0, 4)
    show_tensor(store, b"b", 1, 4)
    return store


def modes():
    """An object with a tile of each mode that it may have, across tiles of the base, that ends within an element."""
    store, bases = needs("two-extents", two_extents)
    offset = 12345
    below = bases[0].plain[offset : offset + 4 * MAX_TILE + 333]
    plain = bytearray(below)
    for at in range(0, MAX_TILE, 9001):
        plain[at] ^= 3
    plain[MAX_TILE : 2 * MAX_TILE] = b"\1\2" * (MAX_TILE // 2)
    plain[2 * MAX_TILE : 3 * MAX_TILE] = bytes(MAX_TILE - 4) + b"tail"
    plain[-1] ^= 255
    how = (MADE, CONSTANT, ZSTD, MADE, RAW)
    at = (0, offset)
    add_difference(store, bases, DIFFERENCE, whole(2), at, bytes(plain), how)
    show(store, b"modes", 0)
    return store


def much():
    """Files of more than 16384 times the store, but not of both."""
    store, bases = needs("two-extents", two_extents)
    add_reference(store, bases, 0)
    show_too_often(store, 0)
    return store


def unused():
    """Codings of differences that no object has: no base is needed."""
    store = Store()
    for kind in (DIFFERENCE, XOR):
        parts = [Part(0, 1, 2, symbol_bits=8, freq=[2048, 2048])]
        store.codings.append(difference_coding(kind, 2, parts))
    add_object(store, b"plain", [RAW])
    show(store, b"a", 0)
    return store


BASE_GOOD = {
    "base": base,
    "difference-unused": unused,
    "needs-base-references": references,
    "needs-base-only-references": only_references,
    "needs-base-near": of_near,
    "needs-base-difference": differences(DIFFERENCE, whole, 42),
    "needs-base-difference-planes": differences(DIFFERENCE, planes, 43, (2, 4, 8)),
    "needs-base-xor": differences(XOR, with_sign, 44),
    "needs-base-xor-planes": differences(XOR, planes, 45, (2, 4, 8)),
    "needs-base-dropped": dropped,
    "needs-base-modes": modes,
    "needs-base-much": much,
}

# The same stores with a base that is a part: of it, what is needed is there, or is not.
OTHER_BASES = [("needs-base-modes", "ok", "part-first"), ("needs-base-modes", "part", "part-second")]
