#include "extents.h"

#include <pthread.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "adapt.h"
#include "client.h"
#include "extent_file.h"
#include "partial.h"
#include "sidecar.h"

enum {
    MAX_FLIGHTS = 2 * WEIR_HTTP_MAX_CONNECTIONS, /* half of them wait for a connection */
    MAX_DAMAGED = 3,                             /* times that an extent may come damaged */
    WAIT_MS = 100,
};

static const double look_seconds = 1; /* between looks at how many connections pay */

/* An extent on its way. */
struct flight {
    struct fetch *fetch;
    uint32_t extent;
    uint64_t at;        /* where its next bytes go; the client's thread */
    unsigned n_damaged; /* times that it came damaged */
    bool busy;          /* under lock, as is all below */
    bool landed;
    weir_err err;
    struct weir_diag diag;
};

struct fetch {
    const struct extents_order *order;
    struct flight flight[MAX_FLIGHTS];
    uint32_t coming; /* the first extent that was never started */
    uint32_t n_refetched;
    uint8_t *scratch;
    uint64_t done_bytes, total_bytes;
    struct adapt adapt;
    double looked;
    struct weir_http_counts counts; /* at the last look */

    pthread_mutex_t lock;
    pthread_cond_t landed;
};

/* ---- flights: the client's thread ---- */

static weir_err flight_data(void *self, const void *bytes, size_t n)
{
    struct flight *f = self;
    if (extents_write(f->fetch->order->fd, f->at, bytes, n)) {
        f->at += n;
        return WEIR_OK;
    }
    partial_errno(&f->diag, f->fetch->order->fd_name);
    return WEIR_ERR_IO;
}

static void flight_done(void *self, weir_err err, const struct weir_diag *diag)
{
    struct flight *f = self;
    pthread_mutex_lock(&f->fetch->lock);
    f->err = err;
    if (!f->diag.text[0])
        f->diag = *diag;
    f->landed = true;
    pthread_cond_signal(&f->fetch->landed);
    pthread_mutex_unlock(&f->fetch->lock);
}

/* ---- the caller's thread ---- */

static weir_err start(struct fetch *x, struct flight *f)
{
    struct weir_extent e = weir_store_extent(x->order->store, f->extent);
    const struct weir_http_range range = {e.at, e.bytes, f, flight_data, flight_done};
    f->at = e.at;
    f->landed = false;
    f->diag.text[0] = 0;
    weir_err err = weir_http_start(x->order->file, &range);
    f->busy = err == WEIR_OK;
    return err;
}

