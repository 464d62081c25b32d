#include "config.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "config_private.h"

enum {
    MAX_CONFIG_BYTES = 1 << 20,
    MAX_GGUF_HEADER = 32 << 20,
};

static weir_err absurd(struct weir_diag *diag, const char *what)
{
    weir_diag_set(diag, "the model's config makes no sense: %s", what);
    return WEIR_ERR_CORRUPT;
}

static bool finite_and_positive(float v)
{
    return isfinite(v) && v > 0;
}

static const char *broken_rope(const struct weir_model_config *c, const struct weir_rope *r)
{
    if (r->n_dims == 0 || r->n_dims % 2 || r->n_dims > c->head_dim)
        return "the part of a head that turns is not an even part of it";
    if (!finite_and_positive(r->theta) || !finite_and_positive(r->scale))
        return "rope_theta or its scale is not a positive number";
    if (r->type != WEIR_ROPE_PLAIN && r->type != WEIR_ROPE_FACTORS &&
        !finite_and_positive(r->factor))
        return "the factor of rope_scaling is not a positive number";
    if (r->type == WEIR_ROPE_LLAMA3 &&
        (!finite_and_positive(r->low_freq_factor) || !(r->high_freq_factor > r->low_freq_factor) ||
         !isfinite(r->high_freq_factor) || r->original_context == 0))
        return "the factors of llama3's rope_scaling";
    for (uint32_t i = 0; r->type == WEIR_ROPE_FACTORS && i < r->n_dims / 2; i++)
        if (!finite_and_positive(r->short_factor[i]) || !finite_and_positive(r->long_factor[i]))
            return "a factor of longrope is not a positive number";
    return NULL;
}

static bool within(uint64_t n, uint64_t most)
{
    return n >= 1 && n <= most;
}

weir_err config_check(const struct weir_model_config *c, struct weir_diag *diag)
{
    if (!within(c->n_layers, WEIR_MAX_LAYERS))
        return absurd(diag, "the number of layers");
    if (!within(c->hidden, WEIR_MAX_WIDTH) || !within(c->intermediate, WEIR_MAX_WIDTH))
        return absurd(diag, "the width of a layer");
    if (!within(c->n_heads, WEIR_MAX_HEADS) || !within(c->n_kv_heads, c->n_heads) ||
        c->n_heads % c->n_kv_heads)
        return absurd(diag, "heads that cannot share keys and values evenly");
    if (!within(c->head_dim, WEIR_MAX_HEAD_DIM) ||
        !within((uint64_t)c->n_heads * c->head_dim, WEIR_MAX_WIDTH))
        return absurd(diag, "the size of a head");
    if (!within(c->vocab, WEIR_MAX_VOCAB) || !within(c->context, WEIR_MAX_CONTEXT))
        return absurd(diag, "the size of the vocabulary or of the context");
    if (!isfinite(c->norm_eps) || c->norm_eps < 0)
        return absurd(diag, "the epsilon of a norm");
    if (!finite_and_positive(c->attention_scale) || !finite_and_positive(c->embedding_scale))
        return absurd(diag, "a scale that is not a positive number");
    if (!(c->attention_cap >= 0) || !(c->logit_cap >= 0) || isinf(c->attention_cap) ||
        isinf(c->logit_cap))
        return absurd(diag, "a soft cap below zero");
    const char *what = broken_rope(c, &c->rope);
    if (!what)
        what = broken_rope(c, &c->local_rope);
    if (what)
        return absurd(diag, what);
    for (uint32_t i = 0; i < c->n_eos; i++)
        if (c->eos[i] >= c->vocab)
            return absurd(diag, "an id that ends a text is not in the vocabulary");
    return c->bos < (int64_t)c->vocab ? WEIR_OK : absurd(diag, "bos is not in the vocabulary");
}

static weir_err read_gguf(const struct weir_checkpoint *ck, struct weir_model_config *c,
                          struct weir_diag *diag)
{
    char *header;
    size_t n;
    weir_err err = weir_checkpoint_read_file(ck, weir_checkpoint_gguf(ck),
                                             weir_checkpoint_gguf_header_bytes(ck), MAX_GGUF_HEADER,
                                             &header, &n, diag);
    if (err)
        return err;
    err = weir_model_config_from_gguf((const uint8_t *)header, n, c, diag);
    free(header);
    if (!err)
        c->tied = !weir_checkpoint_find(ck, "output.weight");
    return err;
}

static weir_err read_json(const struct weir_checkpoint *ck, struct weir_model_config *c,
                          struct weir_diag *diag)
{
    char *text, *generation = NULL;
    size_t n, n_generation = 0;
    struct weir_diag nothing;
    weir_err err =
        weir_checkpoint_read_file(ck, "config.json", UINT64_MAX, MAX_CONFIG_BYTES, &text, &n, diag);
    if (err)
        return err;
    err = weir_checkpoint_read_file(ck, "generation_config.json", UINT64_MAX, MAX_CONFIG_BYTES,
                                    &generation, &n_generation, &nothing);
    if (!err || err == WEIR_ERR_NOT_FOUND)
        err = weir_model_config_from_json(text, n, generation, n_generation, c, diag);
    else if (diag)
        *diag = nothing;
    free(generation);
    free(text);
    return err;
}

weir_err weir_model_config_read(const struct weir_checkpoint *ck, struct weir_model_config *out,
                                struct weir_diag *diag)
{
    return weir_checkpoint_gguf(ck) ? read_gguf(ck, out, diag) : read_json(ck, out, diag);
}
