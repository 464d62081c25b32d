"""Runs a GGUF file with llama.cpp, from the original and through the mount.

    run_llama.py NAME ORIGINAL MOUNTED

Once with mmap, once without and once around the page cache: each time the same tokens at
temperature 0, with the same log probabilities, and the file mapped exactly if that was asked for.
"""

import os
import sys

import xllamacpp

import checks

MODES = {
    "mmap": xllamacpp.llama_load_mode.LLAMA_LOAD_MODE_MMAP,
    "no mmap": xllamacpp.llama_load_mode.LLAMA_LOAD_MODE_NONE,
    "direct io": xllamacpp.llama_load_mode.LLAMA_LOAD_MODE_DIRECT_IO,
}


def is_mapped(path):
    with open("/proc/self/maps") as f:
        return any(line.rstrip("\n").endswith(os.path.realpath(path)) for line in f)


def run(path, mode):
    """Tokens with their log probabilities, the text, whether the file was mapped, seconds to load."""
    params = xllamacpp.CommonParams()
    params.model.path = path
    params.load_mode = mode
    params.n_ctx = 256
    params.n_parallel = 1
    params.warmup = False
    params.verbosity = 0
    clock = checks.Clock()
    with clock:
        server = xllamacpp.Server(params)
    mapped = is_mapped(path)
    answer = server.handle_completions({"prompt": "Once upon a time", "n_predict": 64,
                                        "temperature": 0, "n_probs": 5, "cache_prompt": False})
    choice = answer["choices"][0]
    steps = [(s["id"], s["logprob"]) for s in choice["logprobs"]["content"]]
    return steps, choice["text"], mapped, clock.seconds


def main(name, original, mounted):
    checks.make_cold(os.path.dirname(original))
    for what, mode in MODES.items():
        got, text, mapped, seconds = run(mounted, mode)
        wanted, _, _, original_seconds = run(original, mode)
        fine = bool(got) and got == wanted and mapped == (what == "mmap")
        detail = f"{len(got)} tokens, {text[:34]!r}..., {'' if mapped else 'not '}mapped"
        detail += f"; original {original_seconds:.2f} s, mount {seconds:.2f} s"
        checks.check(f"llama.cpp {name} {what}", fine, detail)
    checks.finish()


main(*sys.argv[1:])
