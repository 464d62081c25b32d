/* Codings: which are valid, and what weir_coding_choose() makes of a sample. */
#include "codec/tile.h"

#include <criterion/criterion.h>
#include <math.h>
#include <stdio.h>

#include "codec/transform.h"
#include "fail_alloc.h"
#include "tile_kit.h"

/* ---- weir_coding_check ---- */

/* Two parts: an f16, and two of 8 bits; index 0 to 15 with frequency 256. */
static struct weir_coding *good_coding(void)
{
    struct weir_coding *c = must_alloc(weir_coding_bytes(WEIR_MAX_PARTS));
    memset(c, 0, weir_coding_bytes(WEIR_MAX_PARTS));
    c->elem_bytes = 4;
    c->n_parts = 2;
    c->part[0] = (struct weir_part){
        .count = 1, .item_bytes = 2, .sign_first = true, .symbol_bits = 5, .base = 16};
    c->part[1] = (struct weir_part){.offset = 2, .count = 2, .item_bytes = 1, .symbol_bits = 8};
    for (int i = 0; i < 2; i++)
        for (int j = 0; j < 16; j++)
            c->part[i].freq[j] = 256;
    return c;
}

enum field {
    NOTHING,
    ELEM_BYTES,
    N_PARTS,
    OFFSET,
    COUNT,
    ITEM_BYTES,
    SIGN,
    DROP,
    SYMBOL,
    BASE,
    FREQ
};

/* One field of the coding, of its first or second part; `index` of a frequency, -1 for all. */
struct edit {
    enum field field;
    int part;
    uint16_t value;
    int index;
};

static void edit(struct weir_coding *c, const struct edit *e)
{
    struct weir_part *p = &c->part[e->part];
    uint8_t small = (uint8_t)e->value;
    switch (e->field) {
    case ELEM_BYTES:
        c->elem_bytes = e->value;
        break;
    case N_PARTS:
        c->n_parts = small;
        break;
    case OFFSET:
        p->offset = e->value;
        break;
    case COUNT:
        p->count = e->value;
        break;
    case ITEM_BYTES:
        p->item_bytes = small;
        break;
    case SIGN:
        p->sign_first = e->value;
        break;
    case DROP:
        p->drop_bits = small;
        break;
    case SYMBOL:
        p->symbol_bits = small;
        break;
    case BASE:
        p->base = e->value;
        break;
    case FREQ:
        for (int j = 0; j < 256; j++)
            if (e->index == j || e->index < 0)
                p->freq[j] = e->value;
        break;
    default:
        break;
    }
}

