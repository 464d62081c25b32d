#!/usr/bin/env python3
"""Measures `weir fetch` beside curl and aria2, from an nginx on 127.0.0.1.

    fetch.py BUILD [--megabytes 1000] [--repeat 5] [--big MB] [--disk DIR] [--tmp DIR] [--csv FILE] [--check]

The store is of random bytes and lies in a tmpfs; it is written to a tmpfs and to a disk, by a server that
sends what it can, and by one that gives each connection 50 MB/s.  The programs take turns.  weir brings
what it writes to the disk and the others do not, so "+ sync" has them, too, with sync(1) of the file.  Peak
memory is VmHWM, looked at every 5 ms.  --big fetches a store of so many megabytes once, with 16
connections, for its memory.  Units of 10^6 bytes, MiB for memory.  --check: the exit code is 1 if a bar is
missed.
"""
import argparse
import csv
import os
import platform
import shutil
import socket
import statistics
import subprocess
import sys
import tempfile
import time

PEAK_LIMIT_MIB = 64
CONFIG = """
daemon off; master_process off; pid {tmp}/nginx.pid; error_log {tmp}/error.log;
events {{}}
http {{
    access_log off; root {tmp}/www; sendfile on; tcp_nopush on; keepalive_requests 100000;
    client_body_temp_path {tmp}/b; proxy_temp_path {tmp}/p; fastcgi_temp_path {tmp}/f;
    uwsgi_temp_path {tmp}/u; scgi_temp_path {tmp}/s;
    server {{ listen 127.0.0.1:{free}; }}
    server {{ listen 127.0.0.1:{limited}; limit_rate 50000000; }}
}}
"""


def peak_of(pid):
    try:
        with open(f"/proc/{pid}/status", encoding="ascii") as f:
            return next((int(line.split()[1]) for line in f if line.startswith("VmHWM:")), 0)
    except (FileNotFoundError, ProcessLookupError):
        return 0


def run(commands):
    """Seconds that the commands take, one after the other, and the first one's peak in MiB."""
    peak = 0
    start = time.monotonic()
    for i, command in enumerate(commands):
        child = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
        while True:
            try:
                code = child.wait(0.005)
                break
            except subprocess.TimeoutExpired:
                peak = max(peak, peak_of(child.pid)) if i == 0 else peak
        if code != 0:
            sys.exit(f"failed: {' '.join(command)}")
    return time.monotonic() - start, peak / 1024


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


def wait_for(port):
    for _ in range(200):
        try:
            socket.create_connection(("127.0.0.1", port)).close()
            return
        except ConnectionRefusedError:
            time.sleep(0.02)
    sys.exit("nginx does not answer")


class Bench:
    def __init__(self, options):
        self.options = options
        self.weir = os.path.abspath(os.path.join(options.build, "cli/weir"))
        self.tmp = tempfile.mkdtemp(prefix="weir-bench.", dir=options.tmp)
        self.disk = tempfile.mkdtemp(prefix="weir-bench.", dir=options.disk)
        self.server, self.samples = None, {}

    def make_store(self, name, megabytes):
        """Random bytes: nothing to gain by coding them, so that the store is as long."""
        os.mkdir(f"{self.tmp}/tree")
        with open(f"{self.tmp}/tree/random", "wb") as f:
            for _ in range(megabytes):
                f.write(os.urandom(1000000))
        subprocess.run([self.weir, "pack", "-q", f"{self.tmp}/tree", f"{self.tmp}/www/{name}"], check=True,
                       stdout=subprocess.DEVNULL)
        shutil.rmtree(f"{self.tmp}/tree")

    def prepare(self):
        os.mkdir(f"{self.tmp}/www")
        self.make_store("a.weir", self.options.megabytes)
        self.ports = {"free": free_port(), "limited": free_port()}
        with open(f"{self.tmp}/nginx.conf", "w", encoding="ascii") as f:
            f.write(CONFIG.format(tmp=self.tmp, **self.ports))
        nginx = shutil.which("nginx", path=os.environ["PATH"] + ":/usr/sbin")
        self.server = subprocess.Popen([nginx, "-e", f"{self.tmp}/error.log", "-p", self.tmp, "-c",
                                        f"{self.tmp}/nginx.conf"])
        for port in self.ports.values():
            wait_for(port)

    def commands(self, program, url, to):
        folder, name = os.path.split(to)
        main = {
            "weir": [self.weir, "fetch", "-q", url, to],
            "curl": ["curl", "-s", "-f", "-o", to, url],
            "aria2": ["aria2c", "-q", "-x16", "-s16", "--file-allocation=none", "-d", folder, "-o", name, url],
        }[program.split()[0]]
        return [main] + ([["sync", to]] if program.endswith("+ sync") else [])

    def measure(self):
        jobs = [(s, d, p) for s in self.ports for d in ("tmpfs", "disk") for p in programs_of(d)]
        for repeat in range(self.options.repeat):
            for server, where, program in jobs if repeat % 2 == 0 else reversed(jobs):
                self.run_once(server, where, program)

    def run_once(self, server, where, program):
        to = f"{self.tmp if where == 'tmpfs' else self.disk}/b.weir"
        os.sync()
        sample = run(self.commands(program, f"http://127.0.0.1:{self.ports[server]}/a.weir", to))
        if os.path.getsize(to) != os.path.getsize(f"{self.tmp}/www/a.weir"):
            sys.exit(f"{program}: another size")
        os.remove(to)
        self.samples.setdefault((server, where, program), []).append(sample)

    def measure_big(self):
        self.make_store("big.weir", self.options.big)
        url = f"http://127.0.0.1:{self.ports['limited']}/big.weir"  # where all 16 connections pay
        sample = run([[self.weir, "fetch", "-q", "-x", "16", url, f"{self.disk}/big.weir"]])
        self.samples["limited", "disk", f"weir, {self.options.big} MB"] = [sample]

    def clean_up(self):
        if self.server:
            self.server.terminate()
            self.server.wait()
        shutil.rmtree(self.tmp)
        shutil.rmtree(self.disk)


