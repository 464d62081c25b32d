#include "codec/store.h"

#include <inttypes.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <zstd.h>
#include <zstd_errors.h>

#include "appendix.h"
#include "sha256.h"
#include "store_private.h"

static const char too_short[] = "not a store: too short for a header, an index and a trailer";

static const uint8_t frame_magic[] = {0x28, 0xb5, 0x2f, 0xfd};

static weir_err corrupt(struct weir_diag *diag, const char *what)
{
    weir_diag_set(diag, "%s", what);
    return WEIR_ERR_CORRUPT;
}

/* ---- the index, stored and plain ---- */

static weir_err read_stored(const struct weir_source *src, const struct trailer *trailer,
                            uint8_t *stored, struct weir_diag *diag)
{
    weir_err err = weir_source_read(src, trailer->index_at, stored, trailer->stored_bytes);
    if (err) {
        weir_diag_set(diag, "index: cannot be read");
        return err;
    }
    uint8_t digest[WEIR_DIGEST_BYTES];
    err = sha256_of(stored, trailer->stored_bytes, digest);
    if (!err && memcmp(digest, trailer->digest, WEIR_DIGEST_BYTES) != 0)
        err = corrupt(diag, "index: its SHA-256 is not the one in the trailer");
    return err;
}

/* One frame and nothing else: neither a skippable one nor one of zstd's old formats. */
static bool is_one_frame(const uint8_t *stored, size_t n)
{
    return n >= sizeof(frame_magic) && memcmp(stored, frame_magic, sizeof(frame_magic)) == 0 &&
           ZSTD_findFrameCompressedSize(stored, n) == n;
}

static weir_err decompress(const uint8_t *stored, size_t stored_bytes, uint8_t *plain,
                           size_t plain_bytes, struct weir_diag *diag)
{
    if (!is_one_frame(stored, stored_bytes))
        return corrupt(diag, "index: not exactly one zstd frame");
    ZSTD_DCtx *zstd = ZSTD_createDCtx();
    if (!zstd)
        return WEIR_ERR_NOMEM;
    size_t n = ZSTD_decompressDCtx(zstd, plain, plain_bytes, stored, stored_bytes);
    (void)ZSTD_freeDCtx(zstd);
    if (ZSTD_getErrorCode(n) == ZSTD_error_memory_allocation)
        return WEIR_ERR_NOMEM;
    /* An error code is no size either; a frame that names a dictionary gives one. */
    if (n != plain_bytes)
        return corrupt(diag, "index: does not decompress to the plain bytes of the trailer");
    return WEIR_OK;
}

static weir_err read_index(const struct weir_source *src, const struct trailer *trailer,
                           struct index **out, struct weir_diag *diag)
{
    uint8_t *stored = malloc(trailer->stored_bytes);
    uint8_t *plain = NULL;
    weir_err err = stored ? read_stored(src, trailer, stored, diag) : WEIR_ERR_NOMEM;
    if (!err) {
        plain = malloc(trailer->plain_bytes);
        err = plain ? decompress(stored, trailer->stored_bytes, plain, trailer->plain_bytes, diag)
                    : WEIR_ERR_NOMEM;
    }
    free(stored);
    if (!err)
        err = index_parse(plain, trailer->plain_bytes, trailer->features, out, diag);
    free(plain);
    return err;
}

/* ---- the store ---- */

/* Each extent begins at the next multiple of WEIR_ALIGN; the last one ends at the index. */
static weir_err place_extents(struct weir_store *store, struct weir_diag *diag)
{
    const struct index *ix = store->index;
    store->extent_at = calloc((size_t)ix->n_extents + 1, sizeof(store->extent_at[0]));
    store->hashed = calloc((size_t)ix->n_extents + 1, sizeof(store->hashed[0]));
    if (!store->extent_at || !store->hashed)
        return WEIR_ERR_NOMEM;
    uint64_t end = WEIR_ALIGN;
    store->extent_at[ix->n_extents] = store->trailer.index_at;
    for (uint32_t i = 0; i < ix->n_extents; i++) {
        /* No overflow: 2^32 extents of less than 2^23 bytes. */
        uint64_t at = (end + WEIR_ALIGN - 1) / WEIR_ALIGN * WEIR_ALIGN;
        store->extent_at[i] = at;
        end = at + ix->extent[i].bytes;
    }
    if (end != store->trailer.index_at) {
        weir_diag_set(diag, "index: its extents end at %" PRIu64 ", but it begins at %" PRIu64, end,
                      store->trailer.index_at);
        return WEIR_ERR_CORRUPT;
    }
    return WEIR_OK;
}

/* What the base shows is judged when there is one. */
static weir_err check_ratio(const struct weir_store *store, struct weir_diag *diag)
{
    return store->index->own_bytes > store_most_plain(store->info.stored_bytes)
               ? corrupt(diag, "index: its files are more than 16384 times the size of the store")
               : WEIR_OK;
}

