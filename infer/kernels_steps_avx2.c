/* A block of 64 whole steps is 64 bytes.  Eight of them become floats, are multiplied with the
 * step, exactly, and rounded to BF16 by adding and taking away a number so large that what is left
 * has BF16's eight bits: 1.5 times 2^16 of the product's own power of two, so that ties go to even
 * as they should.  Seven instructions and a multiply-add for eight weights.  Bit-equal to
 * kernels_scalar.c. */
#include <immintrin.h>
#include <string.h>

#include "kernels_resident.h"

#define ALWAYS_INLINE static inline __attribute__((always_inline))

enum {
    GROUPS = WEIR_RESIDENT_BLOCK / SUM_LANES,
    PREFETCH_BYTES = 2048,
    EXPONENT = 0x7f800000,
    TIMES_98304 = 16 << 23 | 1 << 22, /* added to a power of two's bits: 1.5 times 2^16 of it */
};

ALWAYS_INLINE __m256 decode8(const uint8_t *numbers, __m256 step)
{
    const __m128i bytes = _mm_loadl_epi64((const __m128i *)(const void *)numbers);
    const __m256 exact = _mm256_mul_ps(_mm256_cvtepi32_ps(_mm256_cvtepi8_epi32(bytes)), step);
    const __m256i power = _mm256_and_si256(_mm256_castps_si256(exact), _mm256_set1_epi32(EXPONENT));
    const __m256 large =
        _mm256_castsi256_ps(_mm256_add_epi32(power, _mm256_set1_epi32(TIMES_98304)));
    return _mm256_sub_ps(_mm256_add_ps(exact, large), large);
}

/* Block b as numbers, with its exceptions, which begin at *e; zeros behind n_cols, as stored. */
static void write_block(const struct resident_row *row, __m256 step, size_t b, size_t *e, float *to)
{
    const size_t first = b * WEIR_RESIDENT_BLOCK;
    for (size_t c = 0; c < WEIR_RESIDENT_BLOCK; c += 8)
        _mm256_storeu_ps(to + c, decode8(row->blocks + first + c, step));
    for (; *e < row->n_exceptions && row->exception[*e].column < first + WEIR_RESIDENT_BLOCK;
         ++*e) {
        uint32_t bits = (uint32_t)row->exception[*e].weight << 16;
        memcpy(to + (row->exception[*e].column - first), &bits, sizeof(bits));
    }
}

struct sums {
    __m256 low, high;
};

/* Blocks first .. end - 1, whole and without exceptions. */
ALWAYS_INLINE struct sums add_blocks(const struct resident_row *row, __m256 step, size_t first,
                                     size_t end, const float *x, struct sums s)
{
    for (size_t b = first; b < end; b++) {
        const uint8_t *block = row->blocks + b * WEIR_RESIDENT_BLOCK;
        const float *at = x + b * WEIR_RESIDENT_BLOCK;
        _mm_prefetch((const char *)block + PREFETCH_BYTES, _MM_HINT_T0);
        for (size_t q = 0; q < GROUPS; q++) {
            const size_t c = SUM_LANES * q;
            s.low = _mm256_fmadd_ps(decode8(block + c, step), _mm256_loadu_ps(at + c), s.low);
            s.high =
                _mm256_fmadd_ps(decode8(block + c + 8, step), _mm256_loadu_ps(at + c + 8), s.high);
        }
    }
    return s;
}

/* n columns, a multiple of SUM_LANES, that are numbers already. */
static struct sums add_plain(const float *w, const float *x, size_t n, struct sums s)
{
    for (size_t c = 0; c < n; c += SUM_LANES) {
        s.low = _mm256_fmadd_ps(_mm256_loadu_ps(w + c), _mm256_loadu_ps(x + c), s.low);
        s.high = _mm256_fmadd_ps(_mm256_loadu_ps(w + c + 8), _mm256_loadu_ps(x + c + 8), s.high);
    }
    return s;
}

static float add_lanes(struct sums s)
{
    __m256 s8 = _mm256_add_ps(s.low, s.high);
    __m128 s4 = _mm_add_ps(_mm256_castps256_ps128(s8), _mm256_extractf128_ps(s8, 1));
    __m128 s2 = _mm_add_ps(s4, _mm_movehl_ps(s4, s4));
    return _mm_cvtss_f32(_mm_add_ss(s2, _mm_movehdup_ps(s2)));
}

float steps_dot_avx2(const struct resident_row *row, const float *x)
{
    const __m256 step = _mm256_set1_ps(row->step);
    const size_t n_whole = row->n_cols / WEIR_RESIDENT_BLOCK;
    const size_t n_blocks = (row->n_cols + WEIR_RESIDENT_BLOCK - 1) / WEIR_RESIDENT_BLOCK;
    struct sums s = {_mm256_setzero_ps(), _mm256_setzero_ps()};
    float plain[WEIR_RESIDENT_BLOCK];
    size_t e = 0;
    for (size_t b = 0; b < n_blocks; b++) {
        size_t stop =
            e < row->n_exceptions ? row->exception[e].column / WEIR_RESIDENT_BLOCK : n_whole;
        if (stop > n_whole)
            stop = n_whole;
        s = add_blocks(row, step, b, stop, x, s);
        if (b < stop)
            b = stop;
        if (b == n_blocks)
            break;
        size_t left = whole_lanes(row->n_cols) - b * WEIR_RESIDENT_BLOCK;
        write_block(row, step, b, &e, plain);
        s = add_plain(plain, x + b * WEIR_RESIDENT_BLOCK,
                      left < WEIR_RESIDENT_BLOCK ? left : WEIR_RESIDENT_BLOCK, s);
    }
    return add_lanes(s);
}

void steps_widen_avx2(const struct resident_row *row, float *to)
{
    const __m256 step = _mm256_set1_ps(row->step);
    size_t e = 0;
    for (size_t b = 0; b * WEIR_RESIDENT_BLOCK < row->n_cols; b++)
        write_block(row, step, b, &e, to + b * WEIR_RESIDENT_BLOCK);
}

void steps_block_avx2(const struct resident_row *row, size_t b, size_t *e,
                      float to[WEIR_RESIDENT_BLOCK])
{
    write_block(row, _mm256_set1_ps(row->step), b, e, to);
}
