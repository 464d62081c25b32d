/* The largest of each line.  Numbers become keys, 64 bits whose order is the one asked for, no two
 * alike; blocks sort their slices in shared memory and keep the first k, until one slice is left.
 * 4 bytes read a logit; sorted keys are a small part of that. */
#include "cuda/ops.h"

#include "gpu_private.h"
#include "op_private.cuh"

enum { SLICE = 4096, THREADS = 1024, LEAST_SORTED = 64 };

typedef unsigned long long top_key; /* 0: none */

struct top_job {
    struct weir_gpu_top o;
    const top_key *from; /* [n][width]; NULL: logits */
    top_key *to;         /* [n][slices][k]; NULL: it is the last time, to id and logit */
    uint32_t width, n_sorted;
};

/* Larger for what comes earlier. */
static __device__ __forceinline__ top_key key_of(float logit, uint32_t id)
{
    if (isnan(logit) || logit == -INFINITY)
        return 0;
    uint32_t bits = __float_as_uint(logit == 0 ? 0.0F : logit);
    bits = bits & 0x80000000 ? ~bits : bits | 0x80000000;
    return (top_key)bits << 32 | ~id;
}

static __device__ __forceinline__ float logit_of(top_key key)
{
    const uint32_t bits = (uint32_t)(key >> 32);
    return __uint_as_float(bits & 0x80000000 ? bits & 0x7fffffff : ~bits);
}

/* The slice's logits of ids that are recent, each as if it were the first time. */
static __device__ void penalise(const struct top_job &job, uint32_t first, uint32_t n, top_key *key)
{
    const struct weir_gpu_top &o = job.o;
    const uint32_t line = blockIdx.y;
    for (uint32_t i = threadIdx.x; i < o.n_recent[line]; i += blockDim.x) {
        const uint32_t id = o.recent[line * o.recent_stride + i];
        if (id < first || id - first >= n)
            continue;
        const float logit = o.logits[line * o.stride + id];
        (void)atomicExch(&key[id - first],
                         key_of(logit > 0 ? logit / o.penalty : logit * o.penalty, id));
    }
}

static __device__ __forceinline__ void in_order(top_key *a, top_key *b, bool descending)
{
    const top_key x = *a, y = *b;
    if ((x < y) == descending) {
        *a = y;
        *b = x;
    }
}

/* Bitonic, the largest first; n is a power of two. */
static __device__ void sort(top_key *key, uint32_t n)
{
    for (uint32_t run = 2; run <= n; run *= 2)
        for (uint32_t apart = run / 2; apart; apart /= 2) {
            for (uint32_t i = threadIdx.x; i < n / 2; i += blockDim.x) {
                const uint32_t a = i / apart * 2 * apart + i % apart;
                in_order(&key[a], &key[a + apart], (a & run) == 0);
            }
            __syncthreads();
        }
}

static __global__ void __launch_bounds__(THREADS) keep_largest(const struct top_job job)
{
    __shared__ top_key key[SLICE];
    const struct weir_gpu_top &o = job.o;
    const uint32_t line = blockIdx.y, first = blockIdx.x * SLICE;
    const uint32_t n = min(job.width - first, (uint32_t)SLICE);
    gpu_let_next_begin();
    gpu_wait_for_previous();
    for (uint32_t i = threadIdx.x; i < job.n_sorted; i += blockDim.x) {
        key[i] = 0;
        if (i < n)
            key[i] = job.from ? job.from[(size_t)line * job.width + first + i]
                              : key_of(o.logits[line * o.stride + first + i], first + i);
    }
    __syncthreads();
    if (!job.from && o.n_recent && o.penalty != 1 && o.penalty != 0)
        penalise(job, first, n, key);
    __syncthreads();
    sort(key, job.n_sorted);
    for (uint32_t i = threadIdx.x; i < o.k; i += blockDim.x) {
        const top_key best = i < job.n_sorted ? key[i] : 0;
        if (job.to) {
            job.to[((size_t)line * gridDim.x + blockIdx.x) * o.k + i] = best;
        } else {
            o.id[(size_t)line * o.k + i] = best ? ~(uint32_t)best : UINT32_MAX;
            o.logit[(size_t)line * o.k + i] = best ? logit_of(best) : -INFINITY;
        }
    }
}

static uint32_t slices_of(uint32_t width)
{
    return (width + SLICE - 1) / SLICE;
}

/* Keys that the first round leaves, and those that the second does. */
size_t weir_gpu_top_bytes(uint32_t n, uint32_t width, uint32_t k)
{
    const size_t kept = (size_t)slices_of(width) * k;
    return n * (kept + (size_t)slices_of((uint32_t)kept) * k) * sizeof(top_key);
}

weir_err weir_gpu_op_top(struct weir_gpu_stream *s, const struct weir_gpu_top *o)
{
    if (o->n == 0 || o->width == 0 || o->width == UINT32_MAX || o->k == 0 ||
        o->k > WEIR_GPU_MOST_TOP || (o->n_recent && !o->recent))
        return WEIR_ERR_INVALID;
    struct top_job job = {*o, NULL, NULL, o->width, 0};
    top_key *to = (top_key *)o->scratch, *other = to + (size_t)o->n * slices_of(o->width) * o->k;
    weir_err err = WEIR_OK;
    for (bool last = false; !last && !err;) {
        const uint32_t slices = slices_of(job.width);
        last = slices == 1;
        job.to = last ? NULL : to;
        job.n_sorted = LEAST_SORTED;
        while (job.n_sorted < SLICE && job.n_sorted < job.width)
            job.n_sorted *= 2;
        const uint32_t threads = job.n_sorted / 2 < THREADS ? job.n_sorted / 2 : THREADS;
        err =
            gpu_launch(s, gpu_grid{dim3(slices, o->n), dim3(threads), 0, true}, keep_largest, job);
        job.from = to;
        job.width = slices * o->k;
        to = other;
        other = (top_key *)job.from;
    }
    return err;
}
