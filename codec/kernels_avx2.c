/* Eight states to a vector, eight vectors to a row.  Bit-equal to kernels_scalar.c, which also
 * takes the rows at the end of the words that vector loads could read past. */
#include "kernels.h"

#include <immintrin.h>
#include <string.h>

#include "items.h"
#include "perm8.h"

enum {
    GROUPS = WEIR_LANES / 8,
    ROW_READ = 2 * WEIR_LANES + 16, /* bytes that decoding one row may touch */
};

static __m256i unpack_perm(uint32_t packed)
{
    const __m256i nibble = _mm256_setr_epi32(0, 4, 8, 12, 16, 20, 24, 28);
    return _mm256_srlv_epi32(_mm256_set1_epi32((int)packed), nibble);
}

/* 32 indices, one in the top byte of each lane, to 32 bytes in lane order. */
static __m256i pack_top_bytes(const __m256i e[4])
{
    __m256i a = _mm256_packus_epi32(_mm256_srli_epi32(e[0], 24), _mm256_srli_epi32(e[1], 24));
    __m256i b = _mm256_packus_epi32(_mm256_srli_epi32(e[2], 24), _mm256_srli_epi32(e[3], 24));
    return _mm256_permutevar8x32_epi32(_mm256_packus_epi16(a, b),
                                       _mm256_setr_epi32(0, 4, 1, 5, 2, 6, 3, 7));
}

static const uint8_t *decode_row(const struct rans_decode_table *table, __m256i x[GROUPS],
                                 const uint8_t *at, uint8_t *index)
{
    const __m256i slots = _mm256_set1_epi32(RANS_SLOTS - 1), zero = _mm256_setzero_si256();
    __m256i e[GROUPS];
    for (int g = 0; g < GROUPS; g++) {
        e[g] = _mm256_i32gather_epi32((const int *)table->entry, _mm256_and_si256(x[g], slots), 4);
        __m256i f = _mm256_and_si256(_mm256_srli_epi32(e[g], 12), slots);
        __m256i y = _mm256_mullo_epi32(f, _mm256_srli_epi32(x[g], WEIR_PROB_BITS));
        y = _mm256_add_epi32(y, _mm256_and_si256(e[g], slots));
        __m256i low = _mm256_cmpeq_epi32(_mm256_srli_epi32(y, 16), zero);
        unsigned mask = (unsigned)_mm256_movemask_ps(_mm256_castsi256_ps(low));
        __m256i words = _mm256_cvtepu16_epi32(_mm_loadu_si128((const __m128i *)(const void *)at));
        words = _mm256_permutevar8x32_epi32(words, unpack_perm(expand8[mask]));
        __m256i taken = _mm256_or_si256(_mm256_slli_epi32(y, 16), words);
        x[g] = _mm256_blendv_epi8(y, taken, low);
        at += 2 * (unsigned)__builtin_popcount(mask);
    }
    _mm256_storeu_si256((__m256i *)(void *)index, pack_top_bytes(e));
    _mm256_storeu_si256((__m256i *)(void *)(index + 32), pack_top_bytes(e + 4));
    return at;
}

static bool decode_rows(const struct rans_decode_table *table, struct rans_reader *r,
                        uint8_t *index, size_t n_rows)
{
    __m256i x[GROUPS];
    memcpy(x, r->x, sizeof(x));
    for (; n_rows && r->end - r->at >= ROW_READ; n_rows--, index += WEIR_LANES)
        r->at = decode_row(table, x, r->at, index);
    memcpy(r->x, x, sizeof(x));
    return weir_kernels_scalar.decode_rows(table, r, index, n_rows);
}

/* floor(y / f) for y < f * 2^20, f < 4096, exactly.  The quotient in floats is off by one at most:
 * it is below 2^20, two roundings of 2^-24 move it by 1/8, and the bit of y that halving drops (so
 * that the signed conversion takes it) by 1/f, which for y < 2^24 is the only error in y. */
static __m256i divide(__m256i y, __m256i f, __m256i *remainder)
{
    __m256 half = _mm256_cvtepi32_ps(_mm256_srli_epi32(y, 1));
    __m256 quotient = _mm256_div_ps(_mm256_add_ps(half, half), _mm256_cvtepi32_ps(f));
    __m256i q = _mm256_cvttps_epi32(quotient);
    __m256i rest = _mm256_sub_epi32(y, _mm256_mullo_epi32(q, f));
    __m256i under = _mm256_srai_epi32(rest, 31); /* -1 where q is one too many */
    q = _mm256_add_epi32(q, under);
    rest = _mm256_add_epi32(rest, _mm256_and_si256(under, f));
    __m256i fits = _mm256_cmpgt_epi32(f, rest); /* 0 where q is one too few */
    q = _mm256_add_epi32(q, _mm256_andnot_si256(fits, _mm256_set1_epi32(1)));
    *remainder = _mm256_sub_epi32(rest, _mm256_andnot_si256(fits, f));
    return q;
}

/* Lanes 8g to 8g + 7 of one row.  The full lanes' words go in front of `words`, in lane order;
 * what is stored before them is overwritten later.  Returns the first of them. */
static uint8_t *encode_group(const struct rans_encode_table *table, __m256i *x,
                             const uint8_t *index, uint8_t *words)
{
    const __m256i half = _mm256_set1_epi32(0xffff);
    __m256i j = _mm256_cvtepu8_epi32(_mm_loadl_epi64((const __m128i *)(const void *)index));
    __m256i e = _mm256_i32gather_epi32((const int *)table->entry, j, 4);
    __m256i f = _mm256_and_si256(e, half);
    __m256i limit = _mm256_slli_epi32(f, 20);
    __m256i full = _mm256_cmpeq_epi32(_mm256_max_epu32(*x, limit), *x);
    unsigned mask = (unsigned)_mm256_movemask_ps(_mm256_castsi256_ps(full));

    __m256i out = _mm256_permutevar8x32_epi32(*x, unpack_perm(collect8[mask]));
    out = _mm256_and_si256(out, half);
    _mm_storeu_si128(
        (__m128i *)(void *)(words - 16),
        _mm_packus_epi32(_mm256_castsi256_si128(out), _mm256_extracti128_si256(out, 1)));

    __m256i y = _mm256_blendv_epi8(*x, _mm256_srli_epi32(*x, 16), full);
    __m256i rest;
    __m256i q = divide(y, f, &rest);
    *x = _mm256_add_epi32(_mm256_slli_epi32(q, WEIR_PROB_BITS),
                          _mm256_add_epi32(rest, _mm256_srli_epi32(e, 16)));
    return words - 2 * (unsigned)__builtin_popcount(mask);
}

static uint8_t *encode_rows(const struct rans_encode_table *table, uint32_t *state,
                            const uint8_t *index, size_t n_rows, uint8_t *words)
{
    __m256i x[GROUPS];
    memcpy(x, state, sizeof(x));
    for (size_t row = n_rows; row-- > 0;)
        for (int g = GROUPS; g-- > 0;)
            words = encode_group(table, &x[g], index + row * WEIR_LANES + 8 * g, words);
    memcpy(state, x, sizeof(x));
    return words;
}

const struct weir_kernels weir_kernels_avx2 = {"avx2", decode_rows, encode_rows, join, cut, xxh3};
