#!/usr/bin/env python3
"""How many mantissa bits to entropy-code with the exponent of BF16, and with how fine frequencies.

    symbol_bits.py [ITEMS]          needs numpy

Independent N(0, 0.02) values.  For symbols of exponent + k top mantissa bits: the entropy, and the
cost with frequencies of 11 to 14 bits where symbols rarer than 1 in 62,500 are patches of 49 bits.
Tile heads (16 bytes), states (64 x 4) and padding are not in it.
"""
import sys

import numpy as np


def entropy(count):
    p = count[count > 0] / count.sum()
    return float(-(p * np.log2(p)).sum())


def cost(count, prob_bits):
    """Bits an item with integer frequencies, and the share of patches."""
    n, slots = count.sum(), 1 << prob_bits
    kept = count[count / n > 1.6e-5].astype(float)
    freq = np.maximum(1, np.floor(kept / kept.sum() * slots)).astype(int)
    while freq.sum() < slots:
        freq[(kept / (freq + 0.5)).argmax()] += 1
    while freq.sum() > slots:
        freq[np.where(freq > 1, kept / (freq - 0.5), np.inf).argmin()] -= 1
    rare = 1 - kept.sum() / n
    return float((kept * np.log2(slots / freq)).sum() / n + rare * 49), rare, len(kept)


def main():
    n = int(sys.argv[1]) if len(sys.argv) > 1 else 1 << 25
    x = (np.random.default_rng(1).standard_normal(n) * 0.02).astype(np.float32).view(np.uint32)
    u = ((x + 0x7FFF + (x >> 16 & 1)) >> 16).astype(np.uint16)
    print(f"all 16 bits: {entropy(np.bincount(u)):.4f}")
    print("k,entropy_total," + ",".join(f"total_{m}_bits" for m in range(11, 15)) + ",symbols,patches")
    for k in range(6):
        count = np.bincount((u & 0x7FFF) >> (7 - k))
        totals = [cost(count, m) for m in range(11, 15)]
        print(f"{k},{entropy(count) + 8 - k:.4f}," + ",".join(f"{t[0] + 8 - k:.4f}" for t in totals) +
              f",{totals[0][2]},{totals[0][1]:.2e}")


if __name__ == "__main__":
    main()
