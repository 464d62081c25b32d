/* patience.c - how long a range is tried for, and how fast: what follows a try, when one is too
 * slow, when all are too quick. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "backoff.h"
#include "client.h"

enum {
    MAX_RESOLVED = 2, /* signed URLs in a row that are refused at once */
    /* What a try must bring so that the ones before it are forgiven: a server that gives a byte at
     * a time does not hold us for ever. */
    FORGIVEN_BYTES = 64 << 10,
};

static const double burst_seconds = 0.1; /* that the rate limit lets through at once */

void range_finish(struct range *r, weir_err err, const struct weir_diag *diag)
{
    static const struct weir_diag none = {""};
    r->want.done(r->want.self, err, diag ? diag : &none);
    free(r->url);
    free(r);
}

void range_give_up(struct range *r, weir_err err, const char *cause)
{
    struct weir_diag diag = {""};
    char tries[32] = "";
    if (r->n_failed > 1)
        snprintf(tries, sizeof(tries), " (%u tries)", r->n_failed);
    if (cause[0])
        weir_diag_set(&diag, "%s%s", cause, tries);
    range_finish(r, err, &diag);
}

static void wait_until(struct weir_http *http, struct range *r, double when)
{
    r->not_before = when;
    r->next = http->waiting;
    http->waiting = r;
}

/* Where redirects led is forgotten: the next try begins at the URL that the caller named. */
static void forget_redirects(struct range *r)
{
    free(r->url);
    r->url = NULL;
    r->n_redirects = 0;
    if (r->file->resolved != r->used)
        return; /* another range has been led elsewhere since */
    free(r->file->resolved);
    r->file->resolved = NULL;
}

static void try_later(struct weir_http *http, struct range *r, const struct verdict *v)
{
    const struct weir_http_options *o = &http->options;
    double now = client_now();
    double delay = 1e-3 * backoff_ms(o->backoff_ms, r->n_failed, backoff_random(&http->random));
    if (v->has_wait && v->wait > delay)
        delay = v->wait + 1e-3 * backoff_ms(o->backoff_ms, 1, backoff_random(&http->random));
    char cause[sizeof(v->cause) + 64];
    if (r->n_failed > o->n_retries) {
        range_give_up(r, v->err, v->cause);
    } else if (now + delay - r->moved > o->timeout_seconds) {
        snprintf(cause, sizeof(cause),
                 "%s; nothing came for %.0f s, and the next try is %.0f s away", v->cause,
                 now - r->moved, delay);
        range_give_up(r, v->err, cause);
    } else {
        if (v->has_wait)
            http->hold_until = fmax(http->hold_until, now + delay);
        wait_until(http, r, now + delay);
    }
}

/* The server has no more to give for so many seconds: better not to ask than to be refused. */
static void hold_back(struct weir_http *http, uint32_t seconds)
{
    double wait = fmin(seconds, http->options.timeout_seconds);
    wait += 1e-3 * backoff_ms(http->options.backoff_ms, 1, backoff_random(&http->random));
    http->hold_until = fmax(http->hold_until, client_now() + wait);
}

/* A try of r is over, and brought n_got bytes. */
void range_decide(struct weir_http *http, struct range *r, const struct verdict *v, uint64_t n_got)
{
    /* What begins anew each time has not come further. */
    if (n_got && !r->body)
        r->moved = client_now();
    if (n_got >= FORGIVEN_BYTES && !r->body)
        r->n_failed = r->n_resolved = 0;
    /* This is where the file lies: the other ranges may go there at once. */
    if (r->url && (n_got || v->kind == VERDICT_TAKE)) {
        free(r->file->resolved);
        r->file->resolved = r->url;
        r->url = NULL;
    }
    switch (v->kind) {
    case VERDICT_TAKE:
        if (v->has_wait)
            hold_back(http, v->wait);
        range_finish(r, WEIR_OK, NULL);
        return;
    case VERDICT_FOLLOW:
        wait_until(http, r, 0);
        return;
    case VERDICT_ANEW:
        forget_redirects(r);
        if (++r->n_resolved > MAX_RESOLVED)
            range_give_up(r, v->err, v->cause);
        else
            wait_until(http, r, 0);
        return;
    case VERDICT_LATER:
        forget_redirects(r);
        r->n_failed++;
        atomic_fetch_add(&http->n_failed, 1);
        try_later(http, r, v);
        return;
    case VERDICT_FAIL:
        break;
    }
    range_give_up(r, v->err, v->cause);
}

/* A try that is slower than the options allow, or brings nothing at all for too long. */
void try_watch(struct weir_http *http, struct try *t, double now)
{
    const struct weir_http_options *o = &http->options;
    struct range *r = t->range;
    double window = now - t->window_at;
    if (window < o->speed_seconds && now - r->moved < o->timeout_seconds)
        return;
    if (t->paused) { /* its bytes are here, and we do not take them */
        r->moved = t->window_at = now;
        t->window_bytes = t->n_got;
        return;
    }
    uint64_t moved = t->n_got - t->window_bytes;
    double least = (double)o->speed_limit;
    /* Who is held back by the rate limit is not slow. */
    if (o->limit_rate)
        least = fmin(least, (double)o->limit_rate / (2.0 * o->n_connections));
    if (moved)
        r->moved = now;
    bool slow = window >= o->speed_seconds && (double)moved < least * window;
    t->window_at = now;
    t->window_bytes = t->n_got;
    if (!slow && moved)
        return;
    struct verdict v = {.kind = VERDICT_LATER, .err = WEIR_ERR_NETWORK};
    snprintf(v.cause, sizeof(v.cause), "stalled: %.0f bytes/s for %.0f s", (double)moved / window,
             window);
    uint64_t n_got = t->n_got;
    try_abort(t);
    range_decide(http, r, &v, n_got);
}

static bool is_urged(struct range *r)
{
    if (!r->urged || !r->urged(r->want.self))
        return false;
    r->urged = NULL; /* from now on it is like any other */
    return true;
}

void client_hear_urges(struct weir_http *http)
{
    double now = client_now();
    for (unsigned i = 0; i < http->options.n_connections; i++) {
        struct range *r = http->try[i].range;
        if (r && is_urged(r))
            r->moved = now;
    }
    for (struct range *r = http->waiting; r; r = r->next) {
        if (!is_urged(r))
            continue;
        r->moved = r->moved == 0 ? 0 : now;
        r->n_failed = 0;
        r->not_before = 0;
    }
}

double client_limit_rate(struct weir_http *http)
{
    const struct weir_http_options *o = &http->options;
    double rate = (double)o->limit_rate;
    if (rate == 0)
        return CLIENT_LOOK_MS;
    double now = client_now();
    http->allowance =
        fmin(http->allowance + rate * (now - http->allowance_at), rate * burst_seconds);
    http->allowance_at = now;
    /* A little each, and another one first each time: nobody starves. */
    http->first = (http->first + 1) % o->n_connections;
    for (unsigned i = 0; i < o->n_connections && http->allowance >= 0; i++) {
        struct try *t = &http->try[(http->first + i) % o->n_connections];
        if (t->range && t->paused) {
            t->paused = false;
            (void)curl_easy_pause(t->easy, CURLPAUSE_CONT);
        }
    }
    return http->allowance >= 0 ? CLIENT_LOOK_MS : 1 - 1e3 * http->allowance / rate;
}
