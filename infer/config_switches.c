/* What a family and its config.json switch on in the graph. */
#include <math.h>
#include <string.h>

#include "config_private.h"

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
            return config_refuse(diag, "layer_types", type);
        c->windowed[i] = *type == 's';
    }
    return WEIR_OK;
}

weir_err config_window_read(const struct family *f, const json_t *root, struct weir_model_config *c,
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
        return config_refuse(diag, key, name);
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

weir_err config_switches_read(const struct family *f, const json_t *root,
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
