/* attention_tile.cuh - 16 query rows look at 32 positions: what one warp does. */
#ifndef WEIR_CUDA_ATTENTION_TILE_CUH
#define WEIR_CUDA_ATTENTION_TILE_CUH

#include <cuda_bf16.h>
#include <stdint.h>

enum {
    ATTN_ROWS = 16,
    ATTN_TILE = 32,
    ATTN_WARPS = 4,
    ATTN_THREADS = 32 * ATTN_WARPS,
    ATTN_MOST_DIM = 256,
    ATTN_CUTS = 3,          /* BF16 that a query is the sum of */
    ATTN_NONE = -(1 << 24), /* exponent of a sum of nothing */
};

/* Sums are of 2^(score - exponent): these of them, and those of them times values. */
struct attn_scale {
    int exponent;
    float total;
};

/* 2^e for e <= 0; 0 where that is no normal number. */
static __device__ __forceinline__ float attn_power(int e)
{
    return e < -126 ? 0 : __int_as_float((e + 127) << 23);
}

/* The BF16 next to v; *rest: what v has beyond it, exactly. */
static __device__ __forceinline__ float attn_cut(float v, float *rest)
{
    const float cut = __bfloat162float(__float2bfloat16_rn(v));
    *rest = v - cut;
    return cut;
}

/* Both are BF16 already. */
static __device__ __forceinline__ uint32_t attn_two(float low, float high)
{
    return __byte_perm(__float_as_uint(low), __float_as_uint(high), 0x7632);
}

/* c += a b, m16n8k16. */
static __device__ __forceinline__ void attn_multiply(float c[4], const uint4 &a, uint32_t b0,
                                                     uint32_t b1)
{
    asm volatile("mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 {%0,%1,%2,%3}, "
                 "{%4,%5,%6,%7}, {%8,%9}, {%0,%1,%2,%3};"
                 : "+f"(c[0]), "+f"(c[1]), "+f"(c[2]), "+f"(c[3])
                 : "r"(a.x), "r"(a.y), "r"(a.z), "r"(a.w), "r"(b0), "r"(b1));
}

/* Query rows as the tensor cores' A operand.  Step 2 u + e of quarter q holds dimensions
 * 32 u + 8 q + 4 e and the 3 after it, because load_keys() gives them so. */
template <int DIM> struct attn_queries {
    enum { STEPS = DIM / 16, N = STEPS * 32 };
    uint4 at[STEPS][ATTN_CUTS][32];

    static __device__ __forceinline__ uint32_t step(uint32_t i) { return i / 32; }
    static __device__ __forceinline__ uint32_t row(uint32_t i) { return i % 32 / 4; }

    /* This lane's part of a step: of rows of[0] and of[1] (NULL: zeros). */
    __device__ __forceinline__ void set(uint32_t step, const float *const of[2], uint32_t head_dim,
                                        float scale)
    {
        const uint32_t lane = threadIdx.x % 32;
        const uint32_t dim = 32 * (step / 2) + 8 * (lane % 4) + 4 * (step % 2);
        float rest[2][4] = {}, cut[2][4];
        for (int half = 0; half < 2; half++)
            if (of[half] && dim < head_dim) {
                const float4 v = *(const float4 *)(of[half] + dim);
                rest[half][0] = v.x * scale;
                rest[half][1] = v.y * scale;
                rest[half][2] = v.z * scale;
                rest[half][3] = v.w * scale;
            }
#pragma unroll
        for (int c = 0; c < ATTN_CUTS; c++) {
#pragma unroll
            for (int i = 0; i < 8; i++)
                cut[i / 4][i % 4] = attn_cut(rest[i / 4][i % 4], &rest[i / 4][i % 4]);
            at[step][c][lane] =
                make_uint4(attn_two(cut[0][0], cut[0][1]), attn_two(cut[1][0], cut[1][1]),
                           attn_two(cut[0][2], cut[0][3]), attn_two(cut[1][2], cut[1][3]));
        }
    }
};

struct attn_tile_job {
    const uint16_t *keys, *values; /* of position 0 */
    uint32_t head_dim, first;      /* the tile's first position */
    uint32_t low, last;            /* positions that any row looks at */
    float cap;
    const int *row_low, *row_last; /* [ATTN_ROWS] that each row looks at */
};

