/* plain.h - a store from a URL as the plain files that are packed in it.
 *
 * Each extent is verified, decoded and written to its places in the files as it comes, so that the
 * store itself is never on the disk.  What has come survives: a fetch that ends early, however it
 * ends, goes on where it was when it is made again.  A file has its name only when it is whole, its
 * SHA-256 is right, and it is on disk.  docs/architecture.md says how. */
#ifndef WEIR_FETCH_PLAIN_H
#define WEIR_FETCH_PLAIN_H

#include <stdbool.h>
#include <stdint.h>

#include "codec/err.h"
#include "codec/pack.h"
#include "codec/store.h"
#include "fetch/http.h"

#ifdef __cplusplus
extern "C" {
#endif

struct weir_plain_options {
    unsigned n_connections; /* at most; 0: WEIR_HTTP_MAX_CONNECTIONS.  As many are used as pay */
    bool replace;           /* files and links that are there and differ */
    const struct weir_watch *watch; /* stored bytes; NULL: none */
};

struct weir_plain_result {
    uint8_t digest[WEIR_DIGEST_BYTES];
    uint64_t plain_bytes;   /* of all files */
    uint64_t stored_bytes;  /* of the extents that the files still need when it begins */
    uint64_t body_bytes;    /* that came over the network */
    uint64_t resumed_bytes; /* of stored_bytes: that an earlier fetch had left */
    uint64_t kept_bytes;    /* after an error: of stored_bytes, what the next need not fetch */
    uint32_t n_refetched;   /* extents that came damaged and were asked for again */
    uint32_t n_files;
    uint32_t n_there; /* of n_files: that were there, with the right SHA-256 */
};

/* Fetches the files of the store at `url` into `folder`, which is made if it is not there.  What is
 * not whole yet lies in its folder .weir-fetch, which is gone in the end.  Neither the store's
 * paths nor links in the folder lead a write out of it.  `http` is the caller's, made for this
 * call: it is cancelled after an error.  *result is filled in whatever happens, as far as it is
 * known.
 *
 * WEIR_ERR_IO           something else has an entry's name and !replace; another fetch is filling
 *                       the folder; it cannot be written
 * WEIR_ERR_CORRUPT      no store, or what the server sends does not verify
 * WEIR_ERR_MISMATCH     a file has another SHA-256 than the index says: the next fetch gets it anew
 * WEIR_ERR_UNSUPPORTED  the store has an entry .weir-fetch
 * WEIR_ERR_CANCELLED    watch->tick, or the client's stop(), said so
 * WEIR_ERR_NETWORK, WEIR_ERR_CHANGED, ...  as weir_remote_open() */
WEIR_MUST_CHECK weir_err weir_fetch_plain(struct weir_http *http, const char *url,
                                          const char *folder,
                                          const struct weir_plain_options *options,
                                          struct weir_plain_result *result, struct weir_diag *diag);

#ifdef __cplusplus
}
#endif

#endif
