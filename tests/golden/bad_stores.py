"""The stores that every reader must refuse: each is a good one with one thing changed.

BAD maps a name, which tells the broken rule, to (verdict, who sees it, store).  Who sees it: `open`,
whoever opens the store; `read`, whoever decodes that tile; `verify`, who checks everything.
"""

import struct

from good_stores import blocks_of, little, part_of, show_too_often, two_extents
from weir_format import (
    ALIGNMENT,
    DIRECTORY,
    FILE,
    MAX_TILE,
    Coding,
    Entry,
    Part,
    Segment,
    Store,
    sha256,
    zstd_frame,
)

CORRUPT, UNSUPPORTED = "corrupt", "unsupported"
BAD = {}


def bad(name, when, base=little, verdict=CORRUPT):
    """Registers a function that changes the store it is given."""

    def register(change):
        def build():
            store = base()
            change(store)
            return store

        assert name not in BAD
        BAD[name] = (verdict, when, build)
        return change

    return register


def poke(at, data):
    """Overwrites bytes: at < 0 counts from the end."""

    def change(buffer):
        start = at if at >= 0 else len(buffer) + at
        buffer[start : start + len(data)] = data

    return change


def poke_file(at, data):
    return lambda store: setattr(store, "bend_file", poke(at, data))


def set_trailer(at, data):
    return lambda store: setattr(store, "bend_trailer", poke(at, data))


def set_index(at, data):
    """Overwrites bytes of the plain index."""
    return lambda store: setattr(
        store, "bend_index", lambda index: index[:at] + data + index[at + len(data) :]
    )


def u32(v):
    return struct.pack("<I", v)


def set_all(record, **fields):
    for name, value in fields.items():
        assert hasattr(record, name)
        setattr(record, name, value)


# Sections 2.1 and 2.2: header and trailer

for _name, _change in {
    "header-magic": poke_file(0, b"\x88"),
    "header-version-0": poke_file(8, b"\0"),
    "header-u16": poke_file(10, b"\1"),
    "header-rest-first": poke_file(16, b"\1"),
    "header-rest-last": poke_file(63, b"\x80"),
    "trailer-magic": poke_file(-1, b"\r"),
    "trailer-version-0": set_trailer(48, b"\0"),
    "trailer-u16": set_trailer(50, b"\1"),
    "trailer-u32": set_trailer(55, b"\1"),
    "trailer-digest": set_trailer(16 + 31, b"\0"),
    "trailer-offset-huge": set_trailer(0, b"\xff" * 8),
    "trailer-plain-0": set_trailer(12, u32(0)),
    "trailer-plain-too-many": set_trailer(12, u32(67108865)),
}.items():
    bad(_name, "open")(_change)

bad("header-feature-0", "open", verdict=UNSUPPORTED)(poke_file(12, b"\1"))
bad("header-feature-31", "open", verdict=UNSUPPORTED)(poke_file(15, b"\x80"))


@bad("version-2", "open", verdict=UNSUPPORTED)
def _(store):
    def change(buffer):
        buffer[8] = 2
        buffer[len(buffer) - 64 + 48] = 2

    store.bend_file = change


def bend_u(at, n, change):
    """Changes a number of the trailer."""

    def bend(trailer):
        v = change(int.from_bytes(trailer[at : at + n], "little"))
        trailer[at : at + n] = v.to_bytes(n, "little")

    return lambda store: setattr(store, "bend_trailer", bend)


bad("trailer-offset-less", "open")(bend_u(0, 8, lambda v: v - 1))
bad("trailer-offset-more", "open")(bend_u(0, 8, lambda v: v + 1))
bad("trailer-stored-less", "open")(bend_u(8, 4, lambda v: v - 1))
bad("trailer-stored-more", "open")(bend_u(8, 4, lambda v: v + 1))
bad("trailer-plain-less", "open")(bend_u(12, 4, lambda v: v - 1))
bad("trailer-plain-more", "open")(bend_u(12, 4, lambda v: v + 1))


