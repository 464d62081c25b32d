#include "file_hash.h"

#include <inttypes.h>
#include <openssl/evp.h>
#include <stdio.h>
#include <string.h>

weir_err file_hash_begin(struct file_hash *hash, const struct weir_hub_file *file)
{
    char head[sizeof("blob ") + 20];
    if (!hash->ctx)
        hash->ctx = EVP_MD_CTX_new();
    if (!hash->ctx ||
        EVP_DigestInit_ex(hash->ctx, file->has_lfs ? EVP_sha256() : EVP_sha1(), NULL) != 1)
        return WEIR_ERR_NOMEM;
    if (file->has_lfs)
        return WEIR_OK;
    int n = snprintf(head, sizeof(head), "blob %" PRIu64, file->size);
    return file_hash_add(hash, head, (size_t)n + 1); /* git hashes the NUL, too */
}

weir_err file_hash_add(struct file_hash *hash, const void *bytes, size_t n)
{
    return EVP_DigestUpdate(hash->ctx, bytes, n) == 1 ? WEIR_OK : WEIR_ERR_NOMEM;
}

static const uint8_t *expected(const struct weir_hub_file *file, size_t *n)
{
    *n = file->has_lfs ? sizeof(file->sha256) : sizeof(file->sha1);
    return file->has_lfs ? file->sha256 : file->sha1;
}

weir_err file_hash_end(struct file_hash *hash, const struct weir_hub_file *file, bool *same)
{
    uint8_t got[EVP_MAX_MD_SIZE];
    size_t n;
    const uint8_t *want = expected(file, &n);
    if (EVP_DigestFinal_ex(hash->ctx, got, NULL) != 1)
        return WEIR_ERR_NOMEM;
    *same = memcmp(got, want, n) == 0;
    return WEIR_OK;
}

void file_hash_free(struct file_hash *hash)
{
    EVP_MD_CTX_free(hash->ctx);
    hash->ctx = NULL;
}

char *file_hash_hex(const struct weir_hub_file *file, char buf[FILE_HASH_HEX])
{
    size_t n;
    const uint8_t *want = expected(file, &n);
    for (size_t i = 0; i < n; i++)
        snprintf(buf + 2 * i, 3, "%02x", want[i]);
    return buf;
}

const char *file_hash_name(const struct weir_hub_file *file)
{
    return file->has_lfs ? "SHA-256" : "git SHA-1";
}
