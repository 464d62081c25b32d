#include "partial.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "client.h"
#include "extent_file.h"

/* A sync is due so long after the last one ended.  (After every 32 extents 800 MB took 8.4 s
 * instead of 4.3 s; and waiting costs nothing when we are killed, only when the power is cut.) */
enum { SYNC_SECONDS = 5 };

void partial_errno(struct weir_diag *diag, const char *name)
{
    const char *advice =
        errno == ENOSPC || errno == EDQUOT ? "; free some space, then run it again: it goes on"
        : errno == EACCES || errno == EPERM || errno == EROFS ? "; choose a place you may write to"
                                                              : "";
    weir_diag_set(diag, "%.400s: %s%s", name, strerror(errno), advice);
}

static weir_err fail(const char *name, struct weir_diag *diag)
{
    partial_errno(diag, name);
    return WEIR_ERR_IO;
}

static char *with_ending(const char *name, const char *ending)
{
    size_t bytes = strlen(name) + strlen(ending) + 1;
    char *text = malloc(bytes);
    if (text)
        snprintf(text, bytes, "%s%s", name, ending);
    return text;
}

static bool same_file(int fd, const char *name)
{
    struct stat a, b;
    return fstat(fd, &a) == 0 && lstat(name, &b) == 0 && a.st_dev == b.st_dev &&
           a.st_ino == b.st_ino;
}

/* The sidecar is the lock.  Whoever had it may have removed it while we opened it: then it is no
 * longer the file of that name, and we try again. */
static weir_err lock(struct partial *p, struct weir_diag *diag)
{
    for (;;) {
        p->side = open(p->side_name, O_RDWR | O_CREAT | O_NOFOLLOW | O_CLOEXEC, 0666);
        if (p->side < 0)
            return fail(p->side_name, diag);
        if (flock(p->side, LOCK_EX | LOCK_NB) != 0) {
            if (errno != EWOULDBLOCK)
                return fail(p->side_name, diag);
            weir_diag_set(diag,
                          "%.400s: another 'weir fetch' is fetching it; wait for it, or end it",
                          p->target);
            return WEIR_ERR_IO;
        }
        if (same_file(p->side, p->side_name))
            return WEIR_OK;
        (void)close(p->side);
    }
}

/* What an earlier run has left is of this store; its marks are in p->map then. */
static weir_err take_up(struct partial *p, bool *fits)
{
    size_t n = SIDECAR_HEAD_BYTES + sidecar_map_bytes(&p->about);
    struct stat data, side;
    *fits = false;
    if (fstat(p->data, &data) != 0 || fstat(p->side, &side) != 0 || (uint64_t)side.st_size != n ||
        (uint64_t)data.st_size != p->about.store_bytes)
        return WEIR_OK;
    uint8_t *bytes = malloc(n);
    if (!bytes)
        return WEIR_ERR_NOMEM;
    *fits = pread(p->side, bytes, n, 0) == (ssize_t)n && sidecar_fits(&p->about, bytes, n);
    if (*fits)
        memcpy(p->map, bytes + SIDECAR_HEAD_BYTES, n - SIDECAR_HEAD_BYTES);
    free(bytes);
    return WEIR_OK;
}

/* The sidecar is emptied first: it must not speak of bytes that are no longer there. */
static weir_err begin_anew(struct partial *p, struct weir_diag *diag)
{
    uint8_t head[SIDECAR_HEAD_BYTES];
    sidecar_write_head(&p->about, head);
    if (ftruncate(p->side, 0) != 0 || fsync(p->side) != 0)
        return fail(p->side_name, diag);
    if (ftruncate(p->data, 0) != 0 || ftruncate(p->data, (off_t)p->about.store_bytes) != 0)
        return fail(p->data_name, diag);
    off_t bytes = (off_t)(SIDECAR_HEAD_BYTES + sidecar_map_bytes(&p->about));
    if (ftruncate(p->side, bytes) != 0 || !extents_write(p->side, 0, head, sizeof(head)))
        return fail(p->side_name, diag);
    return WEIR_OK;
}

static weir_err set_names(struct partial *p, const char *target)
{
    p->target = strdup(target);
    p->data_name = with_ending(target, ".weir-partial");
    p->side_name = with_ending(target, ".weir-fetch");
    p->map = calloc(sidecar_map_bytes(&p->about) + 1, 1);
    return p->target && p->data_name && p->side_name && p->map ? WEIR_OK : WEIR_ERR_NOMEM;
}

