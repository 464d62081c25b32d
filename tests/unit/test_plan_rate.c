/* What a token would take: each part by its own rate, by the number of threads, and the longest
 * named.  Tests a private header (cli/plan_rate.h). */
#include "plan_rate.h"

#include <criterion/criterion.h>
#include <math.h>

static const struct doctor machine = {
    .measured = {.plain = {10e9, 30e9},
                 .resident = {8e9, 24e9},
                 .store = {1e9, 4e9},
                 .files = {5e9, 10e9},
                 .round_seconds = 1e-5,
                 .row_seconds = 4e-8,
                 .threads = 4},
    .disk = 2e9,
};

static bool near(double a, double b)
{
    return fabs(a - b) <= 1e-9 * fabs(b);
}

Test(plan_rate, each_part_has_its_rate)
{
    const struct plan_load load = {.resident = 24000000,
                                   .plain = 30000000,
                                   .streamed = 8000000,
                                   .from_store = true,
                                   .stored = 6000000,
                                   .from_disk = true,
                                   .kept = 3000000,
                                   .rows = 20000,
                                   .rounds = 20,
                                   .threads = 4};
    struct plan_time t = plan_foresee(&load, &machine);
    cr_assert(near(t.resident, 1e-3) && near(t.plain, 1e-3));
    cr_assert(near(t.part[PLAN_MEMORY], 2e-3));
    cr_assert(near(t.part[PLAN_DECODE], 2e-3) && t.part[PLAN_COPY] == 0);
    cr_assert(near(t.part[PLAN_DISK], 3e-3));
    cr_assert(near(t.part[PLAN_ATTENTION], 1e-4));
    cr_assert(near(t.part[PLAN_ROUNDS], 2e-4));
    cr_assert(near(t.part[PLAN_ROWS], 2e-4));
    cr_assert(near(plan_seconds(&t), 7.5e-3));
    cr_assert_eq(plan_limit(&t), PLAN_DISK);
}

/* Fewer threads have less, but no more than all; more than were measured have no more. */
Test(plan_rate, threads_share_what_there_is)
{
    static const struct {
        unsigned threads;
        double rate;
    } rows[] = {{1, 10e9}, {2, 20e9}, {3, 30e9}, {4, 30e9}, {64, 30e9}};
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        const struct plan_load load = {.plain = 60000000, .threads = rows[i].threads};
        struct plan_time t = plan_foresee(&load, &machine);
        cr_assert(near(t.plain, 60e6 / rows[i].rate), "%u threads: %g", rows[i].threads, t.plain);
    }
}

Test(plan_rate, plain_files_are_copied_and_one_thread_waits_for_none)
{
    const struct plan_load load = {
        .streamed = 5000000, .stored = 5000000, .rounds = 9, .threads = 1};
    struct plan_time t = plan_foresee(&load, &machine);
    cr_assert(near(t.part[PLAN_COPY], 1e-3) && t.part[PLAN_DECODE] == 0);
    cr_assert(t.part[PLAN_ROUNDS] == 0 && t.part[PLAN_DISK] == 0);
    cr_assert_eq(plan_limit(&t), PLAN_COPY);
}

/* A disk that was not measured takes no time rather than all of it. */
Test(plan_rate, unknown_disk)
{
    const struct plan_load load = {.stored = 5000000, .from_disk = true, .threads = 1};
    struct doctor unknown = machine;
    unknown.disk = 0;
    struct plan_time t = plan_foresee(&load, &unknown);
    cr_assert(t.part[PLAN_DISK] == 0);
}
