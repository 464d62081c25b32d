/* attention.cuh - what a block of op_attention.cu does with its rows. */
#ifndef WEIR_CUDA_ATTENTION_CUH
#define WEIR_CUDA_ATTENTION_CUH

#include "attention_tile.cuh"
#include "op_private.cuh"

enum {
    ATTN_STEP = ATTN_WARPS * ATTN_TILE,
    ATTN_MOST_SPANS = 64,
    ATTN_SPLIT_HEADS = 1024, /* rows times heads, at most, whose spans may go to several blocks */
    ATTN_COUNTER_BYTES = ATTN_SPLIT_HEADS * 4,
};

/* Positions of a span, for a row at `position`: a multiple of ATTN_STEP. */
static inline __host__ __device__ uint32_t attn_span(uint32_t position)
{
    uint32_t span = ATTN_STEP;
    while (position / span >= ATTN_MOST_SPANS)
        span *= 2;
    return span;
}

static inline uint32_t attn_slots(uint32_t most_positions)
{
    const uint32_t n = (most_positions + ATTN_STEP - 1) / ATTN_STEP;
    return n < ATTN_MOST_SPANS ? n : ATTN_MOST_SPANS;
}

struct attn_job {
    struct weir_gpu_pass pass;
    struct weir_gpu_kv kv;
    struct weir_gpu_attention o;
    struct op_out out;
    uint32_t n_parts;  /* that the query heads of a head of keys are dealt to */
    uint32_t n_tokens; /* rows that a block takes */
    uint32_t n_slots;  /* of a head of a row: partial sums that there is room for */
};

/* What a block's rows have in common: query row r is head first_head + r % n_heads of row
 * first_row + r / n_heads. */
struct attn_group {
    uint32_t first_row, first_head, n_heads, kv_head, n; /* n: query rows */
    uint32_t low, last, span; /* positions that any of them looks at; of a span */
    const uint16_t *keys, *values;
};

template <int DIM> struct attn_shared {
    struct attn_queries<DIM> queries;
    union {
        float sum[ATTN_WARPS][ATTN_ROWS][DIM + 4]; /* of a step's tiles */
        struct {                                   /* of spans, when they are put together */
            float weight[ATTN_ROWS][ATTN_MOST_SPANS], total[ATTN_ROWS][ATTN_MOST_SPANS];
        };
    };
    struct attn_scale tile[ATTN_WARPS][ATTN_ROWS];
    struct attn_scale span[ATTN_ROWS], whole[ATTN_ROWS];
    float factor[ATTN_ROWS][ATTN_WARPS]; /* of a tile in its step */
    float keep[ATTN_ROWS], more[ATTN_ROWS];
    int low[ATTN_ROWS], last[ATTN_ROWS];
    bool is_last;
};

/* A thread's share of the sums of all rows: element i is of row and column_of(). */
template <int DIM> struct attn_sums {
    enum { N = ATTN_ROWS * DIM / ATTN_THREADS };
    float v[N];
    static __device__ __forceinline__ uint32_t row(int i)
    {
        return (i * ATTN_THREADS + threadIdx.x) / DIM;
    }
    static __device__ __forceinline__ uint32_t column(int i)
    {
        return (i * ATTN_THREADS + threadIdx.x) % DIM;
    }
};

static __device__ __forceinline__ uint32_t attn_low(const struct attn_job &job, uint32_t position)
{
    return job.o.window && position + 1 > job.o.window ? position + 1 - job.o.window : 0;
}

/* Whether two rows of a pass may share their keys and the order of their sums. */
static __device__ __forceinline__ bool attn_go_together(const struct attn_job &job, uint32_t a,
                                                        uint32_t b)
{
    return job.pass.sequence[a] == job.pass.sequence[b] &&
           attn_span(job.pass.position[a]) == attn_span(job.pass.position[b]);
}

static __device__ __forceinline__ struct attn_group attn_group_of(const struct attn_job &job,
                                                                  uint32_t from, uint32_t to)
{
    struct attn_group g;
    const uint32_t all = job.o.n_heads / job.kv.n_heads, part = blockIdx.y % job.n_parts;
    g.kv_head = blockIdx.y / job.n_parts;
    g.first_row = from;
    g.first_head = g.kv_head * all + part * ATTN_ROWS;
    g.n_heads = min(all - part * ATTN_ROWS, (uint32_t)ATTN_ROWS);
    g.n = (to - from) * g.n_heads;
    g.low = UINT32_MAX;
    g.last = 0;
    for (uint32_t i = from; i < to; i++) {
        g.low = min(g.low, attn_low(job, job.pass.position[i]));
        g.last = max(g.last, job.pass.position[i]);
    }
    g.span = attn_span(g.last);
    const size_t at = ((size_t)job.pass.sequence[from] * job.kv.n_heads + g.kv_head) *
                      job.kv.context * job.kv.head_dim;
    g.keys = (const uint16_t *)job.kv.keys + at;
    g.values = (const uint16_t *)job.kv.values + at;
    return g;
}

