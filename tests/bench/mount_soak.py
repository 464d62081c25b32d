#!/usr/bin/env python3
"""Mounts, reads and unmounts a store many times and counts what is left: processes, mounts, memory, files.

    mount_soak.py BUILD [--cycles 10000] [--tmp DIR]

Takes minutes; for once in a while.  Each cycle mounts, compares 64 KiB with the original and unmounts (with
`weir umount` where there is one), and does not wait for the process to end; that is waited for only when
counting: after --settle cycles, when caches of the allocator and the kernel are full, and at the end.
Growth is the whole system's, so other people's work is in it: only what is ours and stays for certain
(a process, a mount, a wrong byte) makes the exit code 1.
"""
import argparse
import os
import random
import shutil
import statistics
import sys
import tempfile
import time

sys.dont_write_bytecode = True
import filesystems as fs  # noqa: E402  (after the line that keeps it from leaving a __pycache__)

READ_BYTES = 65536
PATIENCE = 20  # seconds for the last processes to end


def system_counts():
    """What should not grow, as medians of a second: others allocate and free meanwhile."""
    samples = []
    for _ in range(11):
        with open("/proc/meminfo") as f:
            info = {line.split(":")[0]: int(line.split()[1]) for line in f}
        with open("/proc/sys/fs/file-nr") as f:
            files = int(f.read().split()[0])
        samples.append((info["MemAvailable"], info["Slab"], info["SUnreclaim"], files))
        time.sleep(0.1)
    names = ("MemAvailable KiB", "Slab KiB", "SUnreclaim KiB", "open files")
    return dict(zip(names, (statistics.median(column) for column in zip(*samples))))


class Soak:
    def __init__(self, options):
        self.weir = os.path.abspath(os.path.join(options.build, "cli", "weir"))
        self.gen = os.path.abspath(os.path.join(options.build, "tests", "gen_tensor"))
        self.tmp = tempfile.mkdtemp(prefix="weir-bench-soak.", dir=options.tmp)
        self.random = random.Random(1)

    def prepare(self):
        source = os.path.join(self.tmp, "model.safetensors")
        fs.call(self.gen, source, "BF16", "8")
        with open(source, "rb") as f:
            self.plain = f.read()
        self.mount = fs.Weir(source, self.tmp, self.weir)
        self.mount.build()
        self.umount = ["fusermount3", "-u"]
        try:
            fs.call(self.weir, "umount", "--help")
            self.umount = [self.weir, "umount"]
        except RuntimeError:
            pass

    def cycle(self):
        self.mount.attach()
        at = self.random.randrange(len(self.plain) - READ_BYTES)
        with open(self.mount.file, "rb", buffering=0) as f:
            if os.pread(f.fileno(), READ_BYTES, at) != self.plain[at:at + READ_BYTES]:
                sys.exit(f"wrong bytes at {at}")
        fs.call(*self.umount, self.mount.at)

    def leftovers(self):
        deadline = time.monotonic() + PATIENCE
        while (left := fs.processes_of(self.mount.image)) and time.monotonic() < deadline:
            time.sleep(0.1)
        with open("/proc/self/mounts") as f:
            return left, sum(line.split()[1].startswith(self.tmp) for line in f)

    def clean_up(self):
        if hasattr(self, "mount"):
            self.mount.unmount()
        shutil.rmtree(self.tmp, ignore_errors=True)


def run(soak, options):
    soak.prepare()
    print(f"{options.cycles} cycles of mount, read, {' '.join(map(os.path.basename, soak.umount))}", flush=True)
    before, spent = None, 0.0
    for n in range(1, options.cycles + 1):
        start = time.monotonic()
        soak.cycle()
        spent += time.monotonic() - start
        if n == options.settle:
            soak.leftovers()
            before = system_counts()
        if n % 1000 == 0:
            print(f"  {n} cycles, {n / spent:.0f}/s", file=sys.stderr, flush=True)
    processes, mounts = soak.leftovers()
    after = system_counts()
    print(f"cycles/s            {options.cycles / spent:12.1f}")
    print(f"leftover processes  {len(processes):12d}  {' '.join(map(str, processes))}")
    print(f"leftover mounts     {mounts:12d}")
    if before:
        for name, value in before.items():
            grown = after[name] - value
            per_cycle = grown / (options.cycles - options.settle)
            print(f"{name:19} {value:12.0f} -> {after[name]:.0f}: {grown:+.0f}, {per_cycle:+.3f} a cycle")
    return not processes and not mounts


def main():
    p = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    p.add_argument("build", help="folder with the built programs")
    p.add_argument("--cycles", type=int, default=10000)
    p.add_argument("--settle", type=int, default=500, help="cycles before memory is counted first (default: 500)")
    p.add_argument("--tmp", default="/dev/shm")
    options = p.parse_args()
    soak = Soak(options)
    try:
        clean = run(soak, options)
    finally:
        soak.clean_up()
    sys.exit(0 if clean else 1)


if __name__ == "__main__":
    main()
