#include "client.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>

#include "url.h"

enum {
    CONNECT_SECONDS = 15,
    BUFFER_BYTES = 64 << 10,
    MIN_BUFFER_BYTES = 1024, /* libcurl's */
    MIN_SOCKET_BYTES = 4096,
    MAX_SOCKET_BYTES = 1 << 20, /* from here on the kernel knows best */
    RANGE_TEXT = 48,
};

const char *range_url(const struct range *r)
{
    return r->url ? r->url : r->file->resolved ? r->file->resolved : r->file->url;
}

/* ---- what libcurl calls ---- */

static size_t on_head(char *bytes, size_t one, size_t n, void *self)
{
    (void)one;
    struct try *t = self;
    t->too_long = t->too_long || !reply_line(&t->reply, bytes, n, (int64_t)time(NULL));
    return t->too_long ? 0 : n;
}

void try_judge(struct try *t)
{
    const struct range *r = t->range;
    bool knows = !(r->head || r->tail) || r->file->is_known;
    const struct wish wish = {.whole = r->body != NULL,
                              .tail = r->tail,
                              .at = r->want.at,
                              .n = r->want.n,
                              .known = knows && !r->body ? &r->file->known : NULL,
                              .linked = r->file->linked,
                              .redirected = t->redirected};
    t->judged = true;
    judge(&t->reply, &wish, &t->verdict);
    if (t->verdict.kind != VERDICT_TAKE || r->body)
        return;
    struct validators *known = &t->range->file->known;
    if (!knows) {
        *known = t->verdict.seen;
        t->range->file->is_known = true;
    }
    if (!known->etag[0] && !known->modified[0]) {
        memcpy(known->etag, t->verdict.seen.etag, sizeof(known->etag));
        memcpy(known->modified, t->verdict.seen.modified, sizeof(known->modified));
    }
    t->range->head = t->range->tail = false;
    t->range->want.at = t->verdict.at;
    t->range->want.n = t->verdict.n;
}

bool try_skips_too_much(const struct try *t)
{
    return t->n_skipped >
           (t->verdict.kind == VERDICT_FOLLOW ? TRY_MAX_SKIPPED_REDIRECT : TRY_MAX_SKIPPED);
}

static weir_err hand_over(struct range *r, const char *bytes, size_t n)
{
    struct body *body = r->body;
    if (!body)
        return r->want.data(r->want.self, bytes, n);
    memcpy(body->dst + body->n, bytes, n); /* there is room: the caller has looked at want.n */
    body->n += n;
    return WEIR_OK;
}

static size_t on_body(char *bytes, size_t one, size_t n, void *self)
{
    (void)one;
    struct try *t = self;
    struct weir_http *http = t->http;
    /* An end that was said while a pause ended is not heard by libcurl: say it again. */
    if (t->data_err || t->excess)
        return 0;
    t->paused = http->options.limit_rate && http->allowance < 0;
    if (t->paused)
        return CURL_WRITEFUNC_PAUSE; /* these bytes come again */
    atomic_fetch_add(&http->n_bytes, n);
    http->allowance -= (double)n;
    if (!t->judged)
        try_judge(t);
    if (t->verdict.kind != VERDICT_TAKE) {
        t->n_skipped += n;
        return try_skips_too_much(t) ? 0 : n;
    }
    struct weir_http_range *want = &t->range->want;
    t->excess = n > want->n;
    if (t->excess)
        return 0;
    t->data_err = hand_over(t->range, bytes, n);
    if (t->data_err)
        return 0;
    want->at += n;
    want->n -= n;
    t->n_got += n;
    return n;
}

/* ---- a request ---- */

/* What one look at a connection may read: with a rate limit, its share of a tenth of a second. */
static long buffer_bytes(const struct weir_http_options *o)
{
    uint64_t share = o->limit_rate / 10 / o->n_connections;
    if (!o->limit_rate || share > BUFFER_BYTES)
        return BUFFER_BYTES;
    return share < MIN_BUFFER_BYTES ? MIN_BUFFER_BYTES : (long)share;
}

/* With a rate limit the kernel must not take much more than we read, or the line is busy in bursts.
 * A quarter of a second of the connection's share is enough for any way around the world. */
static int on_socket(void *self, curl_socket_t socket, curlsocktype purpose)
{
    const struct try *t = self;
    uint64_t bytes = t->http->options.limit_rate / 4 / t->http->options.n_connections;
    int room = bytes < MIN_SOCKET_BYTES ? MIN_SOCKET_BYTES : (int)bytes;
    if (purpose == CURLSOCKTYPE_IPCXN && bytes <= MAX_SOCKET_BYTES)
        (void)setsockopt(socket, SOL_SOCKET, SO_RCVBUF, &room, sizeof(room));
    return CURL_SOCKOPT_OK;
}

