/* decode_kernel.cuh - the kernel that decodes a batch: a block's tiles by the way that suits them.
 */
#ifndef WEIR_CUDA_DECODE_KERNEL_CUH
#define WEIR_CUDA_DECODE_KERNEL_CUH

#include "decode_any.cuh"
#include "decode_float.cuh"

enum {
    /* Ways of decoding: 0 any, then two for each number of raw bits, without and with symbol 0. */
    FAST_LOW = 5,
    FAST_HIGH = 11,
    BLOCKS_AT_ONCE = 5, /* on a multiprocessor: with registers for six a layer takes 7 % longer */
};

/* What all blocks of a launch find out together. */
struct device_state {
    uint32_t bad;  /* the first bad tile, or NONE_BAD */
    uint32_t done; /* blocks */
};
static const uint32_t NONE_BAD = UINT32_MAX, NOT_DONE = UINT32_MAX - 1;

template <int R>
static __device__ bool decode_floats(bool has_zero, const struct device_block *block,
                                     const struct device_tile *tile, uint32_t *table, uint8_t *ring)
{
    if (has_zero)
        return decode_float<R, true>(block, tile, table, ring);
    return decode_float<R, false>(block, tile, table, ring);
}

static __device__ bool decode_by(uint32_t way, const struct device_block *block,
                                 const struct device_tile *tile, uint32_t *table, uint8_t *ring)
{
    const bool has_zero = way % 2 == 0;
    switch (way ? FAST_LOW + (way - 1) / 2 : 0) {
    case 5:
        return decode_floats<5>(has_zero, block, tile, table, ring);
    case 6:
        return decode_floats<6>(has_zero, block, tile, table, ring);
    case 7:
        return decode_floats<7>(has_zero, block, tile, table, ring);
    case 8:
        return decode_floats<8>(has_zero, block, tile, table, ring);
    case 9:
        return decode_floats<9>(has_zero, block, tile, table, ring);
    case 10:
        return decode_floats<10>(has_zero, block, tile, table, ring);
    case 11:
        return decode_floats<11>(has_zero, block, tile, table, ring);
    default:
        return decode_any(block->coding, tile, table, ring);
    }
}

/* *first_bad gets the first bad tile or NONE_BAD once the last block is done, and `state` is as
 * before then: the next launch needs nobody to prepare it. */
static __global__ void __launch_bounds__(32 * TILES_PER_BLOCK, BLOCKS_AT_ONCE)
    decode_tiles(const struct device_block *blocks, struct device_state *state, uint32_t *first_bad)
{
    __shared__ __align__(16) uint32_t table[N_SLOTS];
    __shared__ __align__(16) uint8_t rings[TILES_PER_BLOCK][RING_BYTES];
    const struct device_block *block = &blocks[blockIdx.x];
    const uint32_t warp = threadIdx.x / 32, n_tiles = block->n_tiles;
    if (n_tiles) {
        const struct device_tile tile = block->tile[warp];
        const bool mine = warp < n_tiles;
        bool fine = decode_by(block->way, block, mine ? &tile : NULL, table, rings[warp]);
        if (mine && !fine && threadIdx.x % 32 == 0)
            atomicMin(&state->bad, block->first_tile + warp);
    }
    __threadfence();
    __syncthreads();
    if (threadIdx.x == 0 && atomicAdd(&state->done, 1) == gridDim.x - 1) {
        __threadfence();
        *(volatile uint32_t *)first_bad = atomicExch(&state->bad, NONE_BAD);
        state->done = 0;
    }
}

#endif