/* Zeros for the vectors that are padding; the block that they have for themselves. */
static __device__ void attn_pad_vectors(const struct attn_job &job)
{
    if (blockIdx.x || blockIdx.y)
        return;
    for (uint32_t v = job.pass.n; v < op_out_vectors(&job.out); v++)
        op_store_zeros(&job.out, v);
}

/* Zeros for the columns of the group's rows that are padding; one block of a row does it. */
static __device__ void attn_pad_columns(const struct attn_job &job, const struct attn_group &g)
{
    const uint32_t n = op_out_columns(&job.out) - job.out.n_columns;
    if (n == 0 || blockIdx.y)
        return;
    for (uint32_t i = threadIdx.x; i < n * (g.n / g.n_heads); i += ATTN_THREADS)
        job.out.at[op_out_at(&job.out, job.out.n_columns + i % n, g.first_row + i / n)] = 0;
}

/* Where the group's query rows and their positions go to shared memory. */
template <int DIM>
static __device__ void attn_begin(const struct attn_job &job, const struct attn_group &g,
                                  struct attn_shared<DIM> &s)
{
    if (threadIdx.x < ATTN_ROWS) {
        const uint32_t r = threadIdx.x;
        const bool there = r < g.n;
        const uint32_t position = there ? job.pass.position[g.first_row + r / g.n_heads] : 0;
        s.last[r] = there ? (int)position : -1;
        s.low[r] = there ? (int)attn_low(job, position) : 0;
        s.whole[r] = attn_scale{ATTN_NONE, 0};
    }
    for (uint32_t i = threadIdx.x; i < attn_queries<DIM>::N; i += ATTN_THREADS) {
        const uint32_t r = attn_queries<DIM>::row(i), step = attn_queries<DIM>::step(i);
        const float *of[2];
        for (int half = 0; half < 2; half++) {
            const uint32_t row = r + 8 * half;
            of[half] = row < g.n ? job.o.q + (g.first_row + row / g.n_heads) * job.o.stride +
                                       (size_t)(g.first_head + row % g.n_heads) * job.kv.head_dim
                                 : NULL;
        }
        s.queries.set(step, of, job.kv.head_dim, job.o.scale);
    }
}

/* After a step: what its tiles are to be multiplied with, and what the span's sums. */
template <int DIM> static __device__ void attn_weigh(struct attn_shared<DIM> &s, uint32_t n)
{
    const uint32_t r = threadIdx.x;
    if (r >= n)
        return;
    int most = ATTN_NONE;
    float total = 0;
    for (int w = 0; w < ATTN_WARPS; w++)
        most = max(most, s.tile[w][r].exponent);
    for (int w = 0; w < ATTN_WARPS; w++) {
        s.factor[r][w] = attn_power(s.tile[w][r].exponent - most);
        total = fmaf(s.tile[w][r].total, s.factor[r][w], total);
    }
    const struct attn_scale before = s.span[r];
    const int both = max(most, before.exponent);
    s.keep[r] = attn_power(before.exponent - both);
    s.more[r] = attn_power(most - both);
    s.span[r] = attn_scale{both, fmaf(total, s.more[r], __fmul_rn(before.total, s.keep[r]))};
}

/* The warps' sums of a step, and these to the span's. */
template <int DIM>
static __device__ __forceinline__ void attn_gather(const struct attn_shared<DIM> &s, uint32_t n,
                                                   struct attn_sums<DIM> *span)
{
#pragma unroll
    for (int i = 0; i < attn_sums<DIM>::N; i++) {
        const uint32_t r = attn_sums<DIM>::row(i), c = attn_sums<DIM>::column(i);
        if (r >= n)
            break;
        float sum = 0;
#pragma unroll
        for (int w = 0; w < ATTN_WARPS; w++)
            if (s.factor[r][w] != 0) /* 0: what lies there may be anything */
                sum = fmaf(s.sum[w][r][c], s.factor[r][w], sum);
        span->v[i] = fmaf(sum, s.more[r], __fmul_rn(span->v[i], s.keep[r]));
    }
}

