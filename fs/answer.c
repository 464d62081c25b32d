#include "answer.h"

#include <pthread.h>
#include <stdlib.h>

#include "threads.h"

enum { N_JOBS = 1024 };

struct job {
    struct answer_job what;
    struct job *next;           /* in the queue, or among the spare ones */
    struct job *before, *after; /* in the list of those not answered yet */
};

struct answer_thread {
    struct answer *answer;
    unsigned i;
};

struct answer {
    struct answer_options how;
    pthread_t *thread;
    struct answer_thread *worker; /* one a thread */
    unsigned n_started;
    pthread_mutex_t lock;      /* of all below */
    pthread_cond_t work;       /* the queue is not empty, or stop is set */
    pthread_cond_t room;       /* a job has become spare */
    struct job *first, **last; /* the queue */
    struct job *spare;
    struct job *open; /* all that are not answered yet */
    bool stop;
    struct job job[N_JOBS];
};

/* ---- with the lock held ---- */

static struct job *take_spare(struct answer *a)
{
    while (!a->spare)
        pthread_cond_wait(&a->room, &a->lock);
    struct job *job = a->spare;
    a->spare = job->next;
    return job;
}

static void open_job(struct answer *a, struct job *job)
{
    job->next = NULL;
    *a->last = job;
    a->last = &job->next;
    job->before = NULL;
    job->after = a->open;
    if (a->open)
        a->open->before = job;
    a->open = job;
}

static struct job *take_first(struct answer *a)
{
    struct job *job = a->first;
    a->first = job->next;
    if (!a->first)
        a->last = &a->first;
    return job;
}

static void close_job(struct answer *a, struct job *job)
{
    *(job->before ? &job->before->after : &a->open) = job->after;
    if (job->after)
        job->after->before = job->before;
    job->next = a->spare;
    a->spare = job;
    pthread_cond_signal(&a->room);
}

/* ---- the threads ---- */

static void *run(void *arg)
{
    const struct answer_thread *self = arg;
    struct answer *a = self->answer;
    pthread_mutex_lock(&a->lock);
    for (;;) {
        while (!a->first && !a->stop)
            pthread_cond_wait(&a->work, &a->lock);
        if (!a->first)
            break;
        struct job *job = take_first(a);
        pthread_mutex_unlock(&a->lock);
        a->how.answer(a->how.self, self->i, &job->what);
        pthread_mutex_lock(&a->lock);
        close_job(a, job);
    }
    pthread_mutex_unlock(&a->lock);
    return NULL;
}

weir_err answer_start(struct answer *a)
{
    while (a->n_started < a->how.n_threads &&
           threads_start(&a->thread[a->n_started], run, &a->worker[a->n_started]))
        a->n_started++;
    return a->n_started ? WEIR_OK : WEIR_ERR_NOMEM;
}

void answer_later(struct answer *a, const struct answer_job *what)
{
    pthread_mutex_lock(&a->lock);
    struct job *job = take_spare(a);
    job->what = *what;
    open_job(a, job);
    pthread_cond_signal(&a->work);
    pthread_mutex_unlock(&a->lock);
}

bool answer_overlaps(struct answer *a, uint32_t node, uint64_t from, uint64_t to)
{
    bool found = false;
    pthread_mutex_lock(&a->lock);
    for (const struct job *job = a->open; job && !found; job = job->after)
        found = job->what.n > 0 && job->what.node == node && job->what.at < to &&
                from < job->what.at + job->what.n;
    pthread_mutex_unlock(&a->lock);
    return found;
}

/* ---- birth and death ---- */

weir_err answer_new(const struct answer_options *options, struct answer **out)
{
    struct answer *a = calloc(1, sizeof(*a));
    if (!a)
        return WEIR_ERR_NOMEM;
    a->how = *options;
    pthread_mutex_init(&a->lock, NULL);
    pthread_cond_init(&a->work, NULL);
    pthread_cond_init(&a->room, NULL);
    a->last = &a->first;
    for (unsigned i = 0; i < N_JOBS; i++) {
        a->job[i].next = a->spare;
        a->spare = &a->job[i];
    }
    a->thread = calloc(options->n_threads, sizeof(a->thread[0]));
    a->worker = calloc(options->n_threads, sizeof(a->worker[0]));
    if (!a->thread || !a->worker) {
        answer_free(a);
        return WEIR_ERR_NOMEM;
    }
    for (unsigned i = 0; i < options->n_threads; i++)
        a->worker[i] = (struct answer_thread){a, i};
    *out = a;
    return WEIR_OK;
}

void answer_free(struct answer *a)
{
    if (!a)
        return;
    pthread_mutex_lock(&a->lock);
    a->stop = true;
    pthread_cond_broadcast(&a->work);
    pthread_mutex_unlock(&a->lock);
    for (unsigned i = 0; i < a->n_started; i++)
        pthread_join(a->thread[i], NULL);
    free(a->worker);
    free(a->thread);
    pthread_cond_destroy(&a->room);
    pthread_cond_destroy(&a->work);
    pthread_mutex_destroy(&a->lock);
    free(a);
}
