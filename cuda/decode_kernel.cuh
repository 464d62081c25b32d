/* decode_kernel.cuh - the kernel that decodes a batch, and the fast way for floats of 16 bits: an
 * element is one item, nothing is dropped, the number of raw bits is known when it is compiled.
 * Raw bits of two neighbours come in one 32-bit load and leave in one 32-bit store, 128 bytes a
 * warp and row. */
#ifndef WEIR_CUDA_DECODE_KERNEL_CUH
#define WEIR_CUDA_DECODE_KERNEL_CUH

#include "decode_any.cuh"

enum {
    ROWS_PER_STEP = 16, /* their raw bits are R whole 16-bit words a lane */
    /* Ways of decoding: 0 any, then two for each number of raw bits, without and with symbol 0. */
    FAST_LOW = 5,
    FAST_HIGH = 11,
    N_WAYS = 1 + 2 * (FAST_HIGH - FAST_LOW + 1),
};

/* What all blocks of a launch find out together. */
struct device_state {
    uint32_t bad;  /* the first bad tile, or NONE_BAD */
    uint32_t done; /* blocks */
};
static const uint32_t NONE_BAD = UINT32_MAX, NOT_DONE = UINT32_MAX - 1;

/* Two indices to two symbols, 16 bits each. */
template <bool ZERO> static __device__ uint32_t symbols_of(uint2 e, uint32_t base)
{
    uint32_t j = __byte_perm(e.x, e.y, 0x7733) & 0x00ff00ff;
    if (!ZERO)
        return j + base * 0x00010001u;
    uint32_t not_zero = (j + 0x00ff00ff) >> 8 & 0x00010001;
    return j + not_zero * base;
}

/* `raw` holds the two items' raw bits in its halves, at bit 0, with anything above. */
template <int R> static __device__ uint32_t join_floats(uint32_t symbols, uint32_t raw)
{
    const uint32_t mantissa = ((1u << (R - 1)) - 1) * 0x00010001u;
    return (raw << 15 & 0x80008000u) | symbols << (R - 1) | (raw >> 1 & mantissa);
}

/* Whole steps of 16 rows; returns the first row that is left. */
template <int R, bool ZERO>
static __device__ uint32_t decode_steps(const uint32_t *table, uint32_t base,
                                        const struct item_place *to, const struct stream_view *v,
                                        uint32_t x[2], struct word_ring *r)
{
    const uint32_t thread = threadIdx.x % 32, below = (1u << thread) - 1;
    const uint32_t n_steps = to->n_items / (WEIR_LANES * ROWS_PER_STEP);
    const uint32_t *raw = (const uint32_t *)v->raw + thread;
    uint32_t *out = (uint32_t *)to->out + thread;
    uint32_t next[R];
#pragma unroll
    for (int j = 0; j < R; j++)
        next[j] = n_steps ? __ldcs(raw + 32 * j) : 0;
    for (uint32_t step = 0; step < n_steps; step++) {
        uint32_t w[R + 1];
        raw += 32 * R;
#pragma unroll
        for (int j = 0; j < R; j++) { /* the next step's, a step ahead of their use */
            w[j] = next[j];
            next[j] = step + 1 < n_steps ? __ldcs(raw + 32 * j) : 0;
        }
        w[R] = 0;
#pragma unroll
        for (int row = 0; row < ROWS_PER_STEP; row++) {
            if (row % 4 == 0)
                ring_advance(r);
            uint32_t symbols = symbols_of<ZERO>(decode_row(table, below, x, r), base);
            const int j = row * R / 16, shift = row * R % 16;
            uint32_t bits = w[j] >> shift;
            if (shift + R > 16) {
                const uint32_t low = ((1u << (16 - shift)) - 1) * 0x00010001u;
                bits = (bits & low) | (w[j + 1] << (16 - shift) & ~low);
            }
            out[32 * row] = join_floats<R>(symbols, bits);
        }
        out += 32 * ROWS_PER_STEP;
    }
    return n_steps * ROWS_PER_STEP;
}

/* As decode_any(). */
template <int R, bool ZERO>
static __device__ bool decode_fast(const struct device_block *block, const struct device_tile *tile,
                                   uint32_t *table, uint8_t *ring)
{
    for (uint32_t i = threadIdx.x; i < N_SLOTS / 4; i += blockDim.x)
        ((uint4 *)table)[i] = ((const uint4 *)block->table)[i];
    __syncthreads();
    if (!tile)
        return false;
    struct stream_view v;
    const struct item_place to = {&block->coding->part[0], tile->out, 2, tile->plain_bytes / 2};
    if (tile->payload_bytes > tile->plain_bytes || tile->plain_bytes % 2 ||
        !view_stream(tile->payload, tile->payload_bytes, 2, R, to.n_items, &v) ||
        v.bytes != tile->payload_bytes)
        return false;
    uint32_t x[2];
    struct word_ring r;
    start_stream(tile, &v, ring, x, &r);
    uint32_t row = decode_steps<R, ZERO>(table, block->base, &to, &v, x, &r);
    decode_rows(table, &to, &v, row, x, &r);
    if (!finish_stream(&to, &v, x, &r))
        return false;
    __syncwarp();
    return xxh3_of(tile->out, tile->plain_bytes) == tile->xxh3;
}

template <int R>
static __device__ bool decode_float(bool has_zero, const struct device_block *block,
                                    const struct device_tile *tile, uint32_t *table, uint8_t *ring)
{
    if (has_zero)
        return decode_fast<R, true>(block, tile, table, ring);
    return decode_fast<R, false>(block, tile, table, ring);
}

static __device__ bool decode_by(uint32_t way, const struct device_block *block,
                                 const struct device_tile *tile, uint32_t *table, uint8_t *ring)
{
    const bool has_zero = way % 2 == 0;
    switch (way ? FAST_LOW + (way - 1) / 2 : 0) {
    case 5:
        return decode_float<5>(has_zero, block, tile, table, ring);
    case 6:
        return decode_float<6>(has_zero, block, tile, table, ring);
    case 7:
        return decode_float<7>(has_zero, block, tile, table, ring);
    case 8:
        return decode_float<8>(has_zero, block, tile, table, ring);
    case 9:
        return decode_float<9>(has_zero, block, tile, table, ring);
    case 10:
        return decode_float<10>(has_zero, block, tile, table, ring);
    case 11:
        return decode_float<11>(has_zero, block, tile, table, ring);
    default:
        return decode_any(block->coding, tile, table, ring);
    }
}

/* *first_bad gets the first bad tile or NONE_BAD once the last block is done, and `state` is as
 * before then: the next launch needs nobody to prepare it. */
static __global__ void __launch_bounds__(32 * TILES_PER_BLOCK)
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
