#include "codec/store.h"

#include <assert.h>
#include <inttypes.h>
#include <stdlib.h>

#include "store_private.h"

weir_err weir_store_cursor_new(const struct weir_store *store, const struct weir_kernels *kernels,
                               struct weir_store_cursor **out)
{
    struct weir_store_cursor *cur = malloc(sizeof(*cur));
    if (!cur)
        return WEIR_ERR_NOMEM;
    cur->store = store;
    cur->past = false;
    cur->revision = store->revision;
    cur->extent = NO_EXTENT;
    cur->hash = (struct sha256){0};
    cur->base = NULL;
    weir_err err = weir_tile_decoder_new(kernels, &cur->decoder);
    if (!err && store->base) {
        err = base_reader_new(store->base, kernels, &cur->base);
        if (err)
            weir_tile_decoder_free(cur->decoder);
    }
    if (err) {
        free(cur);
        return err;
    }
    *out = cur;
    return WEIR_OK;
}

void weir_store_cursor_free(struct weir_store_cursor *cur)
{
    if (!cur)
        return;
    weir_tile_decoder_free(cur->decoder);
    base_reader_free(cur->base);
    sha256_free(&cur->hash);
    free(cur);
}

void weir_store_cursor_read_past(struct weir_store_cursor *cur)
{
    cur->past = true;
}

static void tile_diag(const struct weir_store_cursor *cur, const struct tile_wanted *wanted,
                      const char *what, struct weir_diag *diag)
{
    uint64_t store_tile = (uint64_t)wanted->extent * WEIR_EXTENT_TILES + wanted->slot;
    weir_diag_set(diag, "extent %" PRIu32 ", tile %" PRIu64 " (object %" PRIu32 ", mode %u): %s",
                  wanted->extent, store_tile, wanted->object, cur->heads.tile[wanted->slot].mode,
                  what);
}

static weir_err load_heads(struct weir_store_cursor *cur, uint32_t extent, struct weir_diag *diag)
{
    if (cur->extent == extent)
        return WEIR_OK;
    cur->extent = NO_EXTENT;
    uint8_t bytes[WEIR_EXTENT_TILES * WEIR_TILE_HEAD_BYTES];
    size_t n;
    weir_err err = extent_heads_bytes(cur->store, extent, &n, diag);
    if (err)
        return err;
    err = weir_source_read(&cur->store->src, cur->store->extent_at[extent], bytes, n);
    if (err) {
        weir_diag_set(diag, "extent %" PRIu32 ": its tile heads cannot be read", extent);
        return err;
    }
    err = extent_heads_parse(cur->store, extent, bytes, &cur->heads, diag);
    if (!err)
        cur->extent = extent;
    return err;
}

weir_err store_decode(struct weir_store_cursor *cur, const struct tile_wanted *wanted,
                      const uint8_t *payload, struct weir_diag *diag)
{
    const struct weir_store *store = cur->store;
    const struct weir_object *o = &store->index->object[wanted->object];
    const struct weir_tile_head *head = &cur->heads.tile[wanted->slot];
    weir_err err = WEIR_OK;
    if (head->mode == WEIR_TILE_MADE && weir_coding_needs_base(o->coding))
        err = store_read_base(cur, wanted->object, wanted->tile, wanted->out, diag);
    if (err)
        return err;
    err = weir_tile_decode(cur->decoder, o->coding, head, payload, wanted->out,
                           weir_store_tile_bytes(store, wanted->object, wanted->tile));
    if (err)
        tile_diag(cur, wanted,
                  err == WEIR_ERR_CORRUPT ? "its payload is damaged (format or checksum)"
                                          : weir_err_text(err),
                  diag);
    return err;
}

/* By the heads that are there, or by those in the source, whatever they are. */
static weir_err read_as_it_is(struct weir_store_cursor *cur, const struct tile_wanted *wanted,
                              struct weir_diag *diag)
{
    weir_err err = load_heads(cur, wanted->extent, diag);
    if (err || !wanted->out)
        return err;
    uint64_t at = cur->store->extent_at[wanted->extent] + cur->heads.payload_at[wanted->slot];
    err = weir_source_read(&cur->store->src, at, cur->payload,
                           cur->heads.tile[wanted->slot].payload_bytes);
    if (err) {
        tile_diag(cur, wanted, "cannot be read", diag);
        return err;
    }
    return store_decode(cur, wanted, cur->payload, diag);
}

