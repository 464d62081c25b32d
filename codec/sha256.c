#include "sha256.h"

#include <openssl/evp.h>

weir_err sha256_of(const void *bytes, size_t n, uint8_t out[WEIR_DIGEST_BYTES])
{
    return EVP_Digest(bytes, n, out, NULL, EVP_sha256(), NULL) == 1 ? WEIR_OK : WEIR_ERR_NOMEM;
}

weir_err sha256_begin(struct sha256 *hash)
{
    if (!hash->ctx)
        hash->ctx = EVP_MD_CTX_new();
    if (!hash->ctx || EVP_DigestInit_ex(hash->ctx, EVP_sha256(), NULL) != 1)
        return WEIR_ERR_NOMEM;
    return WEIR_OK;
}

weir_err sha256_add(struct sha256 *hash, const void *bytes, size_t n)
{
    return EVP_DigestUpdate(hash->ctx, bytes, n) == 1 ? WEIR_OK : WEIR_ERR_NOMEM;
}

weir_err sha256_end(struct sha256 *hash, uint8_t out[WEIR_DIGEST_BYTES])
{
    return EVP_DigestFinal_ex(hash->ctx, out, NULL) == 1 ? WEIR_OK : WEIR_ERR_NOMEM;
}

void sha256_free(struct sha256 *hash)
{
    EVP_MD_CTX_free(hash->ctx);
    hash->ctx = NULL;
}
