#!/usr/bin/env python3
"""Measures `weir run` on a GPU, on made-up weights of real shapes.

    gpu.py BUILD TABLE... [--csv DIR] [--tmp DIR] [--repeat 3] [--layers N] [--only WAY] [--quick]

Tables, each of which writes DIR/gpu-TABLE.csv:
    doctor      what the GPU can do: what the others are held against
    tiers       TinyLlama's shape: every tier, its rate, memory and bytes moved; transformers beside them
    rows        Llama 3.1 8B's shape: fused against raw, 1, 8 and 32 texts at once, and 512 tokens of prompt
    budget      the same within --vram 2G, 4G, 8G and 12G, streamed as stored and as BF16
    invariance  one hash: every tier, budget, depth and place in a batch, 20 repeats, delays and poison
    models      two models in one budget that holds one of them as BF16
    large       Llama 3.1 70B's shape, of which --layers are made, within --vram 8G
    all         all of them

Stores are made by tests/gen_store, whose layers repeat (the store holds each once, the model all of them),
in --tmp, and kept there for the next run.  A rate of tokens comes from two runs of different length, so that
what happens once is not in it.  Needs python3 alone; `tiers` has a row more where torch and transformers are.
"""
import argparse
import concurrent.futures
import csv
import json
import os
import re
import shutil
import statistics
import subprocess
import sys
import tempfile
import time

HERE = os.path.dirname(os.path.abspath(__file__))
TOKENIZER = os.path.join(HERE, "../infer/tokenizers/smollm.json")
STORES = {  # name: arguments of gen_store
    "tinyllama": ["--shape", "tinyllama"],
    "tinyllama-2": ["--shape", "tinyllama", "--seed", "7"],
    "middle": ["--shape", "1024,2816,8,16,4,16000"],
    "llama-8b": ["--shape", "llama-8b", "--distinct", "4"],
    "llama-70b": ["--shape", "llama-70b", "--distinct", "2"],
}
GREEDY = ["--temp", "0", "--ignore-eos", "--device", "cuda"]
TRANSFORMERS = """
import json, sys, time, torch
from transformers import LlamaConfig, LlamaForCausalLM
n = int(sys.argv[1])
sys.stdin.readline()  # all that takes time without a GPU is done
torch.set_default_dtype(torch.bfloat16)
with torch.device("cuda"):
    model = LlamaForCausalLM(LlamaConfig(
        hidden_size=2048, intermediate_size=5632, num_hidden_layers=22, num_attention_heads=32,
        num_key_value_heads=4, vocab_size=32000, max_position_embeddings=2048, rms_norm_eps=1e-5)).eval()
ids = torch.full((1, 16), 263, device="cuda")
def run(n):
    torch.cuda.synchronize()
    began = time.perf_counter()
    model.generate(ids, attention_mask=torch.ones_like(ids), max_new_tokens=n, min_new_tokens=n, do_sample=False,
                   pad_token_id=0)
    torch.cuda.synchronize()
    return time.perf_counter() - began
with torch.no_grad():
    run(8)
    seconds = run(8 + n) - run(8)
free, all = torch.cuda.mem_get_info()
print(json.dumps({"tok_per_s": n / seconds, "peak": torch.cuda.max_memory_allocated(), "measured": all - free}))
"""


