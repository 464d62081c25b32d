#!/usr/bin/env python3
"""Measures `weir run` on a checkpoint of TinyLlama's shape: tokens a second and peak memory.

    run.py BUILD (--tokenizer FILE | --model DIR) [--megabytes 2190] [--repeat 5] [--slow-repeat 3]
           [--tokens 33] [--threads 2,1] [--only WAY,...] [--tmp DIR] [--llama PYTHON] [--csv FILE]
    run.py --report FILE     the table of what --csv wrote; further runs add to it

The checkpoint (random BF16 weights) and its store lie in a tmpfs; --model names one that is there already;
--tokenizer is Llama 2's tokenizer.json, compressed with zstd or not.
Everything takes turns: ways to keep the weights, places they come from, 1 and 2 threads, a loop that only
reads memory, and llama.cpp on the same weights as a GGUF file (--llama: a python that has xllamacpp).  A run
reads a prompt of 128 tokens, which includes reading the model, and then makes --tokens, of which the first
is the prompt's.  Two such runs, with one and with two chunks, give the rate of a chunk when the weights are
there.  What `weir run --plan` expects stands beside it, with what `weir doctor` measures before each repeat.  Ways that decode all weights in every pass are "slow".  Medians.  All runs must
end with the same logits.
"""
import argparse
import csv
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile

PROMPT = 128
WAYS = [  # name, options, from plain files, slow
    ("resident", [], False, False),
    ("resident from plain files", [], True, False),
    ("raw BF16", ["--keep", "plain"], False, False),
    ("--ram 1G", ["--ram", "1G"], False, True),
    ("--ram 1G from plain files", ["--ram", "1G"], True, True),
    ("--ram 256Mi", ["--ram", "256Mi"], False, True),
    ("--ram 256Mi from plain files", ["--ram", "256Mi"], True, True),
    ("nothing kept", ["--keep", "none"], False, True),
]
COLUMNS = ["commit", "way", "threads", "prompt_tok_per_s", "warm_chunk_tok_per_s", "gen_tok_per_s",
           "weights_gb_per_s", "peak_rss_bytes", "bytes_read", "planned_tok_per_s"]


def output_of(args):
    done = subprocess.run(args, capture_output=True, text=True, stdin=subprocess.DEVNULL)
    if done.returncode != 0:
        sys.exit(f"failed: {' '.join(args[:8])}: {done.stderr[-500:]}")
    return done.stdout


class Bench:
    def __init__(self, options):
        self.options = options
        self.here = os.path.dirname(os.path.abspath(__file__))
        self.weir = os.path.join(options.build, "cli/weir")
        self.tmp = tempfile.mkdtemp(prefix="weir-bench.", dir=options.tmp)
        os.environ["XDG_CACHE_HOME"] = self.tmp
        self.samples, self.hashes = {}, {}
        self.ways = [way for way in WAYS if not options.only or way[0] in options.only]
        self.commit = output_of(["git", "-C", self.here, "rev-parse", "--short", "HEAD"]).strip()
        self.csv = open(options.csv, "a", newline="", encoding="ascii") if options.csv else None
        if self.csv and self.csv.tell() == 0:
            csv.writer(self.csv).writerow(COLUMNS)

    def path(self, name):
        return os.path.join(self.tmp, name)

    def prepare(self):
        o = self.options
        self.model, self.store = o.model or self.path("model"), self.path("model.weir")
        if not o.model:
            output_of([os.path.join(o.build, "tests/gen_checkpoint"), self.model, "--megabytes", str(o.megabytes),
                       "--shards", "1"])
            with open(f"{self.model}/tokenizer.json", "wb") as f:
                subprocess.run(["zstd", "-dcqf", o.tokenizer], check=True, stdout=f)
        output_of([self.weir, "pack", "-q", self.model, self.store])
        plain = sum(os.path.getsize(os.path.join(self.model, f)) for f in os.listdir(self.model))
        print(f"store: {os.path.getsize(self.store)} of {plain} bytes")
        output_of(["cc", "-O3", "-mavx2", "-pthread", os.path.join(self.here, "read_loop.c"), "-o",
                   self.path("read_loop")])
        if o.llama:
            output_of([sys.executable, os.path.join(self.here, "llama_gguf.py"), self.model, self.path("model.gguf")])

    def note(self, way, threads, row):
        self.samples.setdefault((way, threads), []).append(row)
        print(f"  {way:26} {threads} threads: {row}", flush=True)
        if self.csv:
            csv.writer(self.csv).writerow([self.commit, way, threads] + [
                f"{row[c]:.6g}" if isinstance(row.get(c), float) else row.get(c, "") for c in COLUMNS[3:]])
            self.csv.flush()

    def weir_run(self, source, threads, n_prompt, n, more):
        got = json.loads(output_of(
            [self.weir, "run", source, "-p", " ".join(["a"] * (n_prompt - 1)), "-n", str(n), "-t", str(threads), "-u",
             str(PROMPT), "--temp", "0", "--ignore-eos", "--json"] + more))
        if got["prompt_tokens"] != n_prompt:
            sys.exit(f"the prompt has {got['prompt_tokens']} tokens: not the tokenizer that this expects")
        return got

    def run_way(self, way, threads):
        name, more, plain, slow = way
        source = self.model if plain else self.store
        got = self.weir_run(source, threads, PROMPT, self.options.tokens, more)
        self.hashes.setdefault(got["logits_hash"], set()).add(name)
        row = {"weights_gb_per_s": got["gb_per_s"]}
        row.update({key: got[key] for key in ("prompt_tok_per_s", "gen_tok_per_s", "peak_rss_bytes", "bytes_read")})
        plan = json.loads(output_of(
            [self.weir, "run", source, "--plan", "-c", str(2 * PROMPT + self.options.tokens), "-t", str(threads),
             "-u", str(PROMPT), "--json"] + more))  # half of that context is what the answer has behind it
        row["planned_tok_per_s"] = plan["expected_tok_per_s"]
        if not slow and not plain:
            two = self.weir_run(source, threads, 2 * PROMPT, 1, more)
            seconds = 2 * PROMPT / two["prompt_tok_per_s"] - PROMPT / got["prompt_tok_per_s"]
            row["warm_chunk_tok_per_s"] = PROMPT / seconds if seconds > 0 else 0.0
        self.note(name, threads, row)

    def run_llama(self, threads):
        ids = ["1"] + ["263"] * (PROMPT - 1)  # what the prompt above is
        out = output_of([self.options.llama, os.path.join(self.here, "llama_rate.py"), self.path("model.gguf"),
                         str(threads), str(self.options.tokens)] + ids)
        got = json.loads(out.strip().splitlines()[-1])
        self.note("llama.cpp BF16", threads, {
            "warm_chunk_tok_per_s": got["prompt_tok_per_s"], "gen_tok_per_s": got["gen_tok_per_s"],
            "peak_rss_bytes": got["peak_rss_bytes"]})

    def measure(self):
        for repeat in range(self.options.repeat):
            subprocess.run([os.path.abspath(self.weir), "doctor", "-q", self.store], cwd=self.tmp, check=True,
                           stdout=subprocess.DEVNULL)
            for threads in self.options.threads:
                self.note("memory read", threads,
                          {"weights_gb_per_s": float(output_of([self.path("read_loop"), str(threads)]))})
                for way in self.ways if repeat % 2 == 0 else reversed(self.ways):
                    if not way[3] or (repeat < self.options.slow_repeat and (threads == 2 or not way[2])):
                        self.run_way(way, threads)
                if self.options.llama:
                    self.run_llama(threads)

    def check_hashes(self):
        for hashed, ways in self.hashes.items():
            print(f"logits {hashed}: {', '.join(sorted(ways))}")
        if len(self.hashes) > 1:
            sys.exit("FAILED: the logits are not one and the same")


