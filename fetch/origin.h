/* origin.h - where the extents of a remote store come from: a folder of kept ones (disk_cache.h),
 * or the network.  What an extent cache calls (extent_cache.h).  Nothing leaves here unverified. */
#ifndef WEIR_FETCH_ORIGIN_H
#define WEIR_FETCH_ORIGIN_H

#include <pthread.h>

#include "codec/store.h"
#include "disk_cache.h"
#include "extent_cache.h"
#include "fetch/http.h"
#include "fetch/remote.h"

/* An extent that comes ahead. */
struct origin_flight {
    struct origin *origin;
    uint32_t extent;
    unsigned slot; /* the extent cache's */
    uint8_t *bytes;
    size_t got, n; /* the client's thread */
};

/* Filled in by remote.c. */
struct origin {
    struct weir_http_file *file; /* borrowed, as the next three */
    const struct weir_store *store;
    struct extent_cache *cache;
    struct disk_cache *disk; /* NULL: none */

    struct origin_flight flight[WEIR_REMOTE_MAX_EXTENTS]; /* by slot */
    int claim[WEIR_REMOTE_MAX_EXTENTS];                   /* by slot: of what comes or has come */

    pthread_mutex_t lock;
    pthread_cond_t landed;
    unsigned n_flying;    /* under lock */
    struct weir_diag why; /* under lock: of the last read that failed */
};

void origin_init(struct origin *o);
/* Waits for what is still coming. */
void origin_end(struct origin *o);

/* Remembers why a read failed.  Returns err. */
weir_err origin_remember(struct origin *o, weir_err err, const struct weir_diag *why);

/* weir_http_read(), which remembers. */
WEIR_MUST_CHECK weir_err origin_ask(struct origin *o, uint64_t at, void *dst, size_t n);

/* Where extent i and the padding behind it end. */
uint64_t origin_end_of(const struct weir_store *store, uint32_t i);

/* As in struct extent_cache_options; self is the origin. */
weir_err origin_load(void *self, uint32_t extent, unsigned slot, uint8_t *bytes);
bool origin_begin(void *self, uint32_t extent, unsigned slot, uint8_t *bytes);
weir_err origin_check(void *self, uint32_t extent, unsigned slot, const uint8_t *bytes);
void origin_drop(void *self, uint32_t extent, unsigned slot);

#endif
