#include "judge.h"

#include <criterion/criterion.h>
#include <string.h>

#define COUNT_OF(array) (sizeof(array) / sizeof((array)[0]))

/* What is known of a file of 1000 bytes. */
static const struct validators known = {1000, "\"e\"", "Mon"};
static const struct validators nameless = {1000, "", ""};

/* A reply as its header lines, separated by '|', to a wish; and what comes of it. */
struct row {
    const char *name, *head;
    struct wish wish;
    enum verdict_kind kind;
    weir_err err;
    const char *cause; /* part of it */
    uint64_t at, n;
};

static struct reply parse(const char *head)
{
    struct reply r = {0};
    while (*head) {
        size_t n = strcspn(head, "|");
        cr_assert(reply_line(&r, head, n, 0));
        head += n + (head[n] == '|');
    }
    return r;
}

static void expect_rows(const struct row *rows, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        const struct row *row = &rows[i];
        struct reply reply = parse(row->head);
        struct verdict v;
        memset(&v, 0x5a, sizeof(v));
        judge(&reply, &row->wish, &v);
        cr_expect_eq(v.kind, row->kind, "%s: %d (%s)", row->name, (int)v.kind, v.cause);
        cr_expect_eq(v.err, row->err, "%s: %s", row->name, weir_err_text(v.err));
        if (row->cause)
            cr_expect_not_null(strstr(v.cause, row->cause), "%s: \"%s\"", row->name, v.cause);
        if (v.kind != VERDICT_TAKE)
            continue;
        cr_expect_eq(v.at, row->at, "%s", row->name);
        cr_expect_eq(v.n, row->n, "%s", row->name);
    }
}

#define RANGE_AT(first, count)                                                                     \
    {                                                                                              \
        .at = (first), .n = (count), .known = &known                                               \
    }
#define LINKED                                                                                     \
    {                                                                                              \
        .at = 5, .n = 10, .known = &known, .linked = "abc"                                         \
    }
#define WHOLE                                                                                      \
    {                                                                                              \
        .whole = true                                                                              \
    }
#define TAIL(count)                                                                                \
    {                                                                                              \
        .tail = true, .n = (count)                                                                 \
    }

Test(judge, takes_what_was_asked_for)
{
    static const struct row rows[] = {
        {"a range", "HTTP/1.1 206|Content-Range: bytes 5-14/1000", RANGE_AT(5, 10), VERDICT_TAKE, 0,
         NULL, 5, 10},
        {"total unsaid", "HTTP/1.1 206|Content-Range: bytes 5-14/*", RANGE_AT(5, 10), VERDICT_TAKE,
         0, NULL, 5, 10},
        {"the same ETag, another date",
         "HTTP/1.1 206|Content-Range: bytes 5-14/1000|ETag: \"e\"|Last-Modified: Tue",
         RANGE_AT(5, 10), VERDICT_TAKE, 0, NULL, 5, 10},
        {"a tail", "HTTP/1.1 206|Content-Range: bytes 900-999/1000", TAIL(100), VERDICT_TAKE, 0,
         NULL, 900, 100},
        {"a tail longer than the file", "HTTP/1.1 206|Content-Range: bytes 0-999/1000", TAIL(2000),
         VERDICT_TAKE, 0, NULL, 0, 1000},
        {"all, as 200", "HTTP/1.1 200|Content-Length: 1000", RANGE_AT(0, 1000), VERDICT_TAKE, 0,
         NULL, 0, 1000},
        {"all, as 200 of unknown length", "HTTP/1.1 200", RANGE_AT(0, 1000), VERDICT_TAKE, 0, NULL,
         0, 1000},
        {"a tail that is all, as 200", "HTTP/1.1 200|Content-Length: 1000", TAIL(1000),
         VERDICT_TAKE, 0, NULL, 0, 1000},
        {"an empty file", "HTTP/1.1 416|Content-Range: bytes */0", TAIL(100), VERDICT_TAKE, 0, NULL,
         0, 0},
        {"nothing to compare",
         "HTTP/1.1 206|Content-Range: bytes 5-14/1000|ETag: \"f\"|Last-Modified: Tue",
         {.at = 5, .n = 10, .known = &nameless},
         VERDICT_TAKE,
         0,
         NULL,
         5,
         10},
    };
    expect_rows(rows, COUNT_OF(rows));
}

