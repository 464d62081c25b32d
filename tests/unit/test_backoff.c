#include "backoff.h"

#include <criterion/criterion.h>
#include <limits.h>

Test(backoff, doubles_up_to_its_ceiling)
{
    static const struct {
        uint32_t base;
        unsigned n_failed;
        uint32_t least, most;
    } rows[] = {
        {500, 0, 250, 500},     {500, 1, 250, 500},
        {500, 2, 500, 1000},    {500, 3, 1000, 2000},
        {500, 7, 15000, 30000}, {500, UINT_MAX, 15000, 30000},
        {1, 1, 0, 1},           {40000, 1, 15000, 30000},
        {0, 5, 0, 0},           {UINT32_MAX, 3, 15000, 30000},
    };
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        cr_expect_eq(backoff_ms(rows[i].base, rows[i].n_failed, 0), rows[i].least, "row %zu", i);
        uint32_t most = backoff_ms(rows[i].base, rows[i].n_failed, UINT32_MAX);
        cr_expect(most <= rows[i].most && most + 1 >= rows[i].most, "row %zu: %u", i, most);
    }
}

Test(backoff, spreads_those_who_failed_together)
{
    uint64_t state = 1;
    unsigned n_in[4] = {0};
    for (int i = 0; i < 4000; i++) {
        uint32_t ms = backoff_ms(1000, 1, backoff_random(&state));
        cr_assert(ms >= 500 && ms <= 1000);
        n_in[ms == 1000 ? 3 : (ms - 500) / 125]++;
    }
    for (int i = 0; i < 4; i++)
        cr_expect(n_in[i] > 800 && n_in[i] < 1200, "quarter %d: %u", i, n_in[i]);
}
