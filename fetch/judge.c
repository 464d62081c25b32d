#include "judge.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

/* Sizes that the format can have; keeps sums of offsets from overflowing. */
#define MAX_SIZE (UINT64_C(1) << 62)

static void say(struct verdict *v, enum verdict_kind kind, weir_err err, const char *format, ...)
    __attribute__((format(printf, 4, 5)));

static void say(struct verdict *v, enum verdict_kind kind, weir_err err, const char *format, ...)
{
    v->kind = kind;
    v->err = err;
    va_list args;
    va_start(args, format);
    vsnprintf(v->cause, sizeof(v->cause), format, args);
    va_end(args);
}

/* The reply is about another version of the file than the first one was. */
static bool has_changed(const struct reply *r, uint64_t size, const struct wish *wish,
                        struct verdict *v)
{
    const struct validators *known = wish->known;
    if (!known)
        return false;
    const char *what = NULL;
    if (size != known->size)
        what = "its size";
    else if (known->etag[0] && r->etag[0])
        what = strcmp(known->etag, r->etag) != 0 ? "its ETag" : NULL;
    else if (known->modified[0] && r->modified[0])
        what = strcmp(known->modified, r->modified) != 0 ? "its Last-Modified" : NULL;
    if (what)
        say(v, VERDICT_FAIL, WEIR_ERR_CHANGED, "the file changed on the server: %s is another",
            what);
    return what != NULL;
}

static void take(const struct reply *r, uint64_t at, uint64_t n, uint64_t size, struct verdict *v)
{
    v->kind = VERDICT_TAKE;
    v->at = at;
    v->n = n;
    v->seen.size = size;
    memcpy(v->seen.etag, r->etag, sizeof(r->etag));
    memcpy(v->seen.modified, r->modified, sizeof(r->modified));
    v->has_wait = r->limit.spent;
    v->wait = r->limit.seconds;
}

static void judge_partial(const struct reply *r, const struct wish *wish, struct verdict *v)
{
    const struct content_range *got = &r->range;
    if (!r->has_range || r->bad_range || got->unsatisfied) {
        say(v, VERDICT_FAIL, WEIR_ERR_NETWORK, "206 with %s Content-Range",
            r->multipart    ? "many parts and no"
            : !r->has_range ? "no"
                            : "a malformed");
        return;
    }
    if (!wish->known && (!got->has_total || got->total > MAX_SIZE)) {
        say(v, VERDICT_FAIL, WEIR_ERR_NETWORK, "206 that does not tell how long the file is");
        return;
    }
    uint64_t size = got->has_total ? got->total : wish->known->size;
    if (has_changed(r, size, wish, v))
        return;
    uint64_t at = !wish->tail ? wish->at : size > wish->n ? size - wish->n : 0;
    uint64_t left = at < size ? size - at : 0;
    uint64_t n = left < wish->n ? left : wish->n;
    if (got->first != at || got->last != at + n - 1) {
        say(v, VERDICT_FAIL, WEIR_ERR_NETWORK,
            "wrong Content-Range: bytes %" PRIu64 "-%" PRIu64 " for %" PRIu64 "-%" PRIu64,
            got->first, got->last, at, at + n - 1);
        return;
    }
    take(r, at, n, size, v);
}

/* 200: the whole file.  Fine only where that is what was wanted. */
static void judge_whole(const struct reply *r, const struct wish *wish, struct verdict *v)
{
    bool known_length = r->has_length && r->length <= MAX_SIZE;
    if (known_length && has_changed(r, r->length, wish, v))
        return;
    bool open_ended = wish->tail || !wish->known;
    bool fits = open_ended ? known_length && wish->at == 0 && r->length <= wish->n
                           : wish->at == 0 && wish->n == wish->known->size;
    if (fits)
        take(r, 0, open_ended ? r->length : wish->n, open_ended ? r->length : wish->n, v);
    else
        say(v, VERDICT_FAIL, WEIR_ERR_NETWORK,
            "the server ignores ranges: 200 (the whole file) for a 206; use one that knows them");
}

static void judge_unsatisfied(const struct reply *r, const struct wish *wish, struct verdict *v)
{
    bool told = r->has_range && !r->bad_range && r->range.unsatisfied;
    bool open_ended = wish->tail || !wish->known;
    if (told && open_ended && r->range.total == 0 && !has_changed(r, 0, wish, v))
        take(r, 0, 0, 0, v);
    else if (!told || !has_changed(r, r->range.total, wish, v))
        say(v, VERDICT_FAIL, WEIR_ERR_NETWORK, "the server refuses a range inside the file (416)");
}

