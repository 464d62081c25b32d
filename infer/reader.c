/* Rows of tensors, one tile of plain bytes at a time.
 *
 * The last tile is kept, so that whoever goes through a tensor in order reads or decodes each tile
 * once.  A row between two tiles is put together in memory of its own. */
#include <stdlib.h>
#include <string.h>

#include "checkpoint_private.h"

enum {
    ALIGNMENT = 64,
    CURSOR_BYTES = 300 << 10,      /* codec/store.h */
    BASE_CURSOR_BYTES = 700 << 10, /* of a store that needs a base */
};

struct weir_reader {
    const struct weir_checkpoint *ck;
    struct weir_store_cursor *cursor; /* NULL: plain files */
    uint8_t *tile;                    /* WEIR_TILE_BYTES */
    uint8_t *row;                     /* row_bytes */
    size_t row_bytes;
    const struct weir_checkpoint_tensor *held; /* whose tile it is; NULL: none */
    uint64_t held_tile;
    uint64_t bytes;
};

static weir_err fill(struct weir_reader *r, size_t row_bytes)
{
    size_t room = (row_bytes + ALIGNMENT) / ALIGNMENT * ALIGNMENT;
    r->row_bytes = row_bytes;
    r->tile = aligned_alloc(ALIGNMENT, WEIR_TILE_BYTES);
    r->row = aligned_alloc(ALIGNMENT, room);
    if (!r->tile || !r->row)
        return WEIR_ERR_NOMEM;
    return r->ck->store ? weir_store_cursor_new(r->ck->store, weir_kernels_best(), &r->cursor)
                        : WEIR_OK;
}

size_t weir_reader_room(const struct weir_checkpoint *ck, size_t row_bytes)
{
    size_t cursor = ck->store ? CURSOR_BYTES : 0;
    if (ck->store && weir_store_info(ck->store)->features & WEIR_FEATURE_BASE)
        cursor = BASE_CURSOR_BYTES;
    return WEIR_TILE_BYTES + row_bytes + ALIGNMENT + cursor;
}

weir_err weir_reader_new(const struct weir_checkpoint *ck, size_t row_bytes,
                         struct weir_reader **out)
{
    struct weir_reader *r = calloc(1, sizeof(*r));
    if (!r || row_bytes > WEIR_MAX_ROW_BYTES) {
        free(r);
        return r ? WEIR_ERR_INVALID : WEIR_ERR_NOMEM;
    }
    r->ck = ck;
    weir_err err = fill(r, row_bytes);
    if (err)
        weir_reader_free(r);
    else
        *out = r;
    return err;
}

void weir_reader_free(struct weir_reader *r)
{
    if (!r)
        return;
    weir_store_cursor_free(r->cursor);
    free(r->tile);
    free(r->row);
    free(r);
}

uint64_t weir_reader_bytes(const struct weir_reader *r)
{
    return r->bytes;
}

static size_t bytes_of_tile(const struct weir_checkpoint_tensor *t, uint64_t tile)
{
    uint64_t left = t->bytes - tile * t->tile_bytes;
    return left < t->tile_bytes ? (size_t)left : t->tile_bytes;
}

/* Afterwards r->tile is the tile, or holds nothing. */
static weir_err hold(struct weir_reader *r, const struct weir_checkpoint_tensor *t, uint64_t tile,
                     struct weir_diag *diag)
{
    struct weir_diag why = {""};
    weir_err err;
    if (r->held == t && r->held_tile == tile)
        return WEIR_OK;
    r->held = NULL;
    size_t n = bytes_of_tile(t, tile);
    if (r->ck->store)
        err = weir_store_read_tile(r->cursor, t->object, tile, r->tile, &why);
    else
        err = weir_source_read(r->ck->file[t->file].source, t->offset + tile * t->tile_bytes,
                               r->tile, n);
    if (err) {
        weir_diag_set(diag, "%s: %s: %s", r->ck->file[t->file].path, t->form.name,
                      why.text[0] ? why.text : weir_err_text(err));
        return err;
    }
    r->held = t;
    r->held_tile = tile;
    r->bytes += n;
    return WEIR_OK;
}

static weir_err copy(struct weir_reader *r, const struct weir_checkpoint_tensor *t, uint64_t at,
                     uint8_t *dst, uint64_t n, struct weir_diag *diag)
{
    while (n) {
        uint64_t tile = at / t->tile_bytes, from = at % t->tile_bytes;
        weir_err err = hold(r, t, tile, diag);
        if (err)
            return err;
        uint64_t step = bytes_of_tile(t, tile) - from;
        if (step > n)
            step = n;
        memcpy(dst, r->tile + from, (size_t)step);
        dst += step;
        at += step;
        n -= step;
    }
    return WEIR_OK;
}

weir_err weir_reader_copy(struct weir_reader *r, const struct weir_checkpoint_tensor *t,
                          uint8_t *dst, struct weir_diag *diag)
{
    return copy(r, t, 0, dst, t->bytes, diag);
}

weir_err weir_reader_rows(struct weir_reader *r, const struct weir_checkpoint_tensor *t,
                          uint64_t first, uint64_t n_rows, const uint8_t **rows, uint64_t *n_out,
                          struct weir_diag *diag)
{
    const uint64_t row_bytes = t->bytes / t->form.dim[0];
    if (row_bytes == 0 || row_bytes > r->row_bytes)
        return WEIR_ERR_INVALID;
    uint64_t tile = first * row_bytes / t->tile_bytes, from = first * row_bytes % t->tile_bytes;
    weir_err err;
    if (from + row_bytes > t->tile_bytes) {
        err = copy(r, t, first * row_bytes, r->row, row_bytes, diag);
        if (err)
            return err;
        *rows = r->row;
        *n_out = 1;
        return WEIR_OK;
    }
    err = hold(r, t, tile, diag);
    if (err)
        return err;
    uint64_t whole = (bytes_of_tile(t, tile) - from) / row_bytes;
    *rows = r->tile + from;
    *n_out = whole < n_rows ? whole : n_rows;
    return WEIR_OK;
}

void weir_checkpoint_expect(const struct weir_checkpoint *ck,
                            const struct weir_checkpoint_tensor *t, uint64_t first, uint64_t n_rows)
{
    if (!ck->store || n_rows == 0)
        return;
    const uint64_t row_bytes = t->bytes / t->form.dim[0];
    uint64_t tile = first * row_bytes / t->tile_bytes;
    uint64_t end = ((first + n_rows) * row_bytes + t->tile_bytes - 1) / t->tile_bytes;
    weir_store_expect_tiles(ck->store, t->object, tile, end - tile);
}
