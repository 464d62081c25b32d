/* decode_kernel.cuh - one warp decodes one split tile of 16-bit items (docs/format.md, 6 and 7).
 *
 * Thread t of the warp keeps the states of lanes 2t and 2t + 1, whose items are neighbours: their
 * raw bits come in one 32-bit load and they leave in one 32-bit store, 128 bytes a warp and row.
 *
 * Words come through a ring in shared memory filled with asynchronous copies two to three chunks
 * ahead; read straight from device memory each of the 1,024 rows waited for DRAM (0.40 ms a tile
 * however few tiles). A row of 64 items takes at most 128 bytes of words, four rows one chunk. */
#ifndef WEIR_CUDA_DECODE_KERNEL_CUH
#define WEIR_CUDA_DECODE_KERNEL_CUH

#include <stdint.h>

enum {
    N_SLOTS = 4096,
    LANES = 64,
    TILES_PER_BLOCK = 4, /* warps; 2 and 8 are no faster (docs/benchmarks.md) */
    CHUNK_BYTES = 512,   /* one 16-byte copy a thread */
    RING_BYTES = 4 * CHUNK_BYTES,
    ROWS_PER_STEP = 16, /* their raw bits are R whole 16-bit words a lane */
    HEAD_BYTES = 16 + 4 * LANES,
};

/* Tables and numbers of one coding; `table` as in the CPU's decoder:
 * index << 24 | frequency << 12 | slot - first slot of the index. */
struct device_coding {
    const uint32_t *table;
    uint32_t base;
    uint8_t raw_bits, drop_bits;
    bool sign_first, has_zero;
};

struct device_tile {
    const uint8_t *payload;
    uint8_t *out;
    uint32_t payload_bytes, n_items;
};

/* A block's work: up to TILES_PER_BLOCK neighbours with one coding. */
struct device_block {
    struct device_coding coding;
    uint32_t first_tile, n_tiles;
};

/* Where the pieces of the stream are; what the host checks on the CPU is checked here. */
struct stream_view {
    const uint8_t *raw, *words, *positions, *patches;
    uint32_t n_words, n_patches;
};

static __device__ bool view_stream(const struct device_tile *tile, uint32_t raw_bits,
                                   struct stream_view *v)
{
    uint32_t n_rows = (tile->n_items + LANES - 1) / LANES;
    uint32_t head = HEAD_BYTES + (n_rows * raw_bits + 15) / 16 * (2 * LANES);
    if (tile->payload_bytes < head)
        return false;
    const uint4 first = *(const uint4 *)tile->payload;
    uint64_t word_bytes = 2 * (uint64_t)first.x, gap = word_bytes % 4;
    uint64_t whole = head + word_bytes + gap + 6 * (uint64_t)first.y;
    if (first.z || first.w || first.y > tile->n_items || whole != tile->payload_bytes)
        return false;
    v->n_words = first.x;
    v->n_patches = first.y;
    v->raw = tile->payload + HEAD_BYTES;
    v->words = tile->payload + head;
    v->positions = v->words + word_bytes + gap;
    v->patches = v->positions + 4 * (uint64_t)first.y;
    return gap == 0 || *(const uint16_t *)(v->positions - 2) == 0;
}

/* ---- words ---- */

struct word_ring {
    uint8_t *ring;        /* shared, RING_BYTES, this warp's */
    const uint8_t *words; /* device */
    uint32_t bytes;       /* from `words` to the end of the payload */
    uint32_t chunk;       /* the one that `at` is in */
    uint32_t at;          /* next word, counted from the first; the same in all threads */
};

/* Queues the copy of 16 bytes, or of none: then zeros arrive.  One group each. */
static __device__ void copy_16_async(void *shared, const void *global, bool really)
{
    uint32_t to = (uint32_t)__cvta_generic_to_shared(shared), n = really ? 16 : 0;
    asm volatile("cp.async.cg.shared.global [%0], [%1], 16, %2;\n"
                 "cp.async.commit_group;" ::"r"(to),
                 "l"(global), "r"(n)
                 : "memory");
}

template <int PENDING> static __device__ void wait_for_all_but(void)
{
    asm volatile("cp.async.wait_group %0;" ::"n"(PENDING) : "memory");
}

