/* gguf.h - the key-value pairs at the beginning of a GGUF file, versions 2 and 3, little-endian.
 *
 * The caller keeps the bytes; everything found points into them.  Safe on hostile input: each
 * length is checked against what is left, and the number of pairs against a ceiling.  Knows nothing
 * of what a key means, nor of the tensors behind the pairs (codec/layout.h does). */
#ifndef WEIR_INFER_GGUF_PRIVATE_H
#define WEIR_INFER_GGUF_PRIVATE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "codec/err.h"

enum { GGUF_MAX_PAIRS = 4096 };

enum gguf_type {
    GGUF_UINT8 = 0,
    GGUF_INT8 = 1,
    GGUF_UINT16 = 2,
    GGUF_INT16 = 3,
    GGUF_UINT32 = 4,
    GGUF_INT32 = 5,
    GGUF_FLOAT32 = 6,
    GGUF_BOOL = 7,
    GGUF_STRING = 8,
    GGUF_ARRAY = 9,
    GGUF_UINT64 = 10,
    GGUF_INT64 = 11,
    GGUF_FLOAT64 = 12,
};

struct gguf_pair {
    const char *key; /* n_key bytes, no NUL behind them */
    size_t n_key;
    enum gguf_type type;
    enum gguf_type items; /* of an array */
    uint64_t n;           /* items of an array, bytes of a string; else 1 */
    const uint8_t *at;    /* the first item, a string's first byte, or the number */
    size_t bytes;         /* of it all */
};

struct gguf {
    size_t n_pairs;
    struct gguf_pair *pair; /* in the order of the file */
};

/* Freed with gguf_free().
 * WEIR_ERR_CORRUPT (also for two pairs of one key), WEIR_ERR_UNSUPPORTED (another version, too many
 * pairs), WEIR_ERR_NOMEM. */
WEIR_MUST_CHECK weir_err gguf_read(const uint8_t *bytes, size_t n, struct gguf *out,
                                   struct weir_diag *diag);
void gguf_free(struct gguf *g); /* a zeroed one is fine */

/* NULL if there is none. */
const struct gguf_pair *gguf_find(const struct gguf *g, const char *key);

/* Any integer or bool that is not negative, any float or integer, a string equal to `text`. */
bool gguf_count(const struct gguf_pair *p, uint64_t *out);
bool gguf_real(const struct gguf_pair *p, double *out);
bool gguf_is(const struct gguf_pair *p, const char *text);

#endif
