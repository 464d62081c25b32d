/* Tiles whose elements are made of items and scales: what docs/format.md says in 5.1. */
#include <math.h>
#include <stdio.h>

#include "codec/transform.h"
#include "coding_kit.h"
#include "tile_kit.h"

#define N(array) (sizeof(array) / sizeof((array)[0]))

/* ---- numbers ---- */

/* The value of an 8-bit float, as its definition has it. */
static double value_of(unsigned bits, unsigned exponent_bits, int bias)
{
    const unsigned mantissa_bits = 7 - exponent_bits;
    const unsigned mantissa = bits & ((1u << mantissa_bits) - 1);
    const int exponent = (int)(bits >> mantissa_bits & ((1u << exponent_bits) - 1));
    const double ulp = ldexp(1, (exponent ? exponent : 1) - bias - (int)mantissa_bits);
    const double magnitude = (mantissa + (exponent ? (double)(1u << mantissa_bits) : 0)) * ulp;
    return bits >> 7 ? -magnitude : magnitude;
}

Test(made, e4m3_and_e5m2_are_what_their_bits_say)
{
    for (unsigned bits = 0; bits < 256; bits++) {
        const unsigned magnitude = bits & 0x7f;
        if (magnitude == 0x7f)
            cr_expect(isnan(number_e4m3[bits]));
        else
            cr_expect((double)number_e4m3[bits] == value_of(bits, 4, 7) &&
                          !signbit(number_e4m3[bits]) == !(bits >> 7),
                      "e4m3 %02x: %g", bits, (double)number_e4m3[bits]);
        if (magnitude > 0x7c)
            cr_expect(isnan(number_e5m2[bits]));
        else if (magnitude == 0x7c)
            cr_expect(isinf(number_e5m2[bits]) && !signbit(number_e5m2[bits]) == !(bits >> 7));
        else
            cr_expect((double)number_e5m2[bits] == value_of(bits, 5, 15) &&
                          !signbit(number_e5m2[bits]) == !(bits >> 7),
                      "e5m2 %02x: %g", bits, (double)number_e5m2[bits]);
    }
}

static uint32_t bits_of(double value)
{
    const float f = (float)value;
    uint32_t bits;
    memcpy(&bits, &f, 4);
    return bits;
}

static double f16_value(unsigned bits)
{
    const unsigned exponent = bits >> 10, mantissa = bits & 0x3ff;
    return ldexp(mantissa + (exponent ? 1024.0 : 0), (int)(exponent ? exponent : 1) - 25);
}

/* Each F16, the middle between it and the next, and the floats beside that. */
Test(made, rounds_to_the_f16_that_is_next)
{
    for (unsigned low = 0; low < 0x7c00; low++) {
        const double middle = (f16_value(low) + f16_value(low + 1)) / 2;
        const float above = nextafterf((float)middle, INFINITY);
        const float below = nextafterf((float)middle, 0);
        const unsigned even = low + low % 2;
        for (unsigned sign = 0; sign < 2; sign++) {
            const unsigned s = sign << 15;
            const double f = sign ? -1 : 1;
            cr_assert_eq(f16_of(bits_of(f * f16_value(low))), s | low, "%04x", low);
            cr_assert_eq(f16_of(bits_of(f * middle)), s | even, "behind %04x", low);
            cr_assert_eq(f16_of(bits_of(f * (double)above)), s | (low + 1), "behind %04x", low);
            cr_assert_eq(f16_of(bits_of(f * (double)below)), s | low, "behind %04x", low);
        }
    }
    cr_expect_eq(f16_of(0x7f800000), 0x7c00);
    cr_expect_eq(f16_of(0xff7fffff), 0xfc00);
    cr_expect_eq(f16_of(0xff800001), 0x7e00);
    cr_expect_eq(f16_of(0x80000001), 0x8000);
}

/* ---- elements: a slow and plain version of 5.1 ---- */

