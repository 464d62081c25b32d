#!/usr/bin/env python3
"""Logits of small models with made-up weights, by PyPI's transformers: what infer/ is held against.

    tests/infer/make_goldens.py           writes tests/infer/golden/
    tests/infer/make_goldens.py --check   computes all anew and compares

A case is a folder: config.json as transformers 4 spells it, config5.json as this transformers
writes it, tensors.txt (name, shift, kind, dimensions; weights.h makes the weights of it), ids.txt,
logits.f32 (fp32, eager attention, every position, little-endian), and bf16.txt: by how much
transformers' own BF16 is off, at most and on average.  The weights are the same in F32, F16 and
BF16.
"""
import argparse
import json
import pathlib
import sys

import numpy as np
import torch
import transformers

HERE = pathlib.Path(__file__).resolve().parent
N_IDS = 48
VOCAB = 61

BASE = dict(vocab_size=VOCAB, hidden_size=32, intermediate_size=50, num_hidden_layers=2,
            num_attention_heads=4, num_key_value_heads=4, max_position_embeddings=256,
            rms_norm_eps=1e-5, bos_token_id=1, eos_token_id=2, rope_theta=10000.0,
            tie_word_embeddings=False, hidden_act="silu")
LLAMA3 = dict(rope_type="llama3", factor=8.0, low_freq_factor=1.0, high_freq_factor=4.0,
              original_max_position_embeddings=32)
GEMMA = dict(hidden_act=None, hidden_activation="gelu_pytorch_tanh", num_hidden_layers=4,
             num_key_value_heads=2, head_dim=12, query_pre_attn_scalar=10, sliding_window=8,
             tie_word_embeddings=True, attention_bias=False)


def longrope(pairs):
    return dict(type="longrope", short_factor=[1.0 + 0.05 * i for i in range(pairs)],
                long_factor=[1.5 + 0.75 * i for i in range(pairs)])


CASES = {
    "llama": ("Llama", {}),
    "llama-gqa4-tied": ("Llama", dict(num_key_value_heads=1, tie_word_embeddings=True)),
    "llama-gqa8-biases": ("Llama", dict(num_attention_heads=8, num_key_value_heads=1, head_dim=6,
                                        attention_bias=True, mlp_bias=True, hidden_size=40)),
    "llama-rope-llama3": ("Llama", dict(rope_scaling=LLAMA3, rope_theta=100.0, head_dim=16)),
    "llama-rope-linear": ("Llama", dict(rope_scaling=dict(type="linear", factor=2.0))),
    "mistral-short-window": ("Mistral", dict(sliding_window=7, num_key_value_heads=2)),
    "mistral-long-window": ("Mistral", dict(sliding_window=64, num_key_value_heads=2)),
    "mistral-head-dim": ("Mistral", dict(sliding_window=None, head_dim=18, num_key_value_heads=1)),
    "qwen2": ("Qwen2", dict(num_key_value_heads=2, rope_theta=1e6, tie_word_embeddings=True,
                            use_sliding_window=False, sliding_window=128, max_window_layers=2)),
    "qwen2-window": ("Qwen2", dict(num_key_value_heads=1, use_sliding_window=True,
                                   sliding_window=6, max_window_layers=1, num_hidden_layers=3)),
    "qwen3": ("Qwen3", dict(num_key_value_heads=2, head_dim=14, tie_word_embeddings=True)),
    "qwen3-biases": ("Qwen3", dict(num_key_value_heads=1, head_dim=8, attention_bias=True,
                                   use_sliding_window=True, sliding_window=100,
                                   max_window_layers=0)),
    "gemma2": ("Gemma2", dict(GEMMA, attn_logit_softcapping=5.0, final_logit_softcapping=8.0)),
    "gemma2-no-caps": ("Gemma2", dict(GEMMA, attn_logit_softcapping=None,
                                      final_logit_softcapping=None, sliding_window=100)),
    "gemma3": ("Gemma3", dict(GEMMA, sliding_window_pattern=3, rope_local_base_freq=50.0,
                              rope_theta=1000.0, rope_scaling=dict(rope_type="linear",
                                                                   factor=8.0))),
    "phi3": ("Phi3", dict(num_key_value_heads=2, sliding_window=None,
                          original_max_position_embeddings=256, pad_token_id=0)),
    "phi3-long": ("Phi3", dict(rope_scaling=longrope(4), original_max_position_embeddings=20,
                               sliding_window=30, pad_token_id=0)),
    "phi3-short-partial": ("Phi3", dict(head_dim=None, num_attention_heads=2,
                                        num_key_value_heads=1, partial_rotary_factor=0.75,
                                        rope_scaling=longrope(6), pad_token_id=0,
                                        original_max_position_embeddings=100)),
}

MASK = (1 << 64) - 1


def name_hash(name):
    """FNV-1a, 64 bits."""
    h = 0xCBF29CE484222325
    for byte in name.encode():
        h = (h ^ byte) * 0x100000001B3 & MASK
    return h


