/* The families, what transformers takes where their config.json says nothing, and which of its keys
 * mean something. */
#include <stdlib.h>
#include <string.h>

#include "config_private.h"

#define WINDOW_KEYS "use_sliding_window", "sliding_window", "max_window_layers", "layer_types"
#define GEMMA_KEYS                                                                                 \
    "attention_bias", "query_pre_attn_scalar", "hidden_activation", "attn_logit_softcapping",      \
        "final_logit_softcapping", "sliding_window", "layer_types", "sliding_window_pattern"

static const char *const llama_keys[] = {"attention_bias", "mlp_bias", NULL};
static const char *const mistral_keys[] = {"sliding_window", NULL};
static const char *const qwen2_keys[] = {WINDOW_KEYS, NULL};
static const char *const qwen3_keys[] = {WINDOW_KEYS, "attention_bias", NULL};
static const char *const gemma2_keys[] = {GEMMA_KEYS, NULL};
static const char *const gemma3_keys[] = {GEMMA_KEYS, "rope_local_base_freq", NULL};
static const char *const phi3_keys[] = {"sliding_window", "original_max_position_embeddings",
                                        "partial_rotary_factor", NULL};

static const struct family families[] = {
    {.name = "llama",
     .architecture = "LlamaForCausalLM",
     .context = 2048,
     .norm_eps = 1e-6F,
     .theta = 1e4F,
     .key = llama_keys},
    {.name = "mistral",
     .architecture = "MistralForCausalLM",
     .n_kv_heads = 8,
     .context = 131072,
     .norm_eps = 1e-6F,
     .theta = 1e4F,
     .window = 4096,
     .key = mistral_keys},
    {.name = "qwen2",
     .architecture = "Qwen2ForCausalLM",
     .n_kv_heads = 32,
     .context = 32768,
     .norm_eps = 1e-6F,
     .theta = 1e4F,
     .window = 4096,
     .key = qwen2_keys},
    {.name = "qwen3",
     .architecture = "Qwen3ForCausalLM",
     .n_kv_heads = 32,
     .head_dim = 128,
     .context = 32768,
     .norm_eps = 1e-6F,
     .theta = 1e4F,
     .window = 4096,
     .key = qwen3_keys},
    {.name = "gemma2",
     .architecture = "Gemma2ForCausalLM",
     .vocab = 256000,
     .hidden = 2304,
     .intermediate = 9216,
     .n_layers = 26,
     .n_heads = 8,
     .n_kv_heads = 4,
     .head_dim = 256,
     .context = 8192,
     .norm_eps = 1e-6F,
     .theta = 1e4F,
     .tied = true,
     .window = 4096,
     .key = gemma2_keys},
    {.name = "gemma3_text",
     .architecture = "Gemma3ForCausalLM",
     .vocab = 262208,
     .hidden = 2304,
     .intermediate = 9216,
     .n_layers = 26,
     .n_heads = 8,
     .n_kv_heads = 4,
     .head_dim = 256,
     .context = 131072,
     .norm_eps = 1e-6F,
     .theta = 1e6F,
     .tied = true,
     .window = 4096,
     .key = gemma3_keys},
    {.name = "phi3",
     .architecture = "Phi3ForCausalLM",
     .context = 4096,
     .norm_eps = 1e-5F,
     .theta = 1e4F,
     .key = phi3_keys},
};

enum { N_FAMILIES = sizeof(families) / sizeof(families[0]) };

/* That every family has. */
static const char *const common_keys[] = {"model_type",
                                          "architectures",
                                          "vocab_size",
                                          "hidden_size",
                                          "intermediate_size",
                                          "num_hidden_layers",
                                          "num_attention_heads",
                                          "num_key_value_heads",
                                          "head_dim",
                                          "max_position_embeddings",
                                          "rms_norm_eps",
                                          "hidden_act",
                                          "tie_word_embeddings",
                                          "bos_token_id",
                                          "eos_token_id",
                                          "rope_theta",
                                          "rope_scaling",
                                          "rope_parameters",
                                          NULL};

/* About training, storing, sampling or the program that wrote it; or, as pretraining_tp, read by no
 * program that computes logits. */
