#include "codec/source.h"

#include <criterion/criterion.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "fail_alloc.h"

#define COUNT_OF(array) (sizeof(array) / sizeof((array)[0]))

enum { FILE_BYTES = 10007 };

/* A folder of its own, with one file in it. */
static char folder[64], file[96];
static uint8_t plain[FILE_BYTES];

static void make_file(void)
{
    strcpy(folder, "/tmp/weir-source-XXXXXX");
    cr_assert_not_null(mkdtemp(folder));
    snprintf(file, sizeof(file), "%s/file", folder);
    for (size_t i = 0; i < sizeof(plain); i++)
        plain[i] = (uint8_t)(i * 7 + i / 256);
    FILE *f = fopen(file, "wb");
    cr_assert_not_null(f);
    cr_assert_eq(fwrite(plain, 1, sizeof(plain), f), sizeof(plain));
    cr_assert_eq(fclose(f), 0);
}

static void remove_file(void)
{
    (void)unlink(file);
    (void)rmdir(folder);
}

static struct weir_source open_file(void)
{
    struct weir_source src = {0};
    struct weir_diag diag = {""};
    cr_assert_eq(weir_source_open_file(file, &src, &diag), WEIR_OK, "%s", diag.text);
    cr_assert_eq(src.size, FILE_BYTES);
    return src;
}

/* Ranges of FILE_BYTES bytes, and whether they lie in them. */
static const struct {
    uint64_t at;
    size_t n;
    bool fine;
} ranges[] = {
    {0, 0, true},
    {0, 1, true},
    {0, FILE_BYTES, true},
    {4095, 2, true},
    {5000, 5007, true},
    {FILE_BYTES - 1, 1, true},
    {FILE_BYTES, 0, true},
    {FILE_BYTES, 1, false},
    {FILE_BYTES - 1, 2, false},
    {0, FILE_BYTES + 1, false},
    {FILE_BYTES + 1, 0, false},
    {1, SIZE_MAX, false},
    {UINT64_MAX, 1, false},
    {UINT64_MAX, 0, false},
    {UINT64_C(1) << 63, 16, false},
};

/* Each range gives exactly its bytes, in a block that ends with them, or an error. */
static void expect_ranges(const struct weir_source *src)
{
    for (size_t i = 0; i < COUNT_OF(ranges); i++) {
        size_t n = ranges[i].fine ? ranges[i].n : 16;
        uint8_t *dst = malloc(n ? n : 1);
        cr_assert_not_null(dst);
        weir_err err = weir_source_read(src, ranges[i].at, dst, ranges[i].n);
        cr_expect_eq(err, ranges[i].fine ? WEIR_OK : WEIR_ERR_IO, "range %zu: %s", i,
                     weir_err_text(err));
        if (!err && n)
            cr_expect_arr_eq(dst, plain + ranges[i].at, n, "range %zu", i);
        free(dst);
    }
}

Test(source, reads_exact_bytes_of_a_file, .init = make_file, .fini = remove_file)
{
    struct weir_source src = open_file();
    expect_ranges(&src);
    weir_source_close(&src);
}

Test(source, reads_exact_bytes_of_memory, .init = make_file, .fini = remove_file)
{
    struct weir_source src;
    weir_source_from_memory(plain, sizeof(plain), &src);
    cr_assert_eq(src.size, sizeof(plain));
    expect_ranges(&src);
    weir_source_close(&src);
}

