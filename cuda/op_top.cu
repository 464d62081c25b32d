/* The largest of each line.  Numbers become keys, 64 bits whose order is the one asked for, no two
 * alike.  A block holds a slice of a line's keys in registers.  The k-th largest is not below the
 * smallest of the largest ones of k parts of the slice; from there on bisection finds a bound that
 * few keys reach.  These go on to the next round, until one slice is left, where each is compared
 * with all.  (Sorting a slice in shared memory moves 40 times as much.)  4 bytes read a logit. */
#include "cuda/ops.h"

#include "gpu_private.h"
#include "op_private.cuh"

enum {
    THREADS = 1024,
    N_WARPS = THREADS / OP_WARP,
    FEW = 4, /* keys of a thread, in the first round */
    MANY = 16,
    ROOM = 2 * WEIR_GPU_MOST_TOP, /* for keys that a slice leaves */
};

typedef unsigned long long top_key; /* 0: none */

struct top_job {
    struct weir_gpu_top o;
    const top_key *from; /* [n][width]; NULL: logits */
    top_key *to;         /* [n][slices][kept_of(k)]; NULL: it is the last time, to id and logit */
    uint32_t width;
};

struct top_shared {
    uint32_t marked[FEW * THREADS / 32]; /* a bit each: recent */
    uint32_t count[2][N_WARPS];
    uint2 best[N_WARPS]; /* least and most of the parts' largest, or the largest itself */
    uint32_t n_few;
    top_key few[ROOM]; /* that are kept, in any order */
    uint32_t rank[ROOM];
};

/* Larger for what comes earlier. */
static __device__ __forceinline__ top_key key_of(float logit, uint32_t id)
{
    if (isnan(logit) || logit == -INFINITY)
        return 0;
    uint32_t bits = __float_as_uint(logit == 0 ? 0.0F : logit);
    bits = bits & 0x80000000 ? ~bits : bits | 0x80000000;
    return (top_key)bits << 32 | (uint32_t)~id;
}

static __device__ __forceinline__ float logit_of(top_key key)
{
    const uint32_t bits = (uint32_t)(key >> 32);
    return __uint_as_float(bits & 0x80000000 ? bits & 0x7fffffff : ~bits);
}

/* Marks the slice's ids that are recent. */
static __device__ void mark_recent(const struct weir_gpu_top &o, uint32_t first, uint32_t n,
                                   struct top_shared &s)
{
    const uint32_t line = blockIdx.y;
    for (uint32_t i = threadIdx.x; i < FEW * THREADS / 32; i += THREADS)
        s.marked[i] = 0;
    __syncthreads();
    for (uint32_t i = threadIdx.x; i < o.n_recent[line]; i += THREADS) {
        const uint32_t id = o.recent[line * o.recent_stride + i];
        if (id >= first && id - first < n)
            (void)atomicOr(&s.marked[(id - first) / 32], 1U << (id - first) % 32);
    }
    __syncthreads();
}

/* Key i of a thread is the slice's THREADS * i + thread. */
template <int KEYS>
static __device__ __forceinline__ void load(const struct top_job &job, struct top_shared &s,
                                            top_key key[KEYS])
{
    const struct weir_gpu_top &o = job.o;
    const uint32_t line = blockIdx.y, first = blockIdx.x * KEYS * THREADS;
    const uint32_t n = min(job.width - first, (uint32_t)(KEYS * THREADS));
    const bool penalised = !job.from && o.n_recent && o.penalty != 1 && o.penalty != 0;
    if (penalised)
        mark_recent(o, first, n, s);
#pragma unroll
    for (int i = 0; i < KEYS; i++) {
        const uint32_t at = i * THREADS + threadIdx.x, id = first + at;
        key[i] = 0;
        if (at >= n)
            continue;
        if (job.from) {
            key[i] = job.from[(size_t)line * job.width + id];
            continue;
        }
        float logit = o.logits[line * o.stride + id];
        if (penalised && s.marked[at / 32] >> at % 32 & 1)
            logit = logit > 0 ? logit / o.penalty : logit * o.penalty;
        key[i] = key_of(logit, id);
    }
}

