#include "ahead.h"

#include <pthread.h>
#include <stdlib.h>

#include "answer.h"
#include "reader.h"
#include "threads.h"
#include "tree.h"

enum { N_STREAMS = 128 };

struct ahead {
    struct ahead_options how;
    unsigned n_started;
    pthread_t *thread;
    struct ahead_worker *worker; /* one a thread */
    pthread_mutex_t lock;        /* of all below */
    pthread_cond_t work;         /* there is some, or stop is set */
    struct weir_streams *streams;
    unsigned n_running;
    bool stop;
};

struct ahead_worker {
    struct ahead *ahead;
    struct reader_worker *reader;
};

static const struct weir_entry *entry_of(const struct ahead *a, uint32_t file)
{
    return a->how.tree->node[file].entry;
}

/* ---- one piece ---- */

/* A piece ends where a tile does, so that it takes one tile and what the first page has of the one
 * before. */
static uint64_t cut_at_tile(void *self, uint32_t file, uint64_t at)
{
    const struct ahead *a = self;
    const struct weir_entry *entry = entry_of(a, file);
    uint64_t from, to;
    reader_tile_at(a->how.reader, entry, at, &from, &to);
    if (to - at < WEIR_STREAMS_PAGE && to < entry->size) /* its last page is the next piece's */
        reader_tile_at(a->how.reader, entry, to, &from, &to);
    return to;
}

/* Nobody may be waiting for a page of it, nor be about to: see weir_streams_may_store(). */
static bool may_store(struct ahead *a, const struct weir_streams_piece *piece)
{
    pthread_mutex_lock(&a->lock);
    bool may = !a->stop && weir_streams_may_store(a->streams, piece);
    pthread_mutex_unlock(&a->lock);
    return may && !answer_overlaps(a->how.answer, piece->file, piece->from, piece->to);
}

/* Decodes [from, to), which stays in the tile cache, and hands it to the kernel if that is safe. */
static weir_err hand_on(struct ahead_worker *w, const struct weir_streams_piece *piece,
                        uint64_t from, uint64_t to, size_t *n_done)
{
    struct ahead *a = w->ahead;
    const struct reader_range range = {entry_of(a, piece->file), from, to - from,
                                       piece->is_whole && may_store(a, piece)};
    struct reader_view view;
    weir_err err = reader_view(a->how.reader, w->reader, &range, 1, &view);
    if (err)
        return err;
    if (may_store(a, piece)) /* again: decoding took its time */
        a->how.store(a->how.self, piece->file, from, view.part[0].iov_base, to - from);
    *n_done += to - from;
    reader_end_view(a->how.reader, &view);
    return WEIR_OK;
}

/* The tile first and the page that it shares with the one before second: that one is being decoded
 * by another thread right now, and to wait for it first would make the threads take turns. */
static weir_err do_piece(struct ahead_worker *w, const struct weir_streams_piece *piece,
                         size_t *n_done)
{
    struct ahead *a = w->ahead;
    uint64_t from, tile_end, to = piece->to;
    reader_tile_at(a->how.reader, entry_of(a, piece->file), piece->from, &from, &tile_end);
    uint64_t whole = (tile_end + WEIR_STREAMS_PAGE - 1) & ~(uint64_t)(WEIR_STREAMS_PAGE - 1);
    weir_err err = WEIR_OK;
    if (tile_end < to && whole < to && whole - piece->from <= WEIR_STREAMS_PAGE) {
        err = hand_on(w, piece, whole, to, n_done);
        to = whole;
    }
    return err ? err : hand_on(w, piece, piece->from, to, n_done);
}

/* ---- the threads ---- */

static void *run(void *arg)
{
    struct ahead_worker *w = arg;
    struct ahead *a = w->ahead;
    pthread_mutex_lock(&a->lock);
    for (;;) {
        struct weir_streams_piece piece;
        while (!a->stop && !weir_streams_next(a->streams, cut_at_tile, a, &piece))
            pthread_cond_wait(&a->work, &a->lock);
        if (a->stop)
            break;
        pthread_mutex_unlock(&a->lock);
        size_t n_done = 0;
        weir_err err = do_piece(w, &piece, &n_done);
        pthread_mutex_lock(&a->lock);
        if (n_done)
            weir_streams_done(a->streams, &piece, n_done);
        if (err) /* whoever wants the bytes hears of it */
            weir_streams_stop(a->streams, &piece);
    }
    a->n_running--;
    pthread_mutex_unlock(&a->lock);
    return NULL;
}

