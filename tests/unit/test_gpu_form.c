/* The resident form of the GPU, as the CPU makes it: every bit comes back, whatever the weights and
 * the shape; and its bytes lie where the description says. */
#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>

#include "cuda/form.h"
#include "fail_alloc.h"

static uint32_t next(uint32_t *state)
{
    *state = *state * 1664525u + 1013904223u;
    return *state >> 16;
}

/* Mostly weights with 8 high values; one in `rare` is anything (0: none). */
static void make_rows(uint16_t *w, size_t n, uint32_t rare, uint32_t seed)
{
    for (size_t i = 0; i < n; i++) {
        const uint32_t high = 0x38 + next(&seed) % 8 + (next(&seed) & 1) * 0x80;
        w[i] = (uint16_t)(high << 8 | (next(&seed) & 0xff));
        if (rare && next(&seed) % rare == 0)
            w[i] = (uint16_t)next(&seed);
    }
}

static uint64_t choose(const uint16_t *w, size_t n, uint8_t high[WEIR_FORM_CODES])
{
    uint64_t count[128] = {0};
    for (size_t i = 0; i < n; i++)
        count[w[i] >> 8 & 127]++;
    return weir_form_choose(count, high);
}

static struct weir_form new_form(uint32_t n_rows, uint32_t n_columns, uint64_t most_lines)
{
    struct weir_form f = {0};
    f.units = malloc(weir_form_units(n_rows, n_columns) * WEIR_FORM_UNIT_BYTES);
    f.lines = malloc((most_lines + 1) * WEIR_FORM_LINE * sizeof(*f.lines));
    f.most_lines = (uint32_t)most_lines;
    cr_assert(f.units && f.lines);
    return f;
}

static void free_form(struct weir_form *f)
{
    free(f->units);
    free(f->lines);
}

Test(gpu_form, chooses_what_is_most_frequent)
{
    uint64_t count[128] = {0};
    uint8_t high[WEIR_FORM_CODES];
    for (size_t i = 0; i < 10; i++)
        count[10 * i] = 100 - i;
    cr_assert_eq(weir_form_choose(count, high), 92 + 91);
    for (size_t i = 0; i < WEIR_FORM_CODES; i++)
        cr_expect_eq(high[i], 10 * i);
    memset(count, 0, sizeof(count));
    count[127] = 1;
    cr_assert_eq(weir_form_choose(count, high), 0);
    cr_expect_eq(high[WEIR_FORM_CODES - 1], 127);
    cr_expect_eq(high[0], 0);
    cr_expect_eq(high[6], 6);
}

static void check_shape(uint32_t n_rows, uint32_t n_columns, uint32_t rare)
{
    const size_t n = (size_t)n_rows * n_columns;
    uint16_t *w = malloc(2 * n), *back = malloc(2 * n);
    cr_assert(w && back);
    make_rows(w, n, rare, n_rows * 977 + n_columns);
    uint8_t high[WEIR_FORM_CODES];
    const uint64_t n_left = choose(w, n, high);
    struct weir_form f = new_form(n_rows, n_columns, weir_form_lines(n_left));
    memcpy(f.high, high, sizeof(high));
    cr_assert_eq(weir_form_pack(w, n_rows, n_columns, &f), WEIR_OK, "%u x %u", n_rows, n_columns);
    cr_assert_eq(f.n_exceptions, n_left, "%u x %u", n_rows, n_columns);
    memset(back, 0xab, 2 * n);
    weir_form_unpack(&f, n_rows, n_columns, back);
    cr_assert_arr_eq(back, w, 2 * n, "%u x %u, one in %u", n_rows, n_columns, rare);
    free_form(&f);
    free(w);
    free(back);
}

Test(gpu_form, gives_every_bit_back)
{
    const uint32_t columns[] = {1, 7, 8, 63, 64, 65, 127, 128, 129, 300, 960};
    const uint32_t rows[] = {1, 2, 15, 16, 17, 33};
    const uint32_t rares[] = {0, 1, 3, 100, 2000};
    for (size_t c = 0; c < sizeof(columns) / sizeof(*columns); c++)
        for (size_t r = 0; r < sizeof(rows) / sizeof(*rows); r++)
            for (size_t k = 0; k < sizeof(rares) / sizeof(*rares); k++)
                check_shape(rows[r], columns[c], rares[k]);
}

