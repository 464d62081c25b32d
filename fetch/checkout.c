/* checkout.c - many parts of many files, on their way at once. */
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "extent_file.h"
#include "pace.h"
#include "plain_file.h"

enum {
    MAX_FLIGHTS = 2 * WEIR_HTTP_MAX_CONNECTIONS, /* half of them wait for a connection */
    MAX_OPEN = 2 * MAX_FLIGHTS, /* files; so many may wait for their hash, or for the disk */
    WAIT_MS = 100,
};

enum stage { FREE, FLYING, LANDED };

/* A part on its way. */
struct flight {
    struct checkout *all;
    struct plain_file *file;
    uint32_t part;
    uint64_t at;      /* where its next bytes go; the client's thread */
    enum stage stage; /* under lock; what is below is the client's thread's while it is FLYING */
    weir_err err;
    struct weir_diag diag;
};

struct checkout {
    struct weir_http *http;
    const struct weir_checkout_options *options;
    struct weir_checkout_result *result;
    const struct checkout_item *items;
    size_t n, coming; /* items; the first that was never opened */
    struct plain_file *open[MAX_OPEN];
    unsigned n_open;
    struct flight flight[MAX_FLIGHTS];
    struct pace pace;
    uint8_t *buffer;
    uint64_t finished_bytes; /* of files that are closed */

    pthread_mutex_t lock;
    pthread_cond_t landed;
};

/* ---- flights: the client's thread ---- */

static weir_err flight_data(void *self, const void *bytes, size_t n)
{
    struct flight *f = self;
    const struct partial *p = &f->file->parts.partial;
    if (!extents_write(p->data, f->at, bytes, n))
        return fail_errno(&f->diag, p->data_name);
    f->at += n;
    return WEIR_OK;
}

static void flight_done(void *self, weir_err err, const struct weir_diag *diag)
{
    struct flight *f = self;
    struct checkout *x = f->all;
    f->err = err;
    if (!err)
        parts_note(&f->file->parts, f->part); /* at once: we may be killed before it is settled */
    if (err && !f->diag.text[0])
        weir_diag_set(&f->diag, "%.100s: %.400s", f->file->item->file->path,
                      diag->text[0] ? diag->text : weir_err_text(err));
    pthread_mutex_lock(&x->lock);
    f->stage = LANDED;
    pthread_cond_signal(&x->landed);
    pthread_mutex_unlock(&x->lock);
}

/* ---- the caller's thread ---- */

static weir_err open_next(struct checkout *x, struct weir_diag *diag)
{
    struct plain_file *f = malloc(sizeof(*f));
    if (!f)
        return WEIR_ERR_NOMEM;
    x->open[x->n_open++] = f;
    weir_err err = plain_open(f, x->http, &x->items[x->coming++], x->options->replace, diag);
    x->result->resumed_bytes += f->resumed;
    return err;
}

static void close_one(struct checkout *x, unsigned i)
{
    struct plain_file *f = x->open[i];
    x->finished_bytes += f->done;
    plain_close(f);
    free(f);
    for (x->n_open--; i < x->n_open; i++)
        x->open[i] = x->open[i + 1];
}

/* A part to fetch, of the files that were opened first; opens others where that is not enough. */
static weir_err find_part(struct checkout *x, struct flight *to, bool *found,
                          struct weir_diag *diag)
{
    weir_err err = WEIR_OK;
    *found = false;
    for (unsigned i = 0; !err && !*found; i++) {
        if (i == x->n_open && (i == MAX_OPEN || x->coming == x->n))
            return WEIR_OK;
        if (i == x->n_open)
            err = open_next(x, diag);
        to->file = x->open[i];
        *found = !err && plain_start(to->file, &to->part);
    }
    return err;
}

static bool is_free(struct checkout *x, const struct flight *f)
{
    pthread_mutex_lock(&x->lock);
    bool yes = f->stage == FREE;
    pthread_mutex_unlock(&x->lock);
    return yes;
}

static weir_err start(struct flight *f)
{
    const struct weir_http_range range = {
        (uint64_t)f->part * PARTS_BYTES,
        parts_bytes_of(f->file->item->file->size, f->part),
        f,
        flight_data,
        flight_done,
    };
    f->at = range.at;
    f->diag.text[0] = 0;
    f->stage = FLYING; /* nobody else looks at one that is free */
    weir_err err = weir_http_start(f->file->remote, &range);
    if (err)
        f->stage = FREE;
    return err;
}

/* Twice as many as there are connections: they must not wait for us while we wait for the disk. */
static weir_err start_some(struct checkout *x, struct weir_diag *diag)
{
    for (unsigned i = 0; i < 2 * x->pace.adapt.n; i++) {
        struct flight *f = &x->flight[i];
        bool found;
        if (!is_free(x, f))
            continue;
        f->all = x;
        weir_err err = find_part(x, f, &found, diag);
        if (!err && found)
            err = start(f);
        if (err || !found)
            return err;
    }
    return WEIR_OK;
}

/* One that has landed, or NULL.  Under lock. */
static struct flight *find_landed(struct checkout *x, unsigned *n_busy)
{
    struct flight *landed = NULL;
    *n_busy = 0;
    for (unsigned i = 0; i < MAX_FLIGHTS; i++) {
        *n_busy += x->flight[i].stage != FREE;
        if (x->flight[i].stage == LANDED)
            landed = &x->flight[i];
    }
    return landed;
}

