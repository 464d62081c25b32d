/* special.h - the directory `.weir` that the root has beside the store's entries.
 *
 * Its nodes are numbered after the tree's: that of `.weir` is tree.n_nodes. */
#ifndef WEIR_FS_SPECIAL_PRIVATE_H
#define WEIR_FS_SPECIAL_PRIVATE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum special {
    SPECIAL_DIR,
    SPECIAL_STORE,
    SPECIAL_STATUS,
    N_SPECIAL,
};

/* What they are called, SPECIAL_DIR's in the root and the others' in it. */
extern const char *const special_name[N_SPECIAL];

/* status.json is padded to this, so that its size never changes: who has read half of it does not
 * run into another end. */
enum { STATUS_BYTES = 4096 };

struct mount;

bool is_special(const struct mount *m, uint32_t node);
enum special special_of(const struct mount *m, uint32_t node);
uint32_t special_node(const struct mount *m, enum special which);

/* A mount that shows a part of the store does not show the store. */
bool special_is_there(const struct mount *m, enum special which);

/* Whether `name` in `parent` is one of them. */
bool special_find(const struct mount *m, uint32_t parent, const char *name, uint32_t *out);

/* The whole of status.json. */
void status_write(const struct mount *m, char out[STATUS_BYTES]);

#endif
