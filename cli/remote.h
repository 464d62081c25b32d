/* remote.h - stores behind URLs, or in a repository of the Hub; in remote_fetch.c, or remote_off.c
 * where libcurl was not there at build time.
 *
 * The environment says the rest: client.h. */
#ifndef WEIR_CLI_REMOTE_H
#define WEIR_CLI_REMOTE_H

#include <stdbool.h>
#include <stddef.h>

#include "codec/source.h"
#include "codec/store.h"

struct remote; /* a client and the store that it reads */

/* Whether a store's name is to be taken for a URL: http, https or hf (fetch/hub.h), with ':'. */
bool is_url(const char *name);

/* `url` without its query, where signatures are.  Returns buf. */
char *url_name(const char *url, char *buf, size_t bytes);

/* timeout_seconds: how long reads wait for a server that is gone; 0: 60.  ^C ends them if it was
 * asked for (interrupt.h).  On success *out is closed with remote_close(); *src and *store live as
 * long. What weir_remote_open() returns; WEIR_ERR_UNSUPPORTED without libcurl. */
WEIR_MUST_CHECK weir_err remote_open(const char *url, unsigned timeout_seconds, struct remote **out,
                                     struct weir_diag *diag);
void remote_close(struct remote *remote); /* NULL is fine */

const struct weir_source *remote_source(const struct remote *remote);
const struct weir_store *remote_store(const struct remote *remote);

/* Adds to *diag why the last read that failed did. */
void remote_explain(const struct remote *remote, struct weir_diag *diag);

/* Seconds since 1970; 0: the server does not tell. */
long long remote_modified(const struct remote *remote);

#endif
