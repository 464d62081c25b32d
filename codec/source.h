/* source.h - where bytes come from: the seam between the store and the world.
 *
 * A source is a run of bytes of known size that can be read at any offset from any thread.  They
 * are not meant to change; where somebody else may change them all the same, revision() tells.
 * codec/ implements it over a file and over memory, fetch/ over HTTP ranges, the tests over faulty
 * memory.  Nobody who reads through it knows which one it is. */
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

    /* A number that differs from every earlier answer that the bytes may have changed since, or 0:
     * they are just changing, remember nothing.  So what was read between two equal answers was
     * there at both.  Callable like read.  NULL: the bytes never change. */
    weir_err (*revision)(void *self, uint64_t *out);

    /* The n bytes at `at` will probably be read soon: whoever has to fetch them may begin.  Returns
     * at once, promises nothing, and may be ignored.  Callable like read.  NULL: nothing to gain.
     */
    void (*expect)(void *self, uint64_t at, uint64_t n);

    /* Like read, but leaves no copy in the system's memory where it can: for what is read again and
     * again and is larger than that.  NULL: read is as good. */
    weir_err (*read_past)(void *self, uint64_t at, void *dst, size_t n);
};

/* src->read() with the range checked against src->size first. */
WEIR_MUST_CHECK weir_err weir_source_read(const struct weir_source *src, uint64_t at, void *dst,
                                          size_t n);

/* The same with src->read_past(), if there is such a thing. */
WEIR_MUST_CHECK weir_err weir_source_read_past(const struct weir_source *src, uint64_t at,
                                               void *dst, size_t n);

/* src->revision(); 1 where there is none. */
WEIR_MUST_CHECK weir_err weir_source_revision(const struct weir_source *src, uint64_t *out);

/* src->expect() of the part of the range that lies inside the source, if there is such a thing. */
void weir_source_expect(const struct weir_source *src, uint64_t at, uint64_t n);

/* A regular file, read with pread: a file that shrinks later gives WEIR_ERR_IO, never a signal.
 * read_past() reads with O_DIRECT if offset, length and memory are multiples of 4096 and the file
 * system can; else it is read().
 * On success the caller owns *out and passes it to weir_source_close(); on error it is untouched.
 *
 * Its revision is made of size, mtime and ctime, and is 0 for a second after a change.  Opening
 * waits until the last change is 20 ms old, as another one could leave the same times, but 100 ms
 * at most.  Changes that show in no time are not noticed: through a mapping, until the page is
 * written back; below the file system; in the same second, where times are that coarse;
 * on a network file system, as long as it serves attributes from its cache; by a
 * write() that takes longer than a second, or is already going on when the file is opened.
 *
 * WEIR_ERR_NOT_FOUND    no such file
 * WEIR_ERR_INVALID      not a regular file
 * WEIR_ERR_IO           cannot be opened or examined
 * WEIR_ERR_NOMEM */
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
