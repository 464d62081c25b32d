#include "disk_cache.h"

#include <criterion/criterion.h>
#include <dirent.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "disk_usage.h"
#include "fail_alloc.h"

enum {
    BYTES = 5000,
    BLOCKS = 8192, /* that BYTES take */
    LIMIT = 8 * BLOCKS,
};

static const char pattern[] = "disk_cache.XXXXXX";
static char folder[sizeof(pattern)];
static unsigned n_warnings;

static void on_warn(void *self, const char *text)
{
    (void)self;
    cr_expect(strstr(text, folder) != NULL, "%s", text);
    n_warnings++;
}

static void make_folder(void)
{
    memcpy(folder, pattern, sizeof(folder));
    cr_assert_not_null(mkdtemp(folder));
    n_warnings = 0;
}

/* How many files are there, or are removed. */
static unsigned files(bool and_remove)
{
    unsigned n = 0;
    DIR *dir = opendir(folder);
    cr_assert_not_null(dir);
    for (const struct dirent *e; (e = readdir(dir));) {
        if (e->d_name[0] == '.')
            continue;
        n++;
        if (and_remove)
            (void)unlinkat(dirfd(dir), e->d_name, 0);
    }
    (void)closedir(dir);
    return n;
}

static void remove_folder(void)
{
    (void)files(true);
    (void)rmdir(folder);
}

static struct disk_cache *open_cache(uint64_t max_bytes)
{
    const struct disk_cache_options options = {folder, max_bytes, NULL, on_warn};
    struct disk_cache *cache = NULL;
    cr_assert_eq(disk_cache_open(&options, &cache), WEIR_OK);
    return cache;
}

static struct weir_extent extent_of(uint8_t number)
{
    struct weir_extent e = {.bytes = BYTES};
    memset(e.sha256, number, sizeof(e.sha256));
    return e;
}

static bool has(const struct disk_cache *cache, uint8_t number)
{
    struct weir_extent e = extent_of(number);
    uint8_t got[BYTES], want[BYTES];
    memset(want, number, sizeof(want));
    bool there = disk_cache_has(cache, &e);
    cr_expect_eq(disk_cache_read(cache, &e, got), there);
    if (there)
        cr_expect_arr_eq(got, want, BYTES);
    return there;
}

static void keep(struct disk_cache *cache, uint8_t number)
{
    struct weir_extent e = extent_of(number);
    uint8_t bytes[BYTES];
    int claim;
    memset(bytes, number, sizeof(bytes));
    cr_expect(disk_cache_claim(cache, &e, false, &claim));
    disk_cache_keep(cache, &e, claim, bytes);
}

Test(disk_cache, counts_are_what_they_were_written_as)
{
    uint8_t bytes[DISK_USAGE_BYTES];
    static const uint64_t counts[] = {0, 1, 0x0102030405060708, UINT64_MAX};
    for (size_t i = 0; i < sizeof(counts) / sizeof(counts[0]); i++) {
        uint64_t got = ~counts[i];
        disk_usage_write(counts[i], bytes);
        cr_expect(disk_usage_parse(bytes, sizeof(bytes), &got));
        cr_expect_eq(got, counts[i]);
        for (size_t n = 0; n < sizeof(bytes); n++)
            cr_expect(!disk_usage_parse(bytes, n, &got), "%zu bytes", n);
        for (size_t at = 0; at < sizeof(bytes); at++) {
            bytes[at] ^= 4;
            cr_expect(!disk_usage_parse(bytes, sizeof(bytes), &got), "byte %zu", at);
            bytes[at] ^= 4;
        }
    }
    cr_expect_eq(disk_usage_of(0), 0);
    cr_expect_eq(disk_usage_of(1), 4096);
    cr_expect_eq(disk_usage_of(4096), 4096);
}

Test(disk_cache, knows_its_own_files)
{
    char name[DISK_PART_CHARS + 2];
    snprintf(name, sizeof(name), "%064d", 7);
    cr_expect(disk_name_is(name, false) && !disk_name_is(name, true));
    strcat(name, ".part");
    cr_expect(disk_name_is(name, true) && !disk_name_is(name, false));
    strcat(name, "x");
    cr_expect(!disk_name_is(name, true) && !disk_name_is(name, false));
    cr_expect(!disk_name_is(name + 1, false));
    snprintf(name, sizeof(name), "%063dA", 7);
    cr_expect(!disk_name_is(name, false));
    cr_expect(!disk_name_is("usage", false));
    cr_expect(!disk_name_is("", true));
}

Test(disk_cache, keeps_for_later_and_for_others, .init = make_folder, .fini = remove_folder)
{
    struct disk_cache *a = open_cache(1 << 20), *b = open_cache(1 << 20);
    cr_expect(!has(a, 1));
    keep(a, 1);
    cr_expect(has(a, 1) && has(b, 1) && !has(a, 2));
    struct weir_extent e = extent_of(1);
    disk_cache_drop(b, &e);
    cr_expect(!has(a, 1));
    keep(b, 2);
    disk_cache_free(a);
    disk_cache_free(b);
    a = open_cache(1 << 20);
    cr_expect(has(a, 2));
    e = extent_of(2);
    e.bytes++; /* a file of another length is none */
    cr_expect(!disk_cache_has(a, &e));
    cr_expect(!has(a, 2), "and is removed");
    disk_cache_free(a);
    cr_expect_eq(n_warnings, 0);
    cr_expect(!disk_cache_has(NULL, &e));
    disk_cache_free(NULL);
}

