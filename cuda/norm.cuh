/* norm.cuh - a row normed by a block, for norms alone and for those in front of a product.  A
 * thread takes OP_UNIT numbers at a time; sums are the same with more threads than the row wants.
 */
#ifndef WEIR_CUDA_NORM_CUH
#define WEIR_CUDA_NORM_CUH

#include "op_private.cuh"

/* A thread's share of a row. */
template <int UNITS> struct norm_share {
    float v[UNITS][OP_UNIT];
};

template <int UNITS>
static __device__ __forceinline__ void norm_load(const float *line, uint32_t n,
                                                 struct norm_share<UNITS> *to)
{
#pragma unroll
    for (int i = 0; i < UNITS; i++)
        op_load_unit(line, n, threadIdx.x + i * blockDim.x, to->v[i]);
}

template <int UNITS>
static __device__ __forceinline__ void norm_store(float *line, uint32_t n,
                                                  const struct norm_share<UNITS> &from)
{
#pragma unroll
    for (int i = 0; i < UNITS; i++) {
        const uint32_t column = op_unit_column(threadIdx.x + i * blockDim.x);
#pragma unroll
        for (int r = 0; r < 4; r++)
            if (column + 2 * r < n)
                *(float2 *)(line + column + 2 * r) =
                    make_float2(from.v[i][2 * r], from.v[i][2 * r + 1]);
    }
}

/* 1 / root of (mean of v^2 + eps). */
template <int UNITS>
static __device__ __forceinline__ float norm_scale(const struct norm_share<UNITS> &v, uint32_t n,
                                                   float eps, float room[OP_WARP])
{
    float sum = 0;
#pragma unroll
    for (int i = 0; i < UNITS; i++)
#pragma unroll
        for (int j = 0; j < OP_UNIT; j++)
            sum = fmaf(v.v[i][j], v.v[i][j], sum);
    return 1.0F / sqrtf(op_block_sum(sum, room) / (float)n + eps);
}

/* x += the sum, its bias and norm counted. */
template <int UNITS>
static __device__ __forceinline__ void norm_add(const struct weir_gpu_norm &o, uint32_t row,
                                                struct norm_share<UNITS> *x, float room[OP_WARP])
{
    struct norm_share<UNITS> sum, by;
    norm_load(o.sum + row * o.sum_stride, o.hidden, &sum);
    if (o.sum_bias) {
        norm_load(o.sum_bias, o.hidden, &by);
#pragma unroll
        for (int j = 0; j < UNITS * OP_UNIT; j++)
            sum.v[j / OP_UNIT][j % OP_UNIT] += by.v[j / OP_UNIT][j % OP_UNIT];
    }
    if (o.sum_weight) {
        const float scale = norm_scale(sum, o.hidden, o.eps, room);
        norm_load(o.sum_weight, o.hidden, &by);
#pragma unroll
        for (int j = 0; j < UNITS * OP_UNIT; j++)
            sum.v[j / OP_UNIT][j % OP_UNIT] *= scale * by.v[j / OP_UNIT][j % OP_UNIT];
    }
#pragma unroll
    for (int j = 0; j < UNITS * OP_UNIT; j++)
        x->v[j / OP_UNIT][j % OP_UNIT] += sum.v[j / OP_UNIT][j % OP_UNIT];
}

/* x times `scale` and the norm's weight. */
template <int UNITS>
static __device__ __forceinline__ void norm_apply(const struct norm_share<UNITS> &weight,
                                                  float scale, struct norm_share<UNITS> *x)
{
#pragma unroll
    for (int j = 0; j < UNITS * OP_UNIT; j++)
        x->v[j / OP_UNIT][j % OP_UNIT] =
            weight.v[j / OP_UNIT][j % OP_UNIT] * (x->v[j / OP_UNIT][j % OP_UNIT] * scale);
}

/* Where the new x goes. */
static __device__ __forceinline__ float *norm_x_to(const struct weir_gpu_norm &o, uint32_t row)
{
    return (o.x_to ? o.x_to : o.x) + row * o.x_stride;
}

#endif
