/* The llama architecture as GGUF keeps it.  Rows of q and k are permuted in such files, so that
 * dimensions 2i and 2i + 1 of a head turn together. */
#include <math.h>
#include <string.h>

#include "config_private.h"
#include "gguf.h"

/* Keys of the architecture that change nothing here, or whose value is looked at. */
static const char *const known_keys[] = {
    "llama.context_length",
    "llama.embedding_length",
    "llama.feed_forward_length",
    "llama.block_count",
    "llama.attention.head_count",
    "llama.attention.head_count_kv",
    "llama.attention.layer_norm_rms_epsilon",
    "llama.attention.key_length",
    "llama.attention.value_length",
    "llama.rope.dimension_count",
    "llama.rope.freq_base",
    "llama.rope.scaling.type",
    "llama.rope.scaling.factor",
    "llama.rope.scale_linear",
    "llama.vocab_size",
    "llama.expert_count",
    "llama.expert_used_count",
    "llama.tensor_data_layout",
};

static weir_err check_keys(const struct gguf *g, struct weir_diag *diag)
{
    for (size_t i = 0; i < g->n_pairs; i++) {
        const struct gguf_pair *p = &g->pair[i];
        bool ours = p->n_key >= 6 && memcmp(p->key, "llama.", 6) == 0;
        for (size_t k = 0; ours && k < sizeof(known_keys) / sizeof(known_keys[0]); k++)
            ours =
                p->n_key != strlen(known_keys[k]) || memcmp(p->key, known_keys[k], p->n_key) != 0;
        if (ours) {
            weir_diag_set(diag, "GGUF: %.*s is not known, and could change what is computed",
                          (int)(p->n_key & 255), p->key);
            return WEIR_ERR_UNSUPPORTED;
        }
    }
    return WEIR_OK;
}

static weir_err count(const struct gguf *g, struct config_number number, uint32_t *out,
                      struct weir_diag *diag)
{
    const struct gguf_pair *p = gguf_find(g, number.key);
    uint64_t v = (uint64_t)number.otherwise;
    if ((p && !gguf_count(p, &v)) || (double)v < number.least || (double)v > number.most) {
        weir_diag_set(diag, "GGUF: %s is not a count that makes sense", number.key);
        return WEIR_ERR_CORRUPT;
    }
    *out = (uint32_t)v;
    return WEIR_OK;
}

static weir_err real(const struct gguf *g, struct config_number number, float *out,
                     struct weir_diag *diag)
{
    const struct gguf_pair *p = gguf_find(g, number.key);
    double v = number.otherwise;
    if ((p && !gguf_real(p, &v)) || !(v >= number.least && v <= number.most)) {
        weir_diag_set(diag, "GGUF: %s is not a number that makes sense", number.key);
        return WEIR_ERR_CORRUPT;
    }
    *out = (float)v;
    return WEIR_OK;
}

static weir_err read_sizes(const struct gguf *g, struct weir_model_config *c,
                           struct weir_diag *diag)
{
    const struct gguf_pair *tokens = gguf_find(g, "tokenizer.ggml.tokens");
    double vocab = tokens && tokens->type == GGUF_ARRAY ? (double)tokens->n : 0;
    const struct {
        struct config_number number;
        uint32_t *to;
    } sizes[] = {
        {{"llama.block_count", 1, WEIR_MAX_LAYERS, 0}, &c->n_layers},
        {{"llama.embedding_length", 1, WEIR_MAX_WIDTH, 0}, &c->hidden},
        {{"llama.feed_forward_length", 1, WEIR_MAX_WIDTH, 0}, &c->intermediate},
        {{"llama.attention.head_count", 1, WEIR_MAX_HEADS, 0}, &c->n_heads},
        {{"llama.vocab_size", 1, WEIR_MAX_VOCAB, vocab}, &c->vocab},
        {{"llama.context_length", 1, WEIR_MAX_CONTEXT, 0}, &c->context},
    };
    for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
        weir_err err = count(g, sizes[i].number, sizes[i].to, diag);
        if (err)
            return err;
    }
    uint32_t usual = c->hidden % c->n_heads == 0 ? c->hidden / c->n_heads : 0;
    uint32_t value_length = 0;
    weir_err err = count(
        g, (struct config_number){"llama.attention.head_count_kv", 1, WEIR_MAX_HEADS, c->n_heads},
        &c->n_kv_heads, diag);
    if (!err)
        err = count(
            g, (struct config_number){"llama.attention.key_length", 1, WEIR_MAX_HEAD_DIM, usual},
            &c->head_dim, diag);
    if (!err)
        err = count(g,
                    (struct config_number){"llama.attention.value_length", c->head_dim, c->head_dim,
                                           c->head_dim},
                    &value_length, diag);
    return err;
}