Test(judge, keeps_the_first_replys_validators)
{
    struct reply r =
        parse("HTTP/1.1 206|Content-Range: bytes 900-999/1000|ETag: \"e\"|Last-Modified: Mon");
    const struct wish wish = TAIL(100);
    struct verdict v;
    judge(&r, &wish, &v);
    cr_assert_eq(v.kind, VERDICT_TAKE);
    cr_expect_eq(v.seen.size, 1000);
    cr_expect_str_eq(v.seen.etag, "\"e\"");
    cr_expect_str_eq(v.seen.modified, "Mon");
}

Test(judge, refuses_other_bytes_than_asked_for)
{
    static const struct row rows[] = {
        {"200 for a 206", "HTTP/1.1 200|Content-Length: 1000", RANGE_AT(5, 10), VERDICT_FAIL,
         WEIR_ERR_NETWORK, "200 (the whole file) for a 206", 0, 0},
        {"200 for a tail", "HTTP/1.1 200|Content-Length: 1000", TAIL(100), VERDICT_FAIL,
         WEIR_ERR_NETWORK, "ignores ranges", 0, 0},
        {"200 of unknown length for a tail", "HTTP/1.1 200", TAIL(100), VERDICT_FAIL,
         WEIR_ERR_NETWORK, "ignores ranges", 0, 0},
        {"another start", "HTTP/1.1 206|Content-Range: bytes 6-14/1000", RANGE_AT(5, 10),
         VERDICT_FAIL, WEIR_ERR_NETWORK, "wrong Content-Range: bytes 6-14 for 5-14", 0, 0},
        {"another end", "HTTP/1.1 206|Content-Range: bytes 5-15/1000", RANGE_AT(5, 10),
         VERDICT_FAIL, WEIR_ERR_NETWORK, "wrong Content-Range", 0, 0},
        {"malformed", "HTTP/1.1 206|Content-Range: bytes 5-14", RANGE_AT(5, 10), VERDICT_FAIL,
         WEIR_ERR_NETWORK, "malformed Content-Range", 0, 0},
        {"missing", "HTTP/1.1 206", RANGE_AT(5, 10), VERDICT_FAIL, WEIR_ERR_NETWORK,
         "no Content-Range", 0, 0},
        {"many parts", "HTTP/1.1 206|Content-Type: multipart/byteranges; boundary=x",
         RANGE_AT(5, 10), VERDICT_FAIL, WEIR_ERR_NETWORK, "many parts", 0, 0},
        {"a tail of unknown size", "HTTP/1.1 206|Content-Range: bytes 5-14/*", TAIL(10),
         VERDICT_FAIL, WEIR_ERR_NETWORK, "how long", 0, 0},
        {"a tail of a huge file",
         "HTTP/1.1 206|Content-Range: bytes 9223372036854775798-9223372036854775807/"
         "9223372036854775808",
         TAIL(10), VERDICT_FAIL, WEIR_ERR_NETWORK, "how long", 0, 0},
        {"not the tail", "HTTP/1.1 206|Content-Range: bytes 0-9/1000", TAIL(10), VERDICT_FAIL,
         WEIR_ERR_NETWORK, "wrong Content-Range", 0, 0},
        {"compressed", "HTTP/1.1 206|Content-Range: bytes 5-14/1000|Content-Encoding: gzip",
         RANGE_AT(5, 10), VERDICT_FAIL, WEIR_ERR_NETWORK, "compresses", 0, 0},
        {"416 inside", "HTTP/1.1 416|Content-Range: bytes */1000", RANGE_AT(5, 10), VERDICT_FAIL,
         WEIR_ERR_NETWORK, "416", 0, 0},
        {"416 without more", "HTTP/1.1 416", TAIL(5), VERDICT_FAIL, WEIR_ERR_NETWORK, "416", 0, 0},
    };
    expect_rows(rows, COUNT_OF(rows));
}

