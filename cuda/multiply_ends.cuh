/* multiply_ends.cuh - what a block of the multiplication does before and after its passes: a vector
 * normed, parts of sums added up and written, gates. */
#ifndef WEIR_CUDA_MULTIPLY_ENDS_CUH
#define WEIR_CUDA_MULTIPLY_ENDS_CUH

#include "gate.cuh"
#include "multiply_batch.cuh"
#include "norm.cuh"

/* ---- before ---- */

/* Arguments come from memory too: while there is time. */
static __device__ __forceinline__ void touch_norm(const struct weir_gpu_norm &o)
{
    asm volatile("" ::"l"(o.x), "l"(o.sum), "l"(o.x_to), "r"(o.hidden), "f"(o.eps), "l"(o.sum_bias),
                 "l"(o.sum_weight), "l"(o.x_stride));
}

/* Norms the row into shared memory, in every block; one of them keeps the new x.  `wait` comes when
 * the norm's weight is on its way. */
template <class F>
static __device__ __forceinline__ void make_vector(const struct weir_gpu_norm &o, float *sums,
                                                   uint8_t *to, F wait)
{
    struct norm_share<1> weight, x;
    norm_load(o.weight, o.hidden, &weight);
    touch_norm(o);
    wait();
    norm_load(o.x, o.hidden, &x);
    if (o.sum)
        norm_add(o, 0, &x, sums);
    if (blockIdx.x == 0)
        norm_store(norm_x_to(o, 0), o.hidden, x);
    norm_apply(weight, norm_scale(x, o.hidden, o.eps, sums + LANES), &x);
    if (threadIdx.x < op_units(o.hidden))
        ((uint4 *)to)[threadIdx.x] = op_words(x.v[0]);
    __syncthreads();
}

/* ---- after ---- */

/* A warp's numbers of a tile. */
template <class B>
static __device__ __forceinline__ void put_part(float *to, uint32_t lane, const float sum[B::NB][4])
{
    if (B::ONE) { /* all eight columns are the vector: the first is used */
        if (lane % 4 == 0) {
            to[lane / 4] = sum[0][0];
            to[lane / 4 + 8] = sum[0][2];
        }
    } else {
#pragma unroll
        for (int q = 0; q < B::NB; q++)
            ((float4 *)to)[LANES * q + lane] =
                make_float4(sum[q][0], sum[q][1], sum[q][2], sum[q][3]);
    }
}

/* A number, over all parts, which lie `stride` numbers apart. */
static __device__ __forceinline__ float add_parts(const float *parts, uint32_t stride)
{
    float v = 0;
#pragma unroll 4
    for (uint32_t p = 0; p < PARTS / 2; p++) {
        const float pair = parts[p * stride] + parts[(p + PARTS / 2) * stride];
        v = p ? v + pair : pair;
    }
    return v;
}

/* The sum of row `row`, of a gate, or of an up, which is 16 lanes further on. */
static __device__ __forceinline__ void put_gated(const struct weir_gpu_gate &o, uint32_t row,
                                                 float v)
{
    if (o.bias)
        v += o.bias[row];
    const float up = __shfl_down_sync(~0u, v, TILE_ROWS);
    if (row < o.width)
        ((__nv_bfloat16 *)o.out)[row] = __float2bfloat16_rn(gate_activation(v, o.gelu_tanh) * up);
}

/* Adds up what the warps have of the pass's `n_tiles` tiles from `tile` on. */
template <class B>
static __device__ __forceinline__ void
add_warps(const struct multiply_job &j, const typename B::around &a, float *room, uint32_t tile,
          uint32_t n_tiles, uint32_t part, uint32_t lane, const sums<B> &sum)
{
#pragma unroll
    for (int r0 = 0; r0 < B::TILES; r0 += B::ROUND) {
        if (r0 >= n_tiles)
            break;
#pragma unroll
        for (int r = r0; r < r0 + B::ROUND && r < B::TILES; r++)
            put_part<B>(room + (part * B::ROUND + r - r0) * B::OUTS, lane, sum[r]);
        __syncthreads();
        const uint32_t n = min(n_tiles - r0, (uint32_t)B::ROUND) * B::OUTS;
        for (uint32_t i = threadIdx.x; i < n; i += LANES * WARPS) {
            const float v = add_parts(room + i, B::ROUND * B::OUTS);
            if constexpr (B::IS_GATED) {
                put_gated(a.gate, tile_at<B>(j, tile + i / TILE_ROWS) * TILE_ROWS + i % TILE_ROWS,
                          v);
                continue;
            }
            const uint32_t k = i % B::OUTS, of_lane = k / 4 % LANES;
            const uint32_t row =
                (tile + r0 + i / B::OUTS) * TILE_ROWS + (B::ONE ? k : of_lane / 4 + k % 4 / 2 * 8);
            const uint32_t vector = B::ONE ? 0 : k / 128 * 8 + of_lane % 4 * 2 + k % 2;
            if (row < j.n_rows && vector < j.n)
                j.y[vector * j.y_stride + row] = v;
        }
        __syncthreads();
    }
}

#endif