static __device__ __forceinline__ uint4 attn_load(const uint16_t *from, uint32_t position,
                                                  uint32_t dim, const struct attn_tile_job &t)
{
    if (position > t.last || dim >= t.head_dim)
        return make_uint4(0, 0, 0, 0);
    return *(const uint4 *)(from + (size_t)position * t.head_dim + dim);
}

/* to[j][u]: of position 8 j + lane / 4, dimensions 32 u + 8 (lane % 4) and the 7 after it. */
template <int DIM>
static __device__ __forceinline__ void attn_load_keys(const struct attn_tile_job &t,
                                                      uint4 to[4][DIM / 32])
{
    const uint32_t lane = threadIdx.x % 32;
#pragma unroll
    for (int j = 0; j < 4; j++)
#pragma unroll
        for (int u = 0; u < DIM / 32; u++)
            to[j][u] = attn_load(t.keys, t.first + 8 * j + lane / 4, 32 * u + 8 * (lane % 4), t);
}

/* to[r]: of one of the lane's four positions among 16, dimensions 64 u + 8 (lane / 4) and the 7
 * after it. */
static __device__ __forceinline__ void attn_load_values(const struct attn_tile_job &t, int i, int u,
                                                        uint4 to[4])
{
    const uint32_t lane = threadIdx.x % 32;
#pragma unroll
    for (int r = 0; r < 4; r++)
        to[r] = attn_load(t.values, t.first + 16 * i + 2 * (lane % 4) + 8 * (r / 2) + r % 2,
                          64 * u + 8 * (lane / 4), t);
}

/* score[j]: of positions 8 j .. 8 j + 7. */
template <int DIM>
static __device__ __forceinline__ void attn_scores(const struct attn_queries<DIM> &queries,
                                                   const uint4 keys[4][DIM / 32], float score[4][4])
{
    const uint32_t lane = threadIdx.x % 32;
#pragma unroll
    for (int u = 0; u < DIM / 32; u++)
#pragma unroll
        for (int c = ATTN_CUTS - 1; c >= 0; c--) {
            const uint4 a = queries.at[2 * u][c][lane], b = queries.at[2 * u + 1][c][lane];
#pragma unroll
            for (int j = 0; j < 4; j++) {
                attn_multiply(score[j], a, keys[j][u].x, keys[j][u].y);
                attn_multiply(score[j], b, keys[j][u].z, keys[j][u].w);
            }
        }
}

/* One row's scores (the lane's eight of them) to weights: first and second BF16 of each. */
static __device__ __forceinline__ struct attn_scale attn_soften(float score[8], float second[8])
{
    float most = -INFINITY;
#pragma unroll
    for (int i = 0; i < 8; i++)
        most = fmaxf(most, score[i]);
    most = fmaxf(most, __shfl_xor_sync(0xffffffff, most, 1));
    most = fmaxf(most, __shfl_xor_sync(0xffffffff, most, 2));
    const float up = most > (float)ATTN_NONE ? ceilf(most) : 0;
    float total = 0, rest;
#pragma unroll
    for (int i = 0; i < 8; i++) {
        score[i] = attn_cut(exp2f(score[i] - up), &rest);
        second[i] = attn_cut(rest, &rest);
        total += score[i] + second[i];
    }
    total += __shfl_xor_sync(0xffffffff, total, 1);
    total += __shfl_xor_sync(0xffffffff, total, 2);
    return attn_scale{total == 0 ? ATTN_NONE : (int)up, total};
}

/* Scores to weights, as A operands: weight[i] of positions 16 i .., both cuts.  scale: of both rows
 * of the lane. */