Test(judge, sees_that_the_file_changed)
{
    static const struct row rows[] = {
        {"its size", "HTTP/1.1 206|Content-Range: bytes 5-14/1001", RANGE_AT(5, 10), VERDICT_FAIL,
         WEIR_ERR_CHANGED, "its size", 0, 0},
        {"its ETag", "HTTP/1.1 206|Content-Range: bytes 5-14/1000|ETag: \"f\"|Last-Modified: Mon",
         RANGE_AT(5, 10), VERDICT_FAIL, WEIR_ERR_CHANGED, "its ETag", 0, 0},
        {"its date", "HTTP/1.1 206|Content-Range: bytes 5-14/1000|Last-Modified: Tue",
         RANGE_AT(5, 10), VERDICT_FAIL, WEIR_ERR_CHANGED, "its Last-Modified", 0, 0},
        {"If-Range: another file", "HTTP/1.1 200|Content-Length: 1000|ETag: \"f\"", RANGE_AT(5, 10),
         VERDICT_FAIL, WEIR_ERR_CHANGED, "its ETag", 0, 0},
        {"all of another file", "HTTP/1.1 200|Content-Length: 1000|ETag: \"f\"", RANGE_AT(0, 1000),
         VERDICT_FAIL, WEIR_ERR_CHANGED, "its ETag", 0, 0},
        {"shorter now", "HTTP/1.1 416|Content-Range: bytes */4", RANGE_AT(5, 10), VERDICT_FAIL,
         WEIR_ERR_CHANGED, "its size", 0, 0},
        {"412", "HTTP/1.1 412", RANGE_AT(5, 10), VERDICT_FAIL, WEIR_ERR_CHANGED, "412", 0, 0},
    };
    expect_rows(rows, COUNT_OF(rows));
}

Test(judge, knows_what_to_do_about_a_refusal)
{
    static const struct row rows[] = {
        {"redirects", "HTTP/1.1 302|Location: x", RANGE_AT(5, 10), VERDICT_FOLLOW, 0, NULL, 0, 0},
        {"308", "HTTP/1.1 308|Location: x", TAIL(5), VERDICT_FOLLOW, 0, NULL, 0, 0},
        {"304 is none", "HTTP/1.1 304", RANGE_AT(5, 10), VERDICT_FAIL, WEIR_ERR_NETWORK, "304", 0,
         0},
        {"404", "HTTP/1.1 404", TAIL(5), VERDICT_FAIL, WEIR_ERR_NOT_FOUND, "no such file", 0, 0},
        {"401", "HTTP/1.1 401", TAIL(5), VERDICT_FAIL, WEIR_ERR_NETWORK, "token", 0, 0},
        {"403", "HTTP/1.1 403", TAIL(5), VERDICT_FAIL, WEIR_ERR_NETWORK, "403", 0, 0},
        {"403 of a signed URL",
         "HTTP/1.1 403",
         {.at = 5, .n = 10, .known = &known, .redirected = true},
         VERDICT_ANEW,
         WEIR_ERR_NETWORK,
         "signed URL",
         0,
         0},
        {"400 of a signed URL",
         "HTTP/1.1 400",
         {.at = 5, .n = 10, .known = &known, .redirected = true},
         VERDICT_ANEW,
         WEIR_ERR_NETWORK,
         "signed URL",
         0,
         0},
        {"400", "HTTP/1.1 400", TAIL(5), VERDICT_FAIL, WEIR_ERR_NETWORK, "400", 0, 0},
        {"500", "HTTP/1.1 500", TAIL(5), VERDICT_LATER, WEIR_ERR_NETWORK, "trouble (500)", 0, 0},
        {"503", "HTTP/1.1 503", TAIL(5), VERDICT_LATER, WEIR_ERR_NETWORK, "503", 0, 0},
        {"501", "HTTP/1.1 501", TAIL(5), VERDICT_FAIL, WEIR_ERR_NETWORK, "501", 0, 0},
        {"no status", "HTTP/1.1 xyz", TAIL(5), VERDICT_FAIL, WEIR_ERR_NETWORK, "status 0", 0, 0},
    };
    expect_rows(rows, COUNT_OF(rows));
}

