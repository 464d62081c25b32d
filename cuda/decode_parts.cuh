/* decode_parts.cuh - what every decoding kernel is made of: what the host tells it, a stream's
 * pieces, its words, one row of symbols (docs/format.md, 6 and 7).
 *
 * A warp decodes a tile.  Thread t of it keeps the states of lanes 2t and 2t + 1, whose items are
 * neighbours.
 *
 * Words come through a ring in shared memory filled with asynchronous copies two to three chunks
 * ahead; read straight from device memory each of the 1,024 rows waited for DRAM (0.40 ms a tile
 * however few tiles).  A row of 64 items takes at most 128 bytes of words, eight rows one chunk. */
#ifndef WEIR_CUDA_DECODE_PARTS_CUH
#define WEIR_CUDA_DECODE_PARTS_CUH

#include <stdint.h>

#include "codec/tile.h"

enum {
    N_SLOTS = 1 << WEIR_PROB_BITS,
    TILES_PER_BLOCK = 4, /* warps; 2 and 8 are no faster (docs/benchmarks.md) */
    ROWS_AT_ONCE = 8,    /* between two looks at the ring of words */
    CHUNK_BYTES = 2 * WEIR_LANES * ROWS_AT_ONCE, /* the most that they take */
    COPY_BYTES = 512,                            /* of a warp, 16 a thread */
    CHUNK_WORDS = CHUNK_BYTES / 2,
    RING_CHUNKS = 4,
    RING_BYTES = (RING_CHUNKS + 1) * CHUNK_BYTES, /* the first chunk once more behind the last */
    HEAD_BYTES = 16 + 4 * WEIR_LANES,             /* of a stream */
    STREAM_ALIGN = 16,
    LAST_STATE = 65536, /* also the least: a state below it takes in a word */
    ENTRY_FREQUENCY = 20,
    ENTRY_INDEX = 12,
};

/* ---- what the host tells ---- */

struct device_part {
    /* By slot: frequency << ENTRY_FREQUENCY | index << ENTRY_INDEX | slot - the index's first. */
    const uint32_t *table;
    uint32_t base;
    uint16_t offset, count;
    uint8_t item_bytes, raw_bits, drop_bits;
    bool sign_first;
};

/* Of kind SCALE, or none; as in codec/tile.h. */
struct device_transform {
    uint32_t row_elements, block_rows, block_cols;
    uint32_t blocks_in_row;
    uint8_t kind, number, made, item_bytes;
};

