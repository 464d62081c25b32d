/* tile_data.h - element types and what fills them, for the tests of tiles and codings. */
#ifndef WEIR_TESTS_TILE_DATA_H
#define WEIR_TESTS_TILE_DATA_H

#include "coding_kit.h"

/* Element types: scalar ones, integers as byte planes, blocks like GGML's, odd widths. */
static const struct {
    const char *name;
    struct weir_elements like;
} element_types[] = {
    {"bf16", {2, 1, {{0, 1, 2, true, 8}}}},
    {"f16", {2, 1, {{0, 1, 2, true, 5}}}},
    {"f32", {4, 1, {{0, 1, 4, true, 8}}}},
    {"f64", {8, 1, {{0, 1, 8, true, 11}}}},
    {"f8_e4m3", {1, 1, {{0, 1, 1, true, 4}}}},
    {"f8_e5m2", {1, 1, {{0, 1, 1, true, 5}}}},
    {"u8", {1, 1, {{0, 1, 1, false, 0}}}},
    {"i16 whole", {2, 1, {{0, 1, 2, false, 0}}}},
    {"u64 whole", {8, 1, {{0, 1, 8, false, 0}}}},
    {"i16 planes", {2, 2, {{0, 1, 1, false, 0}, {1, 1, 1, false, 0}}}},
    {"i64 planes",
     {8,
      8,
      {{0, 1, 1, false, 0},
       {1, 1, 1, false, 0},
       {2, 1, 1, false, 0},
       {3, 1, 1, false, 0},
       {4, 1, 1, false, 0},
       {5, 1, 1, false, 0},
       {6, 1, 1, false, 0},
       {7, 1, 1, false, 0}}}},
    {"complex f32", {8, 1, {{0, 2, 4, true, 8}}}},
    {"f16 + 16 bytes", {18, 2, {{0, 1, 2, true, 5}, {2, 16, 1, false, 0}}}},
    {"2 f16 + 12 + 128 bytes",
     {144, 3, {{0, 2, 2, true, 5}, {4, 12, 1, false, 0}, {16, 128, 1, false, 0}}}},
    {"f32 + 3 f16 + f64 + byte",
     {19, 4, {{0, 1, 4, true, 8}, {4, 3, 2, true, 5}, {10, 1, 8, true, 11}, {18, 1, 1, false, 0}}}},
    {"4096 bytes", {4096, 1, {{0, 4096, 1, false, 0}}}},
};

enum data_kind {
    DATA_NORMAL, /* floats: N(0, 0.02); integers: small, around 0 */
    DATA_NOISE,
    DATA_ZEROS,
    DATA_CONSTANT,
    DATA_NANS, /* all payloads */
    DATA_INFINITIES,
    DATA_SIGNED_ZEROS,
    DATA_DENORMALS,
    DATA_TWO_VALUES,
    DATA_SPARSE,   /* nine of ten are 0 */
    DATA_OUTLIERS, /* normal, and one of 200 anything */
    DATA_HALF,     /* normal, the low half of the bits 0 */
    DATA_LAST_DIFFERS,
    N_DATA_KINDS,
};

static const char *const data_kind_names[N_DATA_KINDS] = {
    "normal",    "noise",      "zeros",  "constant", "NaNs",       "infinities",  "signed zeros",
    "denormals", "two values", "sparse", "outliers", "low half 0", "last differs"};

/* The bits of x as a float with that many exponent bits; what is too small becomes 0. */
static inline uint64_t float_bits(double x, unsigned exponent_bits, unsigned width)
{
    uint64_t d;
    memcpy(&d, &x, sizeof(d));
    int top = (1 << exponent_bits) - 2, bias = top / 2;
    int exponent = (int)(d >> 52 & 2047) - 1023 + bias;
    if (exponent < 1)
        return 0;
    unsigned mantissa_bits = width - 1 - exponent_bits;
    uint64_t mantissa = (d & ((1ull << 52) - 1)) >> (52 - mantissa_bits);
    uint64_t e = (uint64_t)(exponent > top ? top : exponent);
    return d >> 63 << (width - 1) | e << mantissa_bits | mantissa;
}

/* Near enough to N(0, 1) here: the sum of twelve uniforms. */
static inline double random_normal(uint64_t *random)
{
    double sum = -6;
    for (int i = 0; i < 12; i++)
        sum += (double)(random_u64(random) >> 11) * 0x1p-53;
    return sum;
}

static inline uint64_t random_item(enum data_kind kind, unsigned width, unsigned exponent_bits,
                                   uint64_t *random)
{
    uint64_t noise = random_u64(random), sign = (noise & 1) << (width - 1);
    unsigned mantissa_bits = width - 1 - exponent_bits;
    uint64_t mantissa = noise >> 1 & ((1ull << mantissa_bits) - 1);
    uint64_t infinity = ((1ull << exponent_bits) - 1) << mantissa_bits;
    switch (kind) {
    case DATA_NOISE:
        return noise;
    case DATA_NANS:
        return sign | infinity | mantissa | 1;
    case DATA_INFINITIES:
        return sign | infinity;
    case DATA_SIGNED_ZEROS:
        return sign;
    case DATA_DENORMALS:
        return sign | mantissa;
    case DATA_TWO_VALUES:
        return noise & 1 ? 0x3c3c3c3c3c3c3c3cu : 0xbdbdbdbdbdbdbdbdu;
    case DATA_SPARSE:
        if (noise % 10)
            return 0;
        break;
    case DATA_OUTLIERS:
        if (noise % 200 == 0)
            return random_u64(random);
        break;
    default:
        break;
    }
    double x = random_normal(random);
    uint64_t v =
        exponent_bits ? float_bits(0.02 * x, exponent_bits, width) : (uint64_t)(int64_t)(6 * x);
    return kind == DATA_HALF ? v >> width / 2 << width / 2 : v;
}

static inline void put_item(uint8_t *to, uint64_t v, size_t item_bytes)
{
    for (size_t i = 0; i < item_bytes; i++)
        to[i] = (uint8_t)(v >> (8 * i));
}

/* n_elements of a type, in a block of exactly their size.  Freed with free(). */
static inline uint8_t *make_elements(const struct weir_elements *like, enum data_kind kind,
                                     size_t n_elements, uint64_t *random)
{
    size_t elem_bytes = like->elem_bytes, n = n_elements * elem_bytes;
    uint8_t *bytes = must_alloc(n);
    if (kind == DATA_ZEROS || kind == DATA_CONSTANT || kind == DATA_LAST_DIFFERS) {
        random_bytes(random, bytes, elem_bytes);
        for (size_t i = elem_bytes; i < n; i++)
            bytes[i] = bytes[i - elem_bytes];
        if (kind == DATA_ZEROS)
            memset(bytes, 0, n);
        if (kind == DATA_LAST_DIFFERS)
            bytes[n - 1] ^= 0x10;
        return bytes;
    }
    for (size_t e = 0; e < n_elements; e++)
        for (int i = 0; i < like->n_parts; i++)
            for (size_t k = 0; k < like->part[i].count; k++) {
                size_t item_bytes = like->part[i].item_bytes;
                uint64_t v = random_item(kind, 8 * (unsigned)item_bytes,
                                         like->part[i].exponent_bits, random);
                put_item(bytes + e * elem_bytes + like->part[i].offset + k * item_bytes, v,
                         item_bytes);
            }
    return bytes;
}

#endif
