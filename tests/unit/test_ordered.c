/* A line of jobs: their order, one error at every place, every number of threads.  Tests a private
 * header (codec/ordered.h).  What the steps share has no lock but the line's own (and the
 * counters here order nothing), so that ThreadSanitizer sees when that one does not hold. */
#include "ordered.h"

#include <criterion/criterion.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>

enum { N_JOBS = 24, NO_JOB = -1 };

enum step { STEP_NEXT, STEP_WORK, STEP_FINISH, N_STEPS };

struct jobs {
    unsigned n_threads;
    int n_jobs;
    enum step bad_step;
    int bad_job; /* NO_JOB: none fails */
    bool silent; /* the step that fails writes no text */

    int n_named, n_finished;    /* in next alone, in finish alone */
    int job[ORDERED_MAX_SLOTS]; /* by slot; NO_JOB: free */
    bool worked[ORDERED_MAX_SLOTS];
    unsigned n_worked[ORDERED_MAX_THREADS]; /* by worker, alone */
    atomic_int n_in_next, n_in_finish;
    atomic_int n_wrong; /* broken promises; other threads than the test's may not assert */
};

static void expect(struct jobs *j, bool good)
{
    if (!good)
        atomic_fetch_add_explicit(&j->n_wrong, 1, memory_order_relaxed);
}

static weir_err fail_if_bad(const struct jobs *j, enum step step, int job, struct weir_diag *diag)
{
    if (j->bad_step != step || j->bad_job != job)
        return WEIR_OK;
    if (!j->silent)
        weir_diag_set(diag, "step %d, job %d", (int)step, job);
    return WEIR_ERR_CHANGED;
}

static weir_err next(void *self, unsigned slot, bool *more, struct weir_diag *diag)
{
    struct jobs *j = self;
    weir_err err = WEIR_OK;
    expect(j, atomic_fetch_add_explicit(&j->n_in_next, 1, memory_order_relaxed) == 0);
    expect(j, slot < ordered_slots(j->n_threads) && j->job[slot] == NO_JOB);
    *more = j->n_named < j->n_jobs;
    if (*more) {
        err = fail_if_bad(j, STEP_NEXT, j->n_named, diag);
        j->job[slot] = j->n_named++;
        j->worked[slot] = false;
    }
    atomic_fetch_sub_explicit(&j->n_in_next, 1, memory_order_relaxed);
    return err;
}

static weir_err work(void *self, unsigned slot, unsigned worker, struct weir_diag *diag)
{
    struct jobs *j = self;
    int job = j->job[slot];
    expect(j, worker < j->n_threads && job != NO_JOB && !j->worked[slot]);
    for (int i = 0; i < 7 * job % 5; i++) /* later jobs overtake */
        sched_yield();
    j->n_worked[worker]++;
    j->worked[slot] = true;
    return fail_if_bad(j, STEP_WORK, job, diag);
}

static weir_err finish(void *self, unsigned slot, struct weir_diag *diag)
{
    struct jobs *j = self;
    expect(j, atomic_fetch_add_explicit(&j->n_in_finish, 1, memory_order_relaxed) == 0);
    expect(j, j->job[slot] == j->n_finished && j->worked[slot]);
    weir_err err = fail_if_bad(j, STEP_FINISH, j->n_finished, diag);
    j->job[slot] = NO_JOB;
    j->n_finished += !err;
    atomic_fetch_sub_explicit(&j->n_in_finish, 1, memory_order_relaxed);
    return err;
}

static weir_err run(struct jobs *j, struct weir_diag *diag)
{
    struct ordered_line line = {j, next, work, finish};
    for (size_t i = 0; i < ORDERED_MAX_SLOTS; i++)
        j->job[i] = NO_JOB;
    weir_err err = ordered_run(&line, j->n_threads, diag);
    cr_assert_eq(j->n_wrong, 0, "%u threads: %d promises broken", j->n_threads, j->n_wrong);
    return err;
}

Test(ordered, finishes_all_jobs_in_order)
{
    static const int sizes[] = {0, 1, 2, 5, 21, 22, 200};
    for (unsigned n_threads = 1; n_threads <= ORDERED_MAX_THREADS; n_threads++) {
        for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
            struct jobs j = {.n_threads = n_threads, .n_jobs = sizes[i], .bad_job = NO_JOB};
            struct weir_diag diag = {"untouched"};
            cr_assert_eq(run(&j, &diag), WEIR_OK);
            cr_assert_eq(j.n_finished, sizes[i], "%u threads", n_threads);
            cr_assert_str_eq(diag.text, "untouched");
            unsigned n_worked = 0;
            for (size_t w = 0; w < ORDERED_MAX_THREADS; w++)
                n_worked += j.n_worked[w];
            cr_assert_eq(n_worked, (unsigned)sizes[i], "%u threads", n_threads);
        }
    }
}

static void expect_error(unsigned n_threads, enum step step, int job)
{
    struct jobs j = {.n_threads = n_threads,
                     .n_jobs = N_JOBS,
                     .bad_step = step,
                     .bad_job = job,
                     .silent = job % 2};
    struct weir_diag diag = {"untouched"};
    char wanted[64];
    snprintf(wanted, sizeof(wanted), "step %d, job %d", (int)step, job);
    cr_assert_eq(run(&j, &diag), WEIR_ERR_CHANGED, "%u threads, %s", n_threads, wanted);
    cr_assert_str_eq(diag.text, j.silent ? "untouched" : wanted, "%u threads", n_threads);
    cr_assert_leq(j.n_finished, job, "%u threads, %s", n_threads, wanted);
    if (step == STEP_FINISH)
        cr_assert_eq(j.n_finished, job, "%u threads, %s", n_threads, wanted);
    if (step == STEP_NEXT)
        cr_assert_eq(j.n_named, job + 1, "%u threads, %s", n_threads, wanted);
}

Test(ordered, stops_at_an_error_of_each_step_at_each_job)
{
    for (unsigned n_threads = 1; n_threads <= ORDERED_MAX_THREADS; n_threads++)
        for (int step = STEP_NEXT; step < N_STEPS; step++)
            for (int job = 0; job < N_JOBS; job++)
                expect_error(n_threads, (enum step)step, job);
}

Test(ordered, runs_without_a_diag)
{
    struct jobs j = {.n_threads = 2, .n_jobs = 4, .bad_step = STEP_WORK, .bad_job = 2};
    cr_assert_eq(run(&j, NULL), WEIR_ERR_CHANGED);
}

Test(ordered, counts_threads_and_slots)
{
    static const struct {
        unsigned asked;
        uint64_t n_jobs;
        unsigned wanted;
    } cases[] = {
        {1, 0, 1},          {1, 1, 1},    {4, 3, 3},
        {4, 4, 4},          {4, 0, 1},    {0, 1, 1},
        {16, 99, 16},       {17, 99, 16}, {UINT32_MAX, UINT64_MAX, 16},
        {3, UINT64_MAX, 3},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
        cr_expect_eq(ordered_threads(cases[i].asked, cases[i].n_jobs), cases[i].wanted,
                     "%u threads, %llu jobs", cases[i].asked, (unsigned long long)cases[i].n_jobs);
    unsigned n = ordered_threads(0, UINT64_MAX);
    cr_expect(n >= 1 && n <= ORDERED_MAX_THREADS);
    cr_expect_eq(ordered_slots(1), 1);
    for (n = 2; n <= ORDERED_MAX_THREADS; n++) {
        cr_expect_gt(ordered_slots(n), n);
        cr_expect_leq(ordered_slots(n), (unsigned)ORDERED_MAX_SLOTS);
    }
}
