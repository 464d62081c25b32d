#include "adapt.h"

#include <criterion/criterion.h>

/* A line of `line` bytes per second on which one connection gets at most `each`. */
static unsigned settle(struct adapt *a, double line, double each, int looks)
{
    for (int i = 0; i < looks; i++) {
        double rate = a->n * each < line ? a->n * each : line;
        cr_assert(adapt_look(a, rate, false) >= 1 && a->n <= a->most);
    }
    return a->n;
}

Test(adapt, takes_as_many_as_pay)
{
    static const struct {
        unsigned most;
        double line, each;
        unsigned least_n, most_n;
    } rows[] = {
        {16, 1e9, 1e6, 16, 16}, /* each is slow: all of them */
        {16, 1e6, 1e6, 4, 4},   /* one fills the line: no more than it began with */
        {16, 1e7, 1e6, 8, 16},  /* ten do */
        {3, 1e9, 1e6, 3, 3},    {1, 1e9, 1e6, 1, 1}, {2, 0, 0, 2, 2},
    };
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        struct adapt a;
        adapt_begin(&a, rows[i].most);
        unsigned n = settle(&a, rows[i].line, rows[i].each, 10);
        cr_expect(n >= rows[i].least_n && n <= rows[i].most_n, "row %zu: %u", i, n);
    }
}

Test(adapt, steps_back_when_there_is_trouble)
{
    struct adapt a;
    adapt_begin(&a, 16);
    cr_assert_eq(settle(&a, 1e9, 1e6, 10), 16);
    static const unsigned want[] = {8, 4, 2, 1, 1};
    for (size_t i = 0; i < sizeof(want) / sizeof(want[0]); i++)
        cr_expect_eq(adapt_look(&a, 1e6, true), want[i]);
    cr_expect_eq(settle(&a, 1e9, 1e6, 5), 1, "not at once");
    cr_expect_eq(settle(&a, 1e9, 1e6, 30), 16, "but again");
}

Test(adapt, tries_again_after_a_while)
{
    struct adapt a;
    adapt_begin(&a, 16);
    cr_assert_eq(settle(&a, 1e6, 1e6, 10), 4);
    cr_expect_eq(settle(&a, 1e9, 1e6, 40), 16);
}
