#include "marks.h"

#include <errno.h>
#include <fcntl.h>
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

weir_err fail_errno(struct weir_diag *diag, const char *name)
{
    const char *advice =
        errno == ENOSPC || errno == EDQUOT ? "; free some space, then run it again: it goes on"
        : errno == EACCES || errno == EPERM || errno == EROFS ? "; choose a place you may write to"
        : errno == ELOOP ? "; it is a link, and not followed; remove it"
                         : "";
    weir_diag_set(diag, "%.400s: %s%s", name, strerror(errno), advice);
    return WEIR_ERR_IO;
}

bool marks_same_file(int fd, int dir, const char *leaf)
{
    struct stat a, b;
    return fstat(fd, &a) == 0 && fstatat(dir, leaf, &b, AT_SYMLINK_NOFOLLOW) == 0 &&
           a.st_dev == b.st_dev && a.st_ino == b.st_ino;
}

weir_err marks_init(struct marks *m, const char *name, uint32_t n_extents)
{
    const struct sidecar size = {.n_extents = n_extents};
    *m = (struct marks){.fd = -1, .at = SIDECAR_HEAD_BYTES, .synced = client_now()};
    m->n_map = sidecar_map_bytes(&size);
    m->name = strdup(name);
    m->map = calloc(m->n_map + 1, 1);
    return m->name && m->map ? WEIR_OK : WEIR_ERR_NOMEM;
}

weir_err marks_lock_file(int fd, const char *name, struct weir_diag *diag)
{
    if (flock(fd, LOCK_EX | LOCK_NB) == 0)
        return WEIR_OK;
    if (errno != EWOULDBLOCK)
        return fail_errno(diag, name);
    weir_diag_set(diag, "%.400s: another 'weir fetch' is fetching it; wait for it, or end it",
                  name);
    return WEIR_ERR_IO;
}

/* The file is the lock.  Whoever had it may have removed it while we opened it: then it is no
 * longer the file of that name, and we try again. */
weir_err marks_lock(struct marks *m, int dir, const char *leaf, const char *target,
                    struct weir_diag *diag)
{
    for (;;) {
        m->fd = openat(dir, leaf, O_RDWR | O_CREAT | O_NOFOLLOW | O_CLOEXEC, 0666);
        if (m->fd < 0)
            return fail_errno(diag, m->name);
        weir_err err = marks_lock_file(m->fd, target, diag);
        if (err)
            return err;
        if (marks_same_file(m->fd, dir, leaf))
            return WEIR_OK;
        (void)close(m->fd);
    }
}

/* What an earlier run has left is about the same: its marks are in m->map then. */
static weir_err read_marks(struct marks *m, const struct sidecar *about, bool *fits)
{
    size_t n = SIDECAR_HEAD_BYTES + m->n_map;
    struct stat st;
    *fits = false;
    if (fstat(m->fd, &st) != 0 || (uint64_t)st.st_size != n)
        return WEIR_OK;
    uint8_t *bytes = malloc(n);
    if (!bytes)
        return WEIR_ERR_NOMEM;
    *fits = pread(m->fd, bytes, n, 0) == (ssize_t)n && sidecar_fits(about, bytes, n);
    if (*fits)
        memcpy(m->map, bytes + SIDECAR_HEAD_BYTES, m->n_map);
    free(bytes);
    return WEIR_OK;
}

weir_err marks_take_up(struct marks *m, const struct marks_anew *anew, bool *fits,
                       struct weir_diag *diag)
{
    *fits = false;
    weir_err err = anew->usable ? read_marks(m, anew->about, fits) : WEIR_OK;
    if (err || *fits)
        return err;
    if (ftruncate(m->fd, 0) != 0 || fsync(m->fd) != 0)
        return fail_errno(diag, m->name);
    err = anew->drop(anew->self, diag);
    if (err)
        return err;
    uint8_t head[SIDECAR_HEAD_BYTES];
    sidecar_write_head(anew->about, head);
    if (ftruncate(m->fd, (off_t)(sizeof(head) + m->n_map)) != 0 ||
        !extents_write(m->fd, 0, head, sizeof(head)))
        return fail_errno(diag, m->name);
    return WEIR_OK;
}

void marks_set(struct marks *m, uint32_t extent)
{
    sidecar_set(m->map, extent);
    m->n_unsynced++;
}

bool marks_are_due(const struct marks *m)
{
    return m->n_unsynced && client_now() - m->synced >= SYNC_SECONDS;
}

weir_err marks_break_off(struct marks *m, const char *name, struct weir_diag *diag)
{
    m->broken = errno;
    return fail_errno(diag, name);
}

weir_err marks_still_broken(const struct marks *m, const char *name, struct weir_diag *diag)
{
    errno = m->broken;
    return fail_errno(diag, name);
}

weir_err marks_write(struct marks *m, const uint8_t *map, struct weir_diag *diag)
{
    if (m->broken)
        return marks_still_broken(m, m->name, diag);
    if (!extents_write(m->fd, m->at, map, m->n_map) || fdatasync(m->fd) != 0)
        return marks_break_off(m, m->name, diag);
    m->synced = client_now();
    return WEIR_OK;
}

void marks_close(struct marks *m)
{
    if (m->fd >= 0)
        (void)close(m->fd);
    m->fd = -1;
    free(m->name);
    free(m->map);
    m->name = NULL;
    m->map = NULL;
}
