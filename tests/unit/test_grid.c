/* Rows of whole steps: each number is found back, and nothing is taken for one that is none. */
#include <criterion/criterion.h>
#include <math.h>
#include <string.h>

#include "grid_kit.h"

static float widen(uint16_t w)
{
    const uint32_t bits = (uint32_t)w << 16;
    float f;
    memcpy(&f, &bits, sizeof(f));
    return f;
}

/* BF16 nearest to x, of the two neighbours; ties to even. */
static uint16_t nearest(double x)
{
    uint32_t bits;
    const float f = (float)x;
    memcpy(&bits, &f, sizeof(bits));
    const uint16_t below = (uint16_t)(bits >> 16), above = (uint16_t)(below + 1);
    const double down = x - (double)widen(below), up = (double)widen(above) - x;
    return down < up || (down == up && below % 2 == 0) ? below : above;
}

/* All significands of a step, at the ends of its range and in the middle, and all numbers. */
Test(grid, finds_every_number_back)
{
    const uint16_t exponents[] = {WEIR_GRID_LEAST_STEP, 110 << 7, WEIR_GRID_END_STEP - 128};
    for (size_t e = 0; e < sizeof(exponents) / sizeof(*exponents); e++)
        for (uint16_t s = 0; s < 128; s++) {
            const uint16_t step = (uint16_t)(exponents[e] + s);
            for (uint32_t n = 0; n <= WEIR_GRID_MOST; n++) {
                const uint16_t w = weir_grid_weight(step, n);
                cr_assert_eq(w, n ? nearest(n * (double)widen(step)) : 0, "%04x, %u", step, n);
                cr_assert_eq(weir_grid_number(step, w, WEIR_GRID_MOST), n);
                cr_assert_eq(weir_grid_number(step, w | 0x8000, WEIR_GRID_MOST), n);
                cr_assert_eq(weir_grid_number(step, w, 63), n <= 63 ? n : WEIR_GRID_NONE);
            }
        }
}

/* Of all 65,536 weights those that are numbers are as many as there are numbers, of both signs. */
Test(grid, takes_nothing_else_for_a_number)
{
    const uint16_t steps[] = {WEIR_GRID_LEAST_STEP, 0x3a35, 0x3aff, WEIR_GRID_END_STEP - 1};
    for (size_t i = 0; i < sizeof(steps) / sizeof(*steps); i++) {
        size_t n = 0;
        for (uint32_t w = 0; w < 65536; w++)
            n += weir_grid_number(steps[i], (uint16_t)w, WEIR_GRID_MOST) != WEIR_GRID_NONE;
        cr_expect_eq(n, 2 * ((size_t)WEIR_GRID_MOST + 1));
    }
    for (uint32_t w = 1; w < 0x8000; w++)
        cr_assert_eq(weir_grid_number(0, (uint16_t)w, WEIR_GRID_MOST), WEIR_GRID_NONE);
    cr_expect_eq(weir_grid_number(0, 0x8000, WEIR_GRID_MOST), 0);
}

Test(grid, finds_the_step_of_a_row)
{
    enum { N = 300 };
    static uint16_t w[N];
    for (uint16_t step = 0x3a00; step < 0x3a80; step++) {
        kit_rows(w, 1, N, step, 0, step);
        cr_assert_eq(weir_grid_find(w, N, 63), step, "%04x", step);
        for (size_t i = 0; i < 5; i++) /* what is no number does not mislead it */
            w[11 * i] = i % 2 ? 0x7fc0 : 0xc123;
        cr_assert_eq(weir_grid_find(w, N, 63), step, "%04x", step);
        cr_assert_eq(weir_grid_count_odd(step, w, N, 63), 5);
    }
}

/* A few that are less than a step do not mislead it, either. */
Test(grid, finds_it_above_rare_ones)
{
    enum { N = 2048 };
    static uint16_t w[N];
    kit_rows(w, 1, N, 0x3a35, 0, 7);
    for (size_t i = 0; i < WEIR_GRID_TRIES - 1; i++)
        w[100 * i] = (uint16_t)(0x3000 + i);
    cr_expect_eq(weir_grid_find(w, N, 63), 0x3a35);
    cr_expect_eq(weir_grid_count_odd(0x3a35, w, N, 63), WEIR_GRID_TRIES - 1);
    for (size_t i = 0; i < 300; i++) /* rows of no grid have none */
        w[i] = (uint16_t)(0x3000 + i);
    cr_expect_eq(weir_grid_find(w, N, 63), 0);
}

/* Where 1 is missing, and 2; and rows that have no step. */
Test(grid, finds_it_by_other_numbers)
{
    uint16_t w[64];
    for (uint32_t least = 1; least <= WEIR_GRID_DIVISORS; least++) {
        for (uint32_t i = 0; i < 64; i++)
            w[i] = weir_grid_weight(0x3a81, i % 7 ? least + i % 63 % (64 - least) : least);
        const uint16_t found = weir_grid_find(w, 64, 63);
        cr_expect_eq(weir_grid_count_odd(found, w, 64, 63), 0, "%u", least);
    }
    memset(w, 0, sizeof(w));
    cr_expect_eq(weir_grid_find(w, 64, 63), 0);
    w[3] = 1; /* denormal */
    cr_expect_eq(weir_grid_find(w, 64, 63), 0);
    for (size_t i = 0; i < 64; i++)
        w[i] = 0x7fff;
    cr_expect_eq(weir_grid_find(w, 64, 63), 0);
    cr_expect_eq(weir_grid_find(w, 0, 63), 0);
}