def prompt_of(n, seed=0):
    """n tokens: the tokenizer has nothing for these letters but their bytes."""
    return "".join("zqxj"[(i * 7 + seed * 3 + i // 5) % 4] for i in range(n))


class Bench:
    def __init__(self, options):
        self.options = options
        options.build = os.path.abspath(options.build)
        self.weir = os.path.join(options.build, "cli/weir")
        self.began = time.monotonic()
        self.folder = os.path.join(options.tmp, "weir-bench-gpu")
        os.makedirs(self.folder, exist_ok=True)
        self.work = tempfile.mkdtemp(dir=self.folder)
        os.environ["XDG_CACHE_HOME"] = self.folder
        os.environ.pop("WEIR_DEVICE", None)
        self.machine = {}

    def say(self, text):
        print(f"[{time.monotonic() - self.began:6.1f} s] {text}", flush=True)

    def ran(self, args, **env):
        done = subprocess.run(args, capture_output=True, text=True, stdin=subprocess.DEVNULL,
                              env={**os.environ, **env})
        if done.returncode != 0:
            raise RuntimeError(f"exit code {done.returncode}: {' '.join(args)[:300]}: {done.stderr[-600:]}")
        return done

    def store(self, name):
        path = os.path.join(self.folder, name + ".weir")
        more = ["--layers", str(self.options.layers)] if name == "llama-70b" else []
        if not os.path.exists(path):
            self.ran([os.path.join(self.options.build, "tests/gen_store"), path + ".new", *STORES[name],
                      "--tokenizer", TOKENIZER, *more])
            os.rename(path + ".new", path)
            self.say(f"{name}.weir: {os.path.getsize(path) / 1e9:.2f} GB")
        return path

    def run(self, store, n_prompt, n, more, **env):
        return json.loads(self.ran([self.weir, "run", self.store(store), "-p", prompt_of(n_prompt), "-n", str(n),
                                    "--json", *GREEDY, *more], **env).stdout)

    def rate(self, store, more, n, n_prompt=16, short=5):
        """Of tokens, one text: what the longer of two runs says, and bytes a token."""
        first = self.run(store, n_prompt, short, more)
        runs = [self.run(store, n_prompt, short + n, more) for _ in range(self.options.repeat)]
        rates = [n / (r["seconds"]["generate"] - first["seconds"]["generate"]) for r in runs]
        d = runs[-1]
        return {"tok_per_s": statistics.median(rates), "least": min(rates), "most": max(rates),
                "peak_vram": d["peak_vram_bytes"], "measured_vram": d["vram_measured_bytes"],
                "weights": d["vram_weight_bytes"], "decode": d["decode"],
                "copied_per_token": (d["copied_bytes"] - first["copied_bytes"]) / n,
                "decoded_per_token": (d["decoded_bytes"] - first["decoded_bytes"]) / n,
                "layers": " ".join(f"{v} {k}" for k, v in d["layers"].items() if v),
                "load_s": d["seconds"]["load"], "hash": d["logits_hash"]}

    def once(self, store, more, n, n_prompt=16):
        """The same from one run, where what happens once is nothing beside a token."""
        d = self.run(store, n_prompt, 1 + n, more)
        return {"tok_per_s": n / d["seconds"]["generate"], "peak_vram": d["peak_vram_bytes"],
                "measured_vram": d["vram_measured_bytes"], "weights": d["vram_weight_bytes"], "decode": d["decode"],
                "copied_per_token": d["answer_copied_bytes"] / n, "decoded_per_token": d["answer_decoded_bytes"] / n,
                "layers": " ".join(f"{v} {k}" for k, v in d["layers"].items() if v),
                "load_s": d["seconds"]["load"], "hash": d["logits_hash"]}

    def batch(self, store, prompts, n, b, more, **env):
        """Seconds of all, and the hashes of each."""
        handle, path = tempfile.mkstemp(".jsonl", dir=self.work)
        with open(handle, "w", encoding="ascii") as f:
            f.writelines(json.dumps(p) + "\n" for p in prompts)
        done = self.ran([self.weir, "run", self.store(store), "-f", path, "-n", str(n), "-b", str(b), *GREEDY, *more],
                        **env)
        said = re.search(r"prompts: (\d+) tokens; answers: (\d+) tokens; all: ([0-9.]+) tok/s", done.stderr)
        lines = [json.loads(line) for line in done.stdout.splitlines()]
        seconds = (int(said[1]) + int(said[2])) / float(said[3])
        return seconds, [line["logits_hash"] for line in lines]

    def medians(self, rate):
        rates = [rate() for _ in range(self.options.repeat)]
        return {"tok_per_s": statistics.median(rates), "least": min(rates), "most": max(rates)}

    def doctor_once(self):
        if not self.machine:
            path = os.path.join(self.folder, "weir/doctor.json")
            if not os.path.exists(path):
                os.chdir(self.work)
                self.ran([self.weir, "doctor", "-q"])
                self.say("doctor")
            with open(path, encoding="utf-8") as f:
                self.machine = json.load(f)["gpu"] or {}
        return self.machine

    def table(self, name, rows, columns):
        """Prints rows (dicts) as Markdown, and writes them as CSV."""
        print(f"\n## {name}\n\n| {' | '.join(columns)} |\n|{'---|' * len(columns)}")
        for row in rows:
            print("| " + " | ".join(shown(row.get(c, "")) for c in columns) + " |")
        sys.stdout.flush()
        if not self.options.csv:
            return
        os.makedirs(self.options.csv, exist_ok=True)
        with open(os.path.join(self.options.csv, f"gpu-{name}.csv"), "w", newline="", encoding="utf-8") as f:
            out = csv.writer(f)
            out.writerow(columns)
            out.writerows([[row.get(c, "") for c in columns] for row in rows])

    def one_row(self, way, one):
        """One that fails is a row that says so."""
        try:
            row = one(way)
        except (RuntimeError, KeyError, ValueError, ZeroDivisionError, TypeError) as e:
            row = {"way": way[0], "failed": " ".join(str(e).split())}
            self.say(f"FAILED {way}: {e}")
        self.say("  ".join(f"{k}={shown(v)}" for k, v in row.items() if k != "failed"))
        return row

    def each(self, name, ways, one, columns, at_once=1):
        """A row of each way; several at once only where no time is measured."""
        only = self.options.only
        chosen = [way for way in ways if not only or any(part in way[0] for part in only)]
        with concurrent.futures.ThreadPoolExecutor(at_once) as pool:
            rows = list(pool.map(lambda way: self.one_row(way, one), chosen))
        self.table(name, rows, columns + (["failed"] if any("failed" in r for r in rows) else []))
        return rows


def shown(value):
    if not isinstance(value, float):
        return f"{value / 1e6:.0f} MB" if isinstance(value, int) and value >= 1e6 else str(value)
    return f"{value / 1e6:.0f} MB" if value >= 1e6 else f"{value:.1f}" if value >= 10 else f"{value:.3g}"


# ---- the tables ----

def doctor(bench):
    gpu = dict(bench.doctor_once())
    shapes = gpu.pop("shapes", [])
    bench.table("doctor", [{"what": k, "value": v} for k, v in gpu.items()], ["what", "value"])
    for s in shapes:
        s["faster"] = s["packed_gb_per_s"] / s["rows_gb_per_s"]
    bench.table("doctor-shapes", shapes, ["rows", "columns", "packed_gb_per_s", "rows_gb_per_s", "faster", "crossing",
                                           "most_exceptions"])


RATES = ["way", "tok_per_s", "least", "most", "peak_vram", "measured_vram", "weights", "copied_per_token",
         "decoded_per_token", "layers", "load_s", "hash"]


def start_transformers(n):
    return subprocess.Popen([sys.executable, "-c", TRANSFORMERS, str(n)], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                            stderr=subprocess.PIPE, text=True)


def end_transformers(started):
    out, err = started.communicate("\n")
    if started.returncode != 0:
        raise RuntimeError(err[-300:])
    d = json.loads(out.strip().splitlines()[-1])
    return {"way": "transformers BF16", "tok_per_s": d["tok_per_s"], "peak_vram": d["peak"],
            "measured_vram": d["measured"]}


def tiers(bench):
    n = 64 if bench.options.quick else 128
    ways = [
        ("raw", ["--decode", "raw"], n),
        ("4: fused", ["--decode", "fused", "--vram", "1800M"], n),
        ("3: gpu, layers cached, 3G", ["--decode", "gpu", "--cache-layers", "auto", "--vram", "3G"], n),
        ("3: gpu, layers cached, 2G", ["--decode", "gpu", "--cache-layers", "auto", "--vram", "2G"], n),
        ("2: gpu", ["--decode", "gpu", "--cache-layers", "0", "--vram", "2G"], n),
        ("2: gpu, streamed", ["--decode", "gpu", "--vram", "600M"], n // 4),
        ("1: cpu", ["--decode", "cpu", "--vram", "1G"], n // 16),
        ("auto", [], n),
    ]
    bench.store("tinyllama")
    bench.options.repeat = min(bench.options.repeat, 2)
    theirs = None if bench.options.no_transformers or bench.options.only else start_transformers(32)
    if theirs:
        ways.append(("transformers", None, 0))
    bench.each("tiers", ways, lambda w: {"way": w[0], **bench.rate("tinyllama", w[1], w[2])} if w[1] is not None
               else end_transformers(theirs), RATES)


def rows(bench):
    copy = bench.doctor_once().get("copy_gb_per_s", 0)

    def one(way):
        name, tier, b = way
        more = ["--decode", tier]
        if b == 0:  # prompts of 512
            prompts = [prompt_of(512, i) for i in range(12)]
            few, _ = bench.batch("llama-8b", prompts[:2], 1, 1, more)
            return {"way": name, "rows": 512, **bench.medians(
                lambda: 512 * 10 / (bench.batch("llama-8b", prompts, 1, 1, more)[0] - few))}
        if b == 1:
            return {"way": name, "rows": 1, **bench.rate("llama-8b", more, 32 if bench.options.quick else 128)}
        n = 32 if bench.options.quick else 128
        prompts = [prompt_of(8, i) for i in range(b)]
        short, _ = bench.batch("llama-8b", prompts, 9, b, more)
        return {"way": name, "rows": b, **bench.medians(
            lambda: b * n / (bench.batch("llama-8b", prompts, 9 + n, b, more)[0] - short))}

    ways = [(f"{tier}, {b or 'prompt of 512'}", tier, b) for b in (1, 8, 32, 0) for tier in ("fused", "raw")]
    found = bench.each("rows", ways, one, RATES[:1] + ["rows"] + RATES[1:])
    rates = {(r["way"].split(",")[0], r.get("rows")): r["tok_per_s"] for r in found if "tok_per_s" in r}
    per_token = 2 * (8.03e9 - 128256 * 4096)  # plain bytes of all matrices but the embeddings
    bench.table("rows-ratios", [{
        "rows": b, "fused_over_raw": rates.get(("fused", b), 0) / rates.get(("raw", b), float("inf")),
        "raw_of_copy": rates.get(("raw", b), 0) * per_token / 1e9 / copy if copy and b == 1 else ""}
        for b in (1, 8, 32, 512)], ["rows", "fused_over_raw", "raw_of_copy"])


def choosing(bench):
    """What chooses the next token: the device, with and without logits hashed beside it, or the host."""
    steps = os.path.join(os.path.dirname(os.path.dirname(bench.weir)), "tests/gpu_steps")
    out = bench.ran([steps, bench.store("llama-8b"), "-r", str(bench.options.repeat)]).stdout
    found = list(csv.DictReader(out.splitlines()))
    bench.table("choosing", found, list(found[0]))


def budget(bench):
    to_device = bench.doctor_once().get("to_device_gb_per_s", 0)
    n = 6 if bench.options.quick else 12

    def one(way):
        name, vram, tier = way
        row = bench.once("llama-8b", ["--vram", vram, "--decode", tier], n)
        limit = int(vram[:-1]) * 10**9
        copied = row["tok_per_s"] * row["copied_per_token"] / 1e9
        return {"way": name, "within": row["peak_vram"] <= limit, "copied_gb_per_s": copied,
                "of_to_device": copied / to_device if to_device else "", **row}

    ways = [(f"{vram} {tier}", vram, tier) for vram in ("2G", "4G", "8G", "12G")
            for tier in (("auto", "raw") if bench.options.quick else ("auto", "gpu", "raw"))]
    found = bench.each("budget", ways, one, RATES[:1] + ["within", "copied_gb_per_s", "of_to_device"] + RATES[1:])
    by = {r["way"]: r["tok_per_s"] for r in found if "tok_per_s" in r}
    bench.table("budget-ratios", [{"vram": v, "auto_over_raw": by[f"{v} auto"] / by[f"{v} raw"]}
                                  for v in ("2G", "4G", "8G", "12G") if f"{v} auto" in by and f"{v} raw" in by],
                ["vram", "auto_over_raw"])


def needs(bench, store, tier, depth):
    d = json.loads(bench.ran([bench.weir, "run", bench.store(store), "--plan", "--json", "--device", "cuda", "--decode",
                              tier, "--depth", str(depth), "-c", "300"]).stdout)
    return d["other_vram_bytes"] + d["least_weights_bytes"], d["most_weights_bytes"] - d["least_weights_bytes"]


def invariance(bench):
    store = bench.options.store or "middle"
    repeats, n = (4, 32) if bench.options.quick else (20, 256)
    hashes = {}

    def one(way):
        name, tier, share, depth, test, b = way
        more = ["--decode", tier, "--depth", str(depth)]
        if share is not None:
            least, span = needs(bench, store, tier, depth)
            more += ["--vram", str(int(least * 1.3 + 64e6 + span * share))]
        env = {"WEIR_DEVICE_TEST": test} if test else {}
        prompts = [prompt_of(24)] * repeats
        seconds, got = bench.batch(store, prompts, n, b, more, **env)
        for h in got:
            hashes.setdefault(h, []).append(name)
        return {"way": name, "hash": " ".join(sorted(set(got))), "answers": len(got), "seconds": seconds}

    ways = []
    for tier in ("cpu", "gpu", "raw", "fused"):
        for share, depth, b in ((None, 2, 20), (0, 1, 20), (0, 3, 7), (0.3, 2, 20), (0.7, 5, 10)):
            for test in (f"delay=200,seed={depth},poison", "")[:2 if b == 20 else 1]:
                ways.append((f"{tier} {'all' if share is None else share} depth {depth} batch {b} {test}", tier, share,
                             depth, test, min(b, repeats)))
    bench.store(store)
    bench.each("invariance", ways, one, ["way", "hash", "answers", "seconds"], at_once=6)
    print(f"{'FAILED: ' if len(hashes) != 1 else ''}{len(hashes)} hash(es) of {sum(map(len, hashes.values()))} answers")


def models(bench):
    a, b = bench.store("tinyllama"), bench.store("tinyllama-2")

    def one(way):
        name, more = way
        d = json.loads(bench.ran([bench.weir, "run", "-m", a, "-m", b, "-p", prompt_of(16), "-p", prompt_of(16, 1),
                                  "-n", "64", "--json", *GREEDY, *more]).stdout)
        return {"way": name, "peak_vram": d["peak_vram_bytes"], "measured_vram": d["vram_measured_bytes"],
                "each_vram": " ".join(shown(m["vram_bytes"]) for m in d["models"]),
                "streamed_layers": " ".join(str(m["layers"]["streamed"]) for m in d["models"]),
                "tok_per_s": " ".join(f"{m['answers'][-1]['gen_tok_per_s']:.0f}" for m in d["models"]),
                "hash": " ".join(x["logits_hash"] for m in d["models"] for x in m["answers"])}

    bench.each("models", [(f"{tier} {vram}", ["--decode", tier, "--vram", vram])
                          for tier, vram in (("fused", "3600M"), ("auto", "3600M"), ("raw", "3600M"), ("raw", "6G"))],
               one, ["way", "peak_vram", "measured_vram", "each_vram", "streamed_layers", "tok_per_s", "hash"])


def large(bench):
    to_device = bench.doctor_once().get("to_device_gb_per_s", 0)

    def one(way):
        row = bench.once("llama-70b", ["--vram", "8G", "--decode", way[1]], 4)
        copied = row["tok_per_s"] * row["copied_per_token"] / 1e9
        return {"way": way[0], "within": row["peak_vram"] <= 8 * 10**9, "copied_gb_per_s": copied,
                "of_to_device": copied / to_device if to_device else "", **row}

    bench.each("large", [("8G auto", "auto"), ("8G gpu", "gpu")], one,
               RATES[:1] + ["within", "copied_gb_per_s", "of_to_device"] + RATES[1:])


TABLES = {f.__name__: f for f in (doctor, tiers, rows, choosing, budget, invariance, models, large)}


def main():
    p = argparse.ArgumentParser()
    p.add_argument("build")
    p.add_argument("table", nargs="+", choices=[*TABLES, "all"])
    p.add_argument("--csv")
    p.add_argument("--tmp", default="/dev/shm" if shutil.disk_usage("/dev/shm").free > 16e9 else tempfile.gettempdir())
    p.add_argument("--repeat", type=int, default=3)
    p.add_argument("--layers", type=int, default=16, help="of the large model")
    p.add_argument("--only", action="append", help="ways whose name has this in it; may be given again")
    p.add_argument("--store", help="that invariance takes")
    p.add_argument("--no-transformers", action="store_true", help="no row of theirs: it takes half a minute")
    p.add_argument("--quick", action="store_true", help="fewer tokens and repeats: for a look")
    bench = Bench(p.parse_args())
    names = bench.options.table
    failed = False
    try:
        for name in TABLES if "all" in names else names:
            try:
                TABLES[name](bench)
            except (RuntimeError, OSError) as e:
                failed = True
                bench.say(f"FAILED {name}: {e}")
    finally:
        shutil.rmtree(bench.work, ignore_errors=True)
    sys.exit(1 if failed else 0)


if __name__ == "__main__":
    main()
