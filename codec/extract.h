/* extract.h - all plain bytes of a store, decoded by several threads and checked on the way.
 *
 * Every tile's checksum and every file's SHA-256.  unpack writes what comes out, verify throws it
 * away or compares it. */
#ifndef WEIR_CODEC_EXTRACT_H
#define WEIR_CODEC_EXTRACT_H

#include <stddef.h>
#include <stdint.h>

#include "codec/err.h"
#include "codec/pack.h"
#include "codec/store.h"

#ifdef __cplusplus
extern "C" {
#endif

/* Where plain bytes go.  Any error stops the extraction and is returned by it.  begin and end never
 * run at the same time; writes may run beside those of other entries. */
struct weir_sink {
    void *self;
    /* Entry number `entry` begins; entries begin in order, from one thread at a time, before any
     * write to them.  May be NULL. */
    weir_err (*begin)(void *self, uint32_t entry);
    /* n bytes of entry `entry` from its offset `at`.  From several threads at once, any order. */
    weir_err (*write)(void *self, uint32_t entry, uint64_t at, const void *bytes, size_t n);
    /* All of entry `entry` was written and its SHA-256 is right.  In order, one thread at a time.
     * May be NULL. */
    weir_err (*end)(void *self, uint32_t entry);
};

struct weir_extract_options {
    const struct weir_kernels *kernels; /* NULL: the best */
    unsigned n_threads;                 /* 0: one per processor; at most 16 are used */
    const struct weir_watch *watch;     /* NULL: none */
};

/* Runs every file of `store` through `sink` (NULL: only check).  On return no callback is running.
 *
 * WEIR_ERR_CORRUPT    a tile or a file's SHA-256 is bad; *diag names the file
 * WEIR_ERR_ABSENT     it is a part, and lacks a tile
 * WEIR_ERR_CANCELLED  watch->tick said so
 * WEIR_ERR_NOMEM, and what the source and the sink return. */
WEIR_MUST_CHECK weir_err weir_extract(const struct weir_store *store, const struct weir_sink *sink,
                                      const struct weir_extract_options *options,
                                      struct weir_diag *diag);

/* Every extent of `store` that is there: SHA-256, tile heads, padding; and of a part, whose files
 * cannot be extracted, every tile's checksum.  Progress counts stored bytes. */
WEIR_MUST_CHECK weir_err weir_check_extents(const struct weir_store *store,
                                            const struct weir_extract_options *options,
                                            struct weir_diag *diag);

#ifdef __cplusplus
}
#endif

#endif