def samples_of(path):
    samples = {}
    with open(path, newline="", encoding="ascii") as f:
        for line in csv.DictReader(f):
            row = {c: float(line[c]) for c in COLUMNS[3:] if line.get(c)}
            samples.setdefault((line["way"], int(line["threads"])), []).append(row)
    return samples


def report(samples):
    print("| weights | threads | prompt tok/s | warm chunk tok/s | decode tok/s | GB/s of weights | peak RSS MB | planned "
          "decode tok/s | runs |")
    print("|---|---|---|---|---|---|---|---|---|")
    for (way, threads), rows in sorted(samples.items(), key=lambda item: -item[0][1]):
        cells = []
        for key, form, unit in (("prompt_tok_per_s", ".1f", 1), ("warm_chunk_tok_per_s", ".1f", 1),
                                ("gen_tok_per_s", ".2f", 1), ("weights_gb_per_s", ".1f", 1),
                                ("peak_rss_bytes", ".0f", 1e6), ("planned_tok_per_s", ".2f", 1)):
            found = [row[key] for row in rows if key in row]
            cells.append(f"{statistics.median(found) / unit:{form}}" if found else "")
        print(f"| {way} | {threads} | {' | '.join(cells)} | {len(rows)} |")


def main():
    p = argparse.ArgumentParser()
    p.add_argument("build", nargs="?")
    p.add_argument("--report")
    p.add_argument("--only", type=lambda text: text.split(","))
    p.add_argument("--threads", type=lambda text: [int(n) for n in text.split(",")], default=[2, 1])
    p.add_argument("--tokenizer")
    p.add_argument("--model")
    p.add_argument("--megabytes", type=int, default=2190)
    p.add_argument("--repeat", type=int, default=5)
    p.add_argument("--slow-repeat", type=int, default=3)
    p.add_argument("--tokens", type=int, default=33)
    p.add_argument("--tmp", default="/dev/shm")
    p.add_argument("--llama")
    p.add_argument("--csv")
    options = p.parse_args()
    if options.report:
        report(samples_of(options.report))
        return
    if not options.build:
        p.error("BUILD is missing")
    if not options.model and not options.tokenizer:
        p.error("--tokenizer or --model says which tokenizer")
    if options.llama and not os.path.exists(options.llama):
        print(f"without llama.cpp: no {options.llama}")
        options.llama = None
    bench = Bench(options)
    try:
        bench.prepare()
        bench.measure()
    finally:
        shutil.rmtree(bench.tmp, ignore_errors=True)
    report(bench.samples)
    bench.check_hashes()


if __name__ == "__main__":
    main()
