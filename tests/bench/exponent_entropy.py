#!/usr/bin/env python3
"""Order-0 entropy of the exponents of a safetensors file's BF16 tensors, beside what a store takes.

    exponent_entropy.py FILE.safetensors [LS.json] [--over ELEMENTS]

Prints a line a tensor: name, elements, H(exponent) + 8 in bits per weight and, with LS.json (the
output of `weir ls --tensors --json` of a store of that file), the bits per weight stored and their
ratio.  Fails (exit 3) when a tensor of more than ELEMENTS (default 65536) takes over 2 % more than
H + 8: below that, sign and mantissa count as 8 incompressible bits.
"""
import collections
import json
import math
import struct
import sys


def tensors(path):
    with open(path, "rb") as f:
        (n,) = struct.unpack("<Q", f.read(8))
        header = json.loads(f.read(n))
        for name, t in header.items():
            if name == "__metadata__" or t["dtype"] != "BF16":
                continue
            start, end = t["data_offsets"]
            f.seek(8 + n + start)
            yield name, f.read(end - start)


def exponent_bits(data):
    count = collections.Counter()
    values = memoryview(data).cast("H")
    for value, times in collections.Counter(values).items():
        count[value >> 7 & 0xFF] += times
    total = len(values)
    return -sum(c / total * math.log2(c / total) for c in count.values())


def stored_bits(path):
    found = {}
    for f in json.load(open(path))["entries"]:
        for t in f.get("tensors", []):
            if t.get("name") is not None:
                found[t["name"]] = t["bits_per_weight"]
    return found


def main():
    args = sys.argv[1:]
    over = 65536
    if "--over" in args:
        i = args.index("--over")
        over = int(args[i + 1])
        del args[i : i + 2]
    stored = stored_bits(args[1]) if len(args) > 1 else {}
    failed = 0
    for name, data in tensors(args[0]):
        n = len(data) // 2
        if n == 0:
            continue
        bound = exponent_bits(data) + 8
        line = f"{name} {n} {bound:.3f}"
        if name in stored:
            ratio = stored[name] / bound
            late = n > over and ratio > 1.02
            failed += late
            line += f" {stored[name]:.3f} {ratio:.4f}" + (" TOO LARGE" if late else "")
        print(line)
    return 3 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
