#include "extents.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "extent_file.h"
#include "marks.h"
#include "pace.h"
#include "sidecar.h"

enum {
    MAX_FLIGHTS = 2 * WEIR_HTTP_MAX_CONNECTIONS, /* half of them wait for a connection */
    MAX_DAMAGED = 3,                             /* times that an extent may come damaged */
    WAIT_MS = 100,
};

enum stage {
    FREE,
    FLYING, /* the client's */
    LANDED, /* all of it has come */
    TAKEN,  /* a worker's */
    DONE,   /* verified and taken, or flight->err */
};

/* An extent on its way. */
struct flight {
    struct fetch *fetch;
    uint32_t extent;
    uint64_t place;     /* in the file */
    uint64_t at;        /* where its next bytes go; the client's thread */
    unsigned n_damaged; /* times that it came damaged */
    enum stage stage;   /* under lock; what is below belongs to whoever the stage says */
    weir_err err;
    struct weir_diag diag;
};

struct worker {
    struct fetch *fetch;
    unsigned number;
    pthread_t thread;
    bool runs;
    uint8_t *scratch; /* an extent and its padding */
};

struct fetch {
    const struct extents_order *order;
    struct flight flight[MAX_FLIGHTS];
    struct worker worker[EXTENTS_MAX_WORKERS];
    uint32_t coming; /* the first extent that was never started */
    uint32_t n_refetched;
    uint64_t done_bytes, total_bytes;
    struct pace pace;

    pthread_mutex_t lock;
    pthread_cond_t changed; /* a flight's stage, or `ending` */
    bool ending;            /* under lock */
};

static void set_stage(struct flight *f, enum stage stage)
{
    pthread_mutex_lock(&f->fetch->lock);
    f->stage = stage;
    pthread_cond_broadcast(&f->fetch->changed);
    pthread_mutex_unlock(&f->fetch->lock);
}

/* ---- flights: the client's thread ---- */

static weir_err flight_data(void *self, const void *bytes, size_t n)
{
    struct flight *f = self;
    if (extents_write(f->fetch->order->fd, f->at, bytes, n)) {
        f->at += n;
        return WEIR_OK;
    }
    return fail_errno(&f->diag, f->fetch->order->fd_name);
}

static void flight_done(void *self, weir_err err, const struct weir_diag *diag)
{
    struct flight *f = self;
    f->err = err;
    if (err && !f->diag.text[0])
        f->diag = *diag;
    set_stage(f, err ? DONE : LANDED);
}

/* ---- what has landed: a worker's thread, or the caller's ---- */

/* The padding is not fetched: it is zero by the format. */
static weir_err fill_padding(struct flight *f)
{
    static const uint8_t zeros[WEIR_ALIGN];
    const struct extents_order *o = f->fetch->order;
    uint32_t bytes = weir_store_extent(o->store, f->extent).bytes;
    size_t n = extents_span(o->store, f->extent) - bytes;
    return extents_write(o->fd, f->place + bytes, zeros, n) ? WEIR_OK
                                                            : fail_errno(&f->diag, o->fd_name);
}

static void work(struct worker *w, struct flight *f)
{
    const struct extents_order *o = w->fetch->order;
    f->diag.text[0] = 0;
    f->err = fill_padding(f);
    if (!f->err)
        f->err = extents_check_at(o->store, f->extent, o->fd, f->place, w->scratch, &f->diag);
    if (!f->err && o->take)
        f->err = o->take(o->self, w->number, f->extent, w->scratch, &f->diag);
    set_stage(f, DONE);
}

/* One that is in `stage`, which becomes `next`.  Under lock. */
static struct flight *find(struct fetch *x, enum stage stage, enum stage next)
{
    for (unsigned i = 0; i < MAX_FLIGHTS; i++) {
        if (x->flight[i].stage != stage)
            continue;
        x->flight[i].stage = next;
        return &x->flight[i];
    }
    return NULL;
}

