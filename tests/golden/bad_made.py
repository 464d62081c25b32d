"""Bad stores, continued: tiles that are made of items and scales, and codings that say how.

BAD holds all of them after this module is loaded.
"""

import struct

from bad_stores import UNSUPPORTED, bad, set_all, set_trailer
from bad_tiles import BAD
from made_stores import born_fp8, near
from weir_format import MADE, RAW, SPLIT

__all__ = ["BAD"]


def transform(**fields):
    return lambda store: set_all(store.codings[0].transform, **fields)


for _name, _change in {
    "transform-number-3": transform(number=3),
    "transform-made-3": transform(made=3),
    "transform-made-wider": transform(made=2),
    "transform-near-2": transform(near=2),
    "transform-item-0": transform(item_bytes=0),
    "transform-item-2": transform(item_bytes=2),
    "transform-row-0": transform(row_elements=0),
    "transform-block-rows-0": transform(block_rows=0),
    "transform-block-columns-0": transform(block_columns=0),
    "transform-block-wider": transform(block_columns=51),
    "transform-parts-too-long": lambda store: set_all(store.codings[0].parts[0], count=2),
    "transform-kind-9": lambda store: set_all(store.codings[0], kind=9),
    "features-lacking": set_trailer(50, b"\0"),
    "features-too-many": set_trailer(50, b"\3"),
}.items():
    bad(_name, "open", base=born_fp8)(_change)

bad("features-15", "open", base=born_fp8, verdict=UNSUPPORTED)(set_trailer(51, b"\x80"))


def nearness(at, v):
    def change(store):
        o = store.objects[1]
        o.nearness = o.nearness[:at] + (v,) + o.nearness[at + 1 :]

    return change


for _name, _change in {
    "near-nan": nearness(1, float("nan")),
    "near-infinite": nearness(0, float("inf")),
    "near-negative": nearness(3, -1.0),
    "near-largest-nan": nearness(2, float("nan")),
}.items():
    bad(_name, "open", base=near)(_change)


def head(at, v):
    """Changes a u32 of the payload: 0 column, 1 row, 2 scales, 3 exceptions, 4 the first scale."""

    def change(store):
        t = store.objects[1].tiles[0]
        t.payload = t.payload[: 4 * at] + struct.pack("<I", v) + t.payload[4 * at + 4 :]

    return change


def payload(change):
    def apply(store):
        t = store.objects[1].tiles[0]
        t.payload = change(t.payload)

    return apply


N_SCALES = 3 * 4  # of born_fp8's first tensor: three bands of four blocks
POSITIONS = 4 + N_SCALES  # in u32
END = 4 * POSITIONS + 3 * (4 + 2)  # of the exceptions: 82, then zeros up to 96
for _name, _change in {
    "made-column": head(0, 50),
    "made-row": head(1, 16),
    "made-scales-less": head(2, N_SCALES - 1),
    "made-scales-more": head(2, N_SCALES + 1),
    "made-scales-huge": head(2, 0xFFFFFFFF),
    "made-exceptions-huge": head(3, 0xFFFFFFFF),
    "made-exceptions-too-many": head(3, 2001),
    "made-scale-nan": head(4, 0x7FC00000),
    "made-scale-infinite": head(4 + N_SCALES - 1, 0xFF800000),
    "made-positions-equal": head(POSITIONS + 1, 0),
    "made-positions-at-end": head(POSITIONS + 2, 2000),
    "made-padding": payload(lambda p: p[:END] + b"\1" + p[END + 1 :]),
    "made-cut-in-head": payload(lambda p: p[:15]),
    "made-cut-in-scales": payload(lambda p: p[:20]),
    "made-cut": payload(lambda p: p[:-1]),
    "made-trailing": payload(lambda p: p + b"\0"),
    "made-no-streams": payload(lambda p: p[:96]),
    "made-other-scale": head(4, 0x3F800000),
    "made-but-split": lambda store: set_all(store.objects[1].tiles[0], mode=SPLIT),
}.items():
    bad(_name, "read", base=born_fp8)(_change)


@bad("made-opaque", "read", base=born_fp8)
def _(store):
    t = store.objects[0].tiles[0]
    assert t.mode == RAW
    t.mode = MADE
