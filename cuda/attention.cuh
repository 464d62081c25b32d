/* attention.cuh - what a block of op_attention.cu does with its rows.  Much of it runs once, so it
 * is kept small: instructions come from memory too (unrolled, it took twice as long). */
#ifndef WEIR_CUDA_ATTENTION_CUH
#define WEIR_CUDA_ATTENTION_CUH

#include "attention_tile.cuh"
#include "heads.cuh"

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
    struct weir_gpu_heads heads; /* where these are still to be turned */
    struct op_out out;
    uint32_t group;    /* query heads of a head of keys */
    uint32_t n_parts;  /* that these are dealt to */
    uint32_t n_tokens; /* rows that a block takes */
    uint32_t n_slots;  /* of a head of a row: partial sums that there is room for */
};

/* A kind of block: head_dim at most DIM, and query rows in tiles of as many as a tensor core takes.
 * With few rows, or many dimensions, half of that is left empty: what shared memory takes is
 * missing where loads wait for their data. */
template <int DIM_, bool MANY> struct attn_kind {
    enum { DIM = DIM_, TILE = MANY ? ATTN_ROWS : ATTN_ROWS / 2, TILES = MANY ? 2 : 1 };
    enum { ROWS = TILE * TILES };
};
typedef attn_kind<64, false> attn_few_64;
typedef attn_kind<64, true> attn_many_64;
typedef attn_kind<128, false> attn_few_128;
typedef attn_kind<128, true> attn_many_128;
typedef attn_kind<ATTN_MOST_DIM, false> attn_few_256;

/* Arguments come from memory too: the first time while there is time. */
static __device__ __forceinline__ void attn_touch(const struct attn_job &job)
{
    asm volatile("" ::"l"(job.pass.sequence), "l"(job.kv.keys), "r"(job.kv.context), "l"(job.o.q),
                 "f"(job.o.scale), "l"(job.o.scratch), "l"(job.out.at), "r"(job.n_slots));
}

/* What a block's rows have in common. */
struct attn_group {
    uint32_t sequence, first_row, kv_head, first_head, n_heads, n; /* n: query rows */
    uint32_t low, last, span; /* positions that any of them looks at; of a span */
    const uint16_t *keys, *values;
};

/* A query row. */
struct attn_row {
    uint32_t row, head; /* of the pass, of all heads */
};

template <class KIND> struct attn_shared {
    enum { ROWS = KIND::ROWS, TILE = KIND::TILE, DIM = KIND::DIM };
    struct attn_queries<DIM> queries[KIND::TILES];
    union {
        float sum[ATTN_WARPS][TILE][DIM + 4]; /* of a step's tiles */
        struct {                              /* of spans, when they are put together */
            float weight[ROWS][ATTN_MOST_SPANS], total[ROWS][ATTN_MOST_SPANS];
        };
    };
    float span_sum[ROWS][DIM]; /* where there is more to come */
    union {
        float whole_sum[ROWS][DIM]; /* the same */
        float query[ROWS][DIM];     /* turned, before there are sums */
    };
    uint16_t fresh[2][DIM]; /* key and value of the row itself */
    struct attn_scale tile[ATTN_WARPS][ATTN_ROWS];
    struct attn_scale span[ROWS], whole[ROWS];
    float factor[ROWS][ATTN_WARPS];               /* of a tile in its step */
    float2 span_factor[ROWS], whole_factor[ROWS]; /* of what there is, of what comes */
    int2 range[ROWS + ATTN_ROWS];                 /* positions that a row looks at */
    struct attn_row row[ROWS];
    bool is_last;
};

