#include <inttypes.h>
#include <stdbool.h>
#include <string.h>

#include "cursor.h"
#include "sha256.h"
#include "store_private.h"

/* docs/format.md, 4 */
enum {
    PAYLOAD_ALIGN = 16,
    HEAD_ZEROS = 3,
};

static uint32_t round_up(uint32_t n, uint32_t multiple)
{
    return (n + multiple - 1) / multiple * multiple;
}

uint32_t store_object_of(const struct weir_store *store, uint64_t store_tile)
{
    const struct weir_object *object = store->index->object;
    uint32_t low = 0;
    uint32_t high = store->index->n_objects; /* the answer is in [low, high) */
    while (high - low > 1) {
        uint32_t middle = low + (high - low) / 2;
        if (object[middle].first_tile <= store_tile)
            low = middle;
        else
            high = middle;
    }
    return low;
}

const struct weir_object *store_step(const struct weir_store *store, uint64_t store_tile,
                                     uint32_t *object)
{
    const struct weir_object *o = &store->index->object[*object];
    while (store_tile == o->first_tile + o->n_tiles) /* those without tiles are passed over */
        o = &store->index->object[++*object];
    return o;
}

uint32_t weir_store_tile_bytes(const struct weir_store *store, uint32_t object, uint64_t tile)
{
    const struct weir_object *o = &store->index->object[object];
    uint64_t left = o->bytes - tile * o->tile_bytes;
    return left < o->tile_bytes ? (uint32_t)left : o->tile_bytes;
}

struct weir_extent weir_store_extent(const struct weir_store *store, uint32_t i)
{
    const struct index_extent *stored = &store->index->extent[i];
    uint64_t tiles_left = store->index->n_tiles - (uint64_t)i * WEIR_EXTENT_TILES;
    struct weir_extent extent = {.at = store->extent_at[i], .bytes = stored->bytes};
    extent.n_tiles =
        (uint8_t)(tiles_left < WEIR_EXTENT_TILES ? tiles_left : (uint64_t)WEIR_EXTENT_TILES);
    memcpy(extent.sha256, stored->sha256, WEIR_DIGEST_BYTES);
    return extent;
}

weir_err store_need(const struct weir_store *store, uint32_t extent, struct weir_diag *diag)
{
    if (weir_store_has_extent(store, extent))
        return WEIR_OK;
    weir_diag_set(diag,
                  "extent %" PRIu32 ": was not fetched; 'weir fetch URL STORE' fetches what the "
                  "store lacks",
                  extent);
    return WEIR_ERR_ABSENT;
}

static weir_err bad_tile(struct weir_diag *diag, uint32_t extent, uint32_t slot, const char *what)
{
    weir_diag_set(diag, "extent %" PRIu32 ", tile %" PRIu64 ": %s", extent,
                  (uint64_t)extent * WEIR_EXTENT_TILES + slot, what);
    return WEIR_ERR_CORRUPT;
}

static weir_err bad_extent(struct weir_diag *diag, uint32_t extent, const char *what)
{
    weir_diag_set(diag, "extent %" PRIu32 ": %s", extent, what);
    return WEIR_ERR_CORRUPT;
}

weir_err extent_heads_bytes(const struct weir_store *store, uint32_t extent, size_t *out,
                            struct weir_diag *diag)
{
    struct weir_extent e = weir_store_extent(store, extent);
    size_t n = (size_t)e.n_tiles * WEIR_TILE_HEAD_BYTES;
    if (n > e.bytes)
        return bad_extent(diag, extent, "shorter than the heads of its tiles");
    *out = n;
    return WEIR_OK;
}

static const char *parse_head(struct cursor *c, uint32_t plain_bytes, struct weir_tile_head *head)
{
    head->xxh3 = cursor_u64(c);
    head->payload_bytes = cursor_u32(c);
    head->mode = cursor_u8(c);
    if (cursor_number(c, HEAD_ZEROS))
        return "a byte of its head that must be zero is not";
    if (head->mode > WEIR_TILE_MADE)
        return "unknown mode";
    if (head->payload_bytes == 0 || head->payload_bytes > plain_bytes)
        return "payload is empty or longer than the plain bytes";
    return NULL;
}

