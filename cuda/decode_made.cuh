/* decode_made.cuh - tiles whose elements are made of items and scales (docs/format.md, 5.1).
 *
 * Items are decoded as elements are, to the end of the tile's output, and elements are made of them
 * from the front: an element is never written over an item that is still to be read. */
#ifndef WEIR_CUDA_DECODE_MADE_CUH
#define WEIR_CUDA_DECODE_MADE_CUH

#include <cuda_fp16.h>

#include "decode_parts.cuh"

enum {
    MADE_HEAD_BYTES = 16,
    MADE_AT_ONCE = 8, /* elements of a thread */
};

struct made_view {
    uint32_t column, row, n_scales, n_exceptions;
    const float *scales;
    const uint32_t *positions;
    const uint8_t *exceptions;
    uint32_t bytes; /* of all that, without padding */
};

static __device__ bool is_finite(float f)
{
    return (__float_as_uint(f) & 0x7f800000) != 0x7f800000;
}

/* What is in front of the streams of n elements.  false: broken. */
static __device__ bool view_made(const struct device_transform &t, const struct device_tile *tile,
                                 uint32_t elem_bytes, uint32_t n, struct made_view *v)
{
    if (tile->payload_bytes < MADE_HEAD_BYTES)
        return false;
    const uint4 head = *(const uint4 *)tile->payload;
    v->column = head.x;
    v->row = head.y;
    v->n_scales = head.z;
    v->n_exceptions = head.w;
    if (v->row >= t.block_rows || v->column >= t.row_elements || v->n_exceptions > n)
        return false;
    const uint64_t last_row = v->row + ((uint64_t)v->column + n - 1) / t.row_elements;
    if (v->n_scales != (last_row / t.block_rows + 1) * t.blocks_in_row)
        return false;
    const uint64_t bytes =
        MADE_HEAD_BYTES + 4 * (uint64_t)v->n_scales + (4 + elem_bytes) * (uint64_t)v->n_exceptions;
    if (bytes > tile->payload_bytes)
        return false;
    v->bytes = (uint32_t)bytes;
    v->scales = (const float *)(tile->payload + MADE_HEAD_BYTES);
    v->positions = (const uint32_t *)v->scales + v->n_scales;
    v->exceptions = (const uint8_t *)(v->positions + v->n_exceptions);
    bool fine = true;
    for (uint32_t i = threadIdx.x % 32; i < v->n_scales; i += 32)
        fine = fine && is_finite(v->scales[i]);
    for (uint32_t i = threadIdx.x % 32; i < v->n_exceptions; i += 32)
        fine = fine && v->positions[i] < n && (!i || v->positions[i] > v->positions[i - 1]);
    return __all_sync(~0u, fine);
}

/* ---- numbers ---- */

static __device__ float number_of(const struct device_transform &t, uint32_t item)
{
    if (t.number == WEIR_NUMBER_INT)
        return (float)((int)item - (t.item_bytes == 1 ? 128 : 32768));
    if (t.number == WEIR_NUMBER_E5M2) /* the upper byte of an F16 */
        return __half2float(__ushort_as_half((unsigned short)(item << 8)));
    const uint32_t exponent = item >> 3 & 15, mantissa = item & 7;
    if (exponent == 15 && mantissa == 7)
        return __uint_as_float(0x7fc00000);
    const float magnitude =
        exponent ? __uint_as_float(exponent + 120 << 23 | mantissa << 20) : mantissa * 0x1p-9f;
    return item & 0x80 ? -magnitude : magnitude;
}

/* Bits of the element: a product, rounded once more; one NaN for all. */
static __device__ uint32_t made_of(const struct device_transform &t, uint32_t item, float scale)
{
    const float product = __fmul_rn(number_of(t, item), scale);
    const uint32_t bits = __float_as_uint(product);
    const bool is_nan = (bits & 0x7fffffff) > 0x7f800000;
    if (t.made == WEIR_FLOAT_F32)
        return is_nan ? 0x7fc00000 : bits;
    if (t.made == WEIR_FLOAT_F16)
        return is_nan ? 0x7e00 : __half_as_ushort(__float2half_rn(product));
    return is_nan ? 0x7fc0 : (bits + 0x7fff + (bits >> 16 & 1)) >> 16;
}

