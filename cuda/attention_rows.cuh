/* attention_rows.cuh - which rows, heads and positions a block of op_attention.cu has, and how its
 * queries come to shared memory. */
#ifndef WEIR_CUDA_ATTENTION_ROWS_CUH
#define WEIR_CUDA_ATTENTION_ROWS_CUH

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
    struct attn_queries<DIM, KIND::HALF> queries[KIND::TILES];
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
    typedef struct attn_queries<KIND::DIM, KIND::HALF> queries;
    enum { TILE = KIND::TILE, N = queries::N };
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
            const uint32_t in_tile = queries::row(i) + 8 * half;
            const uint32_t r = i / N * TILE + in_tile, row = r / g.n_heads;
            of[half] = TURN ? s.query[r]
                            : job.o.q + (g.first_row + row) * job.o.stride +
                                  (size_t)(g.first_head + r - row * g.n_heads) * head_dim;
            if (in_tile >= TILE || r >= g.n)
                of[half] = NULL;
        }
        s.queries[i / N].set(queries::step(i % N), of, head_dim, job.o.scale);
    }
}

#endif
