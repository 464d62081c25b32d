/* reader.h - bytes of a file at any offset, by way of the tile cache.
 *
 * Knows files, segments and tiles; knows nothing of inodes, requests or FUSE.  What it hands out
 * has passed its tile's checksum. */
#ifndef WEIR_FS_READER_PRIVATE_H
#define WEIR_FS_READER_PRIVATE_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/uio.h>

#include "codec/err.h"
#include "codec/store.h"
#include "fs/tile_cache.h"

struct log;

enum { READER_MAX_BYTES = 1 << 20 }; /* of one read; the most that the kernel asks for */

struct reader;

/* What one thread needs. */
struct reader_worker {
    struct weir_store_cursor *cursor;
    uint8_t *buffer; /* READER_MAX_BYTES */
};

struct reader_options {
    const struct weir_store *store; /* borrowed */
    const struct weir_kernels *kernels;
    size_t cache_bytes; /* of decoded tiles */
    unsigned n_workers;
    struct log *log; /* borrowed; hears of bad tiles */
};

struct reader_counts {
    uint64_t cache_hits; /* tiles wanted that were decoded, or just being decoded */
    uint64_t decoded_tiles, decoded_bytes;
};

/* Everything that reading needs is allocated here.  On error *out is untouched.
 * WEIR_ERR_NOMEM, also for cache_bytes below a tile. */
WEIR_MUST_CHECK weir_err reader_new(const struct reader_options *options, struct reader **out);
void reader_free(struct reader *r); /* no view is left; NULL is fine */

/* Worker i < n_workers, for one thread at a time. */
struct reader_worker *reader_worker(struct reader *r, unsigned i);

enum { READER_MAX_PARTS = 12 }; /* READER_MAX_BYTES touch nine or ten tiles of full size */

/* Some bytes of a file, in order.  They stay while the view does. */
struct reader_view {
    unsigned n;
    struct iovec part[READER_MAX_PARTS];
    struct weir_tile_pin pin[READER_MAX_PARTS];
    bool is_spent[READER_MAX_PARTS]; /* the last byte of the tile is in it */
    bool is_pinned;
};

/* Bytes [at, at + n) of a file.  0 < n <= READER_MAX_BYTES; the range lies in the file. */
struct reader_range {
    const struct weir_entry *file;
    uint64_t at;
    size_t n;
    bool passes; /* they go where they are wanted: a tile whose last byte is among them is spent */
};

/* A range in at most max_parts parts (1 to READER_MAX_PARTS): in the tile cache where it has slots
 * to spare for that, else copied into worker->buffer.  One view a worker at a time; on success it
 * is given back with reader_end_view(). An error, of any tile in the range, is that of
 * weir_store_read_tile(). */
WEIR_MUST_CHECK weir_err reader_view(struct reader *r, struct reader_worker *worker,
                                     const struct reader_range *range, unsigned max_parts,
                                     struct reader_view *out);
void reader_end_view(struct reader *r, const struct reader_view *view);

/* Bytes [from, to) of a file will be read soon: tells the store.  Returns at once. */
void reader_expect(const struct reader *r, const struct weir_entry *file, uint64_t from,
                   uint64_t to);

/* What the store keeps of all tiles that `file` shows, their heads included.  Reads the heads of
 * extents that it shares with others.  WEIR_ERR_CANCELLED when *stop is set; and what
 * weir_store_tile_head() returns. */
WEIR_MUST_CHECK weir_err reader_stored_bytes(struct reader *r, struct reader_worker *worker,
                                             const struct weir_entry *file,
                                             const _Atomic bool *stop, uint64_t *out);

/* The tile that holds byte `at` of `file`: its bytes are [*from, *to) of the file. */
void reader_tile_at(const struct reader *r, const struct weir_entry *file, uint64_t at,
                    uint64_t *from, uint64_t *to);

/* The segment (a tensor, or opaque bytes) that holds byte `at` of `file`. */
const struct weir_segment *reader_segment_at(const struct weir_entry *file, uint64_t at);

struct reader_counts reader_counts(struct reader *r);

#endif
