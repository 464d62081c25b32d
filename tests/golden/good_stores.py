"""The stores that every reader must read, and of which the bad ones are made."""

import json
import random
import struct

from weir_format import (
    CONSTANT,
    DIRECTORY,
    FILE,
    LINK,
    MAX_TILE,
    NO_NUMBER,
    RAW,
    SPLIT,
    ZSTD,
    Coding,
    Entry,
    Object,
    Part,
    Segment,
    Store,
    Tile,
    chunks,
    encode_stream,
    fit,
    store_bytes,
    zstd_frame,
)

TENSOR = 1


def blocks_of(plain):
    """zstd blocks: runs of 16 equal bytes or more are repeats."""
    blocks, loose, at = [], b"", 0
    while at < len(plain):
        end = at
        while end < len(plain) and plain[end] == plain[at]:
            end += 1
        if end - at >= 16:
            blocks += ([loose] if loose else []) + [(plain[at], end - at)]
            loose = b""
        else:
            loose += plain[at:end]
        at = end
    return blocks + ([loose] if loose else [])


def make_tile(plain, mode, coding):
    if mode == RAW:
        return Tile(RAW, plain, plain)
    if mode == CONSTANT:
        return Tile(CONSTANT, plain, plain[: coding.element_bytes if coding else 1])
    if mode == ZSTD:
        return Tile(ZSTD, plain, zstd_frame(blocks_of(plain)))
    return Tile(SPLIT, plain, streams=[encode_stream(coding, p, plain) for p in coding.parts])