static weir_err take_appendix(struct weir_store *store, const struct appendix *appendix,
                              struct weir_diag *diag)
{
    if (appendix->n_extents != store->info.n_extents ||
        memcmp(appendix->digest, store->info.digest, WEIR_DIGEST_BYTES) != 0)
        return corrupt(diag, "appendix: it is about another store");
    return appendix_read_map(&store->src, appendix, &store->present, diag);
}

static void count_present(struct weir_store *store)
{
    for (uint32_t i = 0; i < store->info.n_extents; i++) {
        if (!weir_store_has_extent(store, i))
            continue;
        store->info.n_present++;
        store->info.present_bytes += store->index->extent[i].bytes;
    }
}

static weir_err fill(struct weir_store *store, struct weir_diag *diag)
{
    const struct weir_source *src = &store->src;
    if (src->size <= HEADER_BYTES + TRAILER_BYTES)
        return corrupt(diag, too_short);
    weir_err err = header_read(src, diag);
    struct appendix appendix = {.store_bytes = src->size};
    bool is_part = false;
    if (!err)
        err = appendix_read_end(src, &is_part, &appendix, diag);
    if (!err && appendix.store_bytes <= HEADER_BYTES + TRAILER_BYTES)
        err = corrupt(diag, too_short);
    if (!err)
        err = trailer_read(src, appendix.store_bytes, &store->trailer, diag);
    if (!err)
        err = read_index(src, &store->trailer, &store->index, diag);
    if (!err)
        err = place_extents(store, diag);
    if (err)
        return err;
    const struct index *ix = store->index;
    store->info = (struct weir_store_info){.stored_bytes = appendix.store_bytes,
                                           .plain_bytes = ix->plain_bytes,
                                           .n_entries = ix->n_entries,
                                           .n_objects = ix->n_objects,
                                           .n_extents = ix->n_extents,
                                           .n_tiles = ix->n_tiles,
                                           .features = ix->features,
                                           .n_numbers = ix->n_numbers};
    memcpy(store->info.base_digest, ix->base_digest, WEIR_DIGEST_BYTES);
    memcpy(store->info.digest, store->trailer.digest, WEIR_DIGEST_BYTES);
    err = check_ratio(store, diag);
    if (!err && is_part)
        err = take_appendix(store, &appendix, diag);
    if (!err)
        count_present(store);
    return err;
}

/* fill() between two equal answers of the source: what it read was there all at once. */
static weir_err fill_unchanged(struct weir_store *store, struct weir_diag *diag)
{
    weir_err err = store_revision(store, &store->revision, diag);
    if (err)
        return err;
    weir_err filled = fill(store, diag);
    uint64_t now;
    err = store_revision(store, &now, diag);
    if (err)
        return err;
    if (now != store->revision || now == 0) {
        weir_diag_set(diag, "the store was being written to while it was opened");
        return WEIR_ERR_CHANGED;
    }
    return filled;
}

weir_err weir_store_open(const struct weir_source *src, struct weir_store **out,
                         struct weir_diag *diag)
{
    struct weir_store *store = calloc(1, sizeof(*store));
    if (!store)
        return WEIR_ERR_NOMEM;
    store->src = *src;
    weir_err err = fill_unchanged(store, diag);
    if (err) {
        if (err == WEIR_ERR_NOMEM)
            weir_diag_set(diag, "out of memory while opening the store");
        weir_store_free(store);
        return err;
    }
    *out = store;
    return WEIR_OK;
}

void weir_store_free(struct weir_store *store)
{
    if (!store)
        return;
    index_free(store->index);
    free(store->extent_at);
    free(store->hashed);
    free(store->present);
    free(store);
}

/* ---- what is in it ---- */

bool weir_store_has_extent(const struct weir_store *store, uint32_t i)
{
    return !store->present || store->present[i / 8] >> i % 8 & 1;
}

bool weir_store_is_part(const struct weir_store *store)
{
    return store->present != NULL;
}

const struct weir_store_info *weir_store_info(const struct weir_store *store)
{
    return &store->info;
}

const struct weir_entry *weir_store_entry(const struct weir_store *store, uint32_t i)
{
    return &store->index->entry[i];
}

static int compare_path(const void *path, const void *entry)
{
    return strcmp(path, ((const struct weir_entry *)entry)->path);
}

const struct weir_entry *weir_store_find(const struct weir_store *store, const char *path)
{
    const struct index *ix = store->index;
    return bsearch(path, ix->entry, ix->n_entries, sizeof(ix->entry[0]), compare_path);
}

const struct weir_object *weir_store_object(const struct weir_store *store, uint32_t i)
{
    return &store->index->object[i];
}
