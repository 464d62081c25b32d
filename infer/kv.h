/* kv.h - keys and values of the tokens so far, of several texts at once.
 *
 * Each head of each layer of each text has its own run of rows, one for each position, so that
 * attention goes through memory in order.  In F32, or in BF16 (rounded to nearest, ties to even,
 * when it is stored). */
#ifndef WEIR_INFER_KV_PRIVATE_H
#define WEIR_INFER_KV_PRIVATE_H

#include "codec/err.h"
#include "kernels.h"

struct kv_shape {
    enum number type; /* F32 or BF16 */
    uint32_t n_layers, n_sequences, n_heads, context, head_dim;
};

struct kv {
    struct kv_shape shape;
    size_t head_bytes;      /* of all positions of one head */
    uint8_t *keys, *values; /* [layer][sequence][head][position][head_dim] */
};

/* Bytes of both.  0: more than a size_t. */
size_t kv_bytes(const struct kv_shape *shape);

/* WEIR_ERR_NOMEM.  Freed with kv_free(). */
WEIR_MUST_CHECK weir_err kv_init(struct kv *kv, const struct kv_shape *shape);
void kv_free(struct kv *kv); /* a zeroed one is fine */

/* Which head of which text. */
struct kv_place {
    uint32_t layer, sequence, head;
};

/* One position of one head. */
void kv_store(struct kv *kv, struct kv_place place, uint32_t position, const float *key,
              const float *value);

/* Rows of positions first .. first + n - 1. */
struct rows kv_keys(const struct kv *kv, struct kv_place place, uint32_t first, uint32_t n);
struct rows kv_values(const struct kv *kv, struct kv_place place, uint32_t first, uint32_t n);

#endif
