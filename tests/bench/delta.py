#!/usr/bin/env python3
"""Measures a store that needs a base beside the plain store of the same files, and writes a CSV.

    delta.py BUILD OUT.csv [--megabytes 100] [--repeat 5] [--shared DIR] [--tmp DIR]

Sizes: the pair of checkpoints in DIR/models/delta, as F32 and rounded to BF16, and an unrelated
pair.  Rates: generated BF16 weights and neighbours of them.  Both stores take turns, each row is
the median; all files are in the page cache.  unpack and verify also hash; the mount is made anew
for each reading.  `run` keeps weights decoded, as it does by default (33 passes); run_keeping_nothing
decodes all of them in each pass (5).  cpu_seconds are the process's own (of the mount: the daemon's),
which other work on the machine disturbs less.
"""
import argparse
import csv
import os
import platform
import resource
import shutil
import statistics
import subprocess
import sys
import tempfile
import time

FIELDS = ["what", "case", "plain_bytes", "stored_bytes", "share", "seconds", "cpu_seconds", "bytes_per_second",
          "ratio_wall", "ratio_cpu", "repeat", "commit", "machine"]  # fmt: skip


def call(*args, **how):
    return subprocess.run([str(a) for a in args], check=True, stdout=subprocess.PIPE, **how).stdout


def children():
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime


def timed(work):
    """Wall and CPU seconds of the children of `work`."""
    wall, cpu = time.monotonic(), children()
    work()
    return time.monotonic() - wall, children() - cpu


