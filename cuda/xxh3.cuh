/* xxh3.cuh - XXH3-64 with seed 0 and the default secret, of up to 128 KiB in device memory, by one
 * warp.  After the published specification (xxHash, doc/xxhash_spec.md).
 *
 * Longer than 240 bytes, eight sums run over stripes of 64 bytes; 16 stripes make a block, between
 * blocks the sums are scrambled.  Inside a block they are plain sums: any thread may add any part.
 */
#ifndef WEIR_CUDA_XXH3_CUH
#define WEIR_CUDA_XXH3_CUH

#include <stdint.h>

#define XXH3_FN static __device__ __forceinline__

enum {
    XXH3_SHORT = 240, /* up to here there are other rules */
    XXH3_STRIPE = 64,
    XXH3_BLOCK = 1024,
    XXH3_AHEAD = 4, /* blocks that are loaded at once */
    XXH3_SECRET_WORDS = 24,
    /* where in the secret; bytes, but for the first */
    XXH3_SCRAMBLE_WORD = XXH3_SECRET_WORDS - 8,
    XXH3_LAST_STRIPE = 121,
    XXH3_MERGE = 11,
    XXH3_MIDDLE = 3,
    XXH3_MIDDLE_END = 119,
};

static const uint64_t XXH3_P32_1 = 0x9e3779b1, XXH3_P32_2 = 0x85ebca77, XXH3_P32_3 = 0xc2b2ae3d;
static const uint64_t XXH3_P64_1 = 0x9e3779b185ebca87, XXH3_P64_2 = 0xc2b2ae3d27d4eb4f,
                      XXH3_P64_3 = 0x165667b19e3779f9, XXH3_P64_4 = 0x85ebca77c2b2ae63,
                      XXH3_P64_5 = 0x27d4eb2f165667c5, XXH3_MIX_1 = 0x165667919e3779f9,
                      XXH3_MIX_2 = 0x9fb21c651e98df25;

/* The secret as little-endian words. */
static __constant__ uint64_t xxh3_secret[XXH3_SECRET_WORDS] = {
    0xbe4ba423396cfeb8, 0x1cad21f72c81017c, 0xdb979083e96dd4de, 0x1f67b3b7a4a44072,
    0x78e5c0cc4ee679cb, 0x2172ffcc7dd05a82, 0x8e2443f7744608b8, 0x4c263a81e69035e0,
    0xcb00c391bb52283c, 0xa32e531b8b65d088, 0x4ef90da297486471, 0xd8acdea946ef1938,
    0x3f349ce33f76faa8, 0x1d4f0bc7c7bbdcf9, 0x3159b4cd4be0518a, 0x647378d9c97e9fc8,
    0xc3ebd33483acc5ea, 0xeb6313faffa081c5, 0x49daf0b751dd0d17, 0x9e68d429265516d3,
    0xfca1477d58be162b, 0xce31d07ad1b8f88f, 0x280416958f3acb45, 0x7e404bbbcafbd7af,
};

/* 8 bytes of it from any byte on. */
static __device__ __noinline__ uint64_t xxh3_secret_at(uint32_t byte)
{
    uint32_t shift = byte % 8 * 8;
    uint64_t low = xxh3_secret[byte / 8];
    return shift ? low >> shift | xxh3_secret[byte / 8 + 1] << (64 - shift) : low;
}

static __device__ uint64_t xxh3_load(const uint8_t *p, uint32_t n_bytes)
{
    uint64_t v = 0;
    for (uint32_t i = 0; i < n_bytes; i++)
        v |= (uint64_t)p[i] << (8 * i);
    return v;
}

XXH3_FN uint64_t xxh3_fold(uint64_t a, uint64_t b)
{
    return a * b ^ __umul64hi(a, b);
}

XXH3_FN uint64_t xxh3_finish(uint64_t h)
{
    h = (h ^ h >> 37) * XXH3_MIX_1;
    return h ^ h >> 32;
}

/* ---- up to 240 bytes: one thread ---- */

static __device__ __noinline__ uint64_t xxh3_mix_16(const uint8_t *p, uint32_t secret_at)
{
    return xxh3_fold(xxh3_load(p, 8) ^ xxh3_secret_at(secret_at),
                     xxh3_load(p + 8, 8) ^ xxh3_secret_at(secret_at + 8));
}

