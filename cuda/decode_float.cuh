/* decode_float.cuh - the fast way, for floats of 16 bits: an element is one item, nothing is
 * dropped, the number of raw bits is known when it is compiled.
 *
 * Raw bits of two neighbours come in one 32-bit load and leave in one 32-bit store, 128 bytes a
 * warp and row.  Eight rows, a block of XXH3, stay in registers until patches have been put in
 * and they have been stored and added to the checksum, so that no byte is read again.
 *
 * The loop is kept short, and 60 instructions a row; one warp takes four cycles for each of them.
 */
#ifndef WEIR_CUDA_DECODE_FLOAT_CUH
#define WEIR_CUDA_DECODE_FLOAT_CUH

#include "decode_any.cuh"

enum {
    BLOCK_ITEMS = XXH3_BLOCK / 2, /* of ROWS_AT_ONCE rows */
    N_PAIRS = ROWS_AT_ONCE / 2,
};

/* Blocks until the raw bits begin with a whole number again. */
template <int R> struct float_step {
    static const int N_BLOCKS = R % 2 ? 2 : 1, N_WORDS = R * N_BLOCKS / 2;
};

/* Two items, 16 bits each, of their entries and of their raw bits, which are in the halves of `raw`
 * at bit 0, with anything above.  base: as base_for() makes it. */
template <int R, bool ZERO>
static __device__ __forceinline__ uint32_t join_floats(uint2 e, uint32_t base, uint32_t raw)
{
    const uint32_t mantissa = ((1u << (R - 1)) - 1) * 0x00010001u;
    const uint32_t j =
        __byte_perm(e.x >> (ENTRY_INDEX - 8), e.y >> (ENTRY_INDEX - 8), 0x5511) & 0x00ff00ff;
    if (ZERO) /* index 0 is symbol 0 whatever the base */
        base *= (j + 0x00ff00ff) >> 8 & 0x00010001;
    return (raw << 15 & 0x80008000u) | ((j << (R - 1)) + base) | (raw >> 1 & mantissa);
}

/* The symbols' base where join_floats() wants it. */
template <int R, bool ZERO> static __device__ uint32_t base_for(uint32_t base)
{
    return (ZERO ? base : base * 0x00010001u) << (R - 1);
}

/* Row `row` of a step's raw bits. */
template <int R>
static __device__ __forceinline__ uint32_t raw_of_row(const uint32_t (&w)[float_step<R>::N_WORDS],
                                                      int row)
{
    const int j = row * R / 16, shift = row * R % 16;
    const uint32_t bits = w[j] >> shift;
    if (shift + R <= 16)
        return bits;
    const uint32_t low = ((1u << (16 - shift)) - 1) * 0x00010001u;
    return (bits & low) | (w[j + 1] << (16 - shift) & ~low);
}

/* ---- patches, in the order of the rows ---- */

struct patch_queue {
    const uint32_t *positions; /* all of them, n */
    const uint16_t *items;
    uint32_t n;
    uint32_t taken;          /* patches that have been put in */
    uint32_t next;           /* position of the next one, or UINT32_MAX: there is none */
    uint32_t position, item; /* a thread's own of the 32 that `taken` is among */
};

/* After `taken` has grown.  What is out of order is found in the end, by apply_patches(). */
static __device__ __forceinline__ void patches_look(struct patch_queue *q)
{
    if (q->taken >= q->n) {
        q->next = UINT32_MAX;
        return;
    }
    const uint32_t mine = q->taken + threadIdx.x % 32;
    if (q->taken % 32 == 0 && mine < q->n) {
        q->position = q->positions[mine];
        q->item = q->items[mine];
    }
    q->next = __shfl_sync(~0u, q->position, q->taken % 32);
}

/* Those of the rows that begin with item `first`, which are in `w`. */
static __device__ __forceinline__ void patches_apply(struct patch_queue *q, uint32_t first,
                                                     uint32_t (&w)[ROWS_AT_ONCE])
{
    while (q->next < first + BLOCK_ITEMS) {
        const uint32_t at = q->next - first, item = __shfl_sync(~0u, q->item, q->taken % 32);
        /* Which bytes of the row's word and of the item make the new word, in one of its threads.
         */
        const bool mine = at / 2 % 32 == threadIdx.x % 32;
        const uint32_t put = at % 2 ? 0x5410 : 0x3254, leave = 0x3210;
#pragma unroll
        for (int row = 0; row < ROWS_AT_ONCE; row++)
            w[row] = __byte_perm(w[row], item, mine && at / WEIR_LANES == row ? put : leave);
        q->taken++;
        patches_look(q);
    }
}

