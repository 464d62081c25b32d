"""Stores with tiles that are made of items and scales (docs/format.md, 5.1)."""

import random
import struct

from good_stores import TENSOR, add_coding, add_object, safetensors_header
from weir_format import (
    FILE,
    MADE,
    MAX_TILE,
    RAW,
    Coding,
    Entry,
    Object,
    Part,
    Segment,
    Store,
    Tile,
    Transform,
    encode_stream,
    fit,
    pad,
)

INTEGER, E4M3, E5M2 = range(3)
BF16, F16, F32 = range(3)
ELEMENT = {BF16: 2, F16: 2, F32: 4}
NAN = {BF16: 0x7FC0, F16: 0x7E00, F32: 0x7FC00000}
DTYPE = {BF16: "BF16", F16: "F16", F32: "F32"}


def f32(x):
    """The float32 next to x."""
    return struct.unpack("<f", struct.pack("<f", x))[0]


def small_float(item, exponent_bits, bias, has_infinities):
    mantissa_bits = 7 - exponent_bits
    exponent, mantissa = item >> mantissa_bits & (1 << exponent_bits) - 1, item & (1 << mantissa_bits) - 1
    sign = -1.0 if item & 0x80 else 1.0
    if exponent == (1 << exponent_bits) - 1:
        if has_infinities:
            return sign * float("inf") if mantissa == 0 else float("nan")
        if mantissa == (1 << mantissa_bits) - 1:
            return float("nan")
    whole = mantissa + (1 << mantissa_bits if exponent else 0)
    return sign * whole * 2.0 ** ((exponent or 1) - bias - mantissa_bits)


def number_of(t, item):
    if t.number == INTEGER:
        return float(item - (1 << 8 * t.item_bytes - 1))
    return small_float(item, 4, 7, False) if t.number == E4M3 else small_float(item, 5, 15, True)


def element_of(t, item, scale):
    """Its bytes.  The product of two float32 numbers is exact as a double."""
    product = number_of(t, item) * scale
    if product != product:
        return NAN[t.made].to_bytes(ELEMENT[t.made], "little")
    if t.made == F16:
        return struct.pack("<e", f32(product))
    bits = struct.unpack("<I", struct.pack("<f", product))[0]
    if t.made == F32:
        return struct.pack("<I", bits)
    return struct.pack("<H", bits + 0x7FFF + (bits >> 16 & 1) >> 16)


