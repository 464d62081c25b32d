/* Floats that were born as FP8 or integers with scales: found, with the blocks they have, and their
 * items make them again; ordinary floats are not found. */
#include <math.h>

#include "codec/born.h"
#include "codec/transform.h"
#include "coding_kit.h"
#include "tile_kit.h"

enum { MAX_PIECES = 8, F16_MISFITS = 4 };

static const double sigma = 0.02;

/* About N(0, 1). */
static double normal(uint64_t *random)
{
    double sum = -6;
    for (int i = 0; i < 12; i++)
        sum += (double)random_below(random, 1 << 24) / (1 << 24);
    return sum;
}

static size_t width_of(enum weir_float type)
{
    return type == WEIR_FLOAT_F32 ? 4 : 2;
}

static void put_float(float x, enum weir_float type, uint8_t *to)
{
    uint32_t bits;
    memcpy(&bits, &x, 4);
    if (type == WEIR_FLOAT_F16)
        bits = f16_of(bits);
    else if (type == WEIR_FLOAT_BF16)
        bits = (bits + 0x7fff + (bits >> 16 & 1)) >> 16;
    memcpy(to, &bits, width_of(type));
}

/* The number next to x, and the largest there is. */
struct numbers {
    enum weir_number number;
    unsigned largest_int;
};

static float largest_of(const struct numbers *n)
{
    if (n->number == WEIR_NUMBER_INT)
        return (float)n->largest_int;
    return n->number == WEIR_NUMBER_E4M3 ? 448 : 57344;
}

static float nearest(const struct numbers *n, float x)
{
    const float *table = n->number == WEIR_NUMBER_E4M3 ? number_e4m3 : number_e5m2;
    if (n->number == WEIR_NUMBER_INT)
        return (float)(int)rintf(x); /* never -0 */
    float best = 0;
    for (unsigned i = 0; i < 256; i++)
        if (isfinite(table[i]) && fabsf(table[i] - x) < fabsf(best - x))
            best = table[i];
    return best;
}

/* A tensor that was born so: its scales are those that make the largest element of each block the
 * largest number. */
struct birth {
    enum weir_float type;
    struct numbers numbers;
    uint32_t rows, columns, block_rows, block_cols;
};

static uint8_t *give_birth(const struct birth *b, uint64_t *random)
{
    const size_t n = (size_t)b->rows * b->columns;
    float *w = must_alloc(n * sizeof(*w));
    uint8_t *plain = must_alloc(n * width_of(b->type));
    for (size_t i = 0; i < n; i++) /* rows are of different sizes */
        w[i] = (float)(sigma * (1 + (double)(i / b->columns % 5)) * normal(random));
    for (uint32_t r = 0; r < b->rows; r += b->block_rows)
        for (uint32_t c = 0; c < b->columns; c += b->block_cols) {
            const uint32_t end_r = r + b->block_rows < b->rows ? r + b->block_rows : b->rows;
            const uint32_t end_c = c + b->block_cols < b->columns ? c + b->block_cols : b->columns;
            float most = 0;
            for (uint32_t y = r; y < end_r; y++)
                for (uint32_t x = c; x < end_c; x++)
                    most = fmaxf(most, fabsf(w[(size_t)y * b->columns + x]));
            const float scale = most / largest_of(&b->numbers);
            for (uint32_t y = r; y < end_r; y++)
                for (uint32_t x = c; x < end_c; x++) {
                    const size_t at = (size_t)y * b->columns + x;
                    const float number = nearest(&b->numbers, w[at] / scale);
                    put_float(number * scale, b->type, plain + at * width_of(b->type));
                }
        }
    free(w);
    return plain;
}

/* Whole tiles, as packing takes them; how many. */
static size_t pieces_of(const uint8_t *plain, size_t n, size_t width, struct born_piece *piece)
{
    const size_t in_tile = WEIR_TILE_BYTES / width;
    size_t n_pieces = 0;
    for (size_t at = 0; at < n && n_pieces < MAX_PIECES; at += in_tile, n_pieces++)
        piece[n_pieces] =
            (struct born_piece){plain + at * width, n - at < in_tile ? n - at : in_tile, at};
    return n_pieces;
}

/* What the items make is the tile, for each piece. */
static void must_make(const struct weir_transform *t, const struct born_piece *piece,
                      size_t n_pieces)
{
    static float scale[BORN_MAX_SCALES];
    struct weir_tile_encoder *enc;
    cr_assert_eq(weir_tile_encoder_new(weir_kernels_best(), &enc), WEIR_OK);
    for (size_t i = 0; i < n_pieces; i++) {
        const struct born_piece *p = &piece[i];
        const size_t width = width_of((enum weir_float)t->made);
        uint8_t *item = must_alloc(p->n * t->item_bytes), *made = must_alloc(p->n * width);
        struct weir_tile_items items = {
            .item = item,
            .row = (uint32_t)(p->first / t->row_elements % t->block_rows),
            .column = (uint32_t)(p->first % t->row_elements),
            .scale = scale,
        };
        items.n_scales = born_scales(t, items.row, items.column, p->n);
        const size_t misfits = born_fit(t, p->bytes, p->n, items.row, items.column, item, scale);
        cr_assert_eq(weir_tile_make(enc, t, &items, p->n, made), WEIR_OK);
        size_t differ = 0;
        for (size_t k = 0; k < p->n; k++)
            differ += memcmp(made + k * width, p->bytes + k * width, width) != 0;
        cr_expect_eq(differ, misfits);
        /* A scale that is as good for what is normal may round another denormal otherwise. */
        cr_expect(misfits <= (t->made == WEIR_FLOAT_F16 ? F16_MISFITS : 0), "%zu misfits", misfits);
        free(item);
        free(made);
    }
    weir_tile_encoder_free(enc);
}

