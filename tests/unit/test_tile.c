/* Tiles there and back: every kind of element and data, every variant of the kernels. */
#include "codec/tile.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <zstd.h>
#include <zstd_errors.h>

#include "fail_alloc.h"
#include "tile_kit.h"

/* Of one element type: the data, coded as its own sample suggests and as normal data would be. */
static void round_trips_of(struct bench *b, size_t type, const size_t *sizes, size_t n_sizes)
{
    const struct weir_elements *like = &element_types[type].like;
    struct weir_coding *usual = choose_for_normal(like);
    cr_assert_not_null(usual, "%s", element_types[type].name);
    uint64_t random = 1 + type;
    for (int kind = 0; kind < N_DATA_KINDS; kind++)
        for (size_t i = 0; i < n_sizes; i++) {
            char what[96];
            size_t plain_bytes = sizes[i] * like->elem_bytes;
            snprintf(what, sizeof(what), "%s of %s", data_kind_names[kind],
                     element_types[type].name);
            uint8_t *plain = make_elements(like, (enum data_kind)kind, sizes[i], &random);
            struct weir_coding *own = choose(like, plain, plain_bytes);
            struct tile t = expect_round_trip(b, own, plain, plain_bytes, what);
            free(t.payload);
            t = expect_round_trip(b, usual, plain, plain_bytes, what);
            free(t.payload);
            free(own);
            free(plain);
        }
    free(usual);
}

Test(tile, comes_back_whatever_the_data)
{
    struct bench b = bench_new();
    for (size_t type = 0; type < COUNT_OF(element_types); type++) {
        size_t full = WEIR_TILE_BYTES / element_types[type].like.elem_bytes;
        const size_t sizes[] = {1, 63, 64, 65, full, full - 1};
        round_trips_of(&b, type, sizes, full > 66 ? COUNT_OF(sizes) : 1);
    }
    bench_free(&b);
}

/* The end of an object need not be whole elements. */
Test(tile, comes_back_in_pieces)
{
    struct bench b = bench_new();
    uint64_t random = 3;
    for (size_t type = 0; type < COUNT_OF(element_types); type++) {
        const struct weir_elements *like = &element_types[type].like;
        struct weir_coding *coding = choose_for_normal(like);
        size_t whole = 5 * (size_t)like->elem_bytes;
        uint8_t *plain = make_elements(like, DATA_NORMAL, 5, &random);
        for (size_t n = 1; n <= whole; n += 1 + whole / 100) {
            uint8_t *part = must_alloc(n);
            memcpy(part, plain, n);
            struct tile t = expect_round_trip(&b, coding, part, n, element_types[type].name);
            cr_assert(n % like->elem_bytes == 0 || t.head.mode == WEIR_TILE_RAW ||
                      t.head.mode == WEIR_TILE_ZSTD);
            free(t.payload);
            t = expect_round_trip(&b, NULL, part, n, "opaque");
            cr_assert_neq(t.head.mode, WEIR_TILE_SPLIT);
            free(t.payload);
            free(part);
        }
        free(plain);
        free(coding);
    }
    bench_free(&b);
}

/* The mode that data must get, and what it may cost at most. */
Test(tile, takes_the_mode_that_fits)
{
    static const struct {
        size_t type;
        enum data_kind kind;
        enum weir_tile_mode mode;
        double most; /* payload bytes per plain byte */
    } cases[] = {
        {0, DATA_NORMAL, WEIR_TILE_SPLIT, 0.67},     {0, DATA_OUTLIERS, WEIR_TILE_SPLIT, 0.70},
        {0, DATA_NOISE, WEIR_TILE_RAW, 1},           {0, DATA_ZEROS, WEIR_TILE_CONST, 0},
        {0, DATA_CONSTANT, WEIR_TILE_CONST, 0},      {1, DATA_NORMAL, WEIR_TILE_SPLIT, 0.86},
        {2, DATA_NORMAL, WEIR_TILE_SPLIT, 0.84},     {2, DATA_HALF, WEIR_TILE_SPLIT, 0.34},
        {3, DATA_NORMAL, WEIR_TILE_SPLIT, 0.88},     {6, DATA_NORMAL, WEIR_TILE_SPLIT, 0.65},
        {12, DATA_CONSTANT, WEIR_TILE_CONST, 0.001},
    };
    struct bench b = bench_new();
    uint64_t random = 4;
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        const struct weir_elements *like = &element_types[cases[i].type].like;
        size_t n = WEIR_TILE_BYTES / like->elem_bytes, plain_bytes = n * like->elem_bytes;
        uint8_t *plain = make_elements(like, cases[i].kind, n, &random);
        struct weir_coding *own = choose(like, plain, plain_bytes);
        struct weir_coding *coding = own ? own : choose_for_normal(like);
        struct tile t = expect_round_trip(&b, coding, plain, plain_bytes, "case");
        cr_expect_eq(t.head.mode, cases[i].mode, "case %zu: mode %d", i, t.head.mode);
        double bytes = (double)t.head.payload_bytes;
        cr_expect_leq(bytes, cases[i].most * (double)plain_bytes + like->elem_bytes,
                      "case %zu: %.4f of the plain bytes", i, bytes / (double)plain_bytes);
        free(t.payload);
        free(plain);
        free(coding);
    }
    bench_free(&b);
}

