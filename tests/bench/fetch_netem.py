#!/usr/bin/env python3
"""Measures a store behind a line of 1 Gbit/s and 20 ms: mounted, unpacked, verified, and with a cut.

    fetch_netem.py BUILD [--megabytes 1024] [--repeat 3] [--mbit 1000] [--rtt 20] [--link KIND]
                   [--csv FILE] [--check]

The line is tests/fetch/slow_link.py's (needs root), nginx is at its other end, the store one of
generated BF16 weights.  Each round downloads the store with curl and takes that for the line's rate;
then, each on a fresh mount: the first tensor, against curl asking for the very extents on a connection
of its own; the whole file in order, by 1 MiB; the same with the line cut for five seconds in the middle,
hashed.  Then `weir unpack` and `weir verify`.  Figures are medians of the rounds; units of 10^6 bytes.
The demands: the first tensor within three round trips and what curl takes for its extents; the file at
80 % (--part) of the line's rate times the ratio; no wrong byte.  With --check one that is missed makes the
exit code 1.  --quick leaves unpack and verify out, and ends with the first round that meets the demands.
"""
import argparse
import csv
import hashlib
import json
import os
import statistics
import struct
import subprocess
import sys
import tempfile
import threading
import time

HERE = os.path.dirname(os.path.abspath(__file__))
BLOCK, EXTENT_PLAIN = 1 << 20, 32 * (128 << 10)
CUT_SECONDS = 5


def call(*words, **more):
    return subprocess.run(words, check=True, stdout=subprocess.PIPE, text=True, **more).stdout


def timed(*words):
    start = time.monotonic()
    call(*words)
    return time.monotonic() - start


