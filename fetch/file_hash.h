/* file_hash.h - the hash that a repository's listing has of a file, over bytes that come in order.
 * For one thread at a time. */
#ifndef WEIR_FETCH_FILE_HASH_H
#define WEIR_FETCH_FILE_HASH_H

#include <stdbool.h>
#include <stddef.h>

#include "fetch/hub.h"

enum { FILE_HASH_HEX = 2 * WEIR_DIGEST_BYTES + 1 };

struct file_hash {
    struct evp_md_ctx_st *ctx; /* NULL: not begun */
};

/* Begins anew, whatever was there.  WEIR_ERR_NOMEM, as below. */
WEIR_MUST_CHECK weir_err file_hash_begin(struct file_hash *hash, const struct weir_hub_file *file);
WEIR_MUST_CHECK weir_err file_hash_add(struct file_hash *hash, const void *bytes, size_t n);

/* All bytes are there: *same tells whether they are `file`'s.  The hash is to be begun again. */
WEIR_MUST_CHECK weir_err file_hash_end(struct file_hash *hash, const struct weir_hub_file *file,
                                       bool *same);
void file_hash_free(struct file_hash *hash); /* a zeroed one is fine; leaves it zeroed */

/* The hash that `file` should have, as hex digits: what the Hub has for its ETag.  Returns buf. */
char *file_hash_hex(const struct weir_hub_file *file, char buf[FILE_HASH_HEX]);

/* What it is called: "SHA-256". */
const char *file_hash_name(const struct weir_hub_file *file);

#endif
