#include "checkpoint.h"

#include <stdlib.h>
#include <string.h>

#include "checkpoint_private.h"
#include "codec/layout.h"

/* ---- tensors ---- */

static int compare_names(const void *a, const void *b)
{
    const struct weir_checkpoint_tensor *x = a, *y = b;
    return strcmp(x->form.name, y->form.name);
}

static weir_err add_tensor(struct weir_checkpoint *ck, const struct weir_checkpoint_tensor *t)
{
    if (ck->n_tensors == ck->room) {
        size_t room = ck->room ? 2 * ck->room : 256;
        struct weir_checkpoint_tensor *tensor = realloc(ck->tensor, room * sizeof(*tensor));
        if (!tensor)
            return WEIR_ERR_NOMEM;
        ck->tensor = tensor;
        ck->room = room;
    }
    ck->tensor[ck->n_tensors++] = *t;
    return WEIR_OK;
}

static weir_err add_stored(struct weir_checkpoint *ck, const struct checkpoint_file *f)
{
    weir_err err = WEIR_OK;
    for (uint32_t i = 0; i < f->entry->n_segments && !err; i++) {
        const struct weir_segment *s = &f->entry->segment[i];
        if (!s->tensor)
            continue;
        struct weir_checkpoint_tensor t = {
            .form = *s->tensor,
            .bytes = s->bytes,
            .file = (uint32_t)(f - ck->file),
            .object = s->object,
            .offset = s->file_offset,
            .tile_bytes = s->object == WEIR_NO_OBJECT
                              ? WEIR_TILE_BYTES
                              : weir_store_object(ck->store, s->object)->tile_bytes,
        };
        err = add_tensor(ck, &t);
    }
    return err;
}

static weir_err add_plain(struct weir_checkpoint *ck, struct checkpoint_file *f)
{
    struct weir_layout *layout;
    weir_err err = weir_layout_find(f->source, f->path, &layout);
    if (err)
        return err;
    for (size_t i = 0; i < layout->n_parts && !err; i++) {
        const struct weir_layout_part *part = &layout->part[i];
        if (!part->is_tensor)
            continue;
        uint32_t elem = part->elements.elem_bytes ? part->elements.elem_bytes : 1;
        struct weir_checkpoint_tensor t = {
            .form = part->tensor,
            .bytes = part->bytes,
            .file = (uint32_t)(f - ck->file),
            .object = WEIR_NO_OBJECT,
            .offset = part->offset,
            .tile_bytes = WEIR_TILE_BYTES / elem * elem,
        };
        err = add_tensor(ck, &t);
    }
    f->strings = layout->strings; /* the names live on */
    layout->strings = NULL;
    weir_layout_free(layout);
    return err;
}

static weir_err see_gguf(struct weir_checkpoint *ck, const struct checkpoint_file *f, size_t first,
                         struct weir_diag *diag)
{
    uint8_t magic[4] = {0};
    if (f->size < sizeof(magic))
        return WEIR_OK;
    weir_err err = checkpoint_read(ck, f, 0, magic, sizeof(magic), diag);
    if (err || memcmp(magic, "GGUF", sizeof(magic)) != 0)
        return err;
    ck->gguf = f;
    ck->gguf_header_bytes = f->size;
    for (size_t i = first; i < ck->n_tensors; i++)
        if (ck->tensor[i].offset < ck->gguf_header_bytes)
            ck->gguf_header_bytes = ck->tensor[i].offset;
    return WEIR_OK;
}

static weir_err add_weights(struct weir_checkpoint *ck, struct checkpoint_file *f,
                            struct weir_diag *diag)
{
    size_t before = ck->n_tensors;
    weir_err err = ck->store ? add_stored(ck, f) : add_plain(ck, f);
    if (err)
        return err;
    if (ck->n_tensors == before) {
        weir_diag_set(diag, "%s has no tensors: damaged, or neither safetensors nor GGUF", f->path);
        return WEIR_ERR_CORRUPT;
    }
    return see_gguf(ck, f, before, diag);
}

static weir_err find_tensors(struct weir_checkpoint *ck, const char *weights,
                             struct weir_diag *diag)
{
    bool *marked = calloc(ck->n_files ? ck->n_files : 1, sizeof(*marked));
    if (!marked)
        return WEIR_ERR_NOMEM;
    weir_err err = checkpoint_choose(ck, weights, marked, diag);
    for (size_t i = 0; i < ck->n_files && !err; i++)
        if (marked[i])
            err = add_weights(ck, &ck->file[i], diag);
    free(marked);
    if (err)
        return err;
    if (ck->n_tensors == 0)
        return WEIR_OK; /* not reached: weights without tensors are refused */
    qsort(ck->tensor, ck->n_tensors, sizeof(*ck->tensor), compare_names);
    for (size_t i = 1; i < ck->n_tensors; i++) {
        if (strcmp(ck->tensor[i - 1].form.name, ck->tensor[i].form.name) == 0) {
            weir_diag_set(diag, "two tensors are called %s", ck->tensor[i].form.name);
            return WEIR_ERR_CORRUPT;
        }
    }
    return WEIR_OK;
}