Test(coding, is_checked)
{
    static const struct {
        bool fine;
        struct edit edit[3];
    } cases[] = {
        {true, {{NOTHING, 0, 0, 0}}},
        {false, {{ELEM_BYTES, 0, 0, 0}}},
        {false, {{ELEM_BYTES, 0, 3, 0}}},
        {false, {{ELEM_BYTES, 0, 5, 0}}},
        {false, {{N_PARTS, 0, 0, 0}}},
        {false, {{N_PARTS, 0, 1, 0}}},
        {false, {{N_PARTS, 0, 3, 0}}},
        {false, {{N_PARTS, 0, WEIR_MAX_PARTS + 1, 0}}},
        {false, {{OFFSET, 0, 1, 0}}},
        {false, {{OFFSET, 1, 1, 0}}},
        {false, {{OFFSET, 1, 3, 0}}},
        {false, {{COUNT, 0, 0, 0}}},
        {false, {{COUNT, 1, 0, 0}}},
        {false, {{COUNT, 1, 1, 0}}},
        {false, {{COUNT, 1, 3, 0}}},
        {false, {{COUNT, 1, 65535, 0}}},
        {false, {{ITEM_BYTES, 0, 0, 0}}},
        {false, {{ITEM_BYTES, 0, 3, 0}}},
        {false, {{ITEM_BYTES, 0, 16, 0}}},
        {false, {{ITEM_BYTES, 0, 34, 0}}}, /* eight times it is 16 in 8 bits */
        {false, {{SYMBOL, 0, 0, 0}}},
        {false, {{SYMBOL, 0, 17, 0}}},
        {false, {{SYMBOL, 1, 9, 0}}},
        {false, {{DROP, 1, 1, 0}}},
        {true, {{DROP, 0, 10, 0}}}, /* 15 bits of magnitude, 5 of them the symbol */
        {false, {{DROP, 0, 11, 0}}},
        {true, {{DROP, 0, 11, 0}, {SIGN, 0, 0, 0}}},
        {false, {{DROP, 0, 12, 0}, {SIGN, 0, 0, 0}}},
        {false, {{DROP, 0, 255, 0}}},
        {false, {{SIGN, 1, 1, 0}}},
        {true, {{SIGN, 1, 1, 0}, {SYMBOL, 1, 7, 0}}},
        {false, {{FREQ, 0, 255, 3}}},
        {false, {{FREQ, 0, 257, 3}}},
        {false, {{FREQ, 0, 255, 3}, {FREQ, 0, 1, 16}}}, /* symbol 32 of 5 bits */
        {false, {{BASE, 0, 17, 0}}},
        {false, {{BASE, 0, 65535, 0}}},
        {true, {{BASE, 1, 240, 0}}},
        {false, {{BASE, 1, 241, 0}}},
        {false, {{FREQ, 0, 0, -1}}},
        {false, {{FREQ, 1, 272, -1}}}, /* 65536 + 4096 */
        {false, {{FREQ, 0, 0, -1}, {FREQ, 0, 4096, 3}}},
        {true, {{FREQ, 0, 0, -1}, {FREQ, 0, 4095, 3}, {FREQ, 0, 1, 4}}},
        {true, {{FREQ, 1, 0, -1}, {FREQ, 1, 4095, 0}, {FREQ, 1, 1, 255}}},
        {true, {{FREQ, 1, 0, -1}, {FREQ, 1, 1, 0}, {FREQ, 1, 4095, 255}}},
        {false, {{FREQ, 0, 0, -1}, {FREQ, 0, 65535, 3}, {FREQ, 0, 4097, 4}}},
    };
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        struct weir_coding *c = good_coding();
        for (size_t k = 0; k < COUNT_OF(cases[i].edit); k++)
            edit(c, &cases[i].edit[k]);
        cr_expect_eq(weir_coding_check(c), cases[i].fine ? WEIR_OK : WEIR_ERR_CORRUPT,
                     "case %zu: field %d of part %d is %d", i, cases[i].edit[0].field,
                     cases[i].edit[0].part, cases[i].edit[0].value);
        free(c);
    }
}

Test(coding, may_be_as_large_as_the_limits)
{
    struct weir_coding *c = good_coding();
    c->elem_bytes = WEIR_MAX_ELEM_BYTES;
    c->n_parts = WEIR_MAX_PARTS;
    for (int i = 1; i < WEIR_MAX_PARTS; i++)
        c->part[i] = c->part[1];
    uint16_t at = 2;
    for (int i = 1; i < WEIR_MAX_PARTS; i++) {
        c->part[i].offset = at;
        c->part[i].count = i < WEIR_MAX_PARTS - 1 ? 1 : (uint16_t)(WEIR_MAX_ELEM_BYTES - at);
        at = (uint16_t)(at + c->part[i].count);
    }
    cr_assert_eq(weir_coding_check(c), WEIR_OK);
    c->elem_bytes++;
    c->part[WEIR_MAX_PARTS - 1].count++;
    cr_assert_eq(weir_coding_check(c), WEIR_ERR_CORRUPT);
    free(c);
}

Test(coding, says_how_long_a_tile_is)
{
    static const struct {
        uint16_t elem_bytes;
        uint32_t tile_bytes;
    } cases[] = {{1, 131072},   {2, 131072},    {3, 131070},   {18, 131058},
                 {144, 131040}, {4095, 131040}, {4096, 131072}};
    struct weir_coding *c = good_coding();
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        c->elem_bytes = cases[i].elem_bytes;
        cr_expect_eq(weir_coding_tile_bytes(c), cases[i].tile_bytes, "%d", cases[i].elem_bytes);
    }
    cr_expect_eq(weir_coding_tile_bytes(NULL), 131072);
    free(c);
}