def programs_of(where):
    return ["weir", "curl", "aria2"] + (["curl + sync", "aria2 + sync"] if where == "disk" else [])


def rows_of(bench):
    for (server, where, program), samples in bench.samples.items():
        seconds = [s for s, _ in samples]
        megabytes = bench.options.big if "," in program else bench.options.megabytes
        middle = statistics.median(seconds)
        yield [server, where, program, megabytes, len(samples), f"{middle:.3f}", f"{min(seconds):.3f}",
               f"{max(seconds):.3f}", f"{megabytes / middle:.0f}", f"{max(p for _, p in samples):.1f}"]


def bars(bench):
    """What is asked, and whether it is reached."""
    middle = {k: statistics.median(s for s, _ in v) for k, v in bench.samples.items()}
    for where in ("tmpfs", "disk"):
        for server, least in (("free", 0.8), ("limited", 2)):
            ratio = middle[server, where, "curl"] / middle[server, where, "weir"]
            yield f"{server}, {where}: {ratio:.2f} of curl's rate, asked {least}", ratio >= least
    ratio = middle["free", "disk", "curl + sync"] / middle["free", "disk", "weir"]
    yield f"free, disk: {ratio:.2f} of curl's rate with sync", True
    peak = max(p for k, v in bench.samples.items() if k[2].startswith("weir") for _, p in v)
    yield f"peak of weir: {peak:.1f} MiB, at most {PEAK_LIMIT_MIB}", peak <= PEAK_LIMIT_MIB


def model():
    with open("/proc/cpuinfo", encoding="utf-8") as f:
        return next((line.split(":")[1].strip() for line in f if line.startswith("model name")), platform.machine())


def report(bench):
    columns = ["server", "to", "program", "MB", "runs", "seconds", "min", "max", "MB/s", "peak MiB"]
    rows = list(rows_of(bench))
    for row in [columns, ["---"] * len(columns)] + rows:
        print("| " + " | ".join(str(x) for x in row) + " |")
    if bench.options.csv:
        commit = subprocess.run(["git", "rev-parse", "--short", "HEAD"], capture_output=True, text=True,
                                cwd=os.path.dirname(os.path.abspath(__file__)), check=False).stdout.strip()
        with open(bench.options.csv, "w", newline="", encoding="ascii") as f:
            out = csv.writer(f, lineterminator="\n")
            machine = f"{model()} x{os.cpu_count()}"
            out.writerow(["commit", "machine"] + columns)
            out.writerows([commit or "-", machine] + row for row in rows)
    fine = True
    for text, reached in bars(bench):
        print(text + ("" if reached else "; MISSED"))
        fine = fine and reached
    return fine


def main():
    p = argparse.ArgumentParser(description=__doc__.split("\n\n", maxsplit=1)[0])
    p.add_argument("build", help="folder with the built programs")
    p.add_argument("--megabytes", type=int, default=1000, help="of the store (default: 1000)")
    p.add_argument("--repeat", type=int, default=5, help="rounds (default: 5)")
    p.add_argument("--big", type=int, default=0, help="megabytes of a store fetched for its memory (default: none)")
    p.add_argument("--disk", default="/var/tmp", help="a folder on a disk (default: /var/tmp)")
    p.add_argument("--tmp", default="/dev/shm", help="a tmpfs with room for twice the store (default: /dev/shm)")
    p.add_argument("--csv", help="file for the figures")
    p.add_argument("--check", action="store_true", help="exit code 1 if a bar is missed")
    bench = Bench(p.parse_args())
    try:
        bench.prepare()
        bench.measure()
        if bench.options.big:
            bench.measure_big()
        fine = report(bench)
    finally:
        bench.clean_up()
    sys.exit(1 if bench.options.check and not fine else 0)


if __name__ == "__main__":
    main()
