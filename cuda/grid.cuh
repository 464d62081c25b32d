/* grid.cuh - codec/grid.h on the device: the same results, to the bit. */
#ifndef WEIR_CUDA_GRID_CUH
#define WEIR_CUDA_GRID_CUH

#include <stdint.h>

#include "codec/grid.h"

static __device__ __forceinline__ float grid_widen(uint32_t bf16)
{
    return __uint_as_float(bf16 << 16);
}

static __device__ __forceinline__ uint32_t grid_round(float f)
{
    const uint32_t bits = __float_as_uint(f);
    return (bits + 0x7fff + (bits >> 16 & 1)) >> 16;
}

static __device__ __forceinline__ uint32_t grid_weight(uint32_t step, uint32_t number)
{
    return grid_round(__fmul_rn((float)number, grid_widen(step)));
}

static __device__ __forceinline__ uint32_t grid_number(uint32_t step, uint32_t weight,
                                                       uint32_t most)
{
    const uint32_t magnitude = weight & 0x7fff;
    if (magnitude == 0)
        return 0;
    const float steps = __fdiv_rn(grid_widen(magnitude), grid_widen(step));
    if (!(steps < __fadd_rn((float)most, 0.5f)))
        return WEIR_GRID_NONE;
    const uint32_t number = (uint32_t)__fadd_rn(steps, 0.5f);
    return number <= most && grid_weight(step, number) == magnitude ? number : WEIR_GRID_NONE;
}

/* The least magnitude above `above`, and how often it comes. */
static __device__ uint32_t grid_next_least(const uint16_t *row, uint32_t n, uint32_t above,
                                           uint32_t lane, uint32_t *count)
{
    uint32_t least = 0x7fff, mine = 0;
    for (uint32_t i = lane; i < n; i += 32) {
        const uint32_t magnitude = row[i] & 0x7fff;
        if (magnitude > above && magnitude < least)
            least = magnitude;
    }
    least = __reduce_min_sync(~0u, least);
    for (uint32_t i = lane; i < n; i += 32)
        mine += (row[i] & 0x7fff) == least;
    *count = __reduce_add_sync(~0u, mine);
    return least;
}

/* The step of a row, by a warp. */
static __device__ uint32_t grid_find(const uint16_t *row, uint32_t n, uint32_t most, uint32_t lane)
{
    uint32_t least = 0, best = 0, fewest = n + 1, count = 0;
    for (int i = 0; i < WEIR_GRID_TRIES && count <= n / WEIR_GRID_RARE_PART; i++)
        least = grid_next_least(row, n, least, lane, &count);
    if (count <= n / WEIR_GRID_RARE_PART)
        return 0;
    for (uint32_t k = 1; k <= WEIR_GRID_DIVISORS; k++) {
        const uint32_t step = grid_round(__fdiv_rn(grid_widen(least), (float)k));
        if (step < WEIR_GRID_LEAST_STEP || step >= WEIR_GRID_END_STEP ||
            grid_weight(step, k) != least)
            continue;
        uint32_t odd = 0;
        for (uint32_t i = lane; i < n; i += 32)
            odd += grid_number(step, row[i], most) == WEIR_GRID_NONE;
        odd = __reduce_add_sync(~0u, odd);
        if (odd < fewest) {
            fewest = odd;
            best = step;
        }
        if (odd <= n / WEIR_GRID_ODD_PART)
            break;
    }
    return best;
}

#endif
