#include "dtype.h"

#include <stddef.h>
#include <string.h>

/* A wide integer is cut into its bytes, so that each gets a table of its own: the upper ones are
 * often all zero, the lowest is close to noise. */
static const struct dtype plain[] = {
    {"BF16", 1, 2, {{1, 2, 8}}},
    {"F16", 1, 2, {{1, 2, 5}}},
    {"F32", 1, 4, {{1, 4, 8}}},
    {"F64", 1, 8, {{1, 8, 11}}},
    {"C64", 1, 8, {{1, 4, 8}}}, /* two F32 */
    {"F8_E4M3", 1, 1, {{1, 1, 4}}},
    {"F8_E5M2", 1, 1, {{1, 1, 5}}},
    {"F8_E4M3FNUZ", 1, 1, {{1, 1, 4}}},
    {"F8_E5M2FNUZ", 1, 1, {{1, 1, 5}}},
    {"F8_E8M0", 1, 1, {{1, 1, 0}}},
    {"F4", 2, 1, {{1, 1, 0}}},
    {"F6_E2M3", 4, 3, {{1, 1, 0}}},
    {"F6_E3M2", 4, 3, {{1, 1, 0}}},
    {"BOOL", 1, 1, {{1, 1, 0}}},
    {"U8", 1, 1, {{1, 1, 0}}},
    {"I8", 1, 1, {{1, 1, 0}}},
    {"U16", 1, 2, {{1, 1, 0}, {1, 1, 0}}},
    {"I16", 1, 2, {{1, 1, 0}, {1, 1, 0}}},
    {"U32", 1, 4, {{1, 1, 0}, {1, 1, 0}, {1, 1, 0}, {1, 1, 0}}},
    {"I32", 1, 4, {{1, 1, 0}, {1, 1, 0}, {1, 1, 0}, {1, 1, 0}}},
    {"U64",
     1,
     8,
     {{1, 1, 0}, {1, 1, 0}, {1, 1, 0}, {1, 1, 0}, {1, 1, 0}, {1, 1, 0}, {1, 1, 0}, {1, 1, 0}}},
    {"I64",
     1,
     8,
     {{1, 1, 0}, {1, 1, 0}, {1, 1, 0}, {1, 1, 0}, {1, 1, 0}, {1, 1, 0}, {1, 1, 0}, {1, 1, 0}}},
};

/* The blocks of GGML, parts in the order of their bytes.  A part costs 272 bytes in each tile, so
 * a field has one of its own where that was measured to pay, on blocks made from N(0, 0.02), stored
 * bits per byte: Q8_0 7.604 against 7.693 as plain bytes, Q4_0 7.361 (7.620), Q2_K 7.247 (7.571),
 * Q4_K 7.656 (7.804).  Scale and minimum of a 32-block apart: Q4_1 7.360 against 7.438 together; of
 * a 256-block together, there are too few.  High bits with the low ones in Q5_0 (7.803
 * against 7.816) and Q5_K (7.911 against 7.921), but apart in Q6_K (7.795 against 7.883) and Q3_K
 * (7.934 against 7.952).  The 12 bytes of 6-bit scales as 8 and 4: Q4_K 7.656 against 7.671.  IQ
 * types: not measured. */
