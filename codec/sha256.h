/* sha256.h - SHA-256 over libcrypto: one call for bytes at hand, a stream for bytes to come.
 *
 * A failure here is libcrypto out of memory, never the bytes.  A struct sha256 is for one thread at
 * a time. */
#ifndef WEIR_CODEC_SHA256_PRIVATE_H
#define WEIR_CODEC_SHA256_PRIVATE_H

#include <stddef.h>
#include <stdint.h>

#include "codec/store.h"

/* WEIR_ERR_NOMEM; out is undefined then. */
WEIR_MUST_CHECK weir_err sha256_of(const void *bytes, size_t n, uint8_t out[WEIR_DIGEST_BYTES]);

/* Zero it, then begin, add any number of times, end.  begin may be called again at any point to
 * hash something new with the same memory. */
struct sha256 {
    struct evp_md_ctx_st *ctx;
};

WEIR_MUST_CHECK weir_err sha256_begin(struct sha256 *hash); /* WEIR_ERR_NOMEM */
WEIR_MUST_CHECK weir_err sha256_add(struct sha256 *hash, const void *bytes, size_t n);
WEIR_MUST_CHECK weir_err sha256_end(struct sha256 *hash, uint8_t out[WEIR_DIGEST_BYTES]);
void sha256_free(struct sha256 *hash); /* a zeroed one is fine; leaves it zeroed */

#endif
