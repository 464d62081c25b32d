#include "pack_plan.h"

#include <string.h>

enum {
    MAX_RATIO = 16384, /* docs/format.md, 3.4: plain bytes per stored byte */
    LEAST_STORE_BYTES = 4096 + 64,
    DULL_RATIO = 1024,  /* packing to less than this fraction, an object is not worth sharing */
    MEASURED_TILES = 8, /* of an object that may be shared */
};

static bool same_elements(const struct weir_elements *a, const struct weir_elements *b)
{
    if (!a || !b)
        return a == b;
    if (a->elem_bytes != b->elem_bytes || a->n_parts != b->n_parts)
        return false;
    for (int i = 0; i < a->n_parts; i++)
        if (a->part[i].offset != b->part[i].offset || a->part[i].count != b->part[i].count ||
            a->part[i].item_bytes != b->part[i].item_bytes ||
            a->part[i].is_float != b->part[i].is_float ||
            a->part[i].exponent_bits != b->part[i].exponent_bits)
            return false;
    return true;
}

static const struct weir_segment *twin_segment(const struct pack *p, const struct pack_twin *twin)
{
    return &p->ix.entry[twin->entry].segment[twin->segment];
}

static bool looks_equal(const struct pack *p, const struct pack_twin *twin, uint64_t sample_xxh3,
                        uint32_t object)
{
    const struct pack_object *o = &p->object[object];
    return !o->near &&
           !p->ix.object[object].is_reference && /* it would have been found in the base */
           p->ix.object[object].bytes == twin_segment(p, twin)->bytes &&
           o->sample_xxh3 == sample_xxh3 &&
           same_elements(pack_elements(p, o->entry, o->segment),
                         pack_elements(p, twin->entry, twin->segment));
}

/* What tile `tile` of the object takes in the store: as it is written, or as it will be. */
static weir_err measure_tile(struct pack *p, const struct pack_twin *twin, uint32_t object,
                             uint64_t tile, struct weir_tile_head *head, struct weir_diag *diag)
{
    const struct weir_object *o = &p->ix.object[object];
    const struct pack_object *po = &p->object[object];
    const struct weir_segment *home = &p->ix.entry[po->entry].segment[po->segment];
    if (pack_stored_has(p, object))
        return weir_store_tile_head(p->cursor, o->first_tile + tile, head);
    uint64_t at = tile * o->tile_bytes;
    size_t n = o->bytes - at < o->tile_bytes ? (size_t)(o->bytes - at) : o->tile_bytes;
    weir_err err =
        pack_read(&p->there, po->entry, home->file_offset + at, twin->slot->plain, n, diag);
    return err ? err
               : pack_encode(twin->encoder, o, tile, twin->slot->plain, n, twin->slot->stored,
                             head);
}

/* A lower bound of what the object takes in the store: some tiles as they will be stored, and the
 * least possible for the others. */
static weir_err measure(struct pack *p, const struct pack_twin *twin, uint32_t object,
                        struct weir_diag *diag)
{
    const struct weir_object *o = &p->ix.object[object];
    struct pack_object *po = &p->object[object];
    if (weir_object_needs_base(o)) { /* as little as there can be */
        po->measured = true;
        po->least_bytes = o->n_tiles * PACK_LEAST_TILE_BYTES;
        return WEIR_OK;
    }
    uint64_t n_tiles = o->n_tiles < MEASURED_TILES ? o->n_tiles : MEASURED_TILES;
    uint64_t plain_bytes = 0;
    uint64_t stored_bytes = 0;
    for (uint64_t i = 0; i < n_tiles; i++) {
        uint64_t tile = o->n_tiles / n_tiles * i;
        struct weir_tile_head head;
        weir_err err = measure_tile(p, twin, object, tile, &head, diag);
        if (err)
            return err;
        uint64_t left = o->bytes - tile * o->tile_bytes;
        stored_bytes += WEIR_TILE_HEAD_BYTES + ((head.payload_bytes + 15u) & ~15u);
        plain_bytes += left < o->tile_bytes ? left : o->tile_bytes;
    }
    po->measured = true;
    po->least_bytes = stored_bytes + (o->n_tiles - n_tiles) * PACK_LEAST_TILE_BYTES;
    po->dull = stored_bytes < plain_bytes / DULL_RATIO;
    return WEIR_OK;
}

