#include "pack_plan.h"

#include <string.h>

/* What is written is a store but for its end: the view has the index that is being made, which
 * knows all that the extents so far need.  Written extents never change, so the view's revision is
 * always the same. */

weir_err pack_stored_open(struct pack *p)
{
    if (!p->journal)
        return WEIR_OK;
    p->view = (struct weir_store){
        .src = {.self = p->journal->self, .size = UINT64_MAX, .read = p->journal->read},
        .revision = 1,
        .index = &p->ix,
        .extent_at = p->extent_at,
    };
    return weir_store_cursor_new(&p->view, p->kernels, &p->cursor);
}

void pack_stored_close(struct pack *p)
{
    weir_store_cursor_free(p->cursor);
    p->cursor = NULL;
}

bool pack_stored_has(const struct pack *p, uint32_t object)
{
    const struct weir_object *o = &p->ix.object[object];
    return p->cursor && o->first_tile + o->n_tiles <= (uint64_t)p->n_written * WEIR_EXTENT_TILES;
}

static bool is_padding(const struct pack *p, uint32_t extent)
{
    uint8_t bytes[WEIR_ALIGN];
    uint64_t from = WEIR_ALIGN;
    if (extent)
        from = p->extent_at[extent - 1] + p->ix.extent[extent - 1].bytes;
    size_t n = (size_t)(p->extent_at[extent] - from);
    if (n && p->view.src.read(p->view.src.self, from, bytes, n))
        return false;
    for (size_t i = 0; i < n; i++)
        if (bytes[i])
            return false;
    return true;
}

weir_err pack_stored_check(const struct pack *p, uint32_t i, uint8_t *stored)
{
    const struct index_extent *e = &p->ix.extent[i];
    uint8_t sha256[WEIR_DIGEST_BYTES];
    weir_err err = p->view.src.read(p->view.src.self, p->extent_at[i], stored, e->bytes);
    if (err) /* too short, or a disk that cannot read it */
        return WEIR_ERR_MISMATCH;
    err = sha256_of(stored, e->bytes, sha256);
    if (err)
        return err;
    bool fine = memcmp(sha256, e->sha256, sizeof(sha256)) == 0 && is_padding(p, i);
    return fine ? WEIR_OK : WEIR_ERR_MISMATCH;
}