static double number_of(const struct weir_transform *t, const uint8_t *item)
{
    if (t->number == WEIR_NUMBER_E4M3)
        return (*item & 0x7f) == 0x7f ? NAN : value_of(*item, 4, 7);
    if (t->number == WEIR_NUMBER_E5M2 && (*item & 0x7f) >= 0x7c)
        return (*item & 0x7f) > 0x7c ? NAN : *item >> 7 ? -INFINITY : INFINITY;
    if (t->number == WEIR_NUMBER_E5M2)
        return value_of(*item, 5, 15);
    return t->item_bytes == 1 ? *item - 128.0 : (item[0] | item[1] << 8) - 32768.0;
}

/* The nearest BF16 to a float, by trying the two around it. */
static uint32_t nearest_bf16(float f)
{
    if (isnan(f))
        return 0x7fc0;
    const uint32_t bits = bits_of((double)f), low = bits >> 16;
    const uint32_t left = (bits & 0xffff);
    return left > 0x8000 || (left == 0x8000 && low % 2) ? low + 1 : low;
}

static void put_element(const struct weir_transform *t, float product, uint8_t *out)
{
    uint32_t bits = bits_of((double)product);
    if (t->made == WEIR_FLOAT_F32) {
        bits = isnan(product) ? 0x7fc00000 : bits;
        memcpy(out, &bits, 4);
        return;
    }
    const uint16_t half =
        (uint16_t)(t->made == WEIR_FLOAT_F16 ? f16_of(bits) : nearest_bf16(product));
    memcpy(out, &half, 2);
}

struct made {
    struct weir_coding *coding;
    struct weir_tile_items items;
    uint8_t *item;
    float *scale;
    uint8_t *plain;
    size_t n, plain_bytes;
};

static size_t made_bytes(const struct weir_transform *t)
{
    return t->made == WEIR_FLOAT_F32 ? 4 : 2;
}

static void make_slowly(struct made *m)
{
    const struct weir_transform *t = &m->coding->transform;
    const size_t in_row = (t->row_elements + t->block_cols - 1) / t->block_cols;
    for (size_t i = 0; i < m->n; i++) {
        const size_t at = m->items.column + i, column = at % t->row_elements;
        const size_t row = m->items.row + at / t->row_elements;
        const float scale = m->scale[row / t->block_rows * in_row + column / t->block_cols];
        const float number = (float)number_of(t, m->item + i * t->item_bytes);
        put_element(t, number * scale, m->plain + i * made_bytes(t));
    }
}

/* A coding for items that lie anywhere in their range: the tables do not matter here. */
static struct weir_coding *coding_of(const struct weir_transform *t)
{
    const bool wide = t->item_bytes == 2;
    struct weir_part part = {.count = 1,
                             .item_bytes = t->item_bytes,
                             .symbol_bits = wide ? 15 : 7,
                             .base = wide ? (1 << 14) - 128 : 0};
    uint64_t random = 5;
    part_fill_freq(&part, TABLE_FLAT, &random);
    struct weir_coding *coding = coding_of_one(&part);
    coding->elem_bytes = (uint16_t)made_bytes(t);
    coding->transform = *t;
    cr_assert_eq(weir_coding_check(coding), WEIR_OK);
    return coding;
}

