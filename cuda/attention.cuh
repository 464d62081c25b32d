/* attention.cuh - what a block of op_attention.cu does with its rows.  Much of it runs once, so it
 * is kept small: instructions come from memory too (unrolled, it took twice as long). */
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
    while (position / ATTN_MOST_SPANS >= span)
        span *= 2;
    return span;
}

static inline uint32_t attn_slots(uint32_t most_positions)
{
    const uint32_t n = most_positions / ATTN_STEP + (most_positions % ATTN_STEP != 0);
    return n < ATTN_MOST_SPANS ? n : ATTN_MOST_SPANS;
}

struct attn_job {
    struct weir_gpu_pass pass;
    struct weir_gpu_kv kv;
    struct weir_gpu_attention o;
    struct op_out out;
    uint32_t group;    /* query heads of a head of keys */
    uint32_t n_parts;  /* that these are dealt to */
    uint32_t n_tokens; /* rows that a block takes */
    uint32_t n_slots;  /* of a head of a row: partial sums that there is room for */
};

/* Query rows of a block.  The second half of what a tensor core takes is left empty where
 * dimensions are many. */
template <int DIM> struct attn_most {
    enum { ROWS = DIM > 128 ? ATTN_ROWS / 2 : ATTN_ROWS };
};

/* What a block's rows have in common. */
struct attn_group {
    uint32_t first_row, first_head, n_heads, n; /* n: query rows */
    uint32_t low, last, span;                   /* positions that any of them looks at; of a span */
    const uint16_t *keys, *values;
};

/* A query row. */
struct attn_row {
    uint32_t row, head; /* of the pass, of all heads */
};

template <int DIM> struct attn_shared {
    enum { ROWS = attn_most<DIM>::ROWS };
    struct attn_queries<DIM> queries;
    union {
        float sum[ATTN_WARPS][ROWS][DIM + 4]; /* of a step's tiles */
        struct {                              /* of spans, when they are put together */
            float weight[ROWS][ATTN_MOST_SPANS], total[ROWS][ATTN_MOST_SPANS];
        };
    };
    float span_sum[ROWS][DIM], whole_sum[ROWS][DIM]; /* where there is more to come */
    struct attn_scale tile[ATTN_WARPS][ATTN_ROWS];
    struct attn_scale span[ROWS], whole[ROWS];
    float factor[ROWS][ATTN_WARPS];               /* of a tile in its step */
    float2 span_factor[ROWS], whole_factor[ROWS]; /* of what there is, of what comes */
    int2 range[ATTN_ROWS];                        /* positions that a row looks at */
    struct attn_row row[ROWS];
    bool is_last;
};

