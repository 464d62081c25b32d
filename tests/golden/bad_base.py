"""Bad stores, continued: what a store may not say of its base, and bases that do not fit it.

BAD holds all of them after this module is loaded.  Who sees it is `base` if the store itself is right:
whoever reads it with the base that expected.txt names.
"""

import struct

from bad_made import BAD
from bad_stores import bad, set_all
from base_stores import (
    add_difference,
    add_reference,
    base,
    needs,
    only_references,
    references,
    whole,
)
from good_stores import add_object, show, show_too_often, two_extents
from weir_format import (
    DIFFERENCE,
    MADE,
    MAX_TILE,
    NO_NUMBER,
    RAW,
    REFERENCE,
    SPLIT,
    XOR,
    Coding,
    Object,
    Part,
    Tile,
    Transform,
    store_bytes,
)

__all__ = ["BAD"]
REFUSED = "refused"


def difference():
    """One object that differs from the base's of two bytes, of a tile that is made."""
    store, bases = needs("base", base)
    below = bases[1].plain[2:802]
    plain = bytes(v ^ (i % 5 == 0) for i, v in enumerate(below))
    add_difference(store, bases, DIFFERENCE, whole(2), (1, 2), plain)
    show(store, b"a", 0)
    return store


def below(number, *at):
    return lambda store: set_all(store.objects[number], below=at)


# Sections 2.3, 3 and 3.2: features, and where the bytes below are


for _name, _change in {
    "base-offset-huge": below(1, 1, 1 << 62),
    "base-offset-largest": below(1, 1, (1 << 64) - 1),
    "base-object-none": below(1, NO_NUMBER, 0),
}.items():
    bad(_name, "open", base=references)(_change)

bad("base-offset-huge-below", "open", base=difference)(below(0, 1, 1 << 62))
bad("base-object-none-below", "open", base=difference)(below(0, NO_NUMBER, 2))


def features(change):
    def bend(trailer):
        trailer[50] = change(trailer[50])

    return lambda store: setattr(store, "bend_trailer", bend)


def without_digest(store):
    """Neither the feature nor the digest, though an object says where its bytes are."""
    store.base = None
    features(lambda bits: bits & ~4)(store)


bad("base-feature-lacking", "open", base=only_references)(without_digest)
bad("base-feature-lacking-below", "open", base=difference)(without_digest)
bad("base-feature-lacking-digest", "open", base=difference)(features(lambda bits: bits & ~4))
bad("base-digest-lacking", "open", base=difference)(lambda store: setattr(store, "base", None))
bad("base-difference-lacking", "open", base=difference)(features(lambda bits: bits & ~1))


@bad("base-feature-unused", "open", base=references)
def _(store):
    """A digest and the feature, but no object that needs them."""
    store.objects, store.entries = [], []
    add_object(store, b"own bytes\n", [RAW])
    show(store, b"a", 0)
    features(lambda bits: bits | 4)(store)


@bad("base-feature-unused-coding", "open", base=difference)
def _(store):
    """The same with a coding of differences that no object has."""
    store.objects, store.entries = [], []
    add_object(store, b"own bytes\n", [RAW])
    show(store, b"a", 0)
    features(lambda bits: bits | 4)(store)


@bad("reference-with-a-tile", "open", base=only_references)
def _(store):
    """References have no tiles, so that there is no extent."""
    o = store.objects[0]
    o.tiles = [Tile(RAW, o.plain, o.plain)]


@bad("reference-too-many-tiles", "open", base=only_references)
def _(store):
    """2^40 of them, had they tiles; the file's size agrees."""
    n = (1 << 40) * MAX_TILE
    store.objects[4].plain_bytes = n
    store.entries[0].segments[4].n_bytes = n
    store.entries[0].size = n + sum(len(o.plain) for o in store.objects[:4])


@bad("reference-cut", "open", base=only_references)
def _(store):
    """The last object ends within its offset, and the index with it."""
    store.entries = []
    store.bend_index = lambda index: index[:-1]


# Section 3.1: codings of differences


def unused(element_bytes, kind=DIFFERENCE, parts=None, **fields):
    """A coding that no object has."""

    def change(store):
        t = Transform(0, 0, element_bytes, 0, 0, 0)
        set_all(t, **fields)
        some = parts or [Part(0, element_bytes, 1, symbol_bits=8, freq=[2048, 2048])]
        store.codings.append(Coding(element_bytes, some, kind=kind, transform=t))

    return change


HALF = [2048, 2048]
for _name, _change in {
    "difference-element-3": unused(3),
    "difference-element-16": unused(16, XOR),
    "difference-item-less": unused(2, parts=[Part(0, 1, 1, symbol_bits=8, freq=HALF)], item_bytes=1),
    "difference-item-more": unused(2, item_bytes=4),
    "difference-item-0": unused(2, XOR, item_bytes=0),
    "difference-number": unused(1, number=1),
    "difference-made": unused(2, XOR, made=1),
    "difference-near": unused(2, near=1),
    "difference-row": unused(2, row_elements=1),
    "difference-block-rows": unused(2, XOR, block_rows=1),
    "difference-block-columns": unused(2, block_columns=1),
    "difference-parts-too-short": unused(4, parts=[Part(0, 1, 2, symbol_bits=8, freq=HALF)]),
    "difference-parts-too-long": unused(2, XOR, parts=[Part(0, 1, 4, symbol_bits=8, freq=HALF)]),
    "difference-kind-4": unused(2, 4),
    "difference-none": unused(2, 0),
}.items():
    bad(_name, "open", base=difference)(_change)