class Link:
    def __init__(self, mbit, rtt, kind):
        self.process = subprocess.Popen(
            [sys.executable, f"{HERE}/../fetch/slow_link.py", str(mbit), str(rtt), kind],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        said = self.process.stdout.readline().split()
        if len(said) != 4:
            print(" ".join(said))
            sys.exit(77)  # skipped
        self.kind, self.space, _, self.address = said

    def say(self, word):
        self.process.stdin.write(word + "\n")
        self.process.stdin.flush()
        self.process.stdout.readline()

    def end(self):
        self.process.stdin.close()
        self.process.wait()


class Web:
    CONF = """daemon off; master_process off; pid {0}/pid; error_log {0}/error.log;
events {{}}
http {{ access_log {0}/access.log; root {0}/www; sendfile on; keepalive_requests 100000;
client_body_temp_path {0}/b; proxy_temp_path {0}/p; fastcgi_temp_path {0}/f; uwsgi_temp_path {0}/u;
scgi_temp_path {0}/s; server {{ listen 8080; }} }}
"""

    def __init__(self, link, folder):
        self.log = f"{folder}/access.log"
        with open(f"{folder}/nginx.conf", "w") as f:
            f.write(self.CONF.format(folder))
        self.process = subprocess.Popen(["ip", "netns", "exec", link.space, "nginx", "-e", f"{folder}/error.log",
                                         "-p", folder, "-c", f"{folder}/nginx.conf"])
        self.url = f"http://{link.address}:8080/a.weir"
        while subprocess.run(["curl", "-s", "-o", "/dev/null", "-r", "0-0", self.url]).returncode:
            time.sleep(0.1)

    def n_requests(self):
        with open(self.log) as f:
            return len(f.readlines())


class Mount:
    def __init__(self, weir, url, at, *more):
        self.weir, self.at = weir, at
        self.seconds = timed(weir, "mount", *more, url, at)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        call(self.weir, "umount", self.at)


def tensor_of(path, least):
    """The first tensor of at least so many bytes: where it begins in the file, and its bytes."""
    with open(path, "rb") as f:
        n = struct.unpack("<Q", f.read(8))[0]
        head = json.loads(f.read(n))
    spans = sorted(t["data_offsets"] for name, t in head.items() if name != "__metadata__")
    first, last = next(s for s in spans if s[1] - s[0] >= least)
    return 8 + n + first, last - first


def read_range(path, at, n):
    fd = os.open(path, os.O_RDONLY)
    done = hashlib.sha256()
    while n:
        got = os.pread(fd, min(n, BLOCK), at)
        done.update(got)
        at, n = at + len(got), n - len(got)
    os.close(fd)
    return done.hexdigest()


def read_all(path, hashed, after=None, then=None):
    n, seconds, h = 0, time.monotonic(), hashlib.sha256()
    with open(path, "rb", buffering=0) as f:
        while block := f.read(BLOCK):
            n += len(block)
            if hashed:
                h.update(block)
            if after and n >= after:
                after = None
                then()
    return time.monotonic() - seconds, h.hexdigest()


class Bench:
    def __init__(self, o, folder):
        self.o, self.folder = o, folder
        self.weir = f"{o.build}/cli/weir"
        call(f"{o.build}/tests/gen_checkpoint", f"{folder}/plain", "--megabytes", str(o.megabytes),
             "--shards", "1")
        os.mkdir(f"{folder}/www")
        os.mkdir(f"{folder}/mnt")
        self.store = f"{folder}/www/a.weir"
        call(self.weir, "pack", "-q", f"{folder}/plain", self.store)
        names = [n for n in os.listdir(f"{folder}/plain") if n.endswith(".safetensors")]
        self.name = max(names, key=lambda n: os.path.getsize(f"{folder}/plain/{n}"))
        self.plain = f"{folder}/plain/{self.name}"
        self.mounted = f"{folder}/mnt/{self.name}"
        self.ratio = os.path.getsize(self.plain) / os.path.getsize(self.store)
        self.sha256 = read_range(self.plain, 0, os.path.getsize(self.plain))
        self.tensor = tensor_of(self.plain, self.o.tensor)

    def mount(self, web, *more):
        return Mount(self.weir, web.url, f"{self.folder}/mnt", *more)

    def first_tensor(self, web, row):
        at, n = self.tensor
        want = read_range(self.plain, at, n)
        before = web.n_requests()
        with self.mount(web) as m:
            opening = web.n_requests() - before
            start = time.monotonic()
            if read_range(self.mounted, at, n) != want:
                sys.exit("wrong bytes")
            row["tensor_ms"] = 1e3 * (time.monotonic() - start)
            row["mount_ms"] = 1e3 * m.seconds
        row["open_requests"] = opening
        # What curl takes for as many stored bytes, on a connection of its own.
        stored = int((n + EXTENT_PLAIN) / self.ratio)
        row["curl_tensor_ms"] = 1e3 * timed("curl", "-s", "-o", "/dev/null", "-r", f"4096-{4095 + stored}", web.url)
        row["line_tensor_ms"] = 1e3 * stored / (1e6 * row["curl_MBps"])
        row["tensor_rtts"] = (row["tensor_ms"] - row["line_tensor_ms"]) / self.o.rtt

    def cut(self, web, link, row):
        def cut():
            link.say("cut")
            threading.Timer(CUT_SECONDS, link.say, ["join"]).start()

        with self.mount(web):
            seconds, sha256 = read_all(self.mounted, True, os.path.getsize(self.plain) // 2, cut)
        row["cut_s"] = seconds
        row["cut_fine"] = int(sha256 == self.sha256)

    def once(self, web, link):
        row = {}
        size = os.path.getsize(self.plain)
        stored = os.path.getsize(self.store)
        row["curl_MBps"] = stored / timed("curl", "-s", "-o", "/dev/null", web.url) / 1e6
        self.first_tensor(web, row)
        with self.mount(web) as _:
            seconds, _ = read_all(self.mounted, False)
            row["read_MBps"] = size / seconds / 1e6
            with open("/proc/mounts") as f:
                assert "fuse.weir" in f.read()
        row["line_MBps"] = row["curl_MBps"] * self.ratio
        row["read_part"] = row["read_MBps"] / row["line_MBps"]
        self.cut(web, link, row)
        if self.o.quick:
            return row
        row["unpack_MBps"] = size / timed(self.weir, "unpack", "-qf", web.url, f"{self.folder}/out") / 1e6
        row["verify_MBps"] = size / timed(self.weir, "verify", "-q", web.url) / 1e6
        return row


def is_met(row, o):
    return (row["read_part"] >= o.part and row["cut_fine"] == 1
            and row["tensor_ms"] <= 3 * o.rtt + row["curl_tensor_ms"] + o.slack)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("build")
    parser.add_argument("--megabytes", type=int, default=1024)
    parser.add_argument("--repeat", type=int, default=3)
    parser.add_argument("--mbit", type=float, default=1000)
    parser.add_argument("--rtt", type=float, default=20)
    parser.add_argument("--tensor", type=int, default=1 << 20, help="bytes of the first tensor, at least")
    parser.add_argument("--link", default="auto")
    parser.add_argument("--csv")
    parser.add_argument("--part", type=float, default=0.8)
    parser.add_argument("--slack", type=float, default=0, help="milliseconds more for the first tensor")
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--check", action="store_true")
    o = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="weir-netem.") as folder:
        os.chmod(folder, 0o755)  # nginx may not be root
        bench = Bench(o, folder)
        link = Link(o.mbit, o.rtt, o.link)
        web = None
        try:
            web = Web(link, folder)
            print(f"{link.kind}, {o.mbit:g} Mbit/s, {o.rtt:g} ms; {os.path.getsize(bench.store)} bytes, "
                  f"ratio {bench.ratio:.3f}; tensor of {bench.tensor[1]} bytes")
            rows = []
            for _ in range(o.repeat):
                rows.append(bench.once(web, link))
                print("  ".join(f"{k} {v:.4g}" for k, v in rows[-1].items()), flush=True)
                if o.quick and is_met(rows[-1], o):
                    break
        finally:
            if web:
                web.process.terminate()
                web.process.wait()
            link.end()
    middle = {k: statistics.median(r[k] for r in rows) for k in rows[0]}
    print("median:")
    for k, v in middle.items():
        print(f"  {k:16} {v:.4g}")
    if o.csv:
        with open(o.csv, "w", newline="") as f:
            out = csv.DictWriter(f, rows[0].keys())
            out.writeheader()
            out.writerows(rows)
    fine = is_met(rows[-1] if o.quick else middle, o) and all(r["cut_fine"] for r in rows)
    print("demands:", "met" if fine else "MISSED")
    return 1 if o.check and not fine else 0


sys.exit(main())
