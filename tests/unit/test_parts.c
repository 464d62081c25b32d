#include "parts.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "fail_alloc.h"

enum { N = 11 }; /* parts, so that the maps do not end with a byte */

static const uint64_t size = (uint64_t)10 * PARTS_BYTES + 5;
static uint8_t digest[WEIR_DIGEST_BYTES] = {1, 2, 3};

/* What reaches the disk, in order, as in test_partial.c. */
static char calls[64];
static const struct parts *watched;
static int sync_errno; /* 0: fdatasync() works */

int __real_fdatasync(int fd);
int __wrap_fdatasync(int fd);
ssize_t __real_pwrite64(int fd, const void *bytes, size_t n, off_t at);
ssize_t __wrap_pwrite64(int fd, const void *bytes, size_t n, off_t at);

static void note(char what)
{
    size_t n = strlen(calls);
    if (watched && n + 1 < sizeof(calls))
        calls[n] = what;
}

int __wrap_fdatasync(int fd)
{
    note(watched && fd == watched->partial.data ? 'd' : 's');
    if (!sync_errno)
        return __real_fdatasync(fd);
    errno = sync_errno;
    return -1;
}

ssize_t __wrap_pwrite64(int fd, const void *bytes, size_t n, off_t at)
{
    static const char names[] = {'l', 'b', 'W'}; /* a loose mark is written alone */
    note(names[n == 1 ? 0 : n == PARTS_BOOT_BYTES ? 1 : 2]);
    return __real_pwrite64(fd, bytes, n, at);
}

static char folder[64], target[96], data_name[128], side_name[128];

static void set_up(void)
{
    strcpy(folder, "/tmp/weir-parts-XXXXXX");
    cr_assert_not_null(mkdtemp(folder));
    snprintf(target, sizeof(target), "%s/a", folder);
    snprintf(data_name, sizeof(data_name), "%s.weir-partial", target);
    snprintf(side_name, sizeof(side_name), "%s.weir-fetch", target);
}

static void tear_down(void)
{
    watched = NULL;
    (void)unlink(target);
    (void)unlink(data_name);
    (void)unlink(side_name);
    (void)rmdir(folder);
}

static struct parts open_it(void)
{
    struct parts p;
    struct weir_diag diag = {""};
    cr_assert_eq(parts_open(&p, target, digest, size, &diag), WEIR_OK, "%s", diag.text);
    cr_assert_eq(p.n, N);
    return p;
}

/* The machine is another one than the one that the sidecar's loose marks are of. */
static void reboot(void)
{
    uint8_t boot[PARTS_BOOT_BYTES] = {0};
    int fd = open(side_name, O_WRONLY);
    cr_assert(fd >= 0);
    cr_assert_eq(pwrite(fd, boot, sizeof(boot), SIDECAR_HEAD_BYTES + (N + 7) / 8 + N),
                 sizeof(boot));
    cr_assert_eq(close(fd), 0);
}

static void mark(struct parts *p, uint32_t part)
{
    parts_note(p, part);
    parts_mark(p, part);
}

static void expect_parts(const struct parts *p, const char *want)
{
    char got[N + 1] = "";
    for (uint32_t i = 0; i < N; i++)
        got[i] = parts_has(p, i) ? 'x' : '.';
    cr_expect_str_eq(got, want);
}

Test(parts, are_cut_to_one_size)
{
    cr_expect_eq(parts_bytes_of(size, 0), PARTS_BYTES);
    cr_expect_eq(parts_bytes_of(size, 9), PARTS_BYTES);
    cr_expect_eq(parts_bytes_of(size, 10), 5);
    cr_expect_eq(parts_bytes_of(PARTS_BYTES, 0), PARTS_BYTES);
    cr_expect_eq(parts_bytes_of(1, 0), 1);
}

