#!/usr/bin/env python3
"""Measures reading through `weir mount`, beside squashfuse, erofs, `weir unpack` and the plain file.

    mount.py BUILD [--megabytes 1024] [--repeat 5] [--jobs J,...] [--only F,...] [--csv FILE] [--check]

One generated BF16 file is put into an image of each filesystem, all in a tmpfs.  Every run is fio with a
job of tests/bench/fio on a fresh mount, so nothing of the file is in the page cache (mincore() is asked
once per filesystem) but for the job "warm", where all of it is (asked before and after each run).  Rounds
go through all jobs and all filesystems, so that other people's load hits all alike; figures are medians of
the rounds.

CPU and peak memory are the serving process's, "of seq" is the rate by that of the same filesystem's
"read", "decoded" is what the mount decoded per byte read.  Units of 10^6 bytes, but for the CPU's GiB.
Below the table stands each demand on the mount with the figure reached; with --check a demand that is
missed or was not measured makes the exit code 1.
"""
import argparse
import csv
import json
import os
import platform
import re
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import time

sys.dont_write_bytecode = True
import filesystems as fs  # noqa: E402  (after the line that keeps it from leaving a __pycache__)

JOBS = ("read", "two-readers", "mmap", "random", "random-mmap", "direct", "out-of-order", "warm")
PER_SECOND = ("random", "random-mmap")  # counted in reads, not in bytes
UNPACK, CAT = ("weir unpack -j2", "to a tmpfs"), ("cat", "the plain file")
READS, RANDOM_BYTES, BLOCK = 20000, 4096, 1 << 20
THREADS, THREAD_BYTES = 16, 2 << 20  # of out-of-order.fio


class JobFailed(Exception):
    """This filesystem refuses this job; the text says why."""


class Disturbed(Exception):
    """Somebody else took pages out of the cache that the run was to find there."""


class Sample:
    """One run.  What was not there to be measured stays None."""

    def __init__(self, seconds, n_bytes, n_reads=0):
        self.seconds, self.n_bytes, self.n_reads = seconds, n_bytes, n_reads
        self.cpu = self.rss = self.decoded = self.requests = self.reads = None

    def rate(self, job):
        return self.n_reads / self.seconds if job in PER_SECOND else self.n_bytes / self.seconds / 1e6