/* ---- weir_coding_choose ---- */

Test(coding, chosen_from_any_sample_is_valid)
{
    static const size_t sizes[] = {1, 2, 3, 10, 100, 1000, 5000};
    uint64_t random = 1;
    for (size_t type = 0; type < COUNT_OF(element_types); type++)
        for (int kind = 0; kind < N_DATA_KINDS; kind++)
            for (size_t i = 0; i < COUNT_OF(sizes); i++) {
                const struct weir_elements *like = &element_types[type].like;
                size_t n = sizes[i] > 1000000u / like->elem_bytes ? 2 : sizes[i];
                uint8_t *sample = make_elements(like, (enum data_kind)kind, n, &random);
                free(choose(like, sample, n * like->elem_bytes)); /* checks it */
                free(sample);
            }
}

/* All 2^16 items in turn, so many of each: every count of symbols, some of them tiny. */
Test(coding, chosen_from_odd_histograms_is_valid)
{
    struct weir_elements like = {2, 1, {{0, 1, 2, true, 8}}};
    uint64_t random = 2;
    for (int round = 0; round < 60; round++) {
        like.part[0].exponent_bits = (uint8_t)(1 + round % 11);
        size_t n = 1 + random_below(&random, 60000);
        uint32_t few = 1 + random_below(&random, round % 2 ? 4 : 65536);
        uint16_t *sample = must_alloc(2 * n);
        for (size_t i = 0; i < n; i++) {
            uint32_t v = random_below(&random, few) * (65535u / few);
            if (random_below(&random, 20) == 0)
                v = (uint32_t)random_u64(&random);
            sample[i] = (uint16_t)v;
        }
        free(choose(&like, (const uint8_t *)sample, 2 * n));
        free(sample);
    }
}

Test(coding, is_not_chosen_for_nonsense)
{
    static const struct {
        const char *what;
        struct weir_elements like;
        size_t n;
    } cases[] = {
        {"no sample", {2, 1, {{0, 1, 2, true, 8}}}, 0},
        {"half an element", {2, 1, {{0, 1, 2, true, 8}}}, 3},
        {"no parts", {2, 0, {{0, 1, 2, true, 8}}}, 4},
        {"nine parts", {9, 9, {{0, 1, 1, false, 0}}}, 9},
        {"a gap", {3, 1, {{1, 1, 2, true, 8}}}, 6},
        {"too short", {3, 1, {{0, 1, 2, true, 8}}}, 6},
        {"3-byte items", {3, 1, {{0, 1, 3, true, 8}}}, 6},
        {"a float without exponent", {2, 1, {{0, 1, 2, true, 0}}}, 6},
        {"a float with 12 bits of it", {2, 1, {{0, 1, 2, true, 12}}}, 6},
        {"an element of 4098 bytes", {4098, 1, {{0, 2049, 2, true, 8}}}, 4098},
        {"an element of 65536 + 2 bytes", {2, 1, {{0, 32769, 2, true, 8}}}, 2},
    };
    uint8_t *sample = must_alloc(5000);
    memset(sample, 0x3c, 5000);
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        struct weir_coding *coding = (struct weir_coding *)(void *)sample;
        double bits = -3;
        cr_expect_eq(weir_coding_choose(&cases[i].like, sample, cases[i].n, &coding, &bits),
                     WEIR_ERR_INVALID, "%s", cases[i].what);
        cr_expect(coding == (struct weir_coding *)(void *)sample && bits <= -3, "%s: out written",
                  cases[i].what);
    }
    free(sample);
}

