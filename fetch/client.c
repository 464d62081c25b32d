#include "client.h"

#include <math.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum {
    IDLE_MS = 60000,          /* without any range; a new one wakes the thread */
    RESERVED_CONNECTIONS = 2, /* not for what nobody waits for */
};

double client_now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

/* ---- the thread ---- */

/* What is queued, in order, behind what waits.  false: the client is ending. */
static bool take_queued(struct weir_http *http)
{
    pthread_mutex_lock(&http->lock);
    struct range *new = http->queued;
    http->queued = NULL;
    http->queued_end = &http->queued;
    bool ending = http->ending;
    pthread_mutex_unlock(&http->lock);
    struct range **end = &http->waiting;
    while (*end)
        end = &(*end)->next;
    *end = new;
    return !ending;
}

static void cancel_all(struct weir_http *http)
{
    for (unsigned i = 0; i < http->options.n_connections; i++) {
        struct range *r = http->try[i].range;
        if (!r)
            continue;
        try_abort(&http->try[i]);
        range_finish(r, WEIR_ERR_CANCELLED, NULL);
    }
    while (http->waiting) {
        struct range *r = http->waiting;
        http->waiting = r->next;
        range_finish(r, WEIR_ERR_CANCELLED, NULL);
    }
}

/* The first range that may be tried, but for those that nobody waits for. */
static struct range **find_due(struct weir_http *http, double now, bool ahead)
{
    for (struct range **at = &http->waiting; *at; at = &(*at)->next)
        if ((*at)->not_before <= now && range_is_ahead(*at) == ahead)
            return at;
    return NULL;
}

/* Who waits comes first, and finds a connection or two that nobody else may have. */
static struct range *take_due(struct weir_http *http, double now)
{
    unsigned n_running = 0, most = atomic_load(&http->n_wanted);
    for (unsigned i = 0; i < http->options.n_connections; i++)
        n_running += http->try[i].range != NULL;
    struct range **at = find_due(http, now, false);
    if (!at && (n_running + RESERVED_CONNECTIONS < most || n_running == 0))
        at = find_due(http, now, true);
    if (!at)
        return NULL;
    struct range *r = *at;
    *at = r->next;
    return r;
}

static void begin_tries(struct weir_http *http)
{
    double now = client_now();
    unsigned n_free = atomic_load(&http->n_wanted);
    for (unsigned i = 0; i < http->options.n_connections; i++)
        n_free -= http->try[i].range && n_free;
    for (unsigned i = 0; i < http->options.n_connections && now >= http->hold_until; i++) {
        if (http->try[i].range || n_free == 0)
            continue;
        n_free--;
        struct range *r = take_due(http, now);
        if (!r)
            return;
        if (r->moved == 0)
            r->moved = now;
        weir_err err = try_begin(&http->try[i], r);
        if (err)
            range_give_up(r, err, "out of memory");
    }
}

static void end_tries(struct weir_http *http)
{
    int n_left;
    CURLMsg *message;
    while ((message = curl_multi_info_read(http->multi, &n_left))) {
        if (message->msg != CURLMSG_DONE)
            continue;
        struct try *t = NULL;
        CURLcode code = message->data.result;
        (void)curl_easy_getinfo(message->easy_handle, CURLINFO_PRIVATE, &t);
        struct range *r = t->range;
        struct verdict v;
        try_end(t, code, &v);
        range_decide(http, r, &v, t->n_got);
    }
}

static void watch_tries(struct weir_http *http)
{
    double now = client_now();
    for (unsigned i = 0; i < http->options.n_connections; i++)
        if (http->try[i].range)
            try_watch(http, &http->try[i], now);
}

static int wait_ms(const struct weir_http *http, double ms)
{
    bool running = false;
    for (unsigned i = 0; i < http->options.n_connections; i++)
        running = running || http->try[i].range;
    if (!running && !http->waiting)
        return IDLE_MS;
    double now = client_now();
    ms = fmin(ms, CLIENT_LOOK_MS);
    for (const struct range *r = http->waiting; r && !running; r = r->next)
        ms = fmin(ms, 1e3 * (fmax(r->not_before, http->hold_until) - now));
    return ms > 0 ? (int)ms + 1 : 0;
}

static void *run(void *self)
{
    struct weir_http *http = self;
    const struct weir_http_options *o = &http->options;
    while (take_queued(http)) {
        if (o->stop && o->stop(o->self))
            atomic_store(&http->cancelled, true);
        if (atomic_load(&http->cancelled))
            cancel_all(http);
        client_hear_urges(http);
        double ms = client_limit_rate(http);
        int n_running;
        (void)curl_multi_perform(http->multi, &n_running);
        end_tries(http);
        watch_tries(http);
        begin_tries(http); /* last: a connection that has become free does not wait for a poll */
        (void)curl_multi_poll(http->multi, NULL, 0, wait_ms(http, ms), NULL);
    }
    do {
        cancel_all(http); /* whoever hears of it may start another range */
        (void)take_queued(http);
    } while (http->waiting);
    return NULL;
}

/* ---- the client ---- */

static weir_err copy_text(const char *from, const char **to)
{
    *to = from ? strdup(from) : NULL;
    return from && !*to ? WEIR_ERR_NOMEM : WEIR_OK;
}

