#!/usr/bin/env python3
"""What PyPI's `tokenizers` makes of corpus.txt, for every tokenizer here and in ../shared.

    tests/infer/tokenizer_goldens.py DIR            writes DIR/NAME.txt
    tests/infer/tokenizer_goldens.py DIR --check    compares, and prints "ok" or "FAILED" lines

A line for each text: how many ids with special tokens (added, and parsed in the text), how many
without, FNV-1a of both lists, FNV-1a of the first decoded without special tokens (or -), and the
first list if it is short.  No decoded text where `tokenizers` spells an added token otherwise than
its file does (it normalises those with "normalized")."""

import io
import json
import os
import struct
import sys

import zstandard
from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers

HERE = os.path.dirname(os.path.abspath(__file__))
SHARED = os.environ.get("WEIR_SHARED", os.path.join(HERE, "../../../shared"))
SHORT = 16


def corpus():
    with open(os.path.join(HERE, "corpus.txt"), encoding="ascii") as lines:
        for line in lines:
            if line.startswith("#"):
                continue
            text = b""
            for part in line.split():
                times, _, hexadecimal = part.rpartition("*")
                text += bytes.fromhex(hexadecimal) * int(times or 1)
            yield text.decode()


def fnv(data):
    h = 0x811C9DC5
    for byte in data:
        h = (h ^ byte) * 0x01000193 & 0xFFFFFFFF
    return f"{h:08x}"


def unpack(path):
    with open(path, "rb") as file:
        return zstandard.ZstdDecompressor().stream_reader(file).read().decode()


def gpt2(folder):
    vocab = json.loads(unpack(f"{folder}/encoder.json.zst"))
    merges = [tuple(line.split(" ")) for line in unpack(f"{folder}/vocab.bpe.zst").split("\n")
              if line and not line.startswith("#version")]
    tokenizer = Tokenizer(models.BPE(vocab, merges))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.add_special_tokens([AddedToken("<|endoftext|>", normalized=False)])
    return tokenizer


def tokenizers():
    ours = os.path.join(HERE, "tokenizers")
    for name in sorted(os.listdir(ours)):
        yield name.removesuffix(".json"), Tokenizer.from_file(os.path.join(ours, name))
    folder = os.path.join(SHARED, "tokenizers")
    if not os.path.isdir(folder):
        print("skipped: the published tokenizers: no ../shared")
        return
    for name in sorted(os.listdir(folder)):
        if name.endswith(".tokenizer.json.zst"):
            yield name.removesuffix(".tokenizer.json.zst"), Tokenizer.from_str(unpack(f"{folder}/{name}"))
    yield "gpt2", gpt2(f"{folder}/gpt2")
    yield "story", Tokenizer.from_file(os.path.join(SHARED, "models/story/tokenizer.json"))


def lines(tokenizer, texts):
    odd = {token for token, added in tokenizer.get_added_tokens_decoder().items()
           if tokenizer.id_to_token(token) != added.content}
    tokenizer.no_truncation()
    tokenizer.no_padding()
    for text in texts:
        tokenizer.encode_special_tokens = False
        ids = tokenizer.encode(text, add_special_tokens=True).ids
        tokenizer.encode_special_tokens = True
        plain = tokenizer.encode(text, add_special_tokens=False).ids
        decoded = "-"
        if not odd.intersection(ids):
            decoded = fnv(tokenizer.decode(ids, skip_special_tokens=True).encode())
        both = struct.pack(f"<{len(ids) + len(plain)}I", *ids, *plain)
        short = " ".join(["", *map(str, ids)]) if len(ids) <= SHORT else ""
        yield f"{len(ids)} {len(plain)} {fnv(both)} {decoded}{short}\n"


def main():
    folder, check = sys.argv[1], "--check" in sys.argv[2:]
    texts = list(corpus())
    failed = False
    for name, tokenizer in tokenizers():
        made = io.StringIO()
        made.writelines(lines(tokenizer, texts))
        path = os.path.join(folder, f"{name}.txt")
        if not check:
            with open(path, "w", encoding="ascii") as out:
                out.write(made.getvalue())
            continue
        with open(path, encoding="ascii") as out:
            same = out.read() == made.getvalue()
        failed = failed or not same
        print("ok" if same else "FAILED", f"tokenizer goldens {name}: {len(texts)} texts")
    sys.exit(1 if failed else 0)


main()
