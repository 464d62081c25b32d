#include "plain_keeper.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "fail_alloc.h"
#include "plain_shown.h"

/* What reaches the disk, in order: 'd' for fdatasync() of a file, 's' of the marks, 'w' for a write
 * to a file, 'W' to the marks, 'f' for fsync(). */
static char calls[256];
static const struct marks *watched;
static int sync_errno; /* 0: fdatasync() works */

int __real_fdatasync(int fd);
int __wrap_fdatasync(int fd);
int __real_fsync(int fd);
int __wrap_fsync(int fd);
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
    note(watched && fd == watched->fd ? 's' : 'd');
    if (watched && sync_errno) {
        errno = sync_errno;
        return -1;
    }
    return __real_fdatasync(fd);
}

int __wrap_fsync(int fd)
{
    note('f');
    return __real_fsync(fd);
}

ssize_t __wrap_pwrite64(int fd, const void *bytes, size_t n, off_t at)
{
    note(watched && fd == watched->fd ? 'W' : 'w');
    return __real_pwrite64(fd, bytes, n, at);
}

/* ---- a folder for the store of one file in two extents ---- */

static char folder[64], command[128];
static struct weir_source src;
static struct weir_store *store;
static struct plain_tree tree;
static struct marks marks;
static struct plain_keeper keeper;

static weir_err drop(void *self, struct weir_diag *diag)
{
    return plain_tree_drop(self, diag);
}

static void open_tree(bool resumed)
{
    struct weir_diag diag = {""};
    const struct weir_store_info *info = weir_store_info(store);
    struct sidecar about = {.store_bytes = info->stored_bytes, .n_extents = info->n_extents};
    memcpy(about.digest, info->digest, sizeof(about.digest));
    cr_assert_eq(plain_tree_open(&tree, store, folder, false, &diag), WEIR_OK, "%s", diag.text);
    cr_assert_eq(marks_init(&marks, "marks", info->n_extents), WEIR_OK);
    cr_assert_eq(marks_lock(&marks, tree.staging, "marks", folder, &diag), WEIR_OK);
    cr_assert_eq(plain_tree_look(&tree, NULL, &diag), WEIR_OK, "%s", diag.text);
    const struct marks_anew anew = {&about, true, &tree, drop};
    bool fits;
    cr_assert_eq(marks_take_up(&marks, &anew, &fits, &diag), WEIR_OK, "%s", diag.text);
    cr_expect_eq(fits, resumed);
    cr_assert_eq(plain_tree_prepare(&tree, &diag), WEIR_OK, "%s", diag.text);
}

static void close_tree(void)
{
    marks_close(&marks);
    plain_tree_close(&tree);
}

static void set_up(void)
{
    strcpy(folder, "/tmp/weir-keeper-XXXXXX");
    cr_assert_not_null(mkdtemp(folder));
    cr_assert_eq(weir_source_open_file(WEIR_TESTS "/golden/two-extents.weir", &src, NULL), WEIR_OK);
    cr_assert_eq(weir_store_open(&src, &store, NULL), WEIR_OK);
    open_tree(false);
}

static void tear_down(void)
{
    watched = NULL;
    close_tree();
    weir_store_free(store);
    weir_source_close(&src);
    snprintf(command, sizeof(command), "rm -r %s", folder);
    cr_expect_eq(system(command), 0);
}

/* Writes the tiles of an extent where they belong and tells the keeper. */
static void bring(uint32_t extent)
{
    static uint8_t tile[WEIR_TILE_BYTES];
    struct weir_store_cursor *cur = NULL;
    struct weir_diag diag = {""};
    cr_assert_eq(weir_store_cursor_new(store, weir_kernels_best(), &cur), WEIR_OK);
    const struct weir_object *o = weir_store_object(store, 0);
    for (uint64_t i = 32 * (uint64_t)extent; i < o->n_tiles && i < 32 * (uint64_t)(extent + 1);
         i++) {
        cr_assert_eq(weir_store_read_tile(cur, 0, i, tile, &diag), WEIR_OK);
        cr_assert_eq(plain_tree_write(&tree, 0, i * o->tile_bytes, tile,
                                      weir_store_tile_bytes(store, 0, i), &diag),
                     WEIR_OK, "%s", diag.text);
    }
    weir_store_cursor_free(cur);
    plain_keeper_mark(&keeper, extent);
}

static void end(bool give_up, weir_err want, struct weir_diag *diag)
{
    while (!plain_keeper_wait(&keeper, give_up))
        ;
    cr_expect_eq(plain_keeper_end(&keeper, diag), want, "%s", diag->text);
}

static bool is_there(const char *name)
{
    char path[128];
    snprintf(path, sizeof(path), "%s/%s", folder, name);
    return access(path, F_OK) == 0;
}

Test(plain_keeper, gives_a_name_to_what_is_whole_and_right, .init = set_up, .fini = tear_down)
{
    struct weir_diag diag = {""};
    cr_assert_eq(plain_keeper_begin(&keeper, &tree, &marks, -1), WEIR_OK);
    bring(1);
    cr_expect_not(is_there("wide"));
    watched = &marks;
    bring(0);
    end(false, WEIR_OK, &diag);
    cr_expect(is_there("wide"));
    char *place = strchr(calls, 'f'); /* before its name */
    cr_expect(place && !strchr(place, 'w'), "%s", calls);
    watched = NULL;
    cr_expect_eq(plain_tree_finish(&tree, &diag), WEIR_OK, "%s", diag.text);
    cr_expect_not(is_there(PLAIN_STAGING));
}

