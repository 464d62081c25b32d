/* extent_cache.h - a bounded number of extents in memory: each loaded once for all who want it,
 * and some of them before anybody does.
 *
 * Who wants an extent waits for it.  What is announced comes on its own, into slots of which there
 * are always some more: who waits goes first.  Knows nothing of where bytes come from.  Any number
 * of threads. */
#ifndef WEIR_FETCH_EXTENT_CACHE_H
#define WEIR_FETCH_EXTENT_CACHE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "codec/err.h"

struct extent_cache;

enum { EXTENT_CACHE_PENDING = 16 }; /* announced, and without a slot yet; more, and the first go */

/* Called without a lock, each with a slot (< n_slots) that is this extent's, and its bytes,
 * slot_bytes of them. */
struct extent_cache_options {
    unsigned n_slots; /* > 0 */
    unsigned n_ahead; /* of these, at most so many for what nobody waits for; below n_slots */
    size_t slot_bytes;
    void *self;
    /* All of an extent, verified.  Waits. */
    weir_err (*load)(void *self, uint32_t extent, unsigned slot, uint8_t *bytes);
    /* Does not wait: true, and extent_cache_came() is called once.  NULL: nothing comes ahead. */
    bool (*begin)(void *self, uint32_t extent, unsigned slot, uint8_t *bytes);
    /* Verifies what has come; if that fails, load() follows. */
    weir_err (*check)(void *self, uint32_t extent, unsigned slot, const uint8_t *bytes);
    /* What has come is given up without a check().  Called under the cache's lock: must be quick,
     * and call nothing here. */
    void (*drop)(void *self, uint32_t extent, unsigned slot);
};

/* On error *out is untouched.  WEIR_ERR_NOMEM. */
WEIR_MUST_CHECK weir_err extent_cache_new(const struct extent_cache_options *options,
                                          struct extent_cache **out);
void extent_cache_free(struct extent_cache *cache); /* nobody reads, nothing comes; NULL is fine */

/* Copies bytes [at, at + n) of an extent.  Waits while it is loaded, or while all slots are in use.
 * Errors of load(), and of extent_cache_came(); WEIR_ERR_NOMEM. */
WEIR_MUST_CHECK weir_err extent_cache_read(struct extent_cache *cache, uint32_t extent, size_t at,
                                           void *dst, size_t n);

/* The extent will be wanted soon.  Returns at once, promises nothing. */
void extent_cache_expect(struct extent_cache *cache, uint32_t extent);

/* What begin() began is over.  An error is that of those who wait by now, and nobody else's. */
void extent_cache_came(struct extent_cache *cache, unsigned slot, weir_err err);

/* Whether somebody has begun to wait for what comes into the slot; true once. */
bool extent_cache_urged(struct extent_cache *cache, unsigned slot);

#endif