/* Queues the copy of one chunk; what lies past the payload arrives as zeros. */
static __device__ void ring_fetch(const struct word_ring *r, uint32_t chunk)
{
    uint32_t thread = threadIdx.x % 32, from = chunk * CHUNK_BYTES + thread * 16;
    bool inside = from < r->bytes;
    copy_16_async(r->ring + from % RING_BYTES, r->words + (inside ? from : 0), inside);
}

static __device__ void ring_start(struct word_ring *r)
{
    for (uint32_t chunk = 0; chunk < 4; chunk++)
        ring_fetch(r, chunk);
    wait_for_all_but<2>();
    __syncwarp();
}

/* Before at most four rows: the chunk that `at` is in and the next are there afterwards. */
static __device__ void ring_advance(struct word_ring *r)
{
    if (r->at / (CHUNK_BYTES / 2) == r->chunk)
        return;
    __syncwarp(); /* all threads are done with the chunk that is overwritten */
    r->chunk++;
    ring_fetch(r, r->chunk + 3);
    wait_for_all_but<2>();
    __syncwarp();
}

/* ---- one row: two states a thread ---- */

/* Returns the two table entries, whose top bytes are the indices. */
static __device__ uint2 decode_row(const uint32_t *table, uint32_t below, uint32_t x[2],
                                   struct word_ring *r)
{
    uint2 e = {table[x[0] % N_SLOTS], table[x[1] % N_SLOTS]};
    x[0] = (e.x >> 12 & 0xfff) * (x[0] >> 12) + (e.x & 0xfff);
    x[1] = (e.y >> 12 & 0xfff) * (x[1] >> 12) + (e.y & 0xfff);
    bool low0 = x[0] < 65536, low1 = x[1] < 65536;
    uint32_t even = __ballot_sync(~0u, low0), odd = __ballot_sync(~0u, low1);
    uint32_t mine = r->at + __popc(even & below) + __popc(odd & below);
    uint32_t next = mine + low0;
    uint32_t w0 = *(const uint16_t *)(r->ring + mine * 2 % RING_BYTES);
    uint32_t w1 = *(const uint16_t *)(r->ring + next * 2 % RING_BYTES);
    if (low0)
        x[0] = x[0] << 16 | w0;
    if (low1)
        x[1] = x[1] << 16 | w1;
    r->at += __popc(even) + __popc(odd);
    return e;
}

/* Two indices to two symbols, 16 bits each. */
template <bool ZERO> static __device__ uint32_t symbols_of(uint2 e, uint32_t base)
{
    uint32_t j = __byte_perm(e.x, e.y, 0x7733) & 0x00ff00ff;
    if (!ZERO)
        return j + base * 0x00010001u;
    uint32_t not_zero = (j + 0x00ff00ff) >> 8 & 0x00010001;
    return j + not_zero * base;
}

/* The usual case, everything known at compile time: a float, nothing dropped. `raw` holds the two
 * items' raw bits in its halves, at bit 0, with anything above. */
template <int R> static __device__ uint32_t join_floats(uint32_t symbols, uint32_t raw)
{
    const uint32_t mantissa = ((1u << (R - 1)) - 1) * 0x00010001u;
    return (raw << 15 & 0x80008000u) | symbols << (R - 1) | (raw >> 1 & mantissa);
}

static __device__ uint32_t join_any(const struct device_coding *c, uint32_t symbol, uint32_t raw)
{
    uint32_t code = symbol << c->raw_bits | (raw & ((1u << c->raw_bits) - 1));
    if (c->sign_first)
        return (code >> 1 << c->drop_bits | code << 15) & 0xffff;
    return code << c->drop_bits & 0xffff;
}

/* Rows one at a time with every number read at run time: the last rows of short tiles, and
 * codings for which there is no fast kernel. */
template <bool ZERO>
static __device__ void decode_slow_rows(const uint32_t *table, const struct device_coding *c,
                                        const struct device_tile *tile, const struct stream_view *v,
                                        uint32_t first_row, uint32_t x[2], struct word_ring *r)
{
    uint32_t thread = threadIdx.x % 32, below = (1u << thread) - 1;
    uint16_t *out = (uint16_t *)tile->out;
    for (uint32_t row = first_row; row * LANES < tile->n_items; row++) {
        ring_advance(r);
        uint32_t symbols = symbols_of<ZERO>(decode_row(table, below, x, r), c->base);
        uint32_t bit = row * c->raw_bits, shift = bit % 16;
        const uint16_t *raw = (const uint16_t *)v->raw + bit / 16 * LANES + 2 * thread;
        for (uint32_t k = 0; k < 2; k++) {
            uint32_t bits = c->raw_bits ? raw[k] >> shift : 0;
            if (shift + c->raw_bits > 16)
                bits |= (uint32_t)raw[LANES + k] << (16 - shift);
            uint32_t item = row * LANES + 2 * thread + k;
            if (item < tile->n_items)
                out[item] = (uint16_t)join_any(c, symbols >> 16 * k & 0xffff, bits);
        }
    }
}

