#include "hub_answer.h"

#include <jansson.h>
#include <stdlib.h>
#include <string.h>

#include "codec/jsontree.h"
#include "codec/path.h"

static int hex_value(char c)
{
    return c >= '0' && c <= '9' ? c - '0' : c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* Exactly 2 * n lower-case hex digits. */
static bool take_hex(const json_t *from, uint8_t *out, size_t n)
{
    const char *text = json_string_value(from);
    if (!text || json_string_length(from) != 2 * n)
        return false;
    for (size_t i = 0; i < n; i++) {
        int high = hex_value(text[2 * i]), low = hex_value(text[2 * i + 1]);
        if (high < 0 || low < 0)
            return false;
        out[i] = (uint8_t)(16 * high + low);
    }
    return true;
}

static weir_err read_answer(const char *json, size_t n, json_type type, struct weir_jsontree *tree,
                            struct weir_diag *diag)
{
    weir_err err = weir_jsontree_read_any(json, n, WEIR_JSONTREE_USUAL, tree);
    if (!err && json_typeof(tree->root) != type) {
        weir_jsontree_free(tree);
        err = WEIR_ERR_CORRUPT;
    }
    if (err != WEIR_ERR_CORRUPT)
        return err;
    weir_diag_set(diag, "the server's answer is not the Hub's: no JSON, or another kind of it; "
                        "check HF_ENDPOINT");
    return WEIR_ERR_NETWORK;
}

weir_err hub_commit_parse(const char *json, size_t n, char commit[WEIR_HUB_COMMIT_DIGITS + 1],
                          struct weir_diag *diag)
{
    uint8_t sha1[WEIR_HUB_SHA1_BYTES];
    struct weir_jsontree tree = {0};
    weir_err err = read_answer(json, n, JSON_OBJECT, &tree, diag);
    if (err)
        return err;
    const json_t *sha = json_object_get(tree.root, "sha");
    if (take_hex(sha, sha1, sizeof(sha1))) {
        memcpy(commit, json_string_value(sha), WEIR_HUB_COMMIT_DIGITS);
        commit[WEIR_HUB_COMMIT_DIGITS] = 0;
    } else {
        weir_diag_set(diag, "the Hub does not tell which commit this is");
        err = WEIR_ERR_NETWORK;
    }
    weir_jsontree_free(&tree);
    return err;
}

/* ---- a listing ---- */

static bool take_size(const json_t *from, uint64_t *out)
{
    json_int_t size = json_integer_value(from);
    if (!json_is_integer(from) || size < 0 || size > WEIR_HUB_MAX_SIZE)
        return false;
    *out = (uint64_t)size;
    return true;
}

/* Size and hash; the path is left alone. */
static bool take_facts(const json_t *item, struct weir_hub_file *file)
{
    const json_t *lfs = json_object_get(item, "lfs");
    uint64_t lfs_size;
    if (!take_size(json_object_get(item, "size"), &file->size))
        return false;
    if (!lfs || json_is_null(lfs))
        return take_hex(json_object_get(item, "oid"), file->sha1, sizeof(file->sha1));
    file->has_lfs = true;
    return take_hex(json_object_get(lfs, "oid"), file->sha256, sizeof(file->sha256)) &&
           take_size(json_object_get(lfs, "size"), &lfs_size) && lfs_size == file->size;
}

static bool make_room(struct hub_list *list)
{
    enum { FIRST_ROOM = 64 };
    if (list->n < list->room)
        return true;
    size_t room = list->room ? 2 * list->room : FIRST_ROOM;
    struct weir_hub_file *file = realloc(list->file, room * sizeof(*file));
    if (!file)
        return false;
    list->file = file;
    list->room = room;
    return true;
}

static weir_err refuse(struct weir_diag *diag, const char *why, const char *path)
{
    weir_diag_set(diag, "the Hub's listing %s: '%.200s'", why, path);
    return WEIR_ERR_CORRUPT;
}

static weir_err add_file(struct hub_list *list, const json_t *item, struct weir_diag *diag)
{
    struct weir_hub_file file = {0};
    const char *path = json_string_value(json_object_get(item, "path"));
    if (!path || !weir_path_is_valid(path))
        return refuse(diag, "has a path that may lead out of the repository", path ? path : "");
    if (!take_facts(item, &file))
        return refuse(diag, "lacks size or hash of a file", path);
    list->path_bytes += strlen(path) + 1;
    if (list->n == WEIR_HUB_MAX_FILES || list->path_bytes > HUB_MAX_PATHS_BYTES) {
        weir_diag_set(diag, "the repository has more than %d files, or too long names",
                      WEIR_HUB_MAX_FILES);
        return WEIR_ERR_UNSUPPORTED;
    }
    char *copy = make_room(list) ? strdup(path) : NULL;
    if (!copy)
        return WEIR_ERR_NOMEM;
    file.path = copy;
    list->file[list->n++] = file;
    return WEIR_OK;
}

weir_err hub_list_add(struct hub_list *list, const char *json, size_t n, struct weir_diag *diag)
{
    struct weir_jsontree tree = {0};
    weir_err err = read_answer(json, n, JSON_ARRAY, &tree, diag);
    for (size_t i = 0; !err && i < json_array_size(tree.root); i++) {
        const json_t *item = json_array_get(tree.root, i);
        const char *type = json_string_value(json_object_get(item, "type"));
        /* Folders follow from paths; what else there may be has no bytes. */
        if (type && strcmp(type, "file") == 0)
            err = add_file(list, item, diag);
    }
    weir_jsontree_free(&tree);
    return err;
}

static int by_path(const void *a, const void *b)
{
    const struct weir_hub_file *fa = a, *fb = b;
    return strcmp(fa->path, fb->path);
}

static int name_against_file(const void *name, const void *file)
{
    const struct weir_hub_file *f = file;
    return strcmp(name, f->path);
}

/* Whether a folder of `path` is a file of the sorted list. */
static bool is_below_a_file(const struct hub_list *list, const char *path)
{
    char folder[WEIR_MAX_PATH_BYTES + 1];
    for (const char *slash = strchr(path, '/'); slash; slash = strchr(slash + 1, '/')) {
        memcpy(folder, path, (size_t)(slash - path));
        folder[slash - path] = 0;
        if (bsearch(folder, list->file, list->n, sizeof(list->file[0]), name_against_file))
            return true;
    }
    return false;
}

weir_err hub_list_end(struct hub_list *list, struct weir_diag *diag)
{
    if (list->n == 0)
        return WEIR_OK;
    qsort(list->file, list->n, sizeof(list->file[0]), by_path);
    for (size_t i = 0; i < list->n; i++) {
        const char *path = list->file[i].path;
        if (i && strcmp(path, list->file[i - 1].path) == 0)
            return refuse(diag, "has a path twice", path);
        if (is_below_a_file(list, path))
            return refuse(diag, "has a path whose folder is a file", path);
    }
    return WEIR_OK;
}

void hub_list_free(struct hub_list *list)
{
    for (size_t i = 0; i < list->n; i++) {
        free((char *)list->file[i].path);
        free((char *)list->file[i].url);
    }
    free(list->file);
    *list = (struct hub_list){0};
}
