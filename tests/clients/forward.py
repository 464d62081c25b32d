"""Loads a model with transformers, from the original and through the mount, and runs it.

    forward.py NAME ORIGINAL MOUNTED [--dtype float32] [--golden README] [--load-only]

Compares every tensor of the two models and the logits of one forward pass, bit for bit.  The golden
is a text that says 'prompt "Once" (ids 1 2 3, ...)', how the prompt is to be tokenized, and
"continuation ids begin 4 5 6", what greedy decoding must go on with.
"""

import argparse
import os
import re

os.environ["HF_HUB_OFFLINE"] = "1"

import torch
import transformers
from transformers import LlamaForCausalLM  # noqa: F401  here, so that no load is timed with it

import checks

PROMPT = [1, 80, 147, 201, 282, 57]


def load(folder, dtype):
    """The model, what the loader complains of, and seconds until each weight was read once."""
    clock = checks.Clock()
    with clock:
        model, complaints = transformers.AutoModelForCausalLM.from_pretrained(
            folder, dtype=dtype, output_loading_info=True)
        for tensor in model.state_dict().values():  # they may be no more than mapped until now
            tensor.clone()
    return model.eval(), [f"{what}: {names}" for what, names in complaints.items() if names], clock


def check_tensors(name, original, mounted, detail):
    a, b = original.state_dict(), mounted.state_dict()
    wrong = sorted(set(a) ^ set(b))
    wrong += [key for key in a if key in b and not checks.same_bits(a[key], b[key])]
    checks.check(name, not wrong, f"not the same: {', '.join(wrong)}" if wrong else detail)


def check_logits(name, original, mounted):
    ids = torch.tensor([PROMPT])
    clock = checks.Clock()
    with torch.no_grad():
        a = original(ids).logits
        with clock:
            b = mounted(ids).logits
    best = b[0, -1].argmax().item()
    checks.check(name, checks.same_bits(a, b) and bool(torch.isfinite(b).all()),
                 f"{tuple(b.shape)}, the best is {best} at {b[0, -1, best]:.4f}; {clock.seconds:.2f} s")


def check_golden(name, folder, mounted, path):
    with open(path) as f:
        text = f.read()
    prompt = re.search(r'prompt "([^"]+)" \(ids ([\d\s]+)', text)
    wanted = re.search(r"continuation ids begin ([\d\s]+)", text)
    if not prompt or not wanted:
        print(f"skipped: {name}: no golden in {path}")
        return
    ids, wanted = ([int(n) for n in digits.split()] for digits in (prompt[2], wanted[1]))
    tokenized = transformers.AutoTokenizer.from_pretrained(folder)(prompt[1])["input_ids"]
    out = mounted.generate(torch.tensor([ids]), attention_mask=torch.ones(1, len(ids)),
                           do_sample=False, max_new_tokens=len(wanted))
    got = out[0, len(ids):].tolist()
    checks.check(name, tokenized == ids and got == wanted,
                 f"{len(ids)} ids of {prompt[1]!r}, {len(got)} greedy ones: {got[:4]} ...")


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("name")
    parser.add_argument("original")
    parser.add_argument("mounted")
    parser.add_argument("--dtype", default="auto")
    parser.add_argument("--golden")
    parser.add_argument("--load-only", action="store_true")
    options = parser.parse_args()
    transformers.logging.disable_progress_bar()
    checks.make_cold(options.original)
    name = f"transformers {options.name}"
    mounted, complaints, mount_clock = load(options.mounted, options.dtype)
    original, _, original_clock = load(options.original, options.dtype)
    if complaints:
        checks.check(name, False, "; ".join(complaints))
        checks.finish()
    check_tensors(f"{name} tensors", original, mounted,
                  f"{len(mounted.state_dict())}, {mounted.dtype}; original "
                  f"{original_clock.seconds:.2f} s, mount {mount_clock.seconds:.2f} s")
    if not options.load_only:
        check_logits(f"{name} logits", original, mounted)
    if options.golden:
        check_golden(f"{name} golden", options.mounted, mounted, options.golden)
    checks.finish()


main()
