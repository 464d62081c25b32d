"""What the checks share: results as lines that run.sh counts, seconds, files that are cold."""

import contextlib
import glob
import os
import sys
import time

failed = False


def check(name, fine, detail):
    global failed
    failed = failed or not fine
    print("ok" if fine else "FAILED", f"{name}: {detail}", flush=True)


def finish():
    sys.exit(1 if failed else 0)


class Clock:
    """Adds up the seconds of `with` blocks."""

    def __init__(self):
        self.seconds = 0.0

    def __enter__(self):
        self.start = time.monotonic()

    def __exit__(self, *_):
        self.seconds += time.monotonic() - self.start


def make_cold(folder):
    """Has the kernel forget what it keeps of the files, if nobody else holds them."""
    for path in glob.glob(os.path.join(folder, "**"), recursive=True):
        with contextlib.suppress(OSError):
            fd = os.open(path, os.O_RDONLY)
            os.fsync(fd)  # what is not written yet stays
            os.posix_fadvise(fd, 0, 0, os.POSIX_FADV_DONTNEED)
            os.close(fd)


def same_bits(a, b):
    """Of two torch tensors: type, shape and every bit, so that a NaN equals itself."""
    import torch

    if a.dtype != b.dtype or a.shape != b.shape:
        return False
    return torch.equal(a.flatten().view(torch.uint8), b.flatten().view(torch.uint8))
