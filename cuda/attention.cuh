/* attention.cuh - what a block of op_attention.cu does with its rows.  Much of it runs once, so it
 * is kept small: instructions come from memory too (unrolled, it took twice as long). */
#ifndef WEIR_CUDA_ATTENTION_CUH
#define WEIR_CUDA_ATTENTION_CUH

#include "attention_sums.cuh"

/* A warp's tile of a step, for a tile of n rows: sums of weighted values, and what they are scaled
 * by. */
template <class KIND>
static __device__ __forceinline__ void
attn_tile(const struct attn_tile_job &t, uint32_t head_dim, float cap, uint32_t rows, uint32_t n,
          struct attn_kv<KIND::DIM> &kv, struct attn_shared<KIND> &s)
{
    enum { DIM = KIND::DIM, HALF = KIND::HALF };
    const uint32_t lane = threadIdx.x % OP_WARP, warp = threadIdx.x / OP_WARP;
    uint4 weight[2][2];
    float score[4][4];
    struct attn_scale own[2];
    attn_scores<DIM, HALF>(s.queries[rows], kv, score);
    if (cap > 0)
        attn_cap(score, cap);
    attn_weights<HALF>(t.first, s.range + rows * KIND::TILE, score, weight, own);
    if (lane % 4 == 0) {
        s.tile[warp][lane / 4] = own[0];
        if (!HALF)
            s.tile[warp][lane / 4 + 8] = own[1];
    }
    if (!attn_kv<DIM>::EARLY)
        attn_load_values<DIM>(t, head_dim, &kv);
#pragma unroll
    for (int u = 0; u < DIM / 64; u++) {
        float sum[HALF ? 1 : 2][8][4] = {};
        attn_blend<HALF>(weight[0], kv.value[0][u], sum);
        attn_blend<HALF>(weight[1], kv.value[1][u], sum);
        attn_put_sums<HALF>(sum, n, s.sum[warp], 64 * u);
    }
}

/* The queries of all tiles. */
template <class KIND>
static __device__ __forceinline__ void
attn_all_queries(const struct attn_job &job, uint32_t head_dim, const struct attn_group &g,
                 struct attn_shared<KIND> &s)
{
#pragma unroll 1
    for (uint32_t tile = 0; tile * KIND::TILE < g.n; tile++) {
        struct attn_fetched<KIND> queries;
        attn_fetch<KIND>(job, head_dim, g, tile, &queries);
        attn_cut_queries<KIND>(job, tile, queries, s);
    }
}

/* ATTN_STEP positions from `at` on, for all rows. */
template <class KIND>
static __device__ __forceinline__ void
attn_step(const struct attn_job &job, uint32_t head_dim, const struct attn_group &g, uint32_t at,
          const struct attn_turn &turn, struct attn_shared<KIND> &s)
{
    enum { DIM = KIND::DIM, TILE = KIND::TILE };
    const uint32_t t = threadIdx.x, warp = t / OP_WARP;
    const struct attn_tile_job tile = {g.keys, g.values, at + warp * ATTN_TILE, g.low, g.last};
    const bool begins = turn.first_step && turn.first_span;
    struct attn_kv<DIM> kv;
    struct attn_fetched<KIND> queries = {
    };
    if (begins && KIND::HALF) /* few enough to hold */
        attn_fetch<KIND>(job, head_dim, g, 0, &queries);
    attn_load_keys<DIM>(tile, head_dim, &kv);
    if (attn_kv<DIM>::EARLY)
        attn_load_values<DIM>(tile, head_dim, &kv);
    if (begins) { /* while these are on their way */
        attn_begin(job, g, s);
        if (KIND::HALF)
            attn_cut_queries<KIND>(job, 0, queries, s);
        else
            attn_all_queries<KIND>(job, head_dim, g, s);
        __syncthreads();
    }
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
template <class KIND>
static __device__ __forceinline__ void attn_rows(const struct attn_job &job, uint32_t head_dim,
                                                 struct attn_shared<KIND> &s, uint32_t from,
                                                 uint32_t to)
{
    const struct attn_group g = attn_group_of<KIND>(job, head_dim, from, to);
    const uint32_t first = g.low >> g.span_shift, n_spans = (g.last >> g.span_shift) - first + 1;
    const uint32_t n_blocks = min(gridDim.x, n_spans);
    struct attn_turn turn = {};
    if (blockIdx.x >= n_blocks)
        return;
    turn.alone = !KIND::HALF || n_blocks == 1;
#pragma unroll 1
    for (turn.slot = blockIdx.x; turn.slot < n_spans; turn.slot += gridDim.x) {
        const uint32_t base = (first + turn.slot) << g.span_shift;
        const uint32_t low = max(g.low, base), last = min(g.last, base + (1U << g.span_shift) - 1);
        turn.first_span = turn.slot == blockIdx.x;
        turn.last_span = turn.slot + gridDim.x >= n_spans;
        turn.first_step = true;
#pragma unroll 1
        for (uint32_t at = low / ATTN_STEP * ATTN_STEP; at <= last; at += ATTN_STEP) {
            turn.last_step = at + ATTN_STEP > last;
            attn_step<KIND>(job, head_dim, g, at, turn, s);
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
