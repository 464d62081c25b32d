#include "codec/source.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

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
