/* store_bytes.h - a tiny store written by hand from docs/format.md, 2 to 4.
 *
 * 33 opaque objects of one tile each make two extents: 32 raw tiles and a constant one.  A patch
 * can be put in before or after the SHA-256 that covers it is taken. */
#ifndef WEIR_TESTS_STORE_BYTES_H
#define WEIR_TESTS_STORE_BYTES_H

#include <openssl/sha.h>
#include <stdbool.h>

#define XXH_INLINE_ALL
#include <xxhash.h>

#include "index_bytes.h"

enum {
    TINY_TILES = 33,
    TINY_CONST = 32, /* the constant tile */
    TINY_CONST_BYTES = 100,
    TINY_EXTENT_BYTES = 32 * (16 + 32),     /* of extent 0 */
    TINY_EXTENTS_AT = 16 + TINY_TILES * 12, /* in the plain index */
    TINY_ENTRIES_AT = TINY_EXTENTS_AT + 2 * 36,
};

enum stage {
    NOWHERE,
    IN_EXTENT, /* extent 0, before its SHA-256 */
    IN_INDEX,  /* the plain index, before it is compressed */
    IN_FRAME,  /* the stored index, before its SHA-256 */
    IN_STORE,  /* the finished store */
};

struct patch {
    enum stage stage;
    long at; /* negative: from the end */
    size_t n;
    uint64_t value;
};

/* How the index is compressed. */
typedef void frame_fn(struct bytes *out, const struct bytes *plain);

static inline size_t tiny_tile_bytes(unsigned tile)
{
    return tile == TINY_CONST ? TINY_CONST_BYTES : 17 + tile % 16;
}

static inline uint8_t tiny_byte(unsigned tile, size_t i)
{
    return (uint8_t)(tile == TINY_CONST ? 0x55 : 7 * tile + 3 * i + 1);
}

static inline void apply(const struct patch *patch, enum stage stage, struct bytes *b, size_t from)
{
    if (patch->stage != stage)
        return;
    size_t at = patch->at < 0 ? b->n - (size_t)-patch->at : from + (size_t)patch->at;
    bytes_set(b->at + at, patch->value, patch->n);
}

static inline void pad(struct bytes *b, size_t multiple)
{
    bytes_zeros(b, (multiple - b->n % multiple) % multiple);
}

/* One zstd frame of one raw block; n is 256 to 65791. */
static inline void raw_frame(struct bytes *out, const struct bytes *plain)
{
    bytes_number(out, 0xfd2fb528, 4);
    bytes_number(out, 0x60, 1); /* single segment, two bytes of content size */
    bytes_number(out, plain->n - 256, 2);
    bytes_number(out, plain->n << 3 | 1, 3); /* the last block, raw */
    bytes_put(out, plain->at, plain->n);
}

static inline void put_header(struct bytes *b)
{
    bytes_put(b, "\x89weir\r\n\x1a", 8);
    bytes_number(b, 1, 2);
    pad(b, 4096);
}

/* The head of a tile whose plain bytes are `plain`. */
static inline void put_head(struct bytes *b, const uint8_t *plain, size_t n, bool is_const)
{
    bytes_number(b, XXH3_64bits(plain, n), 8);
    bytes_number(b, is_const ? 1 : n, 4);
    bytes_number(b, is_const, 1);
    bytes_zeros(b, 3);
}

static inline void put_tiny_extent(struct bytes *b, unsigned first, unsigned n_tiles)
{
    uint8_t plain[TINY_TILES][TINY_CONST_BYTES];
    for (unsigned tile = first; tile < first + n_tiles; tile++) {
        for (size_t i = 0; i < tiny_tile_bytes(tile); i++)
            plain[tile][i] = tiny_byte(tile, i);
        put_head(b, plain[tile], tiny_tile_bytes(tile), tile == TINY_CONST);
    }
    for (unsigned tile = first; tile < first + n_tiles; tile++) {
        bytes_put(b, plain[tile], tile == TINY_CONST ? 1 : tiny_tile_bytes(tile));
        pad(b, 16);
    }
}

static inline void put_tiny_entries(struct bytes *b)
{
    put_entry(b, 1, 0755, "d");
    uint64_t size = 0;
    for (unsigned tile = 0; tile < TINY_CONST; tile++)
        size += tiny_tile_bytes(tile);
    put_file(b, "d/f", size, TINY_CONST);
    for (unsigned tile = 0; tile < TINY_CONST; tile++)
        put_segment(b, tiny_tile_bytes(tile), tile, NULL);
    put_entry(b, 2, 0777, "d/l");
    bytes_text(b, "../g", 2);
    put_file(b, "g", TINY_CONST_BYTES, 1);
    put_segment(b, TINY_CONST_BYTES, TINY_CONST, NULL);
}

/* The index, compressed by `frame`, and the trailer behind what is in `b`. */
static inline void finish_store(struct bytes *b, struct bytes *index, frame_fn *frame,
                                const struct patch *patch)
{
    apply(patch, IN_INDEX, index, 0);
    size_t at = b->n;
    frame(b, index);
    apply(patch, IN_FRAME, b, at);
    size_t stored = b->n - at;
    bytes_number(b, at, 8);
    bytes_number(b, stored, 4);
    bytes_number(b, index->n, 4);
    uint8_t digest[32];
    SHA256(b->at + at, stored, digest);
    bytes_put(b, digest, 32);
    bytes_number(b, 1, 2);
    bytes_zeros(b, 6);
    bytes_put(b, "weirend\n", 8);
    bytes_free(index);
    apply(patch, IN_STORE, b, 0);
}

static inline struct bytes tiny_store(frame_fn *frame, const struct patch *patch)
{
    struct bytes b = {0}, index = {0};
    put_counts(&index, 0, TINY_TILES, 2, 4);
    for (unsigned tile = 0; tile < TINY_TILES; tile++) {
        bytes_number(&index, tiny_tile_bytes(tile), 8);
        bytes_number(&index, NONE, 4);
    }
    put_header(&b);
    for (unsigned extent = 0; extent < 2; extent++) {
        pad(&b, 4096);
        size_t at = b.n;
        put_tiny_extent(&b, 32 * extent, extent ? 1 : 32);
        if (extent == 0)
            apply(patch, IN_EXTENT, &b, at);
        uint8_t sha256[32];
        SHA256(b.at + at, b.n - at, sha256);
        bytes_number(&index, b.n - at, 4);
        bytes_put(&index, sha256, 32);
    }
    put_tiny_entries(&index);
    finish_store(&b, &index, frame, patch);
    return b;
}

#endif