static struct made made_of(const struct weir_transform *t, uint32_t row, uint32_t column, size_t n,
                           uint64_t *random)
{
    struct made m = {.coding = coding_of(t), .n = n, .plain_bytes = n * made_bytes(t)};
    m.items.row = row;
    m.items.column = column;
    m.items.n_scales = (size_t)weir_transform_scales(t, row, column, n);
    m.item = must_alloc(n * t->item_bytes);
    m.scale = must_alloc(4 * m.items.n_scales);
    m.plain = must_alloc(m.plain_bytes);
    random_bytes(random, m.item, n * t->item_bytes);
    if (t->item_bytes == 2) /* mostly near the middle, as integers are */
        for (size_t i = 0; i < n; i++)
            m.item[2 * i + 1] = random_below(random, 100) ? 0x80 : m.item[2 * i + 1];
    for (size_t i = 0; i < m.items.n_scales; i++)
        m.scale[i] = (float)ldexp(1 + (double)random_below(random, 1000) / 1000,
                                  (int)random_below(random, 30) - 20);
    if (m.items.n_scales > 2) {
        m.scale[1] = -0.0F;
        m.scale[2] = 0x1p127F; /* overflows */
    }
    m.items.item = m.item;
    m.items.scale = m.scale;
    make_slowly(&m);
    return m;
}

static void made_free(struct made *m)
{
    free(m->coding);
    free(m->item);
    free(m->scale);
    free(m->plain);
}

static struct tile encode(struct weir_tile_encoder *enc, const struct made *m)
{
    struct tile t = {.coding = m->coding, .plain_bytes = m->plain_bytes};
    uint8_t *room = must_alloc(m->plain_bytes);
    cr_assert_eq(
        weir_tile_encode_made(enc, m->coding, &m->items, m->plain, m->plain_bytes, room, &t.head),
        WEIR_OK);
    t.payload = must_alloc(t.head.payload_bytes);
    memcpy(t.payload, room, t.head.payload_bytes);
    free(room);
    return t;
}

static uint32_t count_of(const struct tile *t, size_t at)
{
    uint32_t n;
    memcpy(&n, t->payload + at, 4);
    return n;
}

/* Every variant makes the same tile of it, and takes every other's back. */
static void expect_same_everywhere(struct bench *b, const struct made *m, uint32_t n_exceptions,
                                   const char *what)
{
    struct tile first = encode(b->enc[0], m);
    cr_assert_eq(first.head.mode, WEIR_TILE_MADE, "%s: mode %d", what, first.head.mode);
    cr_assert_eq(count_of(&first, 12), n_exceptions, "%s: %u exceptions", what,
                 count_of(&first, 12));
    for (size_t i = 0; i < b->v.n; i++) {
        struct tile t = encode(b->enc[i], m);
        bool same = t.head.xxh3 == first.head.xxh3 &&
                    t.head.payload_bytes == first.head.payload_bytes &&
                    memcmp(t.payload, first.payload, t.head.payload_bytes) == 0;
        cr_assert(same, "%s: %s makes another tile", what, weir_kernels_name(b->v.at[i]));
        weir_err err = tile_decode(b->dec[i], &t, m->plain, &same);
        cr_assert(!err && same, "%s: %s: error %d", what, weir_kernels_name(b->v.at[i]), err);
        free(t.payload);
    }
    free(first.payload);
}

static const struct weir_transform transforms[] = {
    {1, WEIR_NUMBER_INT, WEIR_FLOAT_BF16, 1, 2, 2048, 1, 2048},
    {1, WEIR_NUMBER_INT, WEIR_FLOAT_F32, 0, 2, 37, 1, 37},
    {1, WEIR_NUMBER_INT, WEIR_FLOAT_F16, 0, 1, 300, 7, 32},
    {1, WEIR_NUMBER_E4M3, WEIR_FLOAT_BF16, 0, 1, 500, 128, 128},
    {1, WEIR_NUMBER_E4M3, WEIR_FLOAT_F16, 0, 1, 256, 4, 256},
    {1, WEIR_NUMBER_E5M2, WEIR_FLOAT_F32, 0, 1, 999, 64, 100},
    {1, WEIR_NUMBER_E5M2, WEIR_FLOAT_BF16, 0, 1, 1u << 31, 1u << 31, 1u << 31},
};

