#include "plain_hash.h"

#include <errno.h>
#include <openssl/evp.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { PART_BYTES = 1 << 20 };

static weir_err add_file(EVP_MD_CTX *hash, int fd, uint64_t size, const struct weir_watch *watch,
                         uint8_t *part, bool *whole)
{
    uint64_t at = 0;
    *whole = false;
    while (at < size) {
        size_t n = size - at < PART_BYTES ? (size_t)(size - at) : PART_BYTES;
        ssize_t got = pread(fd, part, n, (off_t)at);
        if (got < 0 && errno == EINTR)
            continue;
        if (got <= 0)
            return WEIR_OK;
        if (EVP_DigestUpdate(hash, part, (size_t)got) != 1)
            return WEIR_ERR_NOMEM;
        if (watch && !watch->tick(watch->self, 0, 0))
            return WEIR_ERR_CANCELLED;
        at += (uint64_t)got;
    }
    *whole = true;
    return WEIR_OK;
}

weir_err plain_hash_file(int fd, uint64_t size, const uint8_t sha256[WEIR_DIGEST_BYTES],
                         const struct weir_watch *watch, bool *same)
{
    uint8_t is[WEIR_DIGEST_BYTES];
    bool whole = false;
    EVP_MD_CTX *hash = EVP_MD_CTX_new();
    uint8_t *part = malloc(PART_BYTES);
    weir_err err = WEIR_ERR_NOMEM;
    if (hash && part && EVP_DigestInit_ex(hash, EVP_sha256(), NULL) == 1)
        err = add_file(hash, fd, size, watch, part, &whole);
    if (!err && EVP_DigestFinal_ex(hash, is, NULL) != 1)
        err = WEIR_ERR_NOMEM;
    *same = !err && whole && memcmp(is, sha256, sizeof(is)) == 0;
    EVP_MD_CTX_free(hash);
    free(part);
    return err;
}
