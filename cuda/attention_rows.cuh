/* attention_rows.cuh - which rows, heads and positions a block of op_attention.cu has, and how its
 * queries come to shared memory. */
#ifndef WEIR_CUDA_ATTENTION_ROWS_CUH
#define WEIR_CUDA_ATTENTION_ROWS_CUH

#include "attention_tile.cuh"
#include "op_private.cuh"

enum {
    ATTN_STEP = ATTN_WARPS * ATTN_TILE,
    ATTN_STEP_SHIFT = 7,
    ATTN_MOST_SPANS = 64,
    ATTN_SPLIT_HEADS = 1024, /* rows times heads, at most, whose spans may go to several blocks */
    ATTN_COUNTER_BYTES = ATTN_SPLIT_HEADS * 4,
};

/* log2 of the positions of a span, at least ATTN_STEP, for a row at `position`. */
static __device__ __forceinline__ uint32_t attn_span_shift(uint32_t position)
{
    uint32_t shift = ATTN_STEP_SHIFT;
    while (position >> shift >= ATTN_MOST_SPANS)
        shift++;
    return shift;
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

/* A kind of block: head_dim at most DIM, and query rows in tiles of as many as a tensor core takes.
 * With few rows, or many dimensions, half of that is left empty: what shared memory takes is
 * missing where loads wait for their data. */
template <int DIM_, bool MANY> struct attn_kind {
    enum { DIM = DIM_, TILE = MANY ? ATTN_ROWS : ATTN_ROWS / 2, TILES = MANY ? 2 : 1 };
    enum { ROWS = TILE * TILES, HALF = !MANY };
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
    uint32_t first_row, first_head, n_heads, n; /* n: query rows */
    uint32_t low, last;                         /* positions that any of them looks at */
    uint32_t span_shift;                        /* log2 of positions of a span */
    const uint16_t *keys, *values;
};

/* A query row. */
struct attn_row {
    uint32_t row, head; /* of the pass, of all heads */
};

template <class KIND> struct attn_shared {
    enum { ROWS = KIND::ROWS, TILE = KIND::TILE, DIM = KIND::DIM };
    struct attn_queries<DIM, KIND::HALF> queries[KIND::TILES];
    union {
        float sum[ATTN_WARPS][TILE][DIM + 4]; /* of a step's tiles */
        struct {                              /* of spans, when they are put together */
            float weight[ROWS][ATTN_MOST_SPANS], total[ROWS][ATTN_MOST_SPANS];
        };
    };
    float span_sum[ROWS][DIM], whole_sum[ROWS][DIM]; /* where there is more to come */
    struct attn_scale tile[ATTN_WARPS][ATTN_ROWS];
    struct attn_scale span[ROWS], whole[ROWS];
    float factor[ROWS][ATTN_WARPS];               /* of a tile in its step */
    float2 span_factor[ROWS], whole_factor[ROWS]; /* of what there is, of what comes */
    int2 range[ROWS];                             /* positions that a row looks at */
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
           attn_span_shift(job.pass.position[a]) == attn_span_shift(job.pass.position[b]);
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
    g.span_shift = attn_span_shift(g.last);
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

/* Which rows there are, for all to see. */
template <class KIND>
static __device__ __forceinline__ void
attn_begin(const struct attn_job &job, const struct attn_group &g, struct attn_shared<KIND> &s)
{
    const uint32_t t = threadIdx.x;
    if (t >= KIND::ROWS)
        return;
    s.range[t] = make_int2(0, -1);
    if (t >= g.n)
        return;
    const uint32_t row = t / g.n_heads;
    const uint32_t position = g.n == g.n_heads ? g.last : job.pass.position[g.first_row + row];
    s.row[t] = attn_row{g.first_row + row, g.first_head + t - row * g.n_heads};
    s.range[t] = make_int2((int)attn_low(job, position), (int)position);
}

/* Query row r; NULL: there is none. */
template <class KIND>
static __device__ __forceinline__ const float *
attn_query(const struct attn_job &job, uint32_t head_dim, const struct attn_group &g, uint32_t r)
{
    if (r >= g.n)
        return NULL;
    const uint32_t row = g.n == g.n_heads ? 0 : r / g.n_heads;
    return job.o.q + (g.first_row + row) * job.o.stride +
           (size_t)(g.first_head + r - row * g.n_heads) * head_dim;
}

/* A thread's part of the queries, on its way to shared memory: of steps warp, warp + 4, ... of each
 * tile. */
template <class KIND> struct attn_fetched {
    enum { STEPS = KIND::DIM / 16 / ATTN_WARPS, HALVES = KIND::HALF ? 1 : 2 };
    float4 v[STEPS][HALVES];
};

template <class KIND>
static __device__ __forceinline__ void attn_fetch(const struct attn_job &job, uint32_t head_dim,
                                                  const struct attn_group &g, uint32_t tile,
                                                  struct attn_fetched<KIND> *to)
{
    const uint32_t lane = threadIdx.x % OP_WARP, warp = threadIdx.x / OP_WARP;
#pragma unroll
    for (int half = 0; half < attn_fetched<KIND>::HALVES; half++) {
        const float *line =
            attn_query<KIND>(job, head_dim, g, tile * KIND::TILE + lane / 4 + 8 * half);
#pragma unroll
        for (int i = 0; i < attn_fetched<KIND>::STEPS; i++) {
            const uint32_t dim = attn_query_dim(warp + i * ATTN_WARPS);
            to->v[i][half] =
                line && dim < head_dim ? *(const float4 *)(line + dim) : make_float4(0, 0, 0, 0);
        }
    }
}

template <class KIND>
static __device__ __forceinline__ void attn_cut_queries(const struct attn_job &job, uint32_t tile,
                                                        const struct attn_fetched<KIND> &from,
                                                        struct attn_shared<KIND> &s)
{
    const uint32_t warp = threadIdx.x / OP_WARP;
#pragma unroll
    for (int i = 0; i < attn_fetched<KIND>::STEPS; i++)
        s.queries[tile].set(warp + i * ATTN_WARPS, from.v[i], job.o.scale);
}

#endif
