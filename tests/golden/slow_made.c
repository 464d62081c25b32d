#include "slow.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* Section 5.1. */

static double small_float(unsigned item, unsigned exponent_bits, int bias)
{
    unsigned mantissa_bits = 7 - exponent_bits;
    unsigned mantissa = item & ((1U << mantissa_bits) - 1);
    int exponent = (int)(item >> mantissa_bits & ((1U << exponent_bits) - 1));
    double whole = mantissa + (exponent ? ldexp(1, (int)mantissa_bits) : 0);
    double value = ldexp(whole, (exponent ? exponent : 1) - bias - (int)mantissa_bits);
    return item & 0x80 ? -value : value;
}

static float number_of(const struct transform *t, const uint8_t *item)
{
    unsigned v = item[0];
    if (t->number == 0)
        return t->item_bytes == 1 ? (float)((int)v - 128) : (float)((int)v + 256 * item[1] - 32768);
    unsigned magnitude = v & 0x7f;
    if (t->number == 1)
        return magnitude == 0x7f ? NAN : (float)small_float(v, 4, 7);
    if (magnitude == 0x7c)
        return v & 0x80 ? -INFINITY : INFINITY;
    return magnitude > 0x7c ? NAN : (float)small_float(v, 5, 15);
}

/* The bits of x rounded to a float of so many bits of exponent and mantissa: found among its
 * neighbours by their distance. */
static uint32_t rounded(float x, unsigned exponent_bits, unsigned mantissa_bits)
{
    int bias = (1 << (exponent_bits - 1)) - 1;
    uint32_t sign = signbit(x) ? 1U << (exponent_bits + mantissa_bits) : 0;
    double a = fabs((double)x);
    uint32_t infinite = ((1U << exponent_bits) - 1) << mantissa_bits;
    if (isinf(x))
        return sign | infinite;
    int exponent;
    (void)frexp(a, &exponent); /* a is below 2^exponent */
    if (a == 0 || exponent - 1 < 1 - bias)
        exponent = 2 - bias;
    double ulps = ldexp(a, (int)mantissa_bits + 1 - exponent);
    double low = floor(ulps);
    if (ulps - low > 0.5 || (ulps - low == 0.5 && fmod(low, 2) == 1))
        low += 1;
    /* Counted from the denormal numbers on, 2^mantissa_bits to each exponent. */
    uint32_t bits = (uint32_t)low + ((uint32_t)(exponent - 2 + bias) << mantissa_bits);
    return sign | (bits < infinite ? bits : infinite);
}

static void make(const struct transform *t, const uint8_t *item, float scale, uint8_t *element)
{
    static const uint32_t nan[] = {0x7fc0, 0x7e00, 0x7fc00000};
    float product = number_of(t, item) * scale;
    uint32_t bits;
    memcpy(&bits, &product, 4);
    if (isnan(product))
        bits = nan[t->made];
    else if (t->made == 0)
        bits = rounded(product, 8, 7);
    else if (t->made == 1)
        bits = rounded(product, 5, 10);
    unsigned n = t->made == 2 ? 4 : 2;
    for (unsigned i = 0; i < n; i++)
        element[i] = (uint8_t)(bits >> (8 * i));
}

static void apply_exceptions(struct cursor positions, struct cursor elements, size_t element_bytes,
                             uint8_t *plain, size_t n)
{
    uint64_t lowest = 0; /* that the next position may be */
    while (left(&positions)) {
        uint64_t i = take(&positions, 4);
        require(i >= lowest && i < n, "exceptions ascend, below the number of elements (5.1)");
        lowest = i + 1;
        memcpy(plain + i * element_bytes, take_bytes(&elements, element_bytes), element_bytes);
    }
}

/* Scales, one for each block of the bands that are touched. */
static void make_all(const struct transform *t, uint64_t row, uint64_t column,
                     const uint8_t *scales, const uint8_t *items, uint8_t *plain, size_t n)
{
    uint64_t across = (t->row_elements + t->block_columns - 1) / t->block_columns;
    unsigned element_bytes = t->made == 2 ? 4 : 2;
    for (size_t i = 0; i < n; i++) {
        uint64_t r = row + (column + i) / t->row_elements;
        uint64_t c = (column + i) % t->row_elements;
        float scale;
        memcpy(&scale, scales + 4 * (r / t->block_rows * across + c / t->block_columns), 4);
        make(t, items + i * t->item_bytes, scale, plain + i * element_bytes);
    }
}

