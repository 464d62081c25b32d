/* The truth that the vector kernels equal bit for bit, written for reading. */
#include "kernels.h"

#include <math.h>
#include <string.h>

static float from_bits(uint32_t bits)
{
    float f;
    memcpy(&f, &bits, sizeof(f));
    return f;
}

/* 1 sign, 5 exponent, 10 mantissa bits.  A NaN becomes quiet, as in hardware. */
static float from_f16(uint16_t h)
{
    uint32_t sign = (uint32_t)(h >> 15) << 31;
    uint32_t exponent = h >> 10 & 31, mantissa = h & 1023;
    if (exponent == 31 && mantissa)
        return from_bits(sign | 0x7fc00000 | mantissa << 13);
    if (exponent == 31)
        return from_bits(sign | 0x7f800000);
    if (exponent)
        return from_bits(sign | (exponent + 112) << 23 | mantissa << 13);
    float small = (float)mantissa * 0x1p-24f; /* exact */
    return sign ? -small : small;
}

static float number_at(enum number type, const uint8_t *from, size_t i)
{
    uint32_t word;
    uint16_t half;
    if (type == NUMBER_F32) {
        memcpy(&word, from + 4 * i, sizeof(word));
        return from_bits(word);
    }
    memcpy(&half, from + 2 * i, sizeof(half));
    return type == NUMBER_F16 ? from_f16(half) : from_bits((uint32_t)half << 16);
}

static float add_lanes(float lane[SUM_LANES])
{
    for (size_t n = SUM_LANES / 2; n; n /= 2)
        for (size_t i = 0; i < n; i++)
            lane[i] += lane[i + n];
    return lane[0];
}

static float dot_one(const struct rows *w, size_t row, const float *x)
{
    const uint8_t *at = w->at + row * w->stride;
    float lane[SUM_LANES] = {0};
    size_t whole = whole_lanes(w->n_cols);
    for (size_t j = 0; j < whole; j++) {
        float a = j < w->n_cols ? number_at(w->type, at, j) : 0;
        lane[j % SUM_LANES] = fmaf(a, x[j], lane[j % SUM_LANES]);
    }
    return add_lanes(lane);
}

static void dot(const struct rows *w, const struct vectors *x, float *to, size_t to_stride)
{
    for (size_t v = 0; v < x->n; v++)
        for (size_t r = 0; r < w->n_rows; r++)
            to[v * to_stride + r] = dot_one(w, r, x->at + v * x->stride);
}

static void blend(const struct rows *w, const float *weight, float *to)
{
    for (size_t j = 0; j < w->n_cols; j++) {
        float sum = 0;
        for (size_t r = 0; r < w->n_rows; r++)
            sum = fmaf(weight[r], number_at(w->type, w->at + r * w->stride, j), sum);
        to[j] = sum;
    }
}

static void widen(enum number type, const uint8_t *from, size_t n, float *to)
{
    for (size_t i = 0; i < n; i++)
        to[i] = number_at(type, from, i);
}

/* A number times the step, as BF16: rounded to nearest, ties to even. */
static float steps_at(const struct resident_row *row, size_t column)
{
    const float product = (float)((const int8_t *)row->blocks)[column] * row->step;
    uint32_t bits;
    memcpy(&bits, &product, sizeof(bits));
    return from_bits((bits + 0x7fff + (bits >> 16 & 1)) & 0xffff0000);
}

/* codec/resident.h says where a weight lies. */
static float resident_at(const struct resident_row *row, size_t column)
{
    if (!row->high)
        return steps_at(row, column);
    const uint8_t *block = row->blocks + column / WEIR_RESIDENT_BLOCK * WEIR_RESIDENT_BLOCK_BYTES;
    size_t c = column % WEIR_RESIDENT_BLOCK;
    size_t p = 32 * (c / 32) + 16 * (c % 8 / 4) + 8 * (c / 16 % 2) + 2 * (c % 4) + c / 8 % 2;
    uint8_t both = block[WEIR_RESIDENT_BLOCK + p % 32];
    uint32_t high = row->high[p < 32 ? both & 15 : both >> 4];
    return from_bits(high << 24 | (uint32_t)block[p] << 16);
}

static float dot_resident(const struct resident_row *row, const float *x)
{
    float lane[SUM_LANES] = {0};
    size_t whole = whole_lanes(row->n_cols), e = 0;
    for (size_t j = 0; j < whole; j++) {
        float a = j < row->n_cols ? resident_at(row, j) : 0;
        if (e < row->n_exceptions && row->exception[e].column == j)
            a = from_bits((uint32_t)row->exception[e++].weight << 16);
        lane[j % SUM_LANES] = fmaf(a, x[j], lane[j % SUM_LANES]);
    }
    return add_lanes(lane);
}

static void widen_resident(const struct resident_row *row, float *to)
{
    for (size_t j = 0; j < row->n_cols; j++)
        to[j] = resident_at(row, j);
    for (size_t e = 0; e < row->n_exceptions; e++)
        to[row->exception[e].column] = from_bits((uint32_t)row->exception[e].weight << 16);
}

const struct math_kernels math_kernels_scalar = {"scalar",       dot, blend, widen, dot_resident,
                                                 widen_resident, NULL};
