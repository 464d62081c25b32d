/* config.h - what a model's graph looks like: one graph, and the switches that families of models
 * set in it.
 *
 * Read from config.json (as transformers 4 and 5 write it) and generation_config.json, or from the
 * header of a GGUF file.  Nothing is guessed: an architecture, an option or a value that is not
 * known here ends it with WEIR_ERR_UNSUPPORTED, named.  Safe on hostile input; all numbers are
 * checked against ceilings and against each other. */
#ifndef WEIR_INFER_CONFIG_H
#define WEIR_INFER_CONFIG_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "checkpoint.h"
#include "codec/err.h"

#ifdef __cplusplus
extern "C" {
#endif

enum {
    WEIR_MAX_LAYERS = 512,
    WEIR_MAX_WIDTH = 1 << 18, /* elements: hidden, intermediate, heads times their size */
    WEIR_MAX_HEADS = 1024,
    WEIR_MAX_HEAD_DIM = 1024,
    WEIR_MAX_VOCAB = 1 << 22,
    WEIR_MAX_CONTEXT = 1 << 24, /* tokens */
    WEIR_MAX_EOS = 32,
};

enum weir_rope_type {
    WEIR_ROPE_PLAIN,
    WEIR_ROPE_LINEAR,  /* frequencies divided by `factor` */
    WEIR_ROPE_LLAMA3,  /* low ones divided by `factor`, high ones kept, a ramp between */
    WEIR_ROPE_FACTORS, /* divided by one factor each; two sets of them, by length */
};

struct weir_rope {
    enum weir_rope_type type;
    float theta;
    uint32_t n_dims; /* of a head that turn: its first ones; even */
    float factor;
    float low_freq_factor, high_freq_factor;
    uint32_t original_context; /* tokens */
    float scale;               /* of cos and sin */
    /* n_dims / 2 each: for texts up to original_context, and for longer ones */
    float short_factor[WEIR_MAX_HEAD_DIM / 2], long_factor[WEIR_MAX_HEAD_DIM / 2];
};

enum weir_activation {
    WEIR_SILU,
    WEIR_GELU_TANH,
};

/* How a file calls its tensors. */
enum weir_naming {
    WEIR_NAMES_HF,
    WEIR_NAMES_GGUF,
};

struct weir_model_config {
    const char *family; /* "llama"; static */
    enum weir_naming naming;

    uint32_t n_layers, hidden, intermediate;
    uint32_t n_heads, n_kv_heads, head_dim; /* n_heads is a multiple of n_kv_heads */
    uint32_t vocab;
    uint32_t context; /* most tokens of a text */

    float norm_eps;
    bool norm_plus_one; /* x * (1 + w) */
    bool norm_after;    /* also of what attention and MLP give, before it is added: four a layer */
    bool qk_norm;       /* of each head's q and k, before they turn */
    bool bias_q, bias_k, bias_v, bias_o, bias_mlp;
    bool fused_qkv, fused_gate_up; /* one matrix: q, k, v below each other; gate, up */
    bool tied;                     /* the output matrix is the embedding */

    struct weir_rope rope, local_rope; /* local_rope: of the layers with a window */
    bool rope_pairs; /* dimensions 2i and 2i + 1 turn together, not i and i + n/2 */

    uint32_t window;                /* tokens that a token sees, itself included; 0: all */
    bool windowed[WEIR_MAX_LAYERS]; /* which layers have it */

    float attention_scale; /* of q times k */
    float attention_cap;   /* c: s becomes c tanh(s / c); 0: none */
    float logit_cap;       /* the same */
    float embedding_scale; /* 1: none */
    enum weir_activation activation;

    uint32_t n_eos;
    uint32_t eos[WEIR_MAX_EOS]; /* ids that end a text */
    int64_t bos;                /* -1: none */
};

/* From config.json or the GGUF header of `ck`.
 *
 * WEIR_ERR_NOT_FOUND     there is no config.json
 * WEIR_ERR_UNSUPPORTED   an architecture, an option or a value unknown here; *diag names it
 * WEIR_ERR_CORRUPT       not JSON, a number that makes no sense, two that contradict each other
 * WEIR_ERR_NOMEM, and what reading ends with. */
WEIR_MUST_CHECK weir_err weir_model_config_read(const struct weir_checkpoint *ck,
                                                struct weir_model_config *out,
                                                struct weir_diag *diag);

/* The same from texts: those of config.json and, unless NULL, generation_config.json. */
WEIR_MUST_CHECK weir_err weir_model_config_from_json(const char *text, size_t n,
                                                     const char *generation, size_t n_generation,
                                                     struct weir_model_config *out,
                                                     struct weir_diag *diag);

/* The same from the bytes of a GGUF file before its first tensor. */
WEIR_MUST_CHECK weir_err weir_model_config_from_gguf(const uint8_t *header, size_t n,
                                                     struct weir_model_config *out,
                                                     struct weir_diag *diag);

#ifdef __cplusplus
}
#endif

#endif
