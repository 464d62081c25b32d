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

/* Both rounded to BF16; *low and *high become what they have beyond that, exactly. */
static __device__ __forceinline__ uint32_t attn_cut(float *low, float *high)
{
    const __nv_bfloat162 cut = __floats2bfloat162_rn(*low, *high);
    const uint32_t two = *(const uint32_t *)&cut;
    *low -= __uint_as_float(two << 16);
    *high -= __uint_as_float(two & 0xffff0000);
    return two;
}

/* 2^v to 2 units in the last place; 0 below -126. */
static __device__ __forceinline__ float attn_exp2(float v)
{
    float e;
    asm("ex2.approx.ftz.f32 %0, %1;" : "=f"(e) : "f"(v));
    return e;
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
 * 32 u + 8 q + 4 e and the 3 after it, because attn_load_keys() gives them so.
 *
 * HALF: there are 8 rows and no more, and where the other 8 would be lies the second cut: one
 * multiplication does both.  (Their sums are apart in either case, so that the bits are the same.)
 */
template <int DIM, bool HALF> struct attn_queries {
    uint4 at[DIM / 16][HALF ? 2 : 3][32];

    /* This lane's part of a step: four dimensions from attn_query_dim() on, of rows lane / 4 and,
     * unless HALF, 8 more. */
    __device__ __forceinline__ void set(uint32_t step, const float4 of[HALF ? 1 : 2], float scale)
    {
        const uint32_t lane = threadIdx.x % 32;
        float4 v[2] = {};
        uint4 cut[3];
#pragma unroll
        for (int half = 0; half < (HALF ? 1 : 2); half++)
            v[half] = make_float4(of[half].x * scale, of[half].y * scale, of[half].z * scale,
                                  of[half].w * scale);
#pragma unroll
        for (int c = 0; c < 3; c++) {
            cut[c].x = attn_cut(&v[0].x, &v[0].y);
            cut[c].z = attn_cut(&v[0].z, &v[0].w);
            cut[c].y = HALF ? 0 : attn_cut(&v[1].x, &v[1].y);
            cut[c].w = HALF ? 0 : attn_cut(&v[1].z, &v[1].w);
        }
        at[step][0][lane] = HALF ? make_uint4(cut[0].x, cut[1].x, cut[0].z, cut[1].z) : cut[0];
        at[step][1][lane] = HALF ? cut[2] : cut[1];
        if (!HALF)
            at[step][2][lane] = cut[2];
    }
};

static __device__ __forceinline__ uint32_t attn_query_dim(uint32_t step)
{
    return 32 * (step / 2) + 8 * (threadIdx.x % 4) + 4 * (step % 2);
}

struct attn_tile_job {
    const uint16_t *keys, *values; /* of position 0 */
    uint32_t first;                /* the tile's first position */
    uint32_t low, last;            /* positions that any row looks at */
};

/* What a warp has of keys and values: key[j][u] of position 8 j + lane / 4, dimensions
 * 32 u + 8 (lane % 4) and the 7 after it; value[i][u][r] of one of the lane's four positions among
 * 16, dimensions 64 u + 8 (lane / 4) and the 7 after it.  Positions behind the last are read as the
 * last, and have no weight. */
template <int DIM> struct attn_kv {
    enum { EARLY = DIM <= 128 }; /* values are loaded with the keys; beyond, registers run out */
    uint4 key[4][DIM / 32], value[2][DIM / 64][4];
};

static __device__ __forceinline__ uint4 attn_load(const uint16_t *from, bool there)
{
    return there ? *(const uint4 *)from : make_uint4(0, 0, 0, 0);
}

/* head_dim: DIM, or less. */
template <int DIM>
static __device__ __forceinline__ void attn_load_keys(const struct attn_tile_job &t,
                                                      uint32_t head_dim, struct attn_kv<DIM> *to)
{
    const uint32_t lane = threadIdx.x % 32, quarter = 8 * (lane % 4);
#pragma unroll
    for (int j = 0; j < 4; j++) {
        const uint16_t *line =
            t.keys + (size_t)min(t.first + 8 * j + lane / 4, t.last) * head_dim + quarter;
#pragma unroll
        for (int u = 0; u < DIM / 32; u++)
            to->key[j][u] = attn_load(line + 32 * u, quarter + 32 * u < head_dim);
    }
}

template <int DIM>
static __device__ __forceinline__ void attn_load_values(const struct attn_tile_job &t,
                                                        uint32_t head_dim, struct attn_kv<DIM> *to)
{
    const uint32_t lane = threadIdx.x % 32, eighth = 8 * (lane / 4);
#pragma unroll
    for (int j = 0; j < 8; j++) {
        const uint32_t position = t.first + 16 * (j / 4) + 2 * (lane % 4) + 8 * (j % 4 / 2) + j % 2;
        const uint16_t *line = t.values + (size_t)min(position, t.last) * head_dim + eighth;
#pragma unroll
        for (int u = 0; u < DIM / 64; u++)
            to->value[j / 4][u][j % 4] = attn_load(line + 64 * u, eighth + 64 * u < head_dim);
    }
}

/* score[j]: of positions 8 j .. 8 j + 7. */
template <int DIM, bool HALF>
static __device__ __forceinline__ void attn_scores(const struct attn_queries<DIM, HALF> &queries,
                                                   const struct attn_kv<DIM> &kv, float score[4][4])
{
    enum { PARTS = HALF ? 2 : 3 };
    const uint32_t lane = threadIdx.x % 32;
    float part[PARTS][4][4] = {};
#pragma unroll
    for (int u = 0; u < DIM / 32; u++)
#pragma unroll
        for (int c = 0; c < PARTS; c++) {
            const uint4 a = queries.at[2 * u][c][lane], b = queries.at[2 * u + 1][c][lane];
#pragma unroll
            for (int j = 0; j < 4; j++)
                attn_multiply(part[c][j], a, kv.key[j][u].x, kv.key[j][u].y);
#pragma unroll
            for (int j = 0; j < 4; j++)
                attn_multiply(part[c][j], b, kv.key[j][u].z, kv.key[j][u].w);
        }
#pragma unroll
    for (int i = 0; i < 16; i++) {
        const int j = i / 4, c = i % 4, second = HALF ? (c + 2) % 4 : c;
        score[j][c] = (part[PARTS - 1][j][c] + part[HALF ? 0 : 1][j][second]) + part[0][j][c];
    }
}

static __device__ __forceinline__ void attn_cap(float score[4][4], float cap)
{
#pragma unroll
    for (int i = 0; i < 16; i++)
        score[i / 4][i % 4] = cap * tanhf(score[i / 4][i % 4] / cap);
}

/* One row's scores (the lane's eight of them) to weights. */
static __device__ __forceinline__ struct attn_scale attn_soften(float score[8])
{
    float most = score[0], total = 0;
#pragma unroll
    for (int i = 1; i < 8; i++)
        most = fmaxf(most, score[i]);
    most = fmaxf(most, __shfl_xor_sync(0xffffffff, most, 1));
    most = fmaxf(most, __shfl_xor_sync(0xffffffff, most, 2));
    const float up = most > (float)ATTN_NONE ? ceilf(most) : 0;
#pragma unroll
    for (int i = 0; i < 8; i++) {
        score[i] = attn_exp2(score[i] - up);
        total += score[i];
    }
    total += __shfl_xor_sync(0xffffffff, total, 1);
    total += __shfl_xor_sync(0xffffffff, total, 2);
    return attn_scale{total == 0 ? ATTN_NONE : (int)up, total};
}

/* Scores to weights, as A operands: weight[i][c] of positions 16 i .., cut c; HALF: [i][0] has
 * both. range: the positions that each row looks at.  scale: of both rows of the lane. */
template <bool HALF>
static __device__ __forceinline__ void attn_weights(uint32_t first, const int2 range[ATTN_ROWS],
                                                    const float score[4][4], uint4 weight[2][2],
                                                    struct attn_scale scale[2])
{
    const float log2_e = 1.44269504088896340736F;
    const uint32_t lane = threadIdx.x % 32;
    const int own = (int)(first + 2 * (lane % 4));
    float v[2][8];
#pragma unroll
    for (int half = 0; half < (HALF ? 1 : 2); half++) {
        const int2 seen = range[lane / 4 + 8 * half];
#pragma unroll
        for (int i = 0; i < 8; i++) {
            const int position = own + 8 * (i / 2) + i % 2;
            v[half][i] = position >= seen.x && position <= seen.y
                             ? score[i / 2][2 * half + i % 2] * log2_e
                             : -INFINITY;
        }
        scale[half] = attn_soften(v[half]);
    }
#pragma unroll
    for (int i = 0; i < 2; i++) {
#pragma unroll
        for (int c = 0; c < 2; c++) {
            weight[i][c].x = attn_cut(&v[0][4 * i], &v[0][4 * i + 1]);
            weight[i][c].z = attn_cut(&v[0][4 * i + 2], &v[0][4 * i + 3]);
            if (HALF)
                continue;
            weight[i][c].y = attn_cut(&v[1][4 * i], &v[1][4 * i + 1]);
            weight[i][c].w = attn_cut(&v[1][4 * i + 2], &v[1][4 * i + 3]);
        }
        if (HALF) {
            weight[i][0].y = weight[i][1].x;
            weight[i][0].w = weight[i][1].z;
        }
    }
}

/* sum[k]: += weights times dimensions 8 n + k of 64, for n = 0 .. 7; cuts apart. */
template <bool HALF>
static __device__ __forceinline__ void attn_blend(const uint4 weight[2], const uint4 v[4],
                                                  float sum[HALF ? 1 : 2][8][4])
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
        attn_multiply(sum[0][k], weight[0], b0, b1);
        if (!HALF)
            attn_multiply(sum[HALF ? 0 : 1][k], weight[1], b0, b1);
    }
}

