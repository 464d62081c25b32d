/* tile_cache.h - a bounded number of decoded tiles, each decoded once for all who want it.
 *
 * A fixed set of slots of WEIR_TILE_BYTES, allocated up front.  Who wants a tile pins its slot: if
 * it is there, at once; if another thread is filling it, when that is done; otherwise the caller
 * has to fill it.  Unpinned slots are taken again: empty ones first, then spent ones, then the
 * least recently used.
 * Knows nothing of stores, decoders or FUSE: a tile is a number.
 *
 * All functions but new and free may be called from several threads at once.  A thread that holds
 * a pin may pin another tile only if there are more slots than pins can be held at once, else it
 * may wait forever. */
#ifndef WEIR_FS_TILE_CACHE_H
#define WEIR_FS_TILE_CACHE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "codec/err.h"

#ifdef __cplusplus
extern "C" {
#endif

struct weir_tile_cache; /* opaque */

/* A pinned slot.  Copies are the same pin. */
struct weir_tile_pin {
    uint8_t *bytes; /* WEIR_TILE_BYTES of the cache's; writable only while must_fill */
    uint32_t slot;  /* the cache's */
    bool must_fill; /* the bytes are garbage: fill them, then call weir_tile_cache_filled() */
};

struct weir_tile_cache_counts {
    uint64_t hits;   /* pins that found their tile, or another thread filling it */
    uint64_t misses; /* pins that had to fill */
};

/* A cache of `n_slots` tiles, 1 to 2^24.  Freed with weir_tile_cache_free().
 * WEIR_ERR_INVALID for another number; WEIR_ERR_NOMEM. */
WEIR_MUST_CHECK weir_err weir_tile_cache_new(size_t n_slots, struct weir_tile_cache **out);
void weir_tile_cache_free(struct weir_tile_cache *cache); /* nothing pinned; NULL is fine */

/* Pins tile number `tile` into *out.  Waits while another thread fills it, or while every slot is
 * pinned.  On success the caller passes *out to weir_tile_cache_filled() if must_fill is set, and
 * to weir_tile_cache_unpin() in the end.
 *
 * Any error that the filling thread gave to weir_tile_cache_filled(): nothing is pinned then.  The
 * next pin of that tile tries anew. */
WEIR_MUST_CHECK weir_err weir_tile_cache_pin(struct weir_tile_cache *cache, uint64_t tile,
                                             struct weir_tile_pin *out);

/* Ends a fill.  WEIR_OK: the bytes are there and *pin stays a pin, now without must_fill.  An
 * error: everybody who waits for the tile gets it, and *pin is a pin no more. */
void weir_tile_cache_filled(struct weir_tile_cache *cache, struct weir_tile_pin *pin, weir_err err);

/* `spent`: whoever reads in order will not ask again.  Spent slots are taken first, but for the
 * last WEIR_TILE_CACHE_SPENT: so a stream goes round in few slots, which stay in the processor's
 * caches, and leaves the others their tiles. */
enum { WEIR_TILE_CACHE_SPENT = 64 };

void weir_tile_cache_unpin(struct weir_tile_cache *cache, const struct weir_tile_pin *pin,
                           bool spent);

struct weir_tile_cache_counts weir_tile_cache_counts(struct weir_tile_cache *cache);

#ifdef __cplusplus
}
#endif

#endif