Test(source, reads_past_the_cache_the_same, .init = make_file, .fini = remove_file)
{
    enum { BLOCK = 4096 };
    uint8_t *to = aligned_alloc(BLOCK, 4 * (size_t)BLOCK);
    struct weir_source src;
    cr_assert_not_null(to);
    cr_assert_eq(weir_source_open_file(file, &src, NULL), WEIR_OK);
    static const struct {
        uint64_t at;
        size_t n, shift;
    } with[] = {{0, BLOCK, 0},
                {BLOCK, BLOCK, 0},
                {0, 2 * (size_t)BLOCK, 0},
                {1, BLOCK, 0},
                {0, 100, 0},
                {0, BLOCK, 1},
                {2 * (uint64_t)BLOCK, FILE_BYTES - 2 * (size_t)BLOCK, 0}};
    for (size_t i = 0; i < COUNT_OF(with); i++) {
        memset(to, 0xee, 4 * (size_t)BLOCK);
        cr_assert_eq(weir_source_read_past(&src, with[i].at, to + with[i].shift, with[i].n),
                     WEIR_OK);
        cr_assert_arr_eq(to + with[i].shift, plain + with[i].at, with[i].n);
        cr_assert_eq(to[with[i].shift + with[i].n], 0xee);
    }
    cr_assert_eq(weir_source_read_past(&src, 2 * (uint64_t)BLOCK, to, BLOCK), WEIR_ERR_IO);
    weir_source_close(&src);
    weir_source_from_memory(plain, sizeof(plain), &src);
    cr_assert_eq(weir_source_read_past(&src, 5, to, 10), WEIR_OK);
    cr_assert_arr_eq(to, plain + 5, 10);
    free(to);
}

Test(source, fails_when_the_file_has_shrunk, .init = make_file, .fini = remove_file)
{
    struct weir_source src = open_file();
    uint8_t dst[FILE_BYTES];
    cr_assert_eq(truncate(file, 5000), 0);
    cr_expect_eq(weir_source_read(&src, 0, dst, 5000), WEIR_OK);
    cr_expect_arr_eq(dst, plain, 5000);
    cr_expect_eq(weir_source_read(&src, 4999, dst, 2), WEIR_ERR_IO);
    cr_expect_eq(weir_source_read(&src, 5000, dst, 1), WEIR_ERR_IO);
    cr_expect_eq(weir_source_read(&src, 0, dst, FILE_BYTES), WEIR_ERR_IO);
    cr_expect_eq(src.size, FILE_BYTES, "the size never changes");
    weir_source_close(&src);
}

Test(source, reads_on_when_the_file_has_gone, .init = make_file, .fini = remove_file)
{
    struct weir_source src = open_file();
    uint8_t dst[100];
    cr_assert_eq(unlink(file), 0);
    cr_expect_eq(weir_source_read(&src, 9000, dst, sizeof(dst)), WEIR_OK);
    cr_expect_arr_eq(dst, plain + 9000, sizeof(dst));
    weir_source_close(&src);
}

static void expect_refused(const char *path, weir_err wanted)
{
    struct weir_source src, before;
    struct weir_diag diag = {""};
    memset(&src, 0x5a, sizeof(src));
    before = src;
    weir_err err = weir_source_open_file(path, &src, &diag);
    cr_expect_eq(err, wanted, "%s: %s", path, weir_err_text(err));
    cr_expect_eq(strncmp(diag.text, path, strlen(path)), 0, "%s: \"%s\"", path, diag.text);
    cr_expect_eq(memcmp(&src, &before, sizeof(src)), 0, "%s: *out was touched", path);
    cr_expect_eq(weir_source_open_file(path, &src, NULL), wanted, "%s: without a diag", path);
}

Test(source, refuses_what_is_no_regular_file, .init = make_file, .fini = remove_file)
{
    char path[128];
    expect_refused(folder, WEIR_ERR_INVALID);
    expect_refused("/dev/null", WEIR_ERR_INVALID);
    snprintf(path, sizeof(path), "%s/fifo", folder);
    cr_assert_eq(mkfifo(path, 0600), 0);
    expect_refused(path, WEIR_ERR_INVALID); /* and does not wait for a writer */
    cr_expect_eq(unlink(path), 0);
    snprintf(path, sizeof(path), "%s/missing", folder);
    expect_refused(path, WEIR_ERR_NOT_FOUND);
    snprintf(path, sizeof(path), "%s/below", file);
    expect_refused(path, WEIR_ERR_NOT_FOUND);
    expect_refused("", WEIR_ERR_NOT_FOUND);
}

Test(source, names_a_file_that_may_not_be_opened, .init = make_file, .fini = remove_file)
{
    if (geteuid() == 0)
        cr_skip_test("root may open any file");
    cr_assert_eq(chmod(file, 0), 0);
    expect_refused(file, WEIR_ERR_IO);
}

Test(source, closes_anything, .init = make_file, .fini = remove_file)
{
    struct weir_source zero = {0}, src = open_file();
    weir_source_close(NULL);
    weir_source_close(&zero);
    weir_source_close(&src);
    cr_expect_null(src.self);
    cr_expect_eq(src.size, 0);
    cr_expect(!src.read && !src.close);
    weir_source_close(&src);
}

