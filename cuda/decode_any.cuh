/* decode_any.cuh - tiles of every mode but zstd and of every coding, every number read at run time:
 * what there is no fast kernel for, and the ends of short tiles. */
#ifndef WEIR_CUDA_DECODE_ANY_CUH
#define WEIR_CUDA_DECODE_ANY_CUH

#include "decode_made.cuh"
#include "decode_rows.cuh"
#include "xxh3.cuh"

/* ---- numbers of 1, 2, 4 or 8 bytes ---- */

static __device__ uint64_t load_number(const uint8_t *aligned, uint32_t n_bytes)
{
    if (n_bytes == 2)
        return __ldg((const uint16_t *)aligned);
    if (n_bytes == 4)
        return __ldg((const uint32_t *)aligned);
    if (n_bytes == 8)
        return __ldg((const unsigned long long *)aligned);
    return __ldg(aligned);
}

static __device__ uint64_t load_bytes(const uint8_t *p, uint32_t n_bytes)
{
    uint64_t v = 0;
    for (uint32_t i = 0; i < n_bytes; i++)
        v |= (uint64_t)p[i] << (8 * i);
    return v;
}

static __device__ void store_item(const struct item_place *to, uint32_t item, uint64_t v)
{
    const uint32_t n = to->part->item_bytes, count = to->part->count;
    uint8_t *p = to->out + item / count * to->elem_bytes + to->part->offset + item % count * n;
    if (n == 2 && (uintptr_t)p % 2 == 0)
        *(uint16_t *)p = (uint16_t)v;
    else if (n == 4 && (uintptr_t)p % 4 == 0)
        *(uint32_t *)p = (uint32_t)v;
    else if (n == 8 && (uintptr_t)p % 8 == 0)
        *(unsigned long long *)p = v;
    else
        for (uint32_t i = 0; i < n; i++)
            p[i] = (uint8_t)(v >> (8 * i));
}

/* ---- streams ---- */

/* Whether the raw bits that are of no item are zero, as far as this thread's lanes go. */
static __device__ bool padding_is_zero(const struct device_part *part, const uint8_t *raw,
                                       uint32_t n_items)
{
    const uint32_t n = part->item_bytes, width = 8 * n;
    const uint32_t n_rows = (n_items + WEIR_LANES - 1) / WEIR_LANES;
    const uint32_t n_numbers = (n_rows * part->raw_bits + width - 1) / width;
    uint64_t extra = 0;
    for (uint32_t lane = threadIdx.x % 32; lane < WEIR_LANES; lane += 32) {
        uint32_t used = (n_items + WEIR_LANES - 1 - lane) / WEIR_LANES * part->raw_bits;
        for (uint32_t j = used / width; j < n_numbers; j++) {
            uint64_t v = load_number(raw + (j * WEIR_LANES + lane) * n, n);
            extra |= j == used / width ? v >> used % width : v;
        }
    }
    return extra == 0;
}

/* Replaces items, but for the first `taken` patches, which have been put in.  false in some thread:
 * positions are not in order, or outside. */
static __device__ bool apply_patches(const struct item_place *to, const struct stream_view *v,
                                     uint32_t taken)
{
    const uint32_t n = to->part->item_bytes;
    bool fine = true;
    __syncwarp(); /* the items that are replaced were written by other threads */
    for (uint32_t i = threadIdx.x % 32; i < v->n_patches; i += 32) {
        const uint32_t *position = (const uint32_t *)v->positions + i;
        if (position[0] >= to->n_items || (i && position[0] <= position[-1]))
            fine = false;
        else if (i >= taken)
            store_item(to, position[0], load_bytes(v->patches + (uint64_t)i * n, n));
    }
    return fine;
}

/* What must hold after the last row, in all threads; the patches that are left are put in then. */
static __device__ __noinline__ bool finish_stream(const struct item_place *to,
                                                  const struct stream_view *v, uint32_t taken,
                                                  const uint32_t x[2], const struct word_ring *r)
{
    wait_for_all_but<0>();
    /* Voted on before the patches: all threads of a warp meet at each of its barriers. */
    bool fine = x[0] == LAST_STATE && x[1] == LAST_STATE && r->before + r->at == v->n_words &&
                padding_is_zero(to->part, v->raw, to->n_items);
    if (!__all_sync(~0u, fine))
        return false;
    return __all_sync(~0u, apply_patches(to, v, taken));
}

/* The ring at the start of a stream, and the states. */
static __device__ __forceinline__ void start_stream(const struct device_tile *tile,
                                                    const struct stream_view *v, uint8_t *ring,
                                                    uint32_t x[2], struct word_ring *r)
{
    const uint2 states = ((const uint2 *)(v->raw - HEAD_BYTES + 16))[threadIdx.x % 32];
    x[0] = states.x;
    x[1] = states.y;
    *r = word_ring{};
    r->ring = shared_at(ring);
    r->words = v->words;
    r->bytes = (uint32_t)(tile->payload + tile->payload_bytes - v->words);
    ring_start(r);
}