/* How many of the block's keys are at least `least`.  turn: another one than last time, 0 or 1. */
template <int KEYS>
static __device__ __forceinline__ uint32_t count(const top_key key[KEYS], top_key least, int turn,
                                                 struct top_shared &s)
{
    uint32_t n = 0;
#pragma unroll
    for (int i = 0; i < KEYS; i++)
        n += key[i] >= least;
    n = __reduce_add_sync(0xffffffff, n);
    if (threadIdx.x % OP_WARP == 0)
        s.count[turn][threadIdx.x / OP_WARP] = n;
    __syncthreads();
    return __reduce_add_sync(0xffffffff, s.count[turn][threadIdx.x % OP_WARP]);
}

static __device__ __forceinline__ uint32_t high_of(top_key key)
{
    return (uint32_t)(key >> 32);
}

/* Of the largest keys of parts of the slice, at least k parts: no more than the least, and no less
 * than the most. */
template <int KEYS>
static __device__ __forceinline__ void bounds(const top_key key[KEYS], uint32_t k,
                                              struct top_shared &s, top_key *least, top_key *most)
{
    uint32_t low = 0, lanes = OP_WARP; /* of a part */
    while (THREADS / lanes < k)
        lanes /= 2;
#pragma unroll
    for (int i = 0; i < KEYS; i++)
        low = max(low, high_of(key[i]));
    for (uint32_t across = 1; across < lanes; across *= 2)
        low = max(low, __shfl_xor_sync(0xffffffff, low, across));
    const uint32_t high = __reduce_max_sync(0xffffffff, low);
    low = __reduce_min_sync(0xffffffff, low);
    if (threadIdx.x % OP_WARP == 0)
        s.best[threadIdx.x / OP_WARP] = make_uint2(low, high);
    __syncthreads();
    const uint2 best = s.best[threadIdx.x % OP_WARP];
    *least = (top_key)__reduce_min_sync(0xffffffff, best.x) << 32;
    *most = (top_key)__reduce_max_sync(0xffffffff, best.y) << 32 | UINT32_MAX;
}

/* Keys that a slice leaves: k of them, and some more, for then it need not be exact. */
static __host__ __device__ __forceinline__ uint32_t kept_of(uint32_t k)
{
    return k == 1 ? 1 : k < OP_WARP ? 2 * OP_WARP : 2 * k;
}

/* A bound that at least k keys reach (or all that are any), and no more than kept_of(k). */
template <int KEYS>
static __device__ __forceinline__ top_key bound(const top_key key[KEYS], uint32_t k,
                                                struct top_shared &s)
{
    top_key low, high;
    int turn = 0;
    bounds<KEYS>(key, k, s, &low, &high);
    low = max(low, 1ULL);
    uint32_t n = count<KEYS>(key, low, turn, s);
    while (n > kept_of(k)) { /* n >= k reach low, fewer than k what is above high */
        const top_key middle = low + (high - low) / 2 + 1;
        turn ^= 1;
        const uint32_t reach = count<KEYS>(key, middle, turn, s);
        if (reach >= k) {
            low = middle;
            n = reach;
        } else {
            high = middle - 1;
        }
    }
    return low;
}

/* In every lane. */
static __device__ __forceinline__ top_key warp_most(top_key key)
{
    const uint32_t high = __reduce_max_sync(0xffffffff, high_of(key));
    const uint32_t low = __reduce_max_sync(0xffffffff, high_of(key) == high ? (uint32_t)key : 0);
    return (top_key)high << 32 | low;
}

/* The first of s.few becomes the largest key. */
template <int KEYS>
static __device__ __forceinline__ void keep_best(const top_key key[KEYS], struct top_shared &s)
{
    top_key best = 0;
#pragma unroll
    for (int i = 0; i < KEYS; i++)
        best = max(best, key[i]);
    best = warp_most(best);
    if (threadIdx.x % OP_WARP == 0)
        s.best[threadIdx.x / OP_WARP] = make_uint2((uint32_t)best, high_of(best));
    __syncthreads();
    if (threadIdx.x < OP_WARP) {
        const uint2 of_warp = s.best[threadIdx.x];
        best = warp_most((top_key)of_warp.y << 32 | of_warp.x);
        if (threadIdx.x == 0)
            s.few[0] = best;
    }
    __syncthreads();
}

/* s.few: the largest keys, at least k of them and kept_of(k) at most, in any order, and zeros. */
template <int KEYS>
static __device__ __forceinline__ void keep(const top_key key[KEYS], uint32_t k,
                                            struct top_shared &s)
{
    if (threadIdx.x == 0)
        s.n_few = 0;
    if (threadIdx.x < ROOM)
        s.few[threadIdx.x] = s.rank[threadIdx.x] = 0;
    const top_key least = bound<KEYS>(key, k, s);
#pragma unroll
    for (int i = 0; i < KEYS; i++)
        if (key[i] >= least)
            s.few[atomicAdd(&s.n_few, 1)] = key[i];
    __syncthreads();
}