static weir_err measure_once(struct pack *p, const struct pack_twin *twin, struct pack_sharing *how,
                             uint32_t object, struct weir_diag *diag)
{
    const struct pack_object *o = &p->object[object];
    weir_err err = o->measured ? WEIR_OK : measure(p, twin, object, diag);
    if (err)
        return err;
    how->measured[how->n_measured].object = object;
    how->measured[how->n_measured].dull = o->dull;
    how->measured[how->n_measured++].least_bytes = o->least_bytes;
    return WEIR_OK;
}

/* Would the store still obey the ratio rule with this segment sharing `object`?  Segments that do
 * not share stay far below it (a tile of 128 KiB takes at least 32 bytes), so it can be asked
 * segment by segment. */
static bool ratio_allows(const struct pack *p, const struct pack_twin *twin, uint32_t object)
{
    const struct pack_object *po = &p->object[object];
    uint64_t least = LEAST_STORE_BYTES + twin->least_bytes;
    if (!po->shared)
        least += po->least_bytes - p->ix.object[object].n_tiles * PACK_LEAST_TILE_BYTES;
    return (twin->done_bytes + twin_segment(p, twin)->bytes) / MAX_RATIO < least;
}

/* n bytes of an object from `at`: as many as a block may have, and a tile where they come from the
 * store. */
static weir_err read_object(struct pack *p, uint32_t object, uint64_t at, size_t n,
                            struct weir_diag *diag)
{
    const struct pack_object *o = &p->object[object];
    const struct weir_segment *s = &p->ix.entry[o->entry].segment[o->segment];
    if (pack_stored_has(p, object))
        return weir_store_read_tile(p->cursor, object, at / p->ix.object[object].tile_bytes,
                                    p->block[1], diag);
    return pack_read(&p->there, o->entry, s->file_offset + at, p->block[1], n, diag);
}

static weir_err compare(struct pack *p, const struct pack_twin *twin, uint32_t object, bool *equal,
                        struct weir_diag *diag)
{
    const struct weir_segment *a = twin_segment(p, twin);
    size_t step =
        pack_stored_has(p, object) ? p->ix.object[object].tile_bytes : (size_t)PACK_BLOCK_BYTES;
    *equal = false;
    for (uint64_t at = 0; at < a->bytes; at += step) {
        size_t n = a->bytes - at < step ? (size_t)(a->bytes - at) : step;
        if (p->window_bytes)
            pack_expect(&p->here, twin->entry, a->file_offset + at,
                        a->bytes - at < p->window_bytes ? a->bytes - at : p->window_bytes);
        weir_err err = pack_read(&p->here, twin->entry, a->file_offset + at, p->block[0], n, diag);
        if (!err)
            err = read_object(p, object, at, n, diag);
        if (!err)
            err = pack_tick(p, p->done_bytes);
        if (err)
            return err;
        if (memcmp(p->block[0], p->block[1], n) != 0)
            return WEIR_OK;
    }
    *equal = true;
    return WEIR_OK;
}

weir_err pack_find_equal(struct pack *p, const struct pack_twin *twin, struct pack_sharing *how,
                         uint32_t *out, struct weir_diag *diag)
{
    int n_left = PACK_MAX_MEASURED;
    *out = WEIR_NO_OBJECT;
    if (how->near)
        return WEIR_OK;
    for (uint32_t o = twin->first; o != WEIR_NO_OBJECT && n_left; o = p->object[o].next) {
        if (!looks_equal(p, twin, how->sample_xxh3, o))
            continue;
        n_left--;
        weir_err err = measure_once(p, twin, how, o, diag);
        if (err || p->object[o].dull)
            return err;
        if (!ratio_allows(p, twin, o))
            continue;
        bool equal = false;
        err = compare(p, twin, o, &equal, diag);
        if (err)
            return err;
        if (equal) {
            *out = o;
            return WEIR_OK;
        }
    }
    return WEIR_OK;
}