weir_err partial_open(struct partial *p, const char *target, const struct weir_store *store,
                      struct weir_diag *diag)
{
    const struct weir_store_info *info = weir_store_info(store);
    *p = (struct partial){.data = -1, .side = -1, .synced = client_now()};
    p->about.store_bytes = info->stored_bytes;
    p->about.n_extents = info->n_extents;
    memcpy(p->about.digest, info->digest, sizeof(p->about.digest));
    weir_err err = set_names(p, target);
    if (!err)
        err = lock(p, diag);
    if (err)
        return err;
    p->data = open(p->data_name, O_RDWR | O_CREAT | O_NOFOLLOW | O_CLOEXEC, 0666);
    if (p->data < 0) {
        struct stat st;
        err = fail(p->data_name, diag);
        if (fstat(p->side, &st) == 0 && st.st_size == 0) /* ours, just made */
            (void)unlink(p->side_name);
        return err;
    }
    err = take_up(p, &p->resumed);
    return err || p->resumed ? err : begin_anew(p, diag);
}

void partial_mark(struct partial *p, uint32_t extent)
{
    sidecar_set(p->map, extent);
    p->n_unsynced++;
}

static weir_err break_off(struct partial *p, const char *name, struct weir_diag *diag)
{
    p->broken = errno;
    return fail(name, diag);
}

weir_err partial_sync(struct partial *p, bool now, struct weir_diag *diag)
{
    double time = client_now();
    if (p->broken) {
        errno = p->broken;
        return fail(p->data_name, diag);
    }
    if (p->n_unsynced == 0 || (!now && time - p->synced < SYNC_SECONDS))
        return WEIR_OK;
    if (fdatasync(p->data) != 0)
        return break_off(p, p->data_name, diag);
    size_t n = sidecar_map_bytes(&p->about);
    if (!extents_write(p->side, SIDECAR_HEAD_BYTES, p->map, n) || fdatasync(p->side) != 0)
        return break_off(p, p->side_name, diag);
    p->n_unsynced = 0;
    p->synced = client_now();
    return WEIR_OK;
}

static int rename_to(const char *from, const char *to, bool replace)
{
    if (replace)
        return rename(from, to);
    if (renameat2(AT_FDCWD, from, AT_FDCWD, to, RENAME_NOREPLACE) == 0)
        return 0;
    if (errno != EINVAL && errno != ENOSYS)
        return -1;
    /* A file system without the flag (NFS): a hard link refuses an existing name too. */
    return link(from, to) == 0 ? unlink(from) : -1;
}

static bool sync_folder_of(const char *name)
{
    const char *slash = strrchr(name, '/');
    char folder[PATH_MAX] = ".";
    if (slash)
        snprintf(folder, sizeof(folder), "%.*s", (int)(slash - name) + (slash == name), name);
    int fd = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    bool fine = fd >= 0 && (fsync(fd) == 0 || errno == EINVAL || errno == EROFS);
    int why = errno;
    if (fd >= 0)
        (void)close(fd);
    errno = why;
    return fine;
}

weir_err partial_commit(struct partial *p, bool replace, struct weir_diag *diag)
{
    weir_err err = partial_sync(p, true, diag);
    if (err)
        return err;
    if (fsync(p->data) != 0)
        return fail(p->data_name, diag);
    if (rename_to(p->data_name, p->target, replace) != 0 || !sync_folder_of(p->target))
        return fail(p->target, diag);
    (void)unlink(p->side_name); /* one that is left over says nothing about a file with a name */
    return WEIR_OK;
}

void partial_close(struct partial *p)
{
    if (p->data >= 0)
        (void)close(p->data);
    if (p->side >= 0)
        (void)close(p->side);
    p->data = p->side = -1;
    free(p->target);
    free(p->data_name);
    free(p->side_name);
    free(p->map);
    p->target = p->data_name = p->side_name = NULL;
    p->map = NULL;
}

void partial_forget(const char *target)
{
    char *side = with_ending(target, ".weir-fetch");
    char *data = with_ending(target, ".weir-partial");
    int fd = side ? open(side, O_RDWR | O_NOFOLLOW | O_CLOEXEC) : -1;
    if (data && fd >= 0 && flock(fd, LOCK_EX | LOCK_NB) == 0 && same_file(fd, side)) {
        (void)unlink(data);
        (void)unlink(side);
    }
    if (fd >= 0)
        (void)close(fd);
    free(side);
    free(data);
}
