/* attention.h - one token looks at those before it: one head of keys and values, and all heads of
 * queries that share it. */
#ifndef WEIR_INFER_ATTENTION_PRIVATE_H
#define WEIR_INFER_ATTENTION_PRIVATE_H

#include "config.h"
#include "kv.h"

struct attention {
    const struct math_kernels *kernels;
    const struct weir_model_config *config;
    const struct kv *kv;
};

/* Elements of scratch that attention_head() wants. */
size_t attention_scratch(const struct weir_model_config *config, uint32_t context);

/* query, to   the heads that share place.head, one behind the other, head_dim each
 * position    of the token; its own key and value are stored already
 * window      positions that it sees, itself included; 0: all */
void attention_head(const struct attention *a, struct kv_place place, uint32_t position,
                    uint32_t window, const float *query, float *to, float *scratch);

#endif
