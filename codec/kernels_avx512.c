/* Sixteen states to a vector, four vectors to a row; expand and compress do what kernels_avx2.c
 * needs tables for.  Bit-equal to kernels_scalar.c, which also takes the rows at the end of the
 * words that vector loads could read past. */
#include "kernels.h"

#include <immintrin.h>
#include <string.h>

#include "delta.h"
#include "items.h"
#include "quantise_loops.h"
#include "scale.h"

enum {
    GROUPS = WEIR_LANES / 16,
    ROW_READ = 2 * WEIR_LANES + 32, /* bytes that decoding one row may touch */
    AHEAD_BYTES = 4096,             /* of output, prefetched */
};

/* One row: the table entries, whose top bytes are the indices. */
static const uint8_t *decode_row(const struct rans_decode_table *table, __m512i x[GROUPS],
                                 const uint8_t *at, __m512i e[GROUPS])
{
    const __m512i slots = _mm512_set1_epi32(RANS_SLOTS - 1), low = _mm512_set1_epi32(RANS_LOW);
    for (size_t g = 0; g < GROUPS; g++) {
        e[g] = _mm512_i32gather_epi32(_mm512_and_si512(x[g], slots), table->entry, 4);
        __m512i f = _mm512_and_si512(_mm512_srli_epi32(e[g], 12), slots);
        __m512i y = _mm512_mullo_epi32(f, _mm512_srli_epi32(x[g], WEIR_PROB_BITS));
        y = _mm512_add_epi32(y, _mm512_and_si512(e[g], slots));
        __mmask16 mask = _mm512_cmplt_epu32_mask(y, low);
        __m512i words =
            _mm512_cvtepu16_epi32(_mm256_loadu_si256((const __m256i *)(const void *)at));
        words = _mm512_maskz_expand_epi32(mask, words);
        x[g] = _mm512_mask_or_epi32(y, mask, _mm512_slli_epi32(y, 16), words);
        at += 2 * (size_t)__builtin_popcount(mask);
    }
    return at;
}

