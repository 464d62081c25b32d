/* op_private.cuh - what the kernels between the matrices share: writing vectors in either layout,
 * sums over a block. */
#ifndef WEIR_CUDA_OP_PRIVATE_CUH
#define WEIR_CUDA_OP_PRIVATE_CUH

#include <cuda_bf16.h>

#include "cuda/ops.h"
#include "fragment.cuh"

enum { OP_WARP = 32, OP_UNIT = 8 /* columns that a thread takes at once */ };

/* Vectors that are written. */
struct op_out {
    uint16_t *at;
    uint32_t n_columns, n;
    bool fragments;
};

static inline struct op_out op_out_of(void *at, enum weir_gpu_layout layout, uint32_t n_columns,
                                      uint32_t n)
{
    struct op_out o = {(uint16_t *)at, n_columns, n, layout == WEIR_GPU_FRAGMENTS};
    return o;
}

/* With the padding. */
static inline __host__ __device__ uint32_t op_out_columns(const struct op_out *o)
{
    return o->fragments ? fragment_columns(o->n_columns) : o->n_columns;
}

static inline __host__ __device__ uint32_t op_out_vectors(const struct op_out *o)
{
    return o->fragments ? fragment_vectors(o->n) : o->n;
}

/* Units of a row, for either layout: what a sum over a row is cut in. */
static inline __host__ __device__ uint32_t op_units(uint32_t n_columns)
{
    return fragment_columns(n_columns) / OP_UNIT;
}

/* The first of a unit's columns, which in either layout lie one behind the other. */
static __device__ __forceinline__ uint32_t op_unit_column(uint32_t unit)
{
    return OP_UNIT * unit;
}

static __device__ __forceinline__ size_t op_out_at(const struct op_out *o, uint32_t column,
                                                   uint32_t vector)
{
    return o->fragments ? fragment_at(column, vector, o->n)
                        : (size_t)vector * o->n_columns + column;
}

static __device__ __forceinline__ uint32_t op_pair(float low, float high)
{
    const __nv_bfloat162 pair = __floats2bfloat162_rn(low, high);
    return *(const uint32_t *)&pair;
}

/* A unit rounded. */
static __device__ __forceinline__ uint4 op_words(const float v[OP_UNIT])
{
    return make_uint4(op_pair(v[0], v[1]), op_pair(v[2], v[3]), op_pair(v[4], v[5]),
                      op_pair(v[6], v[7]));
}

/* Values beyond n_columns are zero. */
static __device__ __forceinline__ void op_store_unit(const struct op_out *o, uint32_t vector,
                                                     uint32_t unit, const float v[OP_UNIT])
{
    const uint32_t column = op_unit_column(unit);
    const uint4 words = op_words(v);
    if (o->fragments) {
        *(uint4 *)(o->at + fragment_at(column, vector, o->n)) = words;
        return;
    }
    uint32_t *line = (uint32_t *)(o->at + (size_t)vector * o->n_columns);
    if (column < o->n_columns)
        line[column / 2] = words.x;
    if (column + 2 < o->n_columns)
        line[column / 2 + 1] = words.y;
    if (column + 4 < o->n_columns)
        line[column / 2 + 2] = words.z;
    if (column + 6 < o->n_columns)
        line[column / 2 + 3] = words.w;
}

/* One thread's units of a vector that is padding. */
static __device__ __forceinline__ void op_store_zeros(const struct op_out *o, uint32_t vector)
{
    const float zeros[OP_UNIT] = {};
    for (uint32_t u = threadIdx.x; u < op_units(o->n_columns); u += blockDim.x)
        op_store_unit(o, vector, u, zeros);
}

/* Columns beyond n_columns are read as zeros; n_columns is even. */
static __device__ __forceinline__ void op_load_unit(const float *line, uint32_t n_columns,
                                                    uint32_t unit, float v[OP_UNIT])
{
    const uint32_t column = op_unit_column(unit);
#pragma unroll
    for (uint32_t r = 0; r < 4; r++) {
        float2 two = make_float2(0, 0);
        if (column + 2 * r < n_columns)
            two = *(const float2 *)(line + column + 2 * r);
        v[2 * r] = two.x;
        v[2 * r + 1] = two.y;
    }
}

/* The same bits in every lane. */
static __device__ __forceinline__ float op_warp_sum(float v)
{
#pragma unroll
    for (int across = OP_WARP / 2; across; across /= 2)
        v += __shfl_xor_sync(0xffffffff, v, across);
    return v;
}

/* The same bits in every thread.  `room` is not used for anything else. */
static __device__ __forceinline__ float op_block_sum(float v, float room[OP_WARP])
{
    const uint32_t warp = threadIdx.x / OP_WARP, lane = threadIdx.x % OP_WARP;
    v = op_warp_sum(v);
    if (lane == 0)
        room[warp] = v;
    __syncthreads();
    return op_warp_sum(lane < blockDim.x / OP_WARP ? room[lane] : 0);
}

#endif
