/* listing.h - what the files and tensors of a store take, from its tile heads. */
#ifndef WEIR_CLI_LISTING_H
#define WEIR_CLI_LISTING_H

#include <stdbool.h>
#include <stdint.h>

#include "codec/store.h"

enum { LISTING_MODES = WEIR_TILE_MADE + 1 };

struct usage {
    uint64_t plain_bytes, stored_bytes; /* stored: payloads, padding and tile heads */
    uint64_t tiles[LISTING_MODES];      /* by enum weir_tile_mode */
    bool estimated;
    uint64_t absent_bytes; /* of plain_bytes: in extents that were not fetched */
    bool same_as_base;     /* shows bytes of the base, wholly or in part */
    bool difference;       /* is stored as a difference from the base's, wholly or in part */
    bool shared;           /* shows bytes that an earlier segment has paid for, wholly or in part */
};

struct listing {
    const struct weir_store *store; /* borrowed */
    struct weir_store_cursor *cursor;
    bool *paid;  /* by object */
    bool remote; /* read no extent: what tiles take is estimated from what their extents take */
};

/* Segments must be asked for in the order of entries: the first one that shows an object pays.
 * WEIR_ERR_NOMEM */
WEIR_MUST_CHECK weir_err listing_open(struct listing *l, const struct weir_store *store,
                                      bool remote);
void listing_close(struct listing *l);

/* Adds one segment to *usage.  What weir_store_tile_head() returns; *diag names the tile. */
WEIR_MUST_CHECK weir_err listing_add(struct listing *l, const struct weir_segment *segment,
                                     struct usage *usage, struct weir_diag *diag);

/* "split", "zstd+raw", ...; "same as base", "difference"; "same" for shared bytes, "none" without
 * any, "?" if nobody looked, "absent" for what was not fetched.  Returns buf. */
enum { CODING_TEXT = 64 };
char *usage_coding(const struct usage *usage, char buf[CODING_TEXT]);

uint64_t tensor_elements(const struct weir_tensor *t);

#endif