/* wait: a little, if anything is on its way. */
static struct flight *next_landed(struct checkout *x, bool wait, unsigned *n_busy)
{
    struct timespec until;
    clock_gettime(CLOCK_REALTIME, &until);
    until.tv_nsec += WAIT_MS * 1000000L;
    until.tv_sec += until.tv_nsec / 1000000000L;
    until.tv_nsec %= 1000000000L;
    pthread_mutex_lock(&x->lock);
    struct flight *f = find_landed(x, n_busy);
    if (!f && wait && *n_busy && pthread_cond_timedwait(&x->landed, &x->lock, &until) == 0)
        f = find_landed(x, n_busy);
    pthread_mutex_unlock(&x->lock);
    return f;
}

static weir_err settle(struct flight *f, struct weir_diag *diag)
{
    f->stage = FREE;
    if (f->err)
        *diag = f->diag;
    else
        plain_landed(f->file, f->part);
    return f->err;
}

/* The first file that has something to hash, or to be finished. */
static bool find_work(const struct checkout *x, unsigned *at)
{
    for (*at = 0; *at < x->n_open; ++*at)
        if (plain_has_work(x->open[*at]))
            return true;
    return false;
}

static weir_err work(struct checkout *x, unsigned at, struct weir_diag *diag)
{
    struct plain_file *f = x->open[at];
    unsigned n_bad = f->n_bad;
    weir_err err = plain_work(f, x->buffer, diag);
    x->result->n_refetched += !err && f->n_bad != n_bad;
    if (f->finished) {
        x->result->present_bytes += f->was_there ? f->item->file->size : 0;
        close_one(x, at);
    }
    return err;
}

static uint64_t done_bytes(const struct checkout *x)
{
    uint64_t sum = x->finished_bytes;
    for (unsigned i = 0; i < x->n_open; i++)
        sum += x->open[i]->done;
    return sum;
}

static weir_err tick(const struct checkout *x)
{
    const struct weir_watch *w = x->options->watch;
    return !w || w->tick(w->self, done_bytes(x), x->result->total_bytes) ? WEIR_OK
                                                                         : WEIR_ERR_CANCELLED;
}

static weir_err sync_open(struct checkout *x, bool now, struct weir_diag *diag)
{
    weir_err err = WEIR_OK;
    for (unsigned i = 0; i < x->n_open && (!err || now); i++) {
        weir_err one = plain_sync(x->open[i], now, diag);
        err = err ? err : one;
    }
    return err;
}

static weir_err run(struct checkout *x, struct weir_diag *diag)
{
    for (;;) {
        unsigned at, n_busy = 0;
        weir_err err = start_some(x, diag);
        if (err)
            return err;
        bool has_work = find_work(x, &at);
        struct flight *f = next_landed(x, !has_work, &n_busy);
        if (f)
            err = settle(f, diag);
        else if (has_work)
            err = work(x, at, diag);
        else if (!n_busy && !x->n_open && x->coming == x->n)
            return WEIR_OK;
        if (!err)
            err = tick(x);
        if (!err)
            err = sync_open(x, false, diag);
        if (err)
            return err;
        pace_look(&x->pace);
    }
}

/* What has landed whole counts, whatever else went wrong. */
static void clear(struct checkout *x)
{
    struct weir_diag ignored;
    unsigned n_busy;
    weir_http_cancel(x->http);
    do {
        struct flight *f = next_landed(x, true, &n_busy);
        weir_err err = f ? settle(f, &ignored) : WEIR_OK;
        (void)err; /* the first one is told */
    } while (n_busy);
    /* Bytes that no sync could bring to disk are not kept; what is marked there already is. */
    if (sync_open(x, true, &ignored) == WEIR_OK)
        x->result->kept_bytes = done_bytes(x);
    while (x->n_open)
        close_one(x, x->n_open - 1);
}

/* A file in the way is told of before a byte is fetched, if its size tells. */
static weir_err check_targets(const struct checkout *x, struct weir_diag *diag)
{
    weir_err err = WEIR_OK;
    bool ignored;
    for (size_t i = 0; !err && i < x->n; i++)
        err = plain_look(&x->items[i], x->options->replace, &ignored, diag);
    return err;
}

weir_err checkout_items_fetch(struct weir_http *http, const struct checkout_item *items, size_t n,
                              const struct weir_checkout_options *options,
                              struct weir_checkout_result *result, struct weir_diag *diag)
{
    struct checkout *x = calloc(1, sizeof(*x));
    if (!x)
        return WEIR_ERR_NOMEM;
    *x = (struct checkout){
        .http = http, .options = options, .result = result, .items = items, .n = n};
    pthread_mutex_init(&x->lock, NULL);
    pthread_cond_init(&x->landed, NULL);
    result->n_files = n;
    for (size_t i = 0; i < n; i++)
        result->total_bytes += items[i].file->size;
    weir_err err = check_targets(x, diag);
    if (!err) {
        pace_begin(&x->pace, http, options->n_connections);
        x->buffer = malloc(PLAIN_BUFFER);
        err = x->buffer ? run(x, diag) : WEIR_ERR_NOMEM;
        if (err)
            clear(x);
    }
    result->body_bytes = weir_http_counts(http).n_bytes;
    free(x->buffer);
    pthread_cond_destroy(&x->landed);
    pthread_mutex_destroy(&x->lock);
    free(x);
    return err;
}