Test(made, elements_follow_from_items_and_scales)
{
    struct bench b = bench_new();
    uint64_t random = 11;
    static const size_t lengths[] = {1000, 4096, 20011};
    for (size_t k = 0; k < N(transforms); k++)
        for (size_t i = 0; i < N(lengths); i++) {
            const struct weir_transform *t = &transforms[k];
            const uint32_t row = i ? (uint32_t)random_below(&random, t->block_rows) : 0;
            const uint32_t column = i ? (uint32_t)random_below(&random, t->row_elements) : 0;
            struct made m = made_of(t, row, column, lengths[i], &random);
            char what[64];
            snprintf(what, sizeof(what), "transform %zu, %zu elements", k, lengths[i]);
            expect_same_everywhere(&b, &m, 0, what);
            made_free(&m);
        }
    bench_free(&b);
}

Test(made, what_does_not_follow_is_kept_whole)
{
    struct bench b = bench_new();
    uint64_t random = 12;
    for (size_t k = 0; k < N(transforms); k++) {
        struct made m = made_of(&transforms[k], 0, 0, 5000, &random);
        const size_t elem_bytes = m.coding->elem_bytes;
        m.plain[0] ^= 1;
        m.plain[m.plain_bytes - 1] ^= 0x80;
        random_bytes(&random, m.plain + 77 * elem_bytes, elem_bytes - 1);
        m.plain[77 * elem_bytes + elem_bytes - 1] ^= 0x40;
        expect_same_everywhere(&b, &m, 3, "three changed");
        made_free(&m);
    }
    bench_free(&b);
}

Test(made, nothing_in_common_is_stored_without_items)
{
    struct bench b = bench_new();
    uint64_t random = 13;
    struct made m = made_of(&transforms[0], 0, 0, 5000, &random);
    random_bytes(&random, m.plain, m.plain_bytes);
    struct tile t = encode(b.enc[0], &m);
    bool same;
    cr_expect_eq(t.head.mode, WEIR_TILE_RAW);
    cr_expect_eq(tile_decode(b.dec[0], &t, m.plain, &same), WEIR_OK);
    cr_expect(same);
    free(t.payload);
    memset(m.plain, 7, m.plain_bytes);
    t = encode(b.enc[0], &m);
    cr_expect_eq(t.head.mode, WEIR_TILE_CONST);
    free(t.payload);
    made_free(&m);
    bench_free(&b);
}

Test(made, refuses_items_that_do_not_fit)
{
    struct bench b = bench_new();
    uint64_t random = 14;
    struct made m = made_of(&transforms[3], 0, 0, 5000, &random);
    uint8_t *room = must_alloc(m.plain_bytes);
    struct weir_tile_head head;
    const struct weir_tile_items good = m.items;
    for (int i = 0; i < 4; i++) {
        m.items = good;
        m.items.n_scales -= i == 0;
        m.items.row = i == 1 ? 128 : 0;
        m.items.column = i == 2 ? 500 : 0;
        m.scale[0] = i == 3 ? INFINITY : 1;
        cr_expect_eq(weir_tile_encode_made(b.enc[0], m.coding, &m.items, m.plain, m.plain_bytes,
                                           room, &head),
                     WEIR_ERR_INVALID, "%d", i);
    }
    free(room);
    made_free(&m);
    bench_free(&b);
}

/* ---- hostile payloads ---- */

static void set(struct tile *t, size_t at, uint32_t value)
{
    memcpy(t->payload + at, &value, 4);
}