Test(disk_cache, holds_its_limit, .init = make_folder, .fini = remove_folder)
{
    struct disk_cache *cache = open_cache(LIMIT);
    for (uint8_t i = 0; i < 8; i++) {
        keep(cache, i);
        (void)usleep(10000); /* so that their times differ */
    }
    for (uint8_t i = 0; i < 8; i++)
        cr_expect(has(cache, i), "%u", i);
    (void)usleep(10000);
    cr_expect(has(cache, 0)); /* it was read last now */
    (void)usleep(10000);
    keep(cache, 8);
    cr_expect(has(cache, 0) && has(cache, 8));
    cr_expect_eq(files(false), 7 + 1, "one more than need be has gone, and there is the count");
    uint64_t left;
    int fd = open(folder, O_RDONLY | O_DIRECTORY);
    cr_expect(disk_usage_trim(fd, UINT64_MAX, &left));
    (void)close(fd);
    cr_expect_leq(left, LIMIT);
    disk_cache_free(cache);

    cache = open_cache(BLOCKS / 2); /* what does not fit is not kept */
    keep(cache, 9);
    cr_expect(!has(cache, 9) && !has(cache, 0));
    cr_expect_eq(files(false), 1, "only the count");
    disk_cache_free(cache);
    cr_expect_eq(n_warnings, 0);
}

struct waiter {
    struct disk_cache *cache;
    struct weir_extent e;
    int claim;
};

static void *wait_for_claim(void *self)
{
    struct waiter *w = self;
    cr_expect(disk_cache_claim(w->cache, &w->e, true, &w->claim));
    return NULL;
}

Test(disk_cache, lets_one_fetch_for_all, .init = make_folder, .fini = remove_folder)
{
    struct disk_cache *a = open_cache(1 << 20), *b = open_cache(1 << 20);
    struct weir_extent e = extent_of(3);
    uint8_t bytes[BYTES];
    int claim, other;
    memset(bytes, 3, sizeof(bytes));
    cr_assert(disk_cache_claim(a, &e, false, &claim));
    cr_assert_neq(claim, DISK_NO_CLAIM);
    cr_expect(!disk_cache_claim(b, &e, false, &other));
    cr_expect_eq(other, DISK_NO_CLAIM);
    struct waiter w = {.cache = b, .e = e};
    pthread_t thread;
    cr_assert_eq(pthread_create(&thread, NULL, wait_for_claim, &w), 0);
    disk_cache_keep(a, &e, claim, bytes);
    (void)pthread_join(thread, NULL);
    cr_expect(has(b, 3), "there when the wait is over");
    disk_cache_let_go(b, &e, w.claim);
    cr_expect(has(b, 3));
    cr_expect_eq(files(false), 2);

    /* What a dead process has left goes: nobody has it locked. */
    char name[sizeof(folder) + DISK_PART_CHARS + 2];
    snprintf(name, sizeof(name), "%s/%064d.part", folder, 4);
    int fd = open(name, O_WRONLY | O_CREAT, 0600);
    cr_assert_eq(write(fd, bytes, 100), 100);
    (void)close(fd);
    e = extent_of(5);
    cr_assert(disk_cache_claim(a, &e, false, &claim));
    struct disk_cache *c = open_cache(1 << 20);
    cr_expect_neq(access(name, F_OK), 0);
    disk_cache_keep(a, &e, claim, memset(bytes, 5, sizeof(bytes)));
    cr_expect(has(c, 5), "and what is being written stays");
    disk_cache_free(a);
    disk_cache_free(b);
    disk_cache_free(c);
    cr_expect_eq(n_warnings, 0);
}

Test(disk_cache, does_without_a_folder, .init = make_folder, .fini = remove_folder)
{
    char name[sizeof(folder) + 10];
    snprintf(name, sizeof(name), "%s/no/folder", folder);
    const struct disk_cache_options options = {name, 1 << 20, NULL, on_warn};
    struct disk_cache *cache = NULL;
    cr_assert_eq(disk_cache_open(&options, &cache), WEIR_OK);
    cr_expect_eq(n_warnings, 1);
    keep(cache, 1);
    cr_expect(!has(cache, 1));
    struct weir_extent e = extent_of(1);
    disk_cache_drop(cache, &e);
    disk_cache_free(cache);
    cr_expect_eq(n_warnings, 1);
    cache = NULL;
    fail_alloc_at(0);
    cr_expect_eq(disk_cache_open(&options, &cache), WEIR_ERR_NOMEM);
    fail_alloc_at(-1);
    cr_expect_null(cache);
}
