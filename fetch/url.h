/* url.h - what weir asks of a URL.  Parsed by libcurl, so that what is decided here is about the
 * very host that libcurl will talk to.  Any text is fine as input. */
#ifndef WEIR_FETCH_URL_H
#define WEIR_FETCH_URL_H

#include <stdbool.h>
#include <stddef.h>

#include "codec/err.h"

/* http or https, with a host, without a user's name or password in it.
 *
 * WEIR_ERR_INVALID  it is not; *diag does not repeat a password
 * WEIR_ERR_NOMEM */
WEIR_MUST_CHECK weir_err url_check(const char *url, struct weir_diag *diag);

/* Whether both have the same scheme, host (in any case) and port (the scheme's own if none is
 * written).  false also when one of them is no URL, or memory is out. */
bool url_same_origin(const char *a, const char *b);

/* What `target`, which may be relative, is seen from `base`.  false: no URL, or more than `bytes`
 * with its NUL; buf is undefined then. */
bool url_resolve(const char *base, const char *target, char *buf, size_t bytes);

bool url_is_https(const char *url);

/* Scheme, host, port and path, for people: without user, query and fragment, where secrets are.
 * Cut to fit; "(no URL)" for what is none.  Returns buf. */
char *url_shown(const char *url, char *buf, size_t bytes);

#endif
