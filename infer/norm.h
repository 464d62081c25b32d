/* norm.h - changes to text before it is cut: what tokenizer.json calls normalizers, and what its
 * pre-tokenizers put in front. */
#ifndef WEIR_INFER_NORM_PRIVATE_H
#define WEIR_INFER_NORM_PRIVATE_H

#include <stdbool.h>
#include <stddef.h>

#include "codec/err.h"
#include "infer/text.h"

enum {
    NORM_MAX_STRING = 15,
    NORM_MAX_TIMES =
        8, /* as long may a text become (NFC and U+2581 for spaces: 3), and NORM_MORE */
    NORM_MORE = 64,
};

enum norm_kind {
    NORM_NFC,
    NORM_REPLACE,         /* each `from` by `to` */
    NORM_PREPEND,         /* `to` in front, unless there is no text */
    NORM_PREPEND_MISSING, /* the same, unless the text begins with it */
    NORM_PREPEND_FIRST,   /* the same, and only at the very start of the text */
};

struct norm {
    enum norm_kind kind;
    char from[NORM_MAX_STRING + 1], to[NORM_MAX_STRING + 1];
    size_t n_from, n_to; /* bytes; n_from at least 1 */
};

/* Memory, kept from one text to the next.  Zeroed at first. */
struct normer {
    struct weir_text text, spare;
};

/* n bytes, any, by each of n_norms in turn.  `at_start`: nothing lies in front of them.  `out`: in
 * normer->text, or `text` itself if there is nothing to change.  Bytes that are not UTF-8 stay.
 * WEIR_ERR_UNSUPPORTED: the text becomes too long; WEIR_ERR_NOMEM. */
WEIR_MUST_CHECK weir_err norm_text(const struct norm *norms, size_t n_norms, const char *text,
                                   size_t n, bool at_start, struct normer *normer,
                                   struct weir_text *out);

/* Adds the NFC of n bytes to `out`. */
WEIR_MUST_CHECK weir_err norm_nfc(const char *text, size_t n, struct weir_text *out);

void normer_free(struct normer *normer);

#endif
