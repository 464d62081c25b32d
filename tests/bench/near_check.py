#!/usr/bin/env python3
"""Holds an unpacked near-lossless checkpoint against what was packed, with arithmetic of its own.

    near_check.py LS.json PACKED UNPACKED > near.csv

LS.json is what `weir ls --tensors --json` says of the store.  Every tensor of every safetensors file
is looked at: a lossless one has to be the same, byte for byte; of a near one each weight has to be
within half a step, SHARE x the root of its row's mean square, and what the store says of noise and
largest error has to be right.  One line a near tensor; exit code 1 if anything is not as it must be.
"""
import json
import math
import os
import struct
import sys

import numpy as np

KIND = {"BF16": np.dtype("<u2"), "F16": np.dtype("<f2"), "F32": np.dtype("<f4")}
LEAST_ROW = 64  # elements; codec/quantise.h


def tensors(path):
    """name -> (dtype, shape, bytes)"""
    with open(path, "rb") as f:
        (n,) = struct.unpack("<Q", f.read(8))
        head = json.loads(f.read(n))
    data = np.memmap(path, np.uint8, "r", 8 + n)
    return {name: (t["dtype"], t["shape"], data[t["data_offsets"][0]:t["data_offsets"][1]])
            for name, t in head.items() if name != "__metadata__"}


def floats(dtype, raw):
    v = raw.view(KIND[dtype])
    if dtype == "BF16":
        v = (v.astype(np.uint32) << 16).view(np.float32)
    return v.astype(np.float64)


def row_length(shape):
    n, d = 1, len(shape)
    while d > 1 and n < LEAST_ROW:
        d -= 1
        n *= shape[d]
    return n


def check(said, dtype, shape, was, now):
    """Signal, noise, largest error in steps; raises ValueError."""
    n = row_length(shape)
    w, g = floats(dtype, was).reshape(-1, n), floats(dtype, now).reshape(-1, n)
    finite = np.isfinite(w)
    if not np.array_equal(was.view(KIND[dtype]).reshape(-1, n)[~finite],
                          now.view(KIND[dtype]).reshape(-1, n)[~finite]):
        raise ValueError("a weight that is no number has changed")
    w, g = np.where(finite, w, 0), np.where(finite, g, 0)
    step = said["step_of_rms"] * np.sqrt((w * w).mean(axis=1))
    e = np.abs(g - w)
    largest = (e.max(axis=1)[step > 0] / step[step > 0]).max(initial=0)
    signal, noise = (w * w).sum(), (e * e).sum()
    if largest > 0.5 * (1 + 1e-6):  # the store's step is a float32
        raise ValueError("%.7f of a step off" % largest)
    snr = 10 * math.log10(signal / noise) if noise else math.inf
    if abs(snr - said["snr_db"]) > 1e-4 or abs(largest - said["max_error_steps"]) > 1e-5:
        raise ValueError("%.5f dB, %.6f steps, but the store says %.5f, %.6f" %
                         (snr, largest, said["snr_db"], said["max_error_steps"]))
    return signal, noise, largest, snr


def main():
    with open(sys.argv[1]) as f:
        listed = json.load(f)
    bad, plain, stored, signal, noise, largest, least, n_near, n_same = 0, 0, 0, 0, 0, 0, 1e9, 0, 0
    print("tensor,dtype,shape,plain_bytes,stored_bytes,bits_per_weight,ratio,snr_db,max_error_steps")
    for entry in listed["entries"]:
        if not entry.get("tensors"):
            continue
        was = tensors(os.path.join(sys.argv[2], entry["path"]))
        now = tensors(os.path.join(sys.argv[3], entry["path"]))
        if was.keys() != now.keys():
            sys.exit("%s: other tensors" % entry["path"])
        for t in entry["tensors"]:
            dtype, shape, a = was[t["name"]]
            b = now[t["name"]][2]
            if not t["near_lossless"]:
                n_same += 1
                if not np.array_equal(a, b):
                    bad += 1
                    print("%s: lossless, but not the same" % t["name"], file=sys.stderr)
                continue
            try:
                s, e, m, snr = check(t["near_lossless"], dtype, shape, np.array(a), np.array(b))
            except ValueError as why:
                bad += 1
                print("%s: %s" % (t["name"], why), file=sys.stderr)
                continue
            n_near += 1
            plain += t["plain_bytes"]
            stored += t["stored_bytes"]
            signal, noise = signal + s, noise + e
            largest, least = max(largest, m), min(least, snr)
            print("%s,%s,%s,%d,%d,%.4f,%.4f,%.4f,%.6f" %
                  (t["name"], dtype, "x".join(map(str, shape)), t["plain_bytes"], t["stored_bytes"],
                   t["bits_per_weight"], t["plain_bytes"] / t["stored_bytes"], snr, m))
    if n_near:
        print("total of %d,,,%d,%d,,%.4f,%.4f,%.6f" %
              (n_near, plain, stored, plain / stored, 10 * math.log10(signal / noise), largest))
    print("%d near tensors: least SNR %.4f dB; %d lossless ones; %d wrong" %
          (n_near, least if n_near else math.nan, n_same, bad), file=sys.stderr)
    sys.exit(1 if bad else 0)


main()
