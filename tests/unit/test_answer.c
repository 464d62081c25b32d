#include "answer.h"

#include <criterion/criterion.h>
#include <pthread.h>
#include <stdatomic.h>
#include <time.h>

#include "fail_alloc.h"

enum { N_THREADS = 4, N_JOBS = 5000 };

/* Answers wait until the gate is open. */
struct desk {
    pthread_mutex_t lock;
    pthread_cond_t opened;
    bool is_open;
    _Atomic unsigned n_started, n_answered;
    _Atomic unsigned n_at[N_THREADS]; /* on each thread, right now */
    _Atomic bool shared;              /* two jobs at once on one thread number */
    _Atomic unsigned times[N_JOBS];
};

static void answer(void *self, unsigned thread, const struct answer_job *job)
{
    struct desk *desk = self;
    if (atomic_fetch_add(&desk->n_at[thread], 1) != 0)
        atomic_store(&desk->shared, true);
    atomic_fetch_add(&desk->n_started, 1);
    pthread_mutex_lock(&desk->lock);
    while (!desk->is_open)
        pthread_cond_wait(&desk->opened, &desk->lock);
    pthread_mutex_unlock(&desk->lock);
    atomic_fetch_add(&desk->times[job->node], 1);
    atomic_fetch_sub(&desk->n_at[thread], 1);
    atomic_fetch_add(&desk->n_answered, 1);
}

static void open_gate(struct desk *desk)
{
    pthread_mutex_lock(&desk->lock);
    desk->is_open = true;
    pthread_cond_broadcast(&desk->opened);
    pthread_mutex_unlock(&desk->lock);
}

static void wait_until(_Atomic unsigned *what, unsigned n)
{
    while (atomic_load(what) < n)
        nanosleep(&(struct timespec){.tv_nsec = 1000000}, NULL);
}

static struct answer *new_answer(struct desk *desk)
{
    *desk = (struct desk){.lock = PTHREAD_MUTEX_INITIALIZER, .opened = PTHREAD_COND_INITIALIZER};
    const struct answer_options options = {N_THREADS, answer, desk};
    struct answer *a = NULL;
    cr_assert_eq(answer_new(&options, &a), WEIR_OK);
    cr_assert_eq(answer_start(a), WEIR_OK);
    return a;
}

static void leave(struct answer *a, uint32_t node, uint64_t at, size_t n)
{
    const struct answer_job job = {.node = node, .at = at, .n = n};
    answer_later(a, &job);
}

/* More jobs than there is room for; every one is answered, also what is left when it ends. */
Test(answer, answers_each_job_once)
{
    static struct desk desk;
    struct answer *a = new_answer(&desk);
    open_gate(&desk);
    for (uint32_t i = 0; i < N_JOBS; i++)
        leave(a, i, 0, 1);
    answer_free(a);
    cr_expect_not(desk.shared);
    for (uint32_t i = 0; i < N_JOBS; i++)
        cr_assert_eq(desk.times[i], 1, "job %u", i);
}

Test(answer, knows_what_is_not_answered_yet)
{
    static struct desk desk;
    static const struct {
        uint32_t node;
        uint64_t from, to;
        bool overlaps;
    } rows[] = {
        {3, 100, 200, true},  {3, 150, 151, true}, {3, 0, 101, true},
        {3, 199, 900, true},  {3, 0, 100, false},  {3, 200, 300, false},
        {4, 100, 200, false}, {5, 0, 1, true},     {12, 7, 8, true},
    };
    struct answer *a = new_answer(&desk);
    cr_expect_not(answer_overlaps(a, 3, 0, UINT64_MAX));
    leave(a, 3, 100, 100);
    for (uint32_t node = 5; node < 5 + 2 * N_THREADS; node++) /* some wait for a thread */
        leave(a, node, 0, 10);
    wait_until(&desk.n_started, N_THREADS);
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
        cr_expect_eq(answer_overlaps(a, rows[i].node, rows[i].from, rows[i].to), rows[i].overlaps,
                     "row %zu", i);
    open_gate(&desk);
    wait_until(&desk.n_answered, 1 + 2 * N_THREADS);
    for (int i = 0; i < 1000 && answer_overlaps(a, 3, 0, UINT64_MAX); i++)
        nanosleep(&(struct timespec){.tv_nsec = 1000000}, NULL);
    cr_expect_not(answer_overlaps(a, 3, 0, UINT64_MAX));
    answer_free(a);
}

Test(answer, survives_failing_allocations)
{
    const struct answer_options options = {N_THREADS, answer, NULL};
    for (int i = 0; i < 3; i++) {
        struct answer *a = NULL;
        fail_alloc_at(i);
        cr_expect_eq(answer_new(&options, &a), WEIR_ERR_NOMEM);
        fail_alloc_at(-1);
        cr_expect_null(a);
    }
    answer_free(NULL);
}
