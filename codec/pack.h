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
#include "codec/quantise.h"
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

/* What makes a pack that ends early, however it ends, go on later: a list of records that the
 * caller keeps beside the store.  They say how each segment is coded and which extents are written,
 * so that an extent that is whole is not made again, nor are its plain bytes read again: they are
 * decoded from the store.  docs/architecture.md has the records, and what happens when the power is
 * cut.  Any bytes are fine as records of an earlier run: what does not verify counts as not there,
 * as does all behind it.  One thread at a time calls but for read(), which several may. */
struct weir_pack_journal {
    void *self;
    /* Stands for the plain bytes of the entries: with another one nothing is taken over. */
    uint8_t input[WEIR_DIGEST_BYTES];
    /* The records that an earlier run has left, or zeroed.  Borrowed; not read any more once
     * resume() has been called. */
    struct weir_source left;
    /* n bytes of the store from `at`: left by an earlier run, or written by this one.  Whatever is
     * not there is WEIR_ERR_IO. */
    weir_err (*read)(void *self, uint64_t at, void *dst, size_t n);
    /* Called once, before anything is written: so many bytes of records and store are kept, what is
     * behind them must go, and appending goes on there. */
    weir_err (*resume)(void *self, uint64_t journal_bytes, uint64_t store_bytes);
    /* n bytes of records.  What of the store they speak of has been given to write(). */
    weir_err (*append)(void *self, const void *bytes, size_t n);
    /* After each extent: brings what was written of the store to disk, if that is due, and says
     * so.  Then a record is appended that says the same, to be brought to disk, too. */
    weir_err (*sync)(void *self, bool *synced);
};

struct weir_pack_options {
    const struct weir_kernels *kernels; /* NULL: the best */
    unsigned n_threads;                 /* 0: one per processor; at most 16 are used */
    const struct weir_watch *watch;     /* NULL: none */
    /* Where reading twice is dear: codings are chosen no further ahead of writing than so many
     * plain bytes (or one segment that is longer), and weir_source.expect() hears of what is going
     * to be read, further ahead by about as much again.  Segments of up to half of it are expected
     * whole when their coding is chosen, and read again from wherever they are then kept.  The
     * store is the same.  0: all codings are chosen first, and nothing is announced. */
    uint64_t window_bytes;
    const struct weir_pack_journal *journal; /* NULL: none */
    /* Objects that are the base's, or little different from its tensors of the same name, dtype and
     * shape, are stored as references to it and as differences from it.  Where there are none, the
     * store is the one without a base.  Borrowed; not with a window or a journal.  NULL: none. */
    const struct weir_store *base;
    /* NULL: lossless.  Otherwise tensors that weir_near_wants() become near, each where that makes
     * it smaller; everything else stays lossless.  Such tensors are read twice.  Not with a base,
     * nor with a journal. */
    const struct weir_near *near;
    bool near_embeddings;
};

struct weir_pack_result {
    uint64_t plain_bytes, stored_bytes;
    uint64_t resumed_bytes; /* of extents that an earlier run had written */
    uint64_t same_bytes;    /* plain, of segments that are the base's */
    bool needs_base;
    uint64_t near_bytes;           /* plain, of tensors that have become near */
    uint32_t n_near;               /* how many those are */
    struct weir_nearness nearness; /* of all of them; step and largest: the largest */
    uint8_t digest[WEIR_DIGEST_BYTES];
};

/* Packs `n_entries` entries, which it sorts itself.  *result is filled in on success only.
 *
 * WEIR_ERR_INVALID    two equal paths, a path or link against the rules; *diag names it; or options
 *                     that exclude each other
 * WEIR_ERR_UNSUPPORTED  the base needs a base itself
 * WEIR_ERR_CHANGED    an input changed meanwhile
 * WEIR_ERR_MISMATCH   an extent of an earlier run is not what its record says, though it was
 *                     brought to disk before: begin without the journal
 * WEIR_ERR_CANCELLED  watch->tick said so
 * WEIR_ERR_NOMEM, and what open, read, write and the journal return. */
WEIR_MUST_CHECK weir_err weir_pack(const struct weir_pack_entry *entries, size_t n_entries,
                                   const struct weir_output *output,
                                   const struct weir_pack_options *options,
                                   struct weir_pack_result *result, struct weir_diag *diag);

#ifdef __cplusplus
}
#endif

#endif
