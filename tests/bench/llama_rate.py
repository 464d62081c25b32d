"""Runs a GGUF file with llama.cpp (xllamacpp of PyPI), and prints one JSON object as weir run does.

    llama_rate.py FILE THREADS N ID...     N tokens behind the ids of a prompt, the likeliest each time
"""
import json
import resource
import sys

import xllamacpp

path, threads, n, *ids = sys.argv[1:]
params = xllamacpp.CommonParams()
params.model.path = path
params.n_ctx = 512
params.n_parallel = 1
params.warmup = True
params.verbosity = 0
params.cpuparams.n_threads = params.cpuparams_batch.n_threads = int(threads)
server = xllamacpp.Server(params)
answer = server.handle_completions({"prompt": [int(i) for i in ids], "n_predict": int(n), "temperature": 0,
                                    "ignore_eos": True, "cache_prompt": False})
times = answer["timings"]
print("\n" + json.dumps({
    "text": answer["choices"][0]["text"], "prompt_tokens": times["prompt_n"],
    "n_tokens": times["predicted_n"], "prompt_tok_per_s": times["prompt_per_second"],
    "gen_tok_per_s": times["predicted_per_second"],
    "peak_rss_bytes": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024}))
