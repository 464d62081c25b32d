#include "partial.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "codec/part.h"
#include "fail_alloc.h"

/* What reaches the disk, in order: 'd' and 's' for fdatasync() of data and sidecar, 'W' for a write
 * to the sidecar, 'w' to the data. */
static char calls[256];
static const struct partial *watched;
static int sync_errno; /* 0: fdatasync() works */

int __real_fdatasync(int fd);
int __wrap_fdatasync(int fd);
ssize_t __real_pwrite64(int fd, const void *bytes, size_t n, off_t at);
ssize_t __wrap_pwrite64(int fd, const void *bytes, size_t n, off_t at);

static void note(char what)
{
    size_t n = strlen(calls);
    if (n + 1 < sizeof(calls))
        calls[n] = what;
}

int __wrap_fdatasync(int fd)
{
    if (watched)
        note(fd == watched->data ? 'd' : 's');
    if (sync_errno) {
        errno = sync_errno;
        return -1;
    }
    return __real_fdatasync(fd);
}

ssize_t __wrap_pwrite64(int fd, const void *bytes, size_t n, off_t at)
{
    if (watched)
        note(fd == watched->marks.fd ? 'W' : 'w');
    return __real_pwrite64(fd, bytes, n, at);
}

static char folder[64], target[96], data_name[128], side_name[128];
static struct weir_source src;
static struct weir_store *store;

static void set_up(void)
{
    strcpy(folder, "/tmp/weir-partial-XXXXXX");
    cr_assert_not_null(mkdtemp(folder));
    snprintf(target, sizeof(target), "%s/a.weir", folder);
    snprintf(data_name, sizeof(data_name), "%s.weir-partial", target);
    snprintf(side_name, sizeof(side_name), "%s.weir-fetch", target);
    cr_assert_eq(weir_source_open_file(WEIR_TESTS "/golden/two-extents.weir", &src, NULL), WEIR_OK);
    cr_assert_eq(weir_store_open(&src, &store, NULL), WEIR_OK);
}

static void tear_down(void)
{
    watched = NULL;
    weir_store_free(store);
    weir_source_close(&src);
    (void)unlink(target);
    (void)unlink(data_name);
    (void)unlink(side_name);
    (void)rmdir(folder);
}

static struct partial open_it(bool resumed)
{
    struct partial p;
    struct weir_diag diag = {""};
    cr_assert_eq(partial_open(&p, target, store, &diag), WEIR_OK, "%s", diag.text);
    cr_expect_eq(p.resumed, resumed);
    return p;
}

static long size_of(const char *name)
{
    struct stat st;
    return stat(name, &st) == 0 ? (long)st.st_size : -1;
}

Test(partial, marks_what_is_on_disk_and_nothing_else, .init = set_up, .fini = tear_down)
{
    struct partial p = open_it(false);
    struct weir_diag diag = {""};
    watched = &p;
    cr_expect_eq(partial_sync(&p, true, &diag), WEIR_OK);
    cr_expect_str_eq(calls, "", "nothing to say");
    partial_mark(&p, 1);
    cr_expect_eq(partial_sync(&p, false, &diag), WEIR_OK);
    cr_expect_str_eq(calls, "", "not due yet");
    cr_expect_eq(partial_sync(&p, true, &diag), WEIR_OK);
    cr_expect_str_eq(calls, "dWs");
    watched = NULL;
    partial_close(&p);
    p = open_it(true);
    cr_expect_not(sidecar_has(p.marks.map, 0));
    cr_expect(sidecar_has(p.marks.map, 1));
    partial_close(&p);
}

Test(partial, says_nothing_of_what_cannot_be_synced, .init = set_up, .fini = tear_down)
{
    struct partial p = open_it(false);
    struct weir_diag diag = {""};
    watched = &p;
    partial_mark(&p, 0);
    sync_errno = ENOSPC;
    cr_expect_eq(partial_sync(&p, true, &diag), WEIR_ERR_IO);
    sync_errno = 0;
    cr_expect_eq(partial_sync(&p, true, &diag), WEIR_ERR_IO, "the kernel does not tell twice");
    cr_expect_str_eq(calls, "d", "no mark without its data");
    cr_expect_not_null(strstr(diag.text, "a.weir.weir-partial: No space left"), "%s", diag.text);
    watched = NULL;
    partial_close(&p);
    p = open_it(true);
    cr_expect_not(sidecar_has(p.marks.map, 0));
    partial_close(&p);
}

Test(partial, lets_one_in_at_a_time, .init = set_up, .fini = tear_down)
{
    struct partial p = open_it(false), second;
    struct weir_diag diag = {""};
    cr_expect_eq(partial_open(&second, target, store, &diag), WEIR_ERR_IO);
    cr_expect_not_null(strstr(diag.text, "another 'weir fetch'"), "%s", diag.text);
    partial_close(&second);
    partial_forget(target); /* not what somebody has locked */
    cr_expect_geq(size_of(side_name), 0);
    partial_close(&p);
    p = open_it(true);
    partial_close(&p);
    partial_forget(target);
    cr_expect_eq(size_of(side_name), -1);
}

