/* sample.h - which token comes next: logits to an id.
 *
 * In this order: tokens that occurred lately are made less likely (repeat_penalty); then only the
 * top_k likeliest stay, of these as few as have the probability top_p together, of these those
 * with at least min_p of the likeliest one's probability; then one is drawn at the temperature.
 * Temperature 0 is the likeliest one, of two that are equal the one with the smaller id.
 *
 * Pure: the same seed and logits give the same ids on every machine with the same libm.  NaNs are
 * never chosen. */
#ifndef WEIR_INFER_SAMPLE_H
#define WEIR_INFER_SAMPLE_H

#include <stddef.h>
#include <stdint.h>

#include "codec/err.h"

#ifdef __cplusplus
extern "C" {
#endif

struct weir_sampler; /* opaque; for one text */

struct weir_sampler_options {
    float temperature;    /* 0: greedy */
    uint32_t top_k;       /* 0: all */
    float top_p;          /* 1 and above: all; at least one token stays */
    float min_p;          /* 0: all */
    float repeat_penalty; /* 1 or 0: none */
    uint32_t repeat_last; /* how many tokens back it looks; 0: 64 */
    uint64_t seed;
};

/* vocab: how many logits there are.  Freed with weir_sampler_free().
 * WEIR_ERR_INVALID (no vocabulary, a negative number, one that is none), WEIR_ERR_NOMEM. */
WEIR_MUST_CHECK weir_err weir_sampler_new(uint32_t vocab,
                                          const struct weir_sampler_options *options,
                                          struct weir_sampler **out);
void weir_sampler_free(struct weir_sampler *s); /* NULL is fine */

/* A token of the text, from the prompt too: the penalty goes by them. */
void weir_sampler_accept(struct weir_sampler *s, uint32_t id);

/* logits: vocab numbers, left as they are.
 * WEIR_ERR_CORRUPT: all of them are NaN or -infinity. */
WEIR_MUST_CHECK weir_err weir_sampler_next(struct weir_sampler *s, const float *logits,
                                           uint32_t *id);

#ifdef __cplusplus
}
#endif

#endif