static const struct birth births[] = {
    {WEIR_FLOAT_BF16, {WEIR_NUMBER_E4M3, 0}, 256, 512, 128, 128},
    {WEIR_FLOAT_BF16, {WEIR_NUMBER_E4M3, 0}, 200, 500, 128, 128}, /* blocks that are cut */
    {WEIR_FLOAT_F16, {WEIR_NUMBER_E4M3, 0}, 256, 512, 128, 128},
    {WEIR_FLOAT_F32, {WEIR_NUMBER_E4M3, 0}, 256, 512, 128, 128},
    {WEIR_FLOAT_BF16, {WEIR_NUMBER_E4M3, 0}, 64, 1024, 1, 128},
    {WEIR_FLOAT_F32, {WEIR_NUMBER_E4M3, 0}, 64, 1024, 1, 64},
    {WEIR_FLOAT_BF16, {WEIR_NUMBER_E4M3, 0}, 64, 1024, 1, 32},
    {WEIR_FLOAT_BF16, {WEIR_NUMBER_E4M3, 0}, 64, 1000, 1, 1000},
    {WEIR_FLOAT_BF16, {WEIR_NUMBER_E4M3, 0}, 300, 1024, 300, 1024},
    {WEIR_FLOAT_F32, {WEIR_NUMBER_E4M3, 0}, 100, 1024, 100, 1024},
    {WEIR_FLOAT_BF16, {WEIR_NUMBER_E5M2, 0}, 256, 512, 128, 128},
    {WEIR_FLOAT_F32, {WEIR_NUMBER_E5M2, 0}, 64, 1024, 1, 1024},
    {WEIR_FLOAT_BF16, {WEIR_NUMBER_INT, 127}, 64, 1024, 1, 1024},
    {WEIR_FLOAT_F16, {WEIR_NUMBER_INT, 127}, 64, 1024, 1, 1024},
    {WEIR_FLOAT_F32, {WEIR_NUMBER_INT, 127}, 64, 1024, 1, 1024},
    {WEIR_FLOAT_BF16, {WEIR_NUMBER_INT, 127}, 200, 1000, 200, 1000},
    {WEIR_FLOAT_F32, {WEIR_NUMBER_INT, 127}, 200, 1000, 200, 1000},
    {WEIR_FLOAT_BF16, {WEIR_NUMBER_INT, 7}, 64, 1024, 1, 128},
    {WEIR_FLOAT_F32, {WEIR_NUMBER_INT, 127}, 64, 1024, 1, 32},
};

Test(born, what_was_born_is_found_with_its_blocks)
{
    static struct born_room room;
    uint64_t random = 7;
    for (size_t i = 0; i < COUNT_OF(births); i++) {
        const struct birth *b = &births[i];
        const size_t n = (size_t)b->rows * b->columns;
        uint8_t *plain = give_birth(b, &random);
        struct born_piece piece[MAX_PIECES];
        const size_t n_pieces = pieces_of(plain, n, width_of(b->type), piece);
        const struct born_tensor tensor = {b->type, n, b->columns, b->columns};
        struct weir_transform t = {0};
        cr_expect(born_glance(&tensor, piece, n_pieces, b->numbers.number), "%zu", i);
        room.item = must_alloc(n);
        bool found = born_find(&tensor, piece, n_pieces, b->numbers.number, &room, &t);
        cr_expect(found, "birth %zu is not found", i);
        cr_expect(t.block_rows == b->block_rows && t.block_cols == b->block_cols &&
                      t.row_elements == b->columns && t.kind == WEIR_TRANSFORM_SCALE &&
                      t.number == b->numbers.number && t.made == b->type && t.near == 0,
                  "birth %zu: blocks of %u x %u", i, t.block_rows, t.block_cols);
        if (found)
            must_make(&t, piece, n_pieces);
        free(room.item);
        free(plain);
    }
}

Test(born, ordinary_weights_are_not_found)
{
    static const enum weir_float types[] = {WEIR_FLOAT_BF16, WEIR_FLOAT_F16, WEIR_FLOAT_F32};
    static const enum weir_number numbers[] = {WEIR_NUMBER_E4M3, WEIR_NUMBER_E5M2, WEIR_NUMBER_INT};
    enum { ROWS = 64, COLUMNS = 1024, N = ROWS * COLUMNS };
    uint64_t random = 3;
    uint8_t *plain = must_alloc(4 * (size_t)N);
    for (size_t i = 0; i < COUNT_OF(types); i++) {
        for (size_t k = 0; k < N; k++)
            put_float((float)(sigma * normal(&random)), types[i], plain + k * width_of(types[i]));
        struct born_piece piece[MAX_PIECES];
        const size_t n_pieces = pieces_of(plain, N, width_of(types[i]), piece);
        const struct born_tensor tensor = {types[i], N, COLUMNS, COLUMNS};
        for (size_t k = 0; k < COUNT_OF(numbers); k++)
            cr_expect(!born_glance(&tensor, piece, n_pieces, numbers[k]), "type %zu, number %zu", i,
                      k);
    }
    free(plain);
}