Test(tile, of_text_is_zstd)
{
    struct bench b = bench_new();
    uint8_t *text = must_alloc(10000);
    for (size_t i = 0; i < 10000; i++)
        text[i] = (uint8_t) "weir holds back a river "[i * i % 24 / 2];
    struct tile t = expect_round_trip(&b, NULL, text, 10000, "text");
    cr_assert_eq(t.head.mode, WEIR_TILE_ZSTD);
    cr_assert_lt(t.head.payload_bytes, 2000);
    free(t.payload);
    free(text);
    bench_free(&b);
}

/* What was coded before leaves no trace, not even another coding in the same place. */
Test(tile, depends_on_nothing_before)
{
    struct bench b = bench_new();
    struct weir_coding *place = must_alloc(weir_coding_bytes(WEIR_MAX_PARTS));
    uint64_t random = 5;
    for (size_t round = 0; round < 60; round++) {
        size_t type = random_below(&random, COUNT_OF(element_types));
        const struct weir_elements *like = &element_types[type].like;
        size_t n = 300, plain_bytes = n * like->elem_bytes;
        if (plain_bytes > WEIR_TILE_BYTES)
            continue;
        uint8_t *plain = make_elements(like, DATA_NORMAL, n, &random);
        struct weir_coding *coding = choose_for_normal(like);
        memcpy(place, coding, weir_coding_bytes(coding->n_parts));
        struct bench fresh = bench_new();
        struct tile wanted = expect_round_trip(&fresh, coding, plain, plain_bytes, "fresh");
        struct tile t = expect_round_trip(&b, place, plain, plain_bytes, "used");
        cr_assert_eq(t.head.payload_bytes, wanted.head.payload_bytes);
        cr_assert_arr_eq(t.payload, wanted.payload, t.head.payload_bytes);
        free(t.payload);
        free(wanted.payload);
        bench_free(&fresh);
        free(coding);
        free(plain);
    }
    free(place);
    bench_free(&b);
}

/* ---- memory that runs out ---- */

/* libzstd allocates where fail_alloc.c cannot see it, so its calls are wrapped here. */
static bool zstd_fails;

/* The linker's --wrap gives these names. */
/* NOLINTBEGIN(bugprone-reserved-identifier,cert-dcl37-c,cert-dcl51-cpp) */
ZSTD_CCtx *__real_ZSTD_createCCtx(void);
ZSTD_DCtx *__real_ZSTD_createDCtx(void);
size_t __real_ZSTD_compressCCtx(ZSTD_CCtx *ctx, void *to, size_t room, const void *from, size_t n,
                                int level);
size_t __real_ZSTD_decompressDCtx(ZSTD_DCtx *ctx, void *to, size_t room, const void *from,
                                  size_t n);
ZSTD_CCtx *__wrap_ZSTD_createCCtx(void);
ZSTD_DCtx *__wrap_ZSTD_createDCtx(void);
size_t __wrap_ZSTD_compressCCtx(ZSTD_CCtx *ctx, void *to, size_t room, const void *from, size_t n,
                                int level);
size_t __wrap_ZSTD_decompressDCtx(ZSTD_DCtx *ctx, void *to, size_t room, const void *from,
                                  size_t n);

ZSTD_CCtx *__wrap_ZSTD_createCCtx(void)
{
    return zstd_fails ? NULL : __real_ZSTD_createCCtx();
}

ZSTD_DCtx *__wrap_ZSTD_createDCtx(void)
{
    return zstd_fails ? NULL : __real_ZSTD_createDCtx();
}

