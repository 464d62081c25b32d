/* added.h - tokens that are found in the text as they are, before anything else is done to it. */
#ifndef WEIR_INFER_ADDED_PRIVATE_H
#define WEIR_INFER_ADDED_PRIVATE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "codec/err.h"

enum {
    ADDED_MAX_BYTES = 512, /* of one */
};

struct added_token {
    uint32_t id;
    uint32_t at, n;   /* its text, in the set's bytes; n > 0 */
    bool special;     /* marks structure */
    bool left, right; /* takes the white space on that side with it */
    bool single_word; /* not within a word */
};

struct added_set {
    struct added_token *token; /* n of them, sorted by their bytes, no two alike */
    size_t n, room;
    char *bytes;
    size_t n_bytes, bytes_room;
    bool begins[256]; /* is the first byte of one */
};

/* At most `room` tokens with n_bytes of text in all.  Freed with added_free() also when it fails.
 * WEIR_ERR_NOMEM. */
WEIR_MUST_CHECK weir_err added_start(struct added_set *set, size_t room, size_t n_bytes);

/* token->at and ->n are set here.  n is 1 to ADDED_MAX_BYTES; false: no room. */
bool added_put(struct added_set *set, struct added_token token, const char *text, size_t n);

/* After the last one.  WEIR_ERR_CORRUPT: two are alike. */
WEIR_MUST_CHECK weir_err added_sort(struct added_set *set);

void added_free(struct added_set *set);

/* NULL: none is exactly this. */
const struct added_token *added_find(const struct added_set *set, const char *text, size_t n);

struct added_match {
    const struct added_token *token; /* NULL: no more */
    size_t at, end;                  /* white space that it takes included */
};

/* The first, and of those the longest, in text[from .. n).  `from`: the end of the match before, or
 * 0; `parse_special`: else special tokens are passed over, as text. */
struct added_match added_next(const struct added_set *set, const char *text, size_t n, size_t from,
                              bool parse_special);

#endif