def scale_number(t, row, column, i):
    across = -(-t.row_elements // t.block_columns)
    r, c = row + (column + i) // t.row_elements, (column + i) % t.row_elements
    return r // t.block_rows * across + c // t.block_columns


def n_scales(t, row, column, n):
    across = -(-t.row_elements // t.block_columns)
    last = row + (column + n - 1) // t.row_elements
    return (last // t.block_rows + 1) * across


def made_payload(t, coding, row, column, scales, items, exceptions):
    """exceptions: position -> element"""
    out = struct.pack("<4I", column, row, len(scales), len(exceptions))
    out += struct.pack(f"<{len(scales)}f", *scales)
    out += b"".join(struct.pack("<I", at) for at in sorted(exceptions))
    out = pad(out + b"".join(exceptions[at] for at in sorted(exceptions)), 16)
    data = b"".join(v.to_bytes(t.item_bytes, "little") for v in items)
    over = Coding(t.item_bytes, coding.parts)
    streams = [encode_stream(over, p, data) for p in coding.parts]
    return out + b"".join(s.encode(i == len(streams) - 1) for i, s in enumerate(streams))


def add_made(store, t, part, item_at, scale_at, n, exceptions=None, nearness=None):
    """Adds an object of n elements; item_at(i), scale_at(number of the scale)."""
    item_coding = Coding(t.item_bytes, [part])
    items = [item_at(i) for i in range(n)]
    fit(part, item_coding, b"".join(v.to_bytes(t.item_bytes, "little") for v in items))
    coding = Coding(ELEMENT[t.made], [part], transform=t)
    store.codings.append(coding)
    in_tile = MAX_TILE // ELEMENT[t.made]
    tiles, plain = [], b""
    for first in range(0, n, in_tile):
        some = items[first : first + in_tile]
        row, column = first // t.row_elements % t.block_rows, first % t.row_elements
        scales = [scale_at(first + k) for k in range(n_scales(t, row, column, len(some)))]
        odd = {at - first: v for at, v in (exceptions or {}).items() if first <= at < first + len(some)}
        made = [element_of(t, v, scales[scale_number(t, row, column, i)]) for i, v in enumerate(some)]
        for at, v in odd.items():
            made[at] = v
        tiles.append(Tile(MADE, b"".join(made), made_payload(t, coding, row, column, scales, some, odd)))
        plain += tiles[-1].plain
    store.objects.append(Object(plain, len(store.codings) - 1, tiles, nearness=nearness))
    return len(store.objects) - 1


def scale_of(seed):
    """Different ones, each a float32, and now and then negative, tiny or 0."""

    def scale_at(k):
        if k % 7 == 5:
            return [-0.25, 0.0, f32(1e-42)][k // 7 % 3]
        return f32(random.Random(seed * 1000 + k).uniform(1e-4, 3e-4))

    return scale_at


def store_of(shapes):
    """shapes: (name, Transform, part, items, exceptions, nearness), each of rows"""
    store, segments, tensors = Store(), [], {}
    for name, t, _, items, _, _ in shapes:
        rows = len(items) // t.row_elements
        tensors[name] = (DTYPE[t.made], [rows, t.row_elements], len(items) * ELEMENT[t.made])
    add_object(store, safetensors_header(tensors), [RAW])
    for k, (name, t, part, items, exceptions, nearness) in enumerate(shapes):
        number = add_made(store, t, part, items.__getitem__, scale_of(k), len(items), exceptions, nearness)
        dtype, dims, _ = tensors[name]
        segments.append(
            Segment(number, kind=TENSOR, name=name.encode(), dtype=dtype.encode(), dims=tuple(dims))
        )
    store.entries = [Entry(FILE, b"model.safetensors", segments=[Segment(0)] + segments)]
    return store


def e4m3_items(rng, n):
    """All of them, NaNs too, and mostly some."""
    return [k % 256 if k < 256 else rng.choice((0, 0x80)) | rng.randrange(0x30, 0x60) for k in range(n)]


def born_fp8():
    """E4M3 and E5M2 with blocks that are cut on the right and below, as BF16, F16 and F32."""
    rng = random.Random(21)
    fp8 = lambda: Part(0, 1, 1, symbol_bits=7, sign_first=True)  # noqa: E731
    exceptions = {0: b"\x34\x12", 77: b"\xff\x7f", 40 * 50 - 1: b"\x00\x80"}
    return store_of(
        [
            ("blocks", Transform(E4M3, BF16, 1, 50, 16, 16), fp8(), e4m3_items(rng, 40 * 50), exceptions, None),
            ("rows", Transform(E4M3, F16, 1, 70, 1, 70), fp8(), e4m3_items(rng, 30 * 70), None, None),
            ("one", Transform(E5M2, F32, 1, 64, 20, 64), fp8(), e4m3_items(rng, 20 * 64), {9: bytes(4)}, None),
        ]
    )


def born_int8():
    """Integers; and two tiles, of which the second begins within a row and a block."""
    rng = random.Random(22)
    ints = [max(0, min(255, 128 + int(rng.gauss(0, 30)))) for _ in range(33 * 65)]
    long = [128 + (k % 11 == 0) for k in range(7 * 5001)]
    return store_of(
        [
            ("int8", Transform(INTEGER, BF16, 1, 65, 1, 65), Part(0, 1, 1, symbol_bits=8), ints, None, None),
            ("long", Transform(INTEGER, F32, 1, 5001, 3, 5000), Part(0, 1, 1, symbol_bits=8), long, None, None),
        ]
    )


def near():
    """16-bit integers, all of an item the symbol; the store says how near."""
    rng = random.Random(23)
    items = [32768 + int(rng.gauss(0, 13)) for _ in range(20 * 100)]
    part = Part(0, 1, 2, symbol_bits=16, base=32768 - 128)
    t = Transform(INTEGER, BF16, 2, 100, 1, 100, near=1)
    return store_of([("near", t, part, items, {5: b"\x80\x3f"}, (0.5, 0.00025, 0.5, f32(0.0765)))])


MADE_GOOD = {"born-fp8": born_fp8, "born-int8": born_int8, "near": near}