/* All 65,536 weights: the table holds zeros and denormals, or infinities and NaNs, or neither. */
Test(gpu_form, holds_all_there_are)
{
    const uint8_t tables[][WEIR_FORM_CODES] = {{0, 1, 2, 3, 4, 5, 6, 7},
                                               {120, 121, 122, 123, 124, 125, 126, 127},
                                               {10, 20, 30, 40, 50, 60, 70, 80}};
    enum { SIDE = 256, N = SIDE * SIDE };
    uint16_t *w = malloc(N * sizeof(*w)), *back = malloc(N * sizeof(*back));
    cr_assert(w && back);
    for (size_t i = 0; i < N; i++)
        w[i] = (uint16_t)(i * 40503);
    for (size_t t = 0; t < sizeof(tables) / sizeof(*tables); t++) {
        struct weir_form f = new_form(SIDE, SIDE, weir_form_lines(N));
        memcpy(f.high, tables[t], sizeof(f.high));
        cr_assert_eq(weir_form_pack(w, SIDE, SIDE, &f), WEIR_OK);
        cr_expect_eq(f.n_exceptions, N / 128 * 120);
        weir_form_unpack(&f, SIDE, SIDE, back);
        cr_expect_arr_eq(back, w, N * sizeof(*w), "table %zu", t);
        free_form(&f);
    }
    free(w);
    free(back);
}

/* n exceptions in one unit, and lines for no more than that: 4 come along with the unit. */
Test(gpu_form, lists_what_does_not_come_along)
{
    enum { N = WEIR_FORM_ROWS * WEIR_FORM_COLUMNS };
    static uint16_t w[N], back[N];
    const uint32_t counts[] = {0, 1, 4, 5, 8, 9, 16, 17, N};
    for (size_t k = 0; k < sizeof(counts) / sizeof(*counts); k++) {
        const uint32_t n = counts[k], want = n <= WEIR_FORM_INLINE ? 0 : (n + 7) / 8;
        struct weir_form f = new_form(WEIR_FORM_ROWS, WEIR_FORM_COLUMNS, want);
        memcpy(f.high, "\1\2\3\4\5\6\7\10", WEIR_FORM_CODES);
        for (size_t i = 0; i < N; i++)
            w[i] = (uint16_t)(i < n ? 0xff00 + i % 256 : 0x8100 + i % 256);
        cr_assert_leq(want, weir_form_lines(n));
        cr_assert_eq(weir_form_pack(w, WEIR_FORM_ROWS, WEIR_FORM_COLUMNS, &f), WEIR_OK);
        cr_expect_eq(f.n_lines, want);
        weir_form_unpack(&f, WEIR_FORM_ROWS, WEIR_FORM_COLUMNS, back);
        cr_expect_arr_eq(back, w, sizeof(w), "%u exceptions", n);
        if (want > 0) {
            f.most_lines = want - 1;
            cr_expect_eq(weir_form_pack(w, WEIR_FORM_ROWS, WEIR_FORM_COLUMNS, &f), WEIR_ERR_NOMEM);
            cr_expect_eq(f.n_lines, want);
        }
        free_form(&f);
    }
}

/* The description, by hand: row 9 and column 64 + 32 + 8 + 4 + 3 belong to lane 5, step 7, j 7. */
Test(gpu_form, lies_as_described)
{
    enum { N = WEIR_FORM_ROWS * WEIR_FORM_COLUMNS, AT = 9 * WEIR_FORM_COLUMNS + 111 };
    static uint16_t w[N];
    struct weir_form f = new_form(WEIR_FORM_ROWS, WEIR_FORM_COLUMNS, 0);
    memcpy(f.high, "\0\1\2\3\4\5\6\7", WEIR_FORM_CODES);
    memset(w, 0, sizeof(w));
    w[AT] = 0x8000 | 0x0500 | 0x5a;
    cr_assert_eq(weir_form_pack(w, WEIR_FORM_ROWS, WEIR_FORM_COLUMNS, &f), WEIR_OK);
    size_t n_set = 0;
    for (size_t i = 0; i < WEIR_FORM_UNIT_BYTES; i++)
        n_set += f.units[i] != 0;
    const size_t half = 1552, lane = 5;
    cr_expect_eq(f.units[half + 512 + 16 * lane + 8 + 7], 0x5a);
    cr_expect_eq(f.units[half + 1024 + 16 * lane + 15], 5 << 4 | 1 << 3);
    cr_expect_eq(n_set, 2 + 16); /* and no exceptions */
    w[AT] = 0x7f5a;
    cr_assert_eq(weir_form_pack(w, WEIR_FORM_ROWS, WEIR_FORM_COLUMNS, &f), WEIR_OK);
    const uint8_t want[4] = {0x5a, 0x7f, lane << 3 | 7, 7};
    cr_expect_arr_eq(f.units + 1536, want, sizeof(want));
    free_form(&f);
}