def timed(args):
    """A command's own time, processor time and memory."""
    start = time.monotonic()
    child = subprocess.Popen(args, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
    _, status, usage = os.wait4(child.pid, 0)
    sample = Sample(time.monotonic() - start, 0)
    child.returncode = os.waitstatus_to_exitcode(status)
    if status != 0:
        sys.exit(f"failed: {' '.join(args)}")
    sample.cpu, sample.rss = usage.ru_utime + usage.ru_stime, usage.ru_maxrss * 1024
    return sample


def fio(job, path, tmp):
    size = os.path.getsize(path)
    names = {
        "WEIR_FILE": path,
        "WEIR_READS": min(READS, size // RANDOM_BYTES),
        "WEIR_HALF": size // 2 // BLOCK * BLOCK,
        "WEIR_SLICE": size // THREADS // THREAD_BYTES * THREAD_BYTES,
    }
    here = os.path.dirname(os.path.abspath(__file__))
    report = os.path.join(tmp, "fio.json")
    args = ["fio", "--readonly", "--output-format=json", f"--output={report}", os.path.join(here, "fio", f"{job}.fio")]
    done = subprocess.run(args, cwd=tmp, stdin=subprocess.DEVNULL, capture_output=True, text=True,
                          env={**os.environ, **{k: str(v) for k, v in names.items()}})
    if done.returncode != 0:
        said = re.search(r"^fio: (.*)", done.stderr + done.stdout, re.M)
        raise JobFailed(said.group(1) if said else f"fio's exit code is {done.returncode}")
    with open(report) as f:
        said = f.read()
    read = json.loads(said[said.index("{"):])["jobs"][0]["read"]
    n = {"two-readers": 2 * names["WEIR_HALF"], "out-of-order": THREADS * names["WEIR_SLICE"]}.get(job, size)
    if job not in PER_SECOND and read["io_bytes"] < n // BLOCK * BLOCK:
        sys.exit(f"fio {job} read {read['io_bytes']} bytes of {n}")
    return Sample(max(read["runtime"], 1) / 1000, read["io_bytes"], read["total_ios"])


class Bench:
    def __init__(self, options):
        self.options = options
        self.weir = os.path.abspath(os.path.join(options.build, "cli", "weir"))
        self.tmp = tempfile.mkdtemp(prefix="weir-bench-mount.", dir=options.tmp)
        self.systems = []
        self.samples = {}  # (label, job) -> [Sample]
        self.refused = {}  # (label, job) -> why

    # ---- preparing ----

    def prepare(self):
        os.mkdir(os.path.join(self.tmp, "plain"))
        source = os.path.join(self.tmp, "plain", "model.safetensors")
        fs.call(os.path.join(self.options.build, "tests", "gen_tensor"), source, "BF16", str(self.options.megabytes))
        self.source, self.n_bytes = source, os.path.getsize(source)
        self.store = None
        known = {
            "tmpfs": fs.Plain(source),
            "weir": fs.Weir(source, self.tmp, self.weir),
            "squashfuse-128k": fs.Squashfuse(source, self.tmp, "128K"),
            "squashfuse-1m": fs.Squashfuse(source, self.tmp, "1M"),
            "erofs": fs.Erofs(source, self.tmp),
        }
        for name, system in known.items():
            if self.options.only and name not in self.options.only:
                continue
            say(f"preparing {name}")
            try:
                system.make()
            except fs.Missing as e:
                print(f"skipped: {name}: {e}")
                continue
            self.prove_cold(system)
            self.systems.append(system)
        if self.wants("unpack"):
            self.store = os.path.join(self.tmp, "weir.weir")
            if not os.path.exists(self.store):
                fs.call(self.weir, "pack", "-q", self.source, self.store)

    def wants(self, name):
        return not self.options.only or name in self.options.only

    def prove_cold(self, system):
        """A fresh mount holds none of the file even after it was read.  Not asked before every run: a
        mount may begin to fetch when a file is opened, and would get a head start."""
        if isinstance(system, fs.Plain) or os.geteuid() != 0:
            return
        system.mount()
        read_all(system.file)
        system.unmount()
        system.mount()
        part = fs.resident_part(system.file)
        system.unmount()
        if part > 0.01:
            sys.exit(f"{system.label}: {part:.0%} of the file is in the page cache of a fresh mount")

    # ---- measuring ----

    def measure(self):
        self.load = [os.getloadavg()[0]]
        for n in range(self.options.repeat):
            say(f"round {n + 1} of {self.options.repeat}")
            if self.wants("cat"):
                self.add(CAT, timed(["cat", self.source]))
            if self.wants("unpack"):
                to = os.path.join(self.tmp, "unpacked")
                self.add(UNPACK, timed([self.weir, "unpack", "-q", "-j", "2", self.store, to]))
                shutil.rmtree(to)
            for job in self.options.jobs:
                for system in self.systems:
                    key = (system.label, job)
                    if key in self.refused:
                        continue
                    try:
                        sample = self.run(system, job)
                        self.samples.setdefault(key, []).append(sample)
                    except JobFailed as e:
                        self.refused[key] = str(e)
        self.load.append(os.getloadavg()[0])

    def add(self, key, sample):
        sample.n_bytes = self.n_bytes
        self.samples.setdefault(key, []).append(sample)

    def run(self, system, job):
        for _ in range(3):
            try:
                return self.run_once(system, job)
            except Disturbed:
                continue
        raise JobFailed("the file does not stay in the page cache")

    def run_once(self, system, job):
        if not self.options.keep_caches and os.geteuid() == 0:
            with open("/proc/sys/vm/drop_caches", "w") as f:
                f.write("3\n")
            fs.call("fio", "--version")  # the program itself comes back from the disk here
        system.mount()
        try:
            if job == "warm":
                read_all(system.file)
                must_be_resident(system.file)
            before, cpu = system.status(), fs.cpu_seconds(system.daemon) if system.daemon else None
            sample = fio(job, system.file, self.tmp)
            if system.daemon:
                sample.cpu = fs.cpu_seconds(system.daemon) - cpu
                sample.rss = fs.peak_rss_bytes(system.daemon)
            after = system.status()
            if before and after:
                sample.decoded = (after["decoded_bytes"] - before["decoded_bytes"]) / sample.n_bytes
                sample.requests = after["requests"] - before["requests"]
                sample.reads = after["reads"] - before["reads"]
            if job == "warm":
                must_be_resident(system.file)
            return sample
        finally:
            system.unmount()

    def clean_up(self):
        for system in self.systems:
            try:
                system.unmount()
            except RuntimeError as e:
                print(e, file=sys.stderr)
        shutil.rmtree(self.tmp, ignore_errors=True)


def read_all(path):
    block = bytearray(BLOCK)
    with open(path, "rb", buffering=0) as f:
        while f.readinto(block):
            pass


def must_be_resident(path):
    if os.geteuid() == 0 and fs.resident_part(path) < 1:
        raise Disturbed


# ---- results ----


class Row:
    """The samples of one filesystem and job, put together."""

    def __init__(self, samples, job):
        self.seconds = [s.seconds for s in samples]
        self.rate = statistics.median(s.rate(job) for s in samples)
        self.unit = "/s" if job in PER_SECOND else "MB/s"
        self.n_bytes = statistics.median(s.n_bytes for s in samples)
        self.cpu = middle(s.cpu for s in samples)
        self.rss = max((s.rss for s in samples if s.rss is not None), default=None)
        self.decoded = middle(s.decoded for s in samples)
        self.requests = max((s.requests for s in samples if s.requests is not None), default=None)
        self.reads = max((s.reads for s in samples if s.reads is not None), default=None)


def middle(values):
    values = [v for v in values if v is not None]
    return statistics.median(values) if values else None


def show(value, form):
    return "-" if value is None else format(value, form)


def print_table(bench, rows):
    print(f"\n{'filesystem':24} {'job':14} {'MB':>6} {'seconds':>8} {'min':>7} {'max':>7} {'rate':>12} {'of seq':>7}"
          f" {'CPU s/GiB':>9} {'peak MiB':>8} {'decoded':>7} {'requests':>8}")
    for (label, job), row in rows.items():
        seq = rows.get((label, "read"))
        part = row.rate / seq.rate if seq and row.unit == "MB/s" else None
        print(f"{label:24} {job:14} {row.n_bytes / 1e6:6.0f} {statistics.median(row.seconds):8.3f} {min(row.seconds):7.3f}"
              f" {max(row.seconds):7.3f} {row.rate:7.0f} {row.unit:4} {show(part, '7.2f'):>7}"
              f" {show(row.cpu and row.cpu / row.n_bytes * 2**30, '9.2f'):>9}"
              f" {show(row.rss and row.rss / 2**20, '8.1f'):>8} {show(row.decoded, '7.2f'):>7} {show(row.requests, 'd'):>8}")
    for (label, job), why in bench.refused.items():
        print(f"{label:24} {job:14} refused: {why}")


def bars(rows):
    """(demand, figure, reached or None if it was not measured), as the issue has them."""
    rate = {key: row.rate for key, row in rows.items()}
    weir = {job: rate.get(("weir", job)) for job in JOBS}
    squash = max((r for (label, job), r in rate.items() if label.startswith("squashfuse") and job == "read"), default=None)

    def ratio(what, a, b, least, unit="MB/s"):
        if not a or not b:
            return what, "not measured", None
        return what, f"{a:.0f} / {b:.0f} {unit} = {a / b:.2f}", a / b >= least

    def at_least(what, a, least):
        return what, f"{a:.0f}/s" if a else "not measured", a >= least if a else None

    warm = rows.get(("weir", "warm"))
    counted = warm is not None and warm.requests is not None
    return [
        ratio("sequential read >= 60 % of weir unpack -j2 into tmpfs", weir["read"], rate.get(UNPACK), 0.6),
        ratio("sequential read >= 3x squashfuse (the faster one)", weir["read"], squash, 3),
        ratio("two readers at different offsets together >= one", weir["two-readers"], weir["read"], 1),
        ratio("mmap sequential >= 50 % of read", weir["mmap"], weir["read"], 0.5),
        at_least("random 4 KiB >= 5,000/s (pread)", weir["random"], 5000),
        at_least("random 4 KiB >= 5,000/s (mmap)", weir["random-mmap"], 5000),
        ratio("warm read = the page cache's rate (>= 90 % of tmpfs)", weir["warm"], rate.get(("tmpfs", "warm")), 0.9),
        ("warm read with no request reaching the daemon",
         f"{warm.requests} requests, {warm.reads} of them reads" if counted else "not measured",
         warm.requests == 0 if counted else None),
    ]


def write_csv(path, bench, rows, commit, machine):
    stored = {s.label: s.stored_bytes for s in bench.systems}
    with open(path, "w", newline="") as f:
        out = csv.writer(f)
        out.writerow(["commit", "machine", "filesystem", "job", "plain_bytes", "stored_bytes", "seconds_median", "seconds_min",
                      "seconds_max", "rate", "unit", "daemon_cpu_seconds", "peak_rss_bytes", "decoded_per_byte", "requests"])
        for (label, job), row in rows.items():
            out.writerow([commit, machine, label, job, int(row.n_bytes), stored.get(label, ""),
                          f"{statistics.median(row.seconds):.3f}", f"{min(row.seconds):.3f}", f"{max(row.seconds):.3f}",
                          f"{row.rate:.0f}", row.unit, show(row.cpu, ".2f"), show(row.rss, "d"), show(row.decoded, ".3f"),
                          show(row.requests, "d")])


def report(bench, options):
    """Prints everything; true if every demand was reached."""
    found = subprocess.run(["git", "rev-parse", "--short", "HEAD"], capture_output=True, text=True,
                           cwd=os.path.dirname(os.path.abspath(__file__)))
    commit = found.stdout.strip() or "unknown"
    with open("/proc/cpuinfo") as f:
        models = [line.split(":")[1].strip() for line in f if line.startswith("model name")]
    machine = f"{models[0] if models else platform.machine()} x{os.cpu_count()}"
    order = [CAT, UNPACK] + [(system.label, job) for system in bench.systems for job in options.jobs]
    rows = {key: Row(bench.samples[key], key[1]) for key in order if key in bench.samples}
    print(f"\n{commit} on {machine}, kernel {platform.release()}: BF16 file of {bench.n_bytes / 1e6:.0f} MB, medians of"
          f" {options.repeat}, load {bench.load[0]:.2f} before and {bench.load[1]:.2f} after")
    print("stored: " + ", ".join(f"{s.label} {s.stored_bytes / bench.n_bytes:.1%}" for s in bench.systems))
    print_table(bench, rows)
    print("\nbars")
    demands = bars(rows)
    for what, figure, reached in demands:
        print(f"  {what:56} {figure:32} {'-' if reached is None else 'yes' if reached else 'NO'}")
    if options.csv:
        write_csv(options.csv, bench, rows, commit, machine)
    return all(reached for _, _, reached in demands)


def say(what):
    print(what, file=sys.stderr, flush=True)


def names(known):
    def parse(text):
        chosen = text.split(",")
        unknown = [name for name in chosen if name not in known]
        if unknown:
            raise argparse.ArgumentTypeError(f"{unknown[0]} is none of {', '.join(known)}")
        return chosen
    return parse


def options_of():
    p = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    p.add_argument("build", help="folder with the built programs")
    p.add_argument("--megabytes", type=int, default=1024, help="of 2^20 bytes, 64 at least (default: 1024)")
    p.add_argument("--repeat", type=int, default=5, help="rounds (default: 5)")
    p.add_argument("--jobs", type=names(JOBS), default=list(JOBS), help=f"of {', '.join(JOBS)} (default: all)")
    systems = ("cat", "unpack", "tmpfs", "weir", "squashfuse-128k", "squashfuse-1m", "erofs")
    p.add_argument("--only", type=names(systems), default=[], help=f"of {', '.join(systems)} (default: all)")
    p.add_argument("--tmp", default="/dev/shm", help="a tmpfs with room for six times the file (default: /dev/shm)")
    p.add_argument("--csv", help="file for the figures")
    p.add_argument("--keep-caches", action="store_true",
                   help="do not drop the whole system's caches before each run; mounts are fresh all the same")
    p.add_argument("--check", action="store_true", help="exit code 1 if a bar is missed or not measured")
    options = p.parse_args()
    if options.megabytes < 64 or options.repeat < 1:
        p.error("at least 64 megabytes and 1 round")
    return options


def main():
    options = options_of()
    if not shutil.which("fio"):
        sys.exit("mount.py: no fio (tools/install-deps bench)")
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(130))
    bench = Bench(options)
    try:
        bench.prepare()
        bench.measure()
        reached = report(bench, options)
    finally:
        bench.clean_up()
    sys.exit(0 if reached or not options.check else 1)


if __name__ == "__main__":
    main()