/* Positions from .. to of one span. */
template <int DIM>
static __device__ __forceinline__ void
attn_one_span(const struct attn_job &job, const struct attn_group &g, uint32_t from, uint32_t to,
              struct attn_shared<DIM> &s, struct attn_sums<DIM> *span)
{
    const uint32_t warp = threadIdx.x / OP_WARP;
    *span = {};
    if (threadIdx.x < ATTN_ROWS)
        s.span[threadIdx.x] = attn_scale{ATTN_NONE, 0};
    for (uint32_t at = from / ATTN_STEP * ATTN_STEP; at <= to; at += ATTN_STEP) {
        const struct attn_tile_job tile = {g.keys, g.values, job.kv.head_dim, at + warp * ATTN_TILE,
                                           g.low,  g.last,   job.o.cap,       s.low,
                                           s.last};
        attn_tile<DIM>(tile, s.queries, s.sum[warp], s.tile[warp], g.n);
        __syncthreads();
        attn_weigh(s, g.n);
        __syncthreads();
        attn_gather(s, g.n, span);
        __syncthreads(); /* the sums' and factors' places are free again */
    }
}

/* The span's sums to the whole's. */
template <int DIM>
static __device__ __forceinline__ void attn_add_span(struct attn_shared<DIM> &s, uint32_t n,
                                                     const struct attn_sums<DIM> &span,
                                                     struct attn_sums<DIM> *whole)
{
    if (threadIdx.x < n) {
        const uint32_t r = threadIdx.x;
        const struct attn_scale a = s.whole[r], b = s.span[r];
        const int both = max(a.exponent, b.exponent);
        s.keep[r] = attn_power(a.exponent - both);
        s.more[r] = attn_power(b.exponent - both);
        s.whole[r] = attn_scale{both, fmaf(b.total, s.more[r], __fmul_rn(a.total, s.keep[r]))};
    }
    __syncthreads();
#pragma unroll
    for (int i = 0; i < attn_sums<DIM>::N; i++) {
        const uint32_t r = attn_sums<DIM>::row(i);
        if (r < n)
            whole->v[i] = fmaf(span.v[i], s.more[r], __fmul_rn(whole->v[i], s.keep[r]));
    }
    __syncthreads();
}

static __device__ __forceinline__ void attn_put(const struct attn_job &job,
                                                const struct attn_group &g, uint32_t r,
                                                uint32_t column, float v)
{
    const uint32_t row = g.first_row + r / g.n_heads, head = g.first_head + r % g.n_heads;
    const __nv_bfloat16 rounded = __float2bfloat16_rn(v);
    job.out.at[op_out_at(&job.out, head * job.kv.head_dim + column, row)] =
        *(const uint16_t *)&rounded;
}