weir_err extent_heads_parse(const struct weir_store *store, uint32_t extent, const uint8_t *bytes,
                            struct extent_heads *out, struct weir_diag *diag)
{
    struct weir_extent e = weir_store_extent(store, extent);
    uint64_t store_tile = (uint64_t)extent * WEIR_EXTENT_TILES;
    uint32_t object = store_object_of(store, store_tile);
    uint32_t at = e.n_tiles * (uint32_t)WEIR_TILE_HEAD_BYTES;
    struct cursor c = {bytes, at, false};
    for (uint32_t slot = 0; slot < e.n_tiles; slot++, store_tile++) {
        const struct weir_object *o = store_step(store, store_tile, &object);
        uint32_t plain = weir_store_tile_bytes(store, object, store_tile - o->first_tile);
        const char *what = parse_head(&c, plain, &out->tile[slot]);
        if (what)
            return bad_tile(diag, extent, slot, what);
        out->payload_at[slot] = at;
        /* At most 32 payloads of at most 131072 bytes: no overflow. */
        at += round_up(out->tile[slot].payload_bytes, PAYLOAD_ALIGN);
    }
    return at == e.bytes ? WEIR_OK
                         : bad_extent(diag, extent, "heads and payloads do not fill it exactly");
}

/* What a head says that its object forbids (docs/format.md, 5), or NULL. */
static const char *misfit(const struct weir_object *o, const struct weir_tile_head *head,
                          uint32_t plain)
{
    uint32_t elem_bytes = o->coding ? o->coding->elem_bytes : 1;
    if (head->mode == WEIR_TILE_RAW && head->payload_bytes != plain)
        return "raw, but not as long as its plain bytes";
    if (head->mode == WEIR_TILE_CONST && head->payload_bytes != elem_bytes)
        return "constant, but not one element";
    if (head->mode == WEIR_TILE_SPLIT && (!o->coding || o->coding->transform.kind))
        return "split, but its object has no coding without a transform";
    if (head->mode == WEIR_TILE_MADE && (!o->coding || !o->coding->transform.kind))
        return "made, but its object has no coding with a transform";
    if ((head->mode == WEIR_TILE_CONST || head->mode >= WEIR_TILE_SPLIT) && plain % elem_bytes)
        return "not whole elements";
    return NULL;
}

weir_err weir_store_extent_tiles(const struct weir_store *store, uint32_t extent,
                                 const uint8_t *bytes,
                                 struct weir_extent_tile tile[WEIR_EXTENT_TILES], size_t *n,
                                 struct weir_diag *diag)
{
    struct extent_heads heads;
    size_t heads_bytes;
    weir_err err = extent_heads_bytes(store, extent, &heads_bytes, diag);
    if (!err)
        err = extent_heads_parse(store, extent, bytes, &heads, diag);
    if (err)
        return err;
    const uint32_t n_tiles = weir_store_extent(store, extent).n_tiles;
    uint64_t store_tile = (uint64_t)extent * WEIR_EXTENT_TILES;
    uint32_t object = store_object_of(store, store_tile);
    for (uint32_t slot = 0; slot < n_tiles; slot++, store_tile++) {
        const struct weir_object *o = store_step(store, store_tile, &object);
        tile[slot] = (struct weir_extent_tile){heads.tile[slot], heads.payload_at[slot], object,
                                               store_tile - o->first_tile};
        const char *what =
            misfit(o, &tile[slot].head, weir_store_tile_bytes(store, object, tile[slot].tile));
        if (what)
            return bad_tile(diag, extent, slot, what);
    }
    *n = n_tiles;
    return WEIR_OK;
}

static bool all_zero(const uint8_t *bytes, size_t n)
{
    return n == 0 || (bytes[0] == 0 && memcmp(bytes, bytes + 1, n - 1) == 0);
}