@bad("trailer-stored-0", "open")
def _(store):
    """The index is said to be empty, and to start where the trailer does."""

    def change(out):
        at = len(out) - 64
        out[at : at + 48] = struct.pack("<QII", at, 0, 1) + sha256(b"")

    store.bend_file = change


@bad("trailing-byte", "open")
def _(store):
    store.bend_file = lambda out: out.append(0)


@bad("cut-by-one", "open")
def _(store):
    store.bend_file = lambda out: out.pop()


@bad("cut-short", "open")
def _(store):
    """The header and the trailer of a store without an index."""

    def change(out):
        out[ALIGNMENT:-64] = b""
        out[-64:-16] = struct.pack("<QII", ALIGNMENT, 0, 0) + sha256(b"")

    store.bend_file = change


@bad("index-before-extents", "open", base=Store)
def _(store):
    """An index that begins at 4095, the last byte that a header's zeros may take."""
    store.frame = lambda index: zstd_frame([index])

    def change(out):
        del out[64]
        at = len(out) - 64
        out[at : at + 8] = struct.pack("<Q", ALIGNMENT - 1)

    store.bend_file = change


# Section 3: the index as a whole


def frame(make):
    return lambda store: setattr(store, "frame", make)


bad("index-no-zstd", "open")(frame(lambda index: index))
bad("index-dictionary", "open")(frame(lambda index: zstd_frame([index], dictionary=7)))
bad("index-two-frames", "open")(frame(lambda index: zstd_frame([index[:99]]) + zstd_frame([index[99:]])))
bad("index-frame-trailing", "open")(frame(lambda index: zstd_frame([index]) + b"\0"))
bad("index-frame-skippable", "open")(frame(lambda index: zstd_frame([index]) + u32(0x184D2A50) + u32(0)))
bad("index-frame-cut", "open")(frame(lambda index: zstd_frame([index])[:-1]))
bad("index-frame-checksum", "open")(frame(lambda index: zstd_frame([index], checksum=True)[:-1] + b"\0"))


def bend_index(change):
    return lambda store: setattr(store, "bend_index", change)


bad("index-leftover", "open")(bend_index(lambda index: index + b"\0"))
bad("index-cut", "open")(bend_index(lambda index: index[:-1]))
bad("index-cut-in-counts", "open")(bend_index(lambda index: index[:15]))
for _i, _what in enumerate(("codings", "objects", "extents", "entries")):
    bad(f"count-{_what}-huge", "open")(set_index(4 * _i, u32(0xFFFFFFFF)))
    bad(f"count-{_what}-plausible", "open")(set_index(4 * _i, u32(20)))

# Section 3.1: codings.  Coding 0 of little() is BF16, coding 1 two byte planes.


def part(number=0, coding=0, **fields):
    return lambda store: set_all(store.codings[coding].parts[number], **fields)


def coding(number=0, **fields):
    return lambda store: set_all(store.codings[number], **fields)


def unused(element_bytes, *parts):
    """Adds a coding that no object has."""
    return lambda store: store.codings.append(Coding(element_bytes, list(parts)))


