/* Sixteen states to a vector, four vectors to a row; expand and compress do what kernels_avx2.c
 * needs tables for.  Bit-equal to kernels_scalar.c, which also takes the rows at the end of the
 * words that vector loads could read past. */
#include "kernels.h"

#include <immintrin.h>
#include <string.h>

#include "items.h"

enum {
    GROUPS = WEIR_LANES / 16,
    ROW_READ = 2 * WEIR_LANES + 32, /* bytes that decoding one row may touch */
};

static const uint8_t *decode_row(const struct rans_decode_table *table, __m512i x[GROUPS],
                                 const uint8_t *at, uint8_t *index)
{
    const __m512i slots = _mm512_set1_epi32(RANS_SLOTS - 1), low = _mm512_set1_epi32(RANS_LOW);
    for (int g = 0; g < GROUPS; g++) {
        __m512i e = _mm512_i32gather_epi32(_mm512_and_si512(x[g], slots), table->entry, 4);
        __m512i f = _mm512_and_si512(_mm512_srli_epi32(e, 12), slots);
        __m512i y = _mm512_mullo_epi32(f, _mm512_srli_epi32(x[g], WEIR_PROB_BITS));
        y = _mm512_add_epi32(y, _mm512_and_si512(e, slots));
        __mmask16 mask = _mm512_cmplt_epu32_mask(y, low);
        __m512i words =
            _mm512_cvtepu16_epi32(_mm256_loadu_si256((const __m256i *)(const void *)at));
        words = _mm512_maskz_expand_epi32(mask, words);
        x[g] = _mm512_mask_or_epi32(y, mask, _mm512_slli_epi32(y, 16), words);
        _mm_storeu_si128((__m128i *)(void *)(index + 16 * g),
                         _mm512_cvtepi32_epi8(_mm512_srli_epi32(e, 24)));
        at += 2 * (unsigned)__builtin_popcount(mask);
    }
    return at;
}

static bool decode_rows(const struct rans_decode_table *table, struct rans_reader *r,
                        uint8_t *index, size_t n_rows)
{
    __m512i x[GROUPS];
    memcpy(x, r->x, sizeof(x));
    for (; n_rows && r->end - r->at >= ROW_READ; n_rows--, index += WEIR_LANES)
        r->at = decode_row(table, x, r->at, index);
    memcpy(r->x, x, sizeof(x));
    return weir_kernels_scalar.decode_rows(table, r, index, n_rows);
}

/* As in kernels_avx2.c; here the conversion takes unsigned values, so that no bit is dropped. */
static __m512i divide(__m512i y, __m512i f, __m512i *remainder)
{
    __m512 quotient = _mm512_div_ps(_mm512_cvtepu32_ps(y), _mm512_cvtepi32_ps(f));
    __m512i q = _mm512_cvttps_epi32(quotient);
    __m512i rest = _mm512_sub_epi32(y, _mm512_mullo_epi32(q, f));
    __mmask16 under = _mm512_cmplt_epi32_mask(rest, _mm512_setzero_si512());
    q = _mm512_mask_sub_epi32(q, under, q, _mm512_set1_epi32(1));
    rest = _mm512_mask_add_epi32(rest, under, rest, f);
    __mmask16 over = _mm512_cmpge_epi32_mask(rest, f);
    q = _mm512_mask_add_epi32(q, over, q, _mm512_set1_epi32(1));
    *remainder = _mm512_mask_sub_epi32(rest, over, rest, f);
    return q;
}

/* Lanes 16g to 16g + 15 of one row; the full lanes' words go in front of `words`, in lane order. */
static uint8_t *encode_group(const struct rans_encode_table *table, __m512i *x,
                             const uint8_t *index, uint8_t *words)
{
    __m512i j = _mm512_cvtepu8_epi32(_mm_loadu_si128((const __m128i *)(const void *)index));
    __m512i e = _mm512_i32gather_epi32(j, table->entry, 4);
    __m512i f = _mm512_and_si512(e, _mm512_set1_epi32(0xffff));
    __mmask16 full = _mm512_cmpge_epu32_mask(*x, _mm512_slli_epi32(f, 20));
    unsigned n = (unsigned)__builtin_popcount(full);
    words -= (size_t)2 * n;
    _mm256_mask_storeu_epi16(words, (__mmask16)((1u << n) - 1),
                             _mm512_cvtepi32_epi16(_mm512_maskz_compress_epi32(full, *x)));
    __m512i rest;
    __m512i q = divide(_mm512_mask_srli_epi32(*x, full, *x, 16), f, &rest);
    *x = _mm512_add_epi32(_mm512_slli_epi32(q, WEIR_PROB_BITS),
                          _mm512_add_epi32(rest, _mm512_srli_epi32(e, 16)));
    return words;
}

static uint8_t *encode_rows(const struct rans_encode_table *table, uint32_t *state,
                            const uint8_t *index, size_t n_rows, uint8_t *words)
{
    __m512i x[GROUPS];
    memcpy(x, state, sizeof(x));
    for (size_t row = n_rows; row-- > 0;)
        for (int g = GROUPS; g-- > 0;)
            words = encode_group(table, &x[g], index + row * WEIR_LANES + 16 * g, words);
    memcpy(state, x, sizeof(x));
    return words;
}

const struct weir_kernels weir_kernels_avx512 = {"avx512", decode_rows, encode_rows,
                                                 join,     cut,         xxh3};
