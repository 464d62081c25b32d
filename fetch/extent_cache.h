/* extent_cache.h - the verified extents of a remote store that were wanted last.
 *
 * Knows how many there may be and who waits for which; what an extent is and where it comes from is
 * the caller's load().  All threads may use a cache; load() runs outside of its lock. */
#ifndef WEIR_FETCH_EXTENT_CACHE_H
#define WEIR_FETCH_EXTENT_CACHE_H

#include <stddef.h>
#include <stdint.h>

#include "codec/err.h"

struct extent_cache;

struct extent_cache_options {
    unsigned n_slots;  /* extents held, at least 1 */
    size_t slot_bytes; /* room of each; allocated when it is first needed */
    void *self;
    /* Fills `bytes` with extent number `extent`, verified. */
    weir_err (*load)(void *self, uint32_t extent, uint8_t *bytes);
};

/* WEIR_ERR_NOMEM */
WEIR_MUST_CHECK weir_err extent_cache_new(const struct extent_cache_options *options,
                                          struct extent_cache **out);
void extent_cache_free(struct extent_cache *cache); /* NULL is fine; nobody may be using it */

/* n bytes of extent `extent` from its offset `at`, loading it if it is not there.  Whoever waits
 * for somebody else's load() shares its error.  WEIR_ERR_NOMEM, and what load() returns. */
WEIR_MUST_CHECK weir_err extent_cache_read(struct extent_cache *cache, uint32_t extent, size_t at,
                                           void *dst, size_t n);

#endif
