/* judge.h - whether a reply is what was asked for, and what to do if not: the one place where HTTP
 * turns into decisions.  Pure: no connection, no clock. */
#ifndef WEIR_FETCH_JUDGE_H
#define WEIR_FETCH_JUDGE_H

#include <stdbool.h>
#include <stdint.h>

#include "codec/err.h"
#include "reply.h"

enum { JUDGE_MAX_REDIRECTS = 10 };

/* What is known of a remote file; set by its first reply, the same from then on. */
struct validators {
    uint64_t size; /* bytes */
    char etag[REPLY_MAX_ETAG], modified[REPLY_MAX_DATE];
};

/* What was asked for. */
struct wish {
    bool whole; /* all of something small, however long; `known` is NULL, nothing else counts but
                   `redirected` */
    bool tail;  /* the last n bytes; else [at, at + n), which may be cut short by the end of a file
                   that nothing is known of */
    uint64_t at, n;                 /* n > 0 */
    const struct validators *known; /* NULL: nothing yet, or whole */
    const char *linked;             /* what X-Linked-Etag must be, where there is one; NULL: any */
    bool redirected;                /* the URL that answered is not the one that the caller named */
};

enum verdict_kind {
    VERDICT_TAKE,   /* the body is [at, at + n) of a file with these validators; n may be 0.  Of
                       something whole: the body is all of it.  The next request had better wait,
                       if has_wait */
    VERDICT_FOLLOW, /* a redirect */
    VERDICT_ANEW,   /* the signed URL has expired: ask the original one again */
    VERDICT_LATER,  /* try again, after `wait` seconds if has_wait, else when it seems good */
    VERDICT_FAIL,   /* no retry helps */
};

struct verdict {
    enum verdict_kind kind;
    weir_err err;    /* FAIL: this; ANEW, LATER: what it is when patience ends */
    char cause[160]; /* all but TAKE and FOLLOW: what was wrong, for people */
    bool has_wait;
    uint32_t wait; /* seconds */
    uint64_t at, n;
    struct validators seen; /* TAKE */
};

void judge(const struct reply *reply, const struct wish *wish, struct verdict *out);

#endif
