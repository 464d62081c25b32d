/* parts.h - a plain file that is being fetched, on disk: as partial.h has it, cut into parts of one
 * size that have no hash of their own.
 *
 * What a part is on disk for, nobody can tell by looking at it.  So there are two marks for each: a
 * firm one is on disk only when its part is; a loose one is written as soon as its part is, and
 * counts for as long as the machine runs: a process that is killed leaves its bytes to the kernel.
 * The file's own hash, checked over all of it, has the last word.  For one thread at a time, but
 * for parts_note(). */
#ifndef WEIR_FETCH_PARTS_H
#define WEIR_FETCH_PARTS_H

#include "partial.h"

enum {
    PARTS_BYTES = 8 << 20, /* each but the last */
    PARTS_BOOT_BYTES = 16, /* which run of the machine loose marks are of */
};

struct parts {
    struct partial partial; /* its map: firm marks, loose marks, the boot; n_map: firm ones */
    uint32_t n;             /* parts */
};

/* Locks `target`, takes up what an earlier run has left of a file of this `digest` and `size`
 * (bytes, at most WEIR_HUB_MAX_SIZE), or begins anew.  parts_close() in any case.  Errors as of
 * partial_open(). */
WEIR_MUST_CHECK weir_err parts_open(struct parts *p, const char *target,
                                    const uint8_t digest[WEIR_DIGEST_BYTES], uint64_t size,
                                    struct weir_diag *diag);

/* Whether part number `part` is written. */
bool parts_has(const struct parts *p, uint32_t part);

/* Part number `part` is written: puts a loose mark into the file.  From any thread while p is open;
 * errors cost a fetch of the part at most, and are passed over. */
void parts_note(const struct parts *p, uint32_t part);

/* The same in memory, after parts_note(). */
void parts_mark(struct parts *p, uint32_t part);

/* Makes loose marks firm when that is due; with `now` in any case.  WEIR_ERR_IO */
WEIR_MUST_CHECK weir_err parts_sync(struct parts *p, bool now, struct weir_diag *diag);

/* Bytes of part number `part` of a file of `size` bytes. */
size_t parts_bytes_of(uint64_t size, uint32_t part);

/* Bytes of the parts that are written. */
uint64_t parts_bytes(const struct parts *p);

void parts_close(struct parts *p); /* as partial_close() */

#endif