/* ---- opening ---- */

static weir_err new_checkpoint(size_t n_files, struct weir_checkpoint **out, struct weir_diag *diag)
{
    if (n_files > WEIR_MAX_CHECKPOINT_FILES) {
        weir_diag_set(diag, "%zu files: more than a model has", n_files);
        return WEIR_ERR_UNSUPPORTED;
    }
    struct weir_checkpoint *ck = calloc(1, sizeof(*ck));
    if (!ck)
        return WEIR_ERR_NOMEM;
    ck->file = calloc(n_files ? n_files : 1, sizeof(*ck->file));
    if (!ck->file) {
        free(ck);
        return WEIR_ERR_NOMEM;
    }
    *out = ck;
    return WEIR_OK;
}

static weir_err finish(struct weir_checkpoint *ck, const char *weights, weir_err err,
                       struct weir_checkpoint **out, struct weir_diag *diag)
{
    if (!err)
        err = find_tensors(ck, weights, diag);
    if (err)
        weir_checkpoint_free(ck);
    else
        *out = ck;
    return err;
}

weir_err weir_checkpoint_from_files(const struct weir_checkpoint_file *file, size_t n,
                                    const char *weights, struct weir_checkpoint **out,
                                    struct weir_diag *diag)
{
    struct weir_checkpoint *ck;
    weir_err err = new_checkpoint(n, &ck, diag);
    if (err)
        return err;
    for (size_t i = 0; i < n && !err; i++) {
        struct checkpoint_file *f = &ck->file[ck->n_files++];
        *f = (struct checkpoint_file){
            .path = strdup(file[i].path), .size = file[i].source->size, .source = file[i].source};
        err = f->path ? WEIR_OK : WEIR_ERR_NOMEM;
    }
    return finish(ck, weights, err, out, diag);
}

/* The part of an entry's path below `dir`, or NULL: not a file right in it. */
static const char *name_in(const struct weir_entry *e, const char *dir)
{
    size_t n = strlen(dir);
    const char *rest = e->path;
    if (e->kind != WEIR_ENTRY_FILE)
        return NULL;
    if (n) {
        if (strncmp(e->path, dir, n) != 0 || e->path[n] != '/')
            return NULL;
        rest = e->path + n + 1;
    }
    return strchr(rest, '/') ? NULL : rest;
}

weir_err weir_checkpoint_from_store(const struct weir_store *store, const char *dir,
                                    const char *weights, struct weir_checkpoint **out,
                                    struct weir_diag *diag)
{
    const uint32_t n_entries = weir_store_info(store)->n_entries;
    struct weir_checkpoint *ck;
    size_t n = 0;
    for (uint32_t i = 0; i < n_entries; i++)
        n += name_in(weir_store_entry(store, i), dir) != NULL;
    weir_err err = new_checkpoint(n, &ck, diag);
    if (err)
        return err;
    ck->store = store;
    for (uint32_t i = 0; i < n_entries && !err; i++) {
        const struct weir_entry *e = weir_store_entry(store, i);
        const char *name = name_in(e, dir);
        if (!name)
            continue;
        struct checkpoint_file *f = &ck->file[ck->n_files++];
        *f = (struct checkpoint_file){.path = strdup(name), .size = e->size, .entry = e};
        err = f->path ? WEIR_OK : WEIR_ERR_NOMEM;
    }
    return finish(ck, weights, err, out, diag);
}

void weir_checkpoint_free(struct weir_checkpoint *ck)
{
    if (!ck)
        return;
    for (size_t i = 0; i < ck->n_files; i++) {
        free(ck->file[i].path);
        free(ck->file[i].strings);
    }
    free(ck->file);
    free(ck->tensor);
    free(ck);
}

/* ---- looking ---- */

size_t weir_checkpoint_n_tensors(const struct weir_checkpoint *ck)
{
    return ck->n_tensors;
}

const struct weir_checkpoint_tensor *weir_checkpoint_tensor(const struct weir_checkpoint *ck,
                                                            size_t i)
{
    return &ck->tensor[i];
}

const struct weir_checkpoint_tensor *weir_checkpoint_find(const struct weir_checkpoint *ck,
                                                          const char *name)
{
    struct weir_checkpoint_tensor key = {.form = {.name = name}};
    return bsearch(&key, ck->tensor, ck->n_tensors, sizeof(*ck->tensor), compare_names);
}

const char *weir_checkpoint_gguf(const struct weir_checkpoint *ck)
{
    return ck->gguf ? ck->gguf->path : NULL;
}

uint64_t weir_checkpoint_gguf_header_bytes(const struct weir_checkpoint *ck)
{
    return ck->gguf_header_bytes;
}