/* ---- the checksum ---- */

/* Of pairs of rows, an even thread has the first row's words (8 bytes: its own items and its
 * neighbour's), an odd one the second's.  Both have sum thread / 2 % 8.  A product does not care
 * which of its factors is the word's lower half, so it is the keys that are turned. */
struct float_hash {
    uint64_t sum;
    uint64_t key[N_PAIRS]; /* the half for a thread's own items below, that for its neighbour's */
    uint64_t last_key;     /* instead of the last one in the last block */
    uint64_t scramble;
};

static __device__ __forceinline__ uint64_t turned(uint64_t key)
{
    return threadIdx.x % 2 ? key << 32 | key >> 32 : key;
}

static __device__ __forceinline__ void hash_start(struct float_hash *h)
{
    const uint32_t thread = threadIdx.x % 32, lane = thread / 2 % 8;
    h->sum = xxh3_first_sum(lane);
    h->scramble = xxh3_secret[XXH3_SCRAMBLE_WORD + lane];
    for (uint32_t pair = 0; pair < N_PAIRS; pair++) {
        const uint32_t row = 2 * pair + thread % 2; /* of two stripes */
        h->key[pair] = turned(xxh3_secret[2 * row + thread / 16 + lane]);
    }
    /* The very last stripe of a tile of whole blocks has another part of the secret. */
    const bool is_last = thread >= 16 && thread % 2;
    h->last_key =
        is_last ? turned(xxh3_secret_at(XXH3_LAST_STRIPE + 8 * lane)) : h->key[N_PAIRS - 1];
}

/* A block.  is_last: of a tile of whole blocks. */
static __device__ __forceinline__ void hash_block(struct float_hash *h,
                                                  const uint32_t (&w)[ROWS_AT_ONCE], bool is_last)
{
    const bool is_odd = threadIdx.x % 2;
    uint64_t sum = 0, own_sum = 0, other_sum = 0;
#pragma unroll
    for (int pair = 0; pair < N_PAIRS; pair++) {
        const uint32_t first = w[2 * pair], second = w[2 * pair + 1];
        const uint32_t own = is_odd ? second : first;
        const uint32_t other = __shfl_xor_sync(~0u, is_odd ? first : second, 1);
        const uint64_t key = pair + 1 == N_PAIRS && is_last ? h->last_key : h->key[pair];
        sum += (uint64_t)(own ^ (uint32_t)key) * (other ^ (uint32_t)(key >> 32));
        own_sum += own;
        other_sum += other;
    }
    const uint64_t words = is_odd ? other_sum + (own_sum << 32) : own_sum + (other_sum << 32);
    sum += __shfl_xor_sync(~0u, words, 2); /* a word counts for the sum beside its own */
    sum += __shfl_xor_sync(~0u, sum, 1);
    sum += h->sum + __shfl_xor_sync(~0u, sum, 16);
    h->sum = is_last ? sum : xxh3_scramble(sum, h->scramble);
}

/* The hash of a tile; the sums are of the first `done` bytes of it. */
static __device__ uint64_t hash_rest(uint64_t sum, const struct device_tile *tile, uint32_t done)
{
    const uint32_t q = threadIdx.x % 4;
    if (done == 0)
        return xxh3_of(tile->out, tile->plain_bytes);
    const struct xxh3_sums s = {__shfl_sync(~0u, sum, 4 * q), __shfl_sync(~0u, sum, 4 * q + 2)};
    if (done == tile->plain_bytes)
        return xxh3_merge(s.even, s.odd, done);
    return xxh3_rest(s, tile->out, done, tile->plain_bytes);
}

/* ---- rows ---- */

/* What a warp knows of its tile. */
struct float_tile {
    uint32_t table; /* where in shared memory */
    uint32_t base, below;
    uint32_t n_items;
    uint32_t *out; /* this thread's place in the next row */
    uint32_t x[2];
    struct word_ring ring;
    struct patch_queue patches;
    struct float_hash hash;
};

