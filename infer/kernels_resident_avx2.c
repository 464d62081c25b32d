/* A block of 64 weights is three vectors: 2 x 32 low bytes and 64 codes.  A byte shuffle looks 32
 * codes up at once; interleaved with the low bytes they are 16-bit weights, the lower of each pair
 * one of eight columns, the upper one of the next eight: a shift and a mask make floats of them.
 * 25 instructions and 8 multiply-adds.  Bit-equal to kernels_scalar.c.
 *
 * Zen 3, 268 MB of weights, two threads: 30 GB/s of them (40 of the BF16 that they stand for),
 * where BF16 itself comes at 28; without the prefetch 23 (a prototype that is not kept; for the
 * product see docs/benchmarks.md, "The runner"). */
#include "kernels_resident.h"

#include <immintrin.h>
#include <string.h>

#define ALWAYS_INLINE static inline __attribute__((always_inline))

enum {
    GROUPS = WEIR_RESIDENT_BLOCK / SUM_LANES,
    PREFETCH_BYTES = 2048,
};

/* Of 64 columns; two vectors are 16 of them. */
struct wide_block {
    __m256 low[GROUPS], high[GROUPS];
};

ALWAYS_INLINE __m256i load_table(const struct resident_row *row)
{
    return _mm256_broadcastsi128_si256(_mm_loadu_si128((const __m128i *)(const void *)row->high));
}

ALWAYS_INLINE __m256i load32(const uint8_t *at)
{
    return _mm256_loadu_si256((const __m256i *)(const void *)at);
}

ALWAYS_INLINE struct wide_block decode(const uint8_t *block, __m256i table)
{
    const __m256i nibble = _mm256_set1_epi8(15);
    const __m256i upper = _mm256_set1_epi32((int)0xffff0000);
    __m256i codes = load32(block + WEIR_RESIDENT_BLOCK);
    __m256i l[2] = {load32(block), load32(block + 32)};
    __m256i h[2] = {
        _mm256_shuffle_epi8(table, _mm256_and_si256(codes, nibble)),
        _mm256_shuffle_epi8(table, _mm256_and_si256(_mm256_srli_epi16(codes, 4), nibble))};
    struct wide_block out;
    for (size_t q = 0; q < GROUPS; q++) {
        __m256i pair = q % 2 ? _mm256_unpackhi_epi8(l[q / 2], h[q / 2])
                             : _mm256_unpacklo_epi8(l[q / 2], h[q / 2]);
        out.low[q] = _mm256_castsi256_ps(_mm256_slli_epi32(pair, 16));
        out.high[q] = _mm256_castsi256_ps(_mm256_and_si256(pair, upper));
    }
    return out;
}

/* The block as numbers, with its exceptions, which begin at *e; zeros behind n_cols. */
static void write_block(const struct resident_row *row, __m256i table, size_t b, size_t *e,
                        float *to)
{
    struct wide_block w = decode(row->blocks + b * WEIR_RESIDENT_BLOCK_BYTES, table);
    for (size_t q = 0; q < GROUPS; q++) {
        _mm256_storeu_ps(to + SUM_LANES * q, w.low[q]);
        _mm256_storeu_ps(to + SUM_LANES * q + 8, w.high[q]);
    }
    const size_t first = b * WEIR_RESIDENT_BLOCK;
    for (; *e < row->n_exceptions && row->exception[*e].column < first + WEIR_RESIDENT_BLOCK;
         ++*e) {
        uint32_t bits = (uint32_t)row->exception[*e].weight << 16;
        memcpy(to + (row->exception[*e].column - first), &bits, sizeof(bits));
    }
    for (size_t c = 0; c < WEIR_RESIDENT_BLOCK; c++)
        if (first + c >= row->n_cols)
            to[c] = 0;
}

struct sums {
    __m256 low, high;
};

/* Blocks first .. end - 1, whole and without exceptions. */
ALWAYS_INLINE struct sums add_blocks(const struct resident_row *row, __m256i table, size_t first,
                                     size_t end, const float *x, struct sums s)
{
    for (size_t b = first; b < end; b++) {
        const uint8_t *block = row->blocks + b * WEIR_RESIDENT_BLOCK_BYTES;
        const float *at = x + b * WEIR_RESIDENT_BLOCK;
        _mm_prefetch((const char *)block + PREFETCH_BYTES, _MM_HINT_T0);
        _mm_prefetch((const char *)block + PREFETCH_BYTES + 64, _MM_HINT_T0);
        struct wide_block w = decode(block, table);
        for (size_t q = 0; q < GROUPS; q++) {
            s.low = _mm256_fmadd_ps(w.low[q], _mm256_loadu_ps(at + SUM_LANES * q), s.low);
            s.high = _mm256_fmadd_ps(w.high[q], _mm256_loadu_ps(at + SUM_LANES * q + 8), s.high);
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

float resident_dot_avx2(const struct resident_row *row, const float *x)
{
    if (!row->high)
        return steps_dot_avx2(row, x);
    const __m256i table = load_table(row);
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
        s = add_blocks(row, table, b, stop, x, s);
        if (b < stop)
            b = stop;
        if (b == n_blocks)
            break;
        size_t left = whole_lanes(row->n_cols) - b * WEIR_RESIDENT_BLOCK;
        write_block(row, table, b, &e, plain);
        s = add_plain(plain, x + b * WEIR_RESIDENT_BLOCK,
                      left < WEIR_RESIDENT_BLOCK ? left : WEIR_RESIDENT_BLOCK, s);
    }
    return add_lanes(s);
}

void resident_widen_avx2(const struct resident_row *row, float *to)
{
    if (!row->high) {
        steps_widen_avx2(row, to);
        return;
    }
    const __m256i table = load_table(row);
    size_t e = 0;
    for (size_t b = 0; b * WEIR_RESIDENT_BLOCK < row->n_cols; b++)
        write_block(row, table, b, &e, to + b * WEIR_RESIDENT_BLOCK);
}
