#include "reply.h"

#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>

#define COUNT_OF(array) (sizeof(array) / sizeof((array)[0]))

/* In a block of exactly its bytes, so that reading past its end is seen. */
static char *exact(const char *text)
{
    char *copy = strdup(text);
    cr_assert_not_null(copy);
    return copy;
}

Test(reply, takes_content_ranges_apart)
{
    static const struct {
        const char *text;
        struct content_range want;
    } rows[] = {
        {"bytes 0-0/1", {false, true, 0, 0, 1}},
        {"bytes 5-9/100", {false, true, 5, 9, 100}},
        {"  Bytes  5-9/100 \t", {false, true, 5, 9, 100}},
        {"bytes\t5-9/*", {false, false, 5, 9, 0}},
        {"bytes */100", {true, true, 0, 0, 100}},
        {"bytes */0", {true, true, 0, 0, 0}},
        {"bytes 0-18446744073709551614/18446744073709551615",
         {false, true, 0, UINT64_MAX - 1, UINT64_MAX}},
    };
    for (size_t i = 0; i < COUNT_OF(rows); i++) {
        struct content_range got;
        char *text = exact(rows[i].text);
        cr_expect(content_range_parse(text, &got), "%s", text);
        const struct content_range *want = &rows[i].want;
        cr_expect(got.unsatisfied == want->unsatisfied && got.has_total == want->has_total &&
                      got.first == want->first && got.last == want->last &&
                      got.total == want->total,
                  "%s", text);
        free(text);
    }
}

Test(reply, refuses_malformed_content_ranges)
{
    static const char *const bad[] = {
        "",
        "bytes",
        "bytes ",
        "bytes5-9/100",
        "items 5-9/100",
        "bytes 5",
        "bytes 5-",
        "bytes 5-9",
        "bytes 5-9/",
        "bytes -9/100",
        "bytes 5 -9/100",
        "bytes 9-5/100",
        "bytes 5-100/100",
        "bytes 5-9/100x",
        "bytes 5-9/100, 10-12/100",
        "bytes +5-9/100",
        "bytes 5--9/100",
        "bytes 0x5-9/100",
        "bytes */*",
        "bytes *",
        "bytes */",
        "bytes 18446744073709551616-18446744073709551617/18446744073709551618",
        "bytes 0-99999999999999999999/100",
    };
    for (size_t i = 0; i < COUNT_OF(bad); i++) {
        struct content_range got;
        char *text = exact(bad[i]);
        cr_expect_not(content_range_parse(text, &got), "%s", text);
        free(text);
    }
}

Test(reply, refuses_every_cut_content_range)
{
    static const char whole[] = "bytes 12345-67890/123456";
    for (size_t n = 0; n < sizeof(whole) - 1; n++) {
        char *text = exact(whole);
        struct content_range got;
        text[n] = 0;
        text = realloc(text, n + 1);
        /* The total, cut, is a smaller one: fine as text, unless it is below the range. */
        cr_expect_eq(content_range_parse(text, &got), n > 23, "%s", text);
        free(text);
    }
}

Test(reply, reads_how_long_to_wait)
{
    static const struct {
        const char *text;
        bool fine;
        uint32_t seconds;
    } rows[] = {
        {"0", true, 0},
        {"120", true, 120},
        {" 7 ", true, 7},
        {"99999999999", true, REPLY_MAX_WAIT},
        {"Thu, 01 Jan 1970 00:01:40 GMT", true, 40},
        {"Thu, 01 Jan 1970 00:00:10 GMT", true, 0},
        {"", false, 0},
        {"-1", false, 0},
        {"1.5", false, 0},
        {"5s", false, 0},
        {"soon", false, 0},
        {"99999999999999999999999", false, 0},
    };
    for (size_t i = 0; i < COUNT_OF(rows); i++) {
        uint32_t seconds = 0;
        char *text = exact(rows[i].text);
        cr_expect_eq(retry_after_parse(text, 60, &seconds), rows[i].fine, "%s", text);
        cr_expect_eq(seconds, rows[i].seconds, "%s: %u", text, seconds);
        free(text);
    }
}

