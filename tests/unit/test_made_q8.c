/* Tiles of Q8_0 blocks that are made of 8-bit floats: docs/format.md, 5.1, kind 4. */
#include <math.h>
#include <stdio.h>

#include "codec/born_q8.h"
#include "codec/transform.h"
#include "coding_kit.h"
#include "tile_kit.h"

#define N(array) (sizeof(array) / sizeof((array)[0]))

enum { WEIGHTS = WEIR_Q8_WEIGHTS, BYTES = WEIR_Q8_BYTES, KIND = WEIR_TRANSFORM_Q8_0 };

struct blocks {
    struct weir_coding *coding;
    struct weir_tile_items items;
    uint8_t *item, *plain;
    float *scale;
    size_t n;
};

static uint32_t bits_of(float f)
{
    uint32_t bits;
    memcpy(&bits, &f, 4);
    return bits;
}

/* A weight as it was between, by the plainest means. */
static float weight(const struct weir_transform *t, uint8_t item, float scale)
{
    const float number = t->number == WEIR_NUMBER_E4M3 ? number_e4m3[item] : number_e5m2[item];
    float x = number * scale;
    if (t->made == WEIR_FLOAT_F32 || !isfinite(x))
        return x;
    if (t->made == WEIR_FLOAT_F16) {
        const uint16_t half = f16_of(bits_of(x));
        if ((half & 0x7fff) == 0x7c00)
            return INFINITY;
        const int exponent = half >> 10 & 31;
        const double m = (half & 1023) + (exponent ? 1024.0 : 0);
        return copysignf((float)ldexp(m, (exponent ? exponent : 1) - 25), x);
    }
    uint32_t bits = bits_of(x), low = bits & 0xffff0000, left = bits & 0xffff;
    if (left > 0x8000 || (left == 0x8000 && bits >> 16 & 1))
        low += 0x10000;
    memcpy(&x, &low, 4);
    return x;
}

static void block_slowly(const struct weir_transform *t, const uint8_t *item, float scale,
                         uint8_t *out)
{
    float x[WEIGHTS], most = 0;
    bool good = true;
    for (size_t i = 0; i < WEIGHTS; i++) {
        x[i] = weight(t, item[i], scale);
        good = good && isfinite(x[i]);
        most = fmaxf(most, fabsf(x[i]));
    }
    const float d = most / 127.0F, id = d != 0 ? 1.0F / d : 0;
    memset(out, 0, BYTES);
    if (!good || !isfinite(id))
        return;
    const uint16_t half = f16_of(bits_of(d));
    memcpy(out, &half, 2);
    for (size_t i = 0; i < WEIGHTS; i++)
        out[2 + i] = (uint8_t)(int8_t)roundf(x[i] * id);
}

static struct weir_coding *coding_of(const struct weir_transform *t)
{
    struct weir_part part = {.count = WEIGHTS, .item_bytes = 1, .symbol_bits = 7};
    uint64_t random = 5;
    part_fill_freq(&part, TABLE_FLAT, &random);
    struct weir_coding *coding = coding_of_one(&part);
    coding->elem_bytes = BYTES;
    coding->transform = *t;
    return coding;
}

/* n blocks from (row, column) on; of scales as weights have them, or of any. */
static struct blocks blocks_of(const struct weir_transform *t, uint32_t row, uint32_t column,
                               size_t n, bool any)
{
    struct blocks b = {.coding = coding_of(t), .n = n};
    uint64_t random = 7 + n;
    cr_assert_eq(weir_coding_check(b.coding), WEIR_OK);
    b.items = (struct weir_tile_items){.row = row, .column = column};
    b.items.n_scales = (size_t)weir_transform_scales(t, row, column, n);
    b.items.item = b.item = must_alloc(n * WEIGHTS);
    b.items.scale = b.scale = must_alloc(4 * b.items.n_scales);
    b.plain = must_alloc(n * BYTES);
    random_bytes(&random, b.item, n * WEIGHTS);
    for (size_t i = 0; i < n * WEIGHTS && !any; i++) /* the upper half of E4M3, without NaN */
        b.item[i] = (uint8_t)((b.item[i] & 0x80) | (0x40 + random_below(&random, 0x3f)));
    for (size_t i = 0; i < b.items.n_scales; i++)
        b.scale[i] = (float)ldexp(1 + (double)random_below(&random, 1000) / 1000,
                                  any ? (int)random_below(&random, 250) - 140 : -14);
    for (size_t i = 0; i < n; i++) {
        const size_t at = column + i * WEIGHTS, in_row = (t->row_elements - 1) / t->block_cols + 1;
        const size_t band = (row + at / t->row_elements) / t->block_rows;
        const float scale = b.scale[band * in_row + at % t->row_elements / t->block_cols];
        block_slowly(t, b.item + i * WEIGHTS, scale, b.plain + i * BYTES);
    }
    return b;
}

static void blocks_free(struct blocks *b)
{
    free(b->coding);
    free(b->item);
    free(b->scale);
    free(b->plain);
}

