/* What stands between the two halves of a layer's second part, and what caps logits: each number
 * by itself.  8 bytes read a number of the gate's, 2 written; 4 and 4 of a logit. */
#include "cuda/ops.h"

#include "gate.cuh"
#include "gpu_private.h"
#include "op_private.cuh"

enum { THREADS = 128 };

struct gate_job {
    struct weir_gpu_gate o;
    struct op_out out;
};

static __device__ __forceinline__ void load(const float *line, const float *bias, uint32_t width,
                                            uint32_t unit, float v[OP_UNIT])
{
    op_load_unit(line, width, unit, v);
    if (!bias)
        return;
    float more[OP_UNIT];
    op_load_unit(bias, width, unit, more);
#pragma unroll
    for (int j = 0; j < OP_UNIT; j++)
        v[j] += more[j];
}

static __global__ void __launch_bounds__(THREADS) gate_rows(const struct gate_job job)
{
    const struct weir_gpu_gate &o = job.o;
    const uint32_t unit = blockIdx.x * THREADS + threadIdx.x, vector = blockIdx.y;
    float gate[OP_UNIT] = {}, up[OP_UNIT];
    gpu_let_next_begin();
    gpu_wait_for_previous();
    if (unit >= op_units(o.width))
        return;
    if (vector < job.out.n) {
        const float *line = o.gate_up + vector * o.stride;
        load(line, o.bias, o.width, unit, gate);
        load(line + o.width, o.bias ? o.bias + o.width : NULL, o.width, unit, up);
#pragma unroll
        for (int j = 0; j < OP_UNIT; j++)
            gate[j] = gate_activation(gate[j], o.gelu_tanh) * up[j];
    }
    op_store_unit(&job.out, vector, unit, gate);
}

weir_err weir_gpu_op_gate(struct weir_gpu_stream *s, uint32_t n, const struct weir_gpu_gate *o)
{
    if (n == 0 || o->width == 0 || o->stride % 2 ||
        (o->layout == WEIR_GPU_FRAGMENTS && n > WEIR_GPU_MOST_VECTORS))
        return WEIR_ERR_INVALID;
    if (o->width % 2)
        return WEIR_ERR_UNSUPPORTED;
    struct gate_job job = {*o, op_out_of(o->out, o->layout, o->width, n)};
    const struct gpu_grid grid = {
        dim3((op_units(o->width) + THREADS - 1) / THREADS, op_out_vectors(&job.out)), dim3(THREADS),
        0, true};
    return gpu_launch(s, grid, gate_rows, job);
}

static __global__ void __launch_bounds__(THREADS)
    cap_rows(float *logits, size_t stride, uint32_t width, float cap)
{
    const uint32_t column = blockIdx.x * THREADS + threadIdx.x;
    float *at = logits + blockIdx.y * stride + column;
    gpu_let_next_begin();
    gpu_wait_for_previous();
    if (column < width)
        *at = cap * tanhf(*at / cap);
}

weir_err weir_gpu_op_cap(struct weir_gpu_stream *s, float *logits, size_t stride, uint32_t n,
                         uint32_t width, float cap)
{
    if (n == 0 || width == 0)
        return WEIR_ERR_INVALID;
    if (!(cap > 0))
        return WEIR_OK;
    const struct gpu_grid grid = {dim3((width + THREADS - 1) / THREADS, n), dim3(THREADS), 0, true};
    return gpu_launch(s, grid, cap_rows, logits, stride, width, cap);
}