/* Of a query row's partial sums: the first of them. */
static __device__ __forceinline__ size_t attn_slot(const struct attn_job &job,
                                                   const struct attn_group &g, uint32_t r)
{
    return ((size_t)g.first_row * job.o.n_heads + g.first_head + r) * job.n_slots;
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

template <int DIM>
static __device__ void attn_leave_span(const struct attn_job &job, const struct attn_group &g,
                                       const struct attn_shared<DIM> &s, uint32_t slot,
                                       const struct attn_sums<DIM> &span)
{
    const uint32_t dim = job.kv.head_dim;
    if (threadIdx.x < g.n)
        attn_partial_scale(job)[attn_slot(job, g, threadIdx.x) + slot] =
            make_float2(__int_as_float(s.span[threadIdx.x].exponent), s.span[threadIdx.x].total);
#pragma unroll
    for (int i = 0; i < attn_sums<DIM>::N; i++) {
        const uint32_t r = attn_sums<DIM>::row(i), c = attn_sums<DIM>::column(i);
        if (r < g.n && c < dim)
            attn_partial(job)[(attn_slot(job, g, r) + slot) * dim + c] = span.v[i];
    }
}

/* Whether this block is the last of the `n` that share these rows. */
template <int DIM>
static __device__ bool attn_is_last(const struct attn_job &job, struct attn_shared<DIM> &s,
                                    uint32_t n)
{
    uint32_t *counter = (uint32_t *)job.o.scratch + blockIdx.z * gridDim.y + blockIdx.y;
    __threadfence();
    __syncthreads();
    if (threadIdx.x == 0) {
        s.is_last = atomicInc(counter, n - 1) == n - 1; /* and it is 0 again */
        __threadfence();
    }
    __syncthreads();
    return s.is_last;
}

/* Powers of two for all slots of all rows: a warp takes a row. */
template <int DIM>
static __device__ void attn_weigh_spans(const struct attn_job &job, const struct attn_group &g,
                                        struct attn_shared<DIM> &s, uint32_t first, uint32_t n)
{
    const uint32_t lane = threadIdx.x % OP_WARP;
    for (uint32_t r = threadIdx.x / OP_WARP; r < g.n; r += ATTN_WARPS) {
        const float2 *of = attn_partial_scale(job) + attn_slot(job, g, r) + first;
        int most = ATTN_NONE, exponent[2];
        for (int i = 0; i < 2; i++) {
            const uint32_t slot = lane + i * OP_WARP;
            const float2 v =
                slot < n ? __ldcg(of + slot) : make_float2(__int_as_float(ATTN_NONE), 0);
            exponent[i] = __float_as_int(v.x);
            most = max(most, exponent[i]);
            s.total[r][slot] = v.y;
        }
        most = __reduce_max_sync(0xffffffff, most);
        for (int i = 0; i < 2; i++)
            s.weight[r][lane + i * OP_WARP] = attn_power(exponent[i] - most);
    }
    __syncthreads();
}

template <int DIM>
static __device__ void attn_put_together(const struct attn_job &job, const struct attn_group &g,
                                         struct attn_shared<DIM> &s, uint32_t first, uint32_t n)
{
    const uint32_t fours = job.kv.head_dim / 4;
    attn_weigh_spans(job, g, s, first, n);
    for (uint32_t i = threadIdx.x; i < g.n * fours; i += ATTN_THREADS) {
        const uint32_t r = i / fours, c = i % fours;
        const float4 *of =
            (const float4 *)attn_partial(job) + (attn_slot(job, g, r) + first) * fours + c;
        float4 sum = make_float4(0, 0, 0, 0);
        float total = 0;
#pragma unroll 8
        for (uint32_t slot = 0; slot < n; slot++) {
            const float4 v = __ldcg(of + (size_t)slot * fours);
            const float by = s.weight[r][slot];
            sum.x = fmaf(v.x, by, sum.x);
            sum.y = fmaf(v.y, by, sum.y);
            sum.z = fmaf(v.z, by, sum.z);
            sum.w = fmaf(v.w, by, sum.w);
            total = fmaf(s.total[r][slot], by, total);
        }
        attn_put(job, g, r, 4 * c, sum.x / total);
        attn_put(job, g, r, 4 * c + 1, sum.y / total);
        attn_put(job, g, r, 4 * c + 2, sum.z / total);
        attn_put(job, g, r, 4 * c + 3, sum.w / total);
    }
}

/* This block's part of rows from .. to - 1 of the pass. */
template <int DIM>
static __device__ __forceinline__ void
attn_rows(const struct attn_job &job, struct attn_shared<DIM> &s, uint32_t from, uint32_t to)
{
    const struct attn_group g = attn_group_of(job, from, to);
    const uint32_t first = g.low / g.span, n_spans = g.last / g.span - first + 1;
    const uint32_t n_blocks = min(gridDim.x, n_spans);
    struct attn_sums<DIM> span, whole = {
    };
    if (blockIdx.x >= n_blocks)
        return;
    attn_begin(job, g, s);
    __syncthreads();
    for (uint32_t i = first + blockIdx.x; i < first + n_spans; i += gridDim.x) {
        const uint32_t low = max(g.low, i * g.span), last = min(g.last, i * g.span + g.span - 1);
        attn_one_span(job, g, low, last, s, &span);
        if (n_blocks > 1)
            attn_leave_span(job, g, s, i - first, span);
        else
            attn_add_span(s, g.n, span, &whole);
    }
    if (n_blocks == 1) {
#pragma unroll
        for (int i = 0; i < attn_sums<DIM>::N; i++) {
            const uint32_t r = attn_sums<DIM>::row(i), c = attn_sums<DIM>::column(i);
            if (r < g.n && c < job.kv.head_dim)
                attn_put(job, g, r, c, whole.v[i] / s.whole[r].total);
        }
        attn_pad_columns(job, g);
    } else if (attn_is_last(job, s, n_blocks)) {
        attn_put_together(job, g, s, first, n_spans);
        attn_pad_columns(job, g);
    }
}

#endif
