"""The worked example: a small store, and section 11 of docs/format.md, which explains its every byte."""

import random

from good_stores import TENSOR, add_coding, add_object
from weir_format import (
    ALIGNMENT,
    FILE,
    HEADER_BYTES,
    NO_NUMBER,
    RAW,
    SPLIT,
    Coding,
    Entry,
    Part,
    Segment,
    Store,
    store_bytes,
)

TITLE = "## 11. Worked example\n"


def example():
    rng = random.Random(27)
    store = Store()
    plain = (
        bytes(rng.choice((0, 0x80)) | rng.choice(b"\x30\x31\x31\x32\x32\x32\x32\x33") for _ in range(390))
        + b"\x80" * 10
    )
    plain = plain[:5] + b"\x7f" + plain[6:]  # NaN in E4M3
    add_object(store, b"hello\n", [RAW])
    part = Part(0, 1, 1, symbol_bits=7, sign_first=True, base=0x2F)
    number = add_coding(store, Coding(1, [part]), plain, leave_out=range(5, 256))
    add_object(store, plain, [SPLIT], number)
    tensor = Segment(1, kind=TENSOR, name=b"w", dtype=b"F8_E4M3", dims=(20, 20))
    store.entries = [
        Entry(FILE, b"hello.txt", segments=[Segment(0)]),
        Entry(FILE, b"w.bin", segments=[tensor]),
    ]
    return store


def header_fields():
    return [
        (8, "magic"),
        (2, "version"),
        (2, "zero"),
        (4, "features"),
        (48, "zero"),
        (ALIGNMENT - HEADER_BYTES, "zeros up to extent 0"),
    ]


def extent_fields(store):
    stream = store.objects[1].tiles[0].streams[0]
    fields = []
    for k, what in enumerate(("raw", "split")):
        fields += [(8, f"tile {k}: XXH3-64"), (4, "payload bytes"), (1, f"mode: {what}"), (3, "zero")]
    fields += [(6, 'tile 0, raw: "hello\\n"'), (10, "zeros up to a multiple of 16")]
    fields += [
        (4, "tile 1, stream 0: words, w"),
        (4, "patches, p"),
        (8, "zero"),
        (256, "states of the lanes 0 to 63"),
    ]
    fields += [(64, "raw bits: q = ceil(7 x 1 / 8) = 1 number of 8 bits per lane")]
    fields += [(2 * len(stream.words), "words")] if stream.words else []
    fields += [(2, "zeros up to a multiple of 4")] if len(stream.words) % 2 else []
    fields += [(4 * len(stream.patches), "positions of the patches"), (len(stream.patches), "their items")]
    return fields + [
        (-sum(n for n, _ in fields[10:]) % 16, "zeros up to a multiple of 16: the padding of the payload")
    ]


def index_fields(store):
    part = store.codings[0].parts[0]
    fields = [(4, "codings, C"), (4, "objects, O"), (4, "extents, E"), (4, "entries, N")]
    fields += [(2, "coding 0: element bytes"), (1, "parts"), (1, "kind of transform: none")]
    fields += [(2, "part 0: offset"), (2, "count"), (1, "item bytes"), (1, "flags: sign first"), (1, "drop")]
    fields += [(1, "symbol bits, S; so R = 8 - 0 - 7 = 1"), (2, "base"), (1, "first"), (1, "last")]
    fields += [(2, f"frequency of index {part.first + k}: {f}") for k, f in enumerate(part.freq)]
    for k, o in enumerate(store.objects):
        fields += [(8, f"object {k}: plain bytes"), (4, "opaque" if o.coding == NO_NUMBER else "coding")]
    fields += [(4, "extent 0: stored bytes"), (32, "SHA-256")]
    for k, e in enumerate(store.entries):
        fields += [
            (1, f"entry {k}: file"),
            (1, "zero"),
            (2, "mode: 0644"),
            (2, "path bytes"),
            (len(e.path), "path"),
        ]
        fields += [(8, "size"), (32, "SHA-256"), (4, "segments"), (8, "segment 0: bytes"), (4, "object")]
        if e.segments[0].kind != TENSOR:
            fields += [(1, "kind: opaque")]
            continue
        fields += [
            (1, "kind: tensor"),
            (2, "name bytes"),
            (1, "name"),
            (1, "dtype bytes"),
            (7, "dtype"),
            (1, "dimensions"),
        ]
        fields += [(8, "dimension 0"), (8, "dimension 1")]
    return fields


def frame_fields(n):
    """A zstd frame with one raw block of n bytes."""
    assert n < 1 << 17
    return [
        (4, "zstd frame: magic"),
        (1, "single segment, content size in 4 bytes"),
        (4, "content size"),
        (3, f"last block, raw, {n} bytes"),
    ]


