#include "attention.h"

#include <string.h>

#include "ops.h"

static size_t group_of(const struct weir_model_config *c)
{
    return c->n_heads / c->n_kv_heads;
}

size_t attention_scratch(const struct weir_model_config *config, uint32_t context)
{
    return group_of(config) * (whole_lanes(config->head_dim) + context);
}

void attention_head(const struct attention *a, struct kv_place place, uint32_t position,
                    uint32_t window, const float *query, float *to, float *scratch)
{
    const struct weir_model_config *c = a->config;
    const size_t n_heads = group_of(c), stride = whole_lanes(c->head_dim);
    const uint32_t first = window && position + 1 > window ? position + 1 - window : 0;
    const uint32_t n = position + 1 - first;
    float *padded = scratch, *score = scratch + n_heads * stride;
    memset(padded, 0, n_heads * stride * sizeof(*padded));
    for (size_t h = 0; h < n_heads; h++)
        memcpy(padded + h * stride, query + h * c->head_dim, c->head_dim * sizeof(*padded));

    const struct rows keys = kv_keys(a->kv, place, first, n);
    const struct rows values = kv_values(a->kv, place, first, n);
    const struct vectors queries = {padded, stride, n_heads};
    a->kernels->dot(&keys, &queries, score, n);
    op_scale(score, c->attention_scale, n * n_heads);
    op_cap(score, c->attention_cap, n * n_heads);
    for (size_t h = 0; h < n_heads; h++) {
        op_softmax(score + h * n, n);
        a->kernels->blend(&values, score + h * n, to + h * c->head_dim);
    }
}