static void *worker_main(void *arg)
{
    struct worker *w = arg;
    struct fetch *x = w->fetch;
    pthread_mutex_lock(&x->lock);
    while (!x->ending) {
        struct flight *f = find(x, LANDED, TAKEN);
        if (!f) {
            pthread_cond_wait(&x->changed, &x->lock);
            continue;
        }
        pthread_mutex_unlock(&x->lock);
        work(w, f);
        pthread_mutex_lock(&x->lock);
    }
    pthread_mutex_unlock(&x->lock);
    return NULL;
}

/* One worker at least, which is the caller's thread where no thread is to be had. */
static weir_err hire(struct fetch *x)
{
    unsigned n = x->order->n_workers;
    for (unsigned i = 0; i < (n ? n : 1); i++) {
        struct worker *w = &x->worker[i];
        w->fetch = x;
        w->number = i;
        w->scratch = malloc(WEIR_MAX_EXTENT_BYTES + WEIR_ALIGN);
        if (!w->scratch)
            return i ? WEIR_OK : WEIR_ERR_NOMEM;
        w->runs = n && pthread_create(&w->thread, NULL, worker_main, w) == 0;
    }
    return WEIR_OK;
}

static void dismiss(struct fetch *x)
{
    pthread_mutex_lock(&x->lock);
    x->ending = true;
    pthread_cond_broadcast(&x->changed);
    pthread_mutex_unlock(&x->lock);
    for (unsigned i = 0; i < EXTENTS_MAX_WORKERS; i++) {
        if (x->worker[i].runs)
            (void)pthread_join(x->worker[i].thread, NULL);
        free(x->worker[i].scratch);
    }
}

/* ---- the caller's thread ---- */

static weir_err start(struct fetch *x, struct flight *f)
{
    const struct extents_order *o = x->order;
    struct weir_extent e = weir_store_extent(o->store, f->extent);
    const struct weir_http_range range = {e.at, e.bytes, f, flight_data, flight_done};
    f->place = o->in_slots ? (uint64_t)(f - x->flight) * EXTENTS_SLOT_BYTES : e.at;
    f->at = f->place;
    f->diag.text[0] = 0;
    set_stage(f, FLYING);
    weir_err err = weir_http_start(o->file, &range);
    if (err)
        set_stage(f, FREE);
    return err;
}

static bool is_missing(const struct extents_order *o, uint32_t extent)
{
    return (!o->want || sidecar_has(o->want, extent)) && !sidecar_has(o->have, extent);
}

/* Twice as many as there are connections: they must not wait for us while we wait for the disk. But
 * one each where what has come is lost with us. */
static weir_err start_some(struct fetch *x)
{
    const struct extents_order *o = x->order;
    uint32_t n_extents = weir_store_info(o->store)->n_extents;
    unsigned n = o->in_slots ? x->pace.adapt.n : 2 * x->pace.adapt.n;
    for (unsigned i = 0; i < n; i++) {
        struct flight *f = &x->flight[i];
        pthread_mutex_lock(&x->lock);
        bool is_free = f->stage == FREE;
        pthread_mutex_unlock(&x->lock);
        if (!is_free)
            continue;
        while (x->coming < n_extents && !is_missing(o, x->coming))
            x->coming++;
        if (x->coming == n_extents)
            return WEIR_OK;
        f->fetch = x;
        f->extent = x->coming++;
        f->n_damaged = 0;
        weir_err err = start(x, f);
        if (err)
            return err;
    }
    return WEIR_OK;
}

static unsigned count_busy(const struct fetch *x)
{
    unsigned n = 0;
    for (unsigned i = 0; i < MAX_FLIGHTS; i++)
        n += x->flight[i].stage != FREE;
    return n;
}

static struct flight *next_landed(struct fetch *x)
{
    pthread_mutex_lock(&x->lock);
    struct flight *f = x->worker[0].runs ? NULL : find(x, LANDED, TAKEN);
    pthread_mutex_unlock(&x->lock);
    return f;
}

