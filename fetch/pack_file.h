/* pack_file.h - a store that is being packed, on disk: its bytes in TARGET.weir-partial, the
 * journal of weir_pack() in TARGET.weir-fetch, which is locked, as that of any other fetch of the
 * target.
 *
 * The journal says that bytes are on disk only when they are.  What it says beyond that need not be
 * there after a cut of power: weir_pack() looks before it believes it.  TARGET itself appears in
 * one step, whole.  For one thread at a time, but for reading. */
#ifndef WEIR_FETCH_PACK_FILE_H
#define WEIR_FETCH_PACK_FILE_H

#include <stdbool.h>
#include <stdint.h>

#include "codec/pack.h"
#include "marks.h"

struct pack_file {
    char *target, *data_name, *side_name;
    int data;                        /* -1: none */
    struct marks side;               /* for its lock: has no marks */
    uint64_t data_bytes, side_bytes; /* written */
    uint64_t synced_bytes;           /* of the journal: up to the last word that data is on disk */
    bool word_due;                   /* the next record is such a word */
    double synced;                   /* when the last sync was */
    struct weir_diag diag;           /* why one of the journal's functions failed */
};

/* Locks the target and opens what an earlier run has left.  pack_file_close() in any case.
 * WEIR_ERR_IO, WEIR_ERR_NOMEM */
WEIR_MUST_CHECK weir_err pack_file_open(struct pack_file *f, const char *target,
                                        struct weir_diag *diag);

/* For weir_pack(); they belong to f.  journal->input is the caller's to fill in. */
void pack_file_journal(struct pack_file *f, struct weir_pack_journal *journal);
void pack_file_output(struct pack_file *f, struct weir_output *output);

/* The store as it was written so far. */
void pack_file_source(struct pack_file *f, struct weir_source *out);

/* Throws away all that is there. */
WEIR_MUST_CHECK weir_err pack_file_begin_anew(struct pack_file *f, struct weir_diag *diag);

/* After an error: brings to disk what is there. */
void pack_file_keep(struct pack_file *f);

/* Syncs, gives the file its name, removes the journal.  WEIR_ERR_IO, also when the name exists and
 * !replace. */
WEIR_MUST_CHECK weir_err pack_file_commit(struct pack_file *f, bool replace,
                                          struct weir_diag *diag);
void pack_file_close(struct pack_file *f); /* a zeroed one with descriptors -1 is fine */

#endif