def mixed(start, n):
    """splitmix64 of start + 0, 1, 2, ..."""
    with np.errstate(over="ignore"):
        z = np.uint64(start) + np.arange(n, dtype=np.uint64) * np.uint64(0x9E3779B97F4A7C15)
        z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        return z ^ (z >> np.uint64(31))


def weights(name, shift, kind, shape):
    """matrix: k / 128 / 2^shift for a byte k with a sign; norm: 1 + j / 16, j from -8 to 7;
    offset: j / 16."""
    bits = mixed(name_hash(name), int(np.prod(shape)))
    if kind == "matrix":
        values = (bits >> np.uint64(56)).astype(np.int64) - 128
        values = values.astype(np.float32) / np.float32(128 << shift)
    else:
        values = (bits >> np.uint64(60)).astype(np.int64) - 8
        values = values.astype(np.float32) / np.float32(16)
        if kind == "norm":
            values += np.float32(1)
    return torch.from_numpy(values.reshape(shape))


def plan(family, name, shape):
    """How big a tensor's numbers are: so that no layer drowns in another, and attention chooses."""
    if len(shape) == 1:
        if name.endswith("bias"):
            return 2, "matrix"
        return 0, "offset" if family.startswith("Gemma") else "norm"
    if "embed_tokens" in name or "lm_head" in name:
        return 1, "matrix"
    return 1 if "qkv" in name or "q_proj" in name or "k_proj" in name else 2, "matrix"


def make_config(family, changes):
    spelled = {k: v for k, v in dict(BASE, **changes).items() if not (k == "hidden_act" and v is None)}
    if "head_dim" in changes and changes["head_dim"] is None:
        del spelled["head_dim"]
    text = "Gemma3TextConfig" if family == "Gemma3" else family + "Config"
    config = getattr(transformers, text)(**json.loads(json.dumps(spelled)))
    spelled["model_type"] = config.model_type
    spelled["architectures"] = [family + "ForCausalLM"]
    spelled["torch_dtype"] = "float32"
    return config, spelled


def compute(family, config, dtype, tensors, ids):
    config._attn_implementation = "eager"
    model = getattr(transformers, family + "ForCausalLM")(config).eval()
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            parameter.copy_(tensors[name])
        return model.to(dtype)(torch.tensor([ids])).logits[0].float().numpy()


def make(case):
    family, changes = CASES[case]
    config, spelled = make_config(family, changes)
    model = getattr(transformers, family + "ForCausalLM")(config)
    lines, tensors = [], {}
    for name, parameter in model.named_parameters():
        shift, kind = plan(family, name, parameter.shape)
        tensors[name] = weights(name, shift, kind, tuple(parameter.shape))
        lines.append(" ".join([name, str(shift), kind] + [str(d) for d in parameter.shape]))
    ids = (mixed(name_hash(case), N_IDS) % np.uint64(VOCAB)).tolist()
    logits = compute(family, config, torch.float32, tensors, ids)
    off = np.abs(compute(family, config, torch.bfloat16, tensors, ids) - logits)
    top = np.sort(logits, axis=1)
    print(f"{case}: logits {np.abs(logits).max():.2f}, margin {(top[:, -1] - top[:, -2]).min():.1e}, "
          f"bf16 is off by {off.max():.3f}, {off.mean():.4f}")
    config.architectures = [family + "ForCausalLM"]
    return {
        "config.json": (json.dumps(spelled, indent=1, sort_keys=True) + "\n").encode(),
        "config5.json": config.to_json_string(use_diff=True).encode(),
        "tensors.txt": ("\n".join(lines) + "\n").encode(),
        "ids.txt": (" ".join(map(str, ids)) + "\n").encode(),
        "bf16.txt": f"{off.max():.6f} {off.mean():.6f}\n".encode(),
        "logits.f32": logits.astype("<f4").tobytes(),
    }


def differs(name, made, kept):
    if name == "config5.json":  # whatever else a later transformers writes
        return False
    if name == "logits.f32":  # other versions add up in another order
        a, b = (np.frombuffer(x, "<f4") for x in (made, kept))
        return a.shape != b.shape or np.abs(a - b).max() > 2e-5
    return name != "bf16.txt" and made != kept


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--check", action="store_true")
    check = parser.parse_args().check
    status = 0
    torch.manual_seed(0)
    for case in CASES:
        folder = HERE / "golden" / case
        for name, made in make(case).items():
            if not check:
                folder.mkdir(parents=True, exist_ok=True)
                (folder / name).write_bytes(made)
            elif differs(name, made, (folder / name).read_bytes()):
                print(f"FAILED goldens {case}: {name} differs")
                status = 1
    if check and not status:
        print(f"ok goldens: {len(CASES)} computed anew by transformers {transformers.__version__}")
    return status


if __name__ == "__main__":
    sys.exit(main())
