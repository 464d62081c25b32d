/* client.h - the client from inside: ranges that wait, tries that run.
 *
 * A range is a queue's item; a try is one request for what is left of it, on one of the client's
 * curl handles.  client.c has the thread, the queue and the patience; try.c talks to libcurl. */
#ifndef WEIR_FETCH_CLIENT_PRIVATE_H
#define WEIR_FETCH_CLIENT_PRIVATE_H

#include <curl/curl.h>
#include <pthread.h>
#include <stdatomic.h>

#include "fetch/http.h"
#include "judge.h"

enum {
    CLIENT_LOOK_MS = 100,       /* how often stop(), stalls and patience are looked after */
    TRY_MAX_SKIPPED = 16 << 10, /* of an error's body, so that its connection can go on living */
    TRY_MAX_SKIPPED_REDIRECT = 1 << 20, /* libcurl tells where it leads at the end of the body */
};

struct weir_http_file {
    struct weir_http *http;  /* borrowed */
    char *url;               /* as named by the caller */
    char *resolved;          /* where redirects led; NULL: nowhere yet.  The client's thread only */
    struct validators known; /* the size: set before anybody has the file; the rest: by the first
                                reply, then the client's thread only */
    bool is_known;           /* `known` is the file's; the client's thread only until it is open */
    char *linked;            /* what X-Linked-Etag must be; NULL: anything */
};

/* All of something small, anew with each try. */
struct body {
    uint8_t *dst;
    size_t room, n;
    struct weir_http_answer *answer; /* of the last reply */
};

/* One range on its way; the client's thread only, once it is queued. */
struct range {
    struct range *next;
    struct weir_http_file *file; /* borrowed */
    struct weir_http_range want; /* want.at and want.n: what is left */
    bool (*urged)(void *self);   /* NULL: somebody waits for it */
    bool head, tail;             /* nothing need be known yet: want.n is how much of that end */
    struct body *body;           /* not a range at all, but this, which is borrowed; or NULL */
    char *url;                   /* of the next try, where a redirect led; NULL: the file's */
    const char *used;            /* the file's `resolved` that its try goes to, to compare with */
    unsigned n_redirects;        /* since the file's URL */
    unsigned n_failed;           /* tries without a byte, in a row */
    unsigned n_resolved;         /* times that a signed URL was refused, in a row */
    double moved;                /* when it last got a byte, or began */
    double not_before;           /* when to try again */
};

/* One curl handle, and the try that it makes now. */
struct
try {
    struct weir_http *http; /* borrowed */
    CURL *easy;
    struct curl_slist *headers;
    struct range *range; /* NULL: idle */
    struct reply reply;
    struct verdict verdict;
    bool paused;           /* by the rate limit */
    bool redirected;       /* it goes to where a redirect led */
    bool judged, too_long; /* the head; it is too long */
    weir_err data_err;     /* what data() returned */
    bool excess;           /* more bytes than were asked for */
    uint64_t n_got;        /* bytes handed over by this try */
    uint64_t n_skipped;    /* of a body that nobody wants */
    double window_at;      /* the stall watch's window: since when, ... */
    uint64_t window_bytes; /* ... and n_got then */
    char error[CURL_ERROR_SIZE];
};

struct weir_http {
    struct weir_http_options options; /* defaults filled in; strings are its own */
    pthread_t thread;
    bool has_thread;
    CURLM *multi; /* the client's thread only, but for curl_multi_wakeup() */

    pthread_mutex_t lock;
    struct range *queued, **queued_end; /* under lock */
    bool ending;                        /* under lock */

    /* the client's thread only */
    struct try try[WEIR_HTTP_MAX_CONNECTIONS];
    struct range *waiting;          /* ranges without a try, first come first */
    double hold_until;              /* the server asked everybody to wait */
    double allowance, allowance_at; /* bytes that may be read now, as of then */
    unsigned first;                 /* try to go on when there is an allowance */
    uint64_t random;

    _Atomic unsigned n_wanted; /* connections in use at most */
    _Atomic bool cancelled;
    _Atomic uint64_t n_requests, n_failed, n_bytes;
};

double client_now(void); /* seconds of a clock that never goes back */

/* Queues a copy of *range, of which file, want, urged, head, tail and body are set; for head and
 * tail, want.n is how many bytes of that end at most.  WEIR_ERR_NOMEM */
WEIR_MUST_CHECK weir_err client_queue(const struct range *range);

/* Nobody waits for it yet. */
static inline bool range_is_ahead(const struct range *r)
{
    return r->urged != NULL;
}

/* Where the next try for r goes. */
const char *range_url(const struct range *r);

/* Makes t's handle; try_free() in any case.  WEIR_ERR_NOMEM */
WEIR_MUST_CHECK weir_err try_init(struct try *t, struct weir_http *http);
void try_free(struct try *t);

/* Sends the request for what is left of `range` and adds it to the multi handle.  On error t is
 * idle.  WEIR_ERR_NOMEM */
WEIR_MUST_CHECK weir_err try_begin(struct try *t, struct range *range);

/* Fills in t->verdict of the head that is in t->reply, and the validators of a file of which they
 * were not known. */
void try_judge(struct try *t);

/* The transfer is over with `code`: takes it off the multi handle and says in *out what is to be
 * done about t's range.  VERDICT_TAKE: it is complete.  VERDICT_FOLLOW: range->url is set.  t is
 * idle then. */
void try_end(struct try *t, CURLcode code, struct verdict *out);

/* The body is one that nobody wants, and more of it came than we put up with. */
bool try_skips_too_much(const struct try *t);

/* Breaks the try off.  t is idle then. */
void try_abort(struct try *t);

/* ---- patience.c: the client's thread only ---- */

/* The end of r, which is freed.  NULL: nothing to say. */
void range_finish(struct range *r, weir_err err, const struct weir_diag *diag);
void range_give_up(struct range *r, weir_err err, const char *cause);

/* A try of r is over, and brought n_got bytes: r ends, or waits for its next try. */
void range_decide(struct weir_http *http, struct range *r, const struct verdict *v, uint64_t n_got);

/* Breaks off a try that is slower than the options allow, or brings nothing at all for too long. */
void try_watch(struct weir_http *http, struct try *t, double now);

/* Patience begins anew for ranges that somebody waits for from now on. */
void client_hear_urges(struct weir_http *http);

/* Keeps to the rate limit: tries that found the allowance used up go on when there is some again.
 * Milliseconds until then. */
double client_limit_rate(struct weir_http *http);

#endif
