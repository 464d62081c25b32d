/* Eight states to a vector, eight vectors to a row.  Bit-equal to kernels_scalar.c, which also
 * takes the rows at the end of the words that vector loads could read past. */
#include "kernels.h"

#include <immintrin.h>
#include <string.h>

#include "delta.h"
#include "items.h"
#include "perm8.h"
#include "quantise_loops.h"
#include "scale.h"

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

static __m128i look_up_pair(const uint32_t *entry, uint64_t slots)
{
    return _mm_insert_epi32(_mm_cvtsi32_si128((int)entry[(uint32_t)slots]), (int)entry[slots >> 32],
                            1);
}

/* Eight plain loads.  A gather is microcode where AVX2 is the best there is (Zen 3, and Intel's
 * older cores since their gathers were mended): 2.0 cycles an item against 2.5. */
static __m256i look_up(const uint32_t *entry, __m256i slots)
{
    __m128i low = _mm256_castsi256_si128(slots), high = _mm256_extracti128_si256(slots, 1);
    __m128i e01 = look_up_pair(entry, (uint64_t)_mm_cvtsi128_si64(low));
    __m128i e23 = look_up_pair(entry, (uint64_t)_mm_extract_epi64(low, 1));
    __m128i e45 = look_up_pair(entry, (uint64_t)_mm_cvtsi128_si64(high));
    __m128i e67 = look_up_pair(entry, (uint64_t)_mm_extract_epi64(high, 1));
    return _mm256_setr_m128i(_mm_unpacklo_epi64(e01, e23), _mm_unpacklo_epi64(e45, e67));
}

/* One row: the table entries, whose top bytes are the indices. */
static const uint8_t *decode_row(const struct rans_decode_table *table, __m256i x[GROUPS],
                                 const uint8_t *at, __m256i e[GROUPS])
{
    const __m256i slots = _mm256_set1_epi32(RANS_SLOTS - 1), zero = _mm256_setzero_si256();
    for (size_t g = 0; g < GROUPS; g++) {
        e[g] = look_up(table->entry, _mm256_and_si256(x[g], slots));
        __m256i f = _mm256_and_si256(_mm256_srli_epi32(e[g], 12), slots);
        __m256i y = _mm256_mullo_epi32(f, _mm256_srli_epi32(x[g], WEIR_PROB_BITS));
        y = _mm256_add_epi32(y, _mm256_and_si256(e[g], slots));
        __m256i low = _mm256_cmpeq_epi32(_mm256_srli_epi32(y, 16), zero);
        unsigned mask = (unsigned)_mm256_movemask_ps(_mm256_castsi256_ps(low));
        __m256i words = _mm256_cvtepu16_epi32(_mm_loadu_si128((const __m128i *)(const void *)at));
        words = _mm256_permutevar8x32_epi32(words, unpack_perm(expand8[mask]));
        __m256i taken = _mm256_or_si256(_mm256_slli_epi32(y, 16), words);
        x[g] = _mm256_blendv_epi8(y, taken, low);
        at += 2 * (size_t)__builtin_popcount(mask);
    }
    return at;
}