Test(plain_keeper, marks_only_what_is_on_disk, .init = set_up, .fini = tear_down)
{
    struct weir_diag diag = {""};
    cr_assert_eq(plain_keeper_begin(&keeper, &tree, &marks, -1), WEIR_OK);
    watched = &marks;
    bring(1);
    end(true, WEIR_OK, &diag);
    size_t n = strlen(calls);
    cr_expect(n > 3 && strcmp(calls + n - 3, "dWs") == 0, "%s", calls);
    cr_expect(!strchr(calls, 'W') || strchr(calls, 'W') == calls + n - 2, "%s", calls);
    watched = NULL;
    close_tree();
    open_tree(true);
    cr_expect_not(sidecar_has(marks.map, 0));
    cr_expect(sidecar_has(marks.map, 1));
}

Test(plain_keeper, says_nothing_of_what_cannot_be_synced, .init = set_up, .fini = tear_down)
{
    struct weir_diag diag = {""};
    cr_assert_eq(plain_keeper_begin(&keeper, &tree, &marks, -1), WEIR_OK);
    bring(0);
    watched = &marks;
    sync_errno = ENOSPC;
    end(true, WEIR_ERR_IO, &diag);
    sync_errno = 0;
    cr_expect_null(strchr(calls, 'W'), "%s", calls);
    cr_expect_not_null(strstr(diag.text, "wide: No space left"), "%s", diag.text);
    watched = NULL;
    close_tree();
    open_tree(true);
    cr_expect_not(sidecar_has(marks.map, 0));
}

/* The kernel tells of bytes that it lost only once: the sync at the end has nothing to say of them.
 */
Test(plain_keeper, marks_nothing_after_a_sync_that_failed, .init = set_up, .fini = tear_down)
{
    struct weir_diag diag = {""};
    struct stat st;
    int since_boot = openat(tree.staging, "since-boot", O_RDWR | O_CREAT, 0600);
    cr_assert_eq(ftruncate(since_boot, 100), 0);
    cr_assert_eq(plain_keeper_begin(&keeper, &tree, &marks, since_boot), WEIR_OK);
    bring(0);
    watched = &marks;
    sync_errno = EIO;
    pthread_mutex_lock(&keeper.lock);
    marks.synced = 0; /* a sync is due */
    pthread_mutex_unlock(&keeper.lock);
    end(false, WEIR_ERR_IO, &diag);
    sync_errno = 0;
    cr_expect_null(strchr(calls, 'W'), "%s", calls);
    cr_expect_not_null(strstr(diag.text, "wide: "), "%s", diag.text);
    cr_expect(fstat(since_boot, &st) == 0 && st.st_size == 0);
    (void)close(since_boot);
    watched = NULL;
    close_tree();
    open_tree(true);
    cr_expect_not(sidecar_has(marks.map, 0));
}

Test(plain_keeper, takes_back_marks_of_what_is_wrong, .init = set_up, .fini = tear_down)
{
    struct weir_diag diag = {""};
    cr_assert_eq(plain_keeper_begin(&keeper, &tree, &marks, -1), WEIR_OK);
    bring(1);
    cr_assert_eq(plain_tree_write(&tree, 0, (uint64_t)33 * WEIR_TILE_BYTES, "?", 1, &diag),
                 WEIR_OK);
    bring(0);
    end(false, WEIR_ERR_MISMATCH, &diag);
    cr_expect_not_null(strstr(diag.text, "wide: its SHA-256"), "%s", diag.text);
    cr_expect_not(is_there("wide"));
    close_tree();
    open_tree(true);
    cr_expect_not(sidecar_has(marks.map, 0));
    cr_expect_not(sidecar_has(marks.map, 1));
}

Test(plain_keeper, survives_failing_allocations, .init = set_up, .fini = tear_down)
{
    struct weir_diag diag = {""};
    for (int i = 0; i < 2; i++) { /* of the memory that is ours; libcrypto has its own */
        fail_alloc_at(i);
        weir_err err = plain_keeper_begin(&keeper, &tree, &marks, -1);
        fail_alloc_at(-1);
        cr_expect_eq(err, WEIR_ERR_NOMEM, "allocation %d", i);
        cr_expect_eq(plain_keeper_end(&keeper, &diag), WEIR_OK);
        struct plain_shown shown = {0};
        fail_alloc_at(i);
        err = plain_shown_new(&shown, &tree);
        fail_alloc_at(-1);
        cr_expect_eq(err, WEIR_ERR_NOMEM, "allocation %d", i);
        plain_shown_free(&shown);
    }
}

Test(plain_keeper, knows_where_objects_are_shown, .init = set_up, .fini = tear_down)
{
    struct plain_shown shown = {0};
    cr_assert_eq(plain_shown_new(&shown, &tree), WEIR_OK);
    cr_expect_eq(shown.first[0], 0);
    cr_expect_eq(shown.first[1], 1);
    cr_expect_eq(shown.showing[0].entry, 0);
    cr_expect_eq(shown.showing[0].segment, 0);
    plain_shown_free(&shown);
    uint8_t map[1] = {0};
    plain_want(store, 0, map);
    cr_expect_eq(map[0], 3);
    plain_unwant(store, 0, map);
    cr_expect_eq(map[0], 0);
}
