/* plain_tree.h - the folder that is filled with a store's files, on disk.
 *
 *     DIR/.weir-fetch/         what is not whole yet
 *         marks                which extents' plain bytes are on disk; also the lock (marks.h)
 *         since-boot           the same, without waiting for the disk
 *         coming               stored bytes of extents on their way
 *         NUMBER               the plain bytes of entry NUMBER, until it gets its name
 *
 * It is one file system with DIR, and no name of the store can be in the way of one of these.
 * Writing is for many threads at once, all else for one. */
#ifndef WEIR_FETCH_PLAIN_TREE_H
#define WEIR_FETCH_PLAIN_TREE_H

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>

#include "codec/err.h"
#include "codec/pack.h"
#include "codec/store.h"

#define PLAIN_STAGING ".weir-fetch"

enum { PLAIN_NAME_BYTES = 16 };

/* A file of the store, by its entry's number. */
struct plain_file {
    bool there;    /* has its name; nothing is left to do */
    bool replaces; /* whatever else has its name */
    bool unsynced; /* written to since the last plain_tree_sync(); under lock */
    int fd;        /* -1: not open; under lock */
};

struct plain_tree {
    const struct weir_store *store; /* borrowed */
    const char *name;               /* of the folder; borrowed */
    int root, staging;              /* -1: not open */
    bool made_root, made_staging, replace;
    const struct weir_watch *watch; /* borrowed; NULL: none */
    struct plain_file *file;        /* by entry */
    pthread_mutex_t lock;
    unsigned n_open;
};

/* Makes or opens the folder and its staging folder.  plain_tree_close() in any case; a zeroed one
 * with descriptors -1 is fine there.  WEIR_ERR_IO, WEIR_ERR_NOMEM */
WEIR_MUST_CHECK weir_err plain_tree_open(struct plain_tree *t, const struct weir_store *store,
                                         const char *folder, bool replace, struct weir_diag *diag);
void plain_tree_close(struct plain_tree *t);

/* Looks what of the store is in the folder already, by its SHA-256, and whether anything is in the
 * way.  Writes nothing.  `watch` (or NULL) is only asked whether to go on. */
WEIR_MUST_CHECK weir_err plain_tree_look(struct plain_tree *t, const struct weir_watch *watch,
                                         struct weir_diag *diag);

/* Removes all that is staged, marks apart. */
WEIR_MUST_CHECK weir_err plain_tree_drop(struct plain_tree *t, struct weir_diag *diag);

/* Whether the entry's bytes lie in the staging folder, at their full length. */
bool plain_tree_is_staged(const struct plain_tree *t, uint32_t entry);

/* Makes directories, and room for all files that are not there. */
WEIR_MUST_CHECK weir_err plain_tree_prepare(struct plain_tree *t, struct weir_diag *diag);

/* n bytes of file `entry`, which is not there yet, at `at`.  read: WEIR_ERR_IO also where it is
 * shorter. */
WEIR_MUST_CHECK weir_err plain_tree_write(struct plain_tree *t, uint32_t entry, uint64_t at,
                                          const void *bytes, size_t n, struct weir_diag *diag);
WEIR_MUST_CHECK weir_err plain_tree_read(struct plain_tree *t, uint32_t entry, uint64_t at,
                                         void *bytes, size_t n, struct weir_diag *diag);

/* Brings to disk what was written before the call. */
WEIR_MUST_CHECK weir_err plain_tree_sync(struct plain_tree *t, struct weir_diag *diag);

/* Gives file `entry`, which is whole, its name: after its bytes and permissions are on disk. */
WEIR_MUST_CHECK weir_err plain_tree_place(struct plain_tree *t, uint32_t entry,
                                          struct weir_diag *diag);

/* All files have their names: links, permissions of directories; all names to disk; then the
 * staging folder goes. */
WEIR_MUST_CHECK weir_err plain_tree_finish(struct plain_tree *t, struct weir_diag *diag);

/* Nothing is worth keeping: the staging folder goes, and what of the folder was made by us. */
void plain_tree_take_back(struct plain_tree *t);

/* "FOLDER/PATH" of an entry, cut to fit.  Returns buf. */
enum { PLAIN_SHOWN_BYTES = 400 };
char *plain_tree_shown(const struct plain_tree *t, uint32_t entry, char buf[PLAIN_SHOWN_BYTES]);

#endif
