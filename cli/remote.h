/* remote.h - stores behind URLs, or in a repository of the Hub; in remote_fetch.c, or remote_off.c
 * where libcurl was not there at build time.
 *
 * The environment says the rest: client.h. */
#ifndef WEIR_CLI_REMOTE_H
#define WEIR_CLI_REMOTE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "codec/source.h"
#include "codec/store.h"

struct remote; /* a client and the store that it reads */

/* Whether a store's name is to be taken for a URL: http, https or hf (fetch/hub.h), with ':'. */
bool is_url(const char *name);

/* `url` without its query, where signatures are.  Returns buf. */
char *url_name(const char *url, char *buf, size_t bytes);

/* Zeroed: nothing was said. */
struct remote_options {
    unsigned timeout_seconds; /* reads wait so long for a server that is gone; 0: 60 */
    const char *cache_folder; /* what is fetched is kept there; NULL: nowhere */
    uint64_t cache_bytes;     /* how much of it; 0: REMOTE_CACHE_BYTES */
    void *self;
    void (*warn)(void *self, const char *text); /* of the cache, once; from any thread */
};

#define REMOTE_CACHE_BYTES (UINT64_C(2) << 30)

/* ^C ends reads that wait, if it was asked for (interrupt.h).  On success *out is closed with
 * remote_close(); source and store live as long.  What weir_remote_open() returns;
 * WEIR_ERR_UNSUPPORTED without libcurl. */
WEIR_MUST_CHECK weir_err remote_open(const char *url, const struct remote_options *options,
                                     struct remote **out, struct weir_diag *diag);
/* Reads that wait, and all that follow, end with WEIR_ERR_CANCELLED. */
void remote_cancel(struct remote *remote);
void remote_close(struct remote *remote); /* NULL is fine */

/* weir_store_set_base() of its store. */
WEIR_MUST_CHECK weir_err remote_set_base(struct remote *remote, const struct weir_store *base,
                                         struct weir_diag *diag);

const struct weir_source *remote_source(const struct remote *remote);
const struct weir_store *remote_store(const struct remote *remote);

/* Adds to *diag why the last read that failed did. */
void remote_explain(const struct remote *remote, struct weir_diag *diag);

/* Seconds since 1970; 0: the server does not tell. */
long long remote_modified(const struct remote *remote);

#endif
