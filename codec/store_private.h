/* store_private.h - an open store from inside, and the heads of an extent's tiles. */
#ifndef WEIR_CODEC_STORE_PRIVATE_H
#define WEIR_CODEC_STORE_PRIVATE_H

#include "index.h"

struct weir_store {
    struct weir_source src; /* borrowed: never closed */
    struct index *index;
    uint64_t *extent_at; /* offset of each extent */
    uint64_t index_at;   /* where the last extent ends */
    struct weir_store_info info;
};

/* What an extent's heads say, and where that puts the payloads. */
struct extent_heads {
    struct weir_tile_head tile[WEIR_EXTENT_TILES];
    uint32_t payload_at[WEIR_EXTENT_TILES]; /* from the start of the extent */
};

/* The object that shows tile `store_tile` (< n_tiles); O(log n). */
uint32_t store_object_of(const struct weir_store *store, uint64_t store_tile);

/* Bytes of the heads at the start of extent `extent`.  WEIR_ERR_CORRUPT with *diag if the extent
 * is shorter than that. */
WEIR_MUST_CHECK weir_err extent_heads_bytes(const struct weir_store *store, uint32_t extent,
                                            size_t *out, struct weir_diag *diag);

/* Takes the extent_heads_bytes() at `bytes` apart and checks that heads and padded payloads fill
 * the extent exactly.  WEIR_ERR_CORRUPT with *diag; *out is undefined then. */
WEIR_MUST_CHECK weir_err extent_heads_parse(const struct weir_store *store, uint32_t extent,
                                            const uint8_t *bytes, struct extent_heads *out,
                                            struct weir_diag *diag);

#endif
