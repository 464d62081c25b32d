/* Any bytes: opening, checking and reading a store, or a part of one, returns.  The digests in
 * trailer and appendix are put right first, or no change to the index would ever be seen behind
 * them. */
#include "codec/store.h"

#include <openssl/sha.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "base_store.h"

enum { TRAILER_BYTES = 64, DIGEST_AT = 16 };

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

static uint64_t number_at(const uint8_t *at, size_t n)
{
    uint64_t value = 0;
    while (n)
        value = value << 8 | at[--n];
    return value;
}

/* Bytes of the store: without the appendix of a part, whose end is *end then. */
static size_t store_bytes(uint8_t *file, size_t n, uint8_t **end)
{
    *end = NULL;
    if (n < TRAILER_BYTES || memcmp(file + n - 8, "weirpart", 8) != 0)
        return n;
    *end = file + n - TRAILER_BYTES;
    uint64_t store = number_at(*end, 8);
    return store <= n ? (size_t)store : n;
}

static void mend_digest(uint8_t *store, size_t n)
{
    uint8_t *end;
    n = store_bytes(store, n, &end);
    if (n < TRAILER_BYTES)
        return;
    uint8_t *trailer = store + n - TRAILER_BYTES;
    uint64_t at = number_at(trailer, 8);
    uint64_t stored = number_at(trailer + 8, 4);
    if (at <= n - TRAILER_BYTES && stored <= n - TRAILER_BYTES - at)
        SHA256(store + at, (size_t)stored, trailer + DIGEST_AT);
    if (end)
        memmove(end + DIGEST_AT, trailer + DIGEST_AT, SHA256_DIGEST_LENGTH);
}

static void expect_an_error(weir_err err, const struct weir_diag *diag, bool may_be_absent)
{
    if (may_be_absent && err == WEIR_ERR_ABSENT && diag->text[0])
        return;
    if ((err != WEIR_ERR_CORRUPT && err != WEIR_ERR_UNSUPPORTED) || !diag->text[0])
        abort();
}

/* A reference may have very many; they are the base's. */
static uint64_t most_tiles(const struct weir_store *store, uint32_t object)
{
    enum { MOST_OF_A_REFERENCE = 3 };
    const struct weir_object *o = weir_store_object(store, object);
    uint64_t n = weir_object_tiles(o);
    return o->is_reference && n > MOST_OF_A_REFERENCE ? (uint64_t)MOST_OF_A_REFERENCE : n;
}

static void read_tiles(const struct weir_store *store)
{
    static uint8_t out[WEIR_TILE_BYTES];
    struct weir_store_cursor *cur = NULL;
    if (weir_store_cursor_new(store, weir_kernels_best(), &cur))
        abort();
    for (uint32_t i = 0; i < weir_store_info(store)->n_objects; i++) {
        for (uint64_t tile = 0; tile < most_tiles(store, i); tile++) {
            struct weir_diag diag = {""};
            weir_err err = weir_store_read_tile(cur, i, tile, out, &diag);
            if (err)
                expect_an_error(err, &diag,
                                weir_store_is_part(store) || weir_store_need_base(store, NULL));
        }
    }
    weir_store_cursor_free(cur);
}

/* Names our base, whichever it named before. */
static void read_with_base(struct weir_store *store)
{
    const struct weir_store_info *info = weir_store_info(store);
    if (!(info->features & WEIR_FEATURE_BASE))
        return;
    memcpy((uint8_t *)info->base_digest, weir_store_info(base_store())->digest, WEIR_DIGEST_BYTES);
    struct weir_diag diag = {""};
    weir_err err = weir_store_set_base(store, base_store(), &diag);
    if (err)
        expect_an_error(err, &diag, false);
    else
        read_tiles(store);
}

static void check_extents(const struct weir_store *store)
{
    static uint8_t scratch[WEIR_MAX_EXTENT_BYTES + WEIR_ALIGN];
    for (uint32_t i = 0; i < weir_store_info(store)->n_extents; i++) {
        struct weir_diag diag = {""};
        weir_err err = weir_store_check_extent(store, i, scratch, &diag);
        if (err)
            expect_an_error(err, &diag, !weir_store_has_extent(store, i));
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    uint8_t *bytes = malloc(n ? n : 1);
    if (!bytes)
        return 0;
    memcpy(bytes, data, n);
    mend_digest(bytes, n);
    struct weir_source src;
    weir_source_from_memory(bytes, n, &src);
    struct weir_store *store = NULL;
    struct weir_diag diag = {""};
    weir_err err = weir_store_open(&src, &store, &diag);
    if (err) {
        expect_an_error(err, &diag, false);
    } else {
        for (uint32_t i = 0; i < weir_store_info(store)->n_entries; i++)
            if (weir_store_find(store, weir_store_entry(store, i)->path) !=
                weir_store_entry(store, i))
                abort();
        check_extents(store);
        read_tiles(store);
        read_with_base(store);
        weir_store_free(store);
    }
    free(bytes);
    return 0;
}
