/* source.h - where bytes come from: the seam between the store and the world.
 *
 * A source is an immutable run of bytes of known size that can be read at any offset from any
 * thread.  codec/ implements it over a file and over memory, fetch/ over HTTP ranges, the tests
 * over faulty memory.  Nobody who reads through it knows which one it is. */
#ifndef WEIR_CODEC_SOURCE_H
#define WEIR_CODEC_SOURCE_H

#include <stddef.h>
#include <stdint.h>

#include "codec/err.h"

#ifdef __cplusplus
extern "C" {
#endif

struct weir_source {
    void *self;    /* the implementation's; passed back to it */
    uint64_t size; /* bytes; never changes */

    /* Fills dst with exactly n bytes from offset `at` (bytes), or fails and leaves dst undefined.
     * Callable from several threads at once.  WEIR_ERR_IO also when the range passes the end. */
    weir_err (*read)(void *self, uint64_t at, void *dst, size_t n);

    /* Releases `self`.  NULL: nothing to release. */
    void (*close)(void *self);
};

/* src->read() with the range checked against src->size first. */
WEIR_MUST_CHECK weir_err weir_source_read(const struct weir_source *src, uint64_t at, void *dst,
                                          size_t n);

/* A regular file, read with pread: a file that shrinks later gives WEIR_ERR_IO, never a signal.
 * On success the caller owns *out and passes it to weir_source_close(); on error it is untouched.
 *
 * WEIR_ERR_NOT_FOUND    no such file
 * WEIR_ERR_INVALID      not a regular file
 * WEIR_ERR_IO           cannot be opened or examined */
WEIR_MUST_CHECK weir_err weir_source_open_file(const char *path, struct weir_source *out,
                                               struct weir_diag *diag);

/* `size` bytes at `bytes`, which the caller keeps alive and unchanged.  Nothing to close. */
void weir_source_from_memory(const void *bytes, size_t size, struct weir_source *out);

/* Closes and zeroes *src.  A zeroed source or NULL is fine. */
void weir_source_close(struct weir_source *src);

#ifdef __cplusplus
}
#endif

#endif
