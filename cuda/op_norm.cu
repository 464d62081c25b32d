/* Norms: one block a row, which stays in registers.  12 bytes moved a number (x read and written,
 * the sum read), 4 for its weight, 2 out. */
#include "cuda/ops.h"

#include "gpu_private.h"
#include "op_private.cuh"

enum { MOST_THREADS = 1024, MOST_UNITS = 8 /* a thread */ };

struct norm_job {
    struct weir_gpu_norm o;
    struct op_out out;
};

/* A thread's share of a row. */
template <int UNITS> struct share {
    float v[UNITS][OP_UNIT];
};

template <int UNITS>
static __device__ __forceinline__ void load(const float *line, uint32_t n, struct share<UNITS> *to)
{
#pragma unroll
    for (int i = 0; i < UNITS; i++)
        op_load_unit(line, n, threadIdx.x + i * blockDim.x, to->v[i]);
}

template <int UNITS>
static __device__ __forceinline__ void store(float *line, uint32_t n,
                                             const struct share<UNITS> &from)
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
static __device__ __forceinline__ float norm_of(const struct share<UNITS> &v, uint32_t n, float eps,
                                                float room[OP_WARP])
{
    float sum = 0;
#pragma unroll
    for (int i = 0; i < UNITS; i++)
#pragma unroll
        for (int j = 0; j < OP_UNIT; j++)
            sum = fmaf(v.v[i][j], v.v[i][j], sum);
    return 1.0F / sqrtf(op_block_sum(sum, room) / (float)n + eps);
}

/* to += more, and back to memory. */
template <int UNITS>
static __device__ __forceinline__ void add_sum(const struct weir_gpu_norm &o, uint32_t row,
                                               struct share<UNITS> *x, float room[OP_WARP])
{
    struct share<UNITS> sum, by;
    load(o.sum + row * o.sum_stride, o.hidden, &sum);
    if (o.sum_bias) {
        load(o.sum_bias, o.hidden, &by);
#pragma unroll
        for (int j = 0; j < UNITS * OP_UNIT; j++)
            sum.v[j / OP_UNIT][j % OP_UNIT] += by.v[j / OP_UNIT][j % OP_UNIT];
    }
    if (o.sum_weight) {
        const float scale = norm_of(sum, o.hidden, o.eps, room);
        load(o.sum_weight, o.hidden, &by);
#pragma unroll
        for (int j = 0; j < UNITS * OP_UNIT; j++)
            sum.v[j / OP_UNIT][j % OP_UNIT] *= scale * by.v[j / OP_UNIT][j % OP_UNIT];
    }
#pragma unroll
    for (int j = 0; j < UNITS * OP_UNIT; j++)
        x->v[j / OP_UNIT][j % OP_UNIT] += sum.v[j / OP_UNIT][j % OP_UNIT];
    store(o.x + row * o.x_stride, o.hidden, *x);
}

template <int UNITS>
static __global__ void __launch_bounds__(MOST_THREADS) norm_rows(const struct norm_job job)
{
    __shared__ float room[2][OP_WARP];
    const struct weir_gpu_norm &o = job.o;
    const uint32_t vector = blockIdx.x;
    struct share<UNITS> weight = {}, x;
    gpu_let_next_begin();
    if (UNITS == 1 && o.weight)
        load(o.weight, o.hidden, &weight);
    gpu_wait_for_previous();
    if (vector >= job.out.n) {
        op_store_zeros(&job.out, vector);
        return;
    }
    const uint32_t row = o.row ? o.row[vector] : vector;
    load(o.x + row * o.x_stride, o.hidden, &x);
    if (o.sum)
        add_sum(o, row, &x, room[0]);
    if (!o.weight)
        return;
    const float scale = norm_of(x, o.hidden, o.eps, room[1]);
    if (UNITS > 1)
        load(o.weight, o.hidden, &weight);
#pragma unroll
    for (int i = 0; i < UNITS; i++) {
        const uint32_t unit = threadIdx.x + i * blockDim.x;
#pragma unroll
        for (int j = 0; j < OP_UNIT; j++)
            x.v[i][j] = weight.v[i][j] * (x.v[i][j] * scale);
        if (unit < op_units(o.hidden))
            op_store_unit(&job.out, vector, unit, x.v[i]);
    }
}

weir_err weir_gpu_op_norm(struct weir_gpu_stream *s, uint32_t n, const struct weir_gpu_norm *o)
{
    const uint32_t units = op_units(o->hidden);
    if (n == 0 || o->hidden == 0 || o->x_stride % 2 || o->sum_stride % 2 ||
        (o->weight && o->layout == WEIR_GPU_FRAGMENTS && n > WEIR_GPU_MOST_VECTORS))
        return WEIR_ERR_INVALID;
    if (o->hidden % 2 || units > MOST_UNITS * MOST_THREADS)
        return WEIR_ERR_UNSUPPORTED;
    struct norm_job job = {*o, op_out_of(o->out, o->layout, o->hidden, n)};
    /* as many threads as the row wants, whatever else is asked: the sum's order hangs on it */
    const uint32_t threads =
        units < MOST_THREADS ? (units + OP_WARP - 1) / OP_WARP * OP_WARP : MOST_THREADS;
    const struct gpu_grid grid = {dim3(o->weight ? op_out_vectors(&job.out) : n), dim3(threads), 0,
                                  true};
    if (units <= threads)
        return gpu_launch(s, grid, norm_rows<1>, job);
    if (units <= 2 * threads)
        return gpu_launch(s, grid, norm_rows<2>, job);
    return gpu_launch(s, grid, norm_rows<MOST_UNITS>, job);
}