class Bench:
    def __init__(self, options, out):
        self.weir = os.path.join(options.build, "cli/weir")
        self.gen = os.path.join(options.build, "tests/gen_checkpoint")
        self.relative = os.path.join(options.build, "tests/gen_relative")
        self.options, self.tmp = options, tempfile.mkdtemp(dir=options.tmp)
        self.commit = call("git", "rev-parse", "--short", "HEAD", cwd=os.path.dirname(__file__)).decode().strip()
        self.rows = csv.DictWriter(out, FIELDS, lineterminator="\n")
        self.rows.writeheader()

    def at(self, name):
        return os.path.join(self.tmp, name)

    def row(self, **fields):
        self.rows.writerow({**fields, "commit": self.commit, "machine": platform.machine()})
        print(" ".join(f"{k}={v}" for k, v in fields.items()), flush=True)

    def pack(self, folder, store, base=None):
        more = ["--base", self.at(base)] if base else []
        call(self.weir, "pack", "-q", "-f", *more, self.at(folder), self.at(store))
        return os.path.getsize(self.at(store))

    def plain(self, folder):
        return sum(os.path.getsize(os.path.join(self.at(folder), f)) for f in os.listdir(self.at(folder)))

    def sizes(self):
        pair = os.path.join(self.options.shared, "models/delta")
        for kind in ("f32", "bf16"):
            for n in (2000, 2400):
                folder = self.at(f"{kind}-{n}")
                os.mkdir(folder)
                to, source = os.path.join(folder, "model.safetensors"), f"{pair}/checkpoint-{n}.safetensors"
                shutil.copy(source, to) if kind == "f32" else call(self.relative, "bf16", source, to)
            self.pack(f"{kind}-2000", "base.weir")
            self.size(f"checkpoint-2400 {kind} alone", f"{kind}-2400", None)
            self.size(f"checkpoint-2400 {kind} against 2000", f"{kind}-2400", "base.weir")
        for seed in (1, 2):
            call(self.gen, self.at(f"unrelated-{seed}"), "--megabytes", "20", "--seed", str(seed))
        self.pack("unrelated-1", "base.weir")
        self.size("unrelated alone", "unrelated-2", None)
        self.size("unrelated against the other", "unrelated-2", "base.weir")

    def size(self, case, folder, base):
        plain, stored = self.plain(folder), self.pack(folder, "one.weir", base)
        self.row(what="size", case=case, plain_bytes=plain, stored_bytes=stored, share=f"{stored / plain:.4f}")

    def make_rates(self):
        call(self.gen, self.at("a"), "--megabytes", str(self.options.megabytes))
        shutil.copy(os.path.join(self.options.shared, "models/story/tokenizer.json"), self.at("a"))
        os.mkdir(self.at("b"))
        for name in os.listdir(self.at("a")):
            source, to = os.path.join(self.at("a"), name), os.path.join(self.at("b"), name)
            if name.endswith(".safetensors"):
                call(self.relative, "nudge", source, to, "9")
            else:
                shutil.copy(source, to)
        self.pack("a", "base.weir")
        self.stores = {"plain": "plain.weir", "difference": "near.weir"}
        self.stored = {"plain": self.pack("b", "plain.weir"), "difference": self.pack("b", "near.weir", "base.weir")}

    def unpack(self, store):
        out = self.at("out")
        measured = timed(lambda: call(self.weir, "unpack", "-q", "-j1", self.at(store), out))
        shutil.rmtree(out)
        return measured

    def verify(self, store):
        return timed(lambda: call(self.weir, "verify", "-q", "-j1", self.at(store)))

    def mount(self, store):
        mnt = self.at("mnt")
        os.makedirs(mnt, exist_ok=True)
        cpu = children()
        daemon = subprocess.Popen([self.weir, "mount", "-f", "-q", self.at(store), mnt])
        while not os.path.ismount(mnt):
            time.sleep(0.01)
        start = time.monotonic()
        room = bytearray(1 << 20)
        for name in sorted(os.listdir(mnt)):
            with open(os.path.join(mnt, name), "rb", buffering=0) as f:
                while f.readinto(room):
                    pass
        wall = time.monotonic() - start
        call("fusermount3", "-u", mnt)
        daemon.wait()
        return wall, children() - cpu

    def run(self, store, *how):
        return timed(lambda: call(self.weir, "run", self.at(store), "-p", "Once upon a time", "-t", "1", "-c", "64",
                                  "--ignore-eos", "--temp", "0", "--json", *(how or ("-n", "32")),
                                  env={**os.environ, "WEIR_DEVICE": "cpu"}))  # fmt: skip

    def run_keeping_nothing(self, store):
        return self.run(store, "-n", "4", "--keep", "none")

    def rates(self):
        self.make_rates()
        plain = self.plain("b")
        for what in ("unpack", "verify", "mount", "run", "run_keeping_nothing"):
            taken = {case: [] for case in self.stores}
            for _ in range(self.options.repeat):
                for case, store in self.stores.items():
                    taken[case].append(getattr(self, what)(store))
            median = {c: [statistics.median(v) for v in zip(*t)] for c, t in taken.items()}
            for case, (wall, cpu) in median.items():
                self.row(what=what, case=case, plain_bytes=plain, stored_bytes=self.stored[case],
                         seconds=f"{wall:.3f}", cpu_seconds=f"{cpu:.3f}", bytes_per_second=int(plain / wall),
                         ratio_wall=f"{median['plain'][0] / wall:.3f}", ratio_cpu=f"{median['plain'][1] / cpu:.3f}",
                         repeat=self.options.repeat)  # fmt: skip


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("build")
    parser.add_argument("out")
    parser.add_argument("--megabytes", type=int, default=100)
    parser.add_argument("--repeat", type=int, default=5)
    parser.add_argument("--shared", default=os.path.join(os.path.dirname(os.path.abspath(__file__)), "../../../shared"))
    parser.add_argument("--tmp", default="/dev/shm")
    options = parser.parse_args()
    options.build = os.path.abspath(options.build)
    with open(options.out, "w", newline="", encoding="utf-8") as out:
        bench = Bench(options, out)
        try:
            bench.sizes()
            bench.rates()
        finally:
            shutil.rmtree(bench.tmp)
    return 0


if __name__ == "__main__":
    sys.exit(main())