static uint64_t number_at(const uint8_t *at, unsigned n)
{
    struct cursor c = {at, at + n};
    return take(&c, n);
}

/* m of 5.1 and, of `back`, its inverse, both of n bytes. */
static uint64_t ordered(uint64_t u, unsigned n, bool back)
{
    uint64_t top = (uint64_t)1 << (8 * n - 1);
    bool is_negative = ((u & top) != 0) != back;
    uint64_t all = top | (top - 1);
    return is_negative ? ~u & all : u ^ top;
}

/* Kinds 2 and 3: an element of n bytes of the item `t` and the element below. */
static uint64_t element_above(unsigned kind, uint64_t b, uint64_t t, unsigned n)
{
    if (kind == KIND_XOR)
        return b ^ t;
    uint64_t all = n == 8 ? UINT64_MAX : ((uint64_t)1 << (8 * n)) - 1;
    uint64_t z = t % 2 == 0 ? t / 2 : -(t / 2 + 1);
    return ordered((ordered(b, n, false) + z) & all, n, true);
}

static void decode_difference(const struct coding *coding, struct cursor payload,
                              const uint8_t *below, uint8_t *plain, size_t plain_bytes)
{
    unsigned n = coding->element_bytes;
    for (unsigned k = 0; k < 4; k++)
        require(take(&payload, 4) == 0, "the counts of a difference are 0 (5.1)");
    uint8_t *items = allocate(plain_bytes, 1);
    decode_streams(coding, payload, items, n, plain_bytes / n);
    for (size_t i = 0; i < plain_bytes; i += n) {
        uint64_t v = element_above(coding->transform.kind, number_at(below + i, n),
                                   number_at(items + i, n), n);
        for (unsigned k = 0; k < n; k++)
            plain[i + k] = (uint8_t)(v >> (8 * k));
    }
    free(items);
}

void decode_made(const struct coding *coding, struct cursor payload, const uint8_t *below,
                 uint8_t *plain, size_t plain_bytes)
{
    const struct transform *t = &coding->transform;
    const uint8_t *start = payload.at;
    require(plain_bytes % coding->element_bytes == 0, "a made tile has whole elements (5)");
    if (t->kind != KIND_SCALE) {
        decode_difference(coding, payload, below, plain, plain_bytes);
        return;
    }
    size_t n = plain_bytes / coding->element_bytes;
    uint64_t column = take(&payload, 4);
    uint64_t row = take(&payload, 4);
    uint64_t n_scales = take(&payload, 4);
    uint64_t n_exceptions = take(&payload, 4);
    require(column < t->row_elements && row < t->block_rows, "a tile begins in its block (5.1)");
    uint64_t last_row = row + (column + n - 1) / t->row_elements;
    uint64_t across = (t->row_elements + t->block_columns - 1) / t->block_columns;
    require(n_scales == (last_row / t->block_rows + 1) * across, "as many scales as needed (5.1)");
    require(n_exceptions <= n, "no more exceptions than elements (5.1)");

    const uint8_t *scales = take_bytes(&payload, 4 * n_scales);
    for (uint64_t k = 0; k < n_scales; k++) {
        float scale;
        memcpy(&scale, scales + 4 * k, 4);
        require(isfinite(scale), "a scale is finite (5.1)");
    }
    struct cursor positions = {payload.at, payload.at};
    take_bytes(&payload, 4 * n_exceptions);
    positions.end = payload.at;
    struct cursor elements = {payload.at, payload.at};
    take_bytes(&payload, coding->element_bytes * n_exceptions);
    elements.end = payload.at;
    while ((payload.at - start) % 16 != 0)
        require(take(&payload, 1) == 0, "zeros behind the exceptions (5.1)");

    uint8_t *items = allocate(n, t->item_bytes);
    decode_streams(coding, payload, items, t->item_bytes, n);
    make_all(t, row, column, scales, items, plain, n);
    apply_exceptions(positions, elements, coding->element_bytes, plain, n);
    free(items);
}
