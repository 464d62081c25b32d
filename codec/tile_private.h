/* tile_private.h - what tile.c and tile_made.c share. */
#ifndef WEIR_CODEC_TILE_PRIVATE_H
#define WEIR_CODEC_TILE_PRIVATE_H

#include <zstd.h>

#include "stream.h"
#include "transform.h"

enum { TILE_PAD = 16 }; /* streams of one tile start at multiples of it */

/* Tables are kept for the next tile, which mostly has the same coding.  Compared by value: a coding
 * that is freed and another that is made at its address must not pass for each other. */
struct coding_copy {
    size_t bytes; /* 0: none yet */
    uint8_t coding[sizeof(struct weir_coding) + WEIR_MAX_PARTS * sizeof(struct weir_part)];
};

struct weir_tile_encoder {
    struct coding_copy used; /* whose tables these are */
    struct item_code code[WEIR_MAX_PARTS];
    struct rans_encode_table table[WEIR_MAX_PARTS];
    ZSTD_CCtx *zstd;
    struct stream_encoder stream;
    uint8_t *made; /* the items of a difference, WEIR_TILE_BYTES; NULL until there was one */
    uint8_t items[WEIR_TILE_BYTES];
};

struct weir_tile_decoder {
    const struct weir_kernels *kernels;
    struct coding_copy used; /* whose tables these are */
    int n_tables;
    struct rans_decode_table *table; /* n_tables of them */
    struct item_code code[WEIR_MAX_PARTS];
    ZSTD_DCtx *zstd;
    uint8_t *made; /* the items of a made tile, WEIR_TILE_BYTES; NULL until there was one */
    uint8_t items[WEIR_TILE_BYTES];
};

static inline size_t tile_padded(size_t n)
{
    return (n + TILE_PAD - 1) / TILE_PAD * TILE_PAD;
}

/* tile.c: the streams of n elements (or items of a transform) that lie one behind the other.
 * Encoding returns the bytes, 0 when they do not fit `room`; decoding is right when it is true and
 * they are exactly n_bytes. */
size_t tile_encode_streams(struct weir_tile_encoder *enc, const struct weir_coding *coding,
                           const uint8_t *elements, size_t n, uint8_t *out, size_t room);
WEIR_MUST_CHECK weir_err tile_decode_streams(struct weir_tile_decoder *dec,
                                             const struct weir_coding *coding, const uint8_t *bytes,
                                             size_t n_bytes, uint8_t *elements, size_t n);
/* tile.c: a tile as it is without a coding.  WEIR_ERR_NOMEM. */
WEIR_MUST_CHECK weir_err tile_encode_opaque(struct weir_tile_encoder *enc, const uint8_t *plain,
                                            size_t plain_bytes, uint8_t *payload,
                                            struct weir_tile_head *head);
/* tile.c: takes a constant tile.  false: it is none. */
bool tile_encode_const(const uint8_t *plain, size_t plain_bytes, size_t elem_bytes,
                       uint8_t *payload, struct weir_tile_head *head);

/* tile_made.c */
WEIR_MUST_CHECK weir_err tile_decode_made(struct weir_tile_decoder *dec,
                                          const struct weir_coding *coding, const uint8_t *payload,
                                          size_t payload_bytes, uint8_t *out, size_t plain_bytes);

#endif
