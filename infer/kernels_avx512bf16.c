/* Products of BF16 pairs: vdpbf16ps, 32 columns an instruction.  For those who ask for it, because
 * it gives other bits than all other kernels (kernels.h says which).
 *
 * Blocks of 4 rows x 1 vector, and 4 x 6 for several, as in kernels_avx512.c; vectors are rounded
 * on the way, 32 columns for every 4 rows.  Of the resident form 64 weights become two vectors of
 * words, put into the order of the columns by one permutation each.  F32 and F16 rows are
 * multiplied as by kernels_avx512.c. */
#include "kernels.h"
#include "kernels_resident.h"

#include <immintrin.h>
#include <string.h>

#define ALWAYS_INLINE static inline __attribute__((always_inline))

enum {
    STEP = 2 * SUM_LANES, /* columns of an instruction */
    MAX_ROWS = 4,
    MAX_VECTORS = 6,
    PREFETCH_BYTES = 2048,
};

/* Columns of a vector, rounded.  Behind the first `left` (> 0) of them there are zeros up to whole
 * lanes, and nothing is read beyond those. */
ALWAYS_INLINE __m512bh round_step(const float *x, size_t left)
{
    __m512 low = _mm512_loadu_ps(x);
    __m512 high = left > SUM_LANES ? _mm512_loadu_ps(x + SUM_LANES) : _mm512_setzero_ps();
    return _mm512_cvtne2ps_pbh(high, low);
}

ALWAYS_INLINE __mmask32 mask_of(size_t left)
{
    return left < STEP ? ((__mmask32)1 << left) - 1 : 0xffffffff;
}

ALWAYS_INLINE float add_lanes(__m512 sum)
{
    __m256 high = _mm256_castpd_ps(_mm512_extractf64x4_pd(_mm512_castps_pd(sum), 1));
    __m256 s8 = _mm256_add_ps(_mm512_castps512_ps256(sum), high);
    __m128 s4 = _mm_add_ps(_mm256_castps256_ps128(s8), _mm256_extractf128_ps(s8, 1));
    __m128 s2 = _mm_add_ps(s4, _mm_movehl_ps(s4, s4));
    return _mm_cvtss_f32(_mm_add_ss(s2, _mm_movehdup_ps(s2)));
}

/* ---- rows as they are ---- */

struct block {
    size_t n_rows, n_vectors;
    const uint8_t *w;
    size_t w_stride;
    const float *x;
    size_t x_stride;
};

ALWAYS_INLINE void step(const struct block *b, size_t n_rows, size_t n_vectors, size_t left,
                        __m512 sum[MAX_ROWS][MAX_VECTORS])
{
    __m512bh x[MAX_VECTORS];
#pragma GCC unroll 8
    for (size_t v = 0; v < n_vectors; v++)
        x[v] = round_step(b->x + v * b->x_stride, left);
#pragma GCC unroll 8
    for (size_t r = 0; r < n_rows; r++) {
        __m512bh w = (__m512bh)_mm512_maskz_loadu_epi16(mask_of(left), b->w + r * b->w_stride);
#pragma GCC unroll 8
        for (size_t v = 0; v < n_vectors; v++)
            sum[r][v] = _mm512_dpbf16_ps(sum[r][v], w, x[v]);
    }
}

/* Every count is a constant, so that after inlining the sums live in registers. */
ALWAYS_INLINE void dot_block(struct block b, size_t n_cols, float *to, size_t to_stride)
{
    const size_t n_rows = b.n_rows, n_vectors = b.n_vectors;
    size_t left = n_cols;
    __m512 sum[MAX_ROWS][MAX_VECTORS];
#pragma GCC unroll 8
    for (size_t r = 0; r < n_rows; r++)
#pragma GCC unroll 8
        for (size_t v = 0; v < n_vectors; v++)
            sum[r][v] = _mm512_setzero_ps();
    for (; left >= STEP; left -= STEP) {
        step(&b, n_rows, n_vectors, STEP, sum);
        b.w += STEP * sizeof(uint16_t);
        b.x += STEP;
    }
    if (left)
        step(&b, n_rows, n_vectors, left, sum);
#pragma GCC unroll 8
    for (size_t r = 0; r < n_rows; r++)
#pragma GCC unroll 8
        for (size_t v = 0; v < n_vectors; v++)
            to[v * to_stride + r] = add_lanes(sum[r][v]);
}

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

