#include "model_tensors.h"

#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

/* ---- plain files ---- */

static bool ends_with(const char *name, const char *end)
{
    const size_t n = strlen(name), k = strlen(end);
    return n >= k && strcmp(name + n - k, end) == 0;
}

static bool is_weights(const char *name)
{
    return ends_with(name, ".safetensors") || ends_with(name, ".gguf");
}

static bool is_plain(const char *name)
{
    struct stat st;
    return is_weights(name) || (stat(name, &st) == 0 && S_ISDIR(st.st_mode));
}

static weir_err open_file(struct model_tensors *m, size_t i, const struct walk_item *item,
                          struct weir_diag *diag)
{
    weir_err err = weir_source_open_file(item->from, &m->source[i], diag);
    if (err)
        return err;
    m->n_files = i + 1;
    return weir_layout_find(&m->source[i], item->path, &m->layout[i]);
}

static weir_err open_files(struct model_tensors *m, struct weir_diag *diag)
{
    m->source = calloc(m->walk->n + 1, sizeof(m->source[0]));
    m->layout = calloc(m->walk->n + 1, sizeof(struct weir_layout *));
    if (!m->source || !m->layout)
        return WEIR_ERR_NOMEM;
    for (size_t i = 0; i < m->walk->n; i++) {
        const struct walk_item *item = &m->walk->item[i];
        if (item->kind != WEIR_ENTRY_FILE || !is_weights(item->path))
            continue;
        weir_err err = open_file(m, m->n_files, item, diag);
        if (err)
            return err;
    }
    return WEIR_OK;
}

static weir_err list_files(struct model_tensors *m)
{
    size_t n = 0;
    for (size_t f = 0; f < m->n_files; f++)
        n += m->layout[f] ? m->layout[f]->n_parts : 0;
    m->tensor = calloc(n + 1, sizeof(m->tensor[0]));
    if (!m->tensor)
        return WEIR_ERR_NOMEM;
    for (size_t f = 0; f < m->n_files; f++) {
        for (size_t i = 0; m->layout[f] && i < m->layout[f]->n_parts; i++) {
            const struct weir_layout_part *part = &m->layout[f]->part[i];
            if (part->is_tensor && part->bytes)
                m->tensor[m->n++] = (struct model_tensor){&part->tensor, part->bytes, f,
                                                          part->offset, WEIR_NO_OBJECT};
        }
    }
    return WEIR_OK;
}

/* ---- a store ---- */

static weir_err list_store(struct model_tensors *m)
{
    const struct weir_store *store = m->store.store;
    size_t n = 0;
    for (uint32_t i = 0; i < weir_store_info(store)->n_entries; i++)
        n += weir_store_entry(store, i)->n_segments;
    m->tensor = calloc(n + 1, sizeof(m->tensor[0]));
    if (!m->tensor)
        return WEIR_ERR_NOMEM;
    for (uint32_t i = 0; i < weir_store_info(store)->n_entries; i++) {
        const struct weir_entry *e = weir_store_entry(store, i);
        for (uint32_t k = 0; k < e->n_segments; k++) {
            const struct weir_segment *s = &e->segment[k];
            if (s->tensor && s->bytes)
                m->tensor[m->n++] = (struct model_tensor){
                    .tensor = s->tensor, .bytes = s->bytes, .object = s->object};
        }
    }
    return weir_store_cursor_new(store, weir_kernels_best(), &m->cursor);
}

/* ---- both ---- */

weir_err model_tensors_open(struct model_tensors *m, const char *name, struct weir_diag *diag)
{
    *m = (struct model_tensors){0};
    weir_err err;
    if (is_plain(name)) {
        const struct walk_options how = {0};
        err = walk_tree(name, &how, &m->walk, diag);
        if (!err)
            err = open_files(m, diag);
        if (!err)
            err = list_files(m);
    } else {
        err = opened_open_whole(&m->store, name, NULL, NULL, diag);
        if (!err)
            err = list_store(m);
    }
    if (!err && m->n == 0) {
        weir_diag_set(diag, "no tensors in it; name a model's directory, a safetensors or GGUF "
                            "file, or a store of one");
        err = WEIR_ERR_UNSUPPORTED;
    }
    if (err)
        model_tensors_close(m);
    return err;
}

void model_tensors_close(struct model_tensors *m)
{
    for (size_t i = 0; i < m->n_files; i++) {
        weir_layout_free(m->layout[i]);
        weir_source_close(&m->source[i]);
    }
    free(m->layout);
    free(m->source);
    free(m->tensor);
    walk_free(m->walk);
    weir_store_cursor_free(m->cursor);
    if (m->store.name)
        opened_close(&m->store);
    memset(m, 0, sizeof(*m));
}

weir_err model_tensors_read(struct model_tensors *m, size_t i, uint8_t *to, struct weir_diag *diag)
{
    const struct model_tensor *t = &m->tensor[i];
    if (m->walk)
        return weir_source_read(&m->source[t->file], t->at, to, (size_t)t->bytes);
    weir_err err = WEIR_OK;
    uint64_t done = 0;
    for (uint64_t tile = 0; !err && done < t->bytes; tile++) {
        err = weir_store_read_tile(m->cursor, t->object, tile, to + done, diag);
        done += weir_store_tile_bytes(m->store.store, t->object, tile);
    }
    return err;
}