# Section 3.4: sizes


@bad("base-ratio-own", "open")
def _(store):
    """Own bytes of more than 16384 times the store, however large the base is."""
    store.base, store.base_name = needs("two-extents", two_extents)[0].base, "two-extents"
    own = two_extents()
    store.codings, store.objects, store.entries = own.codings, own.objects, []
    add_reference(store, own.objects, 0)
    show(store, b"+", 0, 1)
    show_too_often(store, 0)


@bad("base-ratio", "base")
def _(store):
    """References that make the files more than 16384 times both stores."""
    store.base, store.base_name = needs("two-extents", two_extents)[0].base, "two-extents"
    bases = two_extents()
    room = len(store_bytes(bases))
    store.codings, store.objects, store.entries = [], [], []
    add_reference(store, bases.objects, 0)
    show_too_often(store, 0, room)


# Section 5.1: tiles


def payload(change):
    def apply(store):
        t = store.objects[0].tiles[0]
        t.payload = change(t.payload)

    return apply


def count(at, v):
    """One of the four counts, which are 0."""
    return payload(lambda p: p[: 4 * at] + struct.pack("<I", v) + p[4 * at + 4 :])


for _name, _change in {
    "difference-column": count(0, 1),
    "difference-row-of-tile": count(1, 1),
    "difference-scales": count(2, 1),
    "difference-scales-huge": count(2, 0xFFFFFFFF),
    "difference-exceptions": count(3, 1),
    "difference-exceptions-huge": count(3, 0xFFFFFFFF),
    "difference-cut-in-head": payload(lambda p: p[:15]),
    "difference-no-streams": payload(lambda p: p[:16]),
    "difference-cut": payload(lambda p: p[:-1]),
    "difference-trailing": payload(lambda p: p + b"\0"),
    "difference-but-split": lambda store: set_all(store.objects[0].tiles[0], mode=SPLIT),
    "difference-from-elsewhere": below(0, 1, 4),
    "difference-but-xor": lambda store: set_all(store.codings[0], kind=XOR),
    "difference-mode-5": lambda store: set_all(store.objects[0].tiles[0], mode=5),
}.items():
    bad(_name, "read", base=difference)(_change)


@bad("difference-scale", "read", base=difference)
def _(store):
    """A count of one scale, and room for it; the streams follow at the next multiple of 16."""
    payload(lambda p: p[:8] + b"\1" + p[9:16] + bytes(16) + p[16:])(store)


@bad("difference-exception", "read", base=difference)
def _(store):
    """An exception that puts what is there."""
    t = store.objects[0].tiles[0]
    payload(lambda p: p[:12] + b"\1" + bytes(7) + t.plain[:2] + bytes(10) + p[16:])(store)


@bad("difference-part-of-an-element", "read", base=difference)
def _(store):
    o = store.objects[0]
    o.plain += b"\0"
    o.tiles[0].plain = o.plain


@bad("reference-made", "read", base=difference)
def _(store):
    """A made tile of an opaque object, beside one that has a base."""
    plain = store.objects[0].plain
    tile = Tile(MADE, plain, store.objects[0].tiles[0].payload)
    store.objects.append(Object(plain, NO_NUMBER, [tile]))
    show(store, b"b", 1)


@bad("reference-from-elsewhere", "base", base=references)
def _(store):
    """Other bytes of the base than the file's SHA-256 knows."""
    store.objects[2].below = (1, 4)


# Section 8.9: bases


for _name, _change in {
    "base-object-out-of-range": below(1, 5, 0),
    "base-object-far": below(1, NO_NUMBER - 1, 0),
    "reference-beyond": below(1, 1, 1),
    "reference-behind": below(1, 1, (1 << 62) - 1),
    "reference-longer": below(1, 0, 0),
}.items():
    bad(_name, "base", base=references)(_change)

for _name, _change in {
    "difference-object-out-of-range": below(0, 5, 0),
    "difference-beyond": below(0, 1, 1001),
    "difference-behind": below(0, 1, (1 << 62) - 1),
}.items():
    bad(_name, "base", base=difference)(_change)


@bad("base-other", "base", base=references)
def _(store):
    """Given a store that has the same bytes, under another digest."""
    store.base = bytes(31) + b"\1"


@bad("base-other-store", "base", base=references)
def _(store):
    store.base_name = "two-extents"


@bad("base-needs-a-base", "base", verdict=REFUSED)
def _(store):
    """Its base is a store that needs one itself, and the bytes below are own bytes of that."""
    new, bases = needs("needs-base-references", references)
    assert bases[0].coding != REFERENCE
    store.base, store.base_name, store.codings, store.objects, store.entries = new.base, new.base_name, [], [], []
    add_reference(store, bases, 0)
    show(store, b"a", 0)