/* Twice as many as there are connections: they must not wait for us while we wait for the disk. */
static weir_err start_some(struct fetch *x)
{
    uint32_t n_extents = weir_store_info(x->order->store)->n_extents;
    for (unsigned i = 0; i < 2 * x->adapt.n; i++) {
        struct flight *f = &x->flight[i];
        if (f->busy)
            continue;
        while (x->coming < n_extents && sidecar_has(x->order->have, x->coming))
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

static struct flight *next_landed(struct fetch *x, bool wait, unsigned *n_busy)
{
    struct timespec until;
    clock_gettime(CLOCK_REALTIME, &until);
    until.tv_nsec += WAIT_MS * 1000000L;
    until.tv_sec += until.tv_nsec / 1000000000L;
    until.tv_nsec %= 1000000000L;
    struct flight *landed = NULL;
    pthread_mutex_lock(&x->lock);
    for (bool again = true; again; again = wait && !landed && *n_busy) {
        *n_busy = 0;
        for (unsigned i = 0; i < MAX_FLIGHTS; i++) {
            *n_busy += x->flight[i].busy;
            if (!landed && x->flight[i].busy && x->flight[i].landed)
                landed = &x->flight[i];
        }
        if (wait && !landed && *n_busy && pthread_cond_timedwait(&x->landed, &x->lock, &until) != 0)
            wait = false; /* one more look */
    }
    pthread_mutex_unlock(&x->lock);
    return landed;
}

static weir_err tick(const struct fetch *x)
{
    const struct weir_watch *w = x->order->watch;
    return !w || w->tick(w->self, x->done_bytes, x->total_bytes) ? WEIR_OK : WEIR_ERR_CANCELLED;
}

/* The padding is not fetched: it is zero by the format. */
static weir_err fill_padding(const struct fetch *x, uint32_t extent, struct weir_diag *diag)
{
    static const uint8_t zeros[WEIR_ALIGN];
    struct weir_extent e = weir_store_extent(x->order->store, extent);
    size_t n = extents_span(x->order->store, extent) - e.bytes;
    if (extents_write(x->order->fd, e.at + e.bytes, zeros, n))
        return WEIR_OK;
    partial_errno(diag, x->order->fd_name);
    return WEIR_ERR_IO;
}

static weir_err land(struct fetch *x, struct flight *f, struct weir_diag *diag)
{
    f->busy = false;
    if (f->err) {
        *diag = f->diag;
        return f->err;
    }
    const struct extents_order *o = x->order;
    weir_err err = fill_padding(x, f->extent, diag);
    if (!err)
        err = extents_check(o->store, f->extent, o->fd, x->scratch, diag);
    if (err == WEIR_ERR_CORRUPT && ++f->n_damaged < MAX_DAMAGED) {
        x->n_refetched++;
        return start(x, f);
    }
    if (err)
        return err;
    x->done_bytes += weir_store_extent(o->store, f->extent).bytes;
    o->got(o->self, f->extent);
    return WEIR_OK;
}

static void look(struct fetch *x)
{
    double now = client_now();
    if (now - x->looked < look_seconds)
        return;
    struct weir_http_counts counts = weir_http_counts(x->order->http);
    double rate = (double)(counts.n_bytes - x->counts.n_bytes) / (now - x->looked);
    weir_http_set_connections(x->order->http,
                              adapt_look(&x->adapt, rate, counts.n_failed != x->counts.n_failed));
    x->counts = counts;
    x->looked = now;
}

static weir_err run(struct fetch *x, struct weir_diag *diag)
{
    const struct extents_order *o = x->order;
    for (;;) {
        weir_err err = start_some(x);
        unsigned n_busy;
        struct flight *f = err ? NULL : next_landed(x, true, &n_busy);
        if (f)
            err = land(x, f, diag);
        else if (!err && n_busy == 0)
            return WEIR_OK;
        if (!err)
            err = tick(x);
        if (!err)
            err = o->now_and_then(o->self, diag);
        if (err)
            return err;
        look(x);
    }
}

/* What has landed whole counts, whatever else went wrong. */
static void clear(struct fetch *x)
{
    unsigned n_busy;
    weir_http_cancel(x->order->http);
    do {
        struct flight *f = next_landed(x, true, &n_busy);
        struct weir_diag ignored;
        if (f && f->err)
            f->busy = false;
        else if (f) {
            f->n_damaged = MAX_DAMAGED;
            (void)land(x, f, &ignored);
        }
    } while (n_busy);
}

weir_err extents_fetch(const struct extents_order *order, uint32_t *n_refetched,
                       struct weir_diag *diag)
{
    const struct weir_store_info *info = weir_store_info(order->store);
    struct fetch *x = calloc(1, sizeof(*x));
    if (!x)
        return WEIR_ERR_NOMEM;
    x->order = order;
    pthread_mutex_init(&x->lock, NULL);
    pthread_cond_init(&x->landed, NULL);
    for (uint32_t i = 0; i < info->n_extents; i++)
        x->total_bytes += weir_store_extent(order->store, i).bytes;
    x->done_bytes = extents_bytes(order->store, order->have);
    adapt_begin(&x->adapt, order->n_connections);
    weir_http_set_connections(order->http, x->adapt.n);
    x->looked = client_now();
    x->counts = weir_http_counts(order->http);
    x->scratch = extents_scratch();
    weir_err err = x->scratch ? run(x, diag) : WEIR_ERR_NOMEM;
    if (err)
        clear(x);
    *n_refetched = x->n_refetched;
    free(x->scratch);
    pthread_cond_destroy(&x->landed);
    pthread_mutex_destroy(&x->lock);
    free(x);
    return err;
}