static const char *const harmless_keys[] = {"transformers_version",
                                            "torch_dtype",
                                            "dtype",
                                            "use_cache",
                                            "initializer_range",
                                            "attention_dropout",
                                            "attn_dropout",
                                            "resid_pdrop",
                                            "embd_pdrop",
                                            "hidden_dropout",
                                            "auto_map",
                                            "pad_token_id",
                                            "unk_token_id",
                                            "sep_token_id",
                                            "pretraining_tp",
                                            "gradient_checkpointing",
                                            "unsloth_fixed",
                                            "unsloth_version",
                                            "id2label",
                                            "label2id",
                                            "num_labels",
                                            "return_dict",
                                            "task_specific_params",
                                            "problem_type",
                                            "finetuning_task",
                                            "prefix",
                                            "model_name",
                                            "cache_implementation",
                                            "keys_to_ignore_at_inference",
                                            "chunk_size_feed_forward",
                                            "temperature",
                                            "top_k",
                                            "top_p",
                                            "typical_p",
                                            "do_sample",
                                            "num_beams",
                                            "num_beam_groups",
                                            "num_return_sequences",
                                            "repetition_penalty",
                                            "length_penalty",
                                            "diversity_penalty",
                                            "encoder_no_repeat_ngram_size",
                                            "no_repeat_ngram_size",
                                            "early_stopping",
                                            "max_length",
                                            "min_length",
                                            "max_window_layers",
                                            "full_attn_mod",
                                            "interpolate_factor",
                                            NULL};

static bool among(const char *key, const char *const *list)
{
    for (; *list; list++)
        if (strcmp(*list, key) == 0)
            return true;
    return false;
}

const struct family *family_named(const char *model_type)
{
    for (size_t i = 0; i < N_FAMILIES; i++)
        if (strcmp(families[i].name, model_type) == 0)
            return &families[i];
    return NULL;
}

/* A feature that is null or false is one that is not there. */
weir_err config_keys_check(const struct family *f, const json_t *root, struct weir_diag *diag)
{
    for (void *i = json_object_iter((json_t *)root); i;
         i = json_object_iter_next((json_t *)root, i)) {
        const char *key = json_object_iter_key(i);
        const json_t *value = json_object_iter_value(i);
        if (*key == '_' || json_is_null(value) || json_is_false(value) || among(key, common_keys) ||
            among(key, harmless_keys) || among(key, f->key))
            continue;
        weir_diag_set(diag,
                      "config.json: %s is not known for %s, and could change what is computed", key,
                      f->name);
        return WEIR_ERR_UNSUPPORTED;
    }
    return WEIR_OK;
}

/* ---- values ---- */

static const json_t *value_of(const json_t *root, const char *key)
{
    const json_t *value = json_object_get(root, key);
    return json_is_null(value) ? NULL : value;
}

static weir_err bad_value(struct weir_diag *diag, const char *key, const char *wanted)
{
    weir_diag_set(diag, "config.json: %s is not %s", key, wanted);
    return WEIR_ERR_CORRUPT;
}

weir_err config_real(const json_t *root, struct config_number number, float *out,
                     struct weir_diag *diag)
{
    const json_t *value = value_of(root, number.key);
    double v = value ? json_number_value(value) : number.otherwise;
    if ((value && !json_is_number(value)) || !(v >= number.least && v <= number.most))
        return bad_value(diag, number.key, "a number that makes sense");
    *out = (float)v;
    return WEIR_OK;
}

weir_err config_count(const json_t *root, struct config_number number, uint32_t *out,
                      struct weir_diag *diag)
{
    const json_t *value = value_of(root, number.key);
    double v = value ? (double)json_integer_value(value) : number.otherwise;
    if ((value && !json_is_integer(value)) || !(v >= number.least && v <= number.most))
        return bad_value(diag, number.key, v > 0 || value ? "a count that makes sense" : "there");
    *out = (uint32_t)v;
    return WEIR_OK;
}

weir_err config_flag(const json_t *root, const char *key, bool otherwise, bool *out,
                     struct weir_diag *diag)
{
    const json_t *value = value_of(root, key);
    if (value && !json_is_boolean(value))
        return bad_value(diag, key, "true or false");
    *out = value ? json_is_true(value) : otherwise;
    return WEIR_OK;
}
