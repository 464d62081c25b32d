#!/usr/bin/env python3
"""Writes the golden stores, what is expected of them, and section 11 of docs/format.md.

    make_golden.py          writes them all, for a person who has changed the format
    make_golden.py --check  writes nothing; names what differs from what is there, and fails

Needs only Python 3.9 and libxxhash.so.0; everything else is written out in weir_format.py.
"""

import hashlib
import pathlib
import sys

sys.dont_write_bytecode = True

from bad_base import BAD  # noqa: E402
from base_stores import BASE_GOOD, OTHER_BASES  # noqa: E402
from good_stores import GOOD, PARTS  # noqa: E402
from made_stores import MADE_GOOD  # noqa: E402
from weir_format import DIRECTORY, FILE, LINK, store_bytes  # noqa: E402
from worked_example import TITLE, example, section  # noqa: E402

HERE = pathlib.Path(__file__).resolve().parent
FORMAT = HERE.parent.parent / "docs" / "format.md"
MAX_STORE = 40 * 1024


def hash_lines(store):
    """As sha256sum prints them, names with a backslash or a newline escaped."""
    out = b""
    for e in store.entries:
        if e.kind == FILE:
            name = e.path.replace(b"\\", b"\\\\").replace(b"\n", b"\\n")
            digest = hashlib.sha256(e.plain(store.objects)).hexdigest().encode()
            out += (b"\\" if name != e.path else b"") + digest + b"  " + name + b"\n"
    return out


def tree_lines(store):
    """As find -printf '%y %m [%P] [%l]\\n' and a sort of the lines print them."""
    letter = {FILE: b"f", DIRECTORY: b"d", LINK: b"l"}
    out = b"".join(
        b"%s %o [%s] [%s]\n" % (letter[e.kind], e.shown_mode(), e.path, e.target or b"")
        for e in store.entries
    )
    return b"".join(sorted(out.splitlines(keepends=True)))


def expectation(name, verdict, when, base):
    return f"{name}.weir {verdict} {when}" + (f" {base}.weir" if base else "")


def golden_files():
    """name -> bytes"""
    files, expected = {}, [
        "# STORE VERDICT WHO: the verdict is ok, part (fine but for what it lacks: exit code 2), corrupt (3) or unsupported",
        "# (4), or refused (3 or 4).  Who must see it: open (all who open the store), read (who decodes the tile that is bad), verify (who",
        "# checks everything), base (who also has the base).  At the end the base, of a store that needs one.",
    ]
    for name, build in {**GOOD, **MADE_GOOD, "example": example, **BASE_GOOD}.items():
        store = build()
        files[f"{name}.weir"] = store_bytes(store)
        files[f"{name}.sha256"] = hash_lines(store)
        files[f"{name}.tree"] = tree_lines(store)
        expected.append(expectation(name, "ok", "-", store.base_name))
    for name, build in PARTS.items():
        files[f"{name}.weir"] = store_bytes(build())
        expected.append(f"{name}.weir part -")
    for name, (verdict, when, build) in BAD.items():
        store = build()
        files[f"bad-{name}.weir"] = store_bytes(store)
        expected.append(expectation(f"bad-{name}", verdict, when, store.base_name))
    expected += [expectation(name, verdict, "-", base) for name, verdict, base in OTHER_BASES]
    files["expected.txt"] = ("\n".join(expected) + "\n").encode()
    assert all(len(data) < MAX_STORE for data in files.values())
    return files


def main():
    files = {HERE / name: data for name, data in golden_files().items()}
    format_text = FORMAT.read_text(encoding="utf-8")
    files[FORMAT] = (format_text.partition(TITLE)[0].rstrip("\n") + "\n\n" + section()).encode()
    strangers = {p for suffix in ("weir", "sha256", "tree") for p in HERE.glob("*." + suffix)} - set(files)
    differing = [p for p, data in files.items() if not p.exists() or p.read_bytes() != data] + sorted(
        strangers
    )
    if "--check" in sys.argv[1:]:
        for path in differing:
            print(f"{path.relative_to(HERE.parent.parent)} is not what make_golden.py writes")
        return 1 if differing else 0
    for path in strangers:
        path.unlink()
    for path in set(differing) - strangers:
        path.write_bytes(files[path])
    print(f"{len(files)} files, {len(differing)} changed")
    return 0


if __name__ == "__main__":
    sys.exit(main())
