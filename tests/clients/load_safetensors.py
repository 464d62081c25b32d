"""Compares every tensor that safetensors reads through the mount with the original's.

    load_safetensors.py NAME ORIGINAL MOUNTED [--order name|offset|random] [--framework pt|np]

NAME is what the result is called.  Both folders hold the same *.safetensors; tensors are read in
the order asked for, whole and, in the middle, a few rows of them.
"""

import argparse
import os
import random

from safetensors import safe_open

import checks


def keys_in(order, file):
    keys = file.offset_keys() if order == "offset" else sorted(file.keys())
    if order == "random":
        random.Random(1).shuffle(keys)
    return keys


def as_bytes(tensor):
    return (str(tensor.dtype), tensor.shape, tensor.tobytes())


def some_rows(file, key):
    part = file.get_slice(key)
    rows = part.get_shape()[0] if part.get_shape() else 0
    return part[rows // 3 : rows // 3 + 3] if rows else file.get_tensor(key)


def compare_file(original, mounted, options, clocks):
    """Names of tensors that differ, how many there are, and their bytes."""
    wrong, n_bytes = [], 0
    copy = (lambda t: t.clone()) if options.framework == "pt" else (lambda t: t.copy())
    same = checks.same_bits
    if options.framework == "np":
        same = lambda a, b: as_bytes(a) == as_bytes(b)
    with safe_open(original, options.framework) as a, safe_open(mounted, options.framework) as b:
        keys = keys_in(options.order, a)
        if keys != keys_in(options.order, b) or a.metadata() != b.metadata():
            return ["the header"], len(keys), 0
        for key in keys:
            with clocks[0]:
                x = copy(a.get_tensor(key))
            with clocks[1]:
                y = copy(b.get_tensor(key))
            n_bytes += x.nbytes
            if not same(x, y) or not same(some_rows(a, key), some_rows(b, key)):
                wrong.append(key)
    return wrong, len(keys), n_bytes


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("name")
    parser.add_argument("original")
    parser.add_argument("mounted")
    parser.add_argument("--order", choices=("name", "offset", "random"), default="name")
    parser.add_argument("--framework", choices=("pt", "np"), default="pt")
    options = parser.parse_args()
    files = sorted(f for f in os.listdir(options.original) if f.endswith(".safetensors"))
    shown = sorted(f for f in os.listdir(options.mounted) if f.endswith(".safetensors"))
    checks.make_cold(options.original)
    clocks = checks.Clock(), checks.Clock()
    wrong, n, n_bytes = [] if files and files == shown else ["the list of files"], 0, 0
    for file in [] if wrong else files:
        paths = [os.path.join(d, file) for d in (options.original, options.mounted)]
        result = compare_file(*paths, options, clocks)
        wrong += [f"{file} {key}" for key in result[0]]
        n += result[1]
        n_bytes += result[2]
    detail = f"{n} tensors in {len(files)} files, {n_bytes / 1e6:.1f} MB"
    detail += f"; original {clocks[0].seconds:.2f} s, mount {clocks[1].seconds:.2f} s"
    name = f"safetensors {options.name} {options.framework} by {options.order}"
    checks.check(name, not wrong, f"not the same: {', '.join(wrong)}" if wrong else detail)
    checks.finish()


main()
