#!/usr/bin/env python3
"""What weir saves of GGUF's block types: a file of each, packed, compared, measured.

    tests/clients/gguf_blocks.py WEIR FOLDER [STORY.safetensors]   prints one line of CSV for each

The weights are those of a real model (F32), and 4 million of N(0, 0.02).  PyPI's gguf quantises the
plain types; it only reads the K types, so they are made here, plainly, and what gguf reads from
them has to be near the weights.
"""
import json
import pathlib
import struct
import subprocess
import sys

import gguf
import numpy as np
from gguf.quants import dequantize, quantize

TYPES = ["Q8_0", "Q4_0", "Q4_1", "Q5_0", "Q5_1", "Q4_K", "Q5_K", "Q6_K"]
BLOCK = 256


def half(x):
    return x.astype(np.float16)


def ratio(a, b):
    """a / b, 0 where b is 0"""
    return np.divide(a, b, out=np.zeros(np.broadcast(a, b).shape, np.float32), where=b != 0)


def packed_scales(sc, m):
    """8 scales and 8 minima of 6 bits: 12 bytes"""
    low = sc[:, :4] & 63 | (sc[:, 4:] >> 4) << 6
    middle = m[:, :4] & 63 | (m[:, 4:] >> 4) << 6
    return np.concatenate([low, middle, sc[:, 4:] & 15 | (m[:, 4:] & 15) << 4], axis=1)


def k45(x, bits):
    """Q4_K and Q5_K: 8 sub-blocks of 32, each with a scale and a minimum"""
    top = (1 << bits) - 1
    x = x.reshape(-1, 8, 32)
    least = np.minimum(x.min(axis=2), 0)
    step = (x.max(axis=2) - least) / top
    d, dmin = half(step.max(axis=1) / 63), half((-least).max(axis=1) / 63)
    d32, dmin32 = d.astype(np.float32)[:, None], dmin.astype(np.float32)[:, None]
    sc = np.clip(np.rint(ratio(step, d32)), 0, 63).astype(np.uint8)
    m = np.clip(np.rint(ratio(-least, dmin32)), 0, 63).astype(np.uint8)
    q = ratio(x + (dmin32 * m)[:, :, None], (d32 * sc)[:, :, None])
    q = np.clip(np.rint(q), 0, top).astype(np.uint8)
    pair = q.reshape(-1, 4, 2, 32)
    qs = (pair[:, :, 0] & 15 | (pair[:, :, 1] & 15) << 4).reshape(-1, 128)
    head = [d[:, None].view(np.uint8), dmin[:, None].view(np.uint8), packed_scales(sc, m)]
    if bits == 5:
        high = np.zeros((len(x), 32), np.uint8)
        for j in range(8):
            high |= (q[:, j] >> 4) << j
        head.append(high)
    return np.concatenate(head + [qs], axis=1)


def k6(x):
    """Q6_K: 16 sub-blocks of 16, each with a scale"""
    x = x.reshape(-1, 16, 16)
    at = np.abs(x).argmax(axis=2)
    step = np.take_along_axis(x, at[:, :, None], 2)[:, :, 0] / -32
    furthest = np.take_along_axis(step, np.abs(step).argmax(axis=1)[:, None], 1)[:, 0]
    d = half(furthest / -128)
    sc = np.clip(np.rint(ratio(step, d.astype(np.float32)[:, None])), -128, 127).astype(np.int8)
    q = ratio(x, (d.astype(np.float32)[:, None] * sc)[:, :, None])
    q = (np.clip(np.rint(q), -32, 31) + 32).astype(np.uint8).reshape(-1, 2, 4, 32)
    ql = np.concatenate([q[:, :, 0] & 15 | (q[:, :, 2] & 15) << 4, q[:, :, 1] & 15 | (q[:, :, 3] & 15) << 4], axis=2)
    qh = q[:, :, 0] >> 4 | (q[:, :, 1] >> 4) << 2 | (q[:, :, 2] >> 4) << 4 | (q[:, :, 3] >> 4) << 6
    return np.concatenate([ql.reshape(-1, 128), qh.reshape(-1, 64), sc.view(np.uint8), d[:, None].view(np.uint8)], axis=1)


def blocks(x, name):
    kind = getattr(gguf.GGMLQuantizationType, name)
    if name == "Q6_K":
        out = k6(x)
    elif name.endswith("_K"):
        out = k45(x, int(name[1]))
    else:
        out = quantize(x.reshape(-1, BLOCK), kind)
    out = np.ascontiguousarray(out)
    back = dequantize(out.reshape(len(out), -1), kind).reshape(-1)
    # Half a step of the coarsest, and what rounding scales adds.
    assert np.abs(back - x.reshape(-1)).max() <= np.abs(x).max() / 4, name
    return out, kind


def write(path, tensors, name):
    writer = gguf.GGUFWriter(path, "llama")
    for key, x in tensors.items():
        out, kind = blocks(x, name)
        writer.add_tensor(key, out, raw_dtype=kind)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def story(path):
    data = pathlib.Path(path).read_bytes()
    end = 8 + struct.unpack("<Q", data[:8])[0]
    out = {}
    for key, t in json.loads(data[8:end]).items():
        if key != "__metadata__" and t["dtype"] == "F32" and len(t["shape"]) == 2:
            at = [end + n for n in t["data_offsets"]]
            x = np.frombuffer(data[at[0]:at[1]], np.float32)
            out[key] = x[: len(x) // BLOCK * BLOCK]
    return out


def measure(weir, path, what, name):
    store = path.with_suffix(".weir")
    subprocess.run([weir, "pack", "-qf", path, store], check=True)
    subprocess.run([weir, "verify", "-q", store, "--against", path], check=True)
    listed = subprocess.run([weir, "ls", "--tensors", "--json", store], check=True, capture_output=True)
    (entry,) = json.loads(listed.stdout)["entries"]
    plain = sum(t["plain_bytes"] for t in entry["tensors"])
    stored = sum(t["stored_bytes"] for t in entry["tensors"])
    print(f"{what},{name},{plain},{stored},{100 * (1 - stored / plain):.2f}", flush=True)


def main():
    weir, folder = sys.argv[1], pathlib.Path(sys.argv[2])
    noise = np.random.Generator(np.random.PCG64(1)).standard_normal(1 << 22).astype(np.float32) * 0.02
    models = {"story": story(sys.argv[3])} if len(sys.argv) > 3 else {}
    models["normal"] = {"weight": noise}
    print("weights,type,plain_bytes,stored_bytes,saving_percent")
    for what, tensors in models.items():
        for name in TYPES:
            path = folder / f"{what}-{name}.gguf"
            write(path, tensors, name)
            measure(weir, path, what, name)


main()
