/* marks.h - which extents are there and verified, in memory and on disk: a bitmap as in sidecar.h.
 *
 * A mark is on disk only when what it speaks of is: the owner's data goes to disk first.  For one
 * thread at a time. */
#ifndef WEIR_FETCH_MARKS_H
#define WEIR_FETCH_MARKS_H

#include <stdbool.h>
#include <stdint.h>

#include "codec/err.h"
#include "sidecar.h"

struct marks {
    int fd;              /* of the file that has the bitmap; -1: none */
    uint64_t at;         /* where in that file */
    char *name;          /* of that file, for messages */
    uint8_t *map;        /* in memory */
    size_t n_map;        /* bytes */
    uint32_t n_unsynced; /* marks that are not on disk */
    double synced;       /* when the last sync was */
    int broken;          /* errno of a sync that failed: what is on disk is unknown from then on */
};

/* Its memory, without a mark; marks_close() in any case.  WEIR_ERR_NOMEM */
WEIR_MUST_CHECK weir_err marks_init(struct marks *m, const char *name, uint32_t n_extents);

/* Opens the file `leaf` of the folder `dir`, makes it if there is none, and locks it.  `target` is
 * for the message that somebody else has it.  WEIR_ERR_IO; errno is ENOENT where the folder is
 * gone. */
WEIR_MUST_CHECK weir_err marks_lock(struct marks *m, int dir, const char *leaf, const char *target,
                                    struct weir_diag *diag);

/* Makes the file a sidecar about `about` if it is not one yet, after drop(self): marks that speak
 * of other data are gone from the disk before the data are.  *fits: it was one; its marks are in
 * m->map then.  usable: whether the data are such that marks can be about them.
 *
 * WEIR_ERR_IO, WEIR_ERR_NOMEM, and what drop() returns. */
struct marks_anew {
    const struct sidecar *about;
    bool usable;
    void *self;
    weir_err (*drop)(void *self, struct weir_diag *diag);
};
WEIR_MUST_CHECK weir_err marks_take_up(struct marks *m, const struct marks_anew *anew, bool *fits,
                                       struct weir_diag *diag);

/* Locks a file that has marks and data.  WEIR_ERR_IO, also when somebody else has it. */
WEIR_MUST_CHECK weir_err marks_lock_file(int fd, const char *name, struct weir_diag *diag);

void marks_set(struct marks *m, uint32_t extent);

/* Whether a sync is due. */
bool marks_are_due(const struct marks *m);

/* Writes `map`, n_map bytes, which may be older than m->map, and brings it to disk.  What it speaks
 * of is there already. */
WEIR_MUST_CHECK weir_err marks_write(struct marks *m, const uint8_t *map, struct weir_diag *diag);

/* A sync of `name`, of which the marks speak, has failed, and errno says why: no mark is written
 * any more.  Returns WEIR_ERR_IO. */
WEIR_MUST_CHECK weir_err marks_break_off(struct marks *m, const char *name, struct weir_diag *diag);

/* The same words again.  (The kernel tells of bytes that it lost only once.) */
WEIR_MUST_CHECK weir_err marks_still_broken(const struct marks *m, const char *name,
                                            struct weir_diag *diag);

/* Lets go of file and memory.  A zeroed one with fd -1 is fine. */
void marks_close(struct marks *m);

/* Whether `fd` is the file that is called `leaf` in the folder `dir`. */
bool marks_same_file(int fd, int dir, const char *leaf);

/* "NAME: what errno says", with what to do about it.  Returns WEIR_ERR_IO. */
weir_err fail_errno(struct weir_diag *diag, const char *name);

#endif