static __device__ __forceinline__ void attn_weights(const struct attn_tile_job &t,
                                                    const float score[4][4], uint4 weight[2][2],
                                                    struct attn_scale scale[2])
{
    const float log2_e = 1.44269504088896340736F;
    const uint32_t lane = threadIdx.x % 32;
    float cut[2][2][8]; /* [half][cut][position] */
#pragma unroll
    for (int half = 0; half < 2; half++) {
        const int row = (int)(lane / 4) + 8 * half;
        const int low = t.row_low[row], last = t.row_last[row];
#pragma unroll
        for (int i = 0; i < 8; i++) {
            const int position = (int)(t.first + 8 * (i / 2) + 2 * (lane % 4) + i % 2);
            float v = score[i / 2][2 * half + i % 2];
            if (t.cap > 0)
                v = t.cap * tanhf(v / t.cap);
            cut[half][0][i] = position >= low && position <= last ? v * log2_e : -INFINITY;
        }
        scale[half] = attn_soften(cut[half][0], cut[half][1]);
    }
#pragma unroll
    for (int i = 0; i < 2; i++)
#pragma unroll
        for (int c = 0; c < 2; c++)
            weight[i][c] = make_uint4(attn_two(cut[0][c][4 * i], cut[0][c][4 * i + 1]),
                                      attn_two(cut[1][c][4 * i], cut[1][c][4 * i + 1]),
                                      attn_two(cut[0][c][4 * i + 2], cut[0][c][4 * i + 3]),
                                      attn_two(cut[1][c][4 * i + 2], cut[1][c][4 * i + 3]));
}

/* sum[k]: += weights times dimensions 8 n + k of 64, for n = 0 .. 7. */
static __device__ __forceinline__ void attn_blend(const uint4 weight[2], const uint4 v[4],
                                                  float sum[8][4])
{
#pragma unroll
    for (int k = 0; k < 8; k++) {
        const uint32_t take = k % 2 ? 0x7632 : 0x5410;
        uint32_t word[4];
#pragma unroll
        for (int r = 0; r < 4; r++)
            word[r] = k / 2 == 0 ? v[r].x : k / 2 == 1 ? v[r].y : k / 2 == 2 ? v[r].z : v[r].w;
        const uint32_t b0 = __byte_perm(word[0], word[1], take);
        const uint32_t b1 = __byte_perm(word[2], word[3], take);
        attn_multiply(sum[k], weight[1], b0, b1);
        attn_multiply(sum[k], weight[0], b0, b1);
    }
}

/* The lane's parts of 64 dimensions of rows lane / 4 and 8 more, of those below n. */
template <int PITCH>
static __device__ __forceinline__ void attn_put_sums(const float sum[8][4], uint32_t n,
                                                     float (*to)[PITCH], int first)
{
    const uint32_t lane = threadIdx.x % 32;
#pragma unroll
    for (int c = 0; c < 4; c++) {
        const uint32_t row = lane / 4 + 8 * (c / 2);
        float4 *at = (float4 *)&to[row][first + 16 * (lane % 4) + 8 * (c % 2)];
        if (row >= n)
            continue;
        at[0] = make_float4(sum[0][c], sum[1][c], sum[2][c], sum[3][c]);
        at[1] = make_float4(sum[4][c], sum[5][c], sum[6][c], sum[7][c]);
    }
}

/* A warp's tile: sums of weighted values of rows 0 .. n - 1, and what they are scaled by. */
template <int DIM, int PITCH>
static __device__ __forceinline__ void
attn_tile(const struct attn_tile_job &t, const struct attn_queries<DIM> &queries,
          float (*to)[PITCH], struct attn_scale *scale, uint32_t n)
{
    const bool early = DIM <= 128; /* are the values loaded: registers run out beyond */
    const uint32_t lane = threadIdx.x % 32;
    if (t.first > t.last || t.first + ATTN_TILE <= t.low) {
        if (lane < ATTN_ROWS)
            scale[lane] = attn_scale{ATTN_NONE, 0};
        return;
    }
    uint4 keys[4][DIM / 32], values[2][DIM / 64][4], weight[2][2];
    float score[4][4] = {};
    struct attn_scale own[2];
    attn_load_keys<DIM>(t, keys);
#pragma unroll
    for (int j = 0; early && j < 2 * (DIM / 64); j++)
        attn_load_values(t, j % 2, j / 2, values[j % 2][j / 2]);
    attn_scores<DIM>(queries, keys, score);
    attn_weights(t, score, weight, own);
    if (lane % 4 == 0) {
        scale[lane / 4] = own[0];
        scale[lane / 4 + 8] = own[1];
    }
#pragma unroll
    for (int u = 0; u < DIM / 64; u++) {
        float sum[8][4] = {};
#pragma unroll
        for (int i = 0; i < 2; i++) {
            if (!early)
                attn_load_values(t, i, u, values[i][u]);
            attn_blend(weight[i], values[i][u], sum);
        }
        attn_put_sums<PITCH>(sum, n, to, 64 * u);
    }
}

#endif
