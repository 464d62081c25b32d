/* stop.h - texts that end a text, found wherever tokens cut them.
 *
 * Text goes in in pieces and comes out as soon as it is certain that it is not the beginning of a
 * stop; what could be one is held back. */
#ifndef WEIR_INFER_STOP_H
#define WEIR_INFER_STOP_H

#include <stdbool.h>
#include <stddef.h>

#include "codec/err.h"
#include "infer/text.h"

#ifdef __cplusplus
extern "C" {
#endif

struct weir_stops {
    const char *const *stop; /* n texts, none of them empty; the caller's */
    size_t n;
    struct weir_text held; /* private, zero at first */
};

/* Adds to `out` what can no longer be part of a stop.  *stopped: one was found; what is before the
 * first of them is in `out`, and what follows is dropped.  WEIR_ERR_NOMEM. */
WEIR_MUST_CHECK weir_err weir_stops_push(struct weir_stops *s, const char *bytes, size_t n,
                                         struct weir_text *out, bool *stopped);

/* At the end: what is held back was none.  WEIR_ERR_NOMEM. */
WEIR_MUST_CHECK weir_err weir_stops_end(struct weir_stops *s, struct weir_text *out);
void weir_stops_free(struct weir_stops *s); /* what is private; NULL is fine */

#ifdef __cplusplus
}
#endif

#endif