size_t __wrap_ZSTD_compressCCtx(ZSTD_CCtx *ctx, void *to, size_t room, const void *from, size_t n,
                                int level)
{
    return zstd_fails ? (size_t)-ZSTD_error_memory_allocation
                      : __real_ZSTD_compressCCtx(ctx, to, room, from, n, level);
}

size_t __wrap_ZSTD_decompressDCtx(ZSTD_DCtx *ctx, void *to, size_t room, const void *from, size_t n)
{
    return zstd_fails ? (size_t)-ZSTD_error_memory_allocation
                      : __real_ZSTD_decompressDCtx(ctx, to, room, from, n);
}
/* NOLINTEND(bugprone-reserved-identifier,cert-dcl37-c,cert-dcl51-cpp) */

Test(tile, reports_each_failed_allocation)
{
    const struct weir_kernels *kernels = weir_kernels_best();
    struct weir_tile_encoder *enc = NULL;
    struct weir_tile_decoder *dec = NULL;
    for (int in_zstd = 0; in_zstd < 2; in_zstd++) {
        zstd_fails = in_zstd;
        fail_alloc_at(in_zstd ? -1 : 0);
        cr_assert_eq(weir_tile_encoder_new(kernels, &enc), WEIR_ERR_NOMEM);
        fail_alloc_at(in_zstd ? -1 : 0);
        cr_assert_eq(weir_tile_decoder_new(kernels, &dec), WEIR_ERR_NOMEM);
        fail_alloc_at(-1);
        zstd_fails = false;
        cr_assert(!enc && !dec);
    }
    weir_tile_encoder_free(NULL);
    weir_tile_decoder_free(NULL);
}

/* A decoder that could not get its tables goes on with what it has. */
Test(tile, decodes_after_an_allocation_failed)
{
    struct bench b = bench_new();
    uint64_t random = 6;
    struct tile t[3];
    uint8_t *plain[3];
    struct weir_coding *coding[3];
    static const size_t types[] = {0, 12, 14};
    for (size_t i = 0; i < COUNT_OF(types); i++) {
        const struct weir_elements *like = &element_types[types[i]].like;
        coding[i] = choose_for_normal(like);
        plain[i] = make_elements(like, DATA_NORMAL, 2000, &random);
        t[i] = tile_encode(b.enc[0], coding[i], plain[i], (size_t)2000 * like->elem_bytes);
        cr_assert_eq(t[i].head.mode, WEIR_TILE_SPLIT);
    }
    for (size_t i = 0; i < COUNT_OF(types); i++) {
        bool same;
        uint8_t *out = must_alloc(t[i].plain_bytes);
        fail_alloc_at(0); /* more parts than ever before need a bigger table */
        weir_err err =
            weir_tile_decode(b.dec[0], coding[i], &t[i].head, t[i].payload, out, t[i].plain_bytes);
        fail_alloc_at(-1);
        cr_assert_eq(err, WEIR_ERR_NOMEM, "tile %zu: error %d", i, err);
        free(out);
        for (size_t k = 0; k <= i; k++)
            cr_assert(!tile_decode(b.dec[0], &t[k], plain[k], &same) && same, "tile %zu", k);
    }
    for (size_t i = 0; i < COUNT_OF(types); i++) {
        free(t[i].payload);
        free(plain[i]);
        free(coding[i]);
    }
    bench_free(&b);
}

Test(tile, reports_that_zstd_has_no_memory)
{
    struct bench b = bench_new();
    uint8_t plain[1000], payload[1000];
    struct weir_tile_head head;
    for (size_t i = 0; i < sizeof(plain); i++)
        plain[i] = (uint8_t)(i % 7);
    zstd_fails = true;
    cr_assert_eq(weir_tile_encode(b.enc[0], NULL, plain, sizeof(plain), payload, &head),
                 WEIR_ERR_NOMEM);
    zstd_fails = false;
    cr_assert_eq(weir_tile_encode(b.enc[0], NULL, plain, sizeof(plain), payload, &head), WEIR_OK);
    cr_assert_eq(head.mode, WEIR_TILE_ZSTD);
    zstd_fails = true;
    cr_assert_eq(weir_tile_decode(b.dec[0], NULL, &head, payload, plain, sizeof(plain)),
                 WEIR_ERR_NOMEM);
    zstd_fails = false;
    cr_assert_eq(weir_tile_decode(b.dec[0], NULL, &head, payload, plain, sizeof(plain)), WEIR_OK);
    bench_free(&b);
}
