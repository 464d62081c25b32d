/* download.h - a store from a URL into a file.
 *
 * Every extent is verified against the index before it counts, many come at once, and what has come
 * survives: a fetch that ends early, however it ends, goes on where it was when it is made again.
 * The file has its name only when it is whole and on disk.  docs/architecture.md says how. */
#ifndef WEIR_FETCH_DOWNLOAD_H
#define WEIR_FETCH_DOWNLOAD_H

#include <stdbool.h>
#include <stdint.h>

#include "codec/err.h"
#include "codec/pack.h"
#include "codec/part.h"
#include "codec/store.h"
#include "fetch/http.h"

#ifdef __cplusplus
extern "C" {
#endif

struct weir_download_options {
    unsigned n_connections; /* at most; 0: WEIR_HTTP_MAX_CONNECTIONS.  As many are used as pay */
    const char *seed;       /* an older store, whose equal extents are copied; NULL: none */
    bool replace;           /* whatever has the target's name already */
    const struct weir_part_wish *part; /* only these tensors, and what is no tensor; NULL: all */
    const struct weir_watch *watch;    /* stored bytes; NULL: none */
};

struct weir_download_result {
    uint8_t digest[WEIR_DIGEST_BYTES];
    uint64_t stored_bytes;  /* of the store */
    uint64_t body_bytes;    /* that came over the network */
    uint64_t resumed_bytes; /* extents that an earlier fetch had left, or that were fine already */
    uint64_t seeded_bytes;  /* extents that the seed had */
    uint64_t kept_bytes;    /* after an error: extents that the next fetch need not fetch */
    uint32_t n_refetched;   /* extents that came damaged and were asked for again */
    uint32_t n_extents, n_present; /* of the store; of those, what the target has in the end */
    bool was_there;                /* the target is this very store already; not read through */
};

/* Fetches the store at `url`, or a part of it, into the file `target`.  A target that is a part of
 * this very store already is completed in its place, and is a part, or the store, all the time: a
 * part lacks fewer extents then, and is the store when it lacks none.  `http` is the caller's, made
 * for this call: it is cancelled after an error.  *result is filled in whatever happens, as far as
 * it is known.
 *
 * WEIR_ERR_IO         the target exists, is being fetched by somebody else, or cannot be written;
 *                     the seed cannot be read
 * WEIR_ERR_NOT_FOUND  no tensor of the store is in the part
 * WEIR_ERR_ABSENT     what is at `url` is itself a part
 * WEIR_ERR_CORRUPT    no store, or what the server sends does not verify
 * WEIR_ERR_CANCELLED  watch->tick, or the client's stop(), said so
 * WEIR_ERR_NETWORK, WEIR_ERR_CHANGED, ...  as weir_remote_open() */
WEIR_MUST_CHECK weir_err weir_download(struct weir_http *http, const char *url, const char *target,
                                       const struct weir_download_options *options,
                                       struct weir_download_result *result, struct weir_diag *diag);

/* Makes the damaged file `store` whole, or the part that it is: what does not verify is fetched and
 * written in its place. options: n_connections and watch.  As above, and
 *
 * WEIR_ERR_MISMATCH   it is not the store at `url`, or nothing of it is */
WEIR_MUST_CHECK weir_err weir_repair(struct weir_http *http, const char *url, const char *store,
                                     const struct weir_download_options *options,
                                     struct weir_download_result *result, struct weir_diag *diag);

#ifdef __cplusplus
}
#endif

#endif
