/* Downloads and repairs, from a server of this process. */
#include "fetch/download.h"

#include <fcntl.h>
#include <sys/stat.h>

#include "fail_alloc.h"
#include "web_kit.h"

enum {
    MAX_STORE = 1 << 20,
    SAMPLE = 23,
    OPENING = 2, /* requests: both ends */
};

static uint8_t bytes[MAX_STORE];
static size_t n_bytes;
static struct weir_source src; /* the very store, as a file */
static struct weir_store *store;
static char folder[64], target[96], seed[96];

static void write_file(const char *name, const void *from, size_t n)
{
    FILE *f = fopen(name, "wb");
    cr_assert(f && fwrite(from, 1, n, f) == n && fclose(f) == 0, "%s", name);
}

static bool is_the_store(const char *name)
{
    static uint8_t got[MAX_STORE];
    FILE *f = fopen(name, "rb");
    size_t n = f ? fread(got, 1, sizeof(got), f) : 0;
    return f && fclose(f) == 0 && n == n_bytes && memcmp(got, bytes, n) == 0;
}

static void serve_store(const char *name)
{
    FILE *f = fopen(name, "rb");
    cr_assert_not_null(f);
    n_bytes = fread(bytes, 1, sizeof(bytes), f);
    cr_assert(n_bytes < sizeof(bytes) && fclose(f) == 0);
    cr_assert_eq(weir_source_open_file(name, &src, NULL), WEIR_OK);
    cr_assert_eq(weir_store_open(&src, &store, NULL), WEIR_OK);
    /* In a tmpfs: each download syncs its files. */
    snprintf(folder, sizeof(folder), "%s/weir-download-XXXXXX",
             access("/dev/shm", W_OK) == 0 ? "/dev/shm" : "/tmp");
    cr_assert_not_null(mkdtemp(folder));
    snprintf(target, sizeof(target), "%s/a.weir", folder);
    snprintf(seed, sizeof(seed), "%s/seed", folder);
    web_start(bytes, n_bytes);
}

static void forget(void)
{
    static const char *const endings[] = {"", ".weir-partial", ".weir-fetch"};
    char name[128];
    for (size_t i = 0; i < sizeof(endings) / sizeof(endings[0]); i++) {
        snprintf(name, sizeof(name), "%s%s", target, endings[i]);
        (void)unlink(name);
    }
}

static void set_up(void)
{
    serve_store(WEIR_TESTS "/golden/two-extents.weir");
}

static void tear_down(void)
{
    web_stop();
    forget();
    (void)unlink(seed);
    (void)rmdir(folder);
    weir_store_free(store);
    weir_source_close(&src);
}

typedef weir_err fetch_fn(struct weir_http *http, const char *url, const char *target,
                          const struct weir_download_options *options,
                          struct weir_download_result *result, struct weir_diag *diag);

static weir_err fetch_with(fetch_fn *fetch, const struct weir_download_options *options,
                           struct weir_download_result *result, struct weir_diag *diag)
{
    const struct weir_http_options how = {.n_connections = 1, .n_retries = 1, .backoff_ms = 1};
    struct weir_http *http = NULL;
    weir_err err = weir_http_new(&how, &http, diag);
    if (!err)
        err = fetch(http, web.url, target, options, result, diag);
    weir_http_free(http);
    return err;
}

/* How often exactly extent i was asked for. */
static unsigned times_asked(uint32_t i)
{
    struct weir_extent e = weir_store_extent(store, i);
    unsigned n = 0;
    for (size_t k = 0; k < web.n_asked; k++)
        n += web.asked[k].first == e.at && web.asked[k].last == e.at + e.bytes - 1;
    return n;
}

/* Byte `at` is another one when the store is opened, or when its extents come. */
static void download_with_flip(size_t at, bool when_opened)
{
    const struct weir_download_options options = {.n_connections = 1};
    struct weir_download_result result;
    struct weir_diag diag = {""};
    web.flip_at = at;
    web.flip_after = when_opened ? 0 : OPENING;
    web.flipped = false;
    web.n_asked = 0;
    weir_err err = fetch_with(weir_download, &options, &result, &diag);
    cr_assert_eq(err, WEIR_OK, "byte %zu: %s: %s", at, weir_err_text(err), diag.text);
    cr_assert(is_the_store(target), "byte %zu", at);
    size_t n_asked = 0;
    for (uint32_t i = 0; i < weir_store_info(store)->n_extents; i++) {
        struct weir_extent e = weir_store_extent(store, i);
        bool again = !when_opened && at >= e.at && at < e.at + e.bytes;
        cr_assert_eq(times_asked(i), again ? 2U : 1U, "byte %zu: extent %u came %u times", at,
                     (unsigned)i, times_asked(i));
        n_asked += again ? 2 : 1;
    }
    /* The two ends, and these again: all else hangs on them. */
    size_t n_more = web.n_asked - n_asked, most = OPENING;
    cr_assert(n_more == most || (when_opened && n_more <= 2 * most), "byte %zu: %zu requests", at,
              web.n_asked);
    forget();
}