static bool set_common(struct try *t)
{
    const struct weir_http_options *o = &t->http->options;
    CURL *c = t->easy;
    /* Strings first: what takes memory and so can fail. */
    CURLcode code = curl_easy_setopt(c, CURLOPT_PROTOCOLS_STR, "http,https");
    if (!code && o->ca_file)
        code = curl_easy_setopt(c, CURLOPT_CAINFO, o->ca_file);
    if (!code)
        code = curl_easy_setopt(c, CURLOPT_USERAGENT, "weir");
    /* Redirects are ours to follow: who may see the token, and where it goes from https, is decided
     * in one place. */
    (void)curl_easy_setopt(c, CURLOPT_FOLLOWLOCATION, 0L);
    (void)curl_easy_setopt(c, CURLOPT_NOSIGNAL, 1L);
    (void)curl_easy_setopt(c, CURLOPT_SUPPRESS_CONNECT_HEADERS, 1L); /* a proxy's are no reply's */
    (void)curl_easy_setopt(c, CURLOPT_HTTP_VERSION, (long)CURL_HTTP_VERSION_2TLS);
    (void)curl_easy_setopt(c, CURLOPT_CONNECTTIMEOUT, (long)CONNECT_SECONDS);
    (void)curl_easy_setopt(c, CURLOPT_TCP_KEEPALIVE, 1L);
    (void)curl_easy_setopt(c, CURLOPT_BUFFERSIZE, buffer_bytes(o));
    if (o->limit_rate) {
        (void)curl_easy_setopt(c, CURLOPT_SOCKOPTFUNCTION, on_socket);
        (void)curl_easy_setopt(c, CURLOPT_SOCKOPTDATA, t);
    }
    (void)curl_easy_setopt(c, CURLOPT_HEADERFUNCTION, on_head);
    (void)curl_easy_setopt(c, CURLOPT_HEADERDATA, t);
    (void)curl_easy_setopt(c, CURLOPT_WRITEFUNCTION, on_body);
    (void)curl_easy_setopt(c, CURLOPT_WRITEDATA, t);
    (void)curl_easy_setopt(c, CURLOPT_ERRORBUFFER, t->error);
    (void)curl_easy_setopt(c, CURLOPT_PRIVATE, t);
    return code == CURLE_OK;
}

weir_err try_init(struct try *t, struct weir_http *http)
{
    t->http = http;
    t->easy = curl_easy_init();
    return t->easy && set_common(t) ? WEIR_OK : WEIR_ERR_NOMEM;
}

void try_free(struct try *t)
{
    curl_slist_free_all(t->headers);
    curl_easy_cleanup(t->easy);
    t->headers = NULL;
    t->easy = NULL;
}

static bool add_header(struct try *t, const char *name, const char *value)
{
    size_t bytes = strlen(name) + strlen(value) + sizeof(": ");
    char *line = malloc(bytes);
    if (!line)
        return false;
    snprintf(line, bytes, "%s: %s", name, value);
    struct curl_slist *longer = curl_slist_append(t->headers, line);
    free(line);
    if (longer)
        t->headers = longer;
    return longer != NULL;
}

static bool add_token(struct try *t, const char *url)
{
    const struct weir_http_options *o = &t->http->options;
    if (!o->token || !url_same_origin(url, o->token_url))
        return true;
    size_t bytes = strlen(o->token) + sizeof("Bearer ");
    char *value = malloc(bytes);
    if (!value)
        return false;
    snprintf(value, bytes, "Bearer %s", o->token);
    bool fine = add_header(t, "Authorization", value);
    free(value);
    return fine;
}

static bool set_request(struct try *t, const struct range *r)
{
    char text[RANGE_TEXT];
    if (r->body)
        text[0] = 0;
    else if (r->tail)
        snprintf(text, sizeof(text), "-%" PRIu64, r->want.n);
    else
        snprintf(text, sizeof(text), "%" PRIu64 "-%" PRIu64, r->want.at,
                 r->want.at + r->want.n - 1);
    const char *etag = r->head || r->tail || r->body ? "" : r->file->known.etag;
    curl_slist_free_all(t->headers);
    t->headers = NULL;
    bool fine = add_header(t, "Accept-Encoding", "identity") && add_token(t, range_url(r));
    /* With If-Range, a server that has another file now sends that whole: judge() sees it by its
     * ETag.  A weak ETag is not allowed there. */
    if (fine && etag[0] && strncmp(etag, "W/", 2) != 0)
        fine = add_header(t, "If-Range", etag);
    return fine && !curl_easy_setopt(t->easy, CURLOPT_HTTPHEADER, t->headers) &&
           !curl_easy_setopt(t->easy, CURLOPT_RANGE, text[0] ? text : NULL) &&
           !curl_easy_setopt(t->easy, CURLOPT_URL, range_url(r));
}

weir_err try_begin(struct try *t, struct range *range)
{
    t->range = range;
    memset(&t->reply, 0, sizeof(t->reply));
    memset(&t->verdict, 0, sizeof(t->verdict));
    t->paused = t->judged = t->too_long = t->excess = false;
    t->redirected = range->url || range->file->resolved;
    if (range->body) {
        range->want.at = range->body->n = 0;
        range->want.n = range->body->room;
    }
    range->used = range->url ? NULL : range->file->resolved;
    t->data_err = WEIR_OK;
    t->n_got = t->n_skipped = t->window_bytes = 0;
    t->window_at = client_now();
    t->error[0] = 0;
    if (set_request(t, range) && curl_multi_add_handle(t->http->multi, t->easy) == CURLM_OK) {
        atomic_fetch_add(&t->http->n_requests, 1);
        return WEIR_OK;
    }
    t->range = NULL;
    return WEIR_ERR_NOMEM;
}

void try_abort(struct try *t)
{
    (void)curl_multi_remove_handle(t->http->multi, t->easy);
    t->range = NULL;
}
