/* pack.h - makes a store (docs/format.md, 2): plain files in, one stream of bytes out.
 *
 * Written front to back, so a pipe will do; byte-identical for the same entries whatever the
 * number of threads.  Knows nothing of directories: the caller lists the entries and opens the
 * sources, so fetch/ can pack what is still on its way. */
#ifndef WEIR_CODEC_PACK_H
#define WEIR_CODEC_PACK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "codec/err.h"
#include "codec/source.h"
#include "codec/store.h"
#include "codec/tile.h"

#ifdef __cplusplus
extern "C" {
#endif

/* One entry to pack.  Strings are the caller's and must outlive the call. */
struct weir_pack_entry {
    const char *path; /* by the rules of struct weir_entry */
    enum weir_entry_kind kind;
    uint16_t mode;
    const char *target; /* a link's */

    /* A file's bytes.  `open` is called when they are needed, by one thread at a time, and may be
     * called more than once; *out is closed with weir_source_close().  The bytes must not change
     * between calls: packing gives WEIR_ERR_CHANGED when it notices (size differs, or `unchanged`
     * says so at the end). */
    void *self;
    weir_err (*open)(void *self, struct weir_source *out, struct weir_diag *diag);
    bool (*unchanged)(void *self); /* NULL: cannot tell */
};

/* Progress and cancelling.  Called from one thread at a time. */
struct weir_watch {
    void *self;
    /* false: stop with WEIR_ERR_CANCELLED.  done_bytes <= total_bytes, plain. */
    bool (*tick)(void *self, uint64_t done_bytes, uint64_t total_bytes);
};

/* Where the store goes: appended in order.  Called from one thread at a time. */
struct weir_output {
    void *self;
    weir_err (*write)(void *self, const void *bytes, size_t n);
};

struct weir_pack_options {
    const struct weir_kernels *kernels; /* NULL: the best */
    unsigned n_threads;                 /* 0: one per processor; at most 16 are used */
    const struct weir_watch *watch;     /* NULL: none */
};

struct weir_pack_result {
    uint64_t plain_bytes, stored_bytes;
    uint8_t digest[WEIR_DIGEST_BYTES];
};

/* Packs `n_entries` entries, which it sorts itself.  *result is filled in on success only.
 *
 * WEIR_ERR_INVALID    two equal paths, a path or link against the rules; *diag names it
 * WEIR_ERR_CHANGED    an input changed meanwhile
 * WEIR_ERR_CANCELLED  watch->tick said so
 * WEIR_ERR_NOMEM, and what open, read and write return. */
WEIR_MUST_CHECK weir_err weir_pack(const struct weir_pack_entry *entries, size_t n_entries,
                                   const struct weir_output *output,
                                   const struct weir_pack_options *options,
                                   struct weir_pack_result *result, struct weir_diag *diag);

#ifdef __cplusplus
}
#endif

#endif
