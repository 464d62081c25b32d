#include "codec/store.h"

#include <assert.h>
#include <inttypes.h>
#include <stdlib.h>

#include "store_private.h"

#define NO_EXTENT UINT32_MAX

struct weir_store_cursor {
    const struct weir_store *store; /* borrowed */
    struct weir_tile_decoder *decoder;
    uint32_t extent; /* whose heads are in `heads`, or NO_EXTENT */
    struct extent_heads heads;
    uint8_t payload[WEIR_TILE_BYTES];
};

weir_err weir_store_cursor_new(const struct weir_store *store, const struct weir_kernels *kernels,
                               struct weir_store_cursor **out)
{
    struct weir_store_cursor *cur = malloc(sizeof(*cur));
    if (!cur)
        return WEIR_ERR_NOMEM;
    cur->store = store;
    cur->extent = NO_EXTENT;
    weir_err err = weir_tile_decoder_new(kernels, &cur->decoder);
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
    free(cur);
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

weir_err weir_store_read_tile(struct weir_store_cursor *cur, uint32_t object, uint64_t tile,
                              uint8_t *out, struct weir_diag *diag)
{
    const struct weir_store *store = cur->store;
    assert(object < store->index->n_objects && tile < store->index->object[object].n_tiles);
    const struct weir_object *o = &store->index->object[object];
    uint64_t store_tile = o->first_tile + tile;
    uint32_t extent = (uint32_t)(store_tile / WEIR_EXTENT_TILES);
    size_t slot = (size_t)(store_tile % WEIR_EXTENT_TILES);
    weir_err err = load_heads(cur, extent, diag);
    if (err)
        return err;

    const struct weir_tile_head *head = &cur->heads.tile[slot];
    uint64_t at = store->extent_at[extent] + cur->heads.payload_at[slot];
    err = weir_source_read(&store->src, at, cur->payload, head->payload_bytes);
    const char *what = "cannot be read";
    if (!err) {
        err = weir_tile_decode(cur->decoder, o->coding, head, cur->payload, out,
                               weir_store_tile_bytes(store, object, tile));
        what = err == WEIR_ERR_CORRUPT ? "its payload is damaged (format or checksum)"
                                       : weir_err_text(err);
    }
    if (err)
        weir_diag_set(diag,
                      "extent %" PRIu32 ", tile %" PRIu64 " (object %" PRIu32 ", mode %u): %s",
                      extent, store_tile, object, head->mode, what);
    return err;
}

weir_err weir_store_tile_head(struct weir_store_cursor *cur, uint64_t store_tile,
                              struct weir_tile_head *out)
{
    assert(store_tile < cur->store->index->n_tiles);
    weir_err err = load_heads(cur, (uint32_t)(store_tile / WEIR_EXTENT_TILES), NULL);
    if (!err)
        *out = cur->heads.tile[store_tile % WEIR_EXTENT_TILES];
    return err;
}
