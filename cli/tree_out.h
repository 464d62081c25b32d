/* tree_out.h - the folder that unpack fills, as a sink for weir_extract().
 *
 * Each file is written under a temporary name and gets its own when its SHA-256 is right.  Neither
 * the store's paths nor links that lie in the folder can lead a write outside it: every component
 * is opened by itself, without following links.  What is not finished is taken back: after an
 * error the folder is as it was, but for files that were replaced (-f), which are whole. */
#ifndef WEIR_CLI_TREE_OUT_H
#define WEIR_CLI_TREE_OUT_H

#include <pthread.h>
#include <stdbool.h>

#include "codec/extract.h"
#include "codec/store.h"

struct tree_out {
    const struct weir_store *store; /* borrowed */
    const char *name;               /* of the folder; borrowed */
    int root;                       /* the folder; -1: not open */
    bool replace, finished;
    bool made_root;
    uint64_t nonce;        /* makes temporary names that nobody else has */
    int *fd;               /* by entry; -1: not being written */
    bool *made;            /* by entry: not there before, ours to take back */
    bool *there;           /* by entry: was there before */
    pthread_mutex_t lock;  /* of diag */
    struct weir_diag diag; /* what was wrong with the folder; the first reason */
};

/* Creates the folder and the store's directories in it; looks whether anything is in the way
 * first.  Call tree_out_close() in any case.
 *
 * WEIR_ERR_IO      something exists and !replace, or cannot be created
 * WEIR_ERR_NOMEM */
WEIR_MUST_CHECK weir_err tree_out_open(struct tree_out *t, const struct weir_store *store,
                                       const char *folder, bool replace, struct weir_diag *diag);

struct weir_sink tree_out_sink(struct tree_out *t);

/* Links, then the permissions of directories.  Nothing is taken back afterwards. */
WEIR_MUST_CHECK weir_err tree_out_finish(struct tree_out *t, struct weir_diag *diag);

void tree_out_close(struct tree_out *t);

#endif
