#!/usr/bin/env python3
"""Measures whole commands and writes a CSV: pack, verify, unpack and mount on generated checkpoints.

    commands.py BUILD OUT.csv [--megabytes 1024] [--big 4096] [--repeat 5] [--tmp DIR]

Each row is the median of --repeat runs, but for the big one (peak memory), which runs once.  Input
and output lie in DIR, a tmpfs by default, so that the disk is not measured; peak RSS is the child's
as the kernel counts it.
"""
import argparse
import csv
import os
import platform
import shutil
import statistics
import subprocess
import sys
import tempfile
import time


def run(args):
    """Seconds and peak RSS in bytes of one command, which must succeed."""
    start = time.monotonic()
    child = subprocess.Popen(args, stdout=subprocess.DEVNULL)
    _, status, usage = os.wait4(child.pid, 0)
    seconds = time.monotonic() - start
    if status != 0:
        sys.exit(f"failed: {' '.join(args)}")
    return seconds, usage.ru_maxrss * 1024


def size_of(path):
    if os.path.isfile(path):
        return os.path.getsize(path)
    return sum(os.path.getsize(os.path.join(d, f)) for d, _, names in os.walk(path) for f in names)


class Bench:
    def __init__(self, options):
        self.weir = os.path.join(options.build, "cli", "weir")
        self.gen = os.path.join(options.build, "tests", "gen_checkpoint")
        self.gen_tensor = os.path.join(options.build, "tests", "gen_tensor")
        self.repeat = options.repeat
        self.tmp = tempfile.mkdtemp(prefix="weir-bench.", dir=options.tmp)
        commit = subprocess.run(["git", "rev-parse", "--short", "HEAD"], capture_output=True, text=True)
        self.commit = commit.stdout.strip() or "unknown"
        with open("/proc/cpuinfo") as f:
            models = [line.split(":")[1].strip() for line in f if line.startswith("model name")]
        self.machine = f"{models[0] if models else platform.machine()} x{os.cpu_count()}"
        self.out = open(options.out, "w", newline="")
        self.csv = csv.writer(self.out)
        self.csv.writerow(["commit", "machine", "what", "plain_bytes", "stored_bytes", "bits_per_weight",
                           "seconds_median", "mb_per_s", "peak_rss_bytes"])

    def path(self, name):
        return os.path.join(self.tmp, name)

    def row(self, what, source, store, args, before=None, repeat=None):
        times, peaks = [], []
        for _ in range(repeat or self.repeat):
            if before:
                before()
            seconds, peak = run(args)
            times.append(seconds)
            peaks.append(peak)
        plain, stored = size_of(source), os.path.getsize(store)
        median = statistics.median(times)
        self.csv.writerow([self.commit, self.machine, what, plain, stored, f"{8 * stored / plain * 2:.4f}",
                          f"{median:.3f}", f"{plain / median / 1e6:.0f}", max(peaks)])
        self.out.flush()
        print(f"{what:28} {median:8.3f} s {plain / median / 1e6:8.0f} MB/s  peak {max(peaks) / 2**20:6.1f} MiB", flush=True)

    def model(self, source, label, repeat=None):
        store, plain = self.path("m.weir"), self.path("plain")
        clean = lambda: shutil.rmtree(plain, ignore_errors=True)
        for j in (1, 2):
            args = [self.weir, "pack", "-q", "-f", "-j", str(j), source, store]
            self.row(f"pack -j{j} {label}", source, store, args, repeat=repeat) if os.path.exists(store) else (
                run(args), self.row(f"pack -j{j} {label}", source, store, args, repeat=repeat))
        for j in (1, 2):
            self.row(f"unpack -j{j} {label}", source, store,
                     [self.weir, "unpack", "-q", "-j", str(j), store, plain], before=clean, repeat=repeat)
        clean()
        for j in (1, 2):
            self.row(f"verify -j{j} {label}", source, store,
                     [self.weir, "verify", "-q", "-j", str(j), store], repeat=repeat)
        os.unlink(store)

    def mounted(self, source):
        store, at = self.path("m.weir"), self.path("mnt")
        run([self.weir, "pack", "-q", "-f", source, store])
        os.makedirs(at, exist_ok=True)
        name = os.path.basename(source)

        def remount():
            if os.path.ismount(at):
                run(["fusermount3", "-u", at])
            run([self.weir, "mount", store, at])

        self.row("mount, cold sequential read", source, store,
                 ["dd", f"if={at}/{name}", "of=/dev/null", "bs=1M", "status=none"], before=remount)
        run(["fusermount3", "-u", at])
        os.unlink(store)


def main():
    p = argparse.ArgumentParser()
    p.add_argument("build")
    p.add_argument("out")
    p.add_argument("--megabytes", type=int, default=1024)
    p.add_argument("--big", type=int, default=4096)
    p.add_argument("--repeat", type=int, default=5)
    p.add_argument("--tmp", default="/dev/shm")
    options = p.parse_args()
    b = Bench(options)
    try:
        model = b.path("model")
        run([b.gen, model, "--megabytes", str(options.megabytes)])
        b.model(model, f"{options.megabytes} MB")
        shutil.rmtree(model)
        one = b.path("one.safetensors")
        run([b.gen_tensor, one, "BF16", str(options.megabytes)])
        b.model(one, "one tensor")
        if os.path.exists("/dev/fuse"):
            b.mounted(one)
        os.unlink(one)
        if options.big:
            run([b.gen_tensor, one, "BF16", str(options.big)])
            b.model(one, f"{options.big} MiB, once", repeat=1)
    finally:
        shutil.rmtree(b.tmp, ignore_errors=True)


if __name__ == "__main__":
    main()