Test(reply, reads_rate_limits)
{
    static const struct {
        const char *text;
        bool fine;
        uint32_t seconds;
    } rows[] = {
        {"\"resolvers\";r=0;t=42", true, 42},
        {"\"api\"; r=12; t=300", true, 300},
        {"t=5", true, 5},
        {"limit=100, remaining=0, reset=17", true, 17},
        {"\"a;t=9\";r=0;t=4", true, 4},
        {"\"x\";t=99999999999", true, REPLY_MAX_WAIT},
        {"\"x\";t=1, \"y\";t=2", true, 1},
        {"", false, 0},
        {"\"resolvers\";r=0", false, 0},
        {"\"resolvers\";at=3", false, 0},
        {"\"x\";t=", false, 0},
        {"\"x\";t=-1", false, 0},
        {"\"x\";t=1.5", false, 0},
        {"\"x\";t=99999999999999999999", false, 0},
        {"\"x;t=5", false, 0},
    };
    for (size_t i = 0; i < COUNT_OF(rows); i++) {
        uint32_t seconds = 0;
        char *text = exact(rows[i].text);
        cr_expect_eq(rate_limit_parse(text, &seconds), rows[i].fine, "%s", text);
        cr_expect_eq(seconds, rows[i].seconds, "%s: %u", text, seconds);
        free(text);
    }
}

static bool add(struct reply *r, const char *line)
{
    size_t n = strlen(line);
    char *bytes = malloc(n); /* no NUL behind it, as from libcurl */
    cr_assert(bytes || !n);
    for (size_t i = 0; i < n; i++)
        bytes[i] = line[i];
    bool fine = reply_line(r, bytes, n, 0);
    free(bytes);
    return fine;
}

Test(reply, gathers_a_head)
{
    struct reply r = {0};
    cr_expect(add(&r, "HTTP/1.1 302 Found\r\n"));
    cr_expect(add(&r, "ETag: \"of the redirect\"\r\n"));
    cr_expect(add(&r, "\r\n"));
    cr_expect(add(&r, "HTTP/2 206\r\n"));
    cr_expect_eq(r.etag[0], 0, "what an earlier reply said is forgotten");
    cr_expect(add(&r, "content-range:bytes 5-9/100\r\n"));
    cr_expect(add(&r, "Content-LENGTH: 5\r\n"));
    cr_expect(add(&r, "etag: W/\"x\"\r\n"));
    cr_expect(add(&r, "Last-Modified:  Thu, 01 Jan 1970 00:00:00 GMT \r\n"));
    cr_expect(add(&r, "Content-Encoding: identity\r\n"));
    cr_expect(add(&r, "RateLimit: \"x\";t=9\r\n"));
    cr_expect(add(&r, "Retry-After: 3\r\n"));
    cr_expect(add(&r, "no colon\r\n"));
    cr_expect(add(&r, "\r\n"));
    cr_expect_eq(r.status, 206);
    cr_expect(r.has_range && !r.bad_range && r.range.first == 5);
    cr_expect(r.has_length && r.length == 5);
    cr_expect_str_eq(r.etag, "W/\"x\"");
    cr_expect_str_eq(r.modified, "Thu, 01 Jan 1970 00:00:00 GMT");
    cr_expect_not(r.encoded);
    cr_expect(r.has_wait && r.wait == 3, "Retry-After goes before RateLimit");
}

Test(reply, survives_odd_lines)
{
    struct reply r = {0};
    char line[2048];
    memset(line, 'x', sizeof(line));
    memcpy(line, "ETag: \"", 7);
    line[400] = 0;
    cr_expect(add(&r, "HTTP/1.1 206 x\r\n"));
    cr_expect(add(&r, line));
    cr_expect_eq(r.etag[0], 0, "too long to keep");
    cr_expect(reply_line(&r, line, sizeof(line), 0), "too long to look at");
    cr_expect(reply_line(&r, "ETag: \"a\0b\"\r\n", 13, 0));
    cr_expect_eq(r.etag[0], 0);
    cr_expect(add(&r, ""));
    cr_expect(add(&r, ":\r\n"));
    cr_expect(add(&r, "Content-Range: bytes 0-1/2\r\n"));
    cr_expect(add(&r, "Content-Range: bytes 0-1/2\r\n"));
    cr_expect(r.bad_range, "two of them");
    cr_expect(add(&r, "Content-Length: 5, 5\r\n"));
    cr_expect_not(r.has_length);
    static const char *const bad[] = {"HTTP/1.1\r\n", "HTTP/1.1 \r\n", "HTTP/1.1 abc\r\n",
                                      "HTTP/1.1 99999 x\r\n", "HTTP/\r\n"};
    for (size_t i = 0; i < COUNT_OF(bad); i++) {
        cr_expect(add(&r, bad[i]));
        cr_expect_eq(r.status, 0, "%s", bad[i]);
    }
}