/* The lane's parts of 64 dimensions of rows lane / 4 and 8 more, of those below n; cuts together.
 */
template <bool HALF, int PITCH>
static __device__ __forceinline__ void attn_put_sums(const float sum[HALF ? 1 : 2][8][4],
                                                     uint32_t n, float (*to)[PITCH], int first)
{
    const uint32_t lane = threadIdx.x % 32;
#pragma unroll
    for (int c = 0; c < (HALF ? 2 : 4); c++) {
        const uint32_t row = lane / 4 + 8 * (c / 2);
        float v[8];
        if (row >= n)
            continue;
#pragma unroll
        for (int k = 0; k < 8; k++)
            v[k] = sum[0][k][c] + (HALF ? sum[0][k][c + 2 * HALF] : sum[!HALF][k][c]);
        float4 *at = (float4 *)&to[row][first + 16 * (lane % 4) + 8 * (c % 2)];
        at[0] = make_float4(v[0], v[1], v[2], v[3]);
        at[1] = make_float4(v[4], v[5], v[6], v[7]);
    }
}

/* Nothing that any row looks at. */
static __device__ __forceinline__ bool attn_is_idle(const struct attn_tile_job &t)
{
    return t.first > t.last || t.first + ATTN_TILE <= t.low;
}

#endif