static bool is_passing(unsigned status)
{
    static const unsigned passing[] = {408, 425, 429, 500, 502, 503, 504, 520, 521, 522, 523, 524};
    for (size_t i = 0; i < sizeof(passing) / sizeof(passing[0]); i++)
        if (status == passing[i])
            return true;
    return false;
}

/* A RateLimit with something left says nothing about why a server has trouble. */
static void take_wait(const struct reply *r, struct verdict *v)
{
    bool limited = r->limit.told && (r->limit.spent || r->status == 429);
    v->has_wait = r->has_wait || limited;
    v->wait = r->has_wait ? r->wait : r->limit.seconds;
}

/* What the Hub says besides the status: these words are true wherever they come from. */
static bool judge_error_code(const struct reply *r, struct verdict *v)
{
    static const struct {
        const char *code;
        weir_err err;
        const char *text;
    } known[] = {
        {"GatedRepo", WEIR_ERR_NETWORK,
         "the repository is gated (%u); accept its terms on its page, then set HF_TOKEN to a "
         "token of that account"},
        {"RepoNotFound", WEIR_ERR_NOT_FOUND,
         "no such repository, or a private one (%u); check the name, or set HF_TOKEN"},
        {"RevisionNotFound", WEIR_ERR_NOT_FOUND,
         "the repository has no such revision (%u); check what stands behind the @"},
        {"EntryNotFound", WEIR_ERR_NOT_FOUND,
         "the repository has no such file at this revision (%u); check the name"},
        {"DisabledRepo", WEIR_ERR_NETWORK, "the Hub has disabled the repository (%u); ask there"},
    };
    for (size_t i = 0; i < sizeof(known) / sizeof(known[0]); i++) {
        if (strcmp(r->error_code, known[i].code) != 0)
            continue;
        v->kind = VERDICT_FAIL;
        v->err = known[i].err;
        snprintf(v->cause, sizeof(v->cause), known[i].text, r->status);
        return true;
    }
    return false;
}

static void judge_refusal(const struct reply *r, const struct wish *wish, struct verdict *v)
{
    bool redirected = wish->redirected;
    if (r->status >= 400 && r->status < 500 && judge_error_code(r, v))
        return;
    /* Google's storage says 400 of a signed URL that has expired. */
    if (r->status == 401 || r->status == 403 || (r->status == 400 && redirected)) {
        if (redirected)
            say(v, VERDICT_ANEW, WEIR_ERR_NETWORK, "the signed URL is refused (%u), fresh as it is",
                r->status);
        else
            say(v, VERDICT_FAIL, WEIR_ERR_NETWORK, "the server refuses (%u)%s", r->status,
                r->status == 401 ? "; it may want a token" : "; you may lack the permission");
    } else if (r->status == 404 || r->status == 410) {
        say(v, VERDICT_FAIL, WEIR_ERR_NOT_FOUND, "no such file on the server (%u)", r->status);
    } else if (r->status == 412) {
        say(v, VERDICT_FAIL, WEIR_ERR_CHANGED, "the file changed on the server (412)");
    } else if (is_passing(r->status)) {
        say(v, VERDICT_LATER, WEIR_ERR_NETWORK, "the server %s (%u)",
            r->status == 429 ? "asks for patience" : "has trouble", r->status);
        take_wait(r, v);
    } else {
        say(v, VERDICT_FAIL, WEIR_ERR_NETWORK, "the server answers with status %u", r->status);
    }
}

/* Where the Hub says what the file is that its redirect leads to. */
static bool is_other_file(const struct reply *r, const struct wish *wish, struct verdict *v)
{
    if (!wish->linked || !r->linked_etag[0] || r->status >= 400 ||
        strcmp(r->linked_etag, wish->linked) == 0)
        return false;
    say(v, VERDICT_FAIL, WEIR_ERR_CHANGED,
        "the file changed on the server: its X-Linked-Etag is another");
    return true;
}

void judge(const struct reply *reply, const struct wish *wish, struct verdict *out)
{
    memset(out, 0, sizeof(*out));
    unsigned s = reply->status;
    if (is_other_file(reply, wish, out))
        return;
    if (s == 301 || s == 302 || s == 303 || s == 307 || s == 308)
        out->kind = VERDICT_FOLLOW;
    else if (s == 416 && !wish->whole)
        judge_unsatisfied(reply, wish, out);
    else if (s != 200 && (s != 206 || wish->whole))
        judge_refusal(reply, wish, out);
    else if (reply->encoded)
        say(out, VERDICT_FAIL, WEIR_ERR_NETWORK,
            "the server compresses although it was asked not to");
    else if (wish->whole)
        out->kind = VERDICT_TAKE;
    else if (s == 206)
        judge_partial(reply, wish, out);
    else
        judge_whole(reply, wish, out);
}
