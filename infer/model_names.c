#include "model_names.h"

#include <stdio.h>
#include <string.h>

#include "checkpoint.h"

/* %u: the layer. */
static const char *const hf_names[N_ROLES] = {
    [ROLE_EMBEDDING] = "embed_tokens",
    [ROLE_NORM] = "norm",
    [ROLE_OUTPUT] = "lm_head",
    [ROLE_ATTENTION_NORM] = "input_layernorm",
    [ROLE_Q] = "self_attn.q_proj",
    [ROLE_K] = "self_attn.k_proj",
    [ROLE_V] = "self_attn.v_proj",
    [ROLE_QKV] = "self_attn.qkv_proj",
    [ROLE_O] = "self_attn.o_proj",
    [ROLE_Q_NORM] = "self_attn.q_norm",
    [ROLE_K_NORM] = "self_attn.k_norm",
    [ROLE_AFTER_ATTENTION_NORM] = "post_attention_layernorm",
    [ROLE_MLP_NORM] = "post_attention_layernorm",
    [ROLE_GATE] = "mlp.gate_proj",
    [ROLE_UP] = "mlp.up_proj",
    [ROLE_GATE_UP] = "mlp.gate_up_proj",
    [ROLE_DOWN] = "mlp.down_proj",
    [ROLE_AFTER_MLP_NORM] = "post_feedforward_layernorm",
};

static const char *const gguf_names[N_ROLES] = {
    [ROLE_EMBEDDING] = "token_embd",
    [ROLE_NORM] = "output_norm",
    [ROLE_OUTPUT] = "output",
    [ROLE_ATTENTION_NORM] = "attn_norm",
    [ROLE_Q] = "attn_q",
    [ROLE_K] = "attn_k",
    [ROLE_V] = "attn_v",
    [ROLE_QKV] = "attn_qkv",
    [ROLE_O] = "attn_output",
    [ROLE_Q_NORM] = "attn_q_norm",
    [ROLE_K_NORM] = "attn_k_norm",
    [ROLE_AFTER_ATTENTION_NORM] = "post_attention_norm",
    [ROLE_MLP_NORM] = "ffn_norm",
    [ROLE_GATE] = "ffn_gate",
    [ROLE_UP] = "ffn_up",
    [ROLE_GATE_UP] = "ffn_gate_up",
    [ROLE_DOWN] = "ffn_down",
    [ROLE_AFTER_MLP_NORM] = "post_ffw_norm",
};

const char *names_prefix(const struct weir_model_config *c, const struct weir_checkpoint *ck)
{
    static const char *const prefixes[] = {"model.", "language_model.model.",
                                           "model.language_model."};
    char name[NAME_BYTES];
    for (size_t i = 0; c->naming == WEIR_NAMES_HF && i < sizeof(prefixes) / sizeof(prefixes[0]);
         i++) {
        names_of(c, prefixes[i], ROLE_NORM, 0, false, name);
        if (weir_checkpoint_find(ck, name))
            return prefixes[i];
    }
    return c->naming == WEIR_NAMES_HF ? prefixes[0] : "";
}

void names_of(const struct weir_model_config *c, const char *prefix, enum role role, uint32_t layer,
              bool is_bias, char name[NAME_BYTES])
{
    const bool hf = c->naming == WEIR_NAMES_HF;
    const char *what = is_bias ? "bias" : "weight";
    const char *stem = hf ? hf_names[role] : gguf_names[role];
    /* With four norms a layer the one before the MLP has a name of its own. */
    if (hf && role == ROLE_MLP_NORM && c->norm_after)
        stem = "pre_feedforward_layernorm";
    if (role == ROLE_OUTPUT && hf) /* beside the model, not in it */
        (void)snprintf(name, NAME_BYTES, "%slm_head.%s",
                       strcmp(prefix, "language_model.model.") == 0 ? "language_model." : "", what);
    else if (role < ROLE_ATTENTION_NORM)
        (void)snprintf(name, NAME_BYTES, "%s%s.%s", prefix, stem, what);
    else
        (void)snprintf(name, NAME_BYTES, hf ? "%slayers.%u.%s.%s" : "%sblk.%u.%s.%s", prefix, layer,
                       stem, what);
}

static bool begins_with(const char *name, const char *beginning)
{
    return strncmp(name, beginning, strlen(beginning)) == 0;
}

static bool ends_with(const char *name, const char *ending)
{
    size_t n = strlen(name), n_ending = strlen(ending);
    return n >= n_ending && strcmp(name + n - n_ending, ending) == 0;
}

bool names_superfluous(const struct weir_model_config *c, const char *prefix, const char *name)
{
    char output[NAME_BYTES];
    if (c->naming == WEIR_NAMES_GGUF)
        return strcmp(name, "rope_freqs.weight") == 0; /* read by model.c */
    /* A model that sees images has tensors for that beside these. */
    if (strcmp(prefix, "model.") != 0 && !begins_with(name, prefix))
        return true;
    names_of(c, prefix, ROLE_OUTPUT, 0, false, output);
    return ends_with(name, "rotary_emb.inv_freq") || (c->tied && strcmp(name, output) == 0);
}
