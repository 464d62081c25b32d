/* stream.h - one part of a tile: items to a stream and back (docs/format.md, 6 and 7).
 *
 * Pure functions over the caller's buffers; tile.c owns the buffers and the tables. */
#ifndef WEIR_CODEC_STREAM_PRIVATE_H
#define WEIR_CODEC_STREAM_PRIVATE_H

#include "kernels.h"

enum {
    STREAM_HEAD_BYTES = 16 + 4 * WEIR_LANES,
    STREAM_MAX_ITEMS = WEIR_TILE_BYTES,
    STREAM_MAX_ROWS = STREAM_MAX_ITEMS / WEIR_LANES,
    STREAM_MAX_PATCHES = STREAM_MAX_ITEMS / 16, /* our encoder's limit, not the format's */
};

void item_code_make(const struct weir_part *part, struct item_code *out);
void rans_decode_table_make(const struct weir_part *part, struct rans_decode_table *out);
void rans_encode_table_make(const struct weir_part *part, struct rans_encode_table *out);

/* Bytes of the raw bits of n_items items. */
size_t stream_raw_bytes(const struct item_code *code, size_t n_items);

/* Kernels and scratch of an encoding thread. */
struct stream_encoder {
    const struct weir_kernels *kernels;
    uint8_t index[STREAM_MAX_ITEMS];
    uint8_t bad[STREAM_MAX_ROWS];
    uint32_t patch[STREAM_MAX_PATCHES];
    uint8_t words[2 * STREAM_MAX_ITEMS + 64];
    uint8_t row[8 * WEIR_LANES]; /* the last row, padded */
};

/* Encodes n_items items (1 to STREAM_MAX_ITEMS / item_bytes) into out[0 .. room).
 * Returns the stream's bytes, without padding to 16; 0 if it does not fit or is not worth it. */
size_t stream_encode(struct stream_encoder *enc, const struct item_code *code,
                     const struct rans_encode_table *table, const uint8_t *items, size_t n_items,
                     uint8_t *out, size_t room);

/* Decodes the stream at the head of bytes[0 .. n_bytes) into exactly n_items items.
 * Returns the stream's bytes, without padding to 16; 0 if it breaks the format. */
size_t stream_decode(const struct weir_kernels *kernels, const struct item_code *code,
                     const struct rans_decode_table *table, const uint8_t *bytes, size_t n_bytes,
                     size_t n_items, uint8_t *items);

#endif