HALF = [2048, 2048]
for _name, _change in {
    "coding-element-0": coding(element_bytes=0),
    "coding-element-4097": unused(4097, Part(0, 4097, 1, 8, freq=HALF)),
    "coding-parts-0": unused(1),
    "coding-parts-9": unused(9, *(Part(i, 1, 1, 8, freq=HALF) for i in range(9))),
    "coding-zero": coding(kind=1),
    "coding-gap": part(1, 1, offset=2),
    "coding-overlap": part(1, 1, offset=0),
    "coding-starts-late": unused(3, Part(1, 2, 1, 8, freq=HALF)),
    "coding-too-short": unused(3, Part(0, 1, 2, 8, freq=HALF)),
    "coding-too-long": unused(3, Part(0, 2, 2, 8, freq=HALF)),
    "part-count-0": unused(1, Part(0, 0, 1, 8, freq=HALF), Part(0, 1, 1, 8, freq=HALF)),
    "part-item-0": unused(1, Part(0, 1, 0, 1, freq=HALF), Part(0, 1, 1, 8, freq=HALF)),
    "part-item-3": unused(3, Part(0, 1, 3, 8, freq=HALF)),
    "part-item-16": unused(16, Part(0, 1, 16, 8, freq=HALF)),
    "part-flags": part(flags=3),
    "part-drop-too-large": unused(1, Part(0, 1, 1, 4, drop=5, freq=HALF)),
    "part-drop-255": unused(1, Part(0, 1, 1, 4, drop=255, freq=HALF)),
    "part-drop-takes-sign": unused(2, Part(0, 1, 2, 8, sign_first=True, drop=8, freq=HALF)),
    "part-symbol-takes-sign": unused(1, Part(0, 1, 1, 8, sign_first=True, freq=HALF)),
    "part-symbol-0": unused(1, Part(0, 1, 1, 0, freq=HALF)),
    "part-symbol-17": unused(4, Part(0, 1, 4, 17, freq=HALF)),
    "part-symbol-above-item": unused(1, Part(0, 1, 1, 9, freq=HALF)),
    "part-base-too-large": part(base=255),
    "part-last-too-large": unused(1, Part(0, 1, 1, 3, first=7, freq=HALF)),
    "part-last-below-first": unused(1, Part(0, 1, 1, 8, first=2, last=1, freq=[])),
    "freq-sum-4095": unused(1, Part(0, 1, 1, 8, freq=[2048, 2047])),
    "freq-sum-4097": unused(1, Part(0, 1, 1, 8, freq=[2048, 2049])),
    "freq-sum-wraps": unused(1, Part(0, 1, 1, 8, freq=[4095] * 17 + [17])),
    "freq-4096": unused(1, Part(0, 1, 1, 8, freq=[4096])),
    "freq-first-0": unused(1, Part(0, 1, 1, 8, freq=[0, 2048, 2048])),
    "freq-last-0": unused(1, Part(0, 1, 1, 8, freq=[2048, 2048, 0])),
}.items():
    bad(_name, "open")(_change)

# Section 3.2 and 3.3: objects and extents


@bad("object-0-bytes", "open")
def _(store):
    store.objects[4].plain_bytes = 0


@bad("object-longer-than-segment", "open")
def _(store):
    store.objects[0].plain_bytes = 101


@bad("object-coding-out-of-range", "open")
def _(store):
    store.objects[0].coding = 2


@bad("object-too-many-tiles", "open")
def _(store):
    """2^40 tiles in an object; neither its segment nor the extents agree, as they could not."""
    store.objects[4].plain_bytes = (1 << 40) * MAX_TILE


@bad("object-huge", "open")
def _(store):
    store.objects[4].plain_bytes = (1 << 64) - 1


def append_zero_extent(index):
    """After the extents of little(): one, whose end is known from the codings and objects before it."""
    store = little()
    at = 16 + sum(len(c.encode()) for c in store.codings) + 12 * len(store.objects) + 36
    return index[:8] + u32(2) + index[12:at] + u32(16) + bytes(32) + index[at:]


bad("extent-too-many", "open")(bend_index(append_zero_extent))


@bad("extent-too-few", "open", base=two_extents)
def _(store):
    store.bend_extents = lambda extents: extents[:1]


def set_extent_size(change):
    def apply(store):
        at = 16 + sum(len(c.encode()) for c in store.codings) + 12 * len(store.objects)

        def bend(index):
            n = struct.unpack_from("<I", index, at)[0]
            return index[:at] + u32(change(n)) + index[at + 4 :]

        store.bend_index = bend

    return apply


bad("extent-0-bytes", "open")(set_extent_size(lambda n: 0))
bad("extent-too-large", "open")(set_extent_size(lambda n: 4194817))
bad("extent-huge", "open")(set_extent_size(lambda n: 0xFFFFFFFF))
bad("extent-ends-before-index", "open")(set_extent_size(lambda n: n - 16))
bad("extent-ends-in-index", "open")(set_extent_size(lambda n: n + 16))