def add_object(store, plain, modes, coding=NO_NUMBER):
    """Adds an object with one mode per tile; its number."""
    c = store.codings[coding] if coding != NO_NUMBER else None
    element_bytes = c.element_bytes if c else 1
    cut = chunks(plain, element_bytes * (MAX_TILE // element_bytes))
    assert len(cut) == len(modes)
    store.objects.append(Object(plain, coding, [make_tile(p, m, c) for p, m in zip(cut, modes)]))
    return len(store.objects) - 1


def add_coding(store, coding, plain, leave_out=()):
    """Adds a coding whose frequencies suit the plain bytes; its number."""
    for part in coding.parts:
        if not part.freq:
            fit(part, coding, plain, leave_out)
    store.codings.append(coding)
    return len(store.codings) - 1


def show(store, path, *numbers):
    store.entries.append(Entry(FILE, path, segments=[Segment(k) for k in numbers]))


def show_too_often(store, number, room=0):
    """As many files of an object as it takes to say more than 16384 times the store and `room`."""
    n = [len(store_bytes(store))]
    show(store, b"000", number)
    n.append(len(store_bytes(store)))
    files = 1
    while len(store.objects[number].plain) * files <= 16384 * (room + n[0] + files * (n[1] - n[0])):
        show(store, b"%03d" % files, number)
        files += 1


def safetensors_header(tensors):
    """tensors: name -> (dtype, shape, bytes)"""
    text, at = {}, 0
    for name, (dtype, shape, n) in tensors.items():
        text[name] = {"dtype": dtype, "shape": shape, "data_offsets": [at, at + n]}
        at += n
    out = json.dumps(text, separators=(",", ":")).encode()
    return struct.pack("<Q", len(out)) + out


def one_tensor(coding, plain, dtype, shape, modes=(SPLIT,), leave_out=(), name="weight"):
    """A store of one safetensors file with one tensor."""
    store = Store()
    header = safetensors_header({name: (dtype, shape, len(plain))})
    add_object(store, header, [RAW])
    number = add_coding(store, coding, plain, leave_out)
    add_object(store, plain, modes, number)
    tensor = Segment(1, kind=TENSOR, name=name.encode(), dtype=dtype.encode(), dims=tuple(shape))
    store.entries = [Entry(FILE, b"model.safetensors", segments=[Segment(0), tensor])]
    return store


def normal(rng):
    return (sum(rng.random() for _ in range(12)) - 6) * 0.02


def floats(seed, n):
    """n numbers that look like weights, each exact in 32 bits"""
    rng = random.Random(seed)
    return [struct.unpack("<f", struct.pack("<f", normal(rng)))[0] for _ in range(n)]


def bf16(values):
    return b"".join(struct.pack("<f", v)[2:] for v in values)


BF16_ODD = [0x7FC0, 0xFFC1, 0x7F80, 0xFF80, 0x8000, 0x0000, 0x0001, 0x807F, 0x0080, 0x7F7F, 0xFF7F]


def bf16_plain(seed, n):
    """n items, the odd ones among them"""
    plain = bytearray(bf16(floats(seed, n)))
    for k, v in enumerate(BF16_ODD):
        at = (k * 97 + 3) % n
        plain[2 * at : 2 * at + 2] = struct.pack("<H", v)
    return bytes(plain)


def bf16_coding():
    """The exponent as the symbol, exponents 100 to 126 in the table; others are patches."""
    return Coding(2, [Part(0, 1, 2, symbol_bits=8, sign_first=True, base=99)])


def bf16_leave_out():
    return [j for j in range(1, 256) if not 100 <= 99 + j <= 126]


# The stores


def empty():
    return Store()


def opaque():
    store = Store()
    zstd = bytes(range(200)) + bytes(60000) + b"between" + b"\xff" * (MAX_TILE - 60207)
    plain = b"\x5a" * MAX_TILE + zstd + random.Random(1).randbytes(999)
    add_object(store, plain, [CONSTANT, ZSTD, RAW])
    store.entries = [Entry(FILE, b"three-modes.bin", segments=[Segment(0)])]
    return store


def bf16_store():
    return one_tensor(bf16_coding(), bf16_plain(2, 1500), "BF16", [30, 50], leave_out=bf16_leave_out())


def f32_drop():
    """bf16-exact values: 16 low bits dropped, but three items have them."""
    plain = bytearray(b"".join(b"\0\0" + bf16([v]) for v in floats(3, 1000)))
    for at, v in ((0, 0.1), (500, 1e-40), (999, -3.3e38)):
        plain[4 * at : 4 * at + 4] = struct.pack("<f", v)
    coding = Coding(4, [Part(0, 1, 4, symbol_bits=8, sign_first=True, drop=16)])
    return one_tensor(coding, bytes(plain), "F32", [1000])


def f8():
    """E4M3: all but the sign is the symbol, the sign is the one raw bit."""
    rng = random.Random(4)
    plain = (
        bytes(rng.choice((0, 0x80)) | min(127, int(abs(normal(rng)) * 900)) for _ in range(3000))
        + b"\x7f\xff\x80\0"
    )
    coding = Coding(1, [Part(0, 1, 1, symbol_bits=7, sign_first=True)])
    return one_tensor(coding, plain, "F8_E4M3", [4, 751])


def i16_planes():
    rng = random.Random(5)
    plain = b"".join(struct.pack("<h", int(normal(rng) * 9000)) for _ in range(2000))
    coding = Coding(2, [Part(0, 1, 1, symbol_bits=2), Part(1, 1, 1, symbol_bits=8)])
    return one_tensor(coding, plain, "I16", [2000])


def blocks():
    """Blocks of 34 bytes as in Q8_0, where every scale is a patch; and 5 words, then 3 halves, of 26 bytes."""
    rng = random.Random(6)
    q8 = b"".join(
        struct.pack("<H", 0x2000 + k) + bytes(int(normal(rng) * 60) & 255 for _ in range(32))
        for k in range(70)
    )
    scale = Part(0, 1, 2, symbol_bits=16, base=0xFF00, freq=[4095, 1])
    store = one_tensor(Coding(34, [scale, Part(2, 32, 1, symbol_bits=8)]), q8, "Q8_0", [70, 32])
    mixed = b"".join(
        struct.pack(
            "<5I3H", *(rng.randrange(64) << 25 for _ in range(5)), *(rng.randrange(5) for _ in range(3))
        )
        for _ in range(150)
    )
    coding = Coding(26, [Part(0, 5, 4, symbol_bits=7, drop=25), Part(20, 3, 2, symbol_bits=16)])
    number = add_object(store, mixed, [SPLIT], add_coding(store, coding, mixed))
    tensor = Segment(number, kind=TENSOR, name=b"mixed", dtype=b"X26", dims=(150,))
    store.entries.append(Entry(FILE, b"other.bin", segments=[tensor]))
    return store


def f64():
    """R = 53 with a sign, R = 63 without; 64-bit items of both, one with a single item in its last row."""
    values = floats(7, 1281)
    plain = b"".join(struct.pack("<d", v / 3) for v in values)
    plain = plain[:-16] + struct.pack("<2d", float("-inf"), -0.0)
    store = one_tensor(
        Coding(8, [Part(0, 1, 8, symbol_bits=11, sign_first=True, base=1000)]), plain, "F64", [1281]
    )
    rng = random.Random(8)
    large = b"".join(
        struct.pack("<Q", rng.getrandbits(63) | (k % 9 == 0) << 63) + bytes(7) + bytes([k % 2])
        for k in range(150)
    )
    coding = Coding(16, [Part(0, 1, 8, symbol_bits=1), Part(8, 8, 1, symbol_bits=8)])
    number = add_object(store, large, [SPLIT], add_coding(store, coding, large))
    tensor = Segment(number, kind=TENSOR, name=b"top bit", dtype=b"X16", dims=(150,))
    store.entries.append(Entry(FILE, b"wide.bin", segments=[tensor]))
    return store


def partial():
    """Two tiles of 131070 bytes; then a last one that ends within an element; a part with one item in a tile."""
    store = Store()
    coding = Coding(3, [Part(0, 3, 1, symbol_bits=8)])
    rng = random.Random(9)
    first = bytearray(b"\x07\x07\x07" * 43690)
    for _ in range(300):
        first[rng.randrange(len(first))] = rng.choice((6, 7, 8, 255))
    plain = bytes(first) + b"\x01\x02\x03" * 43690 + b"\x09\x08\x07\x06"
    add_object(
        store, plain, [SPLIT, CONSTANT, RAW], add_coding(store, coding, bytes(first), leave_out=(255,))
    )
    single = b"\x34\x12" + bytes(rng.choice((1, 1, 2)) for _ in range(4000))
    coding = Coding(4002, [Part(0, 1, 2, symbol_bits=1), Part(2, 4000, 1, symbol_bits=8)])
    add_object(store, single, [SPLIT], add_coding(store, coding, single))
    store.entries = [
        Entry(FILE, b"cut.bin", segments=[Segment(0)]),
        Entry(FILE, b"single.bin", segments=[Segment(1)]),
    ]
    return store


def full_tile():
    """A tile of 131072 items of one byte: 2048 rows, and symbols of frequency 1 and 4095."""
    plain = bytearray(b"\x80" * MAX_TILE)
    for at in range(0, MAX_TILE, 30011):
        plain[at] = 0x7F
    coding = Coding(1, [Part(0, 1, 1, symbol_bits=8, base=126, first=1, freq=[1, 4095])])
    return one_tensor(coding, bytes(plain), "U8", [MAX_TILE])


def edges():
    """The ends of the ranges: all 16 bits the symbol, base + last = 65535; R = 0 with dropped bits; index 0 only by base."""
    rng = random.Random(10)
    top = b"".join(
        struct.pack("<H", 65535 - min(254, int(abs(normal(rng)) * 1000)) if k % 50 else 0)
        for k in range(1200)
    )
    store = one_tensor(
        Coding(2, [Part(0, 1, 2, symbol_bits=16, base=65280)]), top, "U16", [1200], leave_out=(3,)
    )
    shifted = b"".join(struct.pack("<I", (rng.randrange(4) if k % 40 else 9) << 28) for k in range(900))
    coding = Coding(4, [Part(0, 1, 4, symbol_bits=4, drop=28, base=1)])
    number = add_object(store, shifted, [SPLIT], add_coding(store, coding, shifted, leave_out=(8,)))
    store.entries.append(Entry(FILE, b"shifted.bin", segments=[Segment(number)]))
    return store


def free_choices():
    """bf16 once more; patches have any index and raw bits, padding has any index."""
    store = bf16_store()
    coding, tile = store.codings[0], store.objects[1].tiles[0]
    tile.streams = [encode_stream(coding, coding.parts[0], tile.plain, random.Random(15))]
    return store


def tree():
    store = Store()
    weights = bf16_plain(11, 700)
    add_object(store, b"{}\n", [RAW])
    coding = add_coding(store, bf16_coding(), weights, bf16_leave_out())
    add_object(store, weights, [SPLIT], coding)
    add_object(store, b"\x01\x02" * 500, [CONSTANT], coding)
    add_object(store, bytes(1000), [CONSTANT])

    def tensor(number, name, dims, dtype=b"BF16"):
        return Segment(number, kind=TENSOR, name=name, dtype=dtype, dims=dims)

    shared = [
        tensor(1, b"a", (700,)),
        tensor(NO_NUMBER, b"none", (0, 5)),
        tensor(1, b"a again", (7, 100)),
        tensor(2, b"", (1, 2, 5, 1, 5, 2, 5, 1)),
        Segment(3),
    ]
    store.entries = [
        Entry(FILE, b"\x01\n\xff \\", segments=[Segment(0)], mode=0o600),
        Entry(FILE, b"a", segments=shared),
        Entry(FILE, b"a-", segments=[tensor(NO_NUMBER, b"\xff", (), b"\x7f" * 31)], mode=0o400),
        Entry(DIRECTORY, b"d"),
        Entry(LINK, b"d-link", target=b"d"),
        Entry(FILE, b"d.empty", segments=[], mode=0o755),
        Entry(DIRECTORY, b"d/bare", mode=0o700),
        Entry(DIRECTORY, b"d/" + b"n" * 255, mode=0o500),
        Entry(FILE, b"d/" + b"n" * 255 + b"/a", segments=[tensor(2, b"a", (500,)), Segment(0)]),
        Entry(LINK, b"d/up", target=b".//.././d//a"),
        Entry(LINK, b"nowhere", target=b"d/missing/"),
        Entry(FILE, b"the same", segments=shared),
    ]
    return store


def zstd_forms():
    """Frames without a content size, with a checksum, of many blocks: the index, and a tile."""
    store = Store()
    plain = bytes(50000) + b"tail of the tile"
    frame = zstd_frame([(0, 20000), (0, 30000), b"tail of ", b"the tile"], content_size=False, checksum=True)
    store.objects = [Object(plain, NO_NUMBER, [Tile(ZSTD, plain, frame)])]
    store.entries = [Entry(FILE, b"tail.bin", segments=[Segment(0)])]
    store.frame = lambda index: zstd_frame(chunks(index, 50), content_size=False, checksum=True)
    return store


def small(split=SPLIT, n=900):
    """A little of everything, in one extent.  Objects: 0 raw, 1 zstd, 2 BF16, 3 planes, 4 I16 constant."""
    store = Store()
    rng = random.Random(12)
    weights = bf16_plain(13, n)
    planes = b"".join(struct.pack("<h", int(normal(rng) * 9000)) for _ in range(n + 103))
    coding = add_coding(store, bf16_coding(), weights, bf16_leave_out())
    two = Coding(2, [Part(0, 1, 1, symbol_bits=7), Part(1, 1, 1, symbol_bits=8)])
    two = add_coding(store, two, planes, leave_out=(3,))
    add_object(store, rng.randbytes(100), [RAW])
    add_object(store, b"head" + bytes(200) + b"er", [ZSTD])
    add_object(store, weights, [split], coding)
    add_object(store, planes, [split], two)
    add_object(store, b"\x01\x02" * 150, [CONSTANT], two)

    def tensor(number, name, dtype, n_items):
        return Segment(number, kind=TENSOR, name=name, dtype=dtype, dims=(n_items,))

    in_m = [
        Segment(1),
        tensor(2, b"w", b"BF16", n),
        tensor(NO_NUMBER, b"z", b"BF16", 0),
        tensor(3, b"i", b"I16", n + 103),
        tensor(4, b"c", b"I16", 150),
    ]
    store.entries = [
        Entry(DIRECTORY, b"d"),
        Entry(LINK, b"d/link", target=b"../m"),
        Entry(FILE, b"d/raw", segments=[Segment(0)]),
        Entry(FILE, b"empty", segments=[]),
        Entry(FILE, b"m", segments=in_m),
    ]
    return store


def little():
    """small() with short tensors stored raw: for what is wrong in the index."""
    return small(RAW, 50)


def two_extents():
    """35 tiles, most of them constant, in two extents."""
    store = Store()
    plain = b"".join(bytes([k]) * MAX_TILE for k in range(34)) + b"the end"
    add_object(store, plain, [CONSTANT] * 34 + [RAW])
    store.entries = [Entry(FILE, b"wide", segments=[Segment(0)])]
    return store


def part_of(base, *present):
    """A store of which only these extents are there."""

    def build():
        store = base()
        store.present = set(present)
        return store

    return build


# Parts: what is there is right, and something is lacking.
PARTS = {
    "part-first": part_of(two_extents, 0),
    "part-second": part_of(two_extents, 1),
    "part-none": part_of(two_extents),
}

GOOD = {
    "empty": empty,
    "opaque": opaque,
    "bf16": bf16_store,
    "f32-drop": f32_drop,
    "f8": f8,
    "i16-planes": i16_planes,
    "blocks": blocks,
    "f64": f64,
    "partial": partial,
    "full-tile": full_tile,
    "edges": edges,
    "free-choices": free_choices,
    "tree": tree,
    "two-extents": two_extents,
    "zstd-forms": zstd_forms,
    "small": small,
    "little": little,
    "part-all": part_of(two_extents, 0, 1),
}