/* Block HALF of a step, from item `first` on. */
template <int R, bool ZERO, int HALF>
static __device__ __forceinline__ void
decode_block(struct float_tile *t, const uint32_t (&raw)[float_step<R>::N_WORDS], uint32_t first)
{
    uint32_t w[ROWS_AT_ONCE];
    ring_advance(&t->ring);
#pragma unroll
    for (int row = 0; row < ROWS_AT_ONCE; row++) {
        const uint2 e = decode_row(t->table, t->below, t->x, &t->ring);
        w[row] = join_floats<R, ZERO>(e, t->base, raw_of_row<R>(raw, HALF * ROWS_AT_ONCE + row));
    }
    if (t->patches.next < first + BLOCK_ITEMS)
        patches_apply(&t->patches, first, w);
#pragma unroll
    for (int row = 0; row < ROWS_AT_ONCE; row++)
        t->out[WEIR_LANES / 2 * row] = w[row];
    t->out += WEIR_LANES / 2 * ROWS_AT_ONCE;
    hash_block(&t->hash, w, first + BLOCK_ITEMS == t->n_items);
}

/* Whole steps; returns the first row that is left.  Raw bits are loaded a step ahead of their use.
 */
template <int R, bool ZERO>
static __device__ __forceinline__ uint32_t decode_steps(struct float_tile *t, const uint8_t *bits)
{
    typedef struct float_step<R> step;
    const uint32_t step_items = BLOCK_ITEMS * step::N_BLOCKS;
    const uint32_t end = t->n_items / step_items * step_items;
    const uint32_t *from = (const uint32_t *)bits + threadIdx.x % 32;
    uint32_t next[step::N_WORDS];
#pragma unroll
    for (int j = 0; j < step::N_WORDS; j++)
        next[j] = end ? __ldcs(from + WEIR_LANES / 2 * j) : 0;
#pragma unroll 1
    for (uint32_t first = 0; first < end; first += step_items) {
        uint32_t raw[step::N_WORDS];
        from += WEIR_LANES / 2 * step::N_WORDS;
        const bool more = first + step_items < end;
#pragma unroll
        for (int j = 0; j < step::N_WORDS; j++) {
            raw[j] = next[j];
            next[j] = more ? __ldcs(from + WEIR_LANES / 2 * j) : 0;
        }
        decode_block<R, ZERO, 0>(t, raw, first);
        if (step::N_BLOCKS == 2)
            decode_block<R, ZERO, step::N_BLOCKS - 1>(t, raw, first + BLOCK_ITEMS);
    }
    return end / WEIR_LANES;
}

/* What is left of a tile when its whole steps are done. */
struct float_end {
    struct item_place to;
    struct stream_view v;
    uint32_t table, row, taken; /* row: the first that is left */
    uint32_t x[2];
    struct word_ring ring;
    uint64_t sum;
};

/* Takes everything as a copy: what has its address taken does not stay in registers. */
static __device__ __noinline__ bool finish_float(const struct device_tile *tile,
                                                 struct float_end end)
{
    if (end.row * WEIR_LANES < end.to.n_items)
        decode_rows_of<uint16_t>(end.table, &end.to, &end.v, end.row, end.x, &end.ring);
    if (!finish_stream(&end.to, &end.v, end.taken, end.x, &end.ring))
        return false;
    __syncwarp(); /* what other threads wrote is hashed */
    return hash_rest(end.sum, tile, end.row * WEIR_LANES * 2) == tile->xxh3;
}

/* As decode_any(). */
template <int R, bool ZERO>
static __device__ __forceinline__ bool decode_float(const struct device_block *block,
                                                    const struct device_tile *tile, uint32_t *table,
                                                    uint8_t *ring)
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
    const uint32_t thread = threadIdx.x % 32;
    struct float_tile t;
    t.table = shared_at(table);
    t.base = base_for<R, ZERO>(block->base);
    t.below = (1u << thread) - 1;
    t.n_items = to.n_items;
    t.out = (uint32_t *)tile->out + thread;
    t.patches = patch_queue{
        (const uint32_t *)v.positions, (const uint16_t *)v.patches, v.n_patches, 0, 0, 0, 0};
    patches_look(&t.patches);
    hash_start(&t.hash);
    start_stream(tile, &v, ring, t.x, &t.ring);
    const uint32_t row = decode_steps<R, ZERO>(&t, v.raw);
    return finish_float(
        tile,
        float_end{to, v, t.table, row, t.patches.taken, {t.x[0], t.x[1]}, t.ring, t.hash.sum});
}

#endif
