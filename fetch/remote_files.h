/* remote_files.h - files of a repository as sources, over one client's connections.
 *
 * What is expected (weir_source.expect) comes ahead in pieces, as many as the memory allows, and
 * stays until it was read, or somebody needs the room more; what was not expected is fetched when
 * it is read.  So a reader who announces what he will read waits for the network's rate, not for
 * its round trips.  A file of a piece or less is fetched whole, and checked against its hash before
 * anybody gets a byte; of longer ones nobody has verified the bytes.  All threads may read. */
#ifndef WEIR_FETCH_REMOTE_FILES_H
#define WEIR_FETCH_REMOTE_FILES_H

#include <stddef.h>
#include <stdint.h>

#include "codec/source.h"
#include "fetch/hub.h"

enum {
    REMOTE_FILES_PIECE_BYTES = 512 << 10, /* of one request, at most */
    REMOTE_FILES_HEAD_BYTES = 64 << 10,   /* of a file's begin, when any of it is wanted */
};

struct remote_files;

/* max_bytes: of pieces held and on their way; passed only by readers who can wait for nothing else,
 * by a piece for each.  `file` and `http` are borrowed.  On success *out is freed with
 * remote_files_free().  WEIR_ERR_INVALID (a URL), WEIR_ERR_NOMEM */
WEIR_MUST_CHECK weir_err remote_files_new(struct weir_http *http,
                                          const struct weir_hub_file *const *file, size_t n,
                                          size_t max_bytes, struct remote_files **out,
                                          struct weir_diag *diag);

/* Throws away what is held, after what is on its way has come.  Nobody may be reading. */
void remote_files_forget(struct remote_files *files);

/* Waits until nothing is on its way: cancel the client before, if that should be soon.  Nobody may
 * be reading.  NULL is fine. */
void remote_files_free(struct remote_files *files);

/* File number i, which needs no closing and lives as long as `files`.  What read() returns: as
 * weir_http_read(), and WEIR_ERR_MISMATCH where a small file's hash is another, three times. */
void remote_files_source(struct remote_files *files, size_t i, struct weir_source *out);

/* What the last read that failed did with, and why; WEIR_OK, and *diag is untouched, if none has.
 */
weir_err remote_files_why(struct remote_files *files, struct weir_diag *diag);

#endif