static __device__ __forceinline__ void put(const struct weir_gpu_top &o, uint32_t at, top_key key)
{
    o.id[(size_t)blockIdx.y * o.k + at] = key ? ~(uint32_t)key : UINT32_MAX;
    o.logit[(size_t)blockIdx.y * o.k + at] = key ? logit_of(key) : -INFINITY;
}

/* The first k of s.few to their places. */
static __device__ __forceinline__ void put_in_order(const struct weir_gpu_top &o,
                                                    struct top_shared &s)
{
    const uint32_t n = s.n_few, width = n <= ROOM / 8 ? ROOM / 8 : n <= ROOM / 4 ? ROOM / 4 : ROOM;
    const uint32_t own = threadIdx.x % width, part = threadIdx.x / width, parts = THREADS / width;
    if (own < n) {
        const top_key key = s.few[own];
        uint32_t above = 0;
        for (uint32_t i = part; i < n; i += parts)
            above += s.few[i] > key;
        (void)atomicAdd(&s.rank[own], above);
    }
    __syncthreads();
    if (threadIdx.x < n && s.rank[threadIdx.x] < o.k)
        put(o, s.rank[threadIdx.x], s.few[threadIdx.x]);
    if (threadIdx.x >= n && threadIdx.x < o.k)
        put(o, threadIdx.x, 0);
}

template <int KEYS>
static __global__ void __launch_bounds__(THREADS) keep_largest(const struct top_job job)
{
    __shared__ struct top_shared s;
    const uint32_t k = job.o.k, n = kept_of(k), i = threadIdx.x;
    top_key key[KEYS];
    gpu_let_next_begin();
    gpu_wait_for_previous();
    load<KEYS>(job, s, key);
    if (k == 1)
        keep_best<KEYS>(key, s);
    else
        keep<KEYS>(key, k, s);
    if (job.to && i < n)
        job.to[((size_t)blockIdx.y * gridDim.x + blockIdx.x) * n + i] = s.few[i];
    if (!job.to && k > 1)
        put_in_order(job.o, s);
    if (!job.to && k == 1 && i == 0)
        put(job.o, 0, s.few[0]);
}

/* Keys of a block: in the first round (so many of logits) few, for there are many blocks then. */
static uint32_t slice_of(uint32_t width, bool first)
{
    return THREADS * (first || width <= FEW * THREADS ? FEW : MANY);
}

static uint32_t slices_of(uint32_t width, bool first)
{
    const uint32_t slice = slice_of(width, first);
    return width / slice + (width % slice != 0);
}

/* Keys that the first round leaves, and those that the second does. */
size_t weir_gpu_top_bytes(uint32_t n, uint32_t width, uint32_t k)
{
    const size_t kept = (size_t)slices_of(width, true) * kept_of(k);
    return n * (kept + (size_t)slices_of((uint32_t)kept, false) * kept_of(k)) * sizeof(top_key);
}

weir_err weir_gpu_op_top(struct weir_gpu_stream *s, const struct weir_gpu_top *o)
{
    if (o->n == 0 || o->width == 0 || o->k == 0 || o->k > WEIR_GPU_MOST_TOP ||
        (o->n_recent && !o->recent))
        return WEIR_ERR_INVALID;
    if (o->width > UINT32_MAX / ROOM)
        return WEIR_ERR_UNSUPPORTED;
    struct top_job job = {*o, NULL, NULL, o->width};
    top_key *to = (top_key *)o->scratch;
    top_key *other = to + (size_t)o->n * slices_of(o->width, true) * kept_of(o->k);
    weir_err err = WEIR_OK;
    for (bool last = false; !last && !err;) {
        const bool few = slice_of(job.width, !job.from) == FEW * THREADS;
        const uint32_t slices = slices_of(job.width, !job.from);
        last = slices == 1;
        job.to = last ? NULL : to;
        err = gpu_launch(s, gpu_grid{dim3(slices, o->n), dim3(THREADS), 0, true},
                         few ? keep_largest<FEW> : keep_largest<MANY>, job);
        job.from = to;
        job.width = slices * kept_of(o->k);
        to = other;
        other = (top_key *)job.from;
    }
    return err;
}
