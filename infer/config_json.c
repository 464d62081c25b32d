/* config.json: a family, its numbers, and what they switch in the graph. */
#include <string.h>

#include "codec/jsontree.h"
#include "config_private.h"

weir_err config_refuse(struct weir_diag *diag, const char *key, const char *value)
{
    weir_diag_set(diag, "config.json: %s %s is not known here", key, value ? value : "(none)");
    return WEIR_ERR_UNSUPPORTED;
}

static weir_err read_sizes(const struct family *f, const json_t *root, struct weir_model_config *c,
                           struct weir_diag *diag)
{
    const struct {
        struct config_number number;
        uint32_t *to;
    } sizes[] = {
        {{"num_hidden_layers", 1, WEIR_MAX_LAYERS, f->n_layers}, &c->n_layers},
        {{"hidden_size", 1, WEIR_MAX_WIDTH, f->hidden}, &c->hidden},
        {{"intermediate_size", 1, WEIR_MAX_WIDTH, f->intermediate}, &c->intermediate},
        {{"num_attention_heads", 1, WEIR_MAX_HEADS, f->n_heads}, &c->n_heads},
        {{"vocab_size", 1, WEIR_MAX_VOCAB, f->vocab}, &c->vocab},
        {{"max_position_embeddings", 1, WEIR_MAX_CONTEXT, f->context}, &c->context},
    };
    for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
        weir_err err = config_count(root, sizes[i].number, sizes[i].to, diag);
        if (err)
            return err;
    }
    /* null is not the same as absent here: it means one for each head */
    bool absent = !json_object_get(root, "num_key_value_heads");
    double n_kv_heads = absent && f->n_kv_heads ? f->n_kv_heads : c->n_heads;
    uint32_t head_dim = f->head_dim;
    if (!f->head_dim && c->hidden % c->n_heads == 0)
        head_dim = c->hidden / c->n_heads;
    weir_err err = config_count(
        root, (struct config_number){"num_key_value_heads", 1, WEIR_MAX_HEADS, n_kv_heads},
        &c->n_kv_heads, diag);
    if (!err)
        err = config_count(root, (struct config_number){"head_dim", 1, WEIR_MAX_HEAD_DIM, head_dim},
                           &c->head_dim, diag);
    return err;
}

/* ---- ids ---- */

static weir_err bad_id(struct weir_diag *diag, const char *key)
{
    weir_diag_set(diag, "%s is not a token's id", key);
    return WEIR_ERR_CORRUPT;
}

static weir_err add_eos(const json_t *id, struct weir_model_config *c, struct weir_diag *diag)
{
    json_int_t v = json_integer_value(id);
    if (!json_is_integer(id) || v < 0 || v >= (json_int_t)c->vocab || c->n_eos == WEIR_MAX_EOS)
        return bad_id(diag, "eos_token_id");
    c->eos[c->n_eos++] = (uint32_t)v;
    return WEIR_OK;
}

/* One id or a list.  *found: there was one. */
static weir_err read_eos(const json_t *root, struct weir_model_config *c, struct weir_diag *diag)
{
    const json_t *value = json_object_get(root, "eos_token_id");
    weir_err err = WEIR_OK;
    if (!value || json_is_null(value))
        return WEIR_OK;
    if (!json_is_array(value))
        return add_eos(value, c, diag);
    for (size_t i = 0; i < json_array_size(value) && !err; i++)
        err = add_eos(json_array_get(value, i), c, diag);
    return err;
}

static weir_err read_bos(const json_t *root, struct weir_model_config *c, struct weir_diag *diag)
{
    const json_t *value = json_object_get(root, "bos_token_id");
    c->bos = -1;
    if (!value || json_is_null(value))
        return WEIR_OK;
    if (!json_is_integer(value) || json_integer_value(value) < 0)
        return bad_id(diag, "bos_token_id");
    c->bos = json_integer_value(value);
    return WEIR_OK;
}

/* ---- the whole ---- */

static weir_err find_family(const json_t *root, const struct family **out, struct weir_diag *diag)
{
    const char *type = json_string_value(json_object_get(root, "model_type"));
    const struct family *f = type ? family_named(type) : NULL;
    if (!f)
        return config_refuse(diag, "model_type", type);
    const json_t *list = json_object_get(root, "architectures");
    const char *name = json_string_value(json_array_get(list, 0));
    bool none = !list || json_is_null(list);
    if (!none && (json_array_size(list) != 1 || !name || strcmp(name, f->architecture) != 0))
        return config_refuse(diag, "architectures", name);
    *out = f;
    return WEIR_OK;
}

