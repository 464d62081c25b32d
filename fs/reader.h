/* reader.h - bytes of a file at any offset, by way of the tile cache.
 *
 * Knows files, segments and tiles; knows nothing of inodes, requests or FUSE.  What it hands out
 * has passed its tile's checksum. */
#ifndef WEIR_FS_READER_PRIVATE_H
#define WEIR_FS_READER_PRIVATE_H

#include <stddef.h>
#include <stdint.h>

#include "codec/err.h"
#include "codec/store.h"

struct log;

enum { READER_MAX_BYTES = 1 << 20 }; /* of one read; the most that the kernel asks for */

struct reader;

/* What one read at a time needs. */
struct reader_worker {
    struct weir_store_cursor *cursor;
    uint8_t *buffer; /* READER_MAX_BYTES, for whoever has the worker */
    struct reader_worker *next;
};

struct reader_options {
    const struct weir_store *store; /* borrowed */
    const struct weir_kernels *kernels;
    size_t cache_bytes; /* of decoded tiles */
    unsigned n_workers;
    struct log *log; /* borrowed; hears of bad tiles */
};

/* Everything that reading needs is allocated here.  On error *out is untouched.
 * WEIR_ERR_NOMEM, also for cache_bytes below a tile. */
WEIR_MUST_CHECK weir_err reader_new(const struct reader_options *options, struct reader **out);
void reader_free(struct reader *r); /* all workers returned; NULL is fine */

/* Waits while all workers are busy. */
struct reader_worker *reader_borrow(struct reader *r);
void reader_return(struct reader *r, struct reader_worker *worker);

/* Bytes [at, at + n) of `file` into worker->buffer.  n <= READER_MAX_BYTES; the range lies in the
 * file.  An error, of any tile in the range, is that of weir_store_read_tile() and the buffer is
 * undefined. */
WEIR_MUST_CHECK weir_err reader_read(struct reader *r, struct reader_worker *worker,
                                     const struct weir_entry *file, uint64_t at, size_t n);

#endif