/* ---- elements ---- */

/* Where an element's scale is, and for how many from there on it holds. */
struct scale_cursor {
    uint32_t row, column, left; /* row: R of the format */
    float scale;
};

static __device__ void look_up(const struct device_transform &t, const float *scales,
                               struct scale_cursor *c)
{
    c->scale = scales[c->row / t.block_rows * t.blocks_in_row + c->column / t.block_cols];
    const uint32_t of_block = t.block_cols - c->column % t.block_cols;
    c->left = min(of_block, t.row_elements - c->column);
}

static __device__ struct scale_cursor scale_at(const struct device_transform &t,
                                               const struct made_view &v, uint32_t element)
{
    struct scale_cursor c = {};
    const uint64_t at = (uint64_t)v.column + element;
    if (at >> 32) {
        c.row = v.row + (uint32_t)(at / t.row_elements);
        c.column = (uint32_t)(at % t.row_elements);
    } else {
        c.row = v.row + (uint32_t)at / t.row_elements;
        c.column = (uint32_t)at % t.row_elements;
    }
    look_up(t, v.scales, &c);
    return c;
}

static __device__ void next_scale(const struct device_transform &t, const float *scales,
                                  struct scale_cursor *c)
{
    c->column++;
    if (--c->left)
        return;
    if (c->column == t.row_elements) {
        c->column = 0;
        c->row++;
    }
    look_up(t, scales, c);
}

/* Elements first .. first + k - 1 at `out`; both multiples of MADE_AT_ONCE but for the last. */
static __device__ void store_made(uint8_t *out, uint32_t elem_bytes, uint32_t first, uint32_t k,
                                  const uint32_t made[MADE_AT_ONCE])
{
    if (elem_bytes == 2 && k == MADE_AT_ONCE) {
        uint32_t w[MADE_AT_ONCE / 2];
#pragma unroll
        for (uint32_t i = 0; i < MADE_AT_ONCE / 2; i++)
            w[i] = made[2 * i] | made[2 * i + 1] << 16;
        *(uint4 *)(out + 2 * first) = make_uint4(w[0], w[1], w[2], w[3]);
        return;
    }
#pragma unroll
    for (uint32_t i = 0; i < MADE_AT_ONCE; i++)
        if (i < k && elem_bytes == 2)
            ((uint16_t *)out)[first + i] = (uint16_t)made[i];
        else if (i < k)
            ((uint32_t *)out)[first + i] = made[i];
}

/* Of items that all threads have written: elements in their places, exceptions included. */
static __device__ void make_elements(const struct device_transform &t, const struct made_view &v,
                                     uint8_t *out, uint32_t elem_bytes, uint32_t n)
{
    const uint8_t *items = out + (elem_bytes - t.item_bytes) * n;
    __syncwarp();
    for (uint32_t round = 0; round < n; round += 32 * MADE_AT_ONCE) {
        const uint32_t first = round + MADE_AT_ONCE * (threadIdx.x % 32);
        const uint32_t k = first < n ? min(n - first, (uint32_t)MADE_AT_ONCE) : 0;
        uint32_t made[MADE_AT_ONCE] = {};
        if (k) {
            struct scale_cursor c = scale_at(t, v, first);
#pragma unroll
            for (uint32_t i = 0; i < MADE_AT_ONCE; i++) {
                if (i >= k)
                    break;
                const uint32_t item =
                    t.item_bytes == 1 ? items[first + i] : ((const uint16_t *)items)[first + i];
                made[i] = made_of(t, item, c.scale);
                if (i + 1 < k)
                    next_scale(t, v.scales, &c);
            }
        }
        __syncwarp();
        store_made(out, elem_bytes, first, k, made);
        __syncwarp();
    }
    for (uint32_t i = threadIdx.x % 32; i < v.n_exceptions; i += 32)
        if (elem_bytes == 2)
            ((uint16_t *)out)[v.positions[i]] = ((const uint16_t *)v.exceptions)[i];
        else
            ((uint32_t *)out)[v.positions[i]] = ((const uint32_t *)v.exceptions)[i];
}

#endif
