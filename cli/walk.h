/* walk.h - a directory tree (or one file) as the list of entries that weir_pack() wants.
 *
 * Symbolic links are followed, those to directories too, because a Hub cache's snapshot is a
 * folder of links; a link that leads to a folder it lies in is an error and not an endless walk.
 * Every file is looked at once here and once more after packing: a file that changed meanwhile
 * is noticed. */
#ifndef WEIR_CLI_WALK_H
#define WEIR_CLI_WALK_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/stat.h>

#include "codec/pack.h"

struct walk_options {
    bool keep_links;         /* links that stay inside the tree are entries, not what they show */
    const struct stat *skip; /* leave this file out (the store that is being made); NULL: none */
};

struct walk_item {
    char *path; /* in the store; points into `from` */
    char *from; /* to open it */
    char *target;
    enum weir_entry_kind kind;
    struct stat seen;
};

struct walk {
    size_t n, capacity;
    struct walk_item *item; /* ascending by path inside each folder, folders before contents */
    size_t n_files, n_dirs, n_links;
};

/* *out is freed with walk_free().  *diag names the file and says what to do.
 *
 * WEIR_ERR_NOT_FOUND    `from`, or what a link shows, does not exist
 * WEIR_ERR_INVALID      `from` is empty
 * WEIR_ERR_IO           cannot be read; a loop; with keep_links a link that leaves the tree
 * WEIR_ERR_UNSUPPORTED  a socket, a FIFO or a device; too many entries
 * WEIR_ERR_CANCELLED    a signal came
 * WEIR_ERR_NOMEM */
WEIR_MUST_CHECK weir_err walk_tree(const char *from, const struct walk_options *options,
                                   struct walk **out, struct weir_diag *diag);
void walk_free(struct walk *walk); /* NULL is fine */

/* An array of walk->n entries that point into `walk`; freed with free().  NULL: out of memory. */
struct weir_pack_entry *walk_entries(const struct walk *walk);

#endif
