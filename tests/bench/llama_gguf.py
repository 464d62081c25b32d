#!/usr/bin/env python3
"""A Llama in one safetensors file (BF16) with its tokenizer.json as a GGUF file that llama.cpp runs.

    tests/bench/llama_gguf.py FOLDER OUT.gguf

Matrices stay BF16, with the rows of q and k permuted; norms become F32, as llama.cpp wants them.
"""
import json
import pathlib
import struct
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent / "infer"))
from make_gguf import NAMES, TYPES, pair, permuted, text  # noqa: E402

ARRAY, STRING, FLOAT, INT = 9, 8, 6, 5
NORMAL, UNKNOWN, CONTROL, BYTE = 1, 2, 3, 6
ALIGNMENT = 32


def array(key, kind, n, packed):
    return text(key) + struct.pack("<IIQ", ARRAY, kind, n) + packed


def kind_of(piece, special):
    if piece == "<unk>":
        return UNKNOWN
    if piece in special:
        return CONTROL
    return BYTE if piece.startswith("<0x") and len(piece) == 6 else NORMAL


def vocabulary(folder):
    """What llama.cpp reads of a SentencePiece-style vocabulary, and how many pairs that is."""
    tokenizer = json.loads((folder / "tokenizer.json").read_text())
    vocab = sorted(tokenizer["model"]["vocab"].items(), key=lambda item: item[1])
    special = {t["content"] for t in tokenizer["added_tokens"] if t["special"]}
    kinds = [kind_of(piece, special) for piece, _ in vocab]
    n = len(vocab)
    pairs = [pair("tokenizer.ggml.model", "llama"),
             array("tokenizer.ggml.tokens", STRING, n, b"".join(text(piece) for piece, _ in vocab)),
             array("tokenizer.ggml.scores", FLOAT, n, struct.pack(f"<{n}f", *(-i for i in range(n)))),
             array("tokenizer.ggml.token_type", INT, n, struct.pack(f"<{n}i", *kinds)),
             pair("tokenizer.ggml.bos_token_id", 1), pair("tokenizer.ggml.eos_token_id", 2)]
    return b"".join(pairs), len(pairs)


def hyperparameters(c):
    pairs = {"general.architecture": "llama", "llama.block_count": c["num_hidden_layers"],
             "llama.context_length": c["max_position_embeddings"],
             "llama.embedding_length": c["hidden_size"],
             "llama.feed_forward_length": c["intermediate_size"],
             "llama.attention.head_count": c["num_attention_heads"],
             "llama.attention.head_count_kv": c["num_key_value_heads"],
             "llama.attention.layer_norm_rms_epsilon": float(c["rms_norm_eps"]),
             "llama.rope.dimension_count": c["hidden_size"] // c["num_attention_heads"],
             "llama.rope.freq_base": float(c["rope_theta"]), "llama.vocab_size": c["vocab_size"]}
    return b"".join(pair(k, v) for k, v in pairs.items()), len(pairs)


def stem_of(name):
    parts = name.split(".")
    return (f"blk.{parts[2]}." if "layers" in parts else "") + NAMES[parts[-2]] + ".weight"


def widened(raw):
    return b"".join(b"\0\0" + raw[i:i + 2] for i in range(0, len(raw), 2))


def bytes_of(f, at, name, info, head_dim):
    begin, end = info["data_offsets"]
    f.seek(at + begin)
    raw = f.read(end - begin)
    if len(info["shape"]) == 1:
        return widened(raw)
    if "q_proj" not in name and "k_proj" not in name:
        return raw
    width = 2 * info["shape"][1]
    return b"".join(permuted([raw[i:i + width] for i in range(0, len(raw), width)], head_dim))


def main(folder, out):
    config = json.loads((folder / "config.json").read_text())
    head_dim = config["hidden_size"] // config["num_attention_heads"]
    with open(folder / "model.safetensors", "rb") as f, open(out, "wb") as to:
        n = struct.unpack("<Q", f.read(8))[0]
        header = json.loads(f.read(n))
        header.pop("__metadata__", None)
        assert all(info["dtype"] == "BF16" for info in header.values()), "not BF16"
        infos, offset = b"", 0
        for name, info in header.items():
            dims, flat = info["shape"][::-1], len(info["shape"]) == 1
            infos += text(stem_of(name)) + struct.pack(
                f"<I{len(dims)}QIQ", len(dims), *dims, TYPES["F32" if flat else "BF16"], offset)
            size = (info["data_offsets"][1] - info["data_offsets"][0]) * (2 if flat else 1)
            offset += size + -size % ALIGNMENT
        (a, n_a), (b, n_b) = hyperparameters(config), vocabulary(folder)
        start = b"GGUF" + struct.pack("<IQQ", 3, len(header), n_a + n_b) + a + b + infos
        to.write(start + bytes(-len(start) % ALIGNMENT))
        for name, info in header.items():
            raw = bytes_of(f, 8 + n, name, info, head_dim)
            to.write(raw + bytes(-len(raw) % ALIGNMENT))


main(pathlib.Path(sys.argv[1]), pathlib.Path(sys.argv[2]))