/* Where a step stands: what there is already, and what is still to come. */
struct attn_turn {
    bool first_step, last_step; /* of its span */
    bool first_span, last_span; /* of the block's */
    bool alone;                 /* the block has all spans of its rows */
    uint32_t slot;              /* of the span */
    uint32_t next;              /* where the next step begins */
    bool has_last;              /* the last span is among the block's */
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

template <class KIND>
static __device__ __forceinline__ struct attn_group
attn_group_of(const struct attn_job &job, uint32_t head_dim, uint32_t from, uint32_t to)
{
    enum { ROWS = KIND::ROWS };
    struct attn_group g;
    const uint32_t kv_head = job.n_parts == 1 ? blockIdx.y : blockIdx.y / job.n_parts;
    const uint32_t skipped = (blockIdx.y - kv_head * job.n_parts) * ROWS;
    const uint32_t sequence = job.pass.sequence[from], position = job.pass.position[from];
    g.sequence = sequence;
    g.kv_head = kv_head;
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

/* Turns the group's heads, and with the row's own position its key and value.  A warp for each. */
template <class KIND>
static __device__ __forceinline__ void
attn_turn_heads(const struct attn_job &job, uint32_t head_dim, const struct attn_group &g, bool own,
                struct attn_shared<KIND> &s)
{
    const struct weir_gpu_heads &o = job.heads;
    const float *line = o.qkv + g.first_row * o.stride;
#pragma unroll 1
    for (uint32_t i = threadIdx.x / OP_WARP; i < g.n_heads + (own ? 2 : 0); i += ATTN_WARPS) {
        const bool is_q = i < g.n_heads;
        const uint32_t kv_head = o.n_heads + (i - g.n_heads) * job.kv.n_heads + g.kv_head;
        const struct head_place place = {g.sequence, g.last, is_q ? g.first_head + i : kv_head};
        struct head_share h;
        head_load(o, job.kv, place, line + (size_t)place.head * head_dim, &h);
        if (is_q) {
            head_store(o, head_dim, h, s.query[i]);
        } else {
            head_round(o, head_dim, h, (__nv_bfloat16 *)s.fresh[i - g.n_heads]);
            head_keep(o, job.kv, place, h);
        }
    }
    __syncthreads();
}

/* The query rows go to shared memory. */
template <class KIND, bool TURN>
static __device__ __forceinline__ void attn_begin(const struct attn_job &job, uint32_t head_dim,
                                                  const struct attn_group &g, bool own,
                                                  struct attn_shared<KIND> &s)
{
    enum { DIM = KIND::DIM, TILE = KIND::TILE, N = attn_queries<DIM>::N };
    const uint32_t t = threadIdx.x;
    if (t < KIND::ROWS + ATTN_ROWS)
        s.range[t] = make_int2(0, -1);
    if (t < g.n) {
        const uint32_t row = t / g.n_heads, position = job.pass.position[g.first_row + row];
        s.row[t] = attn_row{g.first_row + row, g.first_head + t - row * g.n_heads};
        s.range[t] = make_int2((int)attn_low(job, position), (int)position);
    }
    if (TURN)
        attn_turn_heads(job, head_dim, g, own, s);
#pragma unroll 1
    for (uint32_t i = t; i < (g.n + TILE - 1) / TILE * N; i += ATTN_THREADS) {
        const float *of[2];
#pragma unroll
        for (int half = 0; half < 2; half++) {
            const uint32_t in_tile = attn_queries<DIM>::row(i) + 8 * half;
            const uint32_t r = i / N * TILE + in_tile, row = r / g.n_heads;
            of[half] = TURN ? s.query[r]
                            : job.o.q + (g.first_row + row) * job.o.stride +
                                  (size_t)(g.first_head + r - row * g.n_heads) * head_dim;
            if (in_tile >= TILE || r >= g.n)
                of[half] = NULL;
        }
        s.queries[i / N].set(attn_queries<DIM>::step(i % N), of, head_dim, job.o.scale);
    }
}

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

/* Powers of two for all slots of all rows: a warp takes a row. */
template <class KIND>
static __device__ __forceinline__ void attn_weigh_spans(const struct attn_job &job,
                                                        struct attn_shared<KIND> &s,
                                                        uint32_t n_rows, uint32_t n)
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
template <class KIND>
static __device__ __forceinline__ void
attn_put_together(const struct attn_job &job, uint32_t head_dim, struct attn_shared<KIND> &s,
                  uint32_t n_rows, uint32_t n)
{
    const uint32_t fours = head_dim / 4;
    attn_weigh_spans(job, s, n_rows, n);
    for (uint32_t i = threadIdx.x; i < n_rows * fours; i += ATTN_THREADS) {
        const uint32_t r = i / fours, c = i % fours;
        const float4 *of = (const float4 *)attn_partial(job) + attn_slot(job, s.row[r]) * fours + c;
        float4 sum = make_float4(0, 0, 0, 0);
        float total = 0;
#pragma unroll 16
        for (uint32_t slot = 0; slot < n; slot++) {
            sum = attn_add_sums(sum, __ldcg(of + (size_t)slot * fours), s.weight[r][slot]);
            total = fmaf(s.total[r][slot], s.weight[r][slot], total);
        }
        attn_put(job, s.row[r], s.row[r].head * head_dim + 4 * c, sum, total);
    }
}

/* A warp's tile of a step, for a tile of n rows: sums of weighted values, and what they are scaled
 * by. */
template <class KIND>
static __device__ __forceinline__ void
attn_tile(const struct attn_tile_job &t, uint32_t head_dim, float cap, uint32_t rows, uint32_t n,
          struct attn_kv<KIND::DIM> &kv, struct attn_shared<KIND> &s)
{
    enum { DIM = KIND::DIM };
    const uint32_t lane = threadIdx.x % OP_WARP, warp = threadIdx.x / OP_WARP;
    uint4 weight[2][2];
    float score[4][4];
    struct attn_scale own[2];
    attn_scores<DIM>(s.queries[rows], kv, score);
    if (cap > 0)
        attn_cap(score, cap);
    attn_weights(t.first, s.range + rows * KIND::TILE, score, weight, own);
    if (lane % 4 == 0) {
        s.tile[warp][lane / 4] = own[0];
        s.tile[warp][lane / 4 + 8] = own[1];
    }
    if (!attn_kv<DIM>::EARLY)
        attn_load_values<DIM>(t, head_dim, &kv);
#pragma unroll
    for (int u = 0; u < DIM / 64; u++) {
        float sum[8][4] = {};
        attn_blend(weight[0], kv.value[0][u], sum);
        attn_blend(weight[1], kv.value[1][u], sum);
        attn_put_sums(sum, n, s.sum[warp], 64 * u);
    }
}

/* ATTN_STEP positions from `at` on, for all rows.  TURN: these are one row, whose heads have not
 * been turned yet. */
template <class KIND, bool TURN>
static __device__ __forceinline__ void
attn_step(const struct attn_job &job, uint32_t head_dim, const struct attn_group &g, uint32_t at,
          const struct attn_turn &turn, struct attn_shared<KIND> &s)
{
    enum { DIM = KIND::DIM, TILE = KIND::TILE };
    const uint32_t t = threadIdx.x, warp = t / OP_WARP;
    const struct attn_tile_job tile = {g.keys, g.values, at + warp * ATTN_TILE, g.low, g.last};
    struct attn_kv<DIM> kv;
    attn_load_keys<DIM>(tile, head_dim, &kv);
    if (attn_kv<DIM>::EARLY)
        attn_load_values<DIM>(tile, head_dim, &kv);
    if (turn.first_step && turn.first_span) { /* while these are on their way */
        attn_begin<KIND, TURN>(job, head_dim, g, turn.has_last, s);
        __syncthreads();
    }
    if (TURN && tile.first + ATTN_TILE > g.last)
        attn_refresh<DIM>(tile, head_dim, s.fresh[0], s.fresh[1], &kv);
    if (!turn.last_step || !turn.last_span)
        attn_prefetch<DIM>(tile, turn.next - at, head_dim);
#pragma unroll 1
    for (uint32_t rows = 0; rows * TILE < g.n; rows++) {
        const uint32_t first = rows * TILE, n = min(g.n - first, (uint32_t)TILE);
        if (!attn_is_idle(tile))
            attn_tile<KIND>(tile, head_dim, job.o.cap, rows, n, kv, s);
        else if (t % OP_WARP < ATTN_ROWS)
            s.tile[warp][t % OP_WARP] = attn_scale{ATTN_NONE, 0};
        __syncthreads();
        if (t < n)
            attn_weigh(s, t, first + t, turn);
        __syncthreads();
        attn_gather(job, head_dim, first, n, s, turn);
        __syncthreads(); /* the sums' and factors' places are free again */
    }
    if (turn.last_step && !turn.alone && t < g.n)
        attn_partial_scale(job)[attn_slot(job, s.row[t]) + turn.slot] =
            make_float2(__int_as_float(s.span[t].exponent), s.span[t].total);
}

/* This block's part of rows from .. to - 1 of the pass. */
template <class KIND, bool TURN>
static __device__ __forceinline__ void attn_rows(const struct attn_job &job, uint32_t head_dim,
                                                 struct attn_shared<KIND> &s, uint32_t from,
                                                 uint32_t to)
{
    const struct attn_group g = attn_group_of<KIND>(job, head_dim, from, to);
    const uint32_t first = g.low / g.span, n_spans = g.last / g.span - first + 1;
    const uint32_t n_blocks = min(gridDim.x, n_spans);
    struct attn_turn turn = {};
    if (blockIdx.x >= n_blocks)
        return;
    turn.alone = n_blocks == 1;
    turn.has_last = (n_spans - 1) % gridDim.x == blockIdx.x;
#pragma unroll 1
    for (turn.slot = blockIdx.x; turn.slot < n_spans; turn.slot += gridDim.x) {
        const uint32_t base = (first + turn.slot) * g.span;
        const uint32_t low = max(g.low, base), last = min(g.last, base + g.span - 1);
        turn.first_span = turn.slot == blockIdx.x;
        turn.last_span = turn.slot + gridDim.x >= n_spans;
        turn.first_step = true;
#pragma unroll 1
        for (uint32_t at = low / ATTN_STEP * ATTN_STEP; at <= last; at += ATTN_STEP) {
            turn.last_step = at + ATTN_STEP > last;
            turn.next = turn.last_step ? base + gridDim.x * g.span : at + ATTN_STEP;
            attn_step<KIND, TURN>(job, head_dim, g, at, turn, s);
            turn.first_step = false;
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
