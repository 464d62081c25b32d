/* The GPU's resident form of whole steps, as the CPU makes it: every bit comes back, whatever the
 * weights and the shape; and its bytes lie where the description says. */
#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>

#include "cuda/form_q8.h"
#include "fail_alloc.h"
#include "grid_kit.h"

enum { STEP = 0x3a35, UNIT = WEIR_FORM_ROWS * WEIR_FORM_COLUMNS };

static struct weir_form_q8 new_form(uint32_t n_rows, uint32_t n_columns, uint64_t most_lines)
{
    struct weir_form_q8 f = {0};
    f.units = malloc(weir_form_units(n_rows, n_columns) * WEIR_FORM_Q8_UNIT_BYTES);
    f.steps = malloc(weir_form_q8_step_bytes(n_rows));
    f.lines = malloc((most_lines + 1) * WEIR_FORM_LINE * sizeof(*f.lines));
    f.most_lines = (uint32_t)most_lines;
    cr_assert(f.units && f.steps && f.lines);
    return f;
}

static void free_form(struct weir_form_q8 *f)
{
    free(f->units);
    free(f->steps);
    free(f->lines);
}

static uint64_t count_odd(const uint16_t *w, uint32_t n_rows, uint32_t n_columns)
{
    uint64_t n = 0;
    for (uint32_t r = 0; r < n_rows; r++, w += n_columns)
        n += weir_grid_count_odd(weir_grid_find(w, n_columns, WEIR_FORM_Q8_MOST), w, n_columns,
                                 WEIR_FORM_Q8_MOST);
    return n;
}

static void check_shape(uint32_t n_rows, uint32_t n_columns, uint32_t rare)
{
    const size_t n = (size_t)n_rows * n_columns;
    uint16_t *w = malloc(2 * n), *back = malloc(2 * n);
    cr_assert(w && back);
    kit_rows(w, n_rows, n_columns, STEP, rare, n_rows * 977 + n_columns);
    const uint64_t odd = count_odd(w, n_rows, n_columns);
    struct weir_form_q8 f = new_form(n_rows, n_columns, weir_form_q8_lines(odd));
    cr_assert_eq(weir_form_q8_pack(w, n_rows, n_columns, &f), WEIR_OK, "%u x %u", n_rows,
                 n_columns);
    cr_assert_eq(f.n_exceptions, odd, "%u x %u", n_rows, n_columns);
    if (!rare && n_columns >= 300)
        cr_assert_lt(odd * 50, n);
    memset(back, 0xab, 2 * n);
    weir_form_q8_unpack(&f, n_rows, n_columns, back);
    cr_assert_arr_eq(back, w, 2 * n, "%u x %u, one in %u", n_rows, n_columns, rare);
    free_form(&f);
    free(w);
    free(back);
}

Test(gpu_form_q8, gives_every_bit_back)
{
    const uint32_t columns[] = {1, 7, 8, 63, 64, 65, 127, 128, 129, 300, 960};
    const uint32_t rows[] = {1, 2, 15, 16, 17, 33};
    const uint32_t rares[] = {0, 1, 3, 100, 2000};
    for (size_t c = 0; c < sizeof(columns) / sizeof(*columns); c++)
        for (size_t r = 0; r < sizeof(rows) / sizeof(*rows); r++)
            for (size_t k = 0; k < sizeof(rares) / sizeof(*rares); k++)
                check_shape(rows[r], columns[c], rares[k]);
}

/* Every number at every place, of either sign, zeros included. */
Test(gpu_form_q8, holds_all_numbers_everywhere)
{
    static uint16_t w[UNIT], back[UNIT];
    struct weir_form_q8 f = new_form(WEIR_FORM_ROWS, WEIR_FORM_COLUMNS, 1);
    for (uint32_t turn = 0; turn < 128; turn++) {
        for (uint32_t i = 0; i < UNIT; i++) {
            const uint32_t code = (i * 37 + turn) % 128;
            w[i] = (uint16_t)(weir_grid_weight(STEP, code % 64) | code / 64 << 15);
        }
        for (uint32_t r = 0; r < WEIR_FORM_ROWS; r++)
            w[r * WEIR_FORM_COLUMNS + turn] = STEP; /* so that the step is found */
        cr_assert_eq(weir_form_q8_pack(w, WEIR_FORM_ROWS, WEIR_FORM_COLUMNS, &f), WEIR_OK);
        cr_assert_eq(f.n_exceptions, 0);
        weir_form_q8_unpack(&f, WEIR_FORM_ROWS, WEIR_FORM_COLUMNS, back);
        cr_assert_arr_eq(back, w, sizeof(w), "turn %u", turn);
    }
    free_form(&f);
}

