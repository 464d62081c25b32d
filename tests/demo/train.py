#!/usr/bin/env python3
"""Trains the demo model: a Llama of 2.6 M parameters, BF16, with its tokenizer, on stories of grammar.py.

    python3 tests/demo/train.py OUT [--steps 6000]

Needs PyTorch, transformers and tokenizers; minutes on a GPU.  OUT becomes a checkpoint directory as
transformers writes one, and OUT/golden.json what transformers itself computes with it in float32:
prompts, ids, the five largest logits behind each prompt, greedy ids.  The stories, the split of
tokens and the first weights come from --seed alone; sums on a GPU do not repeat bit for bit, so
another run gives another model that is as good.
"""
import argparse
import json
import math
import os
import random
import time

import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors, trainers
from transformers import LlamaConfig, LlamaForCausalLM

from grammar import story

VOCAB, BOS, EOS = 1024, "<|begin|>", "<|end|>"
PROMPTS = ["Once upon a time", "One day, Mia", "Long ago, there was a brave boy named Leo.", "The otter"]


def make_tokenizer(texts):
    tok = Tokenizer(models.BPE())
    tok.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tok.decoder = decoders.ByteLevel()
    tok.train_from_iterator(texts, trainers.BpeTrainer(
        vocab_size=VOCAB, special_tokens=[BOS, EOS], show_progress=False,
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet())))
    tok.post_processor = processors.TemplateProcessing(
        single=f"{BOS} $A", pair=f"{BOS} $A {BOS} $B", special_tokens=[(BOS, tok.token_to_id(BOS))])
    return tok


def batches(tok, rng, length, batch, device):
    """Stories one behind the other, cut anywhere: rows of `length` + 1 ids."""
    ids = []
    while True:
        while len(ids) < batch * (length + 1):
            for e in tok.encode_batch([story(rng) for _ in range(512)]):
                ids += e.ids + [tok.token_to_id(EOS)]
        n = batch * (length + 1)
        yield torch.tensor(ids[:n], device=device).view(batch, length + 1)
        ids = ids[n:]


def train(model, rows, steps, device):
    decay = [p for p in model.parameters() if p.dim() > 1]
    plain = [p for p in model.parameters() if p.dim() == 1]
    opt = torch.optim.AdamW([{"params": decay, "weight_decay": 0.1}, {"params": plain, "weight_decay": 0.0}],
                            lr=2e-3, betas=(0.9, 0.95))
    warm = 200
    plan = torch.optim.lr_scheduler.LambdaLR(opt, lambda s: min(1, (s + 1) / warm) * (
        0.05 + 0.95 * 0.5 * (1 + math.cos(math.pi * min(1, s / steps)))))
    began = time.time()
    for step in range(steps):
        ids = next(rows)
        with torch.autocast(device, dtype=torch.bfloat16):
            logits = model(ids[:, :-1]).logits
        loss = torch.nn.functional.cross_entropy(logits.float().flatten(0, 1), ids[:, 1:].flatten())
        opt.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        opt.step()
        plan.step()
        if step % 250 == 0 or step == steps - 1:
            print(f"step {step} loss {loss.item():.4f} seconds {time.time() - began:.0f}", flush=True)


@torch.no_grad()
def golden(folder, tok):
    # From the files: a model that was BF16 has turned its heads' frequencies into BF16, too.
    model = LlamaForCausalLM.from_pretrained(folder, dtype=torch.float32).eval()
    out = []
    for prompt in PROMPTS:
        ids = tok.encode(prompt).ids
        logits = model(torch.tensor([ids])).logits[0, -1]
        top = torch.topk(logits, 5)
        greedy = list(ids)
        for _ in range(96):
            greedy.append(int(model(torch.tensor([greedy])).logits[0, -1].argmax()))
            if greedy[-1] == tok.token_to_id(EOS):
                break
        out.append({"prompt": prompt, "ids": ids, "top_ids": top.indices.tolist(),
                    "top_logits": [round(v, 6) for v in top.values.tolist()],
                    "greedy": greedy[len(ids):], "text": tok.decode(greedy[len(ids):])})
        print(prompt, "->", out[-1]["text"])
    return out


def main():
    args = argparse.ArgumentParser()
    args.add_argument("out")
    args.add_argument("--steps", type=int, default=6000)
    args.add_argument("--batch", type=int, default=192)
    args.add_argument("--seed", type=int, default=1)
    a = args.parse_args()
    device = "cuda" if torch.cuda.is_available() else "cpu"
    torch.manual_seed(a.seed)
    torch.backends.cuda.matmul.allow_tf32 = True
    rng = random.Random(a.seed)
    tok = make_tokenizer([story(rng) for _ in range(20000)])
    config = LlamaConfig(
        vocab_size=VOCAB, hidden_size=192, intermediate_size=512, num_hidden_layers=6, num_attention_heads=6,
        num_key_value_heads=2, max_position_embeddings=512, rms_norm_eps=1e-5, rope_theta=10000.0,
        tie_word_embeddings=True, bos_token_id=tok.token_to_id(BOS), eos_token_id=tok.token_to_id(EOS))
    model = LlamaForCausalLM(config).to(device)
    n = sum(p.numel() for p in model.parameters())
    print(f"{n} parameters, vocabulary {tok.get_vocab_size()}", flush=True)
    assert n <= 3_000_000
    train(model, batches(tok, rng, 256, a.batch, device), a.steps, device)
    model = model.to(torch.bfloat16)
    model.config.torch_dtype = torch.bfloat16
    model.save_pretrained(a.out, safe_serialization=True)
    tok.save(os.path.join(a.out, "tokenizer.json"))
    with open(os.path.join(a.out, "tokenizer_config.json"), "w") as f:
        json.dump({"tokenizer_class": "PreTrainedTokenizerFast", "bos_token": BOS, "eos_token": EOS,
                   "model_max_length": 512, "clean_up_tokenization_spaces": False}, f, indent=2)
        f.write("\n")
    with open(os.path.join(a.out, "golden.json"), "w") as f:
        json.dump(golden(a.out, tok), f, indent=1)
        f.write("\n")


if __name__ == "__main__":
    main()
