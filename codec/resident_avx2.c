/* The way back of the decoding kernels: words that belong together are put into pairs, and their
 * bytes packed, which brings them to their places.  A high byte is compared with each of the 16.
 * perf of a first pass over a model of 1.1 G weights, Zen 3: a tenth of it, where two look-ups a
 * weight were two fifths. */
#include "resident_block.h"

#include <immintrin.h>

enum { VECTORS = 4, WORDS = 16 };

/* Columns 16q + i and 16q + 8 + i side by side. */
static inline __m256i load_pairs(const uint16_t *weights)
{
    __m256i even = _mm256_cvtepu16_epi32(_mm_loadu_si128((const __m128i *)(const void *)weights));
    __m256i odd =
        _mm256_cvtepu16_epi32(_mm_loadu_si128((const __m128i *)(const void *)(weights + 8)));
    return _mm256_or_si256(even, _mm256_slli_epi32(odd, 16));
}

/* Adds the code of the bytes that equal code->high[k]. */
static inline void code_one(const struct weir_resident_code *code, size_t k, const __m256i *high,
                            __m256i *codes, __m256i *known)
{
    const __m256i byte = _mm256_set1_epi8((char)code->high[k]);
    const __m256i number = _mm256_set1_epi8((char)k);
    for (size_t i = 0; i < 2; i++) {
        __m256i equal = _mm256_cmpeq_epi8(high[i], byte);
        codes[i] = _mm256_or_si256(codes[i], _mm256_and_si256(equal, number));
        known[i] = _mm256_or_si256(known[i], equal);
    }
}

unsigned resident_block_avx2(const struct weir_resident_code *code,
                             const uint16_t weights[WEIR_RESIDENT_BLOCK], uint8_t *block)
{
    const __m256i low_bytes = _mm256_set1_epi16(0xff);
    __m256i u[VECTORS], low[2], high[2];
    for (size_t q = 0; q < VECTORS; q++)
        u[q] = load_pairs(weights + WORDS * q);
    for (size_t i = 0; i < 2; i++) {
        low[i] = _mm256_packus_epi16(_mm256_and_si256(u[2 * i], low_bytes),
                                     _mm256_and_si256(u[2 * i + 1], low_bytes));
        high[i] =
            _mm256_packus_epi16(_mm256_srli_epi16(u[2 * i], 8), _mm256_srli_epi16(u[2 * i + 1], 8));
    }
    __m256i codes[2] = {_mm256_setzero_si256(), _mm256_setzero_si256()};
    __m256i known[2] = {_mm256_setzero_si256(), _mm256_setzero_si256()};
    for (size_t k = 0; k < WEIR_RESIDENT_CODES; k++)
        code_one(code, k, high, codes, known);
    __m256i *to = (__m256i *)(void *)block;
    _mm256_storeu_si256(to, low[0]);
    _mm256_storeu_si256(to + 1, low[1]);
    _mm256_storeu_si256(to + 2, _mm256_or_si256(codes[0], _mm256_slli_epi16(codes[1], 4)));
    unsigned n_known = (unsigned)_mm_popcnt_u32((unsigned)_mm256_movemask_epi8(known[0])) +
                       (unsigned)_mm_popcnt_u32((unsigned)_mm256_movemask_epi8(known[1]));
    return WEIR_RESIDENT_BLOCK - n_known;
}