Test(reply, bounds_the_head)
{
    struct reply r = {0};
    char line[1000];
    memset(line, 'x', sizeof(line));
    size_t n = 0;
    while (reply_line(&r, line, sizeof(line), 0))
        n += sizeof(line);
    cr_expect_eq(n, REPLY_MAX_HEAD_BYTES / sizeof(line) * sizeof(line));
    /* Also when every line claims to begin anew. */
    size_t m = 0;
    memset(&r, 0, sizeof(r));
    while (m < 10000 && add(&r, "HTTP/1.1 100 Continue\r\n"))
        m++;
    cr_expect_lt(m, 10000);
}

Test(reply, finds_the_next_link)
{
    static const struct {
        const char *text, *want; /* NULL: none */
    } rows[] = {
        {"<https://h/a?cursor=b%3D>; rel=\"next\"", "https://h/a?cursor=b%3D"},
        {"</a>;rel=next", "/a"},
        {"  <a> ; title=\"x, rel=next; <y>\" ; REL = \"prev Next\"", "a"},
        {"<a>; rel=\"prev\", <b>; rel=\"next\"", "b"},
        {"<a>; rel=\"prev\",, <b>; x; rel=next; y, <c>; rel=next", "b"},
        {"<a>; rel=prev; rel=next", NULL},
        {"<a>; rel=\"nextprev\"", NULL},
        {"<a>; rel=\"ne\"", NULL},
        {"<a>; relation=next", NULL},
        {"<a>", NULL},
        {"<a", NULL},
        {"<>; rel=next", NULL},
        {"a; rel=next", NULL},
        {"", NULL},
        {"<a>; rel=\"next", "a"},
    };
    for (size_t i = 0; i < COUNT_OF(rows); i++) {
        char got[64] = "";
        char *text = exact(rows[i].text);
        bool any = link_next_parse(text, got, sizeof(got));
        cr_expect_eq(any, rows[i].want != NULL, "%s", rows[i].text);
        if (any && rows[i].want)
            cr_expect_str_eq(got, rows[i].want);
        free(text);
    }
    char small[4];
    cr_expect(link_next_parse("<abc>; rel=next", small, sizeof(small)));
    cr_expect_not(link_next_parse("<abcd>; rel=next", small, sizeof(small)));
}

static void take_lines(struct reply *r, const char *const *line)
{
    for (; *line; line++)
        cr_assert(reply_line(r, *line, strlen(*line), 0));
}

Test(reply, keeps_what_the_hub_says)
{
    struct reply r = {0};
    static const char *const fine[] = {
        "HTTP/1.1 302 Found\r\n",       "X-Error-Code: GatedRepo\r\n",
        "X-Linked-ETag: W/\"abc\"\r\n", "Link: <u>; rel=\"next\"\r\n",
        "Link: <v>; rel=\"next\"\r\n",  NULL};
    take_lines(&r, fine);
    cr_expect_str_eq(r.error_code, "GatedRepo");
    cr_expect_str_eq(r.linked_etag, "abc");
    cr_expect_str_eq(r.next, "u");
    static const char *const odd[] = {"HTTP/1.1 302 Found\r\n", "X-Error-Code: a\x1b[1m\r\n",
                                      "X-Linked-ETag: \"\r\n", NULL};
    take_lines(&r, odd);
    cr_expect_str_eq(r.error_code, "");
    cr_expect_str_eq(r.linked_etag, "\"");
    cr_expect_str_eq(r.next, "");
}