static __device__ uint64_t xxh3_of_1_to_3(const uint8_t *p, uint32_t n)
{
    uint32_t v = (uint32_t)p[0] << 16 | (uint32_t)p[n / 2] << 24 | p[n - 1] | n << 8;
    uint64_t h = v ^ ((uint32_t)xxh3_secret[0] ^ (uint32_t)(xxh3_secret[0] >> 32));
    h = (h ^ h >> 33) * XXH3_P64_2;
    h = (h ^ h >> 29) * XXH3_P64_3;
    return h ^ h >> 32;
}

static __device__ uint64_t xxh3_of_4_to_8(const uint8_t *p, uint32_t n)
{
    uint64_t h = xxh3_load(p + n - 4, 4) + (xxh3_load(p, 4) << 32);
    h ^= xxh3_secret[1] ^ xxh3_secret[2];
    h ^= (h << 49 | h >> 15) ^ (h << 24 | h >> 40);
    h *= XXH3_MIX_2;
    h ^= (h >> 35) + n;
    h *= XXH3_MIX_2;
    return h ^ h >> 28;
}

static __device__ uint64_t xxh3_of_9_to_16(const uint8_t *p, uint32_t n)
{
    uint64_t low = xxh3_load(p, 8) ^ xxh3_secret[3] ^ xxh3_secret[4];
    uint64_t high = xxh3_load(p + n - 8, 8) ^ xxh3_secret[5] ^ xxh3_secret[6];
    uint64_t swapped = (uint64_t)__byte_perm((uint32_t)low, 0, 0x0123) << 32 |
                       __byte_perm((uint32_t)(low >> 32), 0, 0x0123);
    return xxh3_finish(n + swapped + high + xxh3_fold(low, high));
}

static __device__ uint64_t xxh3_of_17_to_240(const uint8_t *p, uint32_t n)
{
    uint64_t h = n * XXH3_P64_1;
    if (n <= 128) {
        for (uint32_t i = 0; i < (n + 31) / 32; i++) /* pairs from both ends */
            h += xxh3_mix_16(p + 16 * i, 32 * i) + xxh3_mix_16(p + n - 16 * (i + 1), 32 * i + 16);
        return xxh3_finish(h);
    }
    for (uint32_t i = 0; i < 8; i++)
        h += xxh3_mix_16(p + 16 * i, 16 * i);
    h = xxh3_finish(h);
    for (uint32_t i = 8; i < n / 16; i++)
        h += xxh3_mix_16(p + 16 * i, 16 * (i - 8) + XXH3_MIDDLE);
    return xxh3_finish(h + xxh3_mix_16(p + n - 16, XXH3_MIDDLE_END));
}

static __device__ __noinline__ uint64_t xxh3_of_short(const uint8_t *p, uint32_t n)
{
    if (n <= 3)
        return xxh3_of_1_to_3(p, n);
    if (n <= 8)
        return xxh3_of_4_to_8(p, n);
    return n <= 16 ? xxh3_of_9_to_16(p, n) : xxh3_of_17_to_240(p, n);
}

/* ---- longer: a warp ---- */

XXH3_FN uint64_t xxh3_first_sum(uint32_t i)
{
    switch (i) {
    case 0:
        return XXH3_P32_3;
    case 1:
        return XXH3_P64_1;
    case 2:
        return XXH3_P64_2;
    case 3:
        return XXH3_P64_3;
    case 4:
        return XXH3_P64_4;
    case 5:
        return XXH3_P32_2;
    case 6:
        return XXH3_P64_5;
    default:
        return XXH3_P32_1;
    }
}

/* What a word brings to its own sum; its neighbour's gets the word itself. */
XXH3_FN uint64_t xxh3_product(uint64_t word, uint64_t secret)
{
    uint64_t key = word ^ secret;
    return (key & 0xffffffff) * (key >> 32);
}

XXH3_FN uint64_t xxh3_scramble(uint64_t sum, uint64_t secret)
{
    return (sum ^ sum >> 47 ^ secret) * XXH3_P32_1;
}

/* Sums 2q and 2q + 1 are thread q's, q < 4; every thread of the warp gets the hash. */
static __device__ uint64_t xxh3_merge(uint64_t even, uint64_t odd, uint64_t n)
{
    uint32_t q = threadIdx.x % 4;
    uint64_t h = xxh3_fold(even ^ xxh3_secret_at(XXH3_MERGE + 16 * q),
                           odd ^ xxh3_secret_at(XXH3_MERGE + 16 * q + 8));
    h += __shfl_xor_sync(~0u, h, 1);
    h += __shfl_xor_sync(~0u, h, 2);
    return xxh3_finish(__shfl_sync(~0u, h, 0) + n * XXH3_P64_1);
}

