#include "kv.h"

#include <stdlib.h>
#include <string.h>

size_t kv_bytes(const struct kv_shape *shape)
{
    const uint64_t counts[] = {shape->n_layers, shape->n_sequences, shape->n_heads,
                               shape->context,  shape->head_dim,    number_bytes(shape->type)};
    size_t bytes = 2;
    for (size_t i = 0; i < sizeof(counts) / sizeof(counts[0]); i++)
        if (__builtin_mul_overflow(bytes, counts[i], &bytes))
            return 0;
    return bytes;
}

weir_err kv_init(struct kv *kv, const struct kv_shape *shape)
{
    size_t bytes = kv_bytes(shape);
    if (!bytes)
        return WEIR_ERR_NOMEM;
    *kv = (struct kv){.shape = *shape,
                      .head_bytes =
                          (size_t)shape->context * shape->head_dim * number_bytes(shape->type)};
    kv->keys = malloc(bytes / 2);
    kv->values = malloc(bytes / 2);
    if (kv->keys && kv->values)
        return WEIR_OK;
    kv_free(kv);
    return WEIR_ERR_NOMEM;
}

void kv_free(struct kv *kv)
{
    free(kv->keys);
    free(kv->values);
    *kv = (struct kv){0};
}

static uint16_t to_bf16(float f)
{
    uint32_t bits;
    memcpy(&bits, &f, sizeof(bits));
    if ((bits & 0x7fffffff) > 0x7f800000)
        return (uint16_t)(bits >> 16 | 0x40); /* a NaN stays one */
    return (uint16_t)((bits + 0x7fff + (bits >> 16 & 1)) >> 16);
}

static void put(const struct kv *kv, uint8_t *row, const float *from)
{
    if (kv->shape.type == NUMBER_F32) {
        memcpy(row, from, kv->shape.head_dim * sizeof(float));
        return;
    }
    for (uint32_t i = 0; i < kv->shape.head_dim; i++) {
        uint16_t half = to_bf16(from[i]);
        memcpy(row + i * sizeof(half), &half, sizeof(half));
    }
}

static size_t row_bytes(const struct kv *kv)
{
    return kv->shape.head_dim * number_bytes(kv->shape.type);
}

static size_t place_at(const struct kv *kv, struct kv_place p)
{
    const struct kv_shape *s = &kv->shape;
    return (((size_t)p.layer * s->n_sequences + p.sequence) * s->n_heads + p.head) * kv->head_bytes;
}

void kv_store(struct kv *kv, struct kv_place place, uint32_t position, const float *key,
              const float *value)
{
    size_t at = place_at(kv, place) + position * row_bytes(kv);
    put(kv, kv->keys + at, key);
    put(kv, kv->values + at, value);
}

static struct rows rows_at(const struct kv *kv, const uint8_t *bytes, struct kv_place place,
                           uint32_t first, uint32_t n)
{
    return (struct rows){.at = bytes + place_at(kv, place) + first * row_bytes(kv),
                         .stride = row_bytes(kv),
                         .n_rows = n,
                         .n_cols = kv->shape.head_dim,
                         .type = kv->shape.type};
}

struct rows kv_keys(const struct kv *kv, struct kv_place place, uint32_t first, uint32_t n)
{
    return rows_at(kv, kv->keys, place, first, n);
}

struct rows kv_values(const struct kv *kv, struct kv_place place, uint32_t first, uint32_t n)
{
    return rows_at(kv, kv->values, place, first, n);
}
