/* streams.h - who reads a file in order, and what to decode before it is asked for.
 *
 * A program that copies a checkpoint reads forward through a file, often at several places at once,
 * and tensor by tensor in an order of its own.  Each such place is a stream.  A stream is known by
 * two reads that adjoin, or by one read in which a tensor begins; then a window ahead of it is laid
 * out as work.  When it comes there, two more are, and one each time it comes into the next; each
 * is twice as long as the one before, up to a limit.  A stream stays inside its tensor until it has
 * been seen to go on into the next.
 *
 * What is stored ahead into the page cache is read without our hearing of it.  So the first page of
 * every window is left out: the read of that page says how far the stream has come.
 *
 * Knows offsets in numbered files; knows nothing of tiles, threads, FUSE or decoding.  A fixed
 * number of streams, the one unused for longest makes room.  Not thread-safe: the caller locks. */
#ifndef WEIR_FS_STREAMS_H
#define WEIR_FS_STREAMS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "codec/err.h"

#ifdef __cplusplus
extern "C" {
#endif

enum {
    WEIR_STREAMS_PAGE = 4096,
    WEIR_STREAMS_FIRST_WINDOW = 1 << 20, /* bytes */
    WEIR_STREAMS_MAX_WINDOW = 8 << 20,
    WEIR_STREAMS_MIN_WINDOW = 256 << 10, /* less than this is not worth it */
    WEIR_STREAMS_EXPECTS = 16 << 20,     /* behind the windows: what may have to be fetched */
};

struct weir_streams_options {
    size_t n; /* streams that are remembered, 1 to 65536 */
    /* How much all windows together may hold: what is decoded must still be there when it is asked
     * for.  A stream has up to three, one that it reads and two ahead. */
    uint64_t ahead_bytes;
    uint64_t guard_bytes; /* how far past a read the kernel's own read-ahead may go */
};

struct weir_streams; /* opaque */

/* A read that somebody waits for.  All offsets are bytes in the file. */
struct weir_streams_read {
    uint32_t file;
    uint64_t at, n;
    bool is_direct;              /* past the page cache: nothing that is stored there is found */
    uint64_t unit_from, unit_to; /* the tensor (or run of other bytes) that holds the last byte */
    uint64_t file_bytes;
};

/* Work: bytes [from, to) of a file, wanted soon. */
struct weir_streams_piece {
    uint32_t file;
    uint64_t from, to; /* multiples of WEIR_STREAMS_PAGE, but for `to` at the end of the file */
    bool is_whole;     /* no page at its ends was left out to be asked for */
    uint32_t stream, life, window; /* for weir_streams_done() and the others */
};

/* Bytes [from, to) of a file. */
struct weir_streams_range {
    uint32_t file;
    uint64_t from, to;
};

struct weir_streams_counts {
    uint64_t n_streams;   /* recognised so far */
    uint64_t ahead_bytes; /* of pieces done */
    uint64_t hit_bytes;   /* of these, before what their stream has come past */
    uint64_t waste_bytes; /* of these, left behind when their stream made room for another */
};

/* WEIR_ERR_INVALID for another n; WEIR_ERR_NOMEM.  Freed with weir_streams_free(). */
WEIR_MUST_CHECK weir_err weir_streams_new(const struct weir_streams_options *options,
                                          struct weir_streams **out);
void weir_streams_free(struct weir_streams *all); /* NULL is fine */

/* Tells of a read, when it is asked for (before it is answered).  True: there is work. */
bool weir_streams_saw(struct weir_streams *all, const struct weir_streams_read *read);

/* What the stream that has read last will want, its windows and more, as far as this has not been
 * said before.  False: nothing new. */
bool weir_streams_expects(struct weir_streams *all, struct weir_streams_range *out);

/* Takes the next piece of work of the stream that was read last.  `cut` says where a piece that
 * starts at `from` had better end (above `from`; what lies past its window is ignored): at the end
 * of a tile.  False: there is none. */
bool weir_streams_next(struct weir_streams *all,
                       uint64_t (*cut)(void *self, uint32_t file, uint64_t from), void *self,
                       struct weir_streams_piece *out);

/* Whether the piece may be put into the page cache: no stream of the file can be asking for a page
 * of it before the read of a page that has been left out says that it comes.  Decoded it is of use
 * in any case. */
bool weir_streams_may_store(const struct weir_streams *all, const struct weir_streams_piece *piece);

/* `n` bytes of a piece are decoded.  Not called for pieces that failed. */
void weir_streams_done(struct weir_streams *all, const struct weir_streams_piece *piece,
                       uint64_t n);

/* Gives up what has not been taken of the piece's stream: a tile of it is bad. */
void weir_streams_stop(struct weir_streams *all, const struct weir_streams_piece *piece);

struct weir_streams_counts weir_streams_counts(const struct weir_streams *all);

#ifdef __cplusplus
}
#endif

#endif
