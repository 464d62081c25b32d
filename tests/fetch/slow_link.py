#!/usr/bin/env python3
"""A line with a rate and a length, between this network namespace and a new one.

usage: slow_link.py MBIT RTT_MS [KIND]

KIND is netem (veth and tc's qdisc of that name), tun (two TUN devices, and this program between
them, where the kernel has no netem), or auto, the default.  Prints "KIND NAMESPACE OURS THEIRS": the
namespace's name for `ip netns exec`, and the addresses of both ends.  Then every line of stdin is a
command, answered with a line: "cut" loses all packets, "join" ends that.  At the end of stdin the
namespace goes.  Exits with 77 and says why where there is no such thing.

Of tun: packets keep the offloading of the kernel (one may be of 64 KiB and count as its 45 segments),
so that TCP's windows are those of 1500-byte packets, but loss is of whole bursts.  A direction queues
at most 50 ms of what it can carry; what comes then is lost.
"""
import collections
import fcntl
import os
import select
import signal
import struct
import subprocess
import sys
import time

TUNSETIFF, TUNSETOFFLOAD = 0x400454CA, 0x400454D0
IFF_TUN, IFF_NO_PI, IFF_VNET_HDR = 0x1, 0x1000, 0x4000
TUN_F_CSUM, TUN_F_TSO4 = 0x1, 0x2
VNET_HEADER, ETHERNET, HEADERS = 10, 14, 40
QUEUE_SECONDS = 0.05


def run(*words, check=True):
    done = subprocess.run(words, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    if check and done.returncode:
        raise OSError(f"{' '.join(words)}: {done.stdout.strip()}")
    return done.returncode == 0


class Ends:
    """Names and addresses of both ends; the namespace."""

    def __init__(self):
        pid = os.getpid()
        self.space = f"weir-{pid}"
        self.device = [f"wr{pid}a", f"wr{pid}b"]
        low = pid % 16384 * 4
        net = f"198.{18 + low // 65536}.{low // 256 % 256}"
        self.address = [f"{net}.{low % 256 + 1}", f"{net}.{low % 256 + 2}"]

    def inside(self, *words):
        run("ip", "netns", "exec", self.space, *words)

    def add_space(self):
        run("ip", "netns", "add", self.space)
        self.inside("ip", "link", "set", "lo", "up")

    def bring_up(self):
        run("ip", "link", "set", self.device[1], "netns", self.space)
        run("ip", "address", "add", self.address[0] + "/30", "dev", self.device[0])
        run("ip", "link", "set", self.device[0], "up")
        self.inside("ip", "address", "add", self.address[1] + "/30", "dev", self.device[1])
        self.inside("ip", "link", "set", self.device[1], "up")

    def remove(self):
        run("ip", "link", "del", self.device[0], check=False)
        run("ip", "netns", "del", self.space, check=False)


class Netem:
    kind = "netem"

    def __init__(self, ends, mbit, rtt):
        self.ends = ends
        self.line = ["delay", f"{rtt / 2}ms", "rate", f"{mbit}mbit", "limit", "20000"]
        run("ip", "link", "add", ends.device[0], "type", "veth", "peer", "name", ends.device[1])
        ends.bring_up()
        self.change("add", self.line)

    def change(self, verb, line):
        run("tc", "qdisc", verb, "dev", self.ends.device[0], "root", "netem", *line)
        self.ends.inside("tc", "qdisc", verb, "dev", self.ends.device[1], "root", "netem", *line)

    def obey(self, word):
        self.change("change", self.line + ["loss", "100%"] * (word == "cut"))

    def files(self):
        return []

    def timeout(self):
        return None

    def work(self, _):
        pass


class Direction:
    def __init__(self, take, give, bytes_per_second, delay):
        self.take, self.give = take, give
        self.rate, self.delay = bytes_per_second, delay
        self.free_at = 0  # when the line has sent what it has
        self.way = collections.deque()  # (arrival, packet)

    def hear(self, lost):
        for _ in range(64):
            try:
                packet = os.read(self.take, 1 << 17)
            except BlockingIOError:
                return
            if lost:
                continue
            now = time.monotonic()
            start = max(now, self.free_at)
            if start - now > QUEUE_SECONDS:
                continue
            n = len(packet) - VNET_HEADER
            segment = struct.unpack_from("=BBHHHH", packet)[3]
            n_more = max(0, -(-(n - HEADERS) // segment) - 1) if segment else 0
            self.free_at = start + (n + ETHERNET + n_more * (HEADERS + ETHERNET)) / self.rate
            self.way.append((self.free_at + self.delay, packet))

    def deliver(self):
        now = time.monotonic()
        while self.way and self.way[0][0] <= now:
            try:
                os.write(self.give, self.way.popleft()[1])
            except OSError:
                pass  # lost, as packets are


class Tun:
    kind = "tun"

    def __init__(self, ends, mbit, rtt):
        self.lost = False
        fds = [self.device(name) for name in ends.device]
        ends.bring_up()
        rate = mbit * 1e6 / 8
        self.ways = [Direction(fds[i], fds[1 - i], rate, rtt / 2e3) for i in (0, 1)]

    @staticmethod
    def device(name):
        fd = os.open("/dev/net/tun", os.O_RDWR | os.O_NONBLOCK)
        flags = IFF_TUN | IFF_NO_PI | IFF_VNET_HDR
        fcntl.ioctl(fd, TUNSETIFF, struct.pack("16sH22x", name.encode(), flags))
        fcntl.ioctl(fd, TUNSETOFFLOAD, TUN_F_CSUM | TUN_F_TSO4)
        return fd

    def obey(self, word):
        self.lost = word == "cut"

    def files(self):
        return [way.take for way in self.ways]

    def timeout(self):
        arrivals = [way.way[0][0] for way in self.ways if way.way]
        return max(0, min(arrivals) - time.monotonic()) if arrivals else None

    def work(self, ready):
        for way in self.ways:
            if way.take in ready:
                way.hear(self.lost)
            way.deliver()


def serve(line):
    while True:
        ready = select.select([0] + line.files(), [], [], line.timeout())[0]
        line.work(ready)
        if 0 not in ready:
            continue
        word = os.read(0, 100).decode().strip()
        if not word:
            return
        line.obey(word)
        print(word, flush=True)


def main():
    mbit, rtt = float(sys.argv[1]), float(sys.argv[2])
    kind = sys.argv[3] if len(sys.argv) > 3 else "auto"
    try:  # what it carries must not wait for who else computes here
        os.sched_setscheduler(0, os.SCHED_RR, os.sched_param(1))
    except OSError:
        pass
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    ends = Ends()
    line, why = None, "no such kind"
    try:
        for make in Netem, Tun:
            if line or kind not in ("auto", make.kind):
                continue
            try:
                ends.add_space()
                line = make(ends, mbit, rtt)
            except OSError as error:
                why = str(error)
                ends.remove()
        if not line:
            print("no network namespace with a slow line:", why)
            return 77
        print(line.kind, ends.space, *ends.address, flush=True)
        serve(line)
    finally:
        ends.remove()
    return 0


sys.exit(main())
