#include "transform.h"

#include <math.h>
#include <string.h>

#include "kernels.h"

/* ---- numbers ---- */

/* Tables by the preprocessor: sign, then exponent, then mantissa; `unit` is what one more in the
 * mantissa is worth. */
#define E4M3_ROW(s, unit)                                                                          \
    (s) * 8 * (unit), (s)*9 * (unit), (s)*10 * (unit), (s)*11 * (unit), (s)*12 * (unit),           \
        (s)*13 * (unit), (s)*14 * (unit), (s)*15 * (unit)
#define E4M3_HALF(s)                                                                               \
    (s) * 0x0p0F, (s)*0x1p-9F, (s)*0x2p-9F, (s)*0x3p-9F, (s)*0x4p-9F, (s)*0x5p-9F, (s)*0x6p-9F,    \
        (s)*0x7p-9F, E4M3_ROW(s, 0x1p-9F), E4M3_ROW(s, 0x1p-8F), E4M3_ROW(s, 0x1p-7F),             \
        E4M3_ROW(s, 0x1p-6F), E4M3_ROW(s, 0x1p-5F), E4M3_ROW(s, 0x1p-4F), E4M3_ROW(s, 0x1p-3F),    \
        E4M3_ROW(s, 0x1p-2F), E4M3_ROW(s, 0x1p-1F), E4M3_ROW(s, 0x1p0F), E4M3_ROW(s, 0x1p1F),      \
        E4M3_ROW(s, 0x1p2F), E4M3_ROW(s, 0x1p3F), E4M3_ROW(s, 0x1p4F), (s)*256.0F, (s)*288.0F,     \
        (s)*320.0F, (s)*352.0F, (s)*384.0F, (s)*416.0F, (s)*448.0F, NAN

const float number_e4m3[256] = {E4M3_HALF(1), E4M3_HALF(-1)};

#define E5M2_ROW(s, unit) (s) * 4 * (unit), (s)*5 * (unit), (s)*6 * (unit), (s)*7 * (unit)
#define E5M2_HALF(s)                                                                               \
    (s) * 0x0p0F, (s)*0x1p-16F, (s)*0x2p-16F, (s)*0x3p-16F, E5M2_ROW(s, 0x1p-16F),                 \
        E5M2_ROW(s, 0x1p-15F), E5M2_ROW(s, 0x1p-14F), E5M2_ROW(s, 0x1p-13F),                       \
        E5M2_ROW(s, 0x1p-12F), E5M2_ROW(s, 0x1p-11F), E5M2_ROW(s, 0x1p-10F), E5M2_ROW(s, 0x1p-9F), \
        E5M2_ROW(s, 0x1p-8F), E5M2_ROW(s, 0x1p-7F), E5M2_ROW(s, 0x1p-6F), E5M2_ROW(s, 0x1p-5F),    \
        E5M2_ROW(s, 0x1p-4F), E5M2_ROW(s, 0x1p-3F), E5M2_ROW(s, 0x1p-2F), E5M2_ROW(s, 0x1p-1F),    \
        E5M2_ROW(s, 0x1p0F), E5M2_ROW(s, 0x1p1F), E5M2_ROW(s, 0x1p2F), E5M2_ROW(s, 0x1p3F),        \
        E5M2_ROW(s, 0x1p4F), E5M2_ROW(s, 0x1p5F), E5M2_ROW(s, 0x1p6F), E5M2_ROW(s, 0x1p7F),        \
        E5M2_ROW(s, 0x1p8F), E5M2_ROW(s, 0x1p9F), E5M2_ROW(s, 0x1p10F), E5M2_ROW(s, 0x1p11F),      \
        E5M2_ROW(s, 0x1p12F), E5M2_ROW(s, 0x1p13F), (s)*INFINITY, NAN, NAN, NAN

const float number_e5m2[256] = {E5M2_HALF(1), E5M2_HALF(-1)};

uint16_t f16_of(uint32_t bits)
{
    enum { MANTISSA = 10, WIDER = 13, BIAS_DIFFERENCE = 112, LARGEST = 0x7c00, QUIET_NAN = 0x7e00 };
    const uint32_t sign = bits >> 16 & 0x8000, magnitude = bits & 0x7fffffff;
    if (magnitude > 0x7f800000)
        return QUIET_NAN;
    const uint32_t exponent = magnitude >> 23;
    uint32_t kept, lost, half; /* a number of ulps of the result, what is below one, half of one */
    if (exponent > BIAS_DIFFERENCE) {
        kept = (magnitude >> WIDER) - ((uint32_t)BIAS_DIFFERENCE << MANTISSA);
        lost = magnitude & ((1u << WIDER) - 1);
        half = 1u << (WIDER - 1);
        if (kept >= LARGEST)
            return (uint16_t)(sign | LARGEST);
    } else { /* a denormal F16: the float32's mantissa with its leading one, shifted further */
        const uint32_t shift = WIDER + 1 + BIAS_DIFFERENCE - exponent;
        if (shift > 25)
            return (uint16_t)sign;
        const uint32_t mantissa = (magnitude & 0x7fffff) | 0x800000;
        kept = mantissa >> shift;
        lost = mantissa & ((1u << shift) - 1);
        half = 1u << (shift - 1);
    }
    kept += lost > half || (lost == half && kept & 1);
    return (uint16_t)(sign | kept);
}

/* ---- rules and shape ---- */

static size_t made_bytes(const struct weir_transform *t)
{
    return t->made == WEIR_FLOAT_F32 ? 4 : 2;
}

