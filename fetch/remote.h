/* remote.h - a store behind a URL.
 *
 * Opening it asks for both ends of the file at once: the header, and the trailer with, of stores of
 * up to some three gigabytes, the whole index; then for what is missing of the index.  From then
 * on it is a weir_source like any other (codec/source.h): whoever reads a byte of an extent waits
 * until all of the extent is there and its SHA-256 is right.  The extents asked for last are kept
 * in memory, verified; several threads that want the same one wait for one request.  What is
 * announced (weir_source_expect()) is fetched into the same memory beforehand, several extents at a
 * time.  With a cache folder, extents are also kept on this disk, for later and for other
 * processes; they are verified again whenever they are read.
 *
 * Bytes that do not verify are asked for again, twice.  When the server is gone, readers wait as
 * long as the client's options say and get WEIR_ERR_NETWORK; the next read tries anew.  Safe on
 * hostile servers and stores. */
#ifndef WEIR_FETCH_REMOTE_H
#define WEIR_FETCH_REMOTE_H

#include <stddef.h>
#include <stdint.h>

#include "codec/err.h"
#include "codec/source.h"
#include "codec/store.h"
#include "fetch/http.h"

#ifdef __cplusplus
extern "C" {
#endif

enum {
    WEIR_REMOTE_TAIL_BYTES = 64 << 10, /* asked for first: the index of a 1B model fits */
    WEIR_REMOTE_MAX_EXTENTS = 18,
};

struct weir_remote;

/* Zero means the default everywhere. */
struct weir_remote_options {
    unsigned n_extents;       /* verified extents kept in memory, up to 4 MiB each, at most
                                 WEIR_REMOTE_MAX_EXTENTS; six of ten may come ahead.  Default: five more
                                 than processors, 9 at least */
    const char *cache_folder; /* extents are kept there, too; default: nowhere */
    uint64_t cache_bytes;     /* at most so many of them, by all who use the folder */
    void *self;
    /* A cache folder that cannot be used, or not any more, which is no error: said once.  From any
     * thread. */
    void (*warn)(void *self, const char *text);
};

/* Opens the store at `url`.  `http` is borrowed and outlives it, or is freed before it.  options:
 * NULL for the defaults.  On success *out is freed with weir_remote_free(); on error it is
 * untouched.  Errors as of weir_http_open() and weir_store_open(). */
WEIR_MUST_CHECK weir_err weir_remote_open(struct weir_http *http, const char *url,
                                          const struct weir_remote_options *options,
                                          struct weir_remote **out, struct weir_diag *diag);
/* Waits for what is coming ahead, so cancel the client first.  NULL is fine; nobody may be reading.
 */
void weir_remote_free(struct weir_remote *remote);

/* weir_store_set_base() of its store, before anybody reads it. */
WEIR_MUST_CHECK weir_err weir_remote_set_base(struct weir_remote *remote,
                                              const struct weir_store *base,
                                              struct weir_diag *diag);

/* These belong to the remote and live as long as it.  The store is opened on the source; what
 * read() returns: as weir_http_read(), and WEIR_ERR_CORRUPT for bytes that do not verify. */
const struct weir_source *weir_remote_source(const struct weir_remote *remote);
const struct weir_store *weir_remote_store(const struct weir_remote *remote);
struct weir_http_file *weir_remote_file(const struct weir_remote *remote);

/* Why the last read that failed did: what an error code alone cannot say.  Untouched if none has.
 */
void weir_remote_why(struct weir_remote *remote, struct weir_diag *diag);

#ifdef __cplusplus
}
#endif

#endif
