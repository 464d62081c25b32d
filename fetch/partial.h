/* partial.h - a store that is being fetched, on disk: the bytes in TARGET.weir-partial, which of
 * them are verified in TARGET.weir-fetch (sidecar.h).  Or, of a TARGET that is a part of the store
 * already (codec/part.h), the bytes in TARGET itself, and the marks in its appendix.
 *
 * A bit is on disk only when its extent is: after a crash, or a cut of power, what is marked is
 * there.  TARGET itself appears in one step, whole.  For one thread at a time, but for writing to
 * the descriptor. */
#ifndef WEIR_FETCH_PARTIAL_H
#define WEIR_FETCH_PARTIAL_H

#include <stdbool.h>
#include <stdint.h>

#include "codec/err.h"
#include "codec/store.h"
#include "marks.h"

struct partial {
    char *target, *data_name, *side_name;
    int data; /* descriptor; -1: none */
    struct sidecar about;
    struct marks marks; /* its file is locked */
    bool resumed;       /* an earlier run has left something */
    bool in_place;      /* TARGET itself is a part, and data and marks are that file */
};

/* Locks the target, takes up what an earlier run has left of the very same store, or begins anew.
 * partial_close() in any case.
 *
 * WEIR_ERR_IO  *diag says what: another fetch of the target is running, no such folder, no right to
 *              write, a full disk; WEIR_ERR_NOMEM */
WEIR_MUST_CHECK weir_err partial_open(struct partial *p, const char *target,
                                      const struct weir_store *store, struct weir_diag *diag);

/* The same of anything that a sidecar may be about: about->store_bytes long, of this digest. */
WEIR_MUST_CHECK weir_err partial_open_about(struct partial *p, const char *target,
                                            const struct sidecar *about, struct weir_diag *diag);
/* The same of a target that is a part of this very store, in its place. */
WEIR_MUST_CHECK weir_err partial_open_part(struct partial *p, const char *target,
                                           const struct weir_store *store, struct weir_diag *diag);

/* Whether every extent is marked. */
bool partial_is_whole(const struct partial *p);

/* Extent number `extent` is written to p->data and verified. */
void partial_mark(struct partial *p, uint32_t extent);

/* Brings data and marks to disk, in this order, when that is due; with `now` in any case.  Once it
 * has failed it fails for ever: the kernel tells of bytes that it lost only once. */
WEIR_MUST_CHECK weir_err partial_sync(struct partial *p, bool now, struct weir_diag *diag);

/* All that is wanted is there: syncs, gives the file its name, removes the sidecar.  What is not
 * whole gets, or keeps, an appendix that says so; what is, loses it.  store: NULL if it is none,
 * and whole.  WEIR_ERR_IO, also when the name exists and !replace; WEIR_ERR_NOMEM. */
WEIR_MUST_CHECK weir_err partial_commit(struct partial *p, const struct weir_store *store,
                                        bool replace, struct weir_diag *diag);

/* Brings the file `data` to disk and calls it `target` instead of `data_name`, in one step.
 * WEIR_ERR_IO, also when the name exists and !replace. */
WEIR_MUST_CHECK weir_err partial_place(int data, const char *data_name, const char *target,
                                       bool replace, struct weir_diag *diag);

/* Lets go of it; what is there stays for the next run.  A zeroed one with descriptors -1 is fine.
 */
void partial_close(struct partial *p);

/* Removes what earlier runs have left of a target that is there now, unless somebody is at it. */
void partial_forget(const char *target);

#endif
