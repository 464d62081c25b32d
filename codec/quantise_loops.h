/* quantise_loops.h - the loops behind quantise.c, in their plainest form: included once by each
 * kernels_*.c, as scale.h is.
 *
 * Sums run in SUM_LANES columns, element i in column i mod SUM_LANES, so that every instruction set
 * adds in one order. */
#ifndef WEIR_CODEC_QUANTISE_LOOPS_PRIVATE_H
#define WEIR_CODEC_QUANTISE_LOOPS_PRIVATE_H

#include <stdint.h>
#include <string.h>

#include "kernels.h"

_Static_assert((int)QUANTISE_CHUNK % (int)SUM_LANES == 0, "columns go on from chunk to chunk");

static inline float float_of_bits(uint32_t bits)
{
    float f;
    memcpy(&f, &bits, 4);
    return f;
}

static inline uint32_t bits_of_float(float f)
{
    uint32_t bits;
    memcpy(&bits, &f, 4);
    return bits;
}

/* An F16's exponent and mantissa moved to where a float32 has them, and 2^112 for the difference of
 * the biases: right for denormals, too. */
static inline float float_of_f16(uint32_t h)
{
    uint32_t magnitude = (h & 0x7fff) << 13;
    uint32_t bits = bits_of_float(float_of_bits(magnitude) * 0x1p112F);
    bits = magnitude >= 0x0f800000 ? magnitude | 0x7f800000 : bits;
    return float_of_bits(bits | (h & 0x8000) << 16);
}

/* Element by element, not all at once: compilers make vectors of it, and of a copy of a length that
 * they do not know a loop that takes as long as all the rest. */
static void floats_of(enum weir_float type, const uint8_t *restrict elements, size_t n,
                      float *restrict out)
{
    uint16_t half;
    if (type == WEIR_FLOAT_F32) {
        for (size_t i = 0; i < n; i++)
            memcpy(&out[i], elements + 4 * i, 4);
    } else if (type == WEIR_FLOAT_BF16) {
        for (size_t i = 0; i < n; i++) {
            memcpy(&half, elements + 2 * i, 2);
            out[i] = float_of_bits((uint32_t)half << 16);
        }
    } else {
        for (size_t i = 0; i < n; i++) {
            memcpy(&half, elements + 2 * i, 2);
            out[i] = float_of_f16(half);
        }
    }
}

/* By a mask: a branch here keeps compilers from making vectors of the loops around it. */
static inline float finite_or_zero(float f)
{
    const uint32_t bits = bits_of_float(f);
    const uint32_t finite = (bits & 0x7f800000) != 0x7f800000;
    return float_of_bits(bits & (0 - finite));
}

/* A float32 squared is exact as a double, so fusing would change nothing. */
static void add_squares(const float *f, size_t n, double sum[SUM_LANES])
{
    size_t i = 0;
    for (; i + SUM_LANES <= n; i += SUM_LANES)
        for (size_t l = 0; l < SUM_LANES; l++)
            sum[l] += (double)f[i + l] * (double)f[i + l];
    for (size_t l = 0; i + l < n; l++)
        sum[l] += (double)f[i + l] * (double)f[i + l];
}

static void squares(enum weir_float type, const uint8_t *elements, size_t n, double sum[SUM_LANES])
{
    const size_t elem_bytes = type == WEIR_FLOAT_F32 ? 4 : 2;
    float f[QUANTISE_CHUNK];
    double lanes[SUM_LANES];
    memcpy(lanes, sum, sizeof(lanes));
    for (size_t at = 0, some; at < n; at += some) {
        some = n - at < QUANTISE_CHUNK ? n - at : QUANTISE_CHUNK;
        floats_of(type, elements + at * elem_bytes, some, f);
        for (size_t i = 0; i < some; i++)
            f[i] = finite_or_zero(f[i]);
        add_squares(f, some, lanes);
    }
    memcpy(sum, lanes, sizeof(lanes));
}

/* Rounded by adding 1.5 * 2^23, which leaves an integer in the low bits: to nearest, ties to even.
 * A NaN becomes the first item. */
static void quantise(const struct quantise_step *step, const uint8_t *elements, size_t n,
                     uint8_t *restrict items)
{
    const float rounder = 12582912.0F, inverse = step->inverse;
    const float first = step->first, last = step->last;
    float f[QUANTISE_CHUNK];
    floats_of(step->type, elements, n, f);
    for (size_t i = 0; i < n; i++) {
        float q = f[i] * inverse;
        q = q > first ? q : first;
        q = q < last ? q : last;
        uint32_t bits = bits_of_float(q + rounder) - bits_of_float(rounder);
        const uint16_t item = (uint16_t)(bits + QUANTISE_ZERO);
        memcpy(items + 2 * i, &item, 2);
    }
}

/* Strictly below half a step: a float32 difference is rounded, and what is rounded to less than a
 * float32 is less than it.  A zero keeps its sign. */
static size_t misfits(const struct quantise_step *step, const uint8_t *elements,
                      const uint8_t *made, size_t n, uint8_t *restrict out)
{
    const float half = step->half;
    float f[QUANTISE_CHUNK], m[QUANTISE_CHUNK];
    uint32_t sum = 0;
    floats_of(step->type, elements, n, f);
    floats_of(step->type, made, n, m);
    for (size_t i = 0; i < n; i++) {
        float e = f[i] - m[i];
        float magnitude = float_of_bits(bits_of_float(e) & 0x7fffffff);
        uint32_t same = bits_of_float(f[i]) == bits_of_float(m[i]);
        uint32_t near = magnitude < half;
        uint32_t fits = same | (near & (bits_of_float(f[i]) != 0x80000000));
        out[i] = (uint8_t)(fits ^ 1);
        sum += fits ^ 1;
    }
    return sum;
}

/* Errors of elements that are not finite are 0: they are kept whole.  The largest is found among
 * the bits, whose order is that of the magnitudes: compilers make vectors of that. */
static float add_errors(enum weir_float type, const uint8_t *elements, const uint8_t *made,
                        size_t n, double sum[SUM_LANES])
{
    float f[QUANTISE_CHUNK], m[QUANTISE_CHUNK];
    uint32_t largest = 0;
    floats_of(type, elements, n, f);
    floats_of(type, made, n, m);
    for (size_t i = 0; i < n; i++) {
        f[i] = finite_or_zero(f[i] - m[i]);
        uint32_t magnitude = bits_of_float(f[i]) & 0x7fffffff;
        largest = magnitude > largest ? magnitude : largest;
    }
    add_squares(f, n, sum);
    return float_of_bits(largest);
}

#endif
