/* compare.h - a store against a plain tree, as a sink for weir_extract().
 *
 * A near-lossless tensor is the same where each weight is within half a step, as the format
 * promises. */
#ifndef WEIR_CLI_COMPARE_H
#define WEIR_CLI_COMPARE_H

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>

#include "codec/extract.h"
#include "codec/store.h"
#include "walk.h"

enum difference_kind {
    DIFF_MISSING, /* in the store only */
    DIFF_EXTRA,   /* in the tree only */
    DIFF_KIND,    /* a file here, a folder or link there */
    DIFF_TARGET,  /* of a link */
    DIFF_SIZE,
    DIFF_BYTES,
};

struct difference {
    const char *path; /* the store's or the walk's */
    enum difference_kind kind;
    uint64_t at;           /* first byte that differs; DIFF_SIZE and DIFF_BYTES */
    uint64_t stored, tree; /* sizes; DIFF_SIZE */
};

/* What is known of a file while it is compared. */
struct pair {
    const struct walk_item *item; /* NULL: nothing to compare with */
    struct weir_source src;
    /* Under compare.lock: */
    uint64_t first; /* lowest offset that differs so far, else UINT64_MAX */
};

struct compare {
    const struct weir_store *store; /* borrowed */
    struct walk *walk;              /* its items ascending by path */
    struct pair *pair;              /* by entry */
    size_t n, capacity;
    struct difference *difference; /* trees first, then files in order; under lock */
    pthread_mutex_t lock;
    struct weir_diag diag;         /* why the sink failed */
    struct weir_nearness nearness; /* of all near-lossless tensors, as found; under lock */
};

/* Walks the tree at `from` and compares the lists.  Call compare_close() in any case.
 * What walk_tree() returns. */
WEIR_MUST_CHECK weir_err compare_open(struct compare *c, const struct weir_store *store,
                                      const char *from, struct weir_diag *diag);
struct weir_sink compare_sink(struct compare *c);
void compare_close(struct compare *c);

/* One line of English about d, such as "differs at byte 17". */
enum { DIFFERENCE_TEXT = 128 };
char *difference_text(const struct difference *d, char buf[DIFFERENCE_TEXT]);

#endif