/* One byte after the other is another one on its way, once: it is found, and its extent alone comes
 * again.  WEIR_EVERY_BYTE=1: every byte; else one in 23, and all of both ends. */
Test(download, finds_any_flipped_byte, .init = set_up, .fini = tear_down)
{
    bool every = getenv("WEIR_EVERY_BYTE") != NULL;
    size_t n = 0;
    for (size_t at = 0; at < n_bytes; at++) {
        bool end = at < SAMPLE || n_bytes - at < (size_t)3 * SAMPLE;
        if (!every && !end && at % (size_t)SAMPLE != 0)
            continue;
        download_with_flip(at, true);
        download_with_flip(at, false);
        n++;
    }
    fprintf(stderr, "%zu of %zu bytes flipped\n", n, n_bytes);
}

/* ---- memory ---- */

static void survive(fetch_fn *fetch, const struct weir_download_options *options, bool damaged)
{
    int n_failed = 0;
    for (int i = 0; i < 400; i++) {
        struct weir_download_result result;
        struct weir_diag diag = {""};
        forget();
        if (damaged) {
            uint8_t *hurt = malloc(n_bytes);
            cr_assert_not_null(hurt);
            memcpy(hurt, bytes, n_bytes);
            hurt[weir_store_extent(store, 0).at + 5] ^= 1;
            write_file(target, hurt, n_bytes);
            free(hurt);
        }
        fail_alloc_at(i);
        weir_err err = fetch_with(fetch, options, &result, &diag);
        fail_alloc_at(-1);
        cr_assert(err == WEIR_OK || err == WEIR_ERR_NOMEM, "allocation %d: %s: %s", i,
                  weir_err_text(err), diag.text);
        cr_assert(err ? damaged || access(target, F_OK) != 0 : is_the_store(target),
                  "allocation %d", i);
        if (!err)
            break;
        n_failed++;
    }
    fprintf(stderr, "%d allocations failed\n", n_failed);
    cr_expect_gt(n_failed, 15);
    cr_expect_lt(n_failed, 400);
}

Test(download, survives_failing_allocations, .init = set_up, .fini = tear_down)
{
    const struct weir_download_options plain = {.n_connections = 1};
    survive(weir_download, &plain, false);
    write_file(seed, bytes, n_bytes);
    const struct weir_download_options seeded = {.n_connections = 1, .seed = seed};
    survive(weir_download, &seeded, false);
}

Test(download, survives_failing_allocations_of_a_repair, .init = set_up, .fini = tear_down)
{
    const struct weir_download_options options = {.n_connections = 1};
    survive(weir_repair, &options, true);
}

/* What an earlier run has left is looked through for what is not marked. */
Test(download, goes_on_from_what_is_not_marked, .init = set_up, .fini = tear_down)
{
    const struct weir_download_options options = {.n_connections = 1};
    struct weir_download_result result;
    struct weir_diag diag = {""};
    char name[128];
    uint8_t side[65] = {0x89, 'w', 'e', 'i', 'r', 'p', '\r', '\n', 1, 0, 0, 0, 2};
    for (int i = 0; i < 8; i++)
        side[16 + i] = (uint8_t)(n_bytes >> 8 * i);
    memcpy(side + 24, weir_store_info(store)->digest, WEIR_DIGEST_BYTES);
    cr_assert_eq(weir_store_info(store)->n_extents, 2U);
    snprintf(name, sizeof(name), "%s.weir-fetch", target);
    write_file(name, side, sizeof(side));
    snprintf(name, sizeof(name), "%s.weir-partial", target);
    write_file(name, bytes, n_bytes);
    cr_assert_eq(fetch_with(weir_download, &options, &result, &diag), WEIR_OK, "%s", diag.text);
    cr_expect(is_the_store(target));
    cr_expect_eq(web.n_asked, OPENING, "%zu requests", web.n_asked);
    cr_expect_eq(result.resumed_bytes,
                 weir_store_extent(store, 0).bytes + weir_store_extent(store, 1).bytes);
}