static void dot(const struct rows *w, const struct vectors *x, float *to, size_t to_stride)
{
    if (w->type != NUMBER_BF16) {
        math_kernels_avx512.dot(w, x, to, to_stride);
        return;
    }
    size_t v = 0;
    for (; v + MAX_VECTORS <= x->n; v += MAX_VECTORS)
        dot_rows((struct block){MAX_ROWS, MAX_VECTORS, NULL, w->stride, x->at + v * x->stride,
                                x->stride},
                 w, to + v * to_stride, to_stride);
    for (; v < x->n; v++)
        dot_rows((struct block){MAX_ROWS, 1, NULL, w->stride, x->at + v * x->stride, 0}, w,
                 to + v * to_stride, to_stride);
}

/* ---- the resident form ---- */

struct tables {
    __m512i high;          /* in each 16 bytes: high bytes by code */
    __m512i first, second; /* where columns 0-31 and 32-63 are in what interleaving gives */
};

/* Interleaving gives columns k and k + 8 side by side: 0-15 and 32-47 in the lower vector, 16-31
 * and 48-63 in the upper one, whose words have bit 5 set in a permutation of both. */
static struct tables make_tables(const struct resident_row *row)
{
    uint16_t order[2][STEP];
    for (unsigned c = 0; c < STEP; c++) {
        order[0][c] = (uint16_t)((c & 16) << 1 | (c & 7) << 1 | (c >> 3 & 1));
        order[1][c] = order[0][c] | 16;
    }
    struct tables t;
    __m128i high = _mm_loadu_si128((const __m128i *)(const void *)row->high);
    t.high = _mm512_broadcast_i32x4(high);
    t.first = _mm512_loadu_si512(order[0]);
    t.second = _mm512_loadu_si512(order[1]);
    return t;
}

ALWAYS_INLINE void decode(const uint8_t *block, const struct tables *t, __m512i to[2])
{
    __m512i low = _mm512_loadu_si512(block);
    __m256i codes =
        _mm256_loadu_si256((const __m256i *)(const void *)(block + WEIR_RESIDENT_BLOCK));
    __m512i both =
        _mm512_inserti64x4(_mm512_castsi256_si512(codes), _mm256_srli_epi16(codes, 4), 1);
    __m512i high = _mm512_shuffle_epi8(t->high, _mm512_and_si512(both, _mm512_set1_epi8(15)));
    __m512i lower = _mm512_unpacklo_epi8(low, high), upper = _mm512_unpackhi_epi8(low, high);
    to[0] = _mm512_permutex2var_epi16(lower, t->first, upper);
    to[1] = _mm512_permutex2var_epi16(lower, t->second, upper);
}

/* Block b as words, with its exceptions, which begin at *e; zeros behind the last column. */
static void write_block(const struct resident_row *row, const struct tables *t, size_t b, size_t *e,
                        uint16_t to[WEIR_RESIDENT_BLOCK])
{
    const size_t first = b * WEIR_RESIDENT_BLOCK;
    __m512i words[2];
    decode(row->blocks + b * WEIR_RESIDENT_BLOCK_BYTES, t, words);
    _mm512_storeu_si512(to, words[0]);
    _mm512_storeu_si512(to + STEP, words[1]);
    for (; *e < row->n_exceptions && row->exception[*e].column < first + WEIR_RESIDENT_BLOCK; ++*e)
        to[row->exception[*e].column - first] = row->exception[*e].weight;
    for (size_t c = 0; c < WEIR_RESIDENT_BLOCK; c++)
        if (first + c >= row->n_cols)
            to[c] = 0;
}

