/* Norms: one block a row, which stays in registers.  12 bytes moved a number (x read and written,
 * the sum read), 4 for its weight, 2 out. */
#include "cuda/ops.h"

#include "gpu_private.h"
#include "norm.cuh"

enum { MOST_THREADS = 1024, MOST_UNITS = 8 /* a thread */ };

struct norm_job {
    struct weir_gpu_norm o;
    struct op_out out;
};

template <int UNITS>
static __global__ void __launch_bounds__(MOST_THREADS) norm_rows(const struct norm_job job)
{
    __shared__ float room[2][OP_WARP];
    const struct weir_gpu_norm &o = job.o;
    const uint32_t vector = blockIdx.x;
    struct norm_share<UNITS> weight = {}, x;
    gpu_let_next_begin();
    if (UNITS == 1 && o.weight)
        norm_load(o.weight, o.hidden, &weight);
    gpu_wait_for_previous();
    if (vector >= job.out.n) {
        op_store_zeros(&job.out, vector);
        return;
    }
    const uint32_t row = o.row ? o.row[vector] : vector;
    norm_load(o.x + row * o.x_stride, o.hidden, &x);
    if (o.sum)
        norm_add(o, row, &x, room[0]);
    if (o.sum || o.x_to)
        norm_store(norm_x_to(o, row), o.hidden, x);
    if (!o.weight)
        return;
    const float scale = norm_scale(x, o.hidden, o.eps, room[1]);
    if (UNITS > 1)
        norm_load(o.weight, o.hidden, &weight);
    norm_apply(weight, scale, &x);
#pragma unroll
    for (int i = 0; i < UNITS; i++) {
        const uint32_t unit = threadIdx.x + i * blockDim.x;
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
