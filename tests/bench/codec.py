#!/usr/bin/env python3
"""Turns what `weir bench codec --json` prints into CSV rows that say where they come from.

    codec.py BENCH.json OUT.csv COMMIT MACHINE
"""
import csv
import json
import sys


def main():
    source, out, commit, machine = sys.argv[1:]
    keys = ["variant", "dtype", "threads", "bits_per_weight", "encode_gbps", "decode_gbps"]
    with open(source) as f, open(out, "w", newline="") as g:
        w = csv.writer(g)
        w.writerow(["commit", "machine"] + keys)
        for row in json.load(f):
            w.writerow([commit, machine] + [row[k] for k in keys])


if __name__ == "__main__":
    main()
