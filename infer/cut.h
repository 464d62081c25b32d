/* cut.h - text into pieces that no token crosses: what tokenizer.json calls pre-tokenizers. */
#ifndef WEIR_INFER_CUT_PRIVATE_H
#define WEIR_INFER_CUT_PRIVATE_H

#include <stddef.h>
#include <stdint.h>

#include "codec/err.h"
#include "pattern.h"

enum {
    CUT_MAX_STRING = 15,
};

enum cut_keep { /* where a match goes */
                CUT_ISOLATED,
                CUT_WITH_PREVIOUS,
                CUT_WITH_NEXT,
                CUT_CONTIGUOUS,    /* neighbouring matches become one */
                CUT_RUN_WITH_NEXT, /* neighbouring matches and what follows become one */
};

struct cut {
    struct pattern *pattern; /* owned; NULL: the string */
    char string[CUT_MAX_STRING + 1];
    size_t n; /* bytes of the string, at least 1 */
    enum cut_keep keep;
};

struct span {
    uint32_t at, n; /* n > 0 */
};

struct spans {
    struct span *span;
    size_t n, room;
};

/* Memory, kept from one text to the next.  Zeroed at first. */
struct cutter {
    struct matcher *matcher; /* the caller's, if any cut has a pattern */
    struct spans found, spare;
};

/* n bytes (below 4 GiB, any) by each of n_cuts cuts in turn, into cutter->found.  Bytes that are
 * not UTF-8 are kept away from patterns: a run of them is a piece.
 * WEIR_ERR_UNSUPPORTED: a pattern's limit; WEIR_ERR_NOMEM. */
WEIR_MUST_CHECK weir_err cut_text(const struct cut *cuts, size_t n_cuts, const char *text, size_t n,
                                  struct cutter *cutter);

void cutter_free(struct cutter *cutter); /* but for the matcher */

#endif
