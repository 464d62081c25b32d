/* attention_sums.cuh - sums of tiles, steps and spans: how they come together, and where to. */
#ifndef WEIR_CUDA_ATTENTION_SUMS_CUH
#define WEIR_CUDA_ATTENTION_SUMS_CUH

#include "attention_rows.cuh"

/* `more` comes to `have`; *by: what both are to be multiplied with. */
static __device__ __forceinline__ void attn_join(struct attn_scale *have, struct attn_scale more,
                                                 float2 *by)
{
    const int both = max(have->exponent, more.exponent);
    *by = make_float2(attn_power(have->exponent - both), attn_power(more.exponent - both));
    *have = attn_scale{both, fmaf(more.total, by->y, __fmul_rn(have->total, by->x))};
}

/* A row's scales, after a step.  One thread a row: row in_tile of a tile, r of all. */
template <class KIND>
static __device__ __forceinline__ void attn_weigh(struct attn_shared<KIND> &s, uint32_t in_tile,
                                                  uint32_t r, const struct attn_turn &turn)
{
    struct attn_scale step = {ATTN_NONE, 0};
#pragma unroll
    for (int w = 0; w < ATTN_WARPS; w++)
        step.exponent = max(step.exponent, s.tile[w][in_tile].exponent);
#pragma unroll
    for (int w = 0; w < ATTN_WARPS; w++) {
        const struct attn_scale tile = s.tile[w][in_tile];
        const float by = tile.exponent == ATTN_NONE ? 0 : attn_power(tile.exponent - step.exponent);
        s.factor[r][w] = by;
        step.total = fmaf(tile.total, by, step.total);
    }
    if (turn.first_step)
        s.span[r] = step;
    else
        attn_join(&s.span[r], step, &s.span_factor[r]);
    if (!turn.last_step)
        return;
    if (turn.first_span)
        s.whole[r] = s.span[r];
    else
        attn_join(&s.whole[r], s.span[r], &s.whole_factor[r]);
}

/* Four columns of a head: sums to what is asked for. */
static __device__ __forceinline__ void attn_put(const struct attn_job &job, struct attn_row at,
                                                uint32_t column, float4 sum, float total)
{
    const float by = 1.0F / total;
    uint16_t *to = job.out.at + op_out_at(&job.out, column, at.row);
    *(uint32_t *)to = op_pair(sum.x * by, sum.y * by);
    *(uint32_t *)(to + 2) = op_pair(sum.z * by, sum.w * by);
}

/* have * by.x + more * by.y */
static __device__ __forceinline__ float4 attn_join_sums(float4 have, float4 more, float2 by)
{
    return make_float4(
        fmaf(more.x, by.y, __fmul_rn(have.x, by.x)), fmaf(more.y, by.y, __fmul_rn(have.y, by.x)),
        fmaf(more.z, by.y, __fmul_rn(have.z, by.x)), fmaf(more.w, by.y, __fmul_rn(have.w, by.x)));
}

static __device__ __forceinline__ float4 attn_add_sums(float4 to, float4 more, float by)
{
    return make_float4(fmaf(more.x, by, to.x), fmaf(more.y, by, to.y), fmaf(more.z, by, to.z),
                       fmaf(more.w, by, to.w));
}

/* Of a query row's partial sums: the first of them. */
static __device__ __forceinline__ size_t attn_slot(const struct attn_job &job, struct attn_row at)
{
    return ((size_t)at.row * job.o.n_heads + at.head) * job.n_slots;
}

static __device__ __forceinline__ float *attn_partial(const struct attn_job &job)
{
    return job.o.scratch + ATTN_COUNTER_BYTES / sizeof(float);
}

static __device__ __forceinline__ float2 *attn_partial_scale(const struct attn_job &job)
{
    const size_t n = (size_t)job.pass.n * job.o.n_heads * job.n_slots * job.kv.head_dim;
    return (float2 *)(attn_partial(job) + n);
}

/* The warps' sums of a step to one, this to the span's, and that where it belongs.  Of n rows, the
 * first of which is row `first`. */