Test(parts, are_there_after_a_kill, .init = set_up, .fini = tear_down)
{
    struct parts p = open_it();
    expect_parts(&p, "...........");
    mark(&p, 0);
    mark(&p, 7);
    mark(&p, 10);
    parts_note(&p, 9); /* it was on disk, and then we were killed */
    cr_expect_eq(parts_bytes(&p), (uint64_t)2 * PARTS_BYTES + 5);
    parts_close(&p);
    p = open_it();
    expect_parts(&p, "x......x.xx");
    parts_close(&p);
}

Test(parts, are_there_after_a_reboot_if_they_were_synced, .init = set_up, .fini = tear_down)
{
    struct parts p = open_it();
    mark(&p, 3);
    mark(&p, 8);
    cr_expect_eq(parts_sync(&p, true, NULL), WEIR_OK);
    mark(&p, 4);
    parts_close(&p);
    reboot();
    p = open_it();
    expect_parts(&p, "...x....x..");
    mark(&p, 5);
    parts_close(&p);
    p = open_it(); /* the marks of this boot hold, and the others have not come back */
    expect_parts(&p, "...x.x..x..");
    parts_close(&p);
}

Test(parts, marks_firmly_only_what_is_on_disk, .init = set_up, .fini = tear_down)
{
    struct parts p = open_it();
    struct weir_diag diag = {""};
    watched = &p;
    cr_expect_eq(parts_sync(&p, true, &diag), WEIR_OK);
    cr_expect_str_eq(calls, "", "nothing to say");
    mark(&p, 1);
    cr_expect_eq(parts_sync(&p, false, &diag), WEIR_OK);
    cr_expect_str_eq(calls, "l", "not due yet");
    cr_expect_eq(parts_sync(&p, true, &diag), WEIR_OK);
    cr_expect_str_eq(calls, "ldWs");
    memset(calls, 0, sizeof(calls));
    mark(&p, 2);
    sync_errno = ENOSPC;
    cr_expect_eq(parts_sync(&p, true, &diag), WEIR_ERR_IO);
    sync_errno = 0;
    cr_expect_str_eq(calls, "ldb", "no firm mark without its data");
    watched = NULL;
    parts_close(&p);
    p = open_it(); /* nor is a loose one believed: the kernel tells of lost bytes only once */
    expect_parts(&p, ".x.........");
    parts_close(&p);
}

Test(parts, syncs_do_not_undo_notes, .init = set_up, .fini = tear_down)
{
    struct parts p = open_it();
    mark(&p, 0);
    parts_note(&p, 1); /* by another thread; nobody has told us yet */
    cr_expect_eq(parts_sync(&p, true, NULL), WEIR_OK);
    parts_close(&p);
    p = open_it();
    expect_parts(&p, "xx.........");
    parts_close(&p);
    reboot();
    p = open_it();
    expect_parts(&p, "x..........");
    parts_close(&p);
}

Test(parts, begin_anew_with_another_file, .init = set_up, .fini = tear_down)
{
    struct parts p = open_it();
    mark(&p, 1);
    parts_close(&p);
    digest[0]++;
    p = open_it();
    expect_parts(&p, "...........");
    parts_close(&p);
    digest[0]--;
}

Test(parts, may_be_none, .init = set_up, .fini = tear_down)
{
    struct parts p;
    cr_assert_eq(parts_open(&p, target, digest, 0, NULL), WEIR_OK);
    cr_expect_eq(p.n, 0);
    cr_expect_eq(parts_bytes(&p), 0);
    parts_close(&p);
}

Test(parts, survive_failing_allocations, .init = set_up, .fini = tear_down)
{
    weir_err err = WEIR_ERR_NOMEM;
    for (int i = 0; err == WEIR_ERR_NOMEM; i++) {
        struct parts p;
        cr_assert(i < 16);
        fail_alloc_at(i);
        err = parts_open(&p, target, digest, size, NULL);
        fail_alloc_at(-1);
        parts_close(&p);
    }
    cr_expect_eq(err, WEIR_OK);
}
