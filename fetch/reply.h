/* reply.h - the head of an HTTP reply, taken apart.
 *
 * Knows nothing of what was asked for (judge.h does) and nothing of connections.  Every byte comes
 * from strangers: numbers that do not fit, and text that is not what RFC 9110 says, count as absent
 * or as bad, never as something else.  Pure: no clock, no memory of its own. */
#ifndef WEIR_FETCH_REPLY_H
#define WEIR_FETCH_REPLY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "fetch/http.h"

enum {
    REPLY_MAX_HEAD_BYTES = 64 << 10, /* all header lines of one reply; more ends the transfer */
    REPLY_MAX_ETAG = 256,
    REPLY_MAX_DATE = 64,
    REPLY_MAX_LINK = WEIR_HTTP_MAX_LINK,
    REPLY_MAX_CODE = WEIR_HTTP_MAX_CODE,
    REPLY_MAX_WAIT = 1 << 24, /* seconds; longer waits count as this */
};

/* "bytes 5-9/100": first 5, last 9, total 100.  "bytes 5-9/ *": no total.  "bytes * /100" (a 416):
 * unsatisfied, total 100. */
struct content_range {
    bool unsatisfied, has_total;
    uint64_t first, last, total;
};

/* The value of a Content-Range header, NUL-terminated.  false: malformed, last before first, or
 * last not below total; *out is undefined then. */
bool content_range_parse(const char *text, struct content_range *out);

/* The value of a Retry-After header: seconds, or an HTTP date, which `now` (seconds since 1970) is
 * taken from; a date that has passed is 0.  false: neither. */
bool retry_after_parse(const char *text, int64_t now, uint32_t *seconds);

/* The t parameter of a RateLimit header: `"resolvers";r=0;t=42`, or the older `limit=5, reset=42`.
 * false: neither is there. */
bool rate_limit_parse(const char *text, uint32_t *seconds);

/* The target of the first link of a Link header that has the relation "next", as it stands there
 * (it may be relative).  false: there is none, or none that fits `room` bytes with its NUL. */
bool link_next_parse(const char *text, char *out, size_t room);

struct reply {
    unsigned status; /* 0: no reply yet */
    bool has_range, bad_range;
    struct content_range range;
    bool has_length;
    uint64_t length;
    char etag[REPLY_MAX_ETAG]; /* as sent, with quotes; "": none, or too long to keep */
    char modified[REPLY_MAX_DATE];
    bool has_wait;                    /* Retry-After, or else RateLimit */
    uint32_t wait;                    /* seconds */
    bool encoded;                     /* a Content-Encoding other than identity */
    char next[REPLY_MAX_LINK];        /* Link, rel="next"; "": none */
    char error_code[REPLY_MAX_CODE];  /* X-Error-Code of the Hub: letters and digits; "": none */
    char linked_etag[REPLY_MAX_ETAG]; /* X-Linked-Etag of the Hub, without quotes; "": none */
    bool multipart;
    size_t head_bytes;
};

/* Takes one header line of n bytes (with its line end; not NUL-terminated) in.  A status line
 * begins the reply anew.  false: the head is longer than REPLY_MAX_HEAD_BYTES. */
bool reply_line(struct reply *r, const char *line, size_t n, int64_t now);

#endif
