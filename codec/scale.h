/* scale.h - items times a scale to floats, in the plainest loops: included once by each
 * kernels_*.c, so that the compiler turns them into the instructions which that file is compiled
 * for.
 *
 * docs/format.md, 5.1: one float32 product, rounded once, to nearest even; a NaN becomes the one
 * quiet NaN without a sign, so that no processor's choice of NaN shows. */
#ifndef WEIR_CODEC_SCALE_PRIVATE_H
#define WEIR_CODEC_SCALE_PRIVATE_H

#include <stdint.h>
#include <string.h>

#include "kernels.h"
#include "transform.h"

enum { SCALE_CHUNK = 256 }; /* items whose numbers are floats at a time: stays in the L1 cache */

static inline uint32_t scale_bits_of(float f)
{
    uint32_t u;
    memcpy(&u, &f, 4);
    return u;
}

static void scale_to_bf16(const float *restrict number, size_t n, float scale,
                          uint8_t *restrict out)
{
    for (size_t i = 0; i < n; i++) {
        uint32_t u = scale_bits_of(number[i] * scale);
        uint32_t rounded = (u + 0x7fff + (u >> 16 & 1)) >> 16;
        const uint16_t made = (uint16_t)((u & 0x7fffffff) > 0x7f800000 ? 0x7fc0 : rounded);
        memcpy(out + 2 * i, &made, 2);
    }
}

static void scale_to_f32(const float *restrict number, size_t n, float scale, uint8_t *restrict out)
{
    for (size_t i = 0; i < n; i++) {
        const uint32_t u = scale_bits_of(number[i] * scale);
        const uint32_t made = (u & 0x7fffffff) > 0x7f800000 ? 0x7fc00000 : u;
        memcpy(out + 4 * i, &made, 4);
    }
}

/* As f16_of(), without branches, so that compilers make vectors of it.  Below 2^-14 adding a half
 * leaves the F16 in the low bits, rounded by the processor. */
static inline uint16_t scale_f16_of(uint32_t bits)
{
    const uint32_t sign = bits >> 16 & 0x8000, magnitude = bits & 0x7fffffff;
    float f;
    memcpy(&f, &magnitude, 4);
    const uint32_t low = scale_bits_of(f + 0.5F) - 0x3f000000;
    const uint32_t rounded = magnitude + 0xfff + (magnitude >> 13 & 1);
    uint32_t made = (rounded >> 13) - (112u << 10);
    made = rounded >= 0x47800000 ? 0x7c00 : made;
    made = magnitude < 0x38800000 ? low : made;
    made |= sign;
    return (uint16_t)(magnitude > 0x7f800000 ? 0x7e00 : made);
}

static void scale_to_f16(const float *restrict number, size_t n, float scale, uint8_t *restrict out)
{
    for (size_t i = 0; i < n; i++) {
        const uint16_t made = scale_f16_of(scale_bits_of(number[i] * scale));
        memcpy(out + 2 * i, &made, 2);
    }
}

static void numbers_of(const struct weir_transform *t, const uint8_t *restrict items, size_t n,
                       float *restrict out)
{
    if (t->number != WEIR_NUMBER_INT) {
        const float *value = t->number == WEIR_NUMBER_E4M3 ? number_e4m3 : number_e5m2;
        for (size_t i = 0; i < n; i++)
            out[i] = value[items[i]];
    } else if (t->item_bytes == 1) {
        for (size_t i = 0; i < n; i++)
            out[i] = (float)((int)items[i] - 128);
    } else {
        for (size_t i = 0; i < n; i++) {
            uint16_t item;
            memcpy(&item, items + 2 * i, 2);
            out[i] = (float)((int)item - 32768);
        }
    }
}

/* The usual case, q8, in one loop: an integer times a finite scale is never a NaN. */
static void scale_int16_to_bf16(const uint8_t *restrict items, size_t n, float scale,
                                uint8_t *restrict out)
{
    for (size_t i = 0; i < n; i++) {
        uint16_t item;
        memcpy(&item, items + 2 * i, 2);
        const uint32_t u = scale_bits_of((float)((int)item - 32768) * scale);
        const uint16_t made = (uint16_t)((u + 0x7fff + (u >> 16 & 1)) >> 16);
        memcpy(out + 2 * i, &made, 2);
    }
}

static void scale_items(const struct weir_transform *t, const uint8_t *items, size_t n, float scale,
                        uint8_t *out)
{
    if (t->number == WEIR_NUMBER_INT && t->item_bytes == 2 && t->made == WEIR_FLOAT_BF16) {
        scale_int16_to_bf16(items, n, scale, out);
        return;
    }
    const size_t made_bytes = t->made == WEIR_FLOAT_F32 ? 4 : 2;
    float number[SCALE_CHUNK];
    for (size_t at = 0, some; at < n; at += some) {
        some = n - at < SCALE_CHUNK ? n - at : SCALE_CHUNK;
        numbers_of(t, items + at * t->item_bytes, some, number);
        uint8_t *to = out + at * made_bytes;
        if (t->made == WEIR_FLOAT_BF16)
            scale_to_bf16(number, some, scale, to);
        else if (t->made == WEIR_FLOAT_F16)
            scale_to_f16(number, some, scale, to);
        else
            scale_to_f32(number, some, scale, to);
    }
}

#endif
