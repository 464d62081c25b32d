/* One vector is the sixteen lanes.  Bit-equal to kernels_scalar.c.
 *
 * Blocks of 4 rows x 1 vector, where loading the weights is all the work, and 4 x 6 for several:
 * twenty-four sums in thirty-two registers. */
#include "kernels.h"
#include "kernels_resident.h"

#include <immintrin.h>
#include <string.h>

#define ALWAYS_INLINE static inline __attribute__((always_inline))

enum {
    MAX_ROWS = 4, /* of a block */
    MAX_VECTORS = 6,
};

/* Sixteen numbers, zeros where `mask` has none: nothing is read there. */
ALWAYS_INLINE __m512 load16(enum number type, const uint8_t *at, __mmask16 mask)
{
    if (type == NUMBER_F32)
        return _mm512_maskz_loadu_ps(mask, at);
    __m256i half = _mm256_maskz_loadu_epi16(mask, at);
    if (type == NUMBER_F16)
        return _mm512_cvtph_ps(half);
    return _mm512_castsi512_ps(_mm512_slli_epi32(_mm512_cvtepu16_epi32(half), 16));
}

ALWAYS_INLINE __mmask16 mask_of(size_t n)
{
    return (__mmask16)(n < SUM_LANES ? (1u << n) - 1 : 0xffff);
}

ALWAYS_INLINE float add_lanes(__m512 sum)
{
    __m256 high = _mm256_castpd_ps(_mm512_extractf64x4_pd(_mm512_castps_pd(sum), 1));
    __m256 s8 = _mm256_add_ps(_mm512_castps512_ps256(sum), high);
    __m128 s4 = _mm_add_ps(_mm256_castps256_ps128(s8), _mm256_extractf128_ps(s8, 1));
    __m128 s2 = _mm_add_ps(s4, _mm_movehl_ps(s4, s4));
    return _mm_cvtss_f32(_mm_add_ss(s2, _mm_movehdup_ps(s2)));
}

struct block {
    enum number type;
    size_t n_rows, n_vectors;
    const uint8_t *w;
    size_t w_stride;
    const float *x;
    size_t x_stride;
};

/* Sixteen columns, or as many of them as `mask` has. */
ALWAYS_INLINE void step(const struct block *b, size_t n_rows, size_t n_vectors, __mmask16 mask,
                        __m512 sum[MAX_ROWS][MAX_VECTORS])
{
    __m512 x[MAX_VECTORS];
#pragma GCC unroll 8
    for (size_t v = 0; v < n_vectors; v++)
        x[v] = _mm512_loadu_ps(b->x + v * b->x_stride);
#pragma GCC unroll 8
    for (size_t r = 0; r < n_rows; r++) {
        __m512 w = load16(b->type, b->w + r * b->w_stride, mask);
#pragma GCC unroll 8
        for (size_t v = 0; v < n_vectors; v++)
            sum[r][v] = _mm512_fmadd_ps(w, x[v], sum[r][v]);
    }
}

/* `b` by value and every count a constant: after inlining all of it lives in registers.  Without
 * the pragmas GCC 12 unrolls too late for that, and stores every sum in every step (half as fast).
 */
ALWAYS_INLINE void dot_block(struct block b, size_t n_cols, float *to, size_t to_stride)
{
    const size_t n_rows = b.n_rows, n_vectors = b.n_vectors;
    const size_t bytes = b.type == NUMBER_F32 ? 4 : 2;
    size_t left = n_cols;
    __m512 sum[MAX_ROWS][MAX_VECTORS];
#pragma GCC unroll 8
    for (size_t r = 0; r < n_rows; r++)
#pragma GCC unroll 8
        for (size_t v = 0; v < n_vectors; v++)
            sum[r][v] = _mm512_setzero_ps();
    for (; left >= SUM_LANES; left -= SUM_LANES) {
        step(&b, n_rows, n_vectors, 0xffff, sum);
        b.w += SUM_LANES * bytes;
        b.x += SUM_LANES;
    }
    if (left)
        step(&b, n_rows, n_vectors, mask_of(left), sum);
#pragma GCC unroll 8
    for (size_t r = 0; r < n_rows; r++)
#pragma GCC unroll 8
        for (size_t v = 0; v < n_vectors; v++)
            to[v * to_stride + r] = add_lanes(sum[r][v]);
}

