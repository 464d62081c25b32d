#include "pack_plan.h"

#include <assert.h>

/* Tiles follow each other as the segments do that show their objects first, so the plain bytes of
 * the extents are the files in order, with the segments left out that share or are the base's.
 * Those are read once more, when their turn comes, for their file's SHA-256: from the store where
 * it can be read, else from the file.  All of it is the finishing thread's. */

weir_err pack_hash_new(struct pack_hash *h)
{
    h->xxh3 = XXH3_createState();
    return h->xxh3 ? WEIR_OK : WEIR_ERR_NOMEM;
}

void pack_hash_free(struct pack_hash *h)
{
    sha256_free(&h->sha256);
    XXH3_freeState(h->xxh3);
}

static bool is_first_showing(const struct pack *p, const struct pack_hash *h, uint32_t object)
{
    const struct pack_object *o = &p->object[object];
    return o->entry == h->entry && o->segment == h->segment && !p->ix.object[object].is_reference;
}

/* They were compared when the object was found, and the file has a hash to come up to. */
static weir_err hash_stored(struct pack *p, struct pack_hash *h, uint32_t object,
                            struct weir_diag *diag)
{
    for (uint64_t tile = 0; tile < p->ix.object[object].n_tiles; tile++) {
        size_t n = weir_store_tile_bytes(&p->view, object, tile);
        weir_err err = weir_store_read_tile(p->cursor, object, tile, p->block[0], diag);
        if (!err)
            err = sha256_add(&h->sha256, p->block[0], n);
        p->done_bytes += n;
        if (!err)
            err = pack_tick(p, p->done_bytes);
        if (err)
            return err;
    }
    return WEIR_OK;
}

/* The bytes of a shared segment, read again: they must still be what its object was made of. */
static weir_err hash_shared(struct pack *p, struct pack_hash *h, const struct weir_segment *s,
                            struct weir_diag *diag)
{
    if (p->cursor)
        return hash_stored(p, h, s->object, diag);
    XXH3_64bits_reset(h->xxh3);
    for (uint64_t at = 0; at < s->bytes; at += PACK_BLOCK_BYTES) {
        size_t n = s->bytes - at < PACK_BLOCK_BYTES ? (size_t)(s->bytes - at) : PACK_BLOCK_BYTES;
        weir_err err = pack_read(&p->here, h->entry, s->file_offset + at, p->block[0], n, diag);
        if (!err)
            err = sha256_add(&h->sha256, p->block[0], n);
        if (err)
            return err;
        XXH3_64bits_update(h->xxh3, p->block[0], n);
        p->done_bytes += n;
        err = pack_tick(p, p->done_bytes);
        if (err)
            return err;
    }
    if (XXH3_64bits_digest(h->xxh3) == p->object[s->object].xxh3)
        return WEIR_OK;
    weir_diag_set(diag, "%s: its bytes changed while it was packed", p->ix.entry[h->entry].path);
    return WEIR_ERR_CHANGED;
}

/* Goes on to the next byte that comes out of a tile, or to the end of all entries. */
static weir_err settle(struct pack *p, struct pack_hash *h, struct weir_diag *diag)
{
    while (h->entry < p->ix.n_entries) {
        struct weir_entry *e = &p->ix.entry[h->entry];
        weir_err err = WEIR_OK;
        if (e->kind == WEIR_ENTRY_FILE && !h->in_file) {
            err = sha256_begin(&h->sha256);
            h->in_file = true;
        } else if (h->segment < e->n_segments) {
            const struct weir_segment *s = &e->segment[h->segment];
            if (s->bytes && is_first_showing(p, h, s->object))
                return WEIR_OK;
            if (s->bytes)
                err = hash_shared(p, h, s, diag);
            h->segment++;
        } else {
            if (h->in_file)
                err = sha256_end(&h->sha256, e->sha256);
            h->in_file = false;
            h->entry++;
            h->segment = 0;
        }
        if (err)
            return err;
    }
    return WEIR_OK;
}

weir_err pack_hash_add(struct pack *p, struct pack_hash *h, const uint8_t *plain, size_t n,
                       struct weir_diag *diag)
{
    while (n) {
        weir_err err = settle(p, h, diag);
        if (err)
            return err;
        assert(h->entry < p->ix.n_entries);
        const struct weir_segment *s = &p->ix.entry[h->entry].segment[h->segment];
        struct pack_object *o = &p->object[s->object];
        size_t taken = n < s->bytes - h->offset ? n : (size_t)(s->bytes - h->offset);
        /* With a window it may be shared by segments that are still to come. */
        bool wanted = !p->cursor && (o->shared || p->window_bytes);
        if (wanted && h->offset == 0)
            XXH3_64bits_reset(h->xxh3);
        if (wanted)
            XXH3_64bits_update(h->xxh3, plain, taken);
        err = sha256_add(&h->sha256, plain, taken);
        if (err)
            return err;
        plain += taken;
        n -= taken;
        h->offset += taken;
        p->done_bytes += taken;
        if (h->offset == s->bytes) {
            if (wanted)
                o->xxh3 = XXH3_64bits_digest(h->xxh3);
            h->segment++;
            h->offset = 0;
        }
    }
    return WEIR_OK;
}

weir_err pack_hash_end(struct pack *p, struct pack_hash *h, struct weir_diag *diag)
{
    return settle(p, h, diag);
}
