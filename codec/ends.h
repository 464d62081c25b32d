/* ends.h - header and trailer of a store, read and written (docs/format.md, 2.1 and 2.2).
 *
 * They have one form for what they say, so what is written here is what was read. */
#ifndef WEIR_CODEC_ENDS_PRIVATE_H
#define WEIR_CODEC_ENDS_PRIVATE_H

#include "codec/store.h"

enum {
    HEADER_BYTES = WEIR_ALIGN, /* with the zeros up to the first extent */
    TRAILER_BYTES = 64,
};

struct trailer {
    uint64_t index_at;
    uint32_t stored_bytes, plain_bytes; /* of the index */
    uint8_t digest[WEIR_DIGEST_BYTES];
    uint16_t features; /* enum weir_feature */
};

/* Safe on hostile input.  WEIR_ERR_CORRUPT or WEIR_ERR_UNSUPPORTED with *diag, and what src->read
 * returns.  The trailer ends the first store_bytes (at least TRAILER_BYTES) of the source; *out is
 * undefined on error. */
WEIR_MUST_CHECK weir_err header_read(const struct weir_source *src, struct weir_diag *diag);
WEIR_MUST_CHECK weir_err trailer_read(const struct weir_source *src, uint64_t store_bytes,
                                      struct trailer *out, struct weir_diag *diag);

void header_write(uint8_t out[HEADER_BYTES]);
void trailer_write(const struct trailer *trailer, uint8_t out[TRAILER_BYTES]);

#endif