Test(coding, is_the_same_every_time)
{
    uint64_t random = 3;
    for (size_t type = 0; type < COUNT_OF(element_types); type++) {
        const struct weir_elements *like = &element_types[type].like;
        size_t n = 30000u / like->elem_bytes + 1, bytes = n * like->elem_bytes;
        uint8_t *sample = make_elements(like, DATA_NORMAL, n, &random);
        struct weir_coding *a = choose(like, sample, bytes), *b = choose(like, sample, bytes);
        cr_assert_eq(a == NULL, b == NULL);
        for (int i = 0; a && b && i < a->n_parts; i++)
            cr_assert_arr_eq(&a->part[i], &b->part[i], sizeof(a->part[i]));
        free(a);
        free(b);
        free(sample);
    }
}

Test(coding, reports_each_failed_allocation)
{
    const struct weir_elements *like = &element_types[12].like;
    uint64_t random = 4;
    uint8_t *sample = make_elements(like, DATA_NORMAL, 5000, &random);
    struct weir_coding *coding = NULL;
    double bits = -1;
    int n_failed = 0;
    for (;; n_failed++) {
        fail_alloc_at(n_failed);
        weir_err err = weir_coding_choose(like, sample, (size_t)5000 * 18, &coding, &bits);
        fail_alloc_at(-1);
        if (!err)
            break;
        cr_assert(err == WEIR_ERR_NOMEM && !coding && bits < 0);
    }
    cr_assert_geq(n_failed, 2);
    cr_assert_not_null(coding);
    free(coding);
    free(sample);
}

/* ---- what it costs ---- */

/* N(0, sigma) by Box and Muller, rounded to nearest even as frameworks do. */
static uint16_t normal_bf16(double sigma, uint64_t *random)
{
    double u = ((double)(random_u64(random) >> 11) + 1) * 0x1p-53;
    double v = (double)(random_u64(random) >> 11) * 0x1p-53;
    float x = (float)(sigma * sqrt(-2 * log(u)) * cos(6.283185307179586 * v));
    uint32_t bits;
    memcpy(&bits, &x, sizeof(bits));
    return (uint16_t)((bits + 0x7fff + (bits >> 16 & 1)) >> 16);
}

/* Stored bits per element: heads, payloads and their padding, as in an extent. */
static double cost(const struct weir_coding *coding, const uint8_t *plain, size_t n,
                   size_t elem_bytes)
{
    struct bench b = bench_new();
    size_t stored = 0, step = WEIR_TILE_BYTES / elem_bytes * elem_bytes;
    for (size_t at = 0; at < n; at += step) {
        size_t bytes = n - at < step ? n - at : step;
        struct tile t = tile_encode(b.enc[b.v.n - 1], coding, plain + at, bytes);
        stored += WEIR_TILE_HEAD_BYTES + (t.head.payload_bytes + 15) / 16 * 16;
        free(t.payload);
    }
    bench_free(&b);
    return 8 * (double)stored * (double)elem_bytes / (double)n;
}

enum { N_WEIGHTS = 2 << 20 }; /* 4 MiB of bf16 */

Test(coding, of_normal_bf16_beats_the_exponent)
{
    uint64_t random = 5;
    uint16_t *w = must_alloc(2 * (size_t)N_WEIGHTS);
    for (size_t i = 0; i < N_WEIGHTS; i++)
        w[i] = normal_bf16(0.02, &random);
    double promised;
    struct weir_coding *coding = NULL;
    cr_assert_eq(weir_coding_choose(&element_types[0].like, (const uint8_t *)w,
                                    2 * (size_t)N_WEIGHTS, &coding, &promised),
                 WEIR_OK);
    cr_assert_not_null(coding);
    double bits = cost(coding, (const uint8_t *)w, 2 * (size_t)N_WEIGHTS, 2);
    fprintf(stderr, "bf16 N(0, 0.02): %.4f bits per weight, S = %d\n", bits,
            coding->part[0].symbol_bits);
    cr_expect_leq(bits, 10.515, "%.4f bits per weight", bits);
    cr_expect_float_eq(16 * promised / 8, bits, 0.01, "%.4f bits promised", 16 * promised / 8);
    free(coding);
    free(w);
}

