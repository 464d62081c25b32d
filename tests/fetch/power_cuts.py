#!/usr/bin/env python3
"""What a disk may hold after the power was cut, made from a log of power_shim.c.

usage: power_cuts.py LOG DIR OUT N SEED

LOG is of a program that worked below DIR, which was empty.  Makes the folders OUT/0 to OUT/N-1, each
what DIR may be after a cut at some point of the log, by these rules:

* What was written to a file, and its size, is there if a sync of it, begun afterwards, was over
  before the cut.  Of the rest any part may be there: each write all, not at all, or some of its pages
  of 4096 bytes, in any combination, whatever was written later.
* A name (made, renamed, linked, unlinked) is so if a sync of its folder, begun afterwards, was over,
  or, for a file just made, a sync of the file.  Any of the others may have been forgotten.

Two thirds of the cuts are right behind or before a sync, a rename or an unlink, where order matters, or
at the very end; the others are anywhere.
"""
import os
import random
import sys

PAGE = 4096


class Op:
    def __init__(self, kind, words, bytes_at):
        self.kind, self.words, self.bytes_at = kind, words, bytes_at
        self.sure_from = None  # index of the end of the sync that makes it so


def load(name):
    ops, at = [], 0
    for line in open(name, encoding="utf-8"):
        kind, *words = line.split()
        ops.append(Op(kind, words, at))
        if kind == "W":
            at += int(words[2])
    return ops


def find_sure(ops, folder_inodes):
    """Which sync makes an op sure."""
    open_sync = {}
    for i, op in enumerate(ops):
        if op.kind == "B":
            open_sync[op.words[0]] = i
        if op.kind != "E":
            continue
        inode, begun = op.words[0], open_sync[op.words[0]]
        for earlier in ops[:begun]:
            if earlier.sure_from is None and is_covered(earlier, inode, folder_inodes):
                earlier.sure_from = i


def is_covered(op, inode, folder_inodes):
    if op.kind in "WTO" and op.words[0] == inode:
        return True
    names = {"O": op.words[1:], "R": op.words, "L": op.words[1:], "U": op.words, "M": op.words}.get(op.kind, [])
    return any(folder_inodes.get(os.path.dirname(n)) == inode for n in names)


def happens(op, cut, mood, rng):
    if op.sure_from is not None and op.sure_from < cut:
        return True
    return rng.random() < mood


def write_some(content, op, data, torn, rng):
    at, n = int(op.words[1]), int(op.words[2])
    if len(content) < at + n:
        content.extend(bytes(at + n - len(content)))
    for first in range(at - at % PAGE, at + n, PAGE):
        low, high = max(first, at), min(first + PAGE, at + n)
        if not torn or rng.random() < 0.5:
            content[low:high] = data[op.bytes_at + low - at : op.bytes_at + high - at]


def state(ops, cut, data, rng):
    """Names and contents after a cut before op number `cut`."""
    moods = [0, 1, 0.5, 0.9, 0.1]  # how much of what is not sure is there
    mood = {True: rng.choice(moods), False: rng.choice(moods)}  # of contents, of names
    torn = rng.random() < 0.5
    names, contents, folders = {}, {}, []
    for op in ops[:cut]:
        if op.kind == "O":
            contents[op.words[0]] = bytearray()  # an inode may be used again
        if op.kind in "BE" or not happens(op, cut, mood[op.kind in "WT"], rng):
            continue
        sure = op.sure_from is not None and op.sure_from < cut
        if op.kind == "O":
            names[op.words[1]] = op.words[0]
        elif op.kind == "W":
            write_some(contents.setdefault(op.words[0], bytearray()), op, data, torn and not sure, rng)
        elif op.kind == "T":
            content, size = contents.setdefault(op.words[0], bytearray()), int(op.words[1])
            del content[size:]
            content.extend(bytes(size - len(content)))
        elif op.kind in "RL" and op.words[0] in names:
            names[op.words[1]] = names[op.words[0]]
            if op.kind == "R":
                del names[op.words[0]]
        elif op.kind == "U":
            names.pop(op.words[0], None)
        elif op.kind == "M":
            folders.append(op.words[0])
    return names, contents, folders


def main():
    log, folder, out, n, seed = sys.argv[1], sys.argv[2], sys.argv[3], int(sys.argv[4]), int(sys.argv[5])
    rng = random.Random(seed)
    ops = load(log)
    with open(log + ".bytes", "rb") as f:
        data = f.read()
    folder_inodes = {d: str(os.stat(d).st_ino) for d, _, _ in os.walk(folder)}
    find_sure(ops, folder_inodes)
    odd = [i + d for i, op in enumerate(ops) if op.kind in "BERUL" for d in (0, 1)]
    for i in range(n):
        last = range(max(0, len(ops) - 8), len(ops) + 1)
        cut = rng.choice(rng.choice([odd, last, range(len(ops) + 1)]))
        names, contents, folders = state(ops, cut, data, rng)
        root = f"{out}/{i}"
        os.makedirs(root)
        for path in folders + [os.path.dirname(p) for p in names]:
            os.makedirs(root + path[len(folder) :], exist_ok=True)
        for path, inode in names.items():
            with open(root + path[len(folder) :], "wb") as f:
                f.write(contents.get(inode, b""))
    syncs = sum(op.kind == "E" for op in ops)
    print(f"{len(ops)} calls, {syncs} syncs, {n} states")


main()
