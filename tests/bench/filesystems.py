"""What mount.py and mount_soak.py know of filesystems: how an image is made of a folder, mounted and
unmounted, which process serves it, and what that process has used.

A peer that this system cannot provide raises Missing, with the reason.  Nothing here measures.
"""
import ctypes
import json
import mmap
import os
import re
import shutil
import subprocess
import time


class Missing(Exception):
    """This filesystem cannot be had here; the text says why."""


def call(*args):
    """Runs a command that must succeed; its last line of stderr or stdout is the error's text."""
    done = subprocess.run(args, stdin=subprocess.DEVNULL, capture_output=True, text=True)
    if done.returncode != 0:
        said = (done.stderr.strip() or done.stdout.strip()).splitlines()
        raise RuntimeError(f"{' '.join(args)}: {said[-1].strip() if said else f'exit code {done.returncode}'}")
    return done.stdout


# ---- processes and pages ----


def processes_of(path):
    """Process ids that have this path as an argument of their command line."""
    found = []
    for pid in filter(str.isdigit, os.listdir("/proc")):
        try:
            with open(f"/proc/{pid}/cmdline", "rb") as f:
                if os.fsencode(path) in f.read().split(b"\0"):
                    found.append(int(pid))
        except OSError:  # it has ended meanwhile
            pass
    return found


def cpu_seconds(pid):
    """User and system time of a process, ended threads included; a tick (10 ms) is its grain."""
    with open(f"/proc/{pid}/stat") as f:
        fields = f.read().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def peak_rss_bytes(pid):
    with open(f"/proc/{pid}/status") as f:
        return int(re.search(r"^VmHWM:\s+(\d+) kB", f.read(), re.M).group(1)) * 1024


def is_mounted(at):
    with open("/proc/self/mounts") as f:
        return any(line.split()[1] == at for line in f)


