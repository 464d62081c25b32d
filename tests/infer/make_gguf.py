#!/usr/bin/env python3
"""A golden's model as a GGUF file: rows of q and k permuted, rope's factors as a tensor.

    tests/infer/make_gguf.py FOLDER OUT.gguf F32|F16|BF16
    tests/infer/make_gguf.py FOLDER LOGITS        compares LOGITS (F32) with the golden
"""
import array
import json
import math
import pathlib
import struct
import sys

MASK = (1 << 64) - 1
TYPES = {"F32": 0, "F16": 1, "BF16": 30}
NAMES = {"embed_tokens": "token_embd", "norm": "output_norm", "lm_head": "output",
         "input_layernorm": "attn_norm", "post_attention_layernorm": "ffn_norm",
         "q_proj": "attn_q", "k_proj": "attn_k", "v_proj": "attn_v", "o_proj": "attn_output",
         "gate_proj": "ffn_gate", "up_proj": "ffn_up", "down_proj": "ffn_down"}


def values(name, shift, kind, n):
    """As make_goldens.py has it."""
    h = 0xCBF29CE484222325
    for byte in name.encode():
        h = (h ^ byte) * 0x100000001B3 & MASK
    for i in range(n):
        z = (h + i * 0x9E3779B97F4A7C15) & MASK
        z = (z ^ z >> 30) * 0xBF58476D1CE4E5B9 & MASK
        z = (z ^ z >> 27) * 0x94D049BB133111EB & MASK
        z ^= z >> 31
        if kind == "matrix":
            yield ((z >> 56) - 128) / (128 << shift)
        else:
            yield ((z >> 60) - 8) / 16 + (kind == "norm")


def packed(numbers, dtype):
    if dtype == "F16":
        return struct.pack(f"<{len(numbers)}e", *numbers)
    raw = struct.pack(f"<{len(numbers)}f", *numbers)
    return raw if dtype == "F32" else b"".join(raw[i + 2:i + 4] for i in range(0, len(raw), 4))


def permuted(rows, head_dim):
    """Dimension i and i + head_dim / 2 become 2 i and 2 i + 1."""
    half = head_dim // 2
    return [rows[at + i + j * half] for at in range(0, len(rows), head_dim)
            for i in range(half) for j in (0, 1)]


def tensors(folder, config, dtype):
    head_dim = config.get("head_dim") or config["hidden_size"] // config["num_attention_heads"]
    for line in (folder / "tensors.txt").read_text().splitlines():
        name, shift, kind, *shape = line.split()
        shape = [int(d) for d in shape]
        numbers = list(values(name, int(shift), kind, math.prod(shape)))
        parts = name.split(".")
        stem = NAMES[parts[-2]]
        if "layers" in parts:
            stem = f"blk.{parts[2]}.{stem}"
        if parts[-2] in ("q_proj", "k_proj"):
            width = shape[1]
            rows = [numbers[i:i + width] for i in range(0, len(numbers), width)]
            numbers = [v for row in permuted(rows, head_dim) for v in row]
        form = dtype if len(shape) == 2 else "F32"
        yield stem + ".weight", shape, form, packed(numbers, form)
    scaling = config.get("rope_scaling")
    if (scaling or {}).get("rope_type") == "llama3":
        factors = [factor(scaling, config["rope_theta"] ** (2 * i / head_dim))
                   for i in range(head_dim // 2)]
        yield "rope_freqs.weight", [head_dim // 2], "F32", packed(factors, "F32")


def factor(s, period):
    wave, old = 2 * math.pi * period, s["original_max_position_embeddings"]
    if wave < old / s["high_freq_factor"]:
        return 1.0
    if wave > old / s["low_freq_factor"]:
        return s["factor"]
    share = (old / wave - s["low_freq_factor"]) / (s["high_freq_factor"] - s["low_freq_factor"])
    return 1 / ((1 - share) / s["factor"] + share)


def text(t):
    raw = t.encode()
    return struct.pack("<Q", len(raw)) + raw


def pair(key, value):
    if isinstance(value, str):
        return text(key) + struct.pack("<I", 8) + text(value)
    form = "<If" if isinstance(value, float) else "<II"
    return text(key) + struct.pack(form, 6 if isinstance(value, float) else 4, value)


def write(folder, out, dtype):
    c = json.loads((folder / "config.json").read_text())
    pairs = {"general.architecture": "llama", "llama.block_count": c["num_hidden_layers"],
             "llama.context_length": c["max_position_embeddings"],
             "llama.embedding_length": c["hidden_size"],
             "llama.feed_forward_length": c["intermediate_size"],
             "llama.attention.head_count": c["num_attention_heads"],
             "llama.attention.head_count_kv": c["num_key_value_heads"],
             "llama.attention.layer_norm_rms_epsilon": float(c["rms_norm_eps"]),
             "llama.rope.freq_base": float(c["rope_theta"]), "llama.vocab_size": c["vocab_size"]}
    if c.get("head_dim"):
        pairs.update({"llama.attention.key_length": c["head_dim"],
                      "llama.attention.value_length": c["head_dim"]})
    if (c.get("rope_scaling") or {}).get("type") == "linear":
        pairs.update({"llama.rope.scaling.type": "linear",
                      "llama.rope.scaling.factor": float(c["rope_scaling"]["factor"])})
    header = b"".join(pair(k, v) for k, v in pairs.items())
    data, infos, n = b"", b"", 0
    for name, shape, form, raw in tensors(folder, c, dtype):
        dims = shape[::-1]
        infos += text(name) + struct.pack(f"<I{len(dims)}QIQ", len(dims), *dims, TYPES[form], len(data))
        data += raw + bytes(-len(raw) % 32)
        n += 1
    start = b"GGUF" + struct.pack("<IQQ", 3, n, len(pairs)) + header + infos
    out.write_bytes(start + bytes(-len(start) % 32) + data)


def compare(folder, logits):
    a, b = (array.array("f", path.read_bytes()) for path in (folder / "logits.f32", logits))
    off = max(abs(x - y) for x, y in zip(a, b)) if len(a) == len(b) else math.inf
    print(f"{off:.1e} off")
    return int(off > 1e-4)


if __name__ == "__main__":
    where = pathlib.Path(sys.argv[1])
    if len(sys.argv) == 3:
        sys.exit(compare(where, pathlib.Path(sys.argv[2])))
    write(where, pathlib.Path(sys.argv[2]), sys.argv[3])