/* Keys of Gemma 3 around its text_config.  They are about images, which this does not see. */
static bool about_images(const char *key)
{
    static const char *const keys[] = {"vision_config",       "boi_token_index", "eoi_token_index",
                                       "image_token_index",   "boi_token_id",    "eoi_token_id",
                                       "mm_tokens_per_image", "image_token_id"};
    for (size_t i = 0; i < sizeof(keys) / sizeof(keys[0]); i++)
        if (strcmp(keys[i], key) == 0)
            return true;
    return false;
}

static weir_err check_outer_keys(const json_t *root, struct weir_diag *diag)
{
    static const char *const keys[] = {"architectures",
                                       "text_config",
                                       "bos_token_id",
                                       "eos_token_id",
                                       "pad_token_id",
                                       "torch_dtype",
                                       "dtype",
                                       "tie_word_embeddings",
                                       "use_cache",
                                       "model_type",
                                       "transformers_version",
                                       "initializer_range",
                                       NULL};
    for (void *i = json_object_iter((json_t *)root); i;
         i = json_object_iter_next((json_t *)root, i)) {
        const char *key = json_object_iter_key(i);
        const char *const *k = keys;
        while (*k && strcmp(*k, key) != 0)
            k++;
        if (!*k && *key != '_' && !about_images(key) && !json_is_null(json_object_iter_value(i)))
            return config_refuse(diag, "the key", key);
    }
    return WEIR_OK;
}

/* A model that also sees images keeps the text's config inside.  *inner: it or root. */
static weir_err find_text(const json_t *root, const json_t **inner, struct weir_diag *diag)
{
    const char *type = json_string_value(json_object_get(root, "model_type"));
    *inner = root;
    if (!type || strcmp(type, "gemma3") != 0)
        return WEIR_OK;
    const char *name = json_string_value(json_array_get(json_object_get(root, "architectures"), 0));
    if (name && strcmp(name, "Gemma3ForConditionalGeneration") != 0)
        return config_refuse(diag, "architectures", name);
    *inner = json_object_get(root, "text_config");
    if (!json_is_object(*inner))
        return config_refuse(diag, "model_type gemma3 with text_config", NULL);
    return check_outer_keys(root, diag);
}

static weir_err read_model(const json_t *root, const json_t *generation,
                           struct weir_model_config *c, struct weir_diag *diag)
{
    const struct family *f;
    const json_t *inner;
    weir_err err = find_text(root, &inner, diag);
    if (!err)
        err = find_family(inner, &f, diag);
    if (!err)
        err = config_keys_check(f, inner, diag);
    if (err)
        return err;
    c->family = f->name;
    err = read_sizes(f, inner, c, diag);
    if (!err)
        err = config_switches_read(f, inner, c, diag);
    if (!err && strcmp(f->name, "llama") != 0)
        err = config_window_read(f, inner, c, diag);
    if (!err)
        err = config_rope_read(f, inner, c, diag);
    if (!err)
        err = config_flag(inner, "tie_word_embeddings", f->tied, &c->tied, diag);
    if (!err && inner != root)
        err = config_flag(root, "tie_word_embeddings", c->tied, &c->tied, diag);
    if (!err)
        err = read_bos(root, c, diag);
    if (!err)
        err = read_eos(json_object_get(generation, "eos_token_id") ? generation : root, c, diag);
    return err ? err : config_check(c, diag);
}

static weir_err parse(const char *text, size_t n, const char *what, struct weir_jsontree *tree,
                      struct weir_diag *diag)
{
    weir_err err = weir_jsontree_read(text, n, WEIR_JSONTREE_USUAL, tree);
    if (err == WEIR_ERR_CORRUPT)
        weir_diag_set(diag, "%s is not the JSON that it should be", what);
    return err;
}

weir_err weir_model_config_from_json(const char *text, size_t n, const char *generation,
                                     size_t n_generation, struct weir_model_config *out,
                                     struct weir_diag *diag)
{
    struct weir_jsontree tree = {0}, more = {0};
    struct weir_model_config c = {0};
    weir_err err = parse(text, n, "config.json", &tree, diag);
    if (!err && generation)
        err = parse(generation, n_generation, "generation_config.json", &more, diag);
    if (!err)
        err = read_model(tree.root, more.root, &c, diag);
    weir_jsontree_free(&tree);
    weir_jsontree_free(&more);
    if (!err)
        *out = c;
    return err;
}