static bool scale_is_sane(const struct weir_transform *t, uint16_t elem_bytes)
{
    if (t->made > WEIR_FLOAT_F32 || elem_bytes != made_bytes(t) || t->near > 1)
        return false;
    if (t->number > WEIR_NUMBER_E5M2 || t->item_bytes < 1 || t->item_bytes > 2 ||
        (t->number != WEIR_NUMBER_INT && t->item_bytes != 1))
        return false;
    return t->row_elements > 0 && t->block_rows > 0 && t->block_cols > 0 &&
           t->block_cols <= t->row_elements;
}

static bool q8_is_sane(const struct weir_transform *t, uint16_t elem_bytes)
{
    bool number = t->number == WEIR_NUMBER_E4M3 || t->number == WEIR_NUMBER_E5M2;
    return elem_bytes == WEIR_Q8_BYTES && t->item_bytes == WEIR_Q8_WEIGHTS && number &&
           t->made <= WEIR_FLOAT_F32 && !t->near && t->row_elements > 0 && t->block_rows > 0 &&
           t->block_cols > 0 && t->block_cols <= t->row_elements &&
           t->row_elements % WEIR_Q8_WEIGHTS == 0 && t->block_cols % WEIR_Q8_WEIGHTS == 0;
}

/* Nothing but the width is said of a difference. */
static bool delta_is_sane(const struct weir_transform *t, uint16_t elem_bytes)
{
    bool width = elem_bytes == 1 || elem_bytes == 2 || elem_bytes == 4 || elem_bytes == 8;
    return width && t->item_bytes == elem_bytes && !t->number && !t->made && !t->near &&
           !t->row_elements && !t->block_rows && !t->block_cols;
}

weir_err transform_check(const struct weir_transform *t, uint16_t elem_bytes)
{
    switch (t->kind) {
    case WEIR_TRANSFORM_NONE:
        return t->number || t->made || t->near || t->item_bytes || t->row_elements ||
                       t->block_rows || t->block_cols
                   ? WEIR_ERR_CORRUPT
                   : WEIR_OK;
    case WEIR_TRANSFORM_SCALE:
        return scale_is_sane(t, elem_bytes) ? WEIR_OK : WEIR_ERR_CORRUPT;
    case WEIR_TRANSFORM_DIFF:
    case WEIR_TRANSFORM_XOR:
        return delta_is_sane(t, elem_bytes) ? WEIR_OK : WEIR_ERR_CORRUPT;
    case WEIR_TRANSFORM_Q8_0:
        return q8_is_sane(t, elem_bytes) ? WEIR_OK : WEIR_ERR_CORRUPT;
    default:
        return WEIR_ERR_CORRUPT;
    }
}

bool transform_needs_base(const struct weir_transform *t)
{
    return t->kind == WEIR_TRANSFORM_DIFF || t->kind == WEIR_TRANSFORM_XOR;
}

bool weir_coding_needs_base(const struct weir_coding *coding)
{
    return coding && transform_needs_base(&coding->transform);
}

size_t coding_item_bytes(const struct weir_coding *coding)
{
    return coding->transform.kind ? coding->transform.item_bytes : coding->elem_bytes;
}

static uint64_t blocks_in_row(const struct weir_transform *t)
{
    return ((uint64_t)t->row_elements - 1) / t->block_cols + 1;
}

uint64_t weir_transform_scales(const struct weir_transform *t, uint32_t row, uint32_t column,
                               size_t n_elements)
{
    const bool q8 = t->kind == WEIR_TRANSFORM_Q8_0;
    if ((t->kind != WEIR_TRANSFORM_SCALE && !q8) || row >= t->block_rows ||
        column >= t->row_elements || n_elements == 0 || (q8 && column % WEIR_Q8_WEIGHTS))
        return 0;
    const uint64_t n = (uint64_t)n_elements * (q8 ? WEIR_Q8_WEIGHTS : 1);
    uint64_t last_row = row + (column + n - 1) / t->row_elements;
    return (last_row / t->block_rows + 1) * blocks_in_row(t);
}

/* A run of weights with one scale; of whole blocks with Q8_0. */
static void make_run(const struct weir_kernels *kernels, const struct weir_transform *t,
                     const uint8_t *items, size_t n, float scale, uint8_t *out)
{
    if (t->kind == WEIR_TRANSFORM_SCALE) {
        kernels->scale(t, items, n, scale, out);
        return;
    }
    for (size_t i = 0; i < n / WEIR_Q8_WEIGHTS; i++)
        transform_make_q8(t, items + i * WEIR_Q8_WEIGHTS, scale, out + i * WEIR_Q8_BYTES);
}

void transform_make(const struct weir_kernels *kernels, const struct weir_transform *t,
                    const struct transform_scales *by, const uint8_t *items, size_t n, uint8_t *out)
{
    const bool q8 = t->kind == WEIR_TRANSFORM_Q8_0;
    const size_t item_bytes = q8 ? 1 : t->item_bytes; /* of a weight */
    n *= q8 ? WEIR_Q8_WEIGHTS : 1;
    const uint64_t in_row = blocks_in_row(t);
    uint64_t r = by->row, c = by->column;
    for (size_t at = 0, run; at < n; at += run) {
        /* As far as the block, the row and the elements go. */
        uint64_t left = t->block_cols - c % t->block_cols;
        left = left < t->row_elements - c ? left : t->row_elements - c;
        run = left < n - at ? (size_t)left : n - at;
        float scale;
        memcpy(&scale, by->scales + 4 * (r / t->block_rows * in_row + c / t->block_cols), 4);
        const size_t to = q8 ? at / WEIR_Q8_WEIGHTS * WEIR_Q8_BYTES : at * made_bytes(t);
        make_run(kernels, t, items + at * item_bytes, run, scale, out + to);
        c += run;
        if (c == t->row_elements) {
            c = 0;
            r++;
        }
    }
}