static void expect_back(struct bench *k, const struct blocks *b, uint32_t n_exceptions)
{
    const size_t plain_bytes = b->n * BYTES;
    for (size_t i = 0; i < k->v.n; i++) {
        struct tile t = {.coding = b->coding, .plain_bytes = plain_bytes};
        bool same = false;
        uint32_t found;
        t.payload = must_alloc(plain_bytes);
        cr_assert_eq(weir_tile_encode_made(k->enc[i], b->coding, &b->items, b->plain, plain_bytes,
                                           t.payload, &t.head),
                     WEIR_OK);
        cr_assert_eq(t.head.mode, WEIR_TILE_MADE);
        memcpy(&found, t.payload + 12, 4);
        cr_expect_eq(found, n_exceptions, "%u exceptions", found);
        weir_err err = tile_decode(k->dec[i], &t, b->plain, &same);
        cr_assert(!err && same, "%s: error %d", weir_kernels_name(k->v.at[i]), err);
        free(t.payload);
    }
}

static const struct weir_transform transforms[] = {
    {KIND, WEIR_NUMBER_E4M3, WEIR_FLOAT_BF16, 0, WEIGHTS, 512, 128, 128},
    {KIND, WEIR_NUMBER_E4M3, WEIR_FLOAT_F16, 0, WEIGHTS, 96, 7, 64},
    {KIND, WEIR_NUMBER_E4M3, WEIR_FLOAT_F32, 0, WEIGHTS, 4096, 1, 4096},
    {KIND, WEIR_NUMBER_E5M2, WEIR_FLOAT_BF16, 0, WEIGHTS, 32, 3, 32},
    {KIND, WEIR_NUMBER_E5M2, WEIR_FLOAT_F32, 0, WEIGHTS, 1u << 31, 1u << 31, 1u << 31},
};

Test(made_q8, blocks_follow_from_items_and_scales)
{
    struct bench k = bench_new();
    for (size_t i = 0; i < N(transforms); i++) {
        struct blocks b = blocks_of(&transforms[i], 0, 0, 3855, false);
        expect_back(&k, &b, 0);
        blocks_free(&b);
        b = blocks_of(&transforms[i], transforms[i].block_rows - 1,
                      transforms[i].row_elements - WEIGHTS, 1501, true);
        expect_back(&k, &b, 0);
        b.plain[0] ^= 1;
        b.plain[77 * BYTES + 33] ^= 1;
        b.plain[1500 * BYTES + 1] ^= 0x80;
        expect_back(&k, &b, 3);
        blocks_free(&b);
    }
    bench_free(&k);
}

Test(made_q8, knows_its_rules)
{
    const struct weir_transform good = transforms[0];
    for (int i = 0; i < 10; i++) {
        struct weir_transform t = good;
        uint16_t elem_bytes = i == 1 ? 32 : BYTES;
        t.number = i == 2 ? WEIR_NUMBER_INT : i == 3 ? 3 : t.number;
        t.made = i == 4 ? 3 : t.made;
        t.near = i == 5;
        t.item_bytes = i == 6 ? 1 : t.item_bytes;
        t.row_elements = i == 7 ? 500 : t.row_elements;
        t.block_cols = i == 8 ? 100 : i == 9 ? 544 : t.block_cols;
        cr_expect_eq(transform_check(&t, elem_bytes), i ? WEIR_ERR_CORRUPT : WEIR_OK, "%d", i);
    }
    cr_expect_eq(weir_transform_scales(&good, 0, 32, 1), 4);
    cr_expect_eq(weir_transform_scales(&good, 127, 480, 1), 4);
    cr_expect_eq(weir_transform_scales(&good, 127, 480, 2), 8);
    cr_expect_eq(weir_transform_scales(&good, 0, 16, 1), 0);
    cr_expect_eq(weir_transform_scales(&good, 0, 512, 1), 0);
    cr_expect_eq(weir_transform_scales(&good, 128, 0, 1), 0);
}

/* Part of a tile, with blocks that are cut off by its end. */
Test(made_q8, is_found)
{
    enum { N_BLOCKS = 2400 };
    static uint8_t item[N_BLOCKS * WEIGHTS];
    static struct born_room room = {.item = item};
    for (size_t made = 0; made < 3; made += 2) {
        struct weir_transform t = transforms[0], found;
        t.made = (uint8_t)made;
        struct blocks b = blocks_of(&t, 0, 0, N_BLOCKS, false);
        const struct born_tensor tensor = {(enum weir_float)made, (uint64_t)N_BLOCKS * WEIGHTS, 512,
                                           512};
        const struct born_piece piece = {b.plain, N_BLOCKS, 0};
        cr_expect(born_q8_glance(b.plain, N_BLOCKS, WEIR_NUMBER_E4M3));
        cr_assert(born_q8_find(&tensor, &piece, 1, WEIR_NUMBER_E4M3, &room, &found));
        cr_expect(found.block_rows == t.block_rows && found.block_cols == t.block_cols &&
                  found.made == made);
        uint64_t random = 3;
        random_bytes(&random, b.plain, (size_t)N_BLOCKS * BYTES);
        cr_expect(!born_q8_glance(b.plain, N_BLOCKS, WEIR_NUMBER_E4M3));
        cr_expect_eq(born_q8_fit(&t, b.plain, N_BLOCKS, 100, 32, item, room.scale), N_BLOCKS);
        blocks_free(&b);
    }
}