Test(coding, of_f32_that_holds_bf16_drops_the_rest)
{
    uint64_t random = 6;
    uint32_t *w = must_alloc(4 * (size_t)N_WEIGHTS);
    for (size_t i = 0; i < N_WEIGHTS; i++)
        w[i] = (uint32_t)normal_bf16(0.02, &random) << 16;
    struct weir_coding *coding =
        choose(&element_types[2].like, (const uint8_t *)w, 4 * (size_t)N_WEIGHTS);
    cr_assert_not_null(coding);
    cr_expect_eq(coding->part[0].drop_bits, 16);
    double bits = cost(coding, (const uint8_t *)w, 4 * (size_t)N_WEIGHTS, 4);
    cr_expect_leq(bits / 32, 0.36, "%.4f of the plain bytes", bits / 32);
    free(coding);
    free(w);
}

/* A few that need the low bits are patches: one in 1000 of F32 that holds BF16; what is denormal of
 * F16 that holds BF16. */
Test(coding, of_what_was_narrower_drops_the_rest_but_for_a_few)
{
    uint64_t random = 8;
    uint32_t *wide = must_alloc(4 * (size_t)N_WEIGHTS);
    uint16_t *half = must_alloc(2 * (size_t)N_WEIGHTS);
    for (size_t i = 0; i < N_WEIGHTS; i++) {
        const uint32_t bits = (uint32_t)normal_bf16(0.02, &random) << 16;
        wide[i] = bits | (i % 1000 ? 0 : 0xfff1);
        half[i] = f16_of(bits);
    }
    struct weir_coding *coding =
        choose(&element_types[2].like, (const uint8_t *)wide, 4 * (size_t)N_WEIGHTS);
    cr_assert_not_null(coding);
    cr_expect_eq(coding->part[0].drop_bits, 16);
    double bits = cost(coding, (const uint8_t *)wide, 4 * (size_t)N_WEIGHTS, 4);
    cr_expect_leq(bits, 10.6, "f32: %.4f bits per weight", bits);
    free(coding);
    coding = choose(&element_types[1].like, (const uint8_t *)half, 2 * (size_t)N_WEIGHTS);
    cr_assert_not_null(coding);
    cr_expect_eq(coding->part[0].drop_bits, 3);
    bits = cost(coding, (const uint8_t *)half, 2 * (size_t)N_WEIGHTS, 2);
    cr_expect_leq(bits, 10.8, "f16: %.4f bits per weight", bits);
    fprintf(stderr, "f16 that was bf16: %.4f bits per weight\n", bits);
    free(coding);
    free(wide);
    free(half);
}

/* What else must cost next to nothing, by kind of data. */
Test(coding, of_plain_data_is_small)
{
    static const struct {
        size_t type;
        enum data_kind kind;
        double most; /* bits per element on full tiles */
    } cases[] = {
        {0, DATA_ZEROS, 0.01},       {0, DATA_CONSTANT, 0.01},  {3, DATA_CONSTANT, 0.02},
        {0, DATA_TWO_VALUES, 6.2},   {0, DATA_SPARSE, 6.3},     {2, DATA_INFINITIES, 1.2},
        {0, DATA_SIGNED_ZEROS, 5.2}, {6, DATA_TWO_VALUES, 1.1}, {10, DATA_NORMAL, 37.5},
        {2, DATA_HALF, 11},
    };
    uint64_t random = 7;
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        const struct weir_elements *like = &element_types[cases[i].type].like;
        size_t n = 4 * (size_t)WEIR_TILE_BYTES / like->elem_bytes, bytes = n * like->elem_bytes;
        uint8_t *plain = make_elements(like, cases[i].kind, n, &random);
        struct weir_coding *coding = choose(like, plain, bytes);
        double bits = cost(coding, plain, bytes, like->elem_bytes);
        fprintf(stderr, "%s of %s: %.3f bits\n", data_kind_names[cases[i].kind],
                element_types[cases[i].type].name, bits);
        cr_expect_leq(bits, cases[i].most, "%s of %s: %.4f bits", data_kind_names[cases[i].kind],
                      element_types[cases[i].type].name, bits);
        free(coding);
        free(plain);
    }
}
