/* seed.h - an older store on this disk, whose extents may equal a newer one's. */
#ifndef WEIR_FETCH_SEED_H
#define WEIR_FETCH_SEED_H

#include <stdbool.h>
#include <stdint.h>

#include "codec/source.h"
#include "codec/store.h"

struct seed {
    struct weir_source src;
    struct weir_store *store;
    uint32_t *by_sha256; /* its extents, ascending by SHA-256 */
};

/* seed_close() in any case.  Errors of weir_source_open_file() and weir_store_open(); an INVALID
 * becomes WEIR_ERR_IO. */
WEIR_MUST_CHECK weir_err seed_open(struct seed *seed, const char *name, struct weir_diag *diag);
void seed_close(struct seed *seed);

/* Reads the extent with e's SHA-256 and bytes into `bytes`.  false: it has none, or a damaged file.
 * Nobody has verified these bytes yet. */
bool seed_read(const struct seed *seed, const struct weir_extent *e, uint8_t *bytes);

#endif