template <class KIND>
static __device__ __forceinline__ void
attn_gather(const struct attn_job &job, uint32_t head_dim, uint32_t first, uint32_t n,
            struct attn_shared<KIND> &s, const struct attn_turn &turn)
{
    enum { DIM = KIND::DIM };
#pragma unroll 1
    for (uint32_t i = threadIdx.x; i < n * (DIM / 4); i += ATTN_THREADS) {
        const uint32_t in_tile = i / (DIM / 4), r = first + in_tile, c = i % (DIM / 4) * 4;
        if (c >= head_dim)
            continue;
        float4 sum = make_float4(0, 0, 0, 0);
#pragma unroll
        for (int w = 0; w < ATTN_WARPS; w++)
            if (s.factor[r][w] != 0) /* 0: what lies there may be anything */
                sum = attn_add_sums(sum, *(const float4 *)&s.sum[w][in_tile][c], s.factor[r][w]);
        float4 *span = (float4 *)&s.span_sum[r][c], *whole = (float4 *)&s.whole_sum[r][c];
        if (!turn.first_step)
            sum = attn_join_sums(*span, sum, s.span_factor[r]);
        if (!turn.last_step) {
            *span = sum;
            continue;
        }
        if (!turn.alone) {
            float *to = attn_partial(job) + (attn_slot(job, s.row[r]) + turn.slot) * head_dim;
            *(float4 *)(to + c) = sum;
            continue;
        }
        if (!turn.first_span)
            sum = attn_join_sums(*whole, sum, s.whole_factor[r]);
        if (!turn.last_span)
            *whole = sum;
        else
            attn_put(job, s.row[r], s.row[r].head * head_dim + c, sum, s.whole[r].total);
    }
}

/* Whether this block is the last of the `n` that share these rows. */
static __device__ __forceinline__ bool attn_is_last(const struct attn_job &job, bool *is_last,
                                                    uint32_t n)
{
    uint32_t *counter = (uint32_t *)job.o.scratch + blockIdx.z * gridDim.y + blockIdx.y;
    __threadfence();
    __syncthreads();
    if (threadIdx.x == 0) {
        *is_last = atomicInc(counter, n - 1) == n - 1; /* and it is 0 again */
        __threadfence();
    }
    __syncthreads();
    return *is_last;
}

/* Powers of two for all slots of all rows: a warp takes rows, a lane two slots. */
template <class KIND>
static __device__ __forceinline__ void attn_weigh_spans(const struct attn_job &job,
                                                        struct attn_shared<KIND> &s,
                                                        uint32_t n_rows, uint32_t n)
{
    enum { EACH = KIND::ROWS / ATTN_WARPS };
    const uint32_t lane = threadIdx.x % OP_WARP, warp = threadIdx.x / OP_WARP;
    float2 v[EACH][2];
#pragma unroll
    for (int i = 0; i < 2 * EACH; i++) {
        const uint32_t r = warp + i / 2 * ATTN_WARPS, slot = lane + i % 2 * OP_WARP;
        v[i / 2][i % 2] = r < n_rows && slot < n
                              ? __ldcg(attn_partial_scale(job) + attn_slot(job, s.row[r]) + slot)
                              : make_float2(__int_as_float(ATTN_NONE), 0);
    }
#pragma unroll
    for (int i = 0; i < EACH; i++) {
        const uint32_t r = warp + i * ATTN_WARPS;
        const int low = __float_as_int(v[i][0].x), high = __float_as_int(v[i][1].x);
        const int most = __reduce_max_sync(0xffffffff, max(low, high));
        s.weight[r][lane] = attn_power(low - most);
        s.weight[r][lane + OP_WARP] = attn_power(high - most);
        s.total[r][lane] = v[i][0].y;
        s.total[r][lane + OP_WARP] = v[i][1].y;
    }
    __syncthreads();
}

/* What the blocks left in n slots. */
template <class KIND>
static __device__ __forceinline__ void
attn_put_together(const struct attn_job &job, uint32_t head_dim, struct attn_shared<KIND> &s,
                  uint32_t n_rows, uint32_t n)
{
    enum { AT_ONCE = 8 };
    const uint32_t fours = head_dim / 4;
    attn_weigh_spans(job, s, n_rows, n);
#pragma unroll 1
    for (uint32_t i = threadIdx.x; i < n_rows * fours; i += ATTN_THREADS) {
        const uint32_t r = i / fours, c = i % fours;
        const float4 *of = (const float4 *)attn_partial(job) + attn_slot(job, s.row[r]) * fours + c;
        float4 sum = make_float4(0, 0, 0, 0), v[AT_ONCE];
        float total = 0;
#pragma unroll 1
        for (uint32_t first = 0; first < n; first += AT_ONCE) {
#pragma unroll
            for (uint32_t j = 0; j < AT_ONCE; j++)
                if (first + j < n)
                    v[j] = __ldcg(of + (size_t)(first + j) * fours);
#pragma unroll
            for (uint32_t j = 0; j < AT_ONCE; j++) {
                if (first + j >= n)
                    continue;
                const float by = s.weight[r][first + j];
                sum = attn_add_sums(sum, v[j], by);
                total = fmaf(s.total[r][first + j], by, total);
            }
        }
        attn_put(job, s.row[r], s.row[r].head * head_dim + 4 * c, sum, total);
    }
}

#endif
