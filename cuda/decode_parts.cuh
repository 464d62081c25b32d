/* decode_parts.cuh - what every decoding kernel is made of: what the host tells it, a stream's
 * pieces, its words, one row of symbols (docs/format.md, 6 and 7).
 *
 * A warp decodes a tile.  Thread t of it keeps the states of lanes 2t and 2t + 1, whose items are
 * neighbours.
 *
 * Words come through a ring in shared memory filled with asynchronous copies two to three chunks
 * ahead; read straight from device memory each of the 1,024 rows waited for DRAM (0.40 ms a tile
 * however few tiles).  A row of 64 items takes at most 128 bytes of words, four rows one chunk. */
#ifndef WEIR_CUDA_DECODE_PARTS_CUH
#define WEIR_CUDA_DECODE_PARTS_CUH

#include <stdint.h>

#include "codec/tile.h"

enum {
    N_SLOTS = 1 << WEIR_PROB_BITS,
    TILES_PER_BLOCK = 4, /* warps; 2 and 8 are no faster (docs/benchmarks.md) */
    CHUNK_BYTES = 512,   /* one 16-byte copy a thread */
    RING_BYTES = 4 * CHUNK_BYTES,
    HEAD_BYTES = 16 + 4 * WEIR_LANES, /* of a stream */
    STREAM_ALIGN = 16,
    LAST_STATE = 65536,
};

/* ---- what the host tells ---- */

struct device_part {
    const uint32_t *table; /* by slot: index << 24 | frequency << 12 | slot - the index's first */
    uint32_t base;
    uint16_t offset, count;
    uint8_t item_bytes, raw_bits, drop_bits;
    bool sign_first;
};

struct device_coding {
    uint16_t elem_bytes;
    uint8_t n_parts;
    struct device_part part[WEIR_MAX_PARTS];
};

struct device_tile {
    const uint8_t *payload;
    uint8_t *out;
    uint64_t xxh3;
    uint32_t payload_bytes, plain_bytes;
    uint32_t mode;
};

/* A block's work: neighbours with one coding, by one way of decoding. */
struct device_block {
    const struct device_coding *coding; /* NULL: opaque */
    const uint32_t *table;              /* of the first part, as is `base` */
    uint32_t base;
    uint32_t first_tile; /* the caller's number */
    uint16_t n_tiles;    /* 0: nothing to do */
    uint16_t way;
    struct device_tile tile[TILES_PER_BLOCK];
};

/* ---- a stream's pieces ---- */

/* What the host checks on the CPU is checked here. */
struct stream_view {
    const uint8_t *raw, *words, *positions, *patches;
    uint32_t n_words, n_patches;
    uint32_t bytes; /* of all of it, without padding to 16 */
};

/* The stream at the head of bytes[0 .. n_bytes), aligned to 16, of n_items items.  false: broken.
 */
static __device__ bool view_stream(const uint8_t *bytes, uint32_t n_bytes, uint32_t item_bytes,
                                   uint32_t raw_bits, uint32_t n_items, struct stream_view *v)
{
    const uint32_t width = 8 * item_bytes, n_rows = (n_items + WEIR_LANES - 1) / WEIR_LANES;
    const uint32_t head =
        HEAD_BYTES + (n_rows * raw_bits + width - 1) / width * (WEIR_LANES * item_bytes);
    if (n_bytes < head)
        return false;
    const uint4 first = *(const uint4 *)bytes;
    const uint64_t word_bytes = 2 * (uint64_t)first.x, gap = word_bytes % 4;
    const uint64_t whole = head + word_bytes + gap + (4 + item_bytes) * (uint64_t)first.y;
    if (first.z || first.w || first.y > n_items || whole > n_bytes)
        return false;
    v->n_words = first.x;
    v->n_patches = first.y;
    v->raw = bytes + HEAD_BYTES;
    v->words = bytes + head;
    v->positions = v->words + word_bytes + gap;
    v->patches = v->positions + 4 * (uint64_t)first.y;
    v->bytes = (uint32_t)whole;
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

/* Returns the two table entries, whose top bytes are the indices.  below: this thread's lower
 * neighbours, a bit each. */
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

#endif