/* ---- what is expected ---- */

struct expected {
    unsigned n_calls;
    uint64_t at, n;
};

static void note_expected(void *self, uint64_t at, uint64_t n)
{
    struct expected *e = self;
    *e = (struct expected){e->n_calls + 1, at, n};
}

Test(source, passes_on_what_is_expected_inside_of_it)
{
    struct expected e = {0};
    struct weir_source src = {.self = &e, .size = 100};
    weir_source_expect(&src, 0, 100); /* nobody to tell */
    src.expect = note_expected;
    weir_source_expect(&src, 100, 1);
    weir_source_expect(&src, 5, 0);
    cr_expect_eq(e.n_calls, 0);
    weir_source_expect(&src, 90, UINT64_MAX);
    cr_expect_eq(e.n_calls, 1);
    cr_expect_eq(e.at, 90);
    cr_expect_eq(e.n, 10);
    weir_source_expect(&src, 3, 4);
    cr_expect(e.at == 3 && e.n == 4);
}

/* ---- revisions ---- */

static uint64_t revision_of(const struct weir_source *src)
{
    uint64_t revision = 12345;
    cr_assert_eq(weir_source_revision(src, &revision), WEIR_OK);
    return revision;
}

static double seconds(void)
{
    struct timespec t;
    cr_assert_eq(clock_gettime(CLOCK_MONOTONIC, &t), 0);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

/* Until the file's last change is older than any answer waits for. */
static void let_it_settle(void)
{
    const struct timespec pause = {.tv_sec = 1, .tv_nsec = 100000000};
    cr_assert_eq(nanosleep(&pause, NULL), 0);
}

static void write_over(void)
{
    int fd = open(file, O_WRONLY);
    cr_assert_geq(fd, 0);
    cr_assert_eq(pwrite(fd, "other", 5, 100), 5);
    cr_assert_eq(close(fd), 0);
}

static void write_over_and_back_date(void)
{
    struct stat st;
    cr_assert_eq(stat(file, &st), 0);
    const struct timespec times[2] = {st.st_atim, st.st_mtim};
    write_over();
    cr_assert_eq(utimensat(AT_FDCWD, file, times, 0), 0);
    struct stat now;
    cr_assert_eq(stat(file, &now), 0);
    cr_assert(now.st_mtim.tv_sec == st.st_mtim.tv_sec && now.st_mtim.tv_nsec == st.st_mtim.tv_nsec);
}

static void touch(void)
{
    cr_assert_eq(utimensat(AT_FDCWD, file, NULL, 0), 0);
}

static void shrink(void)
{
    cr_assert_eq(truncate(file, 5000), 0);
}

static void grow(void)
{
    cr_assert_eq(truncate(file, FILE_BYTES + 1), 0);
}

static void change_mode(void)
{
    cr_assert_eq(chmod(file, 0600), 0);
}

static void replace(void)
{
    char other[128];
    snprintf(other, sizeof(other), "%s/other", folder);
    FILE *f = fopen(other, "wb");
    cr_assert_not_null(f);
    cr_assert_eq(fputs("other", f), 1);
    cr_assert_eq(fclose(f), 0);
    cr_assert_eq(rename(other, file), 0);
}

static void drop(void)
{
    cr_assert_eq(unlink(file), 0);
}

static const struct {
    const char *name;
    void (*change)(void);
    bool same_bytes;
} changes[] = {
    {"written over", write_over, false},
    {"written over, mtime put back", write_over_and_back_date, false},
    {"touched", touch, true},
    {"shrunk", shrink, false},
    {"grown", grow, true},
    {"chmod", change_mode, true},
    {"replaced", replace, true},
    {"unlinked", drop, true},
};

Test(source, memory_has_one_revision)
{
    struct weir_source src;
    weir_source_from_memory(plain, sizeof(plain), &src);
    cr_expect_neq(revision_of(&src), 0);
    cr_expect_eq(revision_of(&src), revision_of(&src));
}

/* The file has just been made. */
Test(source, a_file_has_one_revision_until_it_is_changed, .init = make_file, .fini = remove_file)
{
    struct weir_source src = open_file();
    uint64_t opened = revision_of(&src);
    cr_expect_neq(opened, 0, "opening waits");
    uint8_t byte;
    cr_expect_eq(weir_source_read(&src, 0, &byte, 1), WEIR_OK);
    cr_expect_eq(revision_of(&src), opened);
    let_it_settle();
    cr_expect_eq(revision_of(&src), opened);
    weir_source_close(&src);
}

Test(source, every_change_of_a_file_is_noticed, .timeout = 60)
{
    struct weir_source src[COUNT_OF(changes)];
    uint64_t opened[COUNT_OF(changes)];
    char folders[COUNT_OF(changes)][sizeof(folder)], files[COUNT_OF(changes)][sizeof(file)];
    for (size_t i = 0; i < COUNT_OF(changes); i++) {
        make_file();
        src[i] = open_file();
        opened[i] = revision_of(&src[i]);
        double start = seconds();
        changes[i].change();
        uint64_t now = revision_of(&src[i]);
        cr_expect_neq(now, opened[i], "%s", changes[i].name);
        cr_expect(now == 0 || seconds() - start > 0.9, "%s: it may go on", changes[i].name);
        strcpy(folders[i], folder);
        strcpy(files[i], file);
    }
    let_it_settle();
    for (size_t i = 0; i < COUNT_OF(changes); i++) {
        uint8_t dst[16];
        uint64_t now = revision_of(&src[i]);
        cr_expect_neq(now, opened[i], "%s", changes[i].name);
        cr_expect_neq(now, 0, "%s", changes[i].name);
        cr_expect_eq(revision_of(&src[i]), now, "%s", changes[i].name);
        cr_expect_eq(src[i].size, FILE_BYTES);
        cr_expect_eq(weir_source_read(&src[i], 90, dst, sizeof(dst)), WEIR_OK);
        if (changes[i].same_bytes)
            cr_expect_arr_eq(dst, plain + 90, sizeof(dst), "%s", changes[i].name);
        weir_source_close(&src[i]);
        (void)unlink(files[i]);
        (void)rmdir(folders[i]);
    }
}

/* Times that a clock put back, or `touch -d`, leaves: nothing waits for them to come. */
Test(source, opens_a_file_from_the_future, .init = make_file, .fini = remove_file)
{
    static const time_t days[] = {1, 70000, -30000, 1000000};
    for (size_t i = 0; i < COUNT_OF(days); i++) {
        struct timespec times[2] = {{.tv_sec = time(NULL) + 86400 * days[i]}};
        times[1] = times[0];
        cr_assert_eq(utimensat(AT_FDCWD, file, times, 0), 0);
        double start = seconds();
        struct weir_source src = open_file();
        cr_expect_lt(seconds() - start, 1);
        cr_expect_neq(revision_of(&src), 0);
        cr_expect_eq(revision_of(&src), revision_of(&src));
        weir_source_close(&src);
    }
}

static void *keep_touching(void *stop)
{
    const struct timespec pause = {.tv_nsec = 1000000};
    while (!atomic_load((atomic_bool *)stop)) {
        (void)utimensat(AT_FDCWD, file, NULL, 0);
        (void)nanosleep(&pause, NULL);
    }
    return NULL;
}

Test(source, opens_a_file_that_does_not_settle, .init = make_file, .fini = remove_file)
{
    atomic_bool stop = false;
    pthread_t thread;
    cr_assert_eq(pthread_create(&thread, NULL, keep_touching, &stop), 0);
    double start = seconds();
    struct weir_source src = open_file();
    double took = seconds() - start;
    atomic_store(&stop, true);
    cr_assert_eq(pthread_join(thread, NULL), 0);
    cr_expect_lt(took, 2);
    weir_source_close(&src);
}

Test(source, survives_each_allocation_failing, .init = make_file, .fini = remove_file)
{
    struct weir_source src;
    struct weir_diag diag = {""};
    fail_alloc_at(0);
    weir_err err = weir_source_open_file(file, &src, &diag);
    fail_alloc_at(-1);
    cr_expect_eq(err, WEIR_ERR_NOMEM);
    cr_expect_eq(strncmp(diag.text, file, strlen(file)), 0, "%s", diag.text);
}
