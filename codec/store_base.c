/* A base: the store whose bytes another one refers to, or differs from.  It is read by cursors of
 * its own, so what is known of a store that changes holds for it, too. */
#include "codec/store.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "store_private.h"

enum {
    MAX_RATIO = 16384, /* plain bytes of the files per stored byte */
    HEX_BYTES = 2 * WEIR_DIGEST_BYTES + 1,
};

static const char *hex_of(const uint8_t digest[WEIR_DIGEST_BYTES], char out[HEX_BYTES])
{
    static const char digit[] = "0123456789abcdef";
    for (size_t i = 0; i < WEIR_DIGEST_BYTES; i++) {
        out[2 * i] = digit[digest[i] >> 4];
        out[2 * i + 1] = digit[digest[i] & 15];
    }
    out[HEX_BYTES - 1] = 0;
    return out;
}

/* ---- objects ---- */

bool weir_object_needs_base(const struct weir_object *object)
{
    return object->is_reference || weir_coding_needs_base(object->coding);
}

uint64_t weir_object_tiles(const struct weir_object *object)
{
    return (object->bytes - 1) / object->tile_bytes + 1;
}

/* ---- the base is given ---- */

uint64_t store_most_plain(uint64_t stored_bytes)
{
    return stored_bytes < UINT64_MAX / MAX_RATIO ? stored_bytes * MAX_RATIO : UINT64_MAX;
}

static weir_err check_base(const struct weir_store *store, const struct weir_store *base,
                           struct weir_diag *diag)
{
    char needed[HEX_BYTES], is[HEX_BYTES];
    if (memcmp(store->info.base_digest, base->info.digest, WEIR_DIGEST_BYTES) != 0) {
        weir_diag_set(diag, "it needs the base sha256:%s; the one given is sha256:%s",
                      hex_of(store->info.base_digest, needed), hex_of(base->info.digest, is));
        return WEIR_ERR_MISMATCH;
    }
    if (base->info.features & WEIR_FEATURE_BASE) {
        weir_diag_set(diag, "its base, sha256:%s, needs a base itself",
                      hex_of(base->info.digest, is));
        return WEIR_ERR_UNSUPPORTED;
    }
    return WEIR_OK;
}

static bool has_place(const struct weir_store *base, const struct weir_object *o)
{
    if (o->base_object >= base->index->n_objects)
        return false;
    uint64_t bytes = base->index->object[o->base_object].bytes;
    return o->bytes <= bytes && o->base_at <= bytes - o->bytes;
}

static weir_err check_places(const struct weir_store *store, const struct weir_store *base,
                             struct weir_diag *diag)
{
    for (uint32_t i = 0; i < store->index->n_objects; i++) {
        const struct weir_object *o = &store->index->object[i];
        if (!weir_object_needs_base(o) || has_place(base, o))
            continue;
        weir_diag_set(diag, "object %" PRIu32 ": its base has no such bytes", i);
        return WEIR_ERR_CORRUPT;
    }
    /* No overflow: each is the size of a file. */
    uint64_t stored = store->info.stored_bytes + base->info.stored_bytes;
    if (store->index->plain_bytes <= store_most_plain(stored))
        return WEIR_OK;
    weir_diag_set(diag,
                  "index: its files are more than %d times the size of the store and its base",
                  (int)MAX_RATIO);
    return WEIR_ERR_CORRUPT;
}

weir_err weir_store_set_base(struct weir_store *store, const struct weir_store *base,
                             struct weir_diag *diag)
{
    if (store->base || !(store->info.features & WEIR_FEATURE_BASE)) {
        weir_diag_set(diag, "the store needs no base");
        return WEIR_ERR_INVALID;
    }
    weir_err err = check_base(store, base, diag);
    if (!err)
        err = check_places(store, base, diag);
    if (!err)
        store->base = base;
    return err;
}

weir_err weir_store_need_base(const struct weir_store *store, struct weir_diag *diag)
{
    char needed[HEX_BYTES];
    if (store->base || !(store->info.features & WEIR_FEATURE_BASE))
        return WEIR_OK;
    weir_diag_set(diag, "it needs its base, the store sha256:%s",
                  hex_of(store->info.base_digest, needed));
    return WEIR_ERR_ABSENT;
}

