/* The largest of each line.  Numbers become keys, 64 bits whose order is the one asked for, no two
 * alike.  A block holds a slice of a line's keys in registers and finds the k-th largest bit by
 * bit, counting; what is above goes on to the next round, until one slice is left, which is sorted.
 * (Sorting whole slices in shared memory moves 40 times as much.)  4 bytes read a logit. */
#include "cuda/ops.h"

#include "gpu_private.h"
#include "op_private.cuh"

enum {
    THREADS = 1024,
    N_WARPS = THREADS / OP_WARP,
    FEW = 4, /* keys of a thread, in the first round */
    MANY = 16,
};

typedef unsigned long long top_key; /* 0: none */

struct top_job {
    struct weir_gpu_top o;
    const top_key *from; /* [n][width]; NULL: logits */
    top_key *to;         /* [n][slices][k]; NULL: it is the last time, to id and logit */
    uint32_t width;
};

struct top_shared {
    uint32_t marked[FEW * THREADS / 32]; /* a bit each: recent */
    uint32_t count[2][N_WARPS];
    top_key best[N_WARPS];
    uint32_t n_kept;
    top_key kept[WEIR_GPU_MOST_TOP];
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

/* The k-th largest key, or one below it with none between them; 1 where there are no more than k.
 */
template <int KEYS>
static __device__ __forceinline__ top_key least_kept(const top_key key[KEYS], uint32_t k,
                                                     struct top_shared &s)
{
    top_key least = 0;
    int turn = 0;
    if (count<KEYS>(key, 1, turn, s) <= k)
        return 1;
    for (int bit = 63; bit >= 0; bit--) {
        const top_key higher = least | (top_key)1 << bit;
        turn ^= 1;
        const uint32_t n = count<KEYS>(key, higher, turn, s);
        if (n >= k)
            least = higher;
        if (n == k)
            break;
    }
    return least;
}

/* The first of s.kept becomes the largest key. */
template <int KEYS>
static __device__ __forceinline__ void keep_best(const top_key key[KEYS], struct top_shared &s)
{
    top_key best = 0;
#pragma unroll
    for (int i = 0; i < KEYS; i++)
        best = max(best, key[i]);
    for (int across = OP_WARP / 2; across; across /= 2)
        best = max(best, __shfl_xor_sync(0xffffffff, best, across));
    if (threadIdx.x % OP_WARP == 0)
        s.best[threadIdx.x / OP_WARP] = best;
    __syncthreads();
    best = s.best[threadIdx.x % OP_WARP];
    for (int across = OP_WARP / 2; across; across /= 2)
        best = max(best, __shfl_xor_sync(0xffffffff, best, across));
    if (threadIdx.x == 0)
        s.kept[0] = best;
    __syncthreads();
}

/* s.kept: the k largest keys, in any order, zeros behind them. */
template <int KEYS>
static __device__ __forceinline__ void keep(const top_key key[KEYS], uint32_t k,
                                            struct top_shared &s)
{
    if (threadIdx.x == 0)
        s.n_kept = 0;
    if (threadIdx.x < WEIR_GPU_MOST_TOP)
        s.kept[threadIdx.x] = 0;
    const top_key least = least_kept<KEYS>(key, k, s);
#pragma unroll
    for (int i = 0; i < KEYS; i++)
        if (key[i] >= least)
            s.kept[atomicAdd(&s.n_kept, 1)] = key[i];
    __syncthreads();
}

/* Bitonic, the largest first. */
static __device__ void sort(top_key key[WEIR_GPU_MOST_TOP])
{
    for (uint32_t run = 2; run <= WEIR_GPU_MOST_TOP; run *= 2)
        for (uint32_t apart = run / 2; apart; apart /= 2) {
            const uint32_t i = threadIdx.x, a = i / apart * 2 * apart + i % apart;
            if (i < WEIR_GPU_MOST_TOP / 2) {
                const top_key x = key[a], y = key[a + apart];
                if ((x < y) == ((a & run) == 0)) {
                    key[a] = y;
                    key[a + apart] = x;
                }
            }
            __syncthreads();
        }
}

template <int KEYS>
static __global__ void __launch_bounds__(THREADS) keep_largest(const struct top_job job)
{
    __shared__ struct top_shared s;
    const struct weir_gpu_top &o = job.o;
    const uint32_t i = threadIdx.x;
    top_key key[KEYS];
    gpu_let_next_begin();
    gpu_wait_for_previous();
    load<KEYS>(job, s, key);
    if (o.k == 1)
        keep_best<KEYS>(key, s);
    else
        keep<KEYS>(key, o.k, s);
    if (job.to) {
        if (i < o.k)
            job.to[((size_t)blockIdx.y * gridDim.x + blockIdx.x) * o.k + i] = s.kept[i];
        return;
    }
    if (o.k > 1)
        sort(s.kept);
    if (i < o.k) {
        o.id[(size_t)blockIdx.y * o.k + i] = s.kept[i] ? ~(uint32_t)s.kept[i] : UINT32_MAX;
        o.logit[(size_t)blockIdx.y * o.k + i] = s.kept[i] ? logit_of(s.kept[i]) : -INFINITY;
    }
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
    const size_t kept = (size_t)slices_of(width, true) * k;
    return n * (kept + (size_t)slices_of((uint32_t)kept, false) * k) * sizeof(top_key);
}

weir_err weir_gpu_op_top(struct weir_gpu_stream *s, const struct weir_gpu_top *o)
{
    if (o->n == 0 || o->width == 0 || o->k == 0 || o->k > WEIR_GPU_MOST_TOP ||
        (o->n_recent && !o->recent))
        return WEIR_ERR_INVALID;
    if (o->width > UINT32_MAX / WEIR_GPU_MOST_TOP)
        return WEIR_ERR_UNSUPPORTED;
    struct top_job job = {*o, NULL, NULL, o->width};
    top_key *to = (top_key *)o->scratch;
    top_key *other = to + (size_t)o->n * slices_of(o->width, true) * o->k;
    weir_err err = WEIR_OK;
    for (bool last = false; !last && !err;) {
        const bool few = slice_of(job.width, !job.from) == FEW * THREADS;
        const uint32_t slices = slices_of(job.width, !job.from);
        last = slices == 1;
        job.to = last ? NULL : to;
        err = gpu_launch(s, gpu_grid{dim3(slices, o->n), dim3(THREADS), 0, true},
                         few ? keep_largest<FEW> : keep_largest<MANY>, job);
        job.from = to;
        job.width = slices * o->k;
        to = other;
        other = (top_key *)job.from;
    }
    return err;
}