@bad("extent-first-ends-late", "open", base=two_extents)
def _(store):
    set_extent_size(lambda n: n + ALIGNMENT)(store)


@bad("index-after-padding", "open")
def _(store):
    """Zeros between the last extent and the index."""

    def change(out):
        at = int.from_bytes(out[-64:-56], "little")
        out[at:at] = bytes(16)
        out[-64:-56] = struct.pack("<Q", at + 16)

    store.bend_file = change


# Section 3.4: entries.  little() has d, d/link, d/raw, empty, m.


def entry(number, **fields):
    return lambda store: set_all(store.entries[number], **fields)


def insert(number, new):
    return lambda store: store.entries.insert(number, new)


def directory(path):
    return Entry(DIRECTORY, path)


for _name, _change in {
    "entry-kind-3": insert(5, Entry(3, b"n")),
    "entry-zero": entry(0, zero=1),
    "entry-mode": entry(0, mode=0o10000),
    "path-empty": insert(0, directory(b"")),
    "path-absolute": insert(0, directory(b"/a")),
    "path-ends-in-slash": insert(3, directory(b"d/")),
    "path-two-slashes": insert(1, directory(b"d//a")),
    "path-dot": insert(0, directory(b".")),
    "path-dot-within": insert(1, directory(b"d/.")),
    "path-dot-dot": insert(0, directory(b"..")),
    "path-dot-dot-first": insert(0, Entry(FILE, b"../a", segments=[])),
    "path-dot-dot-within": insert(1, Entry(FILE, b"d/..", segments=[])),
    "path-nul": insert(3, directory(b"d\0")),
    "path-component-256": insert(4, directory(b"f" * 256)),
    "path-twice": insert(1, directory(b"d")),
    "path-unsorted": insert(5, directory(b"c")),
    "path-no-parent": insert(5, Entry(FILE, b"n/a", segments=[])),
    "path-no-grandparent": insert(3, Entry(FILE, b"d/x/y", segments=[])),
    "path-parent-file": insert(4, Entry(FILE, b"empty/a", segments=[])),
    "path-parent-link": insert(2, Entry(FILE, b"d/link/a", segments=[])),
    "target-empty": entry(1, target=b""),
    "target-4096": entry(1, target=b"a" * 4096),
    "target-nul": entry(1, target=b"a\0"),
    "target-absolute": entry(1, target=b"/m"),
    "target-escapes": entry(1, target=b"../.."),
    "target-escapes-and-returns": entry(1, target=b"../../d/raw"),
    "target-escapes-at-the-end": entry(1, target=b"./..//../.."),
    "target-dots-after-a-name": entry(1, target=b"a/../m"),
    "file-size-less": entry(4, size=1),
    "file-size-more": entry(4, size=1 << 20),
    "file-size-huge": entry(4, size=1 << 62),
    "file-empty-with-size": entry(3, size=1),
}.items():
    bad(_name, "open")(_change)


@bad("path-unsorted-prefix", "open")
def _(store):
    """A path after one that it begins."""
    store.entries[3:3] = [directory(b"da"), Entry(FILE, b"d", segments=[])]


@bad("path-4096", "open")
def _(store):
    deep = b"/".join([b"y" * 255] * 15 + [b"y" * 127, b"y" * 128])
    assert len(deep) == 4096
    store.entries += [directory(b"/".join(deep.split(b"/")[:k])) for k in range(1, 18)]
    store.frame = lambda index: zstd_frame(blocks_of(index))


@bad("path-unsorted-as-signed", "open")
def _(store):
    """In order if bytes had a sign."""
    store.entries.insert(0, Entry(FILE, b"\xff", segments=[]))


@bad("file-segments-huge", "open")
def _(store):
    """The count of the last file's segments."""
    count = len(store.entries[4].segments)
    mark = sha256(store.entries[4].plain(store.objects)) + u32(count)
    store.bend_index = lambda index: index.replace(mark, mark[:32] + u32(0xFFFFFFFF))