/* The sums of a warp from memory: thread t has sums 2q and 2q + 1, q = t % 4, of stripes t / 4 and
 * t / 4 + 8 of each block. */
struct xxh3_sums {
    uint64_t even, odd;
};

XXH3_FN void xxh3_add(struct xxh3_sums *s, uint64_t even, uint64_t odd, uint64_t key_even,
                      uint64_t key_odd)
{
    s->even += xxh3_product(even, key_even) + odd;
    s->odd += xxh3_product(odd, key_odd) + even;
}

/* This thread's share of the first n_stripes of a block. */
XXH3_FN struct xxh3_sums xxh3_share(const uint8_t *block, uint32_t n_stripes)
{
    const uint32_t t = threadIdx.x % 32, q = t % 4;
    struct xxh3_sums share = {0, 0};
#pragma unroll
    for (uint32_t half = 0; half < 2; half++) {
        const uint32_t stripe = t / 4 + 8 * half;
        if (stripe >= n_stripes)
            continue;
        const ulonglong2 w = ((const ulonglong2 *)block)[t + 32 * half];
        xxh3_add(&share, w.x, w.y, xxh3_secret[stripe + 2 * q], xxh3_secret[stripe + 2 * q + 1]);
    }
    return share;
}

/* The shares of the warp's threads together, in all of them. */
XXH3_FN void xxh3_gather(struct xxh3_sums *share)
{
    for (uint32_t distance = 4; distance < 32; distance *= 2) {
        share->even += __shfl_xor_sync(~0u, share->even, distance);
        share->odd += __shfl_xor_sync(~0u, share->odd, distance);
    }
}

/* N whole blocks, none of them the last. */
template <int N> static __device__ void xxh3_blocks(struct xxh3_sums *s, const uint8_t *bytes)
{
    const uint32_t q = threadIdx.x % 4;
    struct xxh3_sums share[N];
#pragma unroll
    for (int i = 0; i < N; i++)
        share[i] = xxh3_share(bytes + i * XXH3_BLOCK, XXH3_BLOCK / XXH3_STRIPE);
#pragma unroll
    for (int i = 0; i < N; i++)
        xxh3_gather(&share[i]);
#pragma unroll
    for (int i = 0; i < N; i++) {
        s->even = xxh3_scramble(s->even + share[i].even, xxh3_secret[XXH3_SCRAMBLE_WORD + 2 * q]);
        s->odd = xxh3_scramble(s->odd + share[i].odd, xxh3_secret[XXH3_SCRAMBLE_WORD + 2 * q + 1]);
    }
}

/* The rest of n > XXH3_SHORT bytes from `at`, a multiple of XXH3_BLOCK, on. */
static __device__ __noinline__ uint64_t xxh3_rest(struct xxh3_sums s, const uint8_t *bytes,
                                                  uint32_t at, uint32_t n)
{
    const uint32_t q = threadIdx.x % 4;
    for (; at + XXH3_AHEAD * XXH3_BLOCK < n; at += XXH3_AHEAD * XXH3_BLOCK)
        xxh3_blocks<XXH3_AHEAD>(&s, bytes + at);
    for (; at + XXH3_BLOCK < n; at += XXH3_BLOCK)
        xxh3_blocks<1>(&s, bytes + at);
    struct xxh3_sums share = xxh3_share(bytes + at, (n - 1 - at) / XXH3_STRIPE);
    xxh3_gather(&share);
    s.even += share.even;
    s.odd += share.odd;
    const uint8_t *last = bytes + n - XXH3_STRIPE + 16 * q;
    xxh3_add(&s, xxh3_load(last, 8), xxh3_load(last + 8, 8),
             xxh3_secret_at(XXH3_LAST_STRIPE + 16 * q),
             xxh3_secret_at(XXH3_LAST_STRIPE + 16 * q + 8));
    return xxh3_merge(s.even, s.odd, n);
}

/* All threads of the warp call it and get the hash.  `bytes` is aligned to 16; n >= 1. */
static __device__ uint64_t xxh3_of(const uint8_t *bytes, uint32_t n)
{
    if (n <= XXH3_SHORT) {
        uint64_t h = threadIdx.x % 32 == 0 ? xxh3_of_short(bytes, n) : 0;
        return __shfl_sync(~0u, h, 0);
    }
    const uint32_t q = threadIdx.x % 4;
    struct xxh3_sums s = {xxh3_first_sum(2 * q), xxh3_first_sum(2 * q + 1)};
    return xxh3_rest(s, bytes, 0, n);
}

#endif
