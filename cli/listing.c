#include "listing.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

weir_err listing_open(struct listing *l, const struct weir_store *store, bool remote)
{
    *l = (struct listing){.store = store, .remote = remote};
    l->paid = calloc(weir_store_info(store)->n_objects + (size_t)1, sizeof(l->paid[0]));
    if (!l->paid)
        return WEIR_ERR_NOMEM;
    weir_err err = weir_store_cursor_new(store, NULL, &l->cursor);
    if (err)
        listing_close(l);
    return err;
}

void listing_close(struct listing *l)
{
    weir_store_cursor_free(l->cursor);
    free(l->paid);
    memset(l, 0, sizeof(*l));
}

/* Tiles share what their extents take evenly. */
static void estimate(const struct listing *l, const struct weir_object *o, struct usage *usage)
{
    uint64_t tile = o->first_tile;
    uint64_t end = tile + o->n_tiles;
    double bytes = 0;
    while (tile < end) {
        struct weir_extent e = weir_store_extent(l->store, (uint32_t)(tile / WEIR_EXTENT_TILES));
        uint64_t next = (tile / WEIR_EXTENT_TILES + 1) * WEIR_EXTENT_TILES;
        uint64_t stop = next < end ? next : end;
        bytes += (double)e.bytes * (double)(stop - tile) / e.n_tiles;
        tile = stop;
    }
    usage->stored_bytes += (uint64_t)bytes;
    usage->estimated = true;
}

weir_err listing_add(struct listing *l, const struct weir_segment *segment, struct usage *usage,
                     struct weir_diag *diag)
{
    usage->plain_bytes += segment->bytes;
    if (segment->object == WEIR_NO_OBJECT)
        return WEIR_OK;
    if (l->paid[segment->object]) {
        usage->shared = true;
        return WEIR_OK;
    }
    l->paid[segment->object] = true;
    const struct weir_object *o = weir_store_object(l->store, segment->object);
    usage->same_as_base |= o->is_reference;
    usage->difference |= weir_coding_needs_base(o->coding);
    if (l->remote) {
        if (o->n_tiles == 0)
            return WEIR_OK;
        estimate(l, o, usage);
        return WEIR_OK;
    }
    for (uint64_t i = 0; i < o->n_tiles; i++) {
        struct weir_tile_head head;
        if (!weir_store_has_extent(l->store, (uint32_t)((o->first_tile + i) / WEIR_EXTENT_TILES))) {
            usage->absent_bytes += weir_store_tile_bytes(l->store, segment->object, i);
            continue;
        }
        weir_err err = weir_store_tile_head(l->cursor, o->first_tile + i, &head);
        if (err) {
            uint64_t tile = o->first_tile + i;
            weir_diag_set(diag, "extent %" PRIu64 ", tile %" PRIu64 ": the heads of its tiles: %s",
                          tile / WEIR_EXTENT_TILES, tile, weir_err_text(err));
            return err;
        }
        usage->stored_bytes += WEIR_TILE_HEAD_BYTES + (head.payload_bytes + 15U) / 16 * 16;
        if (head.mode < LISTING_MODES)
            usage->tiles[head.mode]++;
    }
    return WEIR_OK;
}

char *usage_coding(const struct usage *usage, char buf[CODING_TEXT])
{
    static const struct {
        enum weir_tile_mode mode;
        const char *name;
    } order[] = {{WEIR_TILE_MADE, "made"},
                 {WEIR_TILE_SPLIT, "split"},
                 {WEIR_TILE_ZSTD, "zstd"},
                 {WEIR_TILE_CONST, "const"},
                 {WEIR_TILE_RAW, "raw"}};
    size_t at = 0;
    if (usage->same_as_base)
        at += (size_t)snprintf(buf, CODING_TEXT, "same as base");
    if (usage->difference)
        at += (size_t)snprintf(buf + at, CODING_TEXT - at, "%sdifference", at ? "+" : "");
    for (size_t i = 0; i < sizeof(order) / sizeof(order[0]); i++)
        if (usage->tiles[order[i].mode] &&
            !(order[i].mode == WEIR_TILE_MADE && usage->difference)) /* it has been said */
            at +=
                (size_t)snprintf(buf + at, CODING_TEXT - at, "%s%s", at ? "+" : "", order[i].name);
    if (usage->estimated)
        at += (size_t)snprintf(buf + at, CODING_TEXT - at, "?");
    if (usage->absent_bytes)
        at += (size_t)snprintf(buf + at, CODING_TEXT - at, "%sabsent", at ? "+" : "");
    if (usage->shared || at == 0)
        snprintf(buf + at, CODING_TEXT - at, "%s%s", at ? "+" : "",
                 usage->shared ? "same" : "none");
    return buf;
}

uint64_t tensor_elements(const struct weir_tensor *t)
{
    uint64_t n = 1;
    for (uint8_t i = 0; i < t->n_dims; i++) {
        if (t->dim[i] && n > UINT64_MAX / t->dim[i])
            return 0; /* a name for what the bytes cannot hold: say nothing about it */
        n *= t->dim[i];
    }
    return n;
}