Test(partial, keeps_what_it_cannot_open, .init = set_up, .fini = tear_down)
{
    struct weir_diag diag = {""};
    struct partial p = open_it(false);
    partial_mark(&p, 0);
    cr_assert_eq(partial_sync(&p, true, &diag), WEIR_OK);
    partial_close(&p);
    char aside[160];
    snprintf(aside, sizeof(aside), "%s.aside", data_name);
    cr_assert_eq(rename(data_name, aside), 0);
    cr_assert_eq(symlink(aside, data_name), 0);
    cr_expect_eq(partial_open(&p, target, store, &diag), WEIR_ERR_IO, "a link is not followed");
    partial_close(&p);
    cr_assert_eq(rename(aside, data_name), 0);
    p = open_it(true);
    cr_expect(sidecar_has(p.marks.map, 0));
    partial_close(&p);
}

Test(partial, begins_anew_with_what_is_not_its_own, .init = set_up, .fini = tear_down)
{
    struct weir_diag diag = {""};
    for (int i = 0; i < 3; i++) {
        struct partial p = open_it(false);
        partial_mark(&p, 0);
        cr_assert_eq(partial_sync(&p, true, &diag), WEIR_OK);
        partial_close(&p);
        if (i == 0)
            cr_assert_eq(truncate(data_name, 4096), 0);
        else if (i == 1)
            cr_assert_eq(truncate(side_name, 20), 0);
        else
            cr_assert_eq(unlink(data_name), 0);
        p = open_it(false);
        cr_expect_not(sidecar_has(p.marks.map, 0), "way %d", i);
        partial_close(&p);
        (void)unlink(side_name);
    }
}

Test(partial, names_the_file_in_the_end, .init = set_up, .fini = tear_down)
{
    struct weir_diag diag = {""};
    struct partial p = open_it(false);
    cr_expect_eq(size_of(target), -1);
    FILE *f = fopen(target, "w"); /* somebody else makes one meanwhile */
    cr_assert(f && fclose(f) == 0);
    partial_mark(&p, 0);
    partial_mark(&p, 1);
    cr_expect_eq(partial_commit(&p, store, false, &diag), WEIR_ERR_IO);
    cr_expect_eq(size_of(target), 0, "it stays");
    cr_expect_eq(partial_commit(&p, store, true, &diag), WEIR_OK);
    partial_close(&p);
    cr_expect_eq(size_of(target), (long)src.size);
    cr_expect_eq(size_of(side_name), -1);
    cr_expect_eq(size_of(data_name), -1);
}

Test(partial, becomes_a_part_and_then_the_store, .init = set_up, .fini = tear_down)
{
    struct weir_diag diag = {""};
    struct partial p = open_it(false), second;
    long part = (long)(src.size + weir_part_bytes(store));
    partial_mark(&p, 1);
    cr_expect_eq(partial_commit(&p, store, false, &diag), WEIR_OK, "%s", diag.text);
    partial_close(&p);
    cr_expect_eq(size_of(target), part);
    /* In its place: data and marks are one file, but go to disk one after the other. */
    cr_assert_eq(partial_open_part(&p, target, store, &diag), WEIR_OK, "%s", diag.text);
    cr_expect_not(sidecar_has(p.marks.map, 0));
    cr_expect(sidecar_has(p.marks.map, 1));
    cr_expect_eq(partial_open_part(&second, target, store, &diag), WEIR_ERR_IO);
    cr_expect_not_null(strstr(diag.text, "another 'weir fetch'"), "%s", diag.text);
    partial_close(&second);
    watched = &p;
    partial_mark(&p, 0);
    cr_expect_eq(partial_sync(&p, true, &diag), WEIR_OK);
    cr_expect_str_eq(calls, "dWs");
    watched = NULL;
    cr_expect_eq(size_of(target), part, "a part at every moment");
    cr_expect_eq(partial_commit(&p, store, false, &diag), WEIR_OK);
    cr_expect_eq(size_of(target), (long)src.size);
    partial_close(&p);
    /* And no part any more. */
    cr_expect_eq(partial_open_part(&p, target, store, &diag), WEIR_ERR_CHANGED);
    partial_close(&p);
}

Test(partial, survives_failing_allocations, .init = set_up, .fini = tear_down)
{
    for (int i = 0; i < 3; i++) {
        struct partial p;
        fail_alloc_at(i);
        weir_err err = partial_open(&p, target, store, NULL);
        fail_alloc_at(-1);
        cr_expect_eq(err, WEIR_ERR_NOMEM, "allocation %d", i);
        partial_close(&p);
    }
    struct partial p = open_it(false);
    partial_close(&p);
    fail_alloc_at(3); /* the one that reads what is left */
    weir_err err = partial_open(&p, target, store, NULL);
    fail_alloc_at(-1);
    cr_expect_eq(err, WEIR_ERR_NOMEM);
    partial_close(&p);
}
