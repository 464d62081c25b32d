/* extents.h - extents of a remote store, written to a file as they come, and verified there.
 *
 * Many are on their way at once; their bytes go to the file as they come, so that memory does not
 * depend on how many.  What is in the file is read back and checked before it counts; what does not
 * verify is asked for again. */
#ifndef WEIR_FETCH_EXTENTS_H
#define WEIR_FETCH_EXTENTS_H

#include <stdbool.h>
#include <stdint.h>

#include "codec/pack.h"
#include "codec/store.h"
#include "fetch/http.h"

enum {
    EXTENTS_MAX_WORKERS = 4,
    EXTENTS_SLOT_BYTES = (WEIR_MAX_EXTENT_BYTES / WEIR_ALIGN + 2) * WEIR_ALIGN,
};

/* What to fetch, and who is told.  All but `http` is used by the caller's thread only. */
struct extents_order {
    struct weir_http *http;      /* cancelled when it ends early */
    struct weir_http_file *file; /* the remote store ... */
    const struct weir_store *store;
    int fd;              /* ... and where its bytes go: each extent to its place, or ... */
    bool in_slots;       /* ... to one of as many slots of EXTENTS_SLOT_BYTES as connections, which
                            another extent takes when it counts */
    const char *fd_name; /* for messages */
    unsigned n_connections; /* at most */
    const uint8_t *want;    /* a bitmap of extents (sidecar.h): what is not in it is nothing to us;
                               NULL: all */
    uint8_t *have; /* a bitmap of those that need not be fetched; those that come are added by the
                      caller's got() */
    const struct weir_watch *watch; /* NULL: none; stored bytes of extents */
    void *self;
    unsigned n_workers; /* threads that check what has come; 0: the caller's.  At most
                           EXTENTS_MAX_WORKERS */
    /* From the thread of worker `worker`: extent number `extent` is verified, and its bytes are at
     * hand.  WEIR_ERR_CORRUPT has it asked for again.  NULL: nothing more is to be done with it. */
    weir_err (*take)(void *self, unsigned worker, uint32_t extent, const uint8_t *bytes,
                     struct weir_diag *diag);
    /* Extent number `extent` is written, verified and taken. */
    void (*got)(void *self, uint32_t extent);
    /* Several times a second, between extents.  An error ends it. */
    weir_err (*now_and_then)(void *self, struct weir_diag *diag);
};

/* Fetches every extent that is wanted and not in order->have.  On return nothing is on its way.
 * *n_refetched: extents that came damaged and were asked for again.
 *
 * WEIR_ERR_CORRUPT    what the server sends does not verify, three times over
 * WEIR_ERR_IO         the file cannot be written; *diag names it
 * WEIR_ERR_CANCELLED  watch->tick said so
 * WEIR_ERR_NOMEM, and what weir_http_range.done() and take() report. */
WEIR_MUST_CHECK weir_err extents_fetch(const struct extents_order *order, uint32_t *n_refetched,
                                       struct weir_diag *diag);

#endif
