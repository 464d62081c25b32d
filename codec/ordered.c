#include "ordered.h"

#include <pthread.h>
#include <signal.h>
#include <unistd.h>

/* Job j lives in slot j mod n_slots, so the slots are a ring and a free one needs no search. */
struct ordered {
    const struct ordered_line *line;
    unsigned n_slots;
    struct weir_diag *diag;

    pthread_mutex_t lock; /* guards all below */
    pthread_cond_t changed;
    bool worked[ORDERED_MAX_SLOTS]; /* the job in this slot is ready to finish */
    uint64_t n_taken, n_finished;   /* jobs */
    bool taking, finishing;         /* a thread is in next, in finish */
    bool dry;                       /* next said that there are no more */
    weir_err err;                   /* the first error */
};

struct worker {
    struct ordered *line;
    unsigned number;
    pthread_t thread;
};

unsigned ordered_threads(unsigned asked, uint64_t n_jobs)
{
    uint64_t n = asked;
    if (!n) {
        long online = sysconf(_SC_NPROCESSORS_ONLN);
        n = online > 0 ? (uint64_t)online : 1;
    }
    if (n > n_jobs)
        n = n_jobs;
    if (n > ORDERED_MAX_THREADS)
        n = ORDERED_MAX_THREADS;
    return n ? (unsigned)n : 1;
}

unsigned ordered_slots(unsigned n_threads)
{
    return n_threads == 1 ? 1 : n_threads + n_threads / 4 + 1;
}

static void fail(struct ordered *o, weir_err err, const struct weir_diag *diag)
{
    if (o->err)
        return;
    o->err = err;
    if (diag->text[0])
        weir_diag_set(o->diag, "%s", diag->text);
}

/* The steps are entered and left with the lock held, and give it back while they call out. */

static void finish(struct ordered *o)
{
    struct weir_diag diag = {{0}};
    unsigned slot = (unsigned)(o->n_finished % o->n_slots);
    o->finishing = true;
    pthread_mutex_unlock(&o->lock);
    weir_err err = o->line->finish(o->line->self, slot, &diag);
    pthread_mutex_lock(&o->lock);
    o->finishing = false;
    o->worked[slot] = false;
    o->n_finished++;
    if (err)
        fail(o, err, &diag);
    pthread_cond_broadcast(&o->changed);
}

static void take(struct ordered *o, unsigned worker)
{
    struct weir_diag diag = {{0}};
    unsigned slot = (unsigned)(o->n_taken % o->n_slots);
    bool more = true;
    o->taking = true;
    pthread_mutex_unlock(&o->lock);
    weir_err err = o->line->next(o->line->self, slot, &more, &diag);
    pthread_mutex_lock(&o->lock);
    o->taking = false;
    if (!err && !more)
        o->dry = true;
    else if (!err)
        o->n_taken++;
    pthread_cond_broadcast(&o->changed);

    if (!err && more) {
        pthread_mutex_unlock(&o->lock);
        err = o->line->work(o->line->self, slot, worker, &diag);
        pthread_mutex_lock(&o->lock);
        o->worked[slot] = true;
        pthread_cond_broadcast(&o->changed);
    }
    if (err)
        fail(o, err, &diag);
}

/* What can be finished goes first: it frees a slot. */
static void serve(struct ordered *o, unsigned worker)
{
    pthread_mutex_lock(&o->lock);
    while (!o->err && !(o->dry && o->n_finished == o->n_taken)) {
        if (!o->finishing && o->worked[o->n_finished % o->n_slots])
            finish(o);
        else if (!o->taking && !o->dry && o->n_taken - o->n_finished < o->n_slots)
            take(o, worker);
        else
            pthread_cond_wait(&o->changed, &o->lock);
    }
    pthread_cond_broadcast(&o->changed);
    pthread_mutex_unlock(&o->lock);
}

static void *serve_thread(void *arg)
{
    const struct worker *w = arg;
    serve(w->line, w->number);
    return NULL;
}

/* Signals are the calling thread's business: the others are born with all of them blocked. */
static unsigned start(struct worker *worker, unsigned n)
{
    sigset_t all, before;
    sigfillset(&all);
    if (pthread_sigmask(SIG_SETMASK, &all, &before) != 0)
        return 0;
    unsigned n_started = 0;
    while (n_started < n &&
           pthread_create(&worker[n_started].thread, NULL, serve_thread, &worker[n_started]) == 0)
        n_started++;
    (void)pthread_sigmask(SIG_SETMASK, &before, NULL);
    return n_started;
}

weir_err ordered_run(const struct ordered_line *line, unsigned n_threads, struct weir_diag *diag)
{
    struct ordered o = {
        .line = line,
        .n_slots = ordered_slots(n_threads),
        .diag = diag,
        .lock = PTHREAD_MUTEX_INITIALIZER,
        .changed = PTHREAD_COND_INITIALIZER,
    };
    struct worker worker[ORDERED_MAX_THREADS];
    for (unsigned i = 0; i + 1 < n_threads; i++)
        worker[i] = (struct worker){.line = &o, .number = i + 1};
    unsigned n_started = n_threads > 1 ? start(worker, n_threads - 1) : 0;
    serve(&o, 0);
    for (unsigned i = 0; i < n_started; i++)
        pthread_join(worker[i].thread, NULL);
    pthread_cond_destroy(&o.changed);
    pthread_mutex_destroy(&o.lock);
    return o.err;
}
