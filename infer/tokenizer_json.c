#include "tokenizer_json.h"

#include <stdlib.h>
#include <string.h>

enum {
    MAX_TREE = 256 << 20, /* bytes; Gemma 3's 33 MB may take 200 */
};

weir_err loading_unsupported(struct loading *l, const char *section, const char *name)
{
    weir_diag_set(l->diag, "tokenizer.json: %s %.200s is not supported", section, name);
    return WEIR_ERR_UNSUPPORTED;
}

weir_err loading_corrupt(struct loading *l, const char *section, const char *what)
{
    weir_diag_set(l->diag, "tokenizer.json: %s: %s", section, what);
    return WEIR_ERR_CORRUPT;
}

const char *loading_type(const json_t *part)
{
    const char *type = json_string_value(json_object_get(part, "type"));
    return type ? type : "(no type)";
}

bool loading_flag(const json_t *part, const char *name, bool missing)
{
    const json_t *flag = json_object_get(part, name);
    return json_is_boolean(flag) ? json_is_true(flag) : missing;
}

weir_err load_sequence(struct loading *l, const json_t *part, const char *list, load_part *load)
{
    if (!part || json_is_null(part))
        return WEIR_OK;
    if (strcmp(loading_type(part), "Sequence") != 0)
        return load(l, part);
    const json_t *parts = json_object_get(part, list);
    if (!json_is_array(parts))
        return loading_corrupt(l, "Sequence", "it has no list");
    weir_err err = WEIR_OK;
    for (size_t i = 0; !err && i < json_array_size(parts); i++)
        err = load(l, json_array_get(parts, i));
    return err;
}

static weir_err load_all(struct loading *l)
{
    weir_err err = load_normalizer(l);
    if (!err)
        err = load_pre_tokenizer(l);
    if (!err)
        err = load_decoder(l);
    if (!err)
        err = load_model(l);
    if (!err)
        err = load_added(l);
    if (!err)
        err = load_post_processor(l);
    if (!err)
        tokenizer_finish(l->t);
    return err;
}

weir_err weir_tokenizer_from_json(const char *json, size_t n, struct weir_tokenizer **out,
                                  struct weir_diag *diag)
{
    struct weir_jsontree tree = {0};
    struct loading l = {.diag = diag};
    if (n > WEIR_TOKENIZER_MAX_JSON) {
        weir_diag_set(diag, "tokenizer.json: more than %d bytes", WEIR_TOKENIZER_MAX_JSON);
        return WEIR_ERR_CORRUPT;
    }
    weir_err err = weir_jsontree_read(json, n, MAX_TREE, &tree);
    if (err == WEIR_ERR_CORRUPT)
        weir_diag_set(diag, "tokenizer.json: not a JSON object, or too large a one");
    if (err)
        return err;
    l.root = tree.root;
    l.t = tokenizer_new();
    l.spelling = malloc(n + 1); /* no spelling is longer than the file */
    err = l.t && l.spelling ? load_all(&l) : WEIR_ERR_NOMEM;
    weir_jsontree_free(&tree);
    free(l.spelling);
    if (err) {
        weir_tokenizer_free(l.t);
        return err;
    }
    *out = l.t;
    return WEIR_OK;
}
