/* plain_shown.h - where the objects of a store are shown: the way back from a tile to files. */
#ifndef WEIR_FETCH_PLAIN_SHOWN_H
#define WEIR_FETCH_PLAIN_SHOWN_H

#include <stddef.h>
#include <stdint.h>

#include "codec/err.h"
#include "codec/store.h"
#include "plain_tree.h"

struct plain_showing {
    uint32_t entry, segment;
};

/* Object o is shown by showing[first[o]] to showing[first[o + 1] - 1]. */
struct plain_shown {
    size_t *first;
    struct plain_showing *showing;
};

/* Of the files that are not there.  WEIR_ERR_NOMEM; plain_shown_free() in any case. */
WEIR_MUST_CHECK weir_err plain_shown_new(struct plain_shown *shown, const struct plain_tree *tree);
void plain_shown_free(struct plain_shown *shown); /* a zeroed one is fine */

/* Puts the extents of an object in `map`; takes them out. */
void plain_want(const struct weir_store *store, uint32_t object, uint8_t *map);
void plain_unwant(const struct weir_store *store, uint32_t object, uint8_t *map);

#endif