/* One that is done, which is free then.  Waits a little for it. */
static struct flight *next_done(struct fetch *x, unsigned *n_busy)
{
    struct timespec until;
    clock_gettime(CLOCK_REALTIME, &until);
    until.tv_nsec += WAIT_MS * 1000000L;
    until.tv_sec += until.tv_nsec / 1000000000L;
    until.tv_nsec %= 1000000000L;
    struct flight *landed = next_landed(x);
    if (landed)
        work(&x->worker[0], landed);
    pthread_mutex_lock(&x->lock);
    struct flight *f = find(x, DONE, FREE);
    *n_busy = count_busy(x);
    if (!f && *n_busy && pthread_cond_timedwait(&x->changed, &x->lock, &until) == 0) {
        f = find(x, DONE, FREE);
        *n_busy = count_busy(x);
    }
    pthread_mutex_unlock(&x->lock);
    return f;
}

static weir_err tick(const struct fetch *x)
{
    const struct weir_watch *w = x->order->watch;
    return !w || w->tick(w->self, x->done_bytes, x->total_bytes) ? WEIR_OK : WEIR_ERR_CANCELLED;
}

/* What became of a flight that is done.  retry: an extent that came damaged may come again. */
static weir_err settle(struct fetch *x, struct flight *f, bool retry, struct weir_diag *diag)
{
    const struct extents_order *o = x->order;
    if (retry && f->err == WEIR_ERR_CORRUPT && ++f->n_damaged < MAX_DAMAGED) {
        x->n_refetched++;
        return start(x, f);
    }
    if (f->err) {
        *diag = f->diag;
        return f->err;
    }
    x->done_bytes += weir_store_extent(o->store, f->extent).bytes;
    o->got(o->self, f->extent);
    return WEIR_OK;
}

static weir_err run(struct fetch *x, struct weir_diag *diag)
{
    const struct extents_order *o = x->order;
    for (;;) {
        weir_err err = start_some(x);
        unsigned n_busy = 0;
        struct flight *f = err ? NULL : next_done(x, &n_busy);
        if (f)
            err = settle(x, f, true, diag);
        else if (!err && n_busy == 0)
            return WEIR_OK;
        if (!err)
            err = tick(x);
        if (!err)
            err = o->now_and_then(o->self, diag);
        if (err)
            return err;
        pace_look(&x->pace);
    }
}

/* What has landed whole counts, whatever else went wrong. */
static void clear(struct fetch *x)
{
    unsigned n_busy;
    struct flight *f;
    weir_http_cancel(x->order->http);
    do {
        struct weir_diag ignored;
        f = next_done(x, &n_busy);
        if (f)
            (void)settle(x, f, false, &ignored);
    } while (f || n_busy);
}

static void begin(struct fetch *x)
{
    const struct extents_order *o = x->order;
    for (uint32_t i = 0; i < weir_store_info(o->store)->n_extents; i++) {
        if (o->want && !sidecar_has(o->want, i))
            continue;
        uint32_t bytes = weir_store_extent(o->store, i).bytes;
        x->total_bytes += bytes;
        x->done_bytes += sidecar_has(o->have, i) ? bytes : 0;
    }
    pace_begin(&x->pace, o->http, o->n_connections);
}

weir_err extents_fetch(const struct extents_order *order, uint32_t *n_refetched,
                       struct weir_diag *diag)
{
    struct fetch *x = calloc(1, sizeof(*x));
    if (!x)
        return WEIR_ERR_NOMEM;
    x->order = order;
    pthread_mutex_init(&x->lock, NULL);
    pthread_cond_init(&x->changed, NULL);
    begin(x);
    weir_err err = hire(x);
    if (!err)
        err = run(x, diag);
    if (err)
        clear(x);
    dismiss(x);
    *n_refetched = x->n_refetched;
    pthread_cond_destroy(&x->changed);
    pthread_mutex_destroy(&x->lock);
    free(x);
    return err;
}