def trailer_fields():
    return [
        (8, "trailer: offset of the index"),
        (4, "stored bytes of the index"),
        (4, "plain bytes of the index"),
        (32, "SHA-256 of the stored index: the digest"),
        (2, "version"),
        (2, "features"),
        (4, "zero"),
        (8, "magic"),
    ]


def hex_lines(at, data, meaning):
    if len(data) > 16 and not any(data):
        return [f"{at:06x}  {'00 x ' + str(len(data)):<47}  {meaning}"]
    rows = [data[k : k + 16] for k in range(0, len(data), 16)]
    lines = [f"{at + 16 * k:06x}  {row.hex(' '):<47}" for k, row in enumerate(rows)]
    return [lines[0] + "  " + meaning] + [line.rstrip() for line in lines[1:]]


def hex_table(data, fields):
    assert sum(n for n, _ in fields) == len(data)
    lines, at = [], 0
    for n, meaning in fields:
        if n:
            lines += hex_lines(at, data[at : at + n], meaning)
        at += n
    return lines


def first_taker(stream):
    """The lane that takes the first word."""
    table, states = stream.part.table(), list(stream.states)
    while True:
        for lane, x in enumerate(states):
            f, below = next((f, b) for f, b in table.values() if b <= x % 4096 < b + f)
            states[lane] = f * (x >> 12) + x % 4096 - below
            if states[lane] < 65536:
                return lane


def steps(store, lane):
    """What decoding does to a lane that takes the stream's first word and no other."""
    stream, part = store.objects[1].tiles[0].streams[0], store.codings[0].parts[0]
    x, lines, words = stream.states[lane], [], stream.words[:1]
    for row in range(7):
        s = x % 4096
        j, (f, below) = next((j, fb) for j, fb in part.table().items() if fb[1] <= s < fb[1] + fb[0])
        after, word = f * (x >> 12) + s - below, ""
        if after < 65536:
            word = f"{words[0]:#06x}"
            after = after * 65536 + words.pop()
        symbol, bit = part.base + j if j else 0, stream.numbers[lane] >> row & 1
        code = symbol << 1 | bit
        item = (code >> 1) | (code & 1) << 7
        shown = f"`{item:02x}`"
        if 64 * row + lane < 400:
            assert item == store.objects[1].plain[64 * row + lane]
        else:
            shown = "padding"
        lines.append(
            f"| {row} | {x:#010x} | {s} | {j} | {below} | {f} | {word} | {after:#010x} | {symbol:#04x} | {bit} | {shown} |"
        )
        x = after
    assert x == 65536 and not words
    return lines


def section():
    """Section 10, from its title to the end of the document."""
    store = example()
    data = store_bytes(store)
    n_frame = len(data) - 64 - int.from_bytes(data[-64:-56], "little")
    index = index_fields(store)
    n_index = sum(n for n, _ in index)
    assert n_frame == n_index + sum(n for n, _ in frame_fields(n_index))
    fields = header_fields() + extent_fields(store) + frame_fields(n_index) + index + trailer_fields()
    stream = store.objects[1].tiles[0].streams[0]
    position = stream.patches[0][0]
    text = [
        TITLE.rstrip(),
        "",
        f"A whole store of {len(data)} bytes, `tests/golden/example.weir`: a file `hello.txt` of 6 bytes, stored raw, and a file `w.bin` of 400",
        "bytes that is a tensor of 20 x 20 `F8_E4M3`, split. At each offset, in hexadecimal: the bytes and what they are. The index's zstd",
        "frame has one raw block, so that it can be read here; a writer would compress it.",
        "",
        "```",
    ]
    text += hex_table(data, fields) + ["```", ""]
    return "\n".join(text + explanation(store, stream, position)) + "\n"


def explanation(store, stream, position):
    part, lane = store.codings[0].parts[0], first_taker(stream)
    last = part.first + len(part.freq) - 1
    assert part.first == 0 and len(stream.patches) == 1
    return [
        "The stream has n = 400 items in r = 7 rows; in the last row only the lanes 0 to 15 have an item, the other 48 are padding. Index 0 is",
        f"symbol 0, the indices 1 to {last} are the symbols 0x{part.base + 1:02x} to 0x{part.base + last:02x}: an item without its sign, which is the "
        "one raw bit. The first",
        f"word, 0x{stream.words[0]:04x}, goes to lane {lane}, the first lane that needs one. That lane, row by row, with its number "
        f"0x{stream.numbers[lane]:02x} for the raw bits:",
        "",
        "| row | x | s | j | b(j) | f(j) | word | next x | symbol | raw | item |",
        "|---|---|---|---|---|---|---|---|---|---|---|",
        *steps(store, lane),
        "",
        f"The patch, item {position}, is `{stream.patches[0][1]:02x}` (NaN): its symbol 0x7f has index 0x7f - 0x2f = 80, which has no frequency. The last ten "
        "items are `80`",
        "(-0): symbol 0, which index 0 gives whatever the base.",
    ]