struct device_coding {
    uint16_t elem_bytes;
    uint8_t n_parts;
    struct device_transform transform;
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

/* The words ahead, in shared memory.  Behind the ring's last chunk its first lies once more, so
 * that the words of eight rows are never in two pieces. */
struct word_ring {
    uint32_t ring;        /* where in shared memory: RING_BYTES, this warp's */
    uint32_t window;      /* shared: the next word when ring_advance() was called last */
    const uint8_t *words; /* device */
    uint32_t bytes;       /* from `words` to the end of the payload */
    uint32_t chunk;       /* the one that the next word was in then */
    uint32_t before;      /* words in front of `window` */
    uint32_t at;          /* next word, counted from `window`; the same in all threads */
};

/* Where in shared memory it is.  The compiler would find that out anew in the loops, and wait. */
static __device__ __forceinline__ uint32_t shared_at(const void *shared)
{
    uint32_t at = (uint32_t)__cvta_generic_to_shared(shared);
    asm volatile("" : "+r"(at));
    return at;
}

/* Queues the copy of 16 bytes, or of none: then zeros arrive. */
static __device__ void copy_16_async(uint32_t to, const void *global, bool really)
{
    const uint32_t n = really ? 16 : 0;
    asm volatile("cp.async.cg.shared.global [%0], [%1], 16, %2;" ::"r"(to), "l"(global), "r"(n)
                 : "memory");
}

static __device__ void end_group(void)
{
    asm volatile("cp.async.commit_group;" ::: "memory");
}

template <int PENDING> static __device__ void wait_for_all_but(void)
{
    asm volatile("cp.async.wait_group %0;" ::"n"(PENDING) : "memory");
}

/* Queues the copy of one chunk, a group; what lies past the payload arrives as zeros. */
static __device__ __forceinline__ void ring_fetch(const struct word_ring *r, uint32_t chunk)
{
#pragma unroll
    for (uint32_t i = 0; i < CHUNK_BYTES; i += COPY_BYTES) {
        const uint32_t from = chunk * CHUNK_BYTES + i + threadIdx.x % 32 * 16;
        const bool inside = from < r->bytes;
        const uint8_t *words = r->words + (inside ? from : 0);
        const uint32_t to = r->ring + from % (RING_CHUNKS * CHUNK_BYTES);
        copy_16_async(to, words, inside);
        if (chunk % RING_CHUNKS == 0)
            copy_16_async(to + RING_CHUNKS * CHUNK_BYTES, words, inside);
    }
    end_group();
}

static __device__ void ring_start(struct word_ring *r)
{
    for (uint32_t chunk = 0; chunk < RING_CHUNKS; chunk++)
        ring_fetch(r, chunk);
    wait_for_all_but<2>();
    __syncwarp();
}

/* Before at most ROWS_AT_ONCE rows: the chunk that the next word is in and the one behind it are
 * there afterwards, and lie in one piece. */
static __device__ __forceinline__ void ring_advance(struct word_ring *r)
{
    r->before += r->at;
    r->at = 0;
    r->window = r->ring + 2 * (r->before % (RING_CHUNKS * CHUNK_WORDS));
    if (r->before / CHUNK_WORDS == r->chunk)
        return;
    __syncwarp(); /* all threads are done with the chunk that is overwritten */
    r->chunk++;
    ring_fetch(r, r->chunk + RING_CHUNKS - 1);
    wait_for_all_but<2>();
    __syncwarp();
}

/* ---- one row: two states a thread ---- */

/* Returns the two table entries.  table: its address in shared memory; below: this thread's lower
 * neighbours, a bit each.
 *
 * Written out because all of it but the first and the last lines is one chain, which every row
 * waits for: what the compiler makes of it is a fifth longer (0.115 ms a tile). */
static __device__ __forceinline__ uint2 decode_row(uint32_t table, uint32_t below, uint32_t x[2],
                                                   struct word_ring *r)
{
    uint2 e;
    asm volatile("{\n"
                 ".reg .pred p, q;\n"
                 ".reg .b32 i, j, f, g, h, k, n, m, a, b, v, s, t;\n"
                 "and.b32 i, %0, 4095;\n"
                 "and.b32 j, %1, 4095;\n"
                 "mad.lo.u32 i, i, 4, %5;\n"
                 "mad.lo.u32 j, j, 4, %5;\n"
                 "ld.shared.u32 %2, [i];\n"
                 "ld.shared.u32 %3, [j];\n"
                 "shr.u32 h, %0, 12;\n"
                 "shr.u32 k, %1, 12;\n"
                 "shr.u32 f, %2, 20;\n"
                 "shr.u32 g, %3, 20;\n"
                 "and.b32 i, %2, 4095;\n"
                 "and.b32 j, %3, 4095;\n"
                 "mad.lo.u32 %0, f, h, i;\n"
                 "mad.lo.u32 %1, g, k, j;\n"
                 "setp.lt.u32 p, %0, 65536;\n"
                 "setp.lt.u32 q, %1, 65536;\n"
                 "vote.sync.ballot.b32 n, p, 0xffffffff;\n"
                 "vote.sync.ballot.b32 m, q, 0xffffffff;\n"
                 "add.u32 v, %6, 2;\n"     /* the second lane's word is one further if ... */
                 "selp.b32 v, v, %6, p;\n" /* ... the first one takes one */
                 "and.b32 n, n, %7;\n"
                 "and.b32 m, m, %7;\n"
                 "popc.b32 n, n;\n"
                 "popc.b32 m, m;\n"
                 "add.u32 n, n, m;\n"
                 "add.u32 n, n, %4;\n"
                 "mad.lo.u32 a, n, 2, %6;\n"
                 "mad.lo.u32 b, n, 2, v;\n"
                 "ld.shared.u16 s, [a];\n"
                 "ld.shared.u16 t, [b];\n"
                 "@p prmt.b32 %0, %0, s, 0x1054;\n" /* x << 16 | word */
                 "@q prmt.b32 %1, %1, t, 0x1054;\n"
                 "@p add.u32 n, n, 1;\n"
                 "@q add.u32 n, n, 1;\n"
                 "shfl.sync.idx.b32 %4, n, 31, 31, 0xffffffff;\n"
                 "}"
                 : "+r"(x[0]), "+r"(x[1]), "=&r"(e.x), "=&r"(e.y), "+r"(r->at)
                 : "r"(table), "r"(r->window), "r"(below));
    return e;
}

static __device__ __forceinline__ uint32_t index_of(uint32_t entry)
{
    return entry >> ENTRY_INDEX & 0xff;
}

#endif
