/* jsontree.h - hostile JSON read by jansson, with a ceiling on memory and an honest "out of
 * memory".
 *
 * Strict RFC 8259 in UTF-8, an object at the top, white space around it and nothing else.  Refused
 * besides: duplicate keys, U+0000 in strings, integers beyond 64 bits with a sign, reals beyond a
 * double, nesting of more than 2048.  Knows nothing of what the object means. Thread-safe.
 *
 * The tree lies in blocks of its own.  jansson cannot be left to malloc(): 2.14 hides a failed one
 * as a syntax error, as no error, or as a string that lacks a byte, and when it is the closing
 * quote's that fails, it reads and writes past its buffers. */
#ifndef WEIR_CODEC_JSONTREE_H
#define WEIR_CODEC_JSONTREE_H

#include <jansson.h>
#include <stddef.h>

#include "codec/err.h"

#ifdef __cplusplus
extern "C" {
#endif

enum {
    /* For `most_bytes`: what every text of up to half a megabyte fits in.  Plain lists and long
     * strings of some megabytes do too. */
    WEIR_JSONTREE_USUAL = 68 << 20,
};

struct weir_jsontree {
    json_t *root; /* an object or an array, to be read only: no references taken or dropped */
    void *blocks; /* private */
};

/* `most_bytes`: ceiling of all blocks together; they grow as the text needs them, the first is of
 * 4 KiB to 1 MiB.  Measured, per byte of text: a tokenizer.json takes 5 to 6 (Llama-3.1's 9 MB:
 * 43 MB; Qwen3's 11 MB: 63 MB), and `{},` again and again 80.
 * On success the text is no longer needed, and `out` is freed with weir_jsontree_free().
 * WEIR_ERR_CORRUPT: not JSON of that kind, or it needs more; WEIR_ERR_NOMEM. */
WEIR_MUST_CHECK weir_err weir_jsontree_read(const char *text, size_t n, size_t most_bytes,
                                            struct weir_jsontree *out);

/* The same; an array is fine, too. */
WEIR_MUST_CHECK weir_err weir_jsontree_read_any(const char *text, size_t n, size_t most_bytes,
                                                struct weir_jsontree *out);

/* weir_jsontree_read(), but all numbers are reals, so that integers may have any size:
 * tokenizer_config.json has 10^30 for "no limit". */
WEIR_MUST_CHECK weir_err weir_jsontree_read_reals(const char *text, size_t n, size_t most_bytes,
                                                  struct weir_jsontree *out);

void weir_jsontree_free(struct weir_jsontree *tree); /* a zeroed one is fine */

#ifdef __cplusplus
}
#endif

#endif