static weir_err read_rope(const struct gguf *g, struct weir_rope *r, uint32_t head_dim,
                          struct weir_diag *diag)
{
    const struct gguf_pair *type = gguf_find(g, "llama.rope.scaling.type");
    const char *factor = gguf_find(g, "llama.rope.scaling.factor") ? "llama.rope.scaling.factor"
                                                                   : "llama.rope.scale_linear";
    weir_err err =
        count(g, (struct config_number){"llama.rope.dimension_count", 2, head_dim, head_dim},
              &r->n_dims, diag);
    if (!err)
        err = real(g, (struct config_number){"llama.rope.freq_base", 1e-3, 1e12, 1e4}, &r->theta,
                   diag);
    if (!err)
        err = real(g, (struct config_number){factor, 1e-3, 1e6, 1}, &r->factor, diag);
    if (err)
        return err;
    r->scale = 1;
    if (type && !gguf_is(type, "none") && !gguf_is(type, "linear")) {
        weir_diag_set(diag, "GGUF: llama.rope.scaling.type is of a kind that is not known here");
        return WEIR_ERR_UNSUPPORTED;
    }
    if (!gguf_is(type, "none") && (type || r->factor != 1.0F)) /* a factor alone is a linear one */
        r->type = WEIR_ROPE_LINEAR;
    return WEIR_OK;
}

/* An id of the vocabulary; files write 2^32 - 1 for none.  False: not there, or none. */
static bool read_id(const struct gguf *g, const char *key, const struct weir_model_config *c,
                    uint32_t *id)
{
    uint64_t v;
    if (!gguf_count(gguf_find(g, key), &v) || v >= c->vocab)
        return false;
    *id = (uint32_t)v;
    return true;
}

static void read_ids(const struct gguf *g, struct weir_model_config *c)
{
    static const char *const ends[] = {"tokenizer.ggml.eos_token_id", "tokenizer.ggml.eot_token_id",
                                       "tokenizer.ggml.eom_token_id"};
    uint32_t id;
    for (size_t i = 0; i < sizeof(ends) / sizeof(ends[0]); i++)
        if (read_id(g, ends[i], c, &id))
            c->eos[c->n_eos++] = id;
    c->bos = read_id(g, "tokenizer.ggml.bos_token_id", c, &id) ? (int64_t)id : -1;
}

static weir_err read_all(const struct gguf *g, struct weir_model_config *c, struct weir_diag *diag)
{
    uint64_t experts = 0;
    if (!gguf_is(gguf_find(g, "general.architecture"), "llama")) {
        weir_diag_set(diag, "GGUF: general.architecture is not llama, the one that is known here");
        return WEIR_ERR_UNSUPPORTED;
    }
    if (gguf_count(gguf_find(g, "llama.expert_count"), &experts) && experts) {
        weir_diag_set(diag, "GGUF: llama.expert_count: mixtures of experts are not known here");
        return WEIR_ERR_UNSUPPORTED;
    }
    weir_err err = check_keys(g, diag);
    if (!err)
        err = read_sizes(g, c, diag);
    if (!err)
        err = read_rope(g, &c->rope, c->head_dim, diag);
    if (!err)
        err = real(g, (struct config_number){"llama.attention.layer_norm_rms_epsilon", 0, 1, 1e-5},
                   &c->norm_eps, diag);
    if (err)
        return err;
    c->family = "llama";
    c->naming = WEIR_NAMES_GGUF;
    c->rope_pairs = true;
    c->local_rope = c->rope;
    c->attention_scale = (float)(1 / sqrt((double)c->head_dim));
    c->embedding_scale = 1;
    c->activation = WEIR_SILU;
    read_ids(g, c);
    return config_check(c, diag);
}

weir_err weir_model_config_from_gguf(const uint8_t *header, size_t n, struct weir_model_config *out,
                                     struct weir_diag *diag)
{
    struct gguf g;
    struct weir_model_config c = {0};
    weir_err err = gguf_read(header, n, &g, diag);
    if (err)
        return err;
    err = read_all(&g, &c, diag);
    gguf_free(&g);
    if (!err)
        *out = c;
    return err;
}