def segment(number, **fields):
    return lambda store: set_all(store.entries[4].segments[number], **fields)


for _name, _change in {
    "segment-object-out-of-range": segment(4, object=5, n_bytes=300),
    "segment-shorter-than-object": segment(4, n_bytes=299),
    "segment-0-bytes-of-an-object": segment(2, object=2, n_bytes=0),
    "segment-bytes-of-no-object": segment(2, n_bytes=4),
    "segment-opaque-empty": segment(2, kind=0),
    "segment-kind-2": segment(4, kind=2),
    "tensor-name-nul": segment(1, name=b"w\0"),
    "tensor-dtype-empty": segment(1, dtype=b""),
    "tensor-dtype-32": segment(1, dtype=b"B" * 32),
    "tensor-dtype-nul": segment(1, dtype=b"BF16\0"),
    "tensor-9-dims": segment(1, dims=(1,) * 9),
    "tensor-dims-cut": lambda store: set_all(store.entries[4].segments[4], n_dims=8),
}.items():
    bad(_name, "open")(_change)


@bad("object-not-shown", "open")
def _(store):
    del store.entries[4].segments[4]


@bad("object-order", "open")
def _(store):
    """Objects 3 and 4 the other way round; every segment shows what it did."""
    store.objects[3:5] = store.objects[4:2:-1]
    store.entries[4].segments[3].object = 4
    store.entries[4].segments[4].object = 3


@bad("ratio", "open", base=two_extents)
def _(store):
    """As many files that show one object as it takes to say more than 16384 times what is stored."""
    store.entries = []
    show_too_often(store, 0)


# Section 10: the appendix of a part
def bend_appendix(at, data):
    return lambda store: setattr(store, "bend_appendix", poke(at, data))


def bend_end(change):
    """Changes the offset of the appendix."""

    def bend(appendix):
        appendix[-64:-56] = struct.pack("<Q", change(int.from_bytes(appendix[-64:-56], "little")))

    return lambda store: setattr(store, "bend_appendix", bend)


for _name, _change in {
    "part-bit-past-the-end": bend_appendix(0, b"\5"),
    "part-offset-less": bend_end(lambda v: v - 1),
    "part-offset-more": bend_end(lambda v: v + 1),
    "part-offset-huge": bend_end(lambda v: 2**64 - 1),
    "part-extents-less": bend_appendix(-56, u32(1)),
    "part-extents-more": bend_appendix(-56, u32(3)),
    "part-extents-huge": bend_appendix(-56, u32(2**32 - 1)),
    "part-u32": bend_appendix(-52, u32(1)),
    "part-digest-first": bend_appendix(-48, b"\0"),
    "part-digest-last": bend_appendix(-17, b"\0"),
    "part-version-0": bend_appendix(-16, b"\0\0"),
    "part-u16": bend_appendix(-14, b"\1"),
    "part-u32-last": bend_appendix(-9, b"\1"),
    "part-magic": bend_appendix(-1, b"\0"),
    "part-trailing-byte": lambda store: setattr(store, "bend_file", lambda b: b.extend(b"\0")),
    "part-map-too-long": lambda store: setattr(store, "bend_appendix", lambda b: b.insert(0, 1)),
    "part-map-too-short": lambda store: setattr(store, "bend_appendix", lambda b: b.pop(0)),
    "part-twice": lambda store: setattr(store, "bend_appendix", lambda b: b.extend(bytes(b))),
    "part-trailer": set_trailer(-1, b"\0"),
}.items():
    bad(_name, "open", base=part_of(two_extents, 0))(_change)
bad("part-version-2", "open", base=part_of(two_extents, 0), verdict=UNSUPPORTED)(bend_appendix(-16, b"\2"))
bad("part-lies", "read", base=part_of(two_extents, 0))(bend_appendix(0, b"\3"))
