/* disk_cache.h - extents of remote stores, kept in a folder on this disk.
 *
 * A file per extent, named after the SHA-256 of its stored bytes: equal extents of different stores
 * are one file.  Who wants an extent that is not there claims it first, so that of several
 * processes one fetches it and the others wait; a claim is a lock on the file "SHA256.part", which
 * becomes the extent's file when its bytes are whole.  A process that dies lets go of its claims.
 *
 * `usage` counts the bytes of the files; it may count too many, after a crash, and never too few.
 * When it passes the limit, the files are looked through, those read least lately go, and it is
 * right again.
 *
 * Nothing here verifies: whoever reads compares the SHA-256, and whoever keeps has done so.  So
 * nothing needs to be synced, and whatever lies in the folder does no harm.  A disk that is full,
 * read-only or broken is a cache that keeps nothing more: one warning, no error.  Safe with several
 * processes and threads. */
#ifndef WEIR_FETCH_DISK_CACHE_H
#define WEIR_FETCH_DISK_CACHE_H

#include <stdbool.h>
#include <stdint.h>

#include "codec/err.h"
#include "codec/store.h"

struct disk_cache; /* NULL is one that has and keeps nothing */

struct disk_cache_options {
    const char *folder; /* made if it is not there; not its parents */
    uint64_t max_bytes; /* of all extents in it */
    void *self;
    void (*warn)(void *self, const char *text); /* once, from any thread; NULL: nobody listens */
};

/* A folder that cannot be used is warned of.  On success *out is freed with disk_cache_free().
 * WEIR_ERR_NOMEM */
WEIR_MUST_CHECK weir_err disk_cache_open(const struct disk_cache_options *options,
                                         struct disk_cache **out);
void disk_cache_free(struct disk_cache *cache); /* no claim is left; NULL is fine */

/* Whether the extent is there; then the disk is asked to read it. */
bool disk_cache_has(const struct disk_cache *cache, const struct weir_extent *e);

/* Reads the extent's e->bytes.  false: it is not there.  Nobody has verified these bytes. */
bool disk_cache_read(const struct disk_cache *cache, const struct weir_extent *e, uint8_t *bytes);

/* The extent's file does not verify: removes it. */
void disk_cache_drop(const struct disk_cache *cache, const struct weir_extent *e);

enum { DISK_NO_CLAIM = -1 };

/* The right to fetch an extent, for disk_cache_keep() or disk_cache_let_go(); DISK_NO_CLAIM, which
 * both take, where it could not be kept anyway.  wait: until somebody else who has it is done, then
 * the extent may be there; 10 seconds at most, and never again after that.  Without: false if
 * somebody else has it. */
bool disk_cache_claim(struct disk_cache *cache, const struct weir_extent *e, bool wait, int *claim);

/* Keeps the extent's e->bytes, which have been verified.  The claim is gone. */
void disk_cache_keep(struct disk_cache *cache, const struct weir_extent *e, int claim,
                     const uint8_t *bytes);
void disk_cache_let_go(struct disk_cache *cache, const struct weir_extent *e, int claim);

#endif