/* The stream of one part; *at is where the one before ended, then where this one does. */
static __device__ bool decode_part(const struct device_tile *tile, const struct item_place *to,
                                   const uint32_t *table, uint8_t *ring, uint32_t *at)
{
    const uint32_t start = (*at + STREAM_ALIGN - 1) / STREAM_ALIGN * STREAM_ALIGN;
    const uint32_t gap_at = *at + threadIdx.x % 32;
    if (start > tile->payload_bytes ||
        !__all_sync(~0u, gap_at >= start || tile->payload[gap_at] == 0))
        return false;
    struct stream_view v;
    if (!view_stream(tile->payload + start, tile->payload_bytes - start, to->part->item_bytes,
                     to->part->raw_bits, to->n_items, &v))
        return false;
    uint32_t x[2];
    struct word_ring r;
    start_stream(tile, &v, ring, x, &r);
    decode_rows(shared_at(table), to, &v, 0, x, &r);
    *at = start + v.bytes;
    return finish_stream(to, &v, 0, x, &r);
}

/* ---- the other modes ---- */

static __device__ bool copy_raw(const struct device_tile *tile)
{
    const uint32_t n = tile->plain_bytes, n_whole = n / 16;
    if (tile->payload_bytes != n)
        return false;
    for (uint32_t i = threadIdx.x % 32; i < n_whole; i += 32)
        ((uint4 *)tile->out)[i] = __ldcs((const uint4 *)tile->payload + i);
    for (uint32_t i = n_whole * 16 + threadIdx.x % 32; i < n; i += 32)
        tile->out[i] = tile->payload[i];
    return true;
}

static __device__ bool repeat_element(const struct device_tile *tile, uint32_t elem_bytes)
{
    const uint32_t n = tile->plain_bytes;
    if (tile->payload_bytes != elem_bytes || n % elem_bytes)
        return false;
    for (uint32_t i = 16 * (threadIdx.x % 32); i < n; i += 16 * 32) {
        uint32_t from = i % elem_bytes, word[4] = {0, 0, 0, 0};
        for (uint32_t k = 0; k < 16; k++) {
            word[k / 4] |= (uint32_t)tile->payload[from] << (8 * (k % 4));
            from = from + 1 == elem_bytes ? 0 : from + 1;
        }
        if (i + 16 <= n)
            *(uint4 *)(tile->out + i) = make_uint4(word[0], word[1], word[2], word[3]);
        else
            for (uint32_t k = 0; i + k < n; k++)
                tile->out[i + k] = (uint8_t)(word[k / 4] >> (8 * (k % 4)));
    }
    return true;
}

/* ---- a block ---- */

/* Every thread of the block comes here, whether its warp has a tile (else NULL) or not: the tables
 * are loaded together.  Whether the tile was sound. */
static __device__ __noinline__ bool decode_any(const struct device_coding *coding,
                                               const struct device_tile *tile, uint32_t *table,
                                               uint8_t *ring)
{
    const uint32_t n_parts = coding ? coding->n_parts : 0;
    const uint32_t elem_bytes = coding ? coding->elem_bytes : 1;
    bool fine = tile && tile->payload_bytes && tile->payload_bytes <= tile->plain_bytes;
    const struct device_transform transform = coding ? coding->transform : device_transform{};
    const bool is_made = fine && tile->mode == WEIR_TILE_MADE;
    const bool is_split = is_made || (fine && tile->mode == WEIR_TILE_SPLIT);
    const uint32_t item_bytes = is_made ? transform.item_bytes : elem_bytes;
    const uint32_t n = tile ? tile->plain_bytes / elem_bytes : 0;
    struct made_view made = {};
    if (is_split)
        fine = n_parts && tile->plain_bytes % elem_bytes == 0 &&
               is_made == (transform.kind == WEIR_TRANSFORM_SCALE) &&
               (!is_made || view_made(transform, tile, elem_bytes, n, &made));
    else if (fine && tile->mode == WEIR_TILE_RAW)
        fine = copy_raw(tile);
    else if (fine)
        fine = tile->mode == WEIR_TILE_CONST && repeat_element(tile, elem_bytes);
    uint32_t at = made.bytes;
    for (uint32_t i = 0; i < n_parts; i++) {
        const struct device_part *part = &coding->part[i];
        __syncthreads(); /* all warps are done with the last table */
        for (uint32_t k = threadIdx.x; k < N_SLOTS / 4; k += blockDim.x)
            ((uint4 *)table)[k] = ((const uint4 *)part->table)[k];
        __syncthreads();
        if (!fine || !is_split)
            continue;
        const struct item_place to = {part, tile->out + (elem_bytes - item_bytes) * n, item_bytes,
                                      n * part->count};
        fine = decode_part(tile, &to, table, ring, &at);
    }
    if (is_split && at != tile->payload_bytes)
        fine = false;
    if (!fine)
        return false;
    if (is_made)
        make_elements(transform, made, tile->out, elem_bytes, n);
    __syncwarp(); /* what other threads wrote is hashed */
    return xxh3_of(tile->out, tile->plain_bytes) == tile->xxh3;
}

#endif
