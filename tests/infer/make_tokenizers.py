#!/usr/bin/env python3
"""Trains the small tokenizers of tests/infer/tokenizers/, one for each way that the real ones
differ, with PyPI's `tokenizers`.

    tests/infer/make_tokenizers.py tests/infer/tokenizers

They are committed, and made anew only if one is added: merges may come out in another order."""

import json
import random
import sys

from tokenizers import Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers

UPPER, LOWER = r"[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]", r"[\p{Ll}\p{Lm}\p{Lo}\p{M}]"
SHORT = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)"
NO_LETTER = r"[^\r\n\p{L}\p{N}]?"
SPACES = r"|\s*[\r\n]+|\s+(?!\S)|\s+"
PATTERNS = {
    "gpt4o": NO_LETTER + UPPER + "*" + LOWER + "+" + SHORT + "?|" + NO_LETTER + UPPER + "+" + LOWER
             + "*" + SHORT + r"?|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n/]*" + SPACES,
    "tekken": NO_LETTER + UPPER + "*" + LOWER + "+|" + NO_LETTER + UPPER + "+" + LOWER
              + r"*|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n/]*" + SPACES,
    "qwen35": SHORT + "|" + NO_LETTER + r"[\p{L}\p{M}]+|\p{N}| ?[^\s\p{L}\p{M}\p{N}]+[\r\n]*" + SPACES,
    "gpt4": r"'(?i:[sdmt]|ll|ve|re)|[^\r\n\p{L}\p{N}]?+\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]++[\r\n]*"
            r"|\s*[\r\n]|\s+(?!\S)|\s+",
}

WORDS = """the a one cat dog ran sat on under it's I'll we've house and then Äpfel é été naïve 日本 日本語
世界 한국어 def return for x y if not camelCase ALLCAPS 12 345 6789 ½ 👍 👍🏽 ... == // () {} привет мир""".split()


def lines():
    pick = random.Random(3)
    for _ in range(400):
        yield " ".join(pick.choice(WORDS) for _ in range(12)) + pick.choice(["\n", "\r\n", "  \n", "\n\n"])


def added(token, content, flags="", special=False):
    return {"id": token, "content": content, "single_word": "w" in flags, "lstrip": "l" in flags,
            "rstrip": "r" in flags, "normalized": "n" in flags, "special": special}


def finish(tokenizer, name, folder, post=None, **model):
    made = json.loads(tokenizer.to_str())
    made["model"].update(model)
    made["model"]["merges"] = [pair if len(name) % 2 else " ".join(pair)
                               for pair in made["model"]["merges"]]
    top = 1 + max(made["model"]["vocab"].values())
    # Bytes are ordinary tokens, at which no text is cut.
    made["added_tokens"] = [token for token in made["added_tokens"]
                            if token["id"] < top and not token["content"].startswith("<0x")]
    for i, (content, flags) in enumerate([("[A]", "l"), ("[B]", "w"), ("[C]", "lr"), ("[D]", "n"),
                                          ("[E]", "rn"), ("  ", "n"), ("<|im_end|>", "")]):
        made["added_tokens"].append(added(top + i, content, flags, special=content == "<|im_end|>"))
    made["post_processor"] = post
    with open(f"{folder}/{name}.json", "w", encoding="utf-8") as out:
        json.dump(made, out, ensure_ascii=False, separators=(",", ":"))
        out.write("\n")


def by_bytes(name, folder, before, normalizer=None, prefix=False, regex=False, **model):
    tokenizer = Tokenizer(models.BPE())
    level = pre_tokenizers.ByteLevel(add_prefix_space=prefix, use_regex=regex)
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(before + [level]) if before else level
    if normalizer:
        tokenizer.normalizer = normalizer
    tokenizer.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    tokenizer.train_from_iterator(lines(), trainers.BpeTrainer(
        vocab_size=400, initial_alphabet=alphabet, show_progress=False))
    finish(tokenizer, name, folder, **model)


def by_characters(name, folder, normalizer, pre_tokenizer, decoder, fallback=True, **model):
    tokenizer = Tokenizer(models.BPE(unk_token="<unk>", byte_fallback=fallback, fuse_unk=True))
    special = ["<unk>", "<s>", "</s>"]
    if fallback:
        special += [f"<0x{byte:02X}>" for byte in range(256)]
    if normalizer:
        tokenizer.normalizer = normalizer
    if pre_tokenizer:
        tokenizer.pre_tokenizer = pre_tokenizer
    tokenizer.decoder = decoder
    limit = 20 if fallback else 60
    tokenizer.train_from_iterator(lines(), trainers.BpeTrainer(
        vocab_size=520 if fallback else 200, special_tokens=special, limit_alphabet=limit,
        show_progress=False))
    post = {"type": "TemplateProcessing",
            "single": [{"SpecialToken": {"id": "<s>", "type_id": 0}}, {"Sequence": {"id": "A", "type_id": 0}},
                       {"SpecialToken": {"id": "</s>", "type_id": 0}}],
            "pair": [], "special_tokens": {name: {"id": name, "ids": [i], "tokens": [name]}
                                           for i, name in ((1, "<s>"), (2, "</s>"))}}
    finish(tokenizer, name, folder, post=post, **model)


def split(pattern):
    return pre_tokenizers.Split(Regex(pattern), "isolated")


def main():
    folder = sys.argv[1]
    by_bytes("gpt4o", folder, [split(PATTERNS["gpt4o"])])
    by_bytes("tekken", folder, [split(PATTERNS["tekken"])], ignore_merges=True)
    by_bytes("qwen35", folder, [split(PATTERNS["qwen35"])], normalizer=normalizers.NFC())
    by_bytes("gpt4", folder, [split(PATTERNS["gpt4"])])
    by_bytes("smollm", folder, [pre_tokenizers.Digits(individual_digits=True)], regex=True)
    by_bytes("digits", folder, [pre_tokenizers.Digits(individual_digits=False)], regex=True)
    by_bytes("prefix", folder, [], prefix=True, regex=True)
    sentence = [decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse()]
    by_characters("gemma", folder, normalizers.Replace(" ", "▁"),
                  pre_tokenizers.Split(" ", "merged_with_previous"), decoders.Sequence(sentence))
    by_characters("llama", folder,
                  normalizers.Sequence([normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")]), None,
                  decoders.Sequence(sentence + [decoders.Strip(" ", 1, 0)]))
    for scheme in ("first", "always", "never"):
        by_characters(f"metaspace-{scheme}", folder, None,
                      pre_tokenizers.Metaspace("▁", scheme, split=scheme != "first"),
                      decoders.Metaspace("▁", scheme), fallback=False, fuse_unk=scheme != "always")


main()