/* All rows times n_vectors vectors, n_rows at a time and the rest one by one. */
ALWAYS_INLINE void dot_rows(struct block b, const struct rows *w, float *to, size_t to_stride)
{
    const size_t at_once = b.n_rows;
    size_t r = 0;
    for (; r + at_once <= w->n_rows; r += at_once) {
        b.w = w->at + r * w->stride;
        dot_block(b, w->n_cols, to + r, to_stride);
    }
    b.n_rows = 1;
    for (; r < w->n_rows; r++) {
        b.w = w->at + r * w->stride;
        dot_block(b, w->n_cols, to + r, to_stride);
    }
}

ALWAYS_INLINE void dot_one(enum number type, const struct rows *w, const float *x, float *to)
{
    dot_rows((struct block){type, 4, 1, NULL, w->stride, x, 0}, w, to, 0);
}

static void dot_f32(const struct rows *w, const struct vectors *x, float *to, size_t to_stride)
{
    size_t v = 0;
    for (; v + 6 <= x->n; v += 6)
        dot_rows(
            (struct block){NUMBER_F32, 4, 6, NULL, w->stride, x->at + v * x->stride, x->stride}, w,
            to + v * to_stride, to_stride);
    for (; v + 2 <= x->n; v += 2)
        dot_rows(
            (struct block){NUMBER_F32, 4, 2, NULL, w->stride, x->at + v * x->stride, x->stride}, w,
            to + v * to_stride, to_stride);
    if (v < x->n)
        dot_one(NUMBER_F32, w, x->at + v * x->stride, to + v * to_stride);
}

static void dot(const struct rows *w, const struct vectors *x, float *to, size_t to_stride)
{
    if (w->type == NUMBER_F32) {
        dot_f32(w, x, to, to_stride);
        return;
    }
    for (size_t v = 0; v < x->n; v++) {
        if (w->type == NUMBER_F16)
            dot_one(NUMBER_F16, w, x->at + v * x->stride, to + v * to_stride);
        else
            dot_one(NUMBER_BF16, w, x->at + v * x->stride, to + v * to_stride);
    }
}

ALWAYS_INLINE void blend16(enum number type, const struct rows *w, size_t col, const float *weight,
                           float *to)
{
    const size_t bytes = type == NUMBER_F32 ? 4 : 2;
    const __mmask16 mask = mask_of(w->n_cols - col);
    __m512 sum = _mm512_setzero_ps();
    for (size_t r = 0; r < w->n_rows; r++)
        sum = _mm512_fmadd_ps(_mm512_set1_ps(weight[r]),
                              load16(type, w->at + r * w->stride + col * bytes, mask), sum);
    _mm512_mask_storeu_ps(to + col, mask, sum);
}

static void blend(const struct rows *w, const float *weight, float *to)
{
    for (size_t col = 0; col < w->n_cols; col += SUM_LANES) {
        if (w->type == NUMBER_F32)
            blend16(NUMBER_F32, w, col, weight, to);
        else if (w->type == NUMBER_F16)
            blend16(NUMBER_F16, w, col, weight, to);
        else
            blend16(NUMBER_BF16, w, col, weight, to);
    }
}

static void widen(enum number type, const uint8_t *from, size_t n, float *to)
{
    if (type == NUMBER_F32) {
        memcpy(to, from, n * sizeof(float));
        return;
    }
    for (size_t i = 0; i < n; i += SUM_LANES) {
        __mmask16 mask = mask_of(n - i);
        __m512 wide = type == NUMBER_F16 ? load16(NUMBER_F16, from + 2 * i, mask)
                                         : load16(NUMBER_BF16, from + 2 * i, mask);
        _mm512_mask_storeu_ps(to + i, mask, wide);
    }
}

const struct math_kernels math_kernels_avx512 = {
    "avx512", dot, blend, widen, resident_dot_avx2, resident_widen_avx2, NULL};