/* Whole steps of 16 rows; returns the first row that is left. */
template <int R, bool ZERO>
static __device__ uint32_t decode_steps(const uint32_t *table, const struct device_coding *c,
                                        const struct device_tile *tile, const struct stream_view *v,
                                        uint32_t x[2], struct word_ring *r)
{
    const uint32_t thread = threadIdx.x % 32, below = (1u << thread) - 1;
    const uint32_t n_steps = tile->n_items / (LANES * ROWS_PER_STEP);
    const uint32_t *raw = (const uint32_t *)v->raw + thread;
    uint32_t *out = (uint32_t *)tile->out + thread;
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
            uint32_t symbols = symbols_of<ZERO>(decode_row(table, below, x, r), c->base);
            const int j = row * R / 16, shift = row * R % 16;
            uint32_t bits = w[j] >> shift;
            if (shift + R > 16) {
                const uint32_t low = ((1u << (16 - shift)) - 1) * 0x00010001u;
                bits = (bits & low) | (w[j + 1] << (16 - shift) & ~low);
            }
            __stcs(out + 32 * row, join_floats<R>(symbols, bits));
        }
        out += 32 * ROWS_PER_STEP;
    }
    return n_steps * ROWS_PER_STEP;
}

/* true: positions are in order and inside, and the items are in place. */
static __device__ bool apply_patches(const struct device_tile *tile, const struct stream_view *v)
{
    bool fine = true;
    __syncwarp(); /* the items that are replaced were written by other threads */
    for (uint32_t i = threadIdx.x % 32; i < v->n_patches; i += 32) {
        const uint32_t *position = (const uint32_t *)v->positions + i;
        uint32_t before = i ? position[-1] : 0;
        if (position[0] >= tile->n_items || (i && position[0] <= before))
            fine = false;
        else
            ((uint16_t *)tile->out)[position[0]] = ((const uint16_t *)v->patches)[i];
    }
    return fine;
}

/* R 0: any coding, slowly. `bad` counts bad tiles and remembers the first. */
template <int R, bool ZERO>
static __global__ void __launch_bounds__(32 * TILES_PER_BLOCK)
    decode_tiles(const struct device_block *blocks, const struct device_tile *tiles, uint32_t *bad)
{
    __shared__ __align__(16) uint32_t table[N_SLOTS];
    __shared__ __align__(16) uint8_t rings[TILES_PER_BLOCK][RING_BYTES];
    const struct device_block block = blocks[blockIdx.x];
    for (uint32_t i = threadIdx.x; i < N_SLOTS / 4; i += blockDim.x)
        ((uint4 *)table)[i] = ((const uint4 *)block.coding.table)[i];
    __syncthreads();
    uint32_t warp = threadIdx.x / 32, thread = threadIdx.x % 32;
    if (warp >= block.n_tiles)
        return;
    const struct device_tile tile = tiles[block.first_tile + warp];
    struct stream_view v;
    bool fine = view_stream(&tile, block.coding.raw_bits, &v);
    if (fine) {
        uint2 states = ((const uint2 *)(tile.payload + 16))[thread];
        uint32_t x[2] = {states.x, states.y};
        struct word_ring r = {rings[warp], v.words,
                              (uint32_t)(tile.payload + tile.payload_bytes - v.words), 0, 0};
        ring_start(&r);
        uint32_t row = 0;
        if (R > 0)
            row = decode_steps<(R > 0 ? R : 1), ZERO>(table, &block.coding, &tile, &v, x, &r);
        decode_slow_rows<ZERO>(table, &block.coding, &tile, &v, row, x, &r);
        wait_for_all_but<0>();
        /* Voted on before the patches: all threads of a warp meet at each of its barriers. */
        fine = x[0] == 65536 && x[1] == 65536 && r.at == v.n_words;
        fine = __all_sync(~0u, fine);
        if (fine)
            fine = apply_patches(&tile, &v);
    }
    if (!__all_sync(~0u, fine) && thread == 0)
        atomicMin(bad, block.first_tile + warp);
}

#endif
