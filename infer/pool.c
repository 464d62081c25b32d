#include "pool.h"

#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdlib.h>
#include <unistd.h>

struct worker {
    struct pool *pool;
    pthread_t thread;
    unsigned number; /* from 1: 0 is the caller */
};

struct pool {
    unsigned n_threads; /* the caller included */
    struct worker *worker;
    /* the run: set before `round` is raised, under the lock; left alone until n_busy is 0 */
    pool_work work;
    void *self;
    size_t n_units;
    atomic_size_t next;
    atomic_bool failed;

    pthread_mutex_t lock; /* of what follows */
    pthread_cond_t begun, done;
    unsigned long round;
    unsigned n_busy;
    bool ending;
    weir_err err;
    struct weir_diag diag;
};

static void note(struct pool *p, weir_err err, const struct weir_diag *diag)
{
    pthread_mutex_lock(&p->lock);
    if (!p->err) {
        p->err = err;
        p->diag = *diag;
    }
    pthread_mutex_unlock(&p->lock);
    atomic_store(&p->failed, true);
}

static void take_units(struct pool *p, unsigned worker)
{
    while (!atomic_load_explicit(&p->failed, memory_order_relaxed)) {
        size_t unit = atomic_fetch_add(&p->next, 1);
        if (unit >= p->n_units)
            return;
        struct weir_diag diag = {""};
        weir_err err = p->work(p->self, unit, worker, &diag);
        if (err)
            note(p, err, &diag);
    }
}

static void *live(void *self)
{
    struct worker *w = self;
    struct pool *p = w->pool;
    unsigned long seen = 0;
    pthread_mutex_lock(&p->lock);
    while (true) {
        while (p->round == seen && !p->ending)
            pthread_cond_wait(&p->begun, &p->lock);
        if (p->ending)
            break;
        seen = p->round;
        pthread_mutex_unlock(&p->lock);
        take_units(p, w->number);
        pthread_mutex_lock(&p->lock);
        if (--p->n_busy == 0)
            pthread_cond_signal(&p->done);
    }
    pthread_mutex_unlock(&p->lock);
    return NULL;
}

static unsigned processors(void)
{
    long n = sysconf(_SC_NPROCESSORS_ONLN);
    return n < 1 ? 1 : (unsigned)n;
}

unsigned pool_threads_for(unsigned n_threads)
{
    unsigned n = n_threads ? n_threads : processors();
    return n > POOL_MAX_THREADS ? POOL_MAX_THREADS : n;
}

/* Signals are the calling thread's business: the others are born with all of them blocked. */
static void hire(struct pool *p, unsigned wanted)
{
    sigset_t all, before;
    sigfillset(&all);
    (void)pthread_sigmask(SIG_SETMASK, &all, &before);
    for (p->n_threads = 1; p->n_threads < wanted; p->n_threads++) {
        struct worker *w = &p->worker[p->n_threads];
        *w = (struct worker){.pool = p, .number = p->n_threads};
        if (pthread_create(&w->thread, NULL, live, w) != 0)
            break;
    }
    (void)pthread_sigmask(SIG_SETMASK, &before, NULL);
}

weir_err pool_new(unsigned n_threads, struct pool **out)
{
    unsigned wanted = pool_threads_for(n_threads);
    struct pool *p = calloc(1, sizeof(*p));
    if (!p)
        return WEIR_ERR_NOMEM;
    p->worker = calloc(wanted, sizeof(*p->worker));
    if (!p->worker) {
        free(p);
        return WEIR_ERR_NOMEM;
    }
    pthread_mutex_init(&p->lock, NULL);
    pthread_cond_init(&p->begun, NULL);
    pthread_cond_init(&p->done, NULL);
    hire(p, wanted);
    *out = p;
    return WEIR_OK;
}

void pool_free(struct pool *p)
{
    if (!p)
        return;
    pthread_mutex_lock(&p->lock);
    p->ending = true;
    pthread_cond_broadcast(&p->begun);
    pthread_mutex_unlock(&p->lock);
    for (unsigned i = 1; i < p->n_threads; i++)
        pthread_join(p->worker[i].thread, NULL);
    pthread_cond_destroy(&p->done);
    pthread_cond_destroy(&p->begun);
    pthread_mutex_destroy(&p->lock);
    free(p->worker);
    free(p);
}

unsigned pool_threads(const struct pool *p)
{
    return p->n_threads;
}

weir_err pool_run(struct pool *p, pool_work work, void *self, size_t n_units,
                  struct weir_diag *diag)
{
    bool alone = n_units < 2 || p->n_threads == 1;
    pthread_mutex_lock(&p->lock);
    p->work = work;
    p->self = self;
    p->n_units = n_units;
    p->err = WEIR_OK;
    atomic_store(&p->next, 0);
    atomic_store(&p->failed, false);
    if (!alone) {
        p->round++;
        p->n_busy = p->n_threads - 1;
        pthread_cond_broadcast(&p->begun);
    }
    pthread_mutex_unlock(&p->lock);

    take_units(p, 0);

    pthread_mutex_lock(&p->lock);
    while (!alone && p->n_busy)
        pthread_cond_wait(&p->done, &p->lock);
    pthread_mutex_unlock(&p->lock);
    if (p->err && diag && p->diag.text[0])
        *diag = p->diag;
    return p->err;
}