def resident_part(path):
    """How much of a file the page cache holds, 0 to 1.  To others than root mincore() may lie."""
    libc = ctypes.CDLL(None, use_errno=True)
    libc.mmap.restype = ctypes.c_void_p
    libc.mmap.argtypes = [ctypes.c_void_p, ctypes.c_size_t] + [ctypes.c_int] * 3 + [ctypes.c_long]
    libc.munmap.argtypes = [ctypes.c_void_p, ctypes.c_size_t]
    libc.mincore.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_void_p]
    size = os.path.getsize(path)
    pages = -(-size // mmap.PAGESIZE)
    fd = os.open(path, os.O_RDONLY)
    try:
        at = libc.mmap(None, size, mmap.PROT_READ, mmap.MAP_SHARED, fd, 0)
    finally:
        os.close(fd)
    if at == ctypes.c_void_p(-1).value:
        raise OSError(ctypes.get_errno(), f"mmap {path}")
    held = (ctypes.c_ubyte * pages)()
    failed = libc.mincore(at, size, held)
    libc.munmap(at, size)
    if failed:
        raise OSError(ctypes.get_errno(), f"mincore {path}")
    return bytes(held).count(1) / pages


# ---- filesystems ----


class Plain:
    """The file itself where it lies, in a tmpfs: the bound of what reading can be."""

    label = "tmpfs"
    daemon = None
    stored_bytes = 0

    def __init__(self, source):
        self.file = source
        self.stored_bytes = os.path.getsize(source)

    def make(self):
        pass

    def mount(self):
        pass

    def unmount(self):
        pass

    def status(self):
        return None


class Mounted:
    """A filesystem in an image.  source is a file alone in its folder; tmp is where the image and
    the mountpoint go."""

    label = ""
    suffix = ""

    def __init__(self, source, tmp):
        self.source = source
        stem = re.sub(r"\W+", "-", self.label)
        self.image = os.path.join(tmp, f"{stem}.{self.suffix}")
        self.at = os.path.join(tmp, f"{stem}.mnt")
        self.file = os.path.join(self.at, os.path.basename(source))
        self.daemon = None
        os.makedirs(self.at, exist_ok=True)

    def build(self):
        raise NotImplementedError

    def attach(self):
        raise NotImplementedError

    def detach(self, lazy=False):
        call("fusermount3", "-u", *(["-z"] if lazy else []), self.at)

    def make(self):
        """Makes the image and tries it: afterwards the filesystem is known to work here."""
        try:
            self.build()
            self.mount()
        except RuntimeError as e:
            raise Missing(str(e)) from e
        try:
            if os.path.getsize(self.file) != os.path.getsize(self.source):
                raise Missing("it shows a file of another size")
        finally:
            self.unmount()

    @property
    def stored_bytes(self):
        return os.path.getsize(self.image)

    def mount(self):
        """Afterwards self.file is there, cold, and self.daemon serves it (None: the kernel)."""
        self.attach()
        pids = processes_of(self.image)
        if len(pids) > 1:
            raise RuntimeError(f"{self.label}: served by {len(pids)} processes")
        self.daemon = pids[0] if pids else None

    def unmount(self):
        """Afterwards the mount and its process are gone, so that the next one is not disturbed."""
        for attempt in range(100):
            if not is_mounted(self.at):
                break
            try:
                self.detach(lazy=attempt == 99)
            except RuntimeError:  # busy: a reader is just ending
                time.sleep(0.05)
        deadline = time.monotonic() + 20
        while processes_of(self.image):
            if time.monotonic() > deadline:
                raise RuntimeError(f"{self.label}: its process stays after unmounting")
            time.sleep(0.01)
        self.daemon = None

    def status(self):
        """The mount's own counters, or None."""
        return None


def need_fuse():
    if not os.path.exists("/dev/fuse") or not shutil.which("fusermount3"):
        raise Missing("no /dev/fuse or no fusermount3 here")


class Weir(Mounted):
    label = "weir"
    suffix = "weir"

    def __init__(self, source, tmp, program):
        super().__init__(source, tmp)
        self.program = program

    def build(self):
        need_fuse()
        call(self.program, "pack", "-q", "-f", self.source, self.image)

    def attach(self):
        call(self.program, "mount", "-q", self.image, self.at)

    def status(self):
        try:
            with open(os.path.join(self.at, ".weir", "status.json")) as f:
                return json.load(f)
        except FileNotFoundError:
            return None


class Squashfuse(Mounted):
    """zstd at level 3: the default, 15, takes seventy times as long, is smaller by 0.3 % at most and
    is read no faster."""

    suffix = "sqfs"

    def __init__(self, source, tmp, block):
        self.label = f"squashfuse zstd {block}"
        self.block = block
        super().__init__(source, tmp)

    def build(self):
        need_fuse()
        for program in ("mksquashfs", "squashfuse"):
            if not shutil.which(program):
                raise Missing(f"no {program}")
        call("mksquashfs", os.path.dirname(self.source), self.image, "-comp", "zstd", "-Xcompression-level", "3",
             "-b", self.block, "-noappend", "-quiet", "-no-progress")

    def attach(self):
        call("squashfuse", self.image, self.at)


class Erofs(Mounted):
    """The kernel's where root can mount it, else erofsfuse; zstd where mkfs.erofs has it, else lz4hc."""

    label = "erofs"
    suffix = "erofs"

    def build(self):
        if not shutil.which("mkfs.erofs"):
            raise Missing("no mkfs.erofs")
        for coding in ("zstd", "lz4hc"):
            try:
                call("mkfs.erofs", "--quiet", f"-z{coding}", "-C131072", self.image, os.path.dirname(self.source))
                self.find_way()
                self.label += f" {coding}"
                return
            except RuntimeError as e:
                why = e
        raise why

    def find_way(self):
        """Sets how to mount; a kernel may know erofs and not the coding, which shows in reading."""
        ways = {"kernel erofs": ("mount", "-t", "erofs", "-o", "loop,ro"), "erofsfuse": ("erofsfuse",)}
        why = None
        for self.label, self.way in ways.items():
            if (self.way[0] == "mount" and os.geteuid() != 0) or not shutil.which(self.way[0]):
                continue
            try:
                self.attach()
                try:
                    with open(self.file, "rb") as f:
                        f.read(1 << 20)
                finally:
                    self.unmount()
                return
            except (OSError, RuntimeError) as e:
                why = RuntimeError(str(e))
        raise why or RuntimeError("not root, and no erofsfuse")

    def attach(self):
        call(*self.way, self.image, self.at)

    def detach(self, lazy=False):
        if self.way[0] == "mount":
            call("umount", *(["-l"] if lazy else []), self.at)
        else:
            super().detach(lazy)
