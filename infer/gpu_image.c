/* What parts take as stored, and parts that stay in memory that way. */
#include <stdlib.h>

#include "gpu_weights_private.h"

enum { PAYLOAD_ALIGN = 16 };

static uint64_t payload_room(uint64_t bytes)
{
    return (bytes + PAYLOAD_ALIGN - 1) / PAYLOAD_ALIGN * PAYLOAD_ALIGN;
}

/* Of a store that has to be fetched: no more than the extents and the tiles can be. */
static uint64_t most_bytes(const struct weir_store *store, const struct gpu_chunk *c)
{
    const uint64_t first = weir_store_object(store, c->tensor->object)->first_tile + c->tile;
    uint64_t bytes = 0;
    for (uint64_t t = first; t < first + c->n_tiles;) {
        const uint32_t extent = (uint32_t)(t / WEIR_EXTENT_TILES);
        const uint64_t end = (uint64_t)(extent + 1) * WEIR_EXTENT_TILES;
        const uint64_t n = (end < first + c->n_tiles ? end : first + c->n_tiles) - t;
        const uint64_t stored = weir_store_extent(store, extent).bytes;
        bytes += stored < n * WEIR_TILE_BYTES ? stored : n * WEIR_TILE_BYTES;
        t += n;
    }
    return bytes + (uint64_t)c->n_tiles * PAYLOAD_ALIGN;
}

static uint64_t chunk_bytes(struct weir_store_cursor *cursor, const struct weir_store *store,
                            const struct gpu_chunk *c)
{
    const uint64_t first = weir_store_object(store, c->tensor->object)->first_tile + c->tile;
    uint64_t bytes = 0;
    for (uint32_t i = 0; i < c->n_tiles; i++) {
        struct weir_tile_head head;
        if (weir_store_tile_head(cursor, first + i, &head) != WEIR_OK)
            return most_bytes(store, c); /* reading it will say what is wrong */
        const uint32_t plain = gpu_tile_bytes(c->tensor, c->tile + i);
        bytes += payload_room(head.mode == WEIR_TILE_ZSTD ? plain : head.payload_bytes);
    }
    return bytes;
}

uint64_t gpu_part_image_bytes(const struct weir_checkpoint *ck, const struct gpu_part *part)
{
    struct weir_store_cursor *cursor = NULL;
    uint64_t bytes = 0;
    if (weir_store_cursor_new(ck->store, weir_kernels_best(), &cursor) != WEIR_OK)
        cursor = NULL;
    for (uint64_t i = 0; i < part->n_chunks; i++) {
        const struct gpu_chunk c = gpu_part_chunk(part, ck->store, i);
        bytes += !cursor || weir_store_fetches(ck->store) ? most_bytes(ck->store, &c)
                                                          : chunk_bytes(cursor, ck->store, &c);
    }
    weir_store_cursor_free(cursor);
    return bytes;
}
