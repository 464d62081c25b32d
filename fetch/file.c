/* file.c - remote files, and waiting for their bytes. */
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "client.h"
#include "url.h"

/* Somebody who waits for a range. */
struct waiter {
    pthread_mutex_t lock;
    pthread_cond_t ended;
    uint8_t *dst;
    size_t room, n;
    bool done; /* under lock, as is all below */
    weir_err err;
    struct weir_diag diag;
};

static weir_err waiter_data(void *self, const void *bytes, size_t n)
{
    struct waiter *w = self;
    if (n > w->room - w->n)
        return WEIR_ERR_NETWORK; /* judge() lets nothing like that through */
    memcpy(w->dst + w->n, bytes, n);
    w->n += n;
    return WEIR_OK;
}

static void waiter_done(void *self, weir_err err, const struct weir_diag *diag)
{
    struct waiter *w = self;
    pthread_mutex_lock(&w->lock);
    w->err = err;
    w->diag = *diag;
    w->done = true;
    pthread_cond_signal(&w->ended);
    pthread_mutex_unlock(&w->lock);
}

static void waiter_init(struct waiter *w, void *dst, size_t room)
{
    memset(w, 0, sizeof(*w));
    pthread_mutex_init(&w->lock, NULL);
    pthread_cond_init(&w->ended, NULL);
    w->dst = dst;
    w->room = room;
}

/* Queues what *range says, for all of the waiter's room. */
static void waiter_begin(struct waiter *w, const struct range *range)
{
    struct range r = *range;
    r.want.n = w->room;
    r.want.self = w;
    r.want.data = waiter_data;
    r.want.done = waiter_done;
    weir_err err = client_queue(&r);
    if (!err)
        return; /* done() may have been called already */
    w->err = err;
    w->done = true;
}

static weir_err waiter_end(struct waiter *w, struct weir_diag *diag)
{
    pthread_mutex_lock(&w->lock);
    while (!w->done)
        pthread_cond_wait(&w->ended, &w->lock);
    pthread_mutex_unlock(&w->lock);
    pthread_cond_destroy(&w->ended);
    pthread_mutex_destroy(&w->lock);
    if (w->err)
        weir_diag_set(diag, "%s", w->diag.text[0] ? w->diag.text : weir_err_text(w->err));
    return w->err;
}

weir_err weir_http_file_new(struct weir_http *http, const char *url, uint64_t size,
                            const char *linked_etag, struct weir_http_file **out,
                            struct weir_diag *diag)
{
    weir_err err = url_check(url, diag);
    if (err)
        return err;
    struct weir_http_file *file = calloc(1, sizeof(*file));
    if (file) {
        *file = (struct weir_http_file){.http = http, .url = strdup(url), .known.size = size};
        file->linked = linked_etag ? strdup(linked_etag) : NULL;
    }
    if (!file || !file->url || (linked_etag && !file->linked)) {
        weir_http_file_free(file);
        return WEIR_ERR_NOMEM;
    }
    *out = file;
    return WEIR_OK;
}

weir_err weir_http_open_ends(struct weir_http *http, const char *url, struct weir_http_ends *ends,
                             struct weir_http_file **out, struct weir_diag *diag)
{
    struct weir_http_file *file = NULL;
    weir_err err = weir_http_file_new(http, url, 0, NULL, &file, diag);
    if (err)
        return err;
    struct waiter tail, head;
    waiter_init(&tail, ends->tail, ends->tail_max);
    waiter_init(&head, ends->head, ends->head_max);
    waiter_begin(&tail, &(const struct range){.file = file, .tail = true});
    waiter_begin(&head, &(const struct range){.file = file, .head = true});
    err = waiter_end(&tail, diag);
    weir_err head_err = waiter_end(&head, err ? NULL : diag);
    if (!err)
        err = head_err;
    if (err) {
        weir_http_file_free(file);
        return err;
    }
    ends->tail_bytes = tail.n;
    ends->head_bytes = head.n;
    *out = file;
    return WEIR_OK;
}

weir_err weir_http_open(struct weir_http *http, const char *url, void *tail, size_t tail_max,
                        size_t *tail_bytes, struct weir_http_file **out, struct weir_diag *diag)
{
    struct weir_http_file *file = NULL;
    weir_err err = weir_http_file_new(http, url, 0, NULL, &file, diag);
    if (err)
        return err;
    struct waiter w;
    waiter_init(&w, tail, tail_max);
    waiter_begin(&w, &(const struct range){.file = file, .tail = true});
    err = waiter_end(&w, diag);
    if (err) {
        weir_http_file_free(file);
        return err;
    }
    *tail_bytes = w.n;
    *out = file;
    return WEIR_OK;
}

void weir_http_file_free(struct weir_http_file *file)
{
    if (!file)
        return;
    free(file->url);
    free(file->resolved);
    free(file->linked);
    free(file);
}

uint64_t weir_http_file_size(const struct weir_http_file *file)
{
    return file->known.size;
}

int64_t weir_http_file_modified(const struct weir_http_file *file)
{
    time_t when = curl_getdate(file->known.modified, NULL);
    return when > 0 ? (int64_t)when : 0;
}

static bool is_inside(const struct weir_http_file *file, uint64_t at, uint64_t n)
{
    return n && at <= file->known.size && n <= file->known.size - at;
}

weir_err weir_http_start(struct weir_http_file *file, const struct weir_http_range *range)
{
    if (!is_inside(file, range->at, range->n))
        return WEIR_ERR_INVALID;
    return client_queue(&(const struct range){.file = file, .want = *range});
}

weir_err weir_http_start_ahead(struct weir_http_file *file, const struct weir_http_range *range,
                               bool (*urged)(void *self))
{
    if (!is_inside(file, range->at, range->n))
        return WEIR_ERR_INVALID;
    return client_queue(&(const struct range){.file = file, .want = *range, .urged = urged});
}

weir_err weir_http_read(struct weir_http_file *file, uint64_t at, void *dst, size_t n,
                        struct weir_diag *diag)
{
    if (!is_inside(file, at, n))
        return WEIR_ERR_INVALID;
    struct waiter w;
    waiter_init(&w, dst, n);
    waiter_begin(&w, &(const struct range){.file = file, .want.at = at});
    return waiter_end(&w, diag);
}

weir_err weir_http_get(struct weir_http *http, const char *url, void *dst, size_t max,
                       struct weir_http_answer *answer, struct weir_diag *diag)
{
    struct weir_http_file *file = NULL;
    *answer = (struct weir_http_answer){0};
    weir_err err = weir_http_file_new(http, url, 0, NULL, &file, diag);
    if (err)
        return err;
    struct body body = {dst, max, 0, answer};
    struct waiter w;
    waiter_init(&w, NULL, max);
    waiter_begin(&w, &(const struct range){.file = file, .body = &body});
    err = waiter_end(&w, diag);
    weir_http_file_free(file);
    return err;
}

char *weir_http_shown(const char *url, char *buf, size_t bytes)
{
    return url_shown(url, buf, bytes);
}
