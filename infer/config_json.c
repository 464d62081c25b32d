/* config.json: a family, its numbers, and what they switch in the graph. */
#include <math.h>
#include <string.h>

#include "codec/jsontree.h"
#include "config_private.h"

static weir_err refuse(struct weir_diag *diag, const char *key, const char *value)
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
    double head_dim = f->head_dim;
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

/* layer_types, or what the family does without. */
static weir_err read_windowed(const json_t *root, uint32_t first, uint32_t pattern,
                              struct weir_model_config *c, struct weir_diag *diag)
{
    const json_t *types = json_object_get(root, "layer_types");
    if (!types || json_is_null(types)) {
        for (uint32_t i = 0; i < c->n_layers; i++)
            c->windowed[i] = i >= first && (!pattern || (i + 1) % pattern);
        return WEIR_OK;
    }
    if (json_array_size(types) != c->n_layers) {
        weir_diag_set(diag, "config.json: layer_types has not one entry for each layer");
        return WEIR_ERR_CORRUPT;
    }
    for (uint32_t i = 0; i < c->n_layers; i++) {
        const char *type = json_string_value(json_array_get(types, i));
        if (!type ||
            (strcmp(type, "full_attention") != 0 && strcmp(type, "sliding_attention") != 0))
            return refuse(diag, "layer_types", type);
        c->windowed[i] = *type == 's';
    }
    return WEIR_OK;
}

static weir_err read_window(const struct family *f, const json_t *root, struct weir_model_config *c,
                            struct weir_diag *diag)
{
    const bool is_qwen = strncmp(f->name, "qwen", 4) == 0;
    uint32_t first = 0, pattern = 0;
    bool used = true;
    weir_err err = config_count(
        root, (struct config_number){"sliding_window", 0, WEIR_MAX_CONTEXT, 0}, &c->window, diag);
    if (!json_object_get(root, "sliding_window"))
        c->window = f->window;
    if (!err && is_qwen) {
        err = config_flag(root, "use_sliding_window", false, &used, diag);
        if (!err)
            err = config_count(root,
                               (struct config_number){"max_window_layers", 0, WEIR_MAX_CONTEXT, 28},
                               &first, diag);
    } else if (!err && strncmp(f->name, "gemma", 5) == 0) {
        double usual = strcmp(f->name, "gemma2") == 0 ? 2 : 6;
        err = config_count(
            root, (struct config_number){"sliding_window_pattern", 1, WEIR_MAX_LAYERS, usual},
            &pattern, diag);
    }
    if (!used)
        c->window = 0;
    return err ? err : read_windowed(root, first, pattern, c, diag);
}

static weir_err read_activation(const json_t *root, const char *key, const char *otherwise,
                                struct weir_model_config *c, struct weir_diag *diag)
{
    const json_t *value = json_object_get(root, key);
    const char *name = value && !json_is_null(value) ? json_string_value(value) : otherwise;
    if (name && (strcmp(name, "silu") == 0 || strcmp(name, "swish") == 0))
        c->activation = WEIR_SILU;
    else if (name && (strcmp(name, "gelu_pytorch_tanh") == 0 || strcmp(name, "gelu_new") == 0))
        c->activation = WEIR_GELU_TANH;
    else
        return refuse(diag, key, name);
    return WEIR_OK;
}

static weir_err read_gemma(const struct family *f, const json_t *root, struct weir_model_config *c,
                           struct weir_diag *diag)
{
    const bool second = strcmp(f->name, "gemma2") == 0;
    const bool no_cap = json_object_get(root, "attn_logit_softcapping") || !second;
    const bool no_logit_cap = json_object_get(root, "final_logit_softcapping") || !second;
    float scalar;
    weir_err err = config_real(
        root, (struct config_number){"query_pre_attn_scalar", 1e-6, 1e9, 256}, &scalar, diag);
    if (!err)
        err = config_real(root,
                          (struct config_number){"attn_logit_softcapping", 0, 1e9, no_cap ? 0 : 50},
                          &c->attention_cap, diag);
    if (!err)
        err = config_real(
            root, (struct config_number){"final_logit_softcapping", 0, 1e9, no_logit_cap ? 0 : 30},
            &c->logit_cap, diag);
    if (err)
        return err;
    c->attention_scale = (float)(1 / sqrt((double)scalar));
    c->embedding_scale = sqrtf((float)c->hidden);
    c->norm_plus_one = c->norm_after = true;
    c->qk_norm = !second;
    return read_activation(root, "hidden_activation", "gelu_pytorch_tanh", c, diag);
}

static weir_err read_switches(const struct family *f, const json_t *root,
                              struct weir_model_config *c, struct weir_diag *diag)
{
    bool attention_bias;
    c->attention_scale = (float)(1 / sqrt((double)c->head_dim));
    c->embedding_scale = 1;
    weir_err err =
        config_real(root, (struct config_number){"rms_norm_eps", 0, 1, (double)f->norm_eps},
                    &c->norm_eps, diag);
    if (!err)
        err = config_flag(root, "attention_bias", false, &attention_bias, diag);
    if (!err)
        err = config_flag(root, "mlp_bias", false, &c->bias_mlp, diag);
    if (err)
        return err;
    c->bias_q = c->bias_k = c->bias_v = c->bias_o = attention_bias;
    if (strncmp(f->name, "gemma", 5) == 0)
        return read_gemma(f, root, c, diag);
    if (strcmp(f->name, "qwen2") == 0)
        c->bias_q = c->bias_k = c->bias_v = true;
    c->qk_norm = strcmp(f->name, "qwen3") == 0;
    c->fused_qkv = c->fused_gate_up = strcmp(f->name, "phi3") == 0;
    return read_activation(root, "hidden_act", "silu", c, diag);
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
        return refuse(diag, "model_type", type);
    const json_t *list = json_object_get(root, "architectures");
    const char *name = json_string_value(json_array_get(list, 0));
    bool none = !list || json_is_null(list);
    if (!none && (json_array_size(list) != 1 || !name || strcmp(name, f->architecture) != 0))
        return refuse(diag, "architectures", name);
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
            return refuse(diag, "the key", key);
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
        return refuse(diag, "architectures", name);
    *inner = json_object_get(root, "text_config");
    if (!json_is_object(*inner))
        return refuse(diag, "model_type gemma3 with text_config", NULL);
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
        err = read_switches(f, inner, c, diag);
    if (!err && f->window)
        err = read_window(f, inner, c, diag);
    else if (!err && strcmp(f->name, "phi3") == 0)
        err = read_window(f, inner, c, diag);
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