static const struct {
    uint32_t type;
    struct dtype block;
} ggml[] = {
    {2, {"Q4_0", 32, 18, {{1, 2, 5}, {16, 1, 0}}}},
    {3, {"Q4_1", 32, 20, {{1, 2, 5}, {1, 2, 5}, {16, 1, 0}}}},
    {6, {"Q5_0", 32, 22, {{1, 2, 5}, {20, 1, 0}}}},
    {7, {"Q5_1", 32, 24, {{1, 2, 5}, {1, 2, 5}, {20, 1, 0}}}},
    {8, {"Q8_0", 32, 34, {{1, 2, 5}, {32, 1, 0}}}},
    {9, {"Q8_1", 32, 36, {{1, 2, 5}, {1, 2, 5}, {32, 1, 0}}}},
    {10, {"Q2_K", 256, 84, {{16, 1, 0}, {64, 1, 0}, {2, 2, 5}}}},
    {11, {"Q3_K", 256, 110, {{32, 1, 0}, {64, 1, 0}, {8, 1, 0}, {4, 1, 0}, {1, 2, 5}}}},
    {12, {"Q4_K", 256, 144, {{2, 2, 5}, {8, 1, 0}, {4, 1, 0}, {128, 1, 0}}}},
    {13, {"Q5_K", 256, 176, {{2, 2, 5}, {8, 1, 0}, {4, 1, 0}, {160, 1, 0}}}},
    {14, {"Q6_K", 256, 210, {{128, 1, 0}, {64, 1, 0}, {16, 1, 0}, {1, 2, 5}}}},
    {15, {"Q8_K", 256, 292, {{1, 4, 8}, {256, 1, 0}, {32, 1, 0}}}},
    {16, {"IQ2_XXS", 256, 66, {{1, 2, 5}, {64, 1, 0}}}},
    {17, {"IQ2_XS", 256, 74, {{1, 2, 5}, {64, 1, 0}, {8, 1, 0}}}},
    {18, {"IQ3_XXS", 256, 98, {{1, 2, 5}, {64, 1, 0}, {32, 1, 0}}}},
    {19, {"IQ1_S", 256, 50, {{1, 2, 5}, {32, 1, 0}, {16, 1, 0}}}},
    {20, {"IQ4_NL", 32, 18, {{1, 2, 5}, {16, 1, 0}}}},
    {21, {"IQ3_S", 256, 110, {{1, 2, 5}, {64, 1, 0}, {40, 1, 0}, {4, 1, 0}}}},
    {22, {"IQ2_S", 256, 82, {{1, 2, 5}, {64, 1, 0}, {16, 1, 0}}}},
    {23, {"IQ4_XS", 256, 136, {{1, 2, 5}, {6, 1, 0}, {128, 1, 0}}}},
    {29, {"IQ1_M", 256, 56, {{32, 1, 0}, {16, 1, 0}, {8, 1, 0}}}},
    {31, {"Q4_0_4_4", 32, 18, {{1, 1, 0}}}}, /* interleaved for ARM: scales and quants mixed */
    {32, {"Q4_0_4_8", 32, 18, {{1, 1, 0}}}},
    {33, {"Q4_0_8_8", 32, 18, {{1, 1, 0}}}},
    {34, {"TQ1_0", 256, 54, {{48, 1, 0}, {4, 1, 0}, {1, 2, 5}}}},
    {35, {"TQ2_0", 256, 66, {{64, 1, 0}, {1, 2, 5}}}},
    {39, {"MXFP4", 32, 17, {{1, 1, 0}, {16, 1, 0}}}},
    {40, {"NVFP4", 64, 36, {{4, 1, 0}, {32, 1, 0}}}},
    {41, {"Q1_0", 128, 18, {{1, 2, 5}, {16, 1, 0}}}},
    {42, {"Q2_0", 64, 18, {{1, 2, 5}, {16, 1, 0}}}},
};

/* GGML's numbers for types that both formats have. */
static const struct {
    uint32_t type;
    const char *text;
} shared[] = {
    {0, "F32"},  {1, "F16"},  {24, "I8"},  {25, "I16"},
    {26, "I32"}, {27, "I64"}, {28, "F64"}, {30, "BF16"},
};

const struct dtype *dtype_by_text(const char *text)
{
    for (size_t i = 0; i < sizeof(plain) / sizeof(plain[0]); i++)
        if (strcmp(text, plain[i].text) == 0)
            return &plain[i];
    return NULL;
}

const struct dtype *dtype_by_ggml(uint32_t type)
{
    for (size_t i = 0; i < sizeof(shared) / sizeof(shared[0]); i++)
        if (shared[i].type == type)
            return dtype_by_text(shared[i].text);
    for (size_t i = 0; i < sizeof(ggml) / sizeof(ggml[0]); i++)
        if (ggml[i].type == type)
            return &ggml[i].block;
    return NULL;
}

bool dtype_tensor_bytes(const struct dtype *type, const uint64_t *dim, uint8_t n_dims,
                        uint64_t *bytes)
{
    uint64_t n = 1;
    for (uint8_t i = 0; i < n_dims; i++) {
        if (dim[i] == 0) {
            *bytes = 0;
            return true;
        }
    }
    for (uint8_t i = 0; i < n_dims; i++) {
        if (n > UINT64_MAX / dim[i])
            return false;
        n *= dim[i];
    }
    if (n % type->items || n / type->items > UINT64_MAX / type->bytes)
        return false;
    *bytes = n / type->items * type->bytes;
    return true;
}

struct weir_elements dtype_elements(const struct dtype *type)
{
    static const struct dtype_field bytes[WEIR_MAX_PARTS] = {{1, 1, 0}};
    const struct dtype_field *field = type ? type->field : bytes;
    struct weir_elements elements = {0};
    while (elements.n_parts < WEIR_MAX_PARTS && field->count) {
        elements.part[elements.n_parts].offset = elements.elem_bytes;
        elements.part[elements.n_parts].count = field->count;
        elements.part[elements.n_parts].item_bytes = field->item_bytes;
        elements.part[elements.n_parts].is_float = field->exponent_bits > 0;
        elements.part[elements.n_parts].exponent_bits = field->exponent_bits;
        elements.elem_bytes = (uint16_t)(elements.elem_bytes + field->count * field->item_bytes);
        elements.n_parts++;
        field++;
    }
    return elements;
}