/* docs/format.md, 2.2 and 10: the trailer and the end of an appendix have the digest in one place.
 */
bool weir_store_end_names(const uint8_t end[WEIR_STORE_END_BYTES],
                          const uint8_t digest[WEIR_DIGEST_BYTES])
{
    enum { DIGEST_AT = 16, MAGIC_AT = 56 };
    return memcmp(end + DIGEST_AT, digest, WEIR_DIGEST_BYTES) == 0 &&
           (memcmp(end + MAGIC_AT, "weirend\n", 8) == 0 ||
            memcmp(end + MAGIC_AT, "weirpart", 8) == 0);
}

/* ---- the base is read ---- */

weir_err base_reader_new(const struct weir_store *base, const struct weir_kernels *kernels,
                         struct base_reader **out)
{
    struct base_reader *reader = malloc(sizeof(*reader));
    if (!reader)
        return WEIR_ERR_NOMEM;
    reader->object = WEIR_NO_OBJECT;
    reader->tile = 0;
    weir_err err = weir_store_cursor_new(base, kernels, &reader->cursor);
    if (err)
        free(reader);
    else
        *out = reader;
    return err;
}

void base_reader_free(struct base_reader *reader)
{
    if (!reader)
        return;
    weir_store_cursor_free(reader->cursor);
    free(reader);
}

/* One tile into the room, unless it is there. */
static weir_err fetch_tile(struct base_reader *reader, uint32_t object, uint64_t tile,
                           struct weir_diag *diag)
{
    if (reader->object == object && reader->tile == tile)
        return WEIR_OK;
    reader->object = WEIR_NO_OBJECT;
    weir_err err = weir_store_read_tile(reader->cursor, object, tile, reader->room, diag);
    if (err)
        return err;
    reader->object = object;
    reader->tile = tile;
    return WEIR_OK;
}

weir_err base_reader_read(struct base_reader *reader, uint32_t object, uint64_t at, uint8_t *out,
                          size_t n, struct weir_diag *diag)
{
    const struct weir_store *base = reader->cursor->store;
    const uint32_t tile_bytes = base->index->object[object].tile_bytes;
    weir_err err = WEIR_OK;
    while (n && !err) {
        const uint64_t tile = at / tile_bytes;
        const uint32_t from = (uint32_t)(at % tile_bytes);
        const uint32_t whole = weir_store_tile_bytes(base, object, tile);
        const size_t some = n < whole - from ? n : whole - from;
        if (some == whole) { /* tiles of both mostly begin at the same places */
            err = weir_store_read_tile(reader->cursor, object, tile, out, diag);
        } else {
            err = fetch_tile(reader, object, tile, diag);
            if (!err)
                memcpy(out, reader->room + from, some);
        }
        out += some;
        at += some;
        n -= some;
    }
    return err;
}

weir_err store_read_base(struct weir_store_cursor *cur, uint32_t object, uint64_t tile,
                         uint8_t *out, struct weir_diag *diag)
{
    const struct weir_object *o = &cur->store->index->object[object];
    if (!cur->base) {
        weir_err err = weir_store_need_base(cur->store, diag);
        return err ? err : WEIR_ERR_INVALID; /* given after the cursor was made */
    }
    struct weir_diag detail;
    detail.text[0] = 0;
    weir_err err = base_reader_read(cur->base, o->base_object, o->base_at + tile * o->tile_bytes,
                                    out, weir_store_tile_bytes(cur->store, object, tile), &detail);
    if (err)
        weir_diag_set(diag, "its base: %s", detail.text[0] ? detail.text : weir_err_text(err));
    return err;
}

void store_expect_base(const struct weir_store *store, const struct weir_object *object,
                       uint64_t tile, uint64_t n)
{
    if (!store->base || !weir_object_needs_base(object) || n == 0 ||
        tile >= weir_object_tiles(object))
        return;
    const uint64_t left = weir_object_tiles(object) - tile;
    const uint64_t from = object->base_at + tile * object->tile_bytes;
    uint64_t end = object->base_at + object->bytes;
    if (n < left)
        end = from + n * object->tile_bytes;
    const uint32_t tile_bytes = store->base->index->object[object->base_object].tile_bytes;
    weir_store_expect_tiles(store->base, object->base_object, from / tile_bytes,
                            (end - 1) / tile_bytes - from / tile_bytes + 1);
}
