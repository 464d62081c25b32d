/* probe.c - fetch/http.h from outside, for faults.sh: opens a URL, gets ranges of it, all at once.
 *
 * usage: fetch_probe [NAME=VALUE]... URL [AT+N]...
 * NAME: connections retries timeout backoff rate speed_limit speed_seconds ca token token_url tail
 *       stop (seconds after which everything is to end) first (0: only tell the error of opening)
 * stdout: the ranges' bytes, in the order of the command line.  stderr: "size=S requests=N
 * bytes=B", or "KIND: what was wrong" of the first range that failed.  The exit code is the
 * weir_err. */
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "fetch/http.h"

enum { MAX_RANGES = 64, TAIL_BYTES = 65536 };

static struct weir_http_options options;
static size_t tail_bytes = TAIL_BYTES;
static double stop_at;

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t changed = PTHREAD_COND_INITIALIZER;
static unsigned n_done;

struct part {
    uint8_t *bytes;
    size_t n, room;
    weir_err err;
    struct weir_diag diag;
};

static double now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

static bool stop(void *self)
{
    (void)self;
    return stop_at != 0 && now() > stop_at;
}

static weir_err take(void *self, const void *bytes, size_t n)
{
    struct part *p = self;
    if (n > p->room - p->n)
        abort();
    memcpy(p->bytes + p->n, bytes, n);
    p->n += n;
    return WEIR_OK;
}

static void done(void *self, weir_err err, const struct weir_diag *diag)
{
    struct part *p = self;
    pthread_mutex_lock(&lock);
    p->err = err;
    p->diag = *diag;
    n_done++;
    pthread_cond_signal(&changed);
    pthread_mutex_unlock(&lock);
}

static void set(const char *name, const char *value)
{
    unsigned long n = strtoul(value, NULL, 10);
    if (strcmp(name, "connections") == 0)
        options.n_connections = (unsigned)n;
    else if (strcmp(name, "retries") == 0)
        options.n_retries = (unsigned)n;
    else if (strcmp(name, "timeout") == 0)
        options.timeout_seconds = (unsigned)n;
    else if (strcmp(name, "backoff") == 0)
        options.backoff_ms = (unsigned)n;
    else if (strcmp(name, "rate") == 0)
        options.limit_rate = n;
    else if (strcmp(name, "speed_limit") == 0)
        options.speed_limit = n;
    else if (strcmp(name, "speed_seconds") == 0)
        options.speed_seconds = (unsigned)n;
    else if (strcmp(name, "ca") == 0)
        options.ca_file = value;
    else if (strcmp(name, "token") == 0)
        options.token = value;
    else if (strcmp(name, "token_url") == 0)
        options.token_url = value;
    else if (strcmp(name, "tail") == 0)
        tail_bytes = n;
    else if (strcmp(name, "stop") == 0)
        stop_at = now() + (double)n;
    else
        abort();
}

static int failed(weir_err err, const struct weir_diag *diag)
{
    fprintf(stderr, "%s: %s\n", weir_err_text(err), diag->text);
    return (int)err;
}

static int get_parts(struct weir_http *http, const char *url, char **spec, int n)
{
    static struct part part[MAX_RANGES];
    static uint8_t tail[1 << 20];
    struct weir_diag diag = {""};
    struct weir_http_file *file = NULL;
    size_t n_tail = 0;
    weir_err err = weir_http_open(http, url, tail, tail_bytes, &n_tail, &file, &diag);
    if (err)
        return failed(err, &diag);
    unsigned n_started = 0;
    for (int i = 0; i < n && i < MAX_RANGES; i++) {
        char *plus;
        unsigned long at = strtoul(spec[i], &plus, 10);
        part[i].room = strtoul(plus + 1, NULL, 10);
        part[i].bytes = malloc(part[i].room + 1);
        const struct weir_http_range range = {at, part[i].room, &part[i], take, done};
        err = weir_http_start(file, &range); /* done() may run before it returns */
        if (err)
            part[i].err = err;
        n_started += err == WEIR_OK;
    }
    pthread_mutex_lock(&lock);
    while (n_done < n_started)
        pthread_cond_wait(&changed, &lock);
    pthread_mutex_unlock(&lock);
    int code = 0;
    for (int i = 0; i < n && i < MAX_RANGES; i++) {
        if (part[i].err && !code)
            code = failed(part[i].err, &part[i].diag);
        fwrite(part[i].bytes, 1, part[i].n, stdout);
        free(part[i].bytes);
    }
    if (n == 0)
        fwrite(tail, 1, n_tail, stdout);
    struct weir_http_counts counts = weir_http_counts(http);
    fprintf(stderr, "size=%llu requests=%llu bytes=%llu\n",
            (unsigned long long)weir_http_file_size(file), (unsigned long long)counts.n_requests,
            (unsigned long long)counts.n_bytes);
    weir_http_file_free(file);
    return code;
}

int main(int argc, char **argv)
{
    int i = 1;
    options.stop = stop;
    for (char *equals;
         i < argc && strncmp(argv[i], "http", 4) != 0 && (equals = strchr(argv[i], '=')); i++) {
        *equals = 0;
        set(argv[i], equals + 1);
    }
    struct weir_http *http = NULL;
    struct weir_diag diag = {""};
    weir_err err = weir_http_new(&options, &http, &diag);
    if (err)
        return failed(err, &diag);
    int code = i < argc ? get_parts(http, argv[i], argv + i + 1, argc - i - 1) : 1;
    weir_http_free(http);
    return code;
}
