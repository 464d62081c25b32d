/* heads.cuh - one head of one row, held by a warp: bias, norm, turn. */
#ifndef WEIR_CUDA_HEADS_CUH
#define WEIR_CUDA_HEADS_CUH

#include "op_private.cuh"

enum { HEAD_MOST_DIM = 256, HEAD_PAIRS = HEAD_MOST_DIM / 2 / OP_WARP /* of a lane */ };

static inline weir_err heads_check(const struct weir_gpu_pass *pass, const struct weir_gpu_kv *kv,
                                   const struct weir_gpu_heads *o)
{
    if (pass->n == 0 || o->n_heads == 0 || kv->n_heads == 0 || o->n_heads % kv->n_heads ||
        kv->head_dim == 0 || 2 * (uint64_t)o->n_pairs > kv->head_dim || (o->n_pairs && !o->turn))
        return WEIR_ERR_INVALID;
    return kv->head_dim % 8 || kv->head_dim > HEAD_MOST_DIM ? WEIR_ERR_UNSUPPORTED : WEIR_OK;
}

struct head_place {
    uint32_t sequence, position, head; /* head: among q, k, v */
};

struct head_share {
    float a[HEAD_PAIRS], b[HEAD_PAIRS];
};

/* The dimensions of a lane's pair i.  Those that do not turn are paired with their neighbours.
 * False: the head has no such pair. */
static __device__ __forceinline__ bool head_pair(const struct weir_gpu_heads &o, uint32_t head_dim,
                                                 int i, uint32_t *a, uint32_t *b)
{
    const uint32_t pair = threadIdx.x % OP_WARP + (uint32_t)i * OP_WARP;
    const bool apart = !o.pairs && pair < o.n_pairs;
    *a = apart ? pair : 2 * pair;
    *b = apart ? pair + o.n_pairs : 2 * pair + 1;
    return 2 * pair < head_dim;
}

static __device__ __forceinline__ void head_norm(const struct weir_gpu_heads &o, uint32_t head_dim,
                                                 const float *weight, struct head_share *h)
{
    float sum = 0;
#pragma unroll
    for (int i = 0; i < HEAD_PAIRS; i++)
        sum = fmaf(h->a[i], h->a[i], fmaf(h->b[i], h->b[i], sum));
    const float scale = 1.0F / sqrtf(op_warp_sum(sum) / (float)head_dim + o.norm_eps);
    uint32_t a, b;
#pragma unroll
    for (int i = 0; i < HEAD_PAIRS; i++) {
        if (!head_pair(o, head_dim, i, &a, &b))
            continue;
        h->a[i] = weight[a] * (h->a[i] * scale);
        h->b[i] = weight[b] * (h->b[i] * scale);
    }
}

static __device__ __forceinline__ void head_turn(const struct weir_gpu_heads &o, uint32_t head_dim,
                                                 struct head_place place, struct head_share *h)
{
    const bool is_long = o.long_turn && o.is_long[place.sequence];
    const float2 *turn =
        (const float2 *)(is_long ? o.long_turn : o.turn) + (size_t)place.position * o.n_pairs;
#pragma unroll
    for (int i = 0; i < HEAD_PAIRS; i++) {
        const uint32_t pair = threadIdx.x % OP_WARP + (uint32_t)i * OP_WARP;
        if (pair >= o.n_pairs)
            continue;
        const float2 by = turn[pair];
        const float x = h->a[i], y = h->b[i];
        h->a[i] = fmaf(-y, by.y, __fmul_rn(x, by.x));
        h->b[i] = fmaf(x, by.y, __fmul_rn(y, by.x));
    }
}

/* Loads and does all that is to be done with it.  at: of the head. */
static __device__ __forceinline__ void head_load(const struct weir_gpu_heads &o,
                                                 const struct weir_gpu_kv &kv,
                                                 struct head_place place, const float *at,
                                                 struct head_share *h)
{
    const bool is_q = place.head < o.n_heads, is_v = place.head >= o.n_heads + kv.n_heads;
    const float *bias = o.bias ? o.bias + (size_t)place.head * kv.head_dim : NULL;
    const float *weight = is_q ? o.q_norm : o.k_norm;
    uint32_t a, b;
#pragma unroll
    for (int i = 0; i < HEAD_PAIRS; i++) {
        const bool there = head_pair(o, kv.head_dim, i, &a, &b);
        h->a[i] = there ? at[a] + (bias ? bias[a] : 0) : 0;
        h->b[i] = there ? at[b] + (bias ? bias[b] : 0) : 0;
    }
    if (is_v)
        return;
    if (weight)
        head_norm(o, kv.head_dim, weight, h);
    head_turn(o, kv.head_dim, place, h);
}

static __device__ __forceinline__ void head_store(const struct weir_gpu_heads &o, uint32_t head_dim,
                                                  const struct head_share &h, float *at)
{
    uint32_t a, b;
#pragma unroll
    for (int i = 0; i < HEAD_PAIRS; i++) {
        if (!head_pair(o, head_dim, i, &a, &b))
            continue;
        at[a] = h.a[i];
        at[b] = h.b[i];
    }
}

/* The same, rounded to BF16. */
static __device__ __forceinline__ void head_round(const struct weir_gpu_heads &o, uint32_t head_dim,
                                                  const struct head_share &h, __nv_bfloat16 *at)
{
    uint32_t a, b;
#pragma unroll
    for (int i = 0; i < HEAD_PAIRS; i++) {
        if (!head_pair(o, head_dim, i, &a, &b))
            continue;
        at[a] = __float2bfloat16_rn(h.a[i]);
        at[b] = __float2bfloat16_rn(h.b[i]);
    }
}

/* A head of k or v into its place. */
static __device__ __forceinline__ void head_keep(const struct weir_gpu_heads &o,
                                                 const struct weir_gpu_kv &kv,
                                                 struct head_place place,
                                                 const struct head_share &h)
{
    const bool is_v = place.head >= o.n_heads + kv.n_heads;
    const size_t kv_head = place.head - o.n_heads - (is_v ? kv.n_heads : 0);
    const size_t line = (place.sequence * (size_t)kv.n_heads + kv_head) * kv.context;
    head_round(o, kv.head_dim, h,
               (__nv_bfloat16 *)(is_v ? kv.values : kv.keys) +
                   (line + place.position) * kv.head_dim);
}

#endif