/* Blocks first .. end - 1, whole and without exceptions. */
ALWAYS_INLINE __m512 add_blocks(const struct resident_row *row, const struct tables *t,
                                size_t first, size_t end, const float *x, __m512 sum)
{
    for (size_t b = first; b < end; b++) {
        const uint8_t *block = row->blocks + b * WEIR_RESIDENT_BLOCK_BYTES;
        const float *at = x + b * WEIR_RESIDENT_BLOCK;
        __m512i w[2];
        _mm_prefetch((const char *)block + PREFETCH_BYTES, _MM_HINT_T0);
        _mm_prefetch((const char *)block + PREFETCH_BYTES + 64, _MM_HINT_T0);
        decode(block, t, w);
        sum = _mm512_dpbf16_ps(sum, (__m512bh)w[0], round_step(at, STEP));
        sum = _mm512_dpbf16_ps(sum, (__m512bh)w[1], round_step(at + STEP, STEP));
    }
    return sum;
}

static __m512 add_words(const uint16_t *w, const float *x, size_t left, __m512 sum)
{
    for (size_t c = 0; c < left && c < WEIR_RESIDENT_BLOCK; c += STEP)
        sum =
            _mm512_dpbf16_ps(sum, (__m512bh)_mm512_loadu_si512(w + c), round_step(x + c, left - c));
    return sum;
}

/* Of whole steps, as write_block() does it. */
static void write_steps(const struct resident_row *row, size_t b, size_t *e,
                        uint16_t to[WEIR_RESIDENT_BLOCK])
{
    float wide[WEIR_RESIDENT_BLOCK];
    uint32_t bits[WEIR_RESIDENT_BLOCK];
    steps_block_avx2(row, b, e, wide);
    memcpy(bits, wide, sizeof(bits));
    for (size_t c = 0; c < WEIR_RESIDENT_BLOCK; c++)
        to[c] = (uint16_t)(bits[c] >> 16);
}

static float dot_steps(const struct resident_row *row, const float *x)
{
    __m512 sum = _mm512_setzero_ps();
    size_t e = 0;
    for (size_t first = 0; first < row->n_cols; first += WEIR_RESIDENT_BLOCK) {
        uint16_t words[WEIR_RESIDENT_BLOCK];
        write_steps(row, first / WEIR_RESIDENT_BLOCK, &e, words);
        sum = add_words(words, x + first, row->n_cols - first, sum);
    }
    return add_lanes(sum);
}

static float dot_resident(const struct resident_row *row, const float *x)
{
    if (!row->high)
        return dot_steps(row, x);
    const struct tables t = make_tables(row);
    const size_t n_whole = row->n_cols / WEIR_RESIDENT_BLOCK;
    __m512 sum = _mm512_setzero_ps();
    size_t e = 0;
    for (size_t b = 0; b * WEIR_RESIDENT_BLOCK < row->n_cols; b++) {
        size_t stop =
            e < row->n_exceptions ? row->exception[e].column / WEIR_RESIDENT_BLOCK : n_whole;
        stop = stop > n_whole ? n_whole : stop;
        if (b < stop) {
            sum = add_blocks(row, &t, b, stop, x, sum);
            b = stop;
        }
        const size_t first = b * WEIR_RESIDENT_BLOCK;
        if (first >= row->n_cols)
            break;
        uint16_t words[WEIR_RESIDENT_BLOCK];
        write_block(row, &t, b, &e, words);
        sum = add_words(words, x + first, row->n_cols - first, sum);
    }
    return add_lanes(sum);
}

static void unpack_resident(const struct resident_row *row, uint16_t *to)
{
    size_t e = 0;
    for (size_t b = 0; !row->high && b * WEIR_RESIDENT_BLOCK < row->n_cols; b++)
        write_steps(row, b, &e, to + b * WEIR_RESIDENT_BLOCK);
    if (!row->high)
        return;
    const struct tables t = make_tables(row);
    for (size_t b = 0; b * WEIR_RESIDENT_BLOCK < row->n_cols; b++)
        write_block(row, &t, b, &e, to + b * WEIR_RESIDENT_BLOCK);
}

/* ---- as the others do ---- */

static void blend(const struct rows *w, const float *weight, float *to)
{
    math_kernels_avx512.blend(w, weight, to);
}

static void widen(enum number type, const uint8_t *from, size_t n, float *to)
{
    math_kernels_avx512.widen(type, from, n, to);
}

const struct math_kernels math_kernels_avx512bf16 = {
    "avx512bf16", dot, blend, widen, dot_resident, resident_widen_avx2, unpack_resident};