Test(made, every_rule_of_the_payload_is_checked)
{
    struct bench b = bench_new();
    uint64_t random = 15;
    struct made m = made_of(&transforms[3], 3, 17, 5000, &random);
    m.plain[40] ^= 1;
    m.plain[90] ^= 1;
    struct tile good = encode(b.enc[0], &m);
    const uint32_t n_scales = count_of(&good, 8);
    const size_t positions = 16 + 4 * (size_t)n_scales;
    cr_assert_eq(decode_by_all(&b, &good), WEIR_OK);
    const struct {
        const char *what;
        size_t at;
        uint32_t value;
    } cases[] = {
        {"column", 0, 500},
        {"another column", 0, 18},
        {"row", 4, 128},
        {"scales", 8, n_scales + 1},
        {"scales", 8, n_scales - 1},
        {"scales", 8, UINT32_MAX},
        {"exceptions", 12, 1},
        {"exceptions", 12, 3},
        {"exceptions", 12, UINT32_MAX},
        {"infinite", 16, 0x7f800000},
        {"not a number", 16, 0x7fc00000},
        {"position", positions, 5000},
        {"position", positions + 4, 20},
        {"position", positions + 4, 19},
    };
    for (size_t i = 0; i < N(cases); i++) {
        const uint32_t before = count_of(&good, cases[i].at);
        set(&good, cases[i].at, cases[i].value);
        cr_expect_eq(decode_by_all(&b, &good), WEIR_ERR_CORRUPT, "%s", cases[i].what);
        set(&good, cases[i].at, before);
    }
    cr_assert_eq(decode_by_all(&b, &good), WEIR_OK);
    for (uint32_t n = 0; n < good.head.payload_bytes; n += 1 + n / 16) { /* cut short */
        struct tile cut = good;
        cut.payload = must_alloc(n + 1);
        memcpy(cut.payload, good.payload, n);
        cut.head.payload_bytes = n;
        cr_expect_eq(decode_by_all(&b, &cut), WEIR_ERR_CORRUPT, "%u bytes", n);
        free(cut.payload);
    }
    struct tile split = good;
    split.head.mode = WEIR_TILE_SPLIT;
    cr_expect_eq(decode_by_all(&b, &split), WEIR_ERR_CORRUPT);
    m.coding->transform = (struct weir_transform){0};
    cr_expect_eq(decode_by_all(&b, &good), WEIR_ERR_CORRUPT);
    free(good.payload);
    made_free(&m);
    bench_free(&b);
}

Test(made, codings_with_a_transform_have_rules)
{
    static const struct {
        struct weir_transform t;
        bool fine;
    } cases[] = {
        {{1, 0, 0, 0, 2, 8, 1, 8}, true},
        {{1, 0, 0, 1, 2, 8, 1, 8}, true},
        {{1, 0, 0, 2, 2, 8, 1, 8}, false}, /* near */
        {{1, 0, 1, 0, 2, 8, 1, 3}, true},
        {{1, 0, 2, 0, 2, 8, 1, 8}, false}, /* F32 has 4 bytes */
        {{1, 0, 3, 0, 2, 8, 1, 8}, false}, /* no such float */
        {{1, 1, 0, 0, 2, 8, 1, 8}, false}, /* E4M3 has one byte */
        {{1, 3, 0, 0, 2, 8, 1, 8}, false}, /* no such number */
        {{1, 0, 0, 0, 3, 8, 1, 8}, false},
        {{1, 0, 0, 0, 2, 0, 1, 8}, false},
        {{1, 0, 0, 0, 2, 8, 0, 8}, false},
        {{1, 0, 0, 0, 2, 8, 1, 0}, false},
        {{1, 0, 0, 0, 2, 8, 1, 9}, false},
        {{0, 0, 0, 0, 2, 0, 0, 0}, false}, /* none has no parameters */
        {{255, 0, 0, 0, 2, 8, 1, 8}, false},
    };
    for (size_t i = 0; i < N(cases); i++) {
        struct weir_coding *coding = coding_of(&transforms[0]);
        coding->transform = cases[i].t;
        cr_expect_eq(weir_coding_check(coding), cases[i].fine ? WEIR_OK : WEIR_ERR_CORRUPT,
                     "case %zu", i);
        free(coding);
    }
    struct weir_coding *coding = coding_of(&transforms[0]);
    coding->transform.item_bytes = 1; /* the parts cover two */
    cr_expect_eq(weir_coding_check(coding), WEIR_ERR_CORRUPT);
    free(coding);
}
