/* Whole small files of a checkpoint: config.json, tokenizer.json, a GGUF file's header. */
#include <stdlib.h>
#include <string.h>

#include "checkpoint_private.h"

struct checkpoint_file *checkpoint_file(const struct weir_checkpoint *ck, const char *path)
{
    for (size_t i = 0; i < ck->n_files; i++)
        if (strcmp(ck->file[i].path, path) == 0)
            return &ck->file[i];
    return NULL;
}

/* What [at, at + n) has in common with one segment, tile by tile.  tile: WEIR_TILE_BYTES. */
static weir_err copy_segment(struct weir_store_cursor *cursor, const struct weir_object *object,
                             const struct weir_segment *s, uint64_t at, uint8_t *dst, uint64_t n,
                             uint8_t *tile)
{
    uint64_t end = at + n < s->file_offset + s->bytes ? at + n : s->file_offset + s->bytes;
    uint64_t now = at > s->file_offset ? at : s->file_offset;
    while (now < end) {
        uint64_t in_object = now - s->file_offset;
        uint64_t k = in_object / object->tile_bytes;
        uint64_t from = in_object % object->tile_bytes;
        uint64_t step = object->tile_bytes - from;
        if (step > end - now)
            step = end - now;
        weir_err err = weir_store_read_tile(cursor, s->object, k, tile, NULL);
        if (err)
            return err;
        memcpy(dst + (now - at), tile + from, (size_t)step);
        now += step;
    }
    return WEIR_OK;
}

static weir_err read_stored(const struct weir_checkpoint *ck, const struct weir_entry *e,
                            uint64_t at, uint8_t *dst, uint64_t n)
{
    struct weir_store_cursor *cursor = NULL;
    uint8_t *tile = malloc(WEIR_TILE_BYTES);
    if (!tile)
        return WEIR_ERR_NOMEM;
    weir_err err = weir_store_cursor_new(ck->store, weir_kernels_best(), &cursor);
    for (uint32_t i = 0; i < e->n_segments && !err; i++) {
        const struct weir_segment *s = &e->segment[i];
        if (s->bytes && s->file_offset < at + n && s->file_offset + s->bytes > at)
            err =
                copy_segment(cursor, weir_store_object(ck->store, s->object), s, at, dst, n, tile);
    }
    weir_store_cursor_free(cursor);
    free(tile);
    return err;
}

weir_err checkpoint_read(const struct weir_checkpoint *ck, const struct checkpoint_file *f,
                         uint64_t at, uint8_t *dst, uint64_t n, struct weir_diag *diag)
{
    weir_err err = f->entry ? read_stored(ck, f->entry, at, dst, n)
                            : weir_source_read(f->source, at, dst, (size_t)n);
    if (err)
        weir_diag_set(diag, "%s: %s", f->path, weir_err_text(err));
    return err;
}

weir_err weir_checkpoint_read_file(const struct weir_checkpoint *ck, const char *path, uint64_t n,
                                   size_t ceiling, char **out, size_t *n_out,
                                   struct weir_diag *diag)
{
    const struct checkpoint_file *f = checkpoint_file(ck, path);
    if (!f) {
        weir_diag_set(diag, "no file called %s", path);
        return WEIR_ERR_NOT_FOUND;
    }
    if (n > f->size)
        n = f->size;
    if (n > ceiling) {
        weir_diag_set(diag, "%s has more than %zu bytes", path, ceiling);
        return WEIR_ERR_UNSUPPORTED;
    }
    char *text = malloc((size_t)n + 1);
    if (!text)
        return WEIR_ERR_NOMEM;
    weir_err err = checkpoint_read(ck, f, 0, (uint8_t *)text, n, diag);
    if (err) {
        free(text);
        return err;
    }
    text[n] = 0;
    *out = text;
    *n_out = (size_t)n;
    return WEIR_OK;
}
