/* http.h - ranges of remote files, and small answers, over HTTP and HTTPS.
 *
 * A client has connections, limits and one thread, which does all the talking; a file is a URL with
 * the size and the validators (ETag, Last-Modified) of its first reply; a range is some bytes of
 * it, handed over in order.  A range that breaks off goes on where it broke off.  Redirects are
 * followed (10 at most, to http and https only, never from https to http), signed URLs that have
 * expired are resolved again, proxies are those of libcurl's environment (http_proxy, https_proxy,
 * no_proxy). Certificates are always checked.
 *
 * Knows nothing of stores: nobody has verified these bytes.  Safe against hostile servers: memory
 * is bounded, and a server can delay a range only as long as the options say.  Never prints; a
 * token is in no diag. */
#ifndef WEIR_FETCH_HTTP_H
#define WEIR_FETCH_HTTP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "codec/err.h"

#ifdef __cplusplus
extern "C" {
#endif

enum { WEIR_HTTP_MAX_CONNECTIONS = 16, WEIR_HTTP_MAX_LINK = 2048, WEIR_HTTP_MAX_CODE = 64 };

struct weir_http;      /* the client */
struct weir_http_file; /* a remote file */

/* Zero means the default everywhere.  Strings are copied. */
struct weir_http_options {
    unsigned n_connections;   /* ranges on their way at once, at most 16; default 16 */
    unsigned n_retries;       /* of a range, in a row, without a byte; default 10 */
    unsigned timeout_seconds; /* of a range, without a byte, tries and waits together; 60 */
    unsigned backoff_ms;      /* before the first retry, then twice as much each; default 500 */
    uint64_t limit_rate;      /* bytes per second over all connections; default: none */
    uint64_t speed_limit;     /* a try that is slower (bytes per second; default 1000) ... */
    unsigned speed_seconds;   /* ... for so long is given up and made again; default 20 */
    const char *ca_file;      /* PEM of the authorities to trust; default: the system's */
    const char *token;        /* a bearer token, sent to the origin (scheme, host and port) of */
    const char *token_url;    /* ... this URL and to no other */
    void *self;
    bool (*stop)(void *self); /* true ends everything with WEIR_ERR_CANCELLED.  Asked several times
                                 a second, from the client's thread.  Default: never */
};

/* On success *out is freed with weir_http_free(); on error it is untouched.
 *
 * WEIR_ERR_INVALID  more than 16 connections, a token without a token_url, or with blanks in it
 * WEIR_ERR_NOMEM    also when no thread can be started */
WEIR_MUST_CHECK weir_err weir_http_new(const struct weir_http_options *options,
                                       struct weir_http **out, struct weir_diag *diag);

/* Ends all ranges with WEIR_ERR_CANCELLED, waits for the thread.  NULL is fine.  The client's files
 * are freed after this, or when no range of theirs is on its way.  Not from a callback.  A client
 * does not survive fork(). */
void weir_http_free(struct weir_http *http);

/* Asks for the last `tail_max` (> 0) bytes of a file, which tells its size and validators too;
 * waits for them.  *tail_bytes, at most tail_max and less only if the file is shorter, are at
 * `tail`. On success *out is freed with weir_http_file_free(); on error it is untouched.
 *
 * WEIR_ERR_INVALID    not an http or https URL, or one with a password
 * WEIR_ERR_NOT_FOUND  the server has no such file
 * WEIR_ERR_NETWORK    the server is gone, refuses, or breaks the rules of HTTP; *diag says which
 * WEIR_ERR_CHANGED    it became another file between a try and the next
 * WEIR_ERR_CANCELLED, WEIR_ERR_NOMEM */
WEIR_MUST_CHECK weir_err weir_http_open(struct weir_http *http, const char *url, void *tail,
                                        size_t tail_max, size_t *tail_bytes,
                                        struct weir_http_file **out, struct weir_diag *diag);

/* Both ends of a file. */
struct weir_http_ends {
    void *head, *tail;
    size_t head_max, tail_max;     /* > 0 */
    size_t head_bytes, tail_bytes; /* filled in; less than max only if the file is shorter */
};

/* The same, for both ends at once: two requests that do not wait for each other. */
WEIR_MUST_CHECK weir_err weir_http_open_ends(struct weir_http *http, const char *url,
                                             struct weir_http_ends *ends,
                                             struct weir_http_file **out, struct weir_diag *diag);
void weir_http_file_free(struct weir_http_file *file); /* NULL is fine */

/* A file whose size is known from elsewhere: nothing is asked for.  Its validators are those of the
 * first reply to a range of it.  linked_etag: a reply with an X-Linked-Etag other than this means
 * WEIR_ERR_CHANGED; NULL: any will do.  Both strings are copied.  On success *out is freed with
 * weir_http_file_free(); on error it is untouched.  WEIR_ERR_INVALID as above; WEIR_ERR_NOMEM */
WEIR_MUST_CHECK weir_err weir_http_file_new(struct weir_http *http, const char *url, uint64_t size,
                                            const char *linked_etag, struct weir_http_file **out,
                                            struct weir_diag *diag);

uint64_t weir_http_file_size(const struct weir_http_file *file);
/* Its Last-Modified, in seconds since 1970; 0: the server does not tell. */
int64_t weir_http_file_modified(const struct weir_http_file *file);

/* A range to be handed over.  Both functions are called from the client's thread and must not wait
 * for the network; they may start other ranges. */
struct weir_http_range {
    uint64_t at, n; /* n > 0, inside the file */
    void *self;
    /* The next n bytes.  An error ends the range with it. */
    weir_err (*data)(void *self, const void *bytes, size_t n);
    /* Once, last.  WEIR_OK: every byte was handed over.  Errors as of weir_http_open(), and what
     * data() returned; `diag` says what and lives during the call. */
    void (*done)(void *self, weir_err err, const struct weir_diag *diag);
};

/* Queues a range, which is copied.  done() is called if and only if this succeeds.
 *
 * WEIR_ERR_INVALID  empty, or not inside the file
 * WEIR_ERR_NOMEM */
WEIR_MUST_CHECK weir_err weir_http_start(struct weir_http_file *file,
                                         const struct weir_http_range *range);

/* The same for what nobody waits for yet.  urged(range->self), asked often and from the client's
 * thread, tells when somebody does: true, and the range's patience begins anew, and a try that was
 * put off is made at once. */
WEIR_MUST_CHECK weir_err weir_http_start_ahead(struct weir_http_file *file,
                                               const struct weir_http_range *range,
                                               bool (*urged)(void *self));

/* Waits for n (> 0) bytes at `at` of the file.  Errors as above; dst is undefined then.  From any
 * thread but the client's. */
WEIR_MUST_CHECK weir_err weir_http_read(struct weir_http_file *file, uint64_t at, void *dst,
                                        size_t n, struct weir_diag *diag);

/* What came of weir_http_get(). */
struct weir_http_answer {
    unsigned status;                     /* of the last reply; 0: none came */
    size_t n;                            /* bytes of its body */
    char error_code[WEIR_HTTP_MAX_CODE]; /* its X-Error-Code, letters and digits; "": none */
    bool has_next;                       /* a Link header has the relation "next", ... */
    char next[WEIR_HTTP_MAX_LINK];       /* ... to here, absolute; "": to no URL, or a longer one */
};

/* Asks for all of something small, such as an API's answer, and waits for it.  At most `max` (> 0)
 * bytes come to `dst`; more are WEIR_ERR_NETWORK.  A try that breaks off begins anew.  *answer is
 * filled in whatever happens.  Errors as of weir_http_open(); dst is undefined then. */
WEIR_MUST_CHECK weir_err weir_http_get(struct weir_http *http, const char *url, void *dst,
                                       size_t max, struct weir_http_answer *answer,
                                       struct weir_diag *diag);

/* Has at most n (1 to n_connections) ranges on their way from now on; what is on its way stays. */
void weir_http_set_connections(struct weir_http *http, unsigned n);

/* Ends all ranges, and those that will be started, with WEIR_ERR_CANCELLED.  From any thread. */
void weir_http_cancel(struct weir_http *http);

/* Requests sent so far, redirects and retries included, tries that the server (or the way to it)
 * made fail, and bytes of bodies that came. */
struct weir_http_counts {
    uint64_t n_requests, n_failed, n_bytes;
};
struct weir_http_counts weir_http_counts(const struct weir_http *http);

/* `url` without its query, where signatures are: for messages.  Cut to fit.  Returns buf. */
char *weir_http_shown(const char *url, char *buf, size_t bytes);

#ifdef __cplusplus
}
#endif

#endif
