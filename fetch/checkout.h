/* checkout.h - files of a Hub repository, fetched into a directory or into the Hub's own cache.
 *
 * Many parts of many files come at once over one client's connections.  Each file's SHA-256, or git
 * SHA-1, is computed while it comes, and it has its name only when it is whole, right and on disk.
 * What has come survives: a fetch that ends early, however it ends, goes on where it was when it is
 * made again.  docs/architecture.md says how. */
#ifndef WEIR_FETCH_CHECKOUT_H
#define WEIR_FETCH_CHECKOUT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "codec/err.h"
#include "codec/pack.h"
#include "fetch/http.h"
#include "fetch/hub.h"

#ifdef __cplusplus
extern "C" {
#endif

struct weir_checkout_options {
    unsigned n_connections; /* at most; 0: WEIR_HTTP_MAX_CONNECTIONS.  As many are used as pay */
    bool replace;           /* files that have the names already, with other bytes.  The cache's are
                               replaced in any case */
    const struct weir_watch *watch; /* bytes of the files wanted; NULL: none */
    void *self;
    bool (*wants)(void *self, const char *path); /* NULL: all files are wanted */
};

struct weir_checkout_result {
    size_t n_files;         /* wanted */
    uint64_t total_bytes;   /* of these */
    uint64_t present_bytes; /* of those that were there already, whole and right */
    uint64_t resumed_bytes; /* parts that an earlier fetch had left */
    uint64_t body_bytes;    /* that came over the network */
    uint64_t kept_bytes;    /* after an error: what the next fetch need not fetch */
    uint32_t n_refetched;   /* files that came damaged and were fetched once more */
};

/* Fetches the wanted files of `hub` to DIR/PATH, making the folders.  `http` is the caller's: it is
 * cancelled after an error.  *result is filled in whatever happens, as far as it is known.
 *
 * WEIR_ERR_IO           a file is there with other bytes, is being fetched by somebody else, or
 *                       cannot be written; *diag names it
 * WEIR_ERR_MISMATCH     the server's bytes of a file, twice, are not those that the Hub's listing
 *                       promises
 * WEIR_ERR_UNSUPPORTED  a path ends as our own files do
 * WEIR_ERR_NOT_FOUND    no file is wanted
 * WEIR_ERR_CANCELLED    watch->tick, or the client's stop(), said so
 * WEIR_ERR_CHANGED, WEIR_ERR_NETWORK, ... as weir_http_open() */
WEIR_MUST_CHECK weir_err weir_checkout_dir(struct weir_http *http, const struct weir_hub *hub,
                                           const char *dir,
                                           const struct weir_checkout_options *options,
                                           struct weir_checkout_result *result,
                                           struct weir_diag *diag);

/* Fetches them into the Hub's cache `root` (without a '/' at its end), laid out as its Python
 * client does it: ref->repo and ref->revision say under which names.  On success *snapshot is the
 * folder that shows them, to be freed with free().  Errors as above; WEIR_ERR_CORRUPT: the listing
 * has two files of one hash and two sizes. */
WEIR_MUST_CHECK weir_err weir_checkout_cache(struct weir_http *http, const struct weir_hub *hub,
                                             const char *root,
                                             const struct weir_checkout_options *options,
                                             char **snapshot, struct weir_checkout_result *result,
                                             struct weir_diag *diag);

/* The folder that shows ref's revision in the cache, without asking anybody; as complete as whoever
 * filled the cache has left it, but without links to nowhere.  WEIR_ERR_NOT_FOUND: there is none;
 * WEIR_ERR_NOMEM */
WEIR_MUST_CHECK weir_err weir_checkout_cached(const struct weir_hub_ref *ref, const char *root,
                                              char **snapshot, struct weir_diag *diag);

#ifdef __cplusplus
}
#endif

#endif
