/* hub_pack.h - files of a Hub repository, packed into a store on their way.
 *
 * The plain files never touch the disk: memory has what is just being packed.  The store is the one
 * that weir_pack() makes of a directory with the same files, which are 0644, in directories 0755.
 * Each file's SHA-256, or git SHA-1, must be what the listing promises before the store has its
 * name.  What is packed survives: a run that ends early, however it ends, goes on when it is made
 * again; only the plain bytes of extents that were not whole come again.  docs/architecture.md says
 * how. */
#ifndef WEIR_FETCH_HUB_PACK_H
#define WEIR_FETCH_HUB_PACK_H

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

struct weir_hub_pack_options {
    unsigned n_connections; /* at most; 0: WEIR_HTTP_MAX_CONNECTIONS.  As many are used as pay */
    bool replace;           /* whatever has the target's name already */
    const struct weir_watch *watch; /* plain bytes; NULL: none */
    void *self;
    bool (*wants)(void *self, const char *path); /* NULL: all files are wanted */
};

struct weir_hub_pack_result {
    size_t n_files;         /* wanted */
    uint64_t plain_bytes;   /* of these */
    uint64_t stored_bytes;  /* of the store */
    uint64_t resumed_bytes; /* of the store, that an earlier run had left */
    uint64_t body_bytes;    /* that came over the network */
    uint64_t kept_bytes;    /* plain; after an error: what the next run need not fetch */
    bool was_refetched;     /* what came first was damaged, and all of it was thrown away */
    uint8_t digest[WEIR_DIGEST_BYTES];
};

/* Packs the wanted files of `hub` into the store `target`.  `http` is the caller's, made for this
 * call: it is cancelled in the end.  *result is filled in whatever happens, as far as it is known.
 *
 * WEIR_ERR_IO           the target exists, is being fetched by somebody else, or cannot be written
 * WEIR_ERR_MISMATCH     the server's bytes of a file, twice, are not those that the listing
 * promises WEIR_ERR_UNSUPPORTED  a store cannot hold these files WEIR_ERR_NOT_FOUND    no file is
 * wanted WEIR_ERR_CANCELLED    watch->tick, or the client's stop(), said so WEIR_ERR_CHANGED,
 * WEIR_ERR_NETWORK, ... as weir_http_open() */
WEIR_MUST_CHECK weir_err weir_hub_pack(struct weir_http *http, const struct weir_hub *hub,
                                       const char *target,
                                       const struct weir_hub_pack_options *options,
                                       struct weir_hub_pack_result *result, struct weir_diag *diag);

#ifdef __cplusplus
}
#endif

#endif