/* Nothing that could end a header's line. */
static bool is_token(const char *text)
{
    for (; *text; text++)
        if ((unsigned char)*text <= ' ' || *text == 0x7f)
            return false;
    return true;
}

static weir_err take_options(struct weir_http *http, const struct weir_http_options *o)
{
    struct weir_http_options *own = &http->options;
    *own = *o;
    own->ca_file = own->token = own->token_url = NULL;
    own->n_connections = o->n_connections ? o->n_connections : WEIR_HTTP_MAX_CONNECTIONS;
    own->n_retries = o->n_retries ? o->n_retries : 10;
    own->timeout_seconds = o->timeout_seconds ? o->timeout_seconds : 60;
    own->backoff_ms = o->backoff_ms ? o->backoff_ms : 500;
    own->speed_limit = o->speed_limit ? o->speed_limit : 1000;
    own->speed_seconds = o->speed_seconds ? o->speed_seconds : 20;
    atomic_store(&http->n_wanted, own->n_connections);
    weir_err err = copy_text(o->ca_file, &own->ca_file);
    if (!err)
        err = copy_text(o->token, &own->token);
    return err ? err : copy_text(o->token_url, &own->token_url);
}

/* Signals are the caller's threads' business. */
static weir_err start_thread(struct weir_http *http)
{
    sigset_t all, before;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    http->has_thread = pthread_create(&http->thread, NULL, run, http) == 0;
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    return http->has_thread ? WEIR_OK : WEIR_ERR_NOMEM;
}

static weir_err fill(struct weir_http *http, const struct weir_http_options *options)
{
    http->queued_end = &http->queued;
    http->allowance_at = client_now();
    http->random = (uint64_t)(1e9 * http->allowance_at) | 1;
    weir_err err = take_options(http, options);
    if (err)
        return err;
    http->multi = curl_multi_init();
    if (!http->multi)
        return WEIR_ERR_NOMEM;
    (void)curl_multi_setopt(http->multi, CURLMOPT_MAX_TOTAL_CONNECTIONS,
                            (long)http->options.n_connections);
    /* With HTTP/2 too, a range has a connection: one for all would have one window, and one share
     * of a line or a server that gives each connection as much. */
    (void)curl_multi_setopt(http->multi, CURLMOPT_PIPELINING, (long)CURLPIPE_NOTHING);
    for (unsigned i = 0; !err && i < http->options.n_connections; i++)
        err = try_init(&http->try[i], http);
    return err ? err : start_thread(http);
}

static void start_curl(void)
{
    (void)curl_global_init(CURL_GLOBAL_DEFAULT); /* a failure shows in curl_multi_init() */
}

weir_err weir_http_new(const struct weir_http_options *options, struct weir_http **out,
                       struct weir_diag *diag)
{
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    if (options->n_connections > WEIR_HTTP_MAX_CONNECTIONS ||
        (options->token && (!options->token_url || !is_token(options->token)))) {
        weir_diag_set(diag,
                      "at most %d connections; a token has no blanks or line ends in it, and "
                      "takes a URL to send it to",
                      WEIR_HTTP_MAX_CONNECTIONS);
        return WEIR_ERR_INVALID;
    }
    pthread_once(&once, start_curl);
    struct weir_http *http = calloc(1, sizeof(*http));
    if (!http)
        return WEIR_ERR_NOMEM;
    pthread_mutex_init(&http->lock, NULL);
    weir_err err = fill(http, options);
    if (err) {
        weir_diag_set(diag, "out of memory while starting a client");
        weir_http_free(http);
        return err;
    }
    *out = http;
    return WEIR_OK;
}

void weir_http_free(struct weir_http *http)
{
    if (!http)
        return;
    if (http->has_thread) {
        pthread_mutex_lock(&http->lock);
        http->ending = true;
        pthread_mutex_unlock(&http->lock);
        (void)curl_multi_wakeup(http->multi);
        (void)pthread_join(http->thread, NULL);
    }
    for (unsigned i = 0; i < WEIR_HTTP_MAX_CONNECTIONS; i++)
        try_free(&http->try[i]);
    (void)curl_multi_cleanup(http->multi);
    pthread_mutex_destroy(&http->lock);
    free((char *)http->options.ca_file);
    free((char *)http->options.token);
    free((char *)http->options.token_url);
    free(http);
}

void weir_http_set_connections(struct weir_http *http, unsigned n)
{
    atomic_store(&http->n_wanted,
                 n < http->options.n_connections ? n : http->options.n_connections);
}

void weir_http_cancel(struct weir_http *http)
{
    atomic_store(&http->cancelled, true);
    (void)curl_multi_wakeup(http->multi);
}

weir_err client_queue(const struct range *range)
{
    struct weir_http *http = range->file->http;
    struct range *r = malloc(sizeof(*r));
    if (!r)
        return WEIR_ERR_NOMEM;
    *r = *range;
    pthread_mutex_lock(&http->lock);
    *http->queued_end = r;
    http->queued_end = &r->next;
    pthread_mutex_unlock(&http->lock);
    (void)curl_multi_wakeup(http->multi);
    return WEIR_OK;
}

struct weir_http_counts weir_http_counts(const struct weir_http *http)
{
    return (struct weir_http_counts){atomic_load(&http->n_requests), atomic_load(&http->n_failed),
                                     atomic_load(&http->n_bytes)};
}