/* Where a step stands: what there is already, and what is still to come. */
struct attn_turn {
    bool first_step, last_step; /* of its span */
    bool first_span, last_span; /* of the block's */
    bool alone;                 /* the block has all spans of its rows */
    uint32_t slot;              /* of the span */
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

template <int DIM>
static __device__ __forceinline__ struct attn_group
attn_group_of(const struct attn_job &job, uint32_t head_dim, uint32_t from, uint32_t to)
{
    enum { ROWS = attn_most<DIM>::ROWS };
    struct attn_group g;
    const uint32_t kv_head = job.n_parts == 1 ? blockIdx.y : blockIdx.y / job.n_parts;
    const uint32_t skipped = (blockIdx.y - kv_head * job.n_parts) * ROWS;
    const uint32_t sequence = job.pass.sequence[from], position = job.pass.position[from];
    g.first_row = from;
    g.first_head = kv_head * job.group + skipped;
    g.n_heads = min(job.group - skipped, (uint32_t)ROWS);
    g.n = (to - from) * g.n_heads;
    g.low = attn_low(job, position);
    g.last = position;
    for (uint32_t i = from + 1; i < to; i++) {
        g.low = min(g.low, attn_low(job, job.pass.position[i]));
        g.last = max(g.last, job.pass.position[i]);
    }
    g.span = attn_span(g.last);
    const size_t at = ((size_t)sequence * job.kv.n_heads + kv_head) * job.kv.context * head_dim;
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
static __device__ __forceinline__ void attn_pad_columns(const struct attn_job &job,
                                                        const struct attn_group &g)
{
    const uint32_t n = op_out_columns(&job.out) - job.out.n_columns;
    if (n == 0 || blockIdx.y)
        return;
    for (uint32_t i = threadIdx.x; i < n * (g.n / g.n_heads); i += ATTN_THREADS)
        job.out.at[op_out_at(&job.out, job.out.n_columns + i % n, g.first_row + i / n)] = 0;
}

/* The query rows go to shared memory. */
template <int DIM>
static __device__ __forceinline__ void attn_begin(const struct attn_job &job, uint32_t head_dim,
                                                  const struct attn_group &g,
                                                  struct attn_shared<DIM> &s)
{
    const uint32_t t = threadIdx.x;
    if (t < ATTN_ROWS)
        s.range[t] = make_int2(0, -1);
    if (t < g.n) {
        const uint32_t row = t / g.n_heads, position = job.pass.position[g.first_row + row];
        s.row[t] = attn_row{g.first_row + row, g.first_head + t - row * g.n_heads};
        s.range[t] = make_int2((int)attn_low(job, position), (int)position);
    }
    const float *of[2];
#pragma unroll
    for (int half = 0; half < 2; half++) {
        const uint32_t r = attn_queries<DIM>::row(t) + 8 * half, row = r / g.n_heads;
        of[half] = r < g.n ? job.o.q + (g.first_row + row) * job.o.stride +
                                 (size_t)(g.first_head + r - row * g.n_heads) * head_dim
                           : NULL;
    }
#pragma unroll 1
    for (uint32_t i = t; i < attn_queries<DIM>::N; i += ATTN_THREADS)
        s.queries.set(attn_queries<DIM>::step(i), of, head_dim, job.o.scale);
}

/* `more` comes to `have`; *by: what both are to be multiplied with. */
static __device__ __forceinline__ void attn_join(struct attn_scale *have, struct attn_scale more,
                                                 float2 *by)
{
    const int both = max(have->exponent, more.exponent);
    *by = make_float2(attn_power(have->exponent - both), attn_power(more.exponent - both));
    *have = attn_scale{both, fmaf(more.total, by->y, __fmul_rn(have->total, by->x))};
}

/* A row's scales, after a step.  One thread a row. */
template <int DIM>
static __device__ __forceinline__ void attn_weigh(struct attn_shared<DIM> &s,
                                                  const struct attn_turn &turn)
{
    const uint32_t r = threadIdx.x;
    struct attn_scale step = {ATTN_NONE, 0};
#pragma unroll
    for (int w = 0; w < ATTN_WARPS; w++)
        step.exponent = max(step.exponent, s.tile[w][r].exponent);
#pragma unroll
    for (int w = 0; w < ATTN_WARPS; w++) {
        const struct attn_scale tile = s.tile[w][r];
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

static __device__ __forceinline__ void attn_put(const struct attn_job &job, struct attn_row at,
                                                uint32_t column, float v)
{
    const __nv_bfloat16 rounded = __float2bfloat16_rn(v);
    job.out.at[op_out_at(&job.out, column, at.row)] = *(const uint16_t *)&rounded;
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

/* The warps' sums of a step to one, this to the span's, and that where it belongs. */
template <int DIM>
static __device__ __forceinline__ void attn_gather(const struct attn_job &job, uint32_t head_dim,
                                                   uint32_t n, struct attn_shared<DIM> &s,
                                                   const struct attn_turn &turn)
{
#pragma unroll 1
    for (uint32_t i = threadIdx.x; i < n * DIM; i += ATTN_THREADS) {
        const uint32_t r = i / DIM, c = i % DIM;
        if (c >= head_dim)
            continue;
        float sum = 0;
#pragma unroll
        for (int w = 0; w < ATTN_WARPS; w++)
            if (s.factor[r][w] != 0) /* 0: what lies there may be anything */
                sum = fmaf(s.sum[w][r][c], s.factor[r][w], sum);
        if (!turn.first_step)
            sum = fmaf(sum, s.span_factor[r].y, __fmul_rn(s.span_sum[r][c], s.span_factor[r].x));
        if (!turn.last_step) {
            s.span_sum[r][c] = sum;
            continue;
        }
        if (!turn.alone) {
            attn_partial(job)[(attn_slot(job, s.row[r]) + turn.slot) * head_dim + c] = sum;
            continue;
        }
        if (!turn.first_span)
            sum = fmaf(sum, s.whole_factor[r].y, __fmul_rn(s.whole_sum[r][c], s.whole_factor[r].x));
        if (!turn.last_span)
            s.whole_sum[r][c] = sum;
        else
            attn_put(job, s.row[r], s.row[r].head * head_dim + c, sum / s.whole[r].total);
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

/* Powers of two for all slots of all rows: a warp takes a row. */
template <int DIM>
static __device__ __forceinline__ void attn_weigh_spans(const struct attn_job &job,
                                                        struct attn_shared<DIM> &s, uint32_t n_rows,
                                                        uint32_t n)
{
    const uint32_t lane = threadIdx.x % OP_WARP;
    for (uint32_t r = threadIdx.x / OP_WARP; r < n_rows; r += ATTN_WARPS) {
        const float2 *of = attn_partial_scale(job) + attn_slot(job, s.row[r]);
        int exponent[2];
#pragma unroll
        for (int i = 0; i < 2; i++) {
            const uint32_t slot = lane + i * OP_WARP;
            const float2 v =
                slot < n ? __ldcg(of + slot) : make_float2(__int_as_float(ATTN_NONE), 0);
            exponent[i] = __float_as_int(v.x);
            s.total[r][slot] = v.y;
        }
        const int most = __reduce_max_sync(0xffffffff, max(exponent[0], exponent[1]));
#pragma unroll
        for (int i = 0; i < 2; i++)
            s.weight[r][lane + i * OP_WARP] = attn_power(exponent[i] - most);
    }
    __syncthreads();
}

/* What the blocks left in n slots. */
template <int DIM>
static __device__ __forceinline__ void
attn_put_together(const struct attn_job &job, uint32_t head_dim, struct attn_shared<DIM> &s,
                  uint32_t n_rows, uint32_t n)
{
    const uint32_t fours = head_dim / 4;
    attn_weigh_spans(job, s, n_rows, n);
    for (uint32_t i = threadIdx.x; i < n_rows * fours; i += ATTN_THREADS) {
        const uint32_t r = i / fours, c = i % fours;
        const float4 *of = (const float4 *)attn_partial(job) + attn_slot(job, s.row[r]) * fours + c;
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
        const uint32_t column = s.row[r].head * head_dim + 4 * c;
        uint32_t *to = (uint32_t *)(job.out.at + op_out_at(&job.out, column, s.row[r].row));
        *to = op_pair(sum.x / total, sum.y / total);
        to = (uint32_t *)(job.out.at + op_out_at(&job.out, column + 2, s.row[r].row));
        *to = op_pair(sum.z / total, sum.w / total);
    }
}

/* A warp's tile of a step: sums of weighted values of rows 0 .. n - 1, and what they are scaled
 * by.  queries(): called once all that can be fetched is asked for; until then there are none. */
template <int DIM, class Queries>
static __device__ __forceinline__ void attn_tile(const struct attn_tile_job &t, uint32_t head_dim,
                                                 float cap, uint32_t n, struct attn_shared<DIM> &s,
                                                 const Queries &queries)
{
    const bool early = DIM <= 128; /* are the values loaded: registers run out beyond */
    const uint32_t lane = threadIdx.x % OP_WARP, warp = threadIdx.x / OP_WARP;
    struct attn_kv<DIM> kv;
    attn_load_keys<DIM>(t, head_dim, &kv);
    if (early)
        attn_load_values<DIM>(t, head_dim, &kv);
    queries();
    if (attn_is_idle(t)) {
        if (lane < ATTN_ROWS)
            s.tile[warp][lane] = attn_scale{ATTN_NONE, 0};
        return;
    }
    uint4 weight[2][2];
    float score[4][4] = {};
    struct attn_scale own[2];
    attn_scores<DIM>(s.queries, kv, score);
    if (cap > 0)
        attn_cap(score, cap);
    attn_weights(t.first, s.range, score, weight, own);
    if (lane % 4 == 0) {
        s.tile[warp][lane / 4] = own[0];
        s.tile[warp][lane / 4 + 8] = own[1];
    }
    if (!early)
        attn_load_values<DIM>(t, head_dim, &kv);
#pragma unroll
    for (int u = 0; u < DIM / 64; u++) {
        float sum[8][4] = {};
        attn_blend(weight[0], kv.value[0][u], sum);
        attn_blend(weight[1], kv.value[1][u], sum);
        attn_put_sums(sum, n, s.sum[warp], 64 * u);
    }
}

/* This block's part of rows from .. to - 1 of the pass. */
template <int DIM>
static __device__ __forceinline__ void attn_rows(const struct attn_job &job, uint32_t head_dim,
                                                 struct attn_shared<DIM> &s, uint32_t from,
                                                 uint32_t to)
{
    const struct attn_group g = attn_group_of<DIM>(job, head_dim, from, to);
    const uint32_t first = g.low / g.span, n_spans = g.last / g.span - first + 1;
    const uint32_t n_blocks = min(gridDim.x, n_spans);
    struct attn_turn turn = {};
    bool begun = false;
    if (blockIdx.x >= n_blocks)
        return;
    turn.alone = n_blocks == 1;
    for (turn.slot = blockIdx.x; turn.slot < n_spans; turn.slot += gridDim.x) {
        const uint32_t base = (first + turn.slot) * g.span;
        const uint32_t low = max(g.low, base), last = min(g.last, base + g.span - 1);
        turn.first_span = turn.slot == blockIdx.x;
        turn.last_span = turn.slot + gridDim.x >= n_spans;
        turn.first_step = true;
        for (uint32_t at = low / ATTN_STEP * ATTN_STEP; at <= last; at += ATTN_STEP) {
            const struct attn_tile_job tile = {
                g.keys, g.values, at + threadIdx.x / OP_WARP * ATTN_TILE, g.low, g.last};
            turn.last_step = at + ATTN_STEP > last;
            attn_tile<DIM>(tile, head_dim, job.o.cap, g.n, s, [&] {
                if (begun)
                    return;
                attn_begin(job, head_dim, g, s);
                __syncthreads();
                begun = true;
            });
            __syncthreads();
            if (threadIdx.x < g.n)
                attn_weigh(s, turn);
            __syncthreads();
            attn_gather(job, head_dim, g.n, s, turn);
            if (turn.last_step && !turn.alone && threadIdx.x < g.n) {
                const struct attn_scale span = s.span[threadIdx.x];
                attn_partial_scale(job)[attn_slot(job, s.row[threadIdx.x]) + turn.slot] =
                    make_float2(__int_as_float(span.exponent), span.total);
            }
            turn.first_step = false;
            __syncthreads(); /* the sums' and factors' places are free again */
        }
    }
    if (!turn.alone) {
        if (!attn_is_last(job, &s.is_last, n_blocks))
            return;
        attn_put_together(job, head_dim, s, g.n, n_spans);
    }
    attn_pad_columns(job, g);
}

#endif
