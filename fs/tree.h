/* tree.h - the entries of a store as a tree of numbered nodes: what lookup and readdir walk.
 *
 * Node 0 is the root, which has no entry; entry i of the store is node i + 1.  A tree never changes
 * after it is built, so threads share it without locking.  Knows nothing of FUSE. */
#ifndef WEIR_FS_TREE_PRIVATE_H
#define WEIR_FS_TREE_PRIVATE_H

#include <stddef.h>
#include <stdint.h>

#include "codec/err.h"
#include "codec/store.h"

enum { TREE_ROOT = 0 };

struct tree_node {
    const struct weir_entry *entry; /* the store's; NULL: the root */
    const char *name;               /* last component of entry->path; "" for the root */
    uint32_t parent;                /* of the root: itself */
    uint32_t first_child;           /* index into tree.child */
    uint32_t n_children;
    uint32_t n_dirs; /* among the children */
    uint64_t
        stored_bytes; /* share of the file's tiles in the store; shared objects count for each */
};

struct tree {
    uint32_t n_nodes;
    struct tree_node *node;
    uint32_t *child; /* node numbers; those of one directory are together, ascending by name */
};

/* `store` is borrowed and must outlive the tree.  On error *out is untouched.
 * WEIR_ERR_CORRUPT when an entry's parent is not there; WEIR_ERR_NOMEM. */
WEIR_MUST_CHECK weir_err tree_new(const struct weir_store *store, struct tree **out);
void tree_free(struct tree *t); /* NULL is fine */

/* Node number of `name` in node `dir`; TREE_ROOT if there is none. */
uint32_t tree_find(const struct tree *t, uint32_t dir, const char *name);

#endif
