/* Which files of a checkpoint hold its weights. */
#include <jansson.h>
#include <stdlib.h>
#include <string.h>

#include "checkpoint_private.h"
#include "codec/jsontree.h"

enum { MAX_INDEX_BYTES = 16 << 20 };

static const char index_path[] = "model.safetensors.index.json";

static bool ends_with(const char *path, const char *ending)
{
    size_t n = strlen(path), n_ending = strlen(ending);
    return n >= n_ending && strcmp(path + n - n_ending, ending) == 0;
}

static weir_err mark(const struct weir_checkpoint *ck, const char *path, bool *marked,
                     struct weir_diag *diag)
{
    const struct checkpoint_file *f = checkpoint_file(ck, path);
    if (!f) {
        weir_diag_set(diag, "%s, which holds weights of the model, is not there", path);
        return WEIR_ERR_NOT_FOUND;
    }
    marked[f - ck->file] = true;
    return WEIR_OK;
}

/* {"weight_map": {TENSOR: FILE, ...}} */
static weir_err mark_shards(const struct weir_checkpoint *ck, json_t *root, bool *marked,
                            struct weir_diag *diag)
{
    const char *name;
    json_t *value, *map = json_object_get(root, "weight_map");
    if (json_object_size(map) == 0) {
        weir_diag_set(diag, "%s: weight_map names no tensors", index_path);
        return WEIR_ERR_CORRUPT;
    }
    json_object_foreach(map, name, value)
    {
        const char *path = json_string_value(value);
        if (!path) {
            weir_diag_set(diag, "%s: %s has no file", index_path, name);
            return WEIR_ERR_CORRUPT;
        }
        weir_err err = mark(ck, path, marked, diag);
        if (err)
            return err;
    }
    return WEIR_OK;
}

static weir_err read_index(const struct weir_checkpoint *ck, bool *marked, struct weir_diag *diag)
{
    char *text;
    size_t n;
    struct weir_jsontree tree;
    weir_err err =
        weir_checkpoint_read_file(ck, index_path, UINT64_MAX, MAX_INDEX_BYTES, &text, &n, diag);
    if (err)
        return err;
    err = weir_jsontree_read(text, n, WEIR_JSONTREE_USUAL, &tree);
    free(text);
    if (err) {
        if (err == WEIR_ERR_CORRUPT)
            weir_diag_set(diag, "%s is not the JSON that it should be", index_path);
        return err;
    }
    err = mark_shards(ck, tree.root, marked, diag);
    weir_jsontree_free(&tree);
    return err;
}

static weir_err mark_the_only_one(const struct weir_checkpoint *ck, bool *marked,
                                  struct weir_diag *diag)
{
    size_t found = ck->n_files;
    for (size_t i = 0; i < ck->n_files; i++) {
        const char *path = ck->file[i].path;
        if (!ends_with(path, ".safetensors") && !ends_with(path, ".gguf"))
            continue;
        if (found < ck->n_files) {
            weir_diag_set(diag, "%s and %s could both be the weights: name one of them",
                          ck->file[found].path, path);
            return WEIR_ERR_NOT_FOUND;
        }
        found = i;
    }
    if (found == ck->n_files) {
        weir_diag_set(diag, "no weights: neither a .safetensors nor a .gguf file");
        return WEIR_ERR_NOT_FOUND;
    }
    marked[found] = true;
    return WEIR_OK;
}

weir_err checkpoint_choose(const struct weir_checkpoint *ck, const char *weights, bool *marked,
                           struct weir_diag *diag)
{
    static const char usual[] = "model.safetensors";
    if (weights)
        return mark(ck, weights, marked, diag);
    if (checkpoint_file(ck, index_path))
        return read_index(ck, marked, diag);
    if (checkpoint_file(ck, usual))
        return mark(ck, usual, marked, diag);
    return mark_the_only_one(ck, marked, diag);
}
