#include "stop.h"

#include <string.h>

/* Where the first stop begins in what is held; held.n: nowhere. */
static size_t find_stop(const struct weir_stops *s)
{
    size_t first = s->held.n;
    for (size_t i = 0; i < s->n && s->held.n; i++) {
        const char *at = memmem(s->held.bytes, s->held.n, s->stop[i], strlen(s->stop[i]));
        if (at && (size_t)(at - s->held.bytes) < first)
            first = (size_t)(at - s->held.bytes);
    }
    return first;
}

/* Whether a stop begins with the n bytes. */
static bool begins_stop(const struct weir_stops *s, const char *bytes, size_t n)
{
    for (size_t i = 0; i < s->n; i++)
        if (strlen(s->stop[i]) > n && memcmp(s->stop[i], bytes, n) == 0)
            return true;
    return false;
}

static weir_err give(struct weir_stops *s, size_t n, struct weir_text *out)
{
    weir_err err = weir_text_add(out, s->held.bytes, n);
    if (err || n == 0)
        return err;
    memmove(s->held.bytes, s->held.bytes + n, s->held.n - n);
    s->held.n -= n;
    return WEIR_OK;
}

weir_err weir_stops_push(struct weir_stops *s, const char *bytes, size_t n, struct weir_text *out,
                         bool *stopped)
{
    *stopped = false;
    weir_err err = weir_text_add(&s->held, bytes, n);
    if (err)
        return err;
    size_t at = find_stop(s);
    if (at < s->held.n) {
        err = give(s, at, out);
        *stopped = !err;
        s->held.n = 0;
        return err;
    }
    at = 0;
    while (at < s->held.n && !begins_stop(s, s->held.bytes + at, s->held.n - at))
        at++;
    return give(s, at, out);
}

weir_err weir_stops_end(struct weir_stops *s, struct weir_text *out)
{
    return give(s, s->held.n, out);
}

void weir_stops_free(struct weir_stops *s)
{
    if (s)
        weir_text_free(&s->held);
}
