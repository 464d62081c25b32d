/* text.h - bytes that grow: what a detokeniser and a chat template write to.
 *
 * Not a C string: no NUL behind it, and NUL bytes may be in it.  Of one thread at a time. */
#ifndef WEIR_INFER_TEXT_H
#define WEIR_INFER_TEXT_H

#include <stddef.h>

#include "codec/err.h"

#ifdef __cplusplus
extern "C" {
#endif

enum {
    WEIR_TEXT_MAX_BYTES = 1 << 30, /* ceiling of every weir_text */
};

/* The caller zeroes it, reads it, may set n to any smaller number, and frees it. */
struct weir_text {
    char *bytes; /* n of them; NULL while room is 0 */
    size_t n;
    size_t room; /* bytes allocated */
};

/* `bytes` may be NULL if n is 0, and must not lie in `text`.
 * WEIR_ERR_NOMEM: no memory, or more than the ceiling; `text` is as it was. */
WEIR_MUST_CHECK weir_err weir_text_add(struct weir_text *text, const char *bytes, size_t n);

void weir_text_free(struct weir_text *text); /* zeroes it; NULL is fine */

#ifdef __cplusplus
}
#endif

#endif
