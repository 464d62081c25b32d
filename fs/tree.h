/* tree.h - the entries of a store as a tree of numbered nodes: what lookup and readdir walk.
 *
 * Node 0 is the store's root, which has no entry; entry i of the store is node i + 1.  A tree never
 * changes after it is built, so threads share it without locking.  Knows nothing of FUSE. */
#ifndef WEIR_FS_TREE_PRIVATE_H
#define WEIR_FS_TREE_PRIVATE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "codec/err.h"
#include "codec/store.h"

#define TREE_NONE UINT32_MAX

enum { TREE_STORE_ROOT = 0 };

struct tree_node {
    const struct weir_entry *entry; /* the store's; NULL: the store's root */
    const char *name;               /* last component of entry->path; "" for the store's root */
    uint32_t parent;                /* of the store's root: itself */
    uint32_t first_child;           /* index into tree.child */
    uint32_t n_children;
    uint32_t n_dirs; /* among the children */
    /* Of the file's tiles; of an extent that files share, as much as they have of its plain bytes.
     */
    uint64_t stored_bytes;
};

struct tree {
    uint32_t n_nodes;
    uint32_t root;        /* what is shown: this directory and what is below it */
    uint32_t n_shown;     /* nodes at and below root */
    uint64_t plain_bytes; /* of the files below root */
    struct tree_node *node;
    uint32_t *child; /* node numbers; those of one directory are together, ascending by name */
};

/* `store` is borrowed and must outlive the tree.  `subdir`: path of the root in the store, slashes
 * around it are fine; NULL or "": all of it.  On error *out is untouched.
 *
 * WEIR_ERR_NOT_FOUND  subdir is no directory of the store
 * WEIR_ERR_CORRUPT    an entry's parent is not there
 * WEIR_ERR_NOMEM */
WEIR_MUST_CHECK weir_err tree_new(const struct weir_store *store, const char *subdir,
                                  struct tree **out);
void tree_free(struct tree *t); /* NULL is fine */

/* Node number of `name` in node `dir`; TREE_NONE if there is none. */
uint32_t tree_find(const struct tree *t, uint32_t dir, const char *name);

/* Whether a link, which stays inside the store as all do, leads out of what is shown. */
bool tree_link_leaves(const struct tree *t, uint32_t link);

#endif