/* n exceptions in one unit, and lines for no more than that: 8 come along with the unit. */
Test(gpu_form_q8, lists_what_does_not_come_along)
{
    static uint16_t w[UNIT], back[UNIT];
    const uint32_t counts[] = {0, 1, 8, 9, 16, 17, 24, 25, 400};
    for (size_t k = 0; k < sizeof(counts) / sizeof(*counts); k++) {
        const uint32_t n = counts[k];
        const uint32_t want = n <= WEIR_FORM_Q8_INLINE ? 0 : (n + 7) / WEIR_FORM_LINE;
        struct weir_form_q8 f = new_form(WEIR_FORM_ROWS, WEIR_FORM_COLUMNS, want);
        for (size_t i = 0; i < UNIT; i++)
            w[i] = i % 5 == 1 && i / 5 < n ? 0x4100 : STEP;
        cr_assert_leq(want, weir_form_q8_lines(n));
        cr_assert_eq(weir_form_q8_pack(w, WEIR_FORM_ROWS, WEIR_FORM_COLUMNS, &f), WEIR_OK);
        cr_expect_eq(f.n_lines, want, "%u", n);
        cr_expect_eq(f.n_exceptions, n);
        weir_form_q8_unpack(&f, WEIR_FORM_ROWS, WEIR_FORM_COLUMNS, back);
        cr_expect_arr_eq(back, w, sizeof(w), "%u exceptions", n);
        if (want > 0) {
            f.most_lines = want - 1;
            cr_expect_eq(weir_form_q8_pack(w, WEIR_FORM_ROWS, WEIR_FORM_COLUMNS, &f),
                         WEIR_ERR_NOMEM);
            cr_expect_eq(f.n_lines, want);
        }
        free_form(&f);
    }
}

/* The bits that are set when one weight is `number` steps and all others are zero. */
static void expect_bits(uint32_t row, uint32_t column, uint32_t number, size_t word, uint32_t bits)
{
    static uint16_t w[UNIT];
    struct weir_form_q8 f = new_form(WEIR_FORM_ROWS, WEIR_FORM_COLUMNS, 0);
    memset(w, 0, sizeof(w));
    for (uint32_t c = 0; c < WEIR_FORM_COLUMNS; c += 127) /* the step is found by the other row */
        w[row * WEIR_FORM_COLUMNS + c] = STEP;
    w[row * WEIR_FORM_COLUMNS + column] = (uint16_t)(weir_grid_weight(STEP, number) | 0x8000);
    cr_assert_eq(weir_form_q8_pack(w, WEIR_FORM_ROWS, WEIR_FORM_COLUMNS, &f), WEIR_OK);
    uint32_t found;
    memcpy(&found, f.units + word, sizeof(found));
    cr_expect_eq(found, bits, "%u, %u: %08x", row, column, found);
    cr_expect_eq(f.steps[row % 8], (uint32_t)(STEP + WEIR_FORM_Q8_SCALED) << 16 * (row / 8));
    free_form(&f);
}

/* The description, by hand.  Row 9 is lane 4 to 7's lower one: r is 1 or 3. */
Test(gpu_form_q8, lies_as_described)
{
    const size_t second = 928;
    /* column 8 + 2: lane 5, step 0, pair 3 (word 1, rotated), first weight */
    expect_bits(9, 10, 33, 16 * 5 + 4, 33 << 9 | 1 << 23);
    expect_bits(9, 11, 33, 16 * 5 + 4, 33 << 25 | 1 << 7);
    /* column 64 + 32 + 8: step 6, pair 9, word 4, rotated; of row 1 pair 8, as it is */
    expect_bits(9, 104, 5, second + 512 + (size_t)8 * 5, 5 << 9 | 1 << 23);
    expect_bits(1, 105, 5, second + 512 + (size_t)8 * 5, 5 << 17 | 1u << 31);
    /* column 64 + 32 + 8 + 4 + 2: step 7, pairs 14 (row 1) and 15 (row 9): number 63 */
    for (size_t b = 0; b < 7; b++) {
        const size_t word = b < 4   ? (size_t)16 * 5 + 4 * b
                            : b < 6 ? 512 + (size_t)8 * 5 + 4 * (b - 4)
                                    : 768 + (size_t)4 * 5;
        expect_bits(1, 110, 63, second + word, 1);
        expect_bits(1, 111, 63, second + word, 1 << 16);
        expect_bits(9, 110, 63, second + word, 1 << 8);
        expect_bits(9, 111, 63, second + word, 1 << 24);
    }
}
