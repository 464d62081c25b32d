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