static weir_err check_heads(const struct weir_store *store, uint32_t extent, const uint8_t *bytes,
                            struct weir_diag *diag)
{
    struct weir_extent e = weir_store_extent(store, extent);
    struct extent_heads heads = {0};
    weir_err err = extent_heads_parse(store, extent, bytes, &heads, diag);
    for (uint32_t slot = 0; !err && slot < e.n_tiles; slot++) {
        uint32_t n = heads.tile[slot].payload_bytes;
        if (!all_zero(bytes + heads.payload_at[slot] + n, round_up(n, PAYLOAD_ALIGN) - n))
            err = bad_tile(diag, extent, slot, "padding of its payload is not zero");
    }
    return err;
}

static uint32_t span_of(const struct weir_store *store, uint32_t extent)
{
    uint32_t n = weir_store_extent(store, extent).bytes;
    bool is_last = extent + 1 == store->index->n_extents;
    return is_last ? n : round_up(n, WEIR_ALIGN);
}

weir_err weir_store_check_extent_bytes(const struct weir_store *store, uint32_t extent,
                                       const uint8_t *bytes, struct weir_diag *diag)
{
    struct weir_extent e = weir_store_extent(store, extent);
    size_t heads_bytes;
    weir_err err = extent_heads_bytes(store, extent, &heads_bytes, diag);
    if (err)
        return err;
    uint8_t sha256[WEIR_DIGEST_BYTES];
    err = sha256_of(bytes, e.bytes, sha256);
    if (err)
        return err;
    if (memcmp(sha256, e.sha256, WEIR_DIGEST_BYTES) != 0)
        return bad_extent(diag, extent, "its SHA-256 is not the one in the index");
    err = check_heads(store, extent, bytes, diag);
    if (!err && !all_zero(bytes + e.bytes, span_of(store, extent) - e.bytes))
        err = bad_extent(diag, extent, "the padding behind it is not zero");
    return err;
}

weir_err weir_store_check_extent(const struct weir_store *store, uint32_t extent, uint8_t *scratch,
                                 struct weir_diag *diag)
{
    uint64_t at = store->extent_at[extent];
    weir_err err = store_need(store, extent, diag);
    if (err)
        return err;
    err = weir_source_read(&store->src, at, scratch, span_of(store, extent));
    if (err) {
        weir_diag_set(diag, "extent %" PRIu32 ": cannot be read", extent);
        return err;
    }
    return weir_store_check_extent_bytes(store, extent, scratch, diag);
}

bool store_is_told(const struct weir_store *store)
{
    return store->src.expect != NULL;
}

bool weir_store_fetches(const struct weir_store *store)
{
    return store_is_told(store) || (store->base && store_is_told(store->base));
}

void store_expect_extents(const struct weir_store *store, uint32_t extent, uint32_t n)
{
    uint32_t n_extents = store->index->n_extents;
    if (!store_is_told(store) || n == 0 || extent >= n_extents)
        return;
    uint32_t last = n < n_extents - extent ? extent + n - 1 : n_extents - 1;
    uint64_t at = store->extent_at[extent];
    weir_source_expect(&store->src, at, store->extent_at[last] + span_of(store, last) - at);
}

void weir_store_expect_tiles(const struct weir_store *store, uint32_t object, uint64_t tile,
                             uint64_t n)
{
    const struct weir_object *o = &store->index->object[object];
    store_expect_base(store, o, tile, n);
    if (tile >= o->n_tiles || n == 0)
        return;
    uint64_t last = n < o->n_tiles - tile ? tile + n - 1 : o->n_tiles - 1;
    uint32_t first_extent = (uint32_t)((o->first_tile + tile) / WEIR_EXTENT_TILES);
    uint32_t last_extent = (uint32_t)((o->first_tile + last) / WEIR_EXTENT_TILES);
    store_expect_extents(store, first_extent, last_extent - first_extent + 1);
}
