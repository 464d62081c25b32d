#include "fetch/http.h"

#include "fail_alloc.h"
#include "web_kit.h"

enum { FILE_BYTES = 100000 };
static uint8_t plain[FILE_BYTES];

static void set_up(void)
{
    for (size_t i = 0; i < sizeof(plain); i++)
        plain[i] = (uint8_t)(i * 7 + i / 256);
    web_start(plain, sizeof(plain));
}

static void tear_down(void)
{
    web_stop();
}

static struct weir_http *new_client(const struct weir_http_options *options)
{
    struct weir_http *http = NULL;
    struct weir_diag diag = {""};
    cr_assert_eq(weir_http_new(options, &http, &diag), WEIR_OK, "%s", diag.text);
    return http;
}

static struct weir_http_file *open_file(struct weir_http *http)
{
    uint8_t tail[1000];
    size_t n = 0;
    struct weir_http_file *file = NULL;
    struct weir_diag diag = {""};
    cr_assert_eq(weir_http_open(http, web.url, tail, sizeof(tail), &n, &file, &diag), WEIR_OK, "%s",
                 diag.text);
    cr_expect_eq(n, sizeof(tail));
    cr_expect_arr_eq(tail, plain + FILE_BYTES - n, n);
    cr_expect_eq(weir_http_file_size(file), FILE_BYTES);
    return file;
}

Test(http, reads_ranges, .init = set_up, .fini = tear_down)
{
    const struct weir_http_options options = {.n_connections = 1};
    struct weir_http *http = new_client(&options);
    struct weir_http_file *file = open_file(http);
    static const struct {
        uint64_t at;
        size_t n;
        weir_err err;
    } rows[] = {
        {0, 1, WEIR_OK},
        {5, 50000, WEIR_OK},
        {0, FILE_BYTES, WEIR_OK},
        {FILE_BYTES - 1, 1, WEIR_OK},
        {0, 0, WEIR_ERR_INVALID},
        {FILE_BYTES, 1, WEIR_ERR_INVALID},
        {FILE_BYTES - 1, 2, WEIR_ERR_INVALID},
        {1, SIZE_MAX, WEIR_ERR_INVALID},
        {UINT64_MAX, 1, WEIR_ERR_INVALID},
    };
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        size_t n = rows[i].err ? 1 : rows[i].n;
        uint8_t *dst = malloc(n);
        cr_assert_not_null(dst);
        cr_expect_eq(weir_http_read(file, rows[i].at, dst, rows[i].n, NULL), rows[i].err, "row %zu",
                     i);
        if (!rows[i].err)
            cr_expect_arr_eq(dst, plain + rows[i].at, n, "row %zu", i);
        free(dst);
    }
    cr_expect_eq(weir_http_counts(http).n_requests, 5);
    weir_http_free(http);
    weir_http_file_free(file);
}

/* A range whose owner has had enough. */
struct owner {
    _Atomic unsigned n_data, n_done;
    unsigned fine; /* times that it takes bytes before it gives its answer */
    weir_err answer, err;
    struct weir_http_file *again; /* done() starts another one, once */
};

static weir_err on_data(void *self, const void *bytes, size_t n)
{
    struct owner *o = self;
    (void)bytes;
    (void)n;
    return atomic_fetch_add(&o->n_data, 1) < o->fine ? WEIR_OK : o->answer;
}

static void on_done(void *self, weir_err err, const struct weir_diag *diag)
{
    struct owner *o = self;
    (void)diag;
    o->err = err;
    if (o->again) {
        const struct weir_http_range range = {0, 1000, o, on_data, on_done};
        cr_expect_eq(weir_http_start(o->again, &range), WEIR_OK);
    }
    o->again = NULL;
    atomic_fetch_add(&o->n_done, 1);
}

Test(http, passes_on_what_the_owner_says, .init = set_up, .fini = tear_down)
{
    const struct weir_http_options options = {.n_connections = 1};
    struct weir_http *http = new_client(&options);
    struct weir_http_file *file = open_file(http);
    struct owner owner = {.answer = WEIR_ERR_IO};
    const struct weir_http_range range = {0, FILE_BYTES, &owner, on_data, on_done};
    cr_assert_eq(weir_http_start(file, &range), WEIR_OK);
    while (!owner.n_done)
        (void)usleep(1000);
    cr_expect_eq(owner.err, WEIR_ERR_IO);
    cr_expect_eq(owner.n_data, 1);
    uint8_t byte;
    cr_expect_eq(weir_http_read(file, 5, &byte, 1, NULL), WEIR_OK, "and the client lives on");
    weir_http_free(http);
    weir_http_file_free(file);
}

/* libcurl does not look at what a callback says when a pause ends. */
Test(http, passes_it_on_at_any_time_of_a_limited_rate, .init = set_up, .fini = tear_down)
{
    const struct weir_http_options options = {.n_connections = 1, .limit_rate = 150000};
    for (unsigned fine = 0; fine < 6; fine++) {
        struct weir_http *http = new_client(&options);
        struct weir_http_file *file = open_file(http);
        struct owner owner = {.answer = WEIR_ERR_IO, .fine = fine};
        const struct weir_http_range range = {0, FILE_BYTES, &owner, on_data, on_done};
        cr_assert_eq(weir_http_start(file, &range), WEIR_OK);
        while (!owner.n_done)
            (void)usleep(1000);
        cr_expect_eq(owner.err, WEIR_ERR_IO, "after %u", fine);
        cr_expect_eq(owner.n_data, fine + 1, "after %u: %u", fine, owner.n_data);
        weir_http_free(http);
        weir_http_file_free(file);
    }
}