static bool decode_rows(const struct rans_decode_table *table, struct rans_reader *r,
                        uint8_t *index, size_t n_rows)
{
    __m256i x[GROUPS];
    memcpy(x, r->x, sizeof(x));
    for (; n_rows && r->end - r->at >= ROW_READ; n_rows--, index += WEIR_LANES) {
        __m256i e[GROUPS];
        r->at = decode_row(table, x, r->at, e);
        _mm256_storeu_si256((__m256i *)(void *)index, pack_top_bytes(e));
        _mm256_storeu_si256((__m256i *)(void *)(index + 32), pack_top_bytes(e + 4));
    }
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

/* Eight lanes of one row, with their table entries.  The full lanes' words go in front of `words`,
 * in lane order; what is stored before them is overwritten later.  Returns the first of them. */
static uint8_t *encode_group(__m256i e, __m256i *x, uint8_t *words)
{
    const __m256i half = _mm256_set1_epi32(0xffff);
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
    return words - 2 * (size_t)__builtin_popcount(mask);
}

static __m128i look_up_4(const uint32_t *entry, const uint8_t *index)
{
    __m128i low =
        _mm_insert_epi32(_mm_cvtsi32_si128((int)entry[index[0]]), (int)entry[index[1]], 1);
    __m128i high =
        _mm_insert_epi32(_mm_cvtsi32_si128((int)entry[index[2]]), (int)entry[index[3]], 1);
    return _mm_unpacklo_epi64(low, high);
}

/* Plain loads here too: 2.7 cycles an item; looked up rows ahead by way of memory 3.6, gathered 6.4
 * (so many micro-ops that too few groups are in flight to hide the division). */
static uint8_t *encode_rows(const struct rans_encode_table *table, uint32_t *state,
                            const uint8_t *index, size_t n_rows, uint8_t *words)
{
    __m256i x[GROUPS];
    memcpy(x, state, sizeof(x));
    for (size_t row = n_rows; row-- > 0;)
        for (size_t g = GROUPS; g-- > 0;) {
            const uint8_t *at = index + row * WEIR_LANES + 8 * g;
            __m256i e =
                _mm256_setr_m128i(look_up_4(table->entry, at), look_up_4(table->entry, at + 4));
            words = encode_group(e, &x[g], words);
        }
    memcpy(state, x, sizeof(x));
    return words;
}

/* ---- 16-bit items ----
 *
 * BF16 and F16 deserve better than what the compiler makes of lanes.h: it widens 16-bit shifts by a
 * variable count to 32 bits (join 2.1 cycles an item, cut 5.4). */

static __m256i load(const void *p)
{
    return _mm256_loadu_si256((const __m256i *)p);
}

static __m256i set16(unsigned v)
{
    return _mm256_set1_epi16((short)v);
}

/* A quarter of a row: 16 indices, as 16-bit numbers, and their raw bits. */
static __m256i join_group_16(const struct item_code *code, __m256i j, const uint8_t *raw,
                             unsigned shift)
{
    const __m256i mask = set16((1u << code->raw_bits) - 1), base = set16(code->base);
    const __m128i right = _mm_cvtsi32_si128((int)shift), left = _mm_cvtsi32_si128(16 - (int)shift);
    const __m128i r_bits = _mm_cvtsi32_si128(code->raw_bits);
    const __m128i drop = _mm_cvtsi32_si128(code->drop_bits);
    __m256i c = _mm256_setzero_si256();
    if (code->raw_bits)
        c = _mm256_srl_epi16(load(raw), right);
    if (shift + code->raw_bits > 16)
        c = _mm256_or_si256(c, _mm256_sll_epi16(load(raw + 128), left));
    __m256i symbol = _mm256_andnot_si256(_mm256_cmpeq_epi16(j, _mm256_setzero_si256()),
                                         _mm256_add_epi16(j, base));
    c = _mm256_or_si256(_mm256_and_si256(c, mask), _mm256_sll_epi16(symbol, r_bits));
    if (code->sign_first)
        return _mm256_or_si256(_mm256_sll_epi16(_mm256_srli_epi16(c, 1), drop),
                               _mm256_slli_epi16(c, 15));
    return _mm256_sll_epi16(c, drop);
}

static void join_avx2(const struct item_code *code, const uint8_t *index, const uint8_t *raw,
                      size_t first_row, size_t n_rows, uint8_t *items)
{
    if (code->item_bytes != 2) {
        join(code, index, raw, first_row, n_rows, items);
        return;
    }
    size_t bit = first_row * code->raw_bits;
    for (size_t row = 0; row < n_rows; row++, bit += code->raw_bits, items += 128)
        for (size_t g = 0; g < 4; g++) {
            __m256i j = _mm256_cvtepu8_epi16(_mm_loadu_si128(
                (const __m128i *)(const void *)(index + row * WEIR_LANES + 16 * g)));
            __m256i v = join_group_16(code, j, raw + bit / 16 * 128 + 32 * g, (unsigned)(bit % 16));
            _mm256_storeu_si256((__m256i *)(void *)(items + 32 * g), v);
        }
}

/* Not in one loop, as kernels_avx512.c does it: with sixteen registers that spills the states
 * (5.1 cycles an item against 4.4). */
static bool decode_items(const struct rans_decode_table *table, const struct item_code *code,
                         struct rans_reader *r, size_t first_row, size_t n_rows, uint8_t *items)
{
    return decode_items_in_chunks(&weir_kernels_avx2, table, code, r, first_row, n_rows, items);
}

/* Which of 32 indices have a frequency, as 0xff or 0: a 256-bit set, looked up by shuffles. */
static __m256i is_present(const uint8_t bits[32], __m256i index)
{
    const __m256i bit_of = _mm256_broadcastsi128_si256(
        _mm_setr_epi8(1, 2, 4, 8, 16, 32, 64, -128, 1, 2, 4, 8, 16, 32, 64, -128));
    const __m256i low_set =
        _mm256_broadcastsi128_si256(_mm_loadu_si128((const __m128i *)(const void *)bits));
    const __m256i high_set =
        _mm256_broadcastsi128_si256(_mm_loadu_si128((const __m128i *)(const void *)(bits + 16)));
    __m256i byte = _mm256_and_si256(_mm256_srli_epi16(index, 3), _mm256_set1_epi8(15));
    /* blendv goes by the top bit of each byte: that of the index says which half */
    __m256i set = _mm256_blendv_epi8(_mm256_shuffle_epi8(low_set, byte),
                                     _mm256_shuffle_epi8(high_set, byte), index);
    __m256i bit = _mm256_shuffle_epi8(bit_of, _mm256_and_si256(index, _mm256_set1_epi8(7)));
    return _mm256_cmpeq_epi8(_mm256_and_si256(set, bit), bit);
}

/* 16 items to code and index; *ok is 0xffff where the index is one. */
static __m256i cut_group_16(const struct item_code *code, __m256i v, __m256i *c_out, __m256i *ok)
{
    const __m128i drop = _mm_cvtsi32_si128(code->drop_bits);
    const __m128i r_bits = _mm_cvtsi32_si128(code->raw_bits);
    const __m256i zero = _mm256_setzero_si256(), lost = set16((1u << code->drop_bits) - 1);
    __m256i c = _mm256_srl_epi16(v, drop);
    if (code->sign_first)
        c = _mm256_or_si256(
            _mm256_slli_epi16(_mm256_srl_epi16(_mm256_srli_epi16(_mm256_slli_epi16(v, 1), 1), drop),
                              1),
            _mm256_srli_epi16(v, 15));
    __m256i symbol = _mm256_srl_epi16(c, r_bits);
    __m256i j = _mm256_sub_epi16(symbol, set16(code->base));
    __m256i in =
        _mm256_cmpeq_epi16(_mm256_subs_epu16(_mm256_sub_epi16(j, set16(1)), set16(254)), zero);
    __m256i is_zero = _mm256_cmpeq_epi16(symbol, zero);
    __m256i whole = _mm256_cmpeq_epi16(_mm256_and_si256(v, lost), zero);
    *c_out = c;
    *ok = _mm256_and_si256(_mm256_or_si256(in, is_zero), whole);
    return _mm256_andnot_si256(is_zero, j);
}

/* One row; raw bits join what is pending, and what is pending is stored. */
static uint8_t cut_row_16(const struct item_code *code, const uint8_t present[32],
                          const uint8_t *items, unsigned shift, __m256i pending[4], uint8_t *index,
                          uint8_t *raw)
{
    const __m256i mask = set16((1u << code->raw_bits) - 1);
    const __m128i left = _mm_cvtsi32_si128((int)shift), right = _mm_cvtsi32_si128(16 - (int)shift);
    unsigned n_bad = 0;
    for (size_t h = 0; h < 2; h++) {
        __m256i j[2], ok[2], c[2];
        for (size_t g = 0; g < 2; g++)
            j[g] = cut_group_16(code, load(items + 64 * h + 32 * g), &c[g], &ok[g]);
        __m256i fine = _mm256_permute4x64_epi64(_mm256_packs_epi16(ok[0], ok[1]), 0xd8);
        __m256i all = _mm256_packus_epi16(_mm256_and_si256(j[0], set16(255)),
                                          _mm256_and_si256(j[1], set16(255)));
        all = _mm256_permute4x64_epi64(all, 0xd8);
        fine = _mm256_and_si256(fine, is_present(present, all));
        all = _mm256_blendv_epi8(_mm256_set1_epi8((char)code->filler), all, fine);
        _mm256_storeu_si256((__m256i *)(void *)(index + 32 * h), all);
        n_bad += (unsigned)__builtin_popcount(~(unsigned)_mm256_movemask_epi8(fine));
        if (!code->raw_bits)
            continue;
        for (size_t g = 0; g < 2; g++) {
            __m256i bits = _mm256_and_si256(c[g], mask);
            __m256i *p = &pending[2 * h + g];
            uint8_t *to = raw + 64 * h + 32 * g;
            *p = _mm256_or_si256(*p, _mm256_sll_epi16(bits, left));
            _mm256_storeu_si256((__m256i *)(void *)to, *p);
            if (shift + code->raw_bits >= 16)
                *p = _mm256_srl_epi16(bits, right); /* a shift by 16 gives 0 */
            if (shift + code->raw_bits > 16)
                _mm256_storeu_si256((__m256i *)(void *)(to + 128), *p);
        }
    }
    return (uint8_t)n_bad;
}

static void cut_avx2(const struct item_code *code, const uint8_t *items, size_t first_row,
                     size_t n_rows, uint8_t *index, uint8_t *raw, uint8_t *bad)
{
    if (code->item_bytes != 2) {
        cut(code, items, first_row, n_rows, index, raw, bad);
        return;
    }
    uint8_t present[32] = {0};
    for (unsigned j = 0; j < 256; j++)
        present[j / 8] = (uint8_t)(present[j / 8] | code->present[j] << j % 8);
    __m256i pending[4] = {0};
    size_t bit = first_row * code->raw_bits;
    if (bit % 16)
        memcpy(pending, raw + bit / 16 * 128, sizeof(pending));
    for (size_t row = 0; row < n_rows; row++, bit += code->raw_bits)
        bad[row] = cut_row_16(code, present, items + row * 128, (unsigned)(bit % 16), pending,
                              index + row * WEIR_LANES, raw + bit / 16 * 128);
}

const struct weir_kernels weir_kernels_avx2 = {
    .name = "avx2",
    .decode_rows = decode_rows,
    .encode_rows = encode_rows,
    .join = join_avx2,
    .decode_items = decode_items,
    .cut = cut_avx2,
    .scale = scale_items,
    .squares = squares,
    .quantise = quantise,
    .misfits = misfits,
    .add_errors = add_errors,
    .take_delta = delta_take,
    .put_delta = delta_put,
    .xxh3 = xxh3,
};
