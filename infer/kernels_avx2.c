/* Two vectors of eight are the sixteen lanes.  Bit-equal to kernels_scalar.c.
 *
 * A block of rows times a block of vectors stays in registers: 4 x 1 for one vector, where loading
 * the weights is all the work, and 2 x 3 for several, where twelve sums keep both multipliers
 * busy. */
#include "kernels.h"
#include "kernels_resident.h"

#include <immintrin.h>
#include <string.h>

#define ALWAYS_INLINE static inline __attribute__((always_inline))

enum {
    MAX_ROWS = 4, /* of a block */
    MAX_VECTORS = 3,
    MAX_NUMBER_BYTES = 4,
};

ALWAYS_INLINE __m256 load8(enum number type, const uint8_t *at)
{
    if (type == NUMBER_F32)
        return _mm256_loadu_ps((const float *)(const void *)at);
    __m128i half = _mm_loadu_si128((const __m128i *)(const void *)at);
    if (type == NUMBER_F16)
        return _mm256_cvtph_ps(half);
    return _mm256_castsi256_ps(_mm256_slli_epi32(_mm256_cvtepu16_epi32(half), 16));
}

ALWAYS_INLINE float add_lanes(__m256 low, __m256 high)
{
    __m256 s8 = _mm256_add_ps(low, high);
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

/* Sixteen columns: eight, then eight, so that at most half of the operands are in registers. */
ALWAYS_INLINE void step(const struct block *b, size_t n_rows, size_t n_vectors,
                        __m256 sum[MAX_ROWS][MAX_VECTORS][2])
{
    const size_t bytes = b->type == NUMBER_F32 ? 4 : 2;
#pragma GCC unroll 8
    for (size_t half = 0; half < 2; half++) {
        __m256 x[MAX_VECTORS];
#pragma GCC unroll 8
        for (size_t v = 0; v < n_vectors; v++)
            x[v] = _mm256_loadu_ps(b->x + v * b->x_stride + 8 * half);
#pragma GCC unroll 8
        for (size_t r = 0; r < n_rows; r++) {
            __m256 w = load8(b->type, b->w + r * b->w_stride + 8 * half * bytes);
#pragma GCC unroll 8
            for (size_t v = 0; v < n_vectors; v++)
                sum[r][v][half] = _mm256_fmadd_ps(w, x[v], sum[r][v][half]);
        }
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
    __m256 sum[MAX_ROWS][MAX_VECTORS][2];
#pragma GCC unroll 8
    for (size_t r = 0; r < n_rows; r++)
#pragma GCC unroll 8
        for (size_t v = 0; v < n_vectors; v++)
            sum[r][v][0] = sum[r][v][1] = _mm256_setzero_ps();
    for (; left >= SUM_LANES; left -= SUM_LANES) {
        step(&b, n_rows, n_vectors, sum);
        b.w += SUM_LANES * bytes;
        b.x += SUM_LANES;
    }
    if (left) {
        uint8_t tail[MAX_ROWS][SUM_LANES * MAX_NUMBER_BYTES] = {{0}};
#pragma GCC unroll 8
        for (size_t r = 0; r < n_rows; r++)
            memcpy(tail[r], b.w + r * b.w_stride, left * bytes);
        b.w = tail[0];
        b.w_stride = sizeof(tail[0]);
        step(&b, n_rows, n_vectors, sum);
    }
#pragma GCC unroll 8
    for (size_t r = 0; r < n_rows; r++)
#pragma GCC unroll 8
        for (size_t v = 0; v < n_vectors; v++)
            to[v * to_stride + r] = add_lanes(sum[r][v][0], sum[r][v][1]);
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
    for (; v + 3 <= x->n; v += 3)
        dot_rows(
            (struct block){NUMBER_F32, 2, 3, NULL, w->stride, x->at + v * x->stride, x->stride}, w,
            to + v * to_stride, to_stride);
    if (v + 2 == x->n)
        dot_rows(
            (struct block){NUMBER_F32, 2, 2, NULL, w->stride, x->at + v * x->stride, x->stride}, w,
            to + v * to_stride, to_stride);
    else if (v < x->n)
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

/* Eight columns of all rows; `n` of them are there. */
ALWAYS_INLINE void blend8(enum number type, const struct rows *w, size_t col, const float *weight,
                          float *to)
{
    const size_t bytes = type == NUMBER_F32 ? 4 : 2;
    size_t n = w->n_cols - col;
    __m256 sum = _mm256_setzero_ps();
    float out[8];
    for (size_t r = 0; r < w->n_rows; r++) {
        const uint8_t *at = w->at + r * w->stride + col * bytes;
        uint8_t tail[8 * MAX_NUMBER_BYTES] = {0};
        if (n < 8)
            at = memcpy(tail, at, n * bytes);
        sum = _mm256_fmadd_ps(_mm256_set1_ps(weight[r]), load8(type, at), sum);
    }
    _mm256_storeu_ps(out, sum);
    memcpy(to + col, out, (n < 8 ? n : 8) * sizeof(float));
}

static void blend(const struct rows *w, const float *weight, float *to)
{
    for (size_t col = 0; col < w->n_cols; col += 8) {
        if (w->type == NUMBER_F32)
            blend8(NUMBER_F32, w, col, weight, to);
        else if (w->type == NUMBER_F16)
            blend8(NUMBER_F16, w, col, weight, to);
        else
            blend8(NUMBER_BF16, w, col, weight, to);
    }
}

static void widen(enum number type, const uint8_t *from, size_t n, float *to)
{
    if (type == NUMBER_F32) {
        memcpy(to, from, n * sizeof(float));
        return;
    }
    size_t i = 0;
    for (; i + 8 <= n; i += 8)
        _mm256_storeu_ps(to + i, type == NUMBER_F16 ? load8(NUMBER_F16, from + 2 * i)
                                                    : load8(NUMBER_BF16, from + 2 * i));
    if (i < n) {
        uint8_t tail[16] = {0};
        float out[8];
        memcpy(tail, from + 2 * i, 2 * (n - i));
        _mm256_storeu_ps(out,
                         type == NUMBER_F16 ? load8(NUMBER_F16, tail) : load8(NUMBER_BF16, tail));
        memcpy(to + i, out, (n - i) * sizeof(float));
    }
}

const struct math_kernels math_kernels_avx2 = {
    "avx2", dot, blend, widen, resident_dot_avx2, resident_widen_avx2, NULL};
