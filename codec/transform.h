/* transform.h - what a coding's transform says (docs/format.md, 5.1), and the numbers behind it. */
#ifndef WEIR_CODEC_TRANSFORM_PRIVATE_H
#define WEIR_CODEC_TRANSFORM_PRIVATE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "codec/tile.h"

struct weir_kernels;

/* The value of each E4M3 (the variant without infinities: S.1111.111 is NaN) and E5M2 item. */
extern const float number_e4m3[256];
extern const float number_e5m2[256];

/* The F16 next to a float32, given and returned as bits: ties to even, NaN as 0x7e00. */
uint16_t f16_of(uint32_t bits);

static inline float f16_as_float(uint16_t v)
{
    const uint32_t sign = (uint32_t)(v & 0x8000) << 16, rest = v & 0x7fffU;
    uint32_t bits;
    float x = (float)rest * 0x1p-24F; /* a denormal is so many times that */
    memcpy(&bits, &x, sizeof(bits));
    if (rest >= 0x400)
        bits = (rest << 13) + (rest >= 0x7c00 ? 0x7f800000 - (0x7c00U << 13) : 112U << 23);
    bits |= sign;
    memcpy(&x, &bits, sizeof(x));
    return x;
}

/* The rules of docs/format.md, 3.1.  WEIR_ERR_CORRUPT. */
WEIR_MUST_CHECK weir_err transform_check(const struct weir_transform *transform,
                                         uint16_t elem_bytes);

/* DIFF and XOR. */
bool transform_needs_base(const struct weir_transform *transform);

/* Bytes that the parts of a coding cover: the transform's item, or the element. */
size_t coding_item_bytes(const struct weir_coding *coding);

/* A Q8_0 block of WEIR_Q8_WEIGHTS items with one scale. */
void transform_make_q8(const struct weir_transform *transform, const uint8_t *items, float scale,
                       uint8_t out[WEIR_Q8_BYTES]);

/* What the elements of a tile are scaled by. */
struct transform_scales {
    uint32_t row, column;  /* of the first element, as in struct weir_tile_items */
    const uint8_t *scales; /* little-endian F32 at any alignment, weir_transform_scales() of them */
};

/* Makes n elements of items, transform->item_bytes for each. */
void transform_make(const struct weir_kernels *kernels, const struct weir_transform *transform,
                    const struct transform_scales *by, const uint8_t *items, size_t n,
                    uint8_t *out);

#endif