/* The source is asked for its revision after the bytes were read.  They are good if the answer is
 * one that we had before, and at which the extent is trusted: then nothing has changed since. */
static weir_err read_wanted(struct weir_store_cursor *cur, const struct tile_wanted *wanted,
                            struct weir_diag *diag)
{
    weir_err absent = store_need(cur->store, wanted->extent, diag);
    if (absent)
        return absent;
    for (int i = 0; i < 2; i++) { /* twice if another cursor has hashed the extent already */
        struct weir_diag detail;
        detail.text[0] = 0;
        weir_err err = read_as_it_is(cur, wanted, &detail);
        uint64_t now = 0;
        weir_err asked = store_revision(cur->store, &now, diag);
        bool trusted = !asked && store_trusts(cur->store, wanted->extent, now);
        if (trusted && now == cur->revision) {
            if (err && diag)
                *diag = detail;
            return err;
        }
        cur->extent = NO_EXTENT;
        if (asked)
            return asked;
        cur->revision = now;
        if (!trusted)
            break;
    }
    return store_read_changed(cur, wanted, diag);
}

weir_err weir_store_read_tile(struct weir_store_cursor *cur, uint32_t object, uint64_t tile,
                              uint8_t *out, struct weir_diag *diag)
{
    const struct index *ix = cur->store->index;
    assert(object < ix->n_objects && tile < weir_object_tiles(&ix->object[object]));
    if (ix->object[object].is_reference)
        return store_read_base(cur, object, tile, out, diag);
    uint64_t store_tile = ix->object[object].first_tile + tile;
    struct tile_wanted wanted = {.extent = (uint32_t)(store_tile / WEIR_EXTENT_TILES),
                                 .slot = (uint32_t)(store_tile % WEIR_EXTENT_TILES),
                                 .object = object,
                                 .tile = tile,
                                 .out = out};
    return read_wanted(cur, &wanted, diag);
}

weir_err weir_store_tile_head(struct weir_store_cursor *cur, uint64_t store_tile,
                              struct weir_tile_head *out)
{
    assert(store_tile < cur->store->index->n_tiles);
    struct tile_wanted wanted = {.extent = (uint32_t)(store_tile / WEIR_EXTENT_TILES)};
    weir_err err = cur->extent == wanted.extent ? WEIR_OK : read_wanted(cur, &wanted, NULL);
    if (!err)
        *out = cur->heads.tile[store_tile % WEIR_EXTENT_TILES];
    return err;
}

weir_err weir_store_decode_extent(struct weir_store_cursor *cur, uint32_t extent,
                                  const uint8_t *bytes, const struct weir_tile_sink *sink,
                                  struct weir_diag *diag)
{
    const struct weir_store *store = cur->store;
    struct weir_extent e = weir_store_extent(store, extent);
    cur->extent = NO_EXTENT; /* its heads come from other bytes than the source's */
    size_t n_heads;
    weir_err err = extent_heads_bytes(store, extent, &n_heads, diag);
    if (!err)
        err = extent_heads_parse(store, extent, bytes, &cur->heads, diag);
    uint64_t store_tile = (uint64_t)extent * WEIR_EXTENT_TILES;
    struct tile_wanted wanted = {extent, 0, store_object_of(store, store_tile), 0, sink->room};
    for (; !err && wanted.slot < e.n_tiles; wanted.slot++, store_tile++) {
        wanted.tile = store_tile - store_step(store, store_tile, &wanted.object)->first_tile;
        err = store_decode(cur, &wanted, bytes + cur->heads.payload_at[wanted.slot], diag);
        if (!err)
            err = sink->take(sink->self, wanted.object, wanted.tile,
                             weir_store_tile_bytes(store, wanted.object, wanted.tile));
    }
    return err;
}