static bool decode_rows(const struct rans_decode_table *table, struct rans_reader *r,
                        uint8_t *index, size_t n_rows)
{
    __m512i x[GROUPS];
    memcpy(x, r->x, sizeof(x));
    for (; n_rows && r->end - r->at >= ROW_READ; n_rows--, index += WEIR_LANES) {
        __m512i e[GROUPS];
        r->at = decode_row(table, x, r->at, e);
        for (size_t g = 0; g < GROUPS; g++)
            _mm_storeu_si128((__m128i *)(void *)(index + 16 * g),
                             _mm512_cvtepi32_epi8(_mm512_srli_epi32(e[g], 24)));
    }
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

/* Sixteen lanes of one row, with their table entries; the full lanes' words go in front of `words`,
 * in lane order.  Returns the first of them. */
static uint8_t *encode_group(__m512i e, __m512i *x, uint8_t *words)
{
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
        for (size_t g = GROUPS; g-- > 0;) {
            __m512i j = _mm512_cvtepu8_epi32(_mm_loadu_si128(
                (const __m128i *)(const void *)(index + row * WEIR_LANES + 16 * g)));
            words = encode_group(_mm512_i32gather_epi32(j, table->entry, 4), &x[g], words);
        }
    memcpy(state, x, sizeof(x));
    return words;
}

/* ---- 16-bit items: two vectors of 32 to a row; see kernels_avx2.c ---- */

/* Shift counts and constants of joining, one to a 16-bit element: shifting by a vector is one
 * micro-op, by a register two. */
struct join_16 {
    __m512i mask, base, r_bits, drop;
    bool raw, sign_first;
};

static struct join_16 join_16_make(const struct item_code *code)
{
    return (struct join_16){
        _mm512_set1_epi16((short)((1u << code->raw_bits) - 1)),
        _mm512_set1_epi16((short)code->base),
        _mm512_set1_epi16(code->raw_bits),
        _mm512_set1_epi16(code->drop_bits),
        code->raw_bits > 0,
        code->sign_first,
    };
}

/* Half a row: 32 indices, as 16-bit numbers; their raw bits start `shift` bits into the words at
 * `raw` and, if `spills`, go on in those a row further. */
static __m512i join_group_16(const struct join_16 *k, __m512i j, const uint8_t *raw, unsigned shift,
                             bool spills)
{
    enum { OR_SELECT = 0xf8 /* a | (b & c) */, SELECT = 0xd8 /* b where c, else a */ };
    __m512i c = _mm512_setzero_si512();
    if (k->raw)
        c = _mm512_srlv_epi16(_mm512_loadu_si512(raw), _mm512_set1_epi16((short)shift));
    if (spills)
        c = _mm512_or_si512(c, _mm512_sllv_epi16(_mm512_loadu_si512(raw + 128),
                                                 _mm512_set1_epi16((short)(16 - shift))));
    __m512i symbol = _mm512_maskz_add_epi16(_mm512_test_epi16_mask(j, j), j, k->base);
    c = _mm512_ternarylogic_epi32(_mm512_sllv_epi16(symbol, k->r_bits), c, k->mask, OR_SELECT);
    if (!k->sign_first)
        return _mm512_sllv_epi16(c, k->drop);
    return _mm512_ternarylogic_epi32(_mm512_sllv_epi16(_mm512_srli_epi16(c, 1), k->drop),
                                     _mm512_slli_epi16(c, 15), _mm512_set1_epi16((short)0x8000),
                                     SELECT);
}

static void join_avx512(const struct item_code *code, const uint8_t *index, const uint8_t *raw,
                        size_t first_row, size_t n_rows, uint8_t *items)
{
    if (code->item_bytes != 2) {
        join(code, index, raw, first_row, n_rows, items);
        return;
    }
    const struct join_16 k = join_16_make(code);
    size_t bit = first_row * code->raw_bits;
    for (size_t row = 0; row < n_rows; row++, bit += code->raw_bits, items += 128) {
        unsigned shift = (unsigned)(bit % 16);
        for (size_t g = 0; g < 2; g++) {
            __m512i j = _mm512_cvtepu8_epi16(_mm256_loadu_si256(
                (const __m256i *)(const void *)(index + row * WEIR_LANES + 32 * g)));
            j = join_group_16(&k, j, raw + bit / 16 * 128 + 64 * g, shift,
                              shift + code->raw_bits > 16);
            _mm512_storeu_si512(items + 64 * g, j);
        }
    }
}

/* An address, not a pointer: it may lie past the end. */
static void prefetch_for_writing(uintptr_t at)
{
    __builtin_prefetch((const void *)at, 1, 3);
}

/* In one loop, so that joining fills the gaps of the states' dependency chain, and with the output
 * prefetched: 3.3 GB/s of BF16 memory to memory, 2.9 without the prefetch, 2.4 in two loops. */
static bool decode_items(const struct rans_decode_table *table, const struct item_code *code,
                         struct rans_reader *r, size_t first_row, size_t n_rows, uint8_t *items)
{
    if (code->item_bytes != 2)
        return decode_items_in_chunks(&weir_kernels_avx512, table, code, r, first_row, n_rows,
                                      items);
    const struct join_16 k = join_16_make(code);
    size_t row = 0, bit = first_row * code->raw_bits;
    __m512i x[GROUPS];
    memcpy(x, r->x, sizeof(x));
    for (; row < n_rows && r->end - r->at >= ROW_READ; row++) {
        __m512i e[GROUPS];
        unsigned shift = (unsigned)(bit % 16);
        /* For writing: a fresh page of output costs more than the decoding of it. */
        prefetch_for_writing((uintptr_t)items + AHEAD_BYTES);
        prefetch_for_writing((uintptr_t)items + AHEAD_BYTES + 64);
        r->at = decode_row(table, x, r->at, e);
        for (size_t g = 0; g < 2; g++) {
            __m256i low = _mm512_cvtepi32_epi16(_mm512_srli_epi32(e[2 * g], 24));
            __m256i high = _mm512_cvtepi32_epi16(_mm512_srli_epi32(e[2 * g + 1], 24));
            __m512i j = _mm512_inserti64x4(_mm512_castsi256_si512(low), high, 1);
            j = join_group_16(&k, j, r->raw + bit / 16 * 128 + 64 * g, shift,
                              shift + code->raw_bits > 16);
            _mm512_storeu_si512(items + 64 * g, j);
        }
        bit += code->raw_bits;
        items += 128;
    }
    memcpy(r->x, x, sizeof(x));
    return decode_items_in_chunks(&weir_kernels_avx512, table, code, r, first_row + row,
                                  n_rows - row, items);
}

/* Which of 32 indices have a frequency: bit j % 16 of word j / 16 of a 256-bit set. */
static __mmask32 is_present(__m512i set, __m512i index)
{
    __m512i word = _mm512_permutexvar_epi16(_mm512_srli_epi16(index, 4), set);
    __m512i bit =
        _mm512_sllv_epi16(_mm512_set1_epi16(1), _mm512_and_si512(index, _mm512_set1_epi16(15)));
    return _mm512_test_epi16_mask(word, bit);
}

/* 32 items to codes and indices; returns which have an index and lose no bit. */
static __mmask32 cut_group_16(const struct item_code *code, __m512i set, __m512i v, __m512i *c_out,
                              __m512i *index)
{
    const __m128i drop = _mm_cvtsi32_si128(code->drop_bits);
    const __m128i r_bits = _mm_cvtsi32_si128(code->raw_bits);
    const __m512i lost = _mm512_set1_epi16((short)((1u << code->drop_bits) - 1));
    __m512i c = _mm512_srl_epi16(v, drop);
    if (code->sign_first) {
        __m512i magnitude = _mm512_srli_epi16(_mm512_slli_epi16(v, 1), 1);
        c = _mm512_or_si512(_mm512_slli_epi16(_mm512_srl_epi16(magnitude, drop), 1),
                            _mm512_srli_epi16(v, 15));
    }
    __m512i symbol = _mm512_srl_epi16(c, r_bits);
    __mmask32 not_zero = _mm512_test_epi16_mask(symbol, symbol);
    __m512i j = _mm512_maskz_sub_epi16(not_zero, symbol, _mm512_set1_epi16((short)code->base));
    __m512i before = _mm512_sub_epi16(j, _mm512_set1_epi16(1));
    __mmask32 in = _mm512_cmplt_epu16_mask(before, _mm512_set1_epi16(255)) | (__mmask32)~not_zero;
    __mmask32 ok = in & is_present(set, j) & _mm512_testn_epi16_mask(v, lost);
    *c_out = c;
    *index = _mm512_mask_blend_epi16(ok, _mm512_set1_epi16((short)code->filler), j);
    return ok;
}

/* One row; raw bits join what is pending, and what is pending is stored. */
static uint8_t cut_row_16(const struct item_code *code, __m512i set, const uint8_t *items,
                          unsigned shift, __m512i pending[2], uint8_t *index, uint8_t *raw)
{
    const __m512i mask = _mm512_set1_epi16((short)((1u << code->raw_bits) - 1));
    const __m128i left = _mm_cvtsi32_si128((int)shift), right = _mm_cvtsi32_si128(16 - (int)shift);
    unsigned n_bad = 0;
    for (size_t g = 0; g < 2; g++) {
        __m512i c, j;
        uint8_t *to = raw + 64 * g;
        __mmask32 ok = cut_group_16(code, set, _mm512_loadu_si512(items + 64 * g), &c, &j);
        _mm256_storeu_si256((__m256i *)(void *)(index + 32 * g), _mm512_cvtepi16_epi8(j));
        n_bad += (unsigned)__builtin_popcount((unsigned)~ok);
        if (!code->raw_bits)
            continue;
        c = _mm512_and_si512(c, mask);
        pending[g] = _mm512_or_si512(pending[g], _mm512_sll_epi16(c, left));
        _mm512_storeu_si512(to, pending[g]);
        if (shift + code->raw_bits >= 16)
            pending[g] = _mm512_srl_epi16(c, right); /* a shift by 16 gives 0 */
        if (shift + code->raw_bits > 16)
            _mm512_storeu_si512(to + 128, pending[g]);
    }
    return (uint8_t)n_bad;
}

static void cut_avx512(const struct item_code *code, const uint8_t *items, size_t first_row,
                       size_t n_rows, uint8_t *index, uint8_t *raw, uint8_t *bad)
{
    if (code->item_bytes != 2) {
        cut(code, items, first_row, n_rows, index, raw, bad);
        return;
    }
    uint16_t present[32] = {0};
    for (unsigned j = 0; j < 256; j++)
        present[j / 16] = (uint16_t)(present[j / 16] | code->present[j] << j % 16);
    __m512i set = _mm512_loadu_si512(present), pending[2] = {_mm512_setzero_si512()};
    pending[1] = _mm512_setzero_si512();
    size_t bit = first_row * code->raw_bits;
    if (bit % 16)
        memcpy(pending, raw + bit / 16 * 128, sizeof(pending));
    for (size_t row = 0; row < n_rows; row++, bit += code->raw_bits)
        bad[row] = cut_row_16(code, set, items + row * 128, (unsigned)(bit % 16), pending,
                              index + row * WEIR_LANES, raw + bit / 16 * 128);
}

const struct weir_kernels weir_kernels_avx512 = {
    .name = "avx512",
    .decode_rows = decode_rows,
    .encode_rows = encode_rows,
    .join = join_avx512,
    .decode_items = decode_items,
    .cut = cut_avx512,
    .scale = scale_items,
    .squares = squares,
    .quantise = quantise,
    .misfits = misfits,
    .add_errors = add_errors,
    .take_delta = delta_take,
    .put_delta = delta_put,
    .xxh3 = xxh3,
};
