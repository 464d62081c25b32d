#include "slow.h"

#include <string.h>

/* Sections 3.2, 3.4 and 8.9: what lies below a store. */

void set_base(struct store *s, const struct store *base)
{
    if (!s->base_digest)
        return;
    require(memcmp(s->base_digest, base->digest, SHA256_BYTES) == 0,
            "the base's digest is the one that the index names (8)");
    require(base->base_digest == NULL, "a base needs no base itself (3.2)");
    for (uint32_t i = 0; i < s->n_objects; i++) {
        const struct object *o = &s->objects[i];
        if (!o->needs_base)
            continue;
        require(o->base_object < base->n_objects, "an object's base has that object (8)");
        uint64_t there = base->objects[o->base_object].plain_bytes;
        require(o->base_offset <= there && o->plain_bytes <= there - o->base_offset,
                "all bytes below are in the base's object (3.2)");
    }
    require((s->total + 16383) / 16384 <= s->size + base->size,
            "files are at most 16384 times both stores (3.4)");
    s->base = base;
}

/* Byte by byte: the tile of the base that the last byte was in is kept. */
void bytes_below(const struct store *s, const struct object *o, uint64_t k, uint8_t *below,
                 size_t n)
{
    static uint8_t tile[MAX_TILE];
    const struct object *from = &s->base->objects[o->base_object];
    uint64_t at = o->base_offset + k * o->tile_bytes;
    for (size_t i = 0; i < n; i++) {
        uint64_t number = (at + i) / from->tile_bytes;
        uint64_t within = (at + i) % from->tile_bytes;
        if (i == 0 || within == 0)
            decode_tile(s->base, from, number, tile, bytes_of_tile(from, number));
        below[i] = tile[within];
    }
}
