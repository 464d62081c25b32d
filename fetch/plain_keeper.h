/* plain_keeper.h - a thread that keeps what is written: it hashes each file as far as it is there
 * without a gap, gives whole files their names, and brings bytes and marks to disk, in this order.
 *
 * Reading back comes from the page cache, so that little is left to do when the last extent has
 * come. */
#ifndef WEIR_FETCH_PLAIN_KEEPER_H
#define WEIR_FETCH_PLAIN_KEEPER_H

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>

#include "codec/err.h"
#include "marks.h"
#include "plain_tree.h"

struct plain_keeper {
    struct plain_tree *tree; /* borrowed, as is marks */
    struct marks *marks;
    int since_boot; /* a file whose marks are not waited for; -1: none */
    pthread_t thread;
    bool runs;

    pthread_mutex_t lock; /* of all below, of marks->map and marks->n_unsynced */
    pthread_cond_t changed;
    bool ending;    /* no more extents will come */
    bool giving_up; /* ... and nothing is to be finished */
    bool ended;
    weir_err err;
    struct weir_diag diag;

    /* the thread's own */
    struct evp_md_ctx_st *hash;
    uint32_t entry, segment; /* where hashing is */
    uint64_t at;             /* in the entry; hashed so far */
    bool begun;              /* with the entry */
    uint8_t *part;           /* bytes on their way to the hash */
    uint8_t *map;            /* the marks that a sync began with */
    uint32_t n_bad;          /* files with another SHA-256 */
    struct weir_diag bad;    /* the first of them */
};

/* Begins; plain_keeper_end() in any case, once.  WEIR_ERR_NOMEM */
WEIR_MUST_CHECK weir_err plain_keeper_begin(struct plain_keeper *k, struct plain_tree *tree,
                                            struct marks *marks, int since_boot);

/* The plain bytes of extent `extent` are written wherever they belong. */
void plain_keeper_mark(struct plain_keeper *k, uint32_t extent);

/* Its error so far.  *diag as of plain_keeper_end(). */
weir_err plain_keeper_error(struct plain_keeper *k, struct weir_diag *diag);

/* No more extents will come; with `give_up` nothing more is hashed, only marks are kept.  Waits for
 * the end, or 100 ms: true when it has come. */
bool plain_keeper_wait(struct plain_keeper *k, bool give_up);

/* Waits for the end.  Marks of files with another SHA-256 than the index has are taken back.
 *
 * WEIR_ERR_MISMATCH  there are such files; *diag names one
 * WEIR_ERR_IO        *diag names the file; WEIR_ERR_NOMEM */
WEIR_MUST_CHECK weir_err plain_keeper_end(struct plain_keeper *k, struct weir_diag *diag);

/* Takes the marks of all extents that the file `entry` shows out of `map`. */
void plain_unmark(const struct weir_store *store, uint32_t entry, uint8_t *map);

#endif
