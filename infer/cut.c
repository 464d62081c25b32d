#include "cut.h"

#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "utf8.h"

enum {
    FIRST_SPANS = 64,
};

static weir_err add_span(struct spans *spans, size_t at, size_t end)
{
    if (spans->n == spans->room) {
        size_t room = spans->room ? 2 * spans->room : FIRST_SPANS;
        struct span *grown = realloc(spans->span, room * sizeof(*grown));
        if (!grown)
            return WEIR_ERR_NOMEM;
        spans->span = grown;
        spans->room = room;
    }
    spans->span[spans->n++] = (struct span){(uint32_t)at, (uint32_t)(end - at)};
    return WEIR_OK;
}

/* The pieces of one span as they come, matches and what is between. */
struct joiner {
    struct spans *to;
    enum cut_keep keep;
    bool any, was_match; /* of this span */
};

static weir_err put_piece(struct joiner *j, size_t at, size_t end, bool is_match)
{
    bool join = false;
    if (j->any && j->keep == CUT_CONTIGUOUS)
        join = is_match == j->was_match;
    if (j->any && j->keep == CUT_WITH_PREVIOUS)
        join = is_match && !j->was_match;
    if (j->any && j->keep == CUT_WITH_NEXT)
        join = !is_match && j->was_match;
    if (j->any && j->keep == CUT_RUN_WITH_NEXT)
        join = j->was_match;
    j->any = true;
    j->was_match = is_match;
    if (!join)
        return add_span(j->to, at, end);
    struct span *last = &j->to->span[j->to->n - 1];
    last->n = (uint32_t)(end - last->at);
    return WEIR_OK;
}

static weir_err find(const struct cut *cut, struct matcher *matcher, const char *text, size_t n,
                     size_t from, struct pattern_match *out)
{
    if (cut->pattern)
        return pattern_next(cut->pattern, matcher, text, n, from, out);
    const char *hit = memmem(text + from, n - from, cut->string, cut->n);
    *out = (struct pattern_match){0};
    if (hit)
        *out = (struct pattern_match){(size_t)(hit - text), (size_t)(hit - text) + cut->n, true};
    return WEIR_OK;
}

/* text[at .. end), which is UTF-8 if there is a pattern. */
static weir_err cut_run(const struct cut *cut, struct matcher *matcher, const char *text, size_t at,
                        size_t end, struct spans *to)
{
    struct joiner j = {.to = to, .keep = cut->keep};
    const char *run = text + at;
    size_t n = end - at, done = 0;
    while (done < n) {
        struct pattern_match m;
        weir_err err = find(cut, matcher, run, n, done, &m);
        if (err)
            return err;
        if (!m.found)
            m.at = m.end = n;
        if (m.at > done)
            err = put_piece(&j, at + done, at + m.at, false);
        if (!err && m.found)
            err = put_piece(&j, at + m.at, at + m.end, true);
        if (err)
            return err;
        done = m.end;
    }
    return WEIR_OK;
}

static weir_err cut_span(const struct cut *cut, struct matcher *matcher, const char *text,
                         struct span span, struct spans *to)
{
    size_t at = span.at, end = at + span.n;
    if (!cut->pattern)
        return cut_run(cut, matcher, text, at, end, to);
    while (at < end) {
        size_t good = utf8_good(text + at, end - at);
        weir_err err = WEIR_OK;
        if (good > 0)
            err = cut_run(cut, matcher, text, at, at + good, to);
        at += good;
        size_t bad = utf8_bad(text + at, end - at);
        if (!err && bad > 0)
            err = add_span(to, at, at + bad);
        if (err)
            return err;
        at += bad;
    }
    return WEIR_OK;
}

weir_err cut_text(const struct cut *cuts, size_t n_cuts, const char *text, size_t n,
                  struct cutter *cutter)
{
    cutter->found.n = 0;
    weir_err err = n > 0 ? add_span(&cutter->found, 0, n) : WEIR_OK;
    for (size_t i = 0; !err && i < n_cuts; i++) {
        cutter->spare.n = 0;
        for (size_t k = 0; !err && k < cutter->found.n; k++)
            err = cut_span(&cuts[i], cutter->matcher, text, cutter->found.span[k], &cutter->spare);
        struct spans done = cutter->spare;
        cutter->spare = cutter->found;
        cutter->found = done;
    }
    return err;
}

void cutter_free(struct cutter *cutter)
{
    free(cutter->found.span);
    free(cutter->spare.span);
    cutter->found = cutter->spare = (struct spans){0};
}
