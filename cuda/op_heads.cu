/* Heads before they meet: biases, norms, turning, and keys and values into their places.  A warp
 * for a head of a row.  4 bytes read a number and 4 (q) or 2 (k, v) written. */
#include "cuda/ops.h"

#include "gpu_private.h"
#include "heads.cuh"

enum { WARPS = 4 };

static __global__ void __launch_bounds__(WARPS *OP_WARP)
    turn_heads(const struct weir_gpu_pass pass, const struct weir_gpu_kv kv,
               const struct weir_gpu_heads o)
{
    const uint32_t row = blockIdx.y, head = blockIdx.x * WARPS + threadIdx.x / OP_WARP;
    const uint32_t all = o.n_heads + 2 * kv.n_heads;
    gpu_let_next_begin();
    gpu_wait_for_previous();
    if (head >= all)
        return;
    struct head_share h;
    const struct head_place place = {pass.sequence[row], pass.position[row], head};
    float *at = o.qkv + row * o.stride + (size_t)head * kv.head_dim;
    head_load(o, kv, place, at, &h);
    if (head < o.n_heads)
        head_store(o, kv.head_dim, h, at);
    else
        head_keep(o, kv, place, h);
}

weir_err weir_gpu_op_heads(struct weir_gpu_stream *s, const struct weir_gpu_pass *pass,
                           const struct weir_gpu_kv *kv, const struct weir_gpu_heads *o)
{
    weir_err err = heads_check(pass, kv, o);
    if (err)
        return err;
    const uint32_t all = o->n_heads + 2 * kv->n_heads;
    const struct gpu_grid grid = {dim3((all + WARPS - 1) / WARPS, pass->n), dim3(WARPS * OP_WARP),
                                  0, true};
    return gpu_launch(s, grid, turn_heads, *pass, *kv, *o);
}