Test(http, ends_what_is_started_while_it_ends, .init = set_up, .fini = tear_down)
{
    const struct weir_http_options options = {.n_connections = 1};
    struct weir_http *http = new_client(&options);
    struct weir_http_file *file = open_file(http);
    web.silent = true;
    struct owner owner = {.again = file};
    const struct weir_http_range range = {0, 1000, &owner, on_data, on_done};
    cr_assert_eq(weir_http_start(file, &range), WEIR_OK);
    weir_http_free(http);
    cr_expect_eq(owner.n_done, 2);
    cr_expect_eq(owner.err, WEIR_ERR_CANCELLED);
    weir_http_file_free(file);
}

Test(http, refuses_tokens_that_are_none)
{
    static const char *const tokens[] = {"a\r\nHost: b", "a\n", " a", "a b", "a\x7f"};
    for (size_t i = 0; i < sizeof(tokens) / sizeof(tokens[0]); i++) {
        const struct weir_http_options options = {.token = tokens[i], .token_url = "http://a"};
        struct weir_http *http = NULL;
        struct weir_diag diag = {""};
        cr_expect_eq(weir_http_new(&options, &http, &diag), WEIR_ERR_INVALID, "token %zu", i);
        cr_expect_null(http);
    }
}

Test(http, ends_what_is_on_its_way, .init = set_up, .fini = tear_down)
{
    for (int cancel = 0; cancel < 2; cancel++) {
        const struct weir_http_options options = {.n_connections = 2};
        web.silent = false;
        struct weir_http *http = new_client(&options);
        struct weir_http_file *file = open_file(http);
        struct owner owner[5] = {0};
        web.silent = true;
        for (int i = 0; i < 5; i++) {
            const struct weir_http_range range = {0, 1000, &owner[i], on_data, on_done};
            cr_assert_eq(weir_http_start(file, &range), WEIR_OK);
        }
        (void)usleep(100000);
        uint8_t byte;
        if (cancel) {
            weir_http_cancel(http);
            cr_expect_eq(weir_http_read(file, 5, &byte, 1, NULL), WEIR_ERR_CANCELLED);
        }
        weir_http_free(http);
        for (int i = 0; i < 5; i++) {
            cr_expect_eq(owner[i].n_done, 1);
            cr_expect_eq(owner[i].err, WEIR_ERR_CANCELLED);
        }
        weir_http_file_free(file);
    }
}

static weir_err try_all(const struct weir_http_options *options)
{
    struct weir_http *http = NULL;
    struct weir_http_file *file = NULL;
    uint8_t bytes[1000];
    size_t n = 0;
    weir_err err = weir_http_new(options, &http, NULL);
    if (!err)
        err = weir_http_open(http, web.url, bytes, sizeof(bytes), &n, &file, NULL);
    if (!err)
        err = weir_http_read(file, 5, bytes, sizeof(bytes), NULL);
    if (!err)
        cr_expect_arr_eq(bytes, plain + 5, sizeof(bytes));
    weir_http_free(http);
    weir_http_file_free(file);
    return err;
}

Test(http, survives_failing_allocations, .init = set_up, .fini = tear_down)
{
    const struct weir_http_options options = {
        .n_connections = 1, .token = "secret", .token_url = web.url, .ca_file = "/none"};
    int n_failed = 0;
    for (int i = 0; i < 100; i++) {
        fail_alloc_at(i);
        weir_err err = try_all(&options);
        fail_alloc_at(-1);
        cr_assert(err == WEIR_OK || err == WEIR_ERR_NOMEM, "allocation %d: %s", i,
                  weir_err_text(err));
        if (!err)
            break;
        n_failed++;
    }
    cr_expect_gt(n_failed, 8);
    cr_expect_lt(n_failed, 100);
    weir_http_free(NULL);
    weir_http_file_free(NULL);
}

static _Atomic bool urges;

static bool on_urged(void *self)
{
    (void)self;
    return atomic_exchange(&urges, false);
}

/* Nothing comes, and the next try is half a minute away; somebody who begins to wait gets it now.
 */
Test(http, tries_again_for_who_begins_to_wait, .init = set_up, .fini = tear_down, .timeout = 20)
{
    const struct weir_http_options options = {.n_connections = 1, .backoff_ms = 60000};
    struct weir_http *http = new_client(&options);
    struct weir_http_file *file = open_file(http);
    struct owner owner = {.answer = WEIR_OK};
    const struct weir_http_range range = {0, FILE_BYTES, &owner, on_data, on_done};
    const struct weir_http_range bad = {FILE_BYTES, 1, &owner, on_data, on_done};
    cr_expect_eq(weir_http_start_ahead(file, &bad, on_urged), WEIR_ERR_INVALID);
    atomic_store(&web.drops, true);
    cr_assert_eq(weir_http_start_ahead(file, &range, on_urged), WEIR_OK);
    while (weir_http_counts(http).n_failed == 0)
        (void)usleep(1000);
    atomic_store(&web.drops, false);
    (void)usleep(300000); /* no event tells that nothing happens */
    cr_expect_eq(owner.n_done, 0);
    cr_expect_eq(weir_http_counts(http).n_failed, 1);
    atomic_store(&urges, true);
    while (!owner.n_done)
        (void)usleep(1000);
    cr_expect_eq(owner.err, WEIR_OK);
    weir_http_free(http);
    weir_http_file_free(file);
}