Test(judge, knows_what_the_hub_means)
{
    static const struct row rows[] = {
        {"gated", "HTTP/1.1 403|X-Error-Code: GatedRepo", RANGE_AT(5, 10), VERDICT_FAIL,
         WEIR_ERR_NETWORK, "gated (403); accept its terms", 0, 0},
        {"no repository", "HTTP/1.1 401|X-Error-Code: RepoNotFound", RANGE_AT(5, 10), VERDICT_FAIL,
         WEIR_ERR_NOT_FOUND, "no such repository, or a private one (401)", 0, 0},
        {"no revision", "HTTP/1.1 404|X-Error-Code: RevisionNotFound", TAIL(5), VERDICT_FAIL,
         WEIR_ERR_NOT_FOUND, "no such revision", 0, 0},
        {"no file", "HTTP/1.1 404|X-Error-Code: EntryNotFound", TAIL(5), VERDICT_FAIL,
         WEIR_ERR_NOT_FOUND, "no such file at this revision", 0, 0},
        {"unknown words", "HTTP/1.1 404|X-Error-Code: Whatever", TAIL(5), VERDICT_FAIL,
         WEIR_ERR_NOT_FOUND, "no such file on the server", 0, 0},
        {"words that do not fit the status", "HTTP/1.1 503|X-Error-Code: GatedRepo", TAIL(5),
         VERDICT_LATER, WEIR_ERR_NETWORK, "trouble", 0, 0},
        {"behind a redirect, it is no expired signature",
         "HTTP/1.1 403|X-Error-Code: GatedRepo",
         {.at = 5, .n = 10, .known = &known, .redirected = true},
         VERDICT_FAIL,
         WEIR_ERR_NETWORK,
         "gated",
         0,
         0},
        {"the file that was listed", "HTTP/1.1 302|X-Linked-Etag: \"abc\"", LINKED, VERDICT_FOLLOW,
         0, NULL, 0, 0},
        {"another file", "HTTP/1.1 302|X-Linked-Etag: \"abd\"", LINKED, VERDICT_FAIL,
         WEIR_ERR_CHANGED, "X-Linked-Etag", 0, 0},
        {"the Hub does not tell", "HTTP/1.1 302|Location: x", LINKED, VERDICT_FOLLOW, 0, NULL, 0,
         0},
        {"another one in an error", "HTTP/1.1 503|X-Linked-Etag: \"abd\"", LINKED, VERDICT_LATER,
         WEIR_ERR_NETWORK, NULL, 0, 0},
    };
    expect_rows(rows, COUNT_OF(rows));
}

Test(judge, takes_small_answers_whole)
{
    static const struct row rows[] = {
        {"with a length", "HTTP/1.1 200|Content-Length: 5", WHOLE, VERDICT_TAKE, 0, NULL, 0, 0},
        {"without", "HTTP/1.1 200", WHOLE, VERDICT_TAKE, 0, NULL, 0, 0},
        {"a part, unasked", "HTTP/1.1 206|Content-Range: bytes 0-4/5", WHOLE, VERDICT_FAIL,
         WEIR_ERR_NETWORK, "206", 0, 0},
        {"416", "HTTP/1.1 416|Content-Range: bytes */5", WHOLE, VERDICT_FAIL, WEIR_ERR_NETWORK,
         "416", 0, 0},
        {"compressed", "HTTP/1.1 200|Content-Encoding: gzip", WHOLE, VERDICT_FAIL, WEIR_ERR_NETWORK,
         "compresses", 0, 0},
        {"elsewhere", "HTTP/1.1 307|Location: x", WHOLE, VERDICT_FOLLOW, 0, NULL, 0, 0},
        {"later", "HTTP/1.1 429", WHOLE, VERDICT_LATER, WEIR_ERR_NETWORK, "patience", 0, 0},
    };
    expect_rows(rows, COUNT_OF(rows));
}

Test(judge, passes_on_how_long_to_wait)
{
    static const struct {
        const char *head;
        bool has_wait;
        uint32_t wait;
    } rows[] = {
        {"HTTP/1.1 429|Retry-After: 7", true, 7},
        {"HTTP/1.1 429|RateLimit: \"resolvers\";r=0;t=9", true, 9},
        {"HTTP/1.1 429", false, 0},
        {"HTTP/1.1 503|Retry-After: 2", true, 2},
        {"HTTP/1.1 503|RateLimit: \"api\";r=99;t=300|Retry-After: 2", true, 2},
        {"HTTP/1.1 503|RateLimit: \"api\";r=99;t=300", false, 300},
        {"HTTP/1.1 503|RateLimit: \"api\";r=0;t=300", true, 300},
        {"HTTP/1.1 429|RateLimit: \"api\";r=99;t=300", true, 300},
    };
    const struct wish wish = TAIL(5);
    for (size_t i = 0; i < COUNT_OF(rows); i++) {
        struct reply r = parse(rows[i].head);
        struct verdict v;
        judge(&r, &wish, &v);
        cr_expect_eq(v.kind, VERDICT_LATER, "%s", rows[i].head);
        cr_expect_eq(v.has_wait, rows[i].has_wait, "%s", rows[i].head);
        cr_expect_eq(v.wait, rows[i].wait, "%s", rows[i].head);
    }
}