weir_err ahead_start(struct ahead *a)
{
    pthread_mutex_lock(&a->lock); /* n_running is right before anybody asks */
    while (a->n_running < a->how.n_threads &&
           threads_start(&a->thread[a->n_running], run, &a->worker[a->n_running]))
        a->n_running++;
    a->n_started = a->n_running;
    pthread_mutex_unlock(&a->lock);
    return a->n_started ? WEIR_OK : WEIR_ERR_NOMEM;
}

void ahead_saw(struct ahead *a, uint32_t file, uint64_t at, size_t n, bool is_direct)
{
    const struct weir_entry *entry = entry_of(a, file);
    const struct weir_segment *last = reader_segment_at(entry, at + n - 1);
    const struct weir_streams_read read = {
        .file = file,
        .at = at,
        .n = n,
        .is_direct = is_direct,
        .unit_from = last->file_offset,
        .unit_to = last->file_offset + last->bytes,
        .file_bytes = entry->size,
    };
    pthread_mutex_lock(&a->lock);
    if (weir_streams_saw(a->streams, &read))
        pthread_cond_broadcast(&a->work);
    struct weir_streams_range range;
    bool expects = weir_streams_expects(a->streams, &range);
    pthread_mutex_unlock(&a->lock);
    if (expects)
        reader_expect(a->how.reader, entry, range.from, range.to);
}

struct weir_streams_counts ahead_counts(struct ahead *a)
{
    pthread_mutex_lock(&a->lock);
    struct weir_streams_counts counts = weir_streams_counts(a->streams);
    pthread_mutex_unlock(&a->lock);
    return counts;
}

/* ---- birth and death ---- */

static weir_err new_streams(struct ahead *a)
{
    const struct weir_streams_options options = {
        .n = N_STREAMS,
        .ahead_bytes = a->how.ahead_bytes,
        .guard_bytes = a->how.guard_bytes,
    };
    return weir_streams_new(&options, &a->streams);
}

weir_err ahead_new(const struct ahead_options *options, struct ahead **out)
{
    struct ahead *a = calloc(1, sizeof(*a));
    if (!a)
        return WEIR_ERR_NOMEM;
    a->how = *options;
    pthread_mutex_init(&a->lock, NULL);
    pthread_cond_init(&a->work, NULL);
    a->thread = calloc(options->n_threads, sizeof(a->thread[0]));
    a->worker = calloc(options->n_threads, sizeof(a->worker[0]));
    if (!a->thread || !a->worker || new_streams(a)) {
        ahead_free(a);
        return WEIR_ERR_NOMEM;
    }
    for (unsigned i = 0; i < options->n_threads; i++)
        a->worker[i] =
            (struct ahead_worker){a, reader_worker(options->reader, options->first_worker + i)};
    *out = a;
    return WEIR_OK;
}

void ahead_stop(struct ahead *a)
{
    pthread_mutex_lock(&a->lock);
    a->stop = true;
    pthread_cond_broadcast(&a->work);
    pthread_mutex_unlock(&a->lock);
}

bool ahead_stopped(struct ahead *a)
{
    pthread_mutex_lock(&a->lock);
    bool stopped = a->n_running == 0;
    pthread_mutex_unlock(&a->lock);
    return stopped;
}

void ahead_free(struct ahead *a)
{
    if (!a)
        return;
    ahead_stop(a);
    for (unsigned i = 0; i < a->n_started; i++)
        pthread_join(a->thread[i], NULL);
    weir_streams_free(a->streams);
    free(a->worker);
    free(a->thread);
    pthread_cond_destroy(&a->work);
    pthread_mutex_destroy(&a->lock);
    free(a);
}