Test(judge, passes_on_that_nothing_is_left)
{
    const struct wish wish = TAIL(100);
    struct verdict v;
    struct reply r = parse(
        "HTTP/1.1 206|Content-Range: bytes 900-999/1000|Retry-After: 9|RateLimit: \"a\";r=0;t=4");
    judge(&r, &wish, &v);
    cr_expect(v.kind == VERDICT_TAKE && v.has_wait && v.wait == 4);
    r = parse("HTTP/1.1 206|Content-Range: bytes 900-999/1000|RateLimit: \"a\";r=1;t=4");
    judge(&r, &wish, &v);
    cr_expect(v.kind == VERDICT_TAKE && !v.has_wait);
}

/* The beginning of a file that nothing is known of, which may be shorter than that; and its end,
 * when the beginning has told what file it is. */
Test(judge, takes_both_ends)
{
    static const struct row rows[] = {
        {"the beginning",
         "HTTP/1.1 206|Content-Range: bytes 0-99/1000",
         {.n = 100},
         VERDICT_TAKE,
         WEIR_OK,
         NULL,
         0,
         100},
        {"all of a short file",
         "HTTP/1.1 206|Content-Range: bytes 0-9/10",
         {.n = 100},
         VERDICT_TAKE,
         WEIR_OK,
         NULL,
         0,
         10},
        {"less than there is",
         "HTTP/1.1 206|Content-Range: bytes 0-9/1000",
         {.n = 100},
         VERDICT_FAIL,
         WEIR_ERR_NETWORK,
         "wrong Content-Range",
         0,
         0},
        {"no size",
         "HTTP/1.1 206|Content-Range: bytes 0-99/*",
         {.n = 100},
         VERDICT_FAIL,
         WEIR_ERR_NETWORK,
         "how long",
         0,
         0},
        {"an empty file",
         "HTTP/1.1 416|Content-Range: bytes */0",
         {.n = 100},
         VERDICT_TAKE,
         WEIR_OK,
         NULL,
         0,
         0},
        {"a whole short file",
         "HTTP/1.1 200|Content-Length: 10",
         {.n = 100},
         VERDICT_TAKE,
         WEIR_OK,
         NULL,
         0,
         10},
        {"a whole long file",
         "HTTP/1.1 200|Content-Length: 101",
         {.n = 100},
         VERDICT_FAIL,
         WEIR_ERR_NETWORK,
         "ignores ranges",
         0,
         0},
        {"the same file's end",
         "HTTP/1.1 206|Content-Range: bytes 990-999/1000|ETag: \"e\"",
         {.tail = true, .n = 10, .known = &known},
         VERDICT_TAKE,
         WEIR_OK,
         NULL,
         990,
         10},
        {"another file's end",
         "HTTP/1.1 206|Content-Range: bytes 990-999/1000|ETag: \"f\"",
         {.tail = true, .n = 10, .known = &known},
         VERDICT_FAIL,
         WEIR_ERR_CHANGED,
         "ETag",
         0,
         0},
        {"a longer file's end",
         "HTTP/1.1 206|Content-Range: bytes 991-1000/1001|ETag: \"e\"",
         {.tail = true, .n = 10, .known = &known},
         VERDICT_FAIL,
         WEIR_ERR_CHANGED,
         "size",
         0,
         0},
        {"a file that is empty now",
         "HTTP/1.1 416|Content-Range: bytes */0",
         {.tail = true, .n = 10, .known = &known},
         VERDICT_FAIL,
         WEIR_ERR_CHANGED,
         "size",
         0,
         0},
    };
    expect_rows(rows, COUNT_OF(rows));
}
