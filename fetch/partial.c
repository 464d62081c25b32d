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

#include "codec/beneath.h"
#include "codec/part.h"
#include "extent_file.h"

static char *with_ending(const char *name, const char *ending)
{
    size_t bytes = strlen(name) + strlen(ending) + 1;
    char *text = malloc(bytes);
    if (text)
        snprintf(text, bytes, "%s%s", name, ending);
    return text;
}

static weir_err drop(void *self, struct weir_diag *diag)
{
    const struct partial *p = self;
    if (ftruncate(p->data, 0) != 0 || ftruncate(p->data, (off_t)p->about.store_bytes) != 0)
        return fail_errno(diag, p->data_name);
    return WEIR_OK;
}

static weir_err set_names(struct partial *p, const char *target)
{
    p->target = strdup(target);
    p->data_name = with_ending(target, ".weir-partial");
    p->side_name = with_ending(target, ".weir-fetch");
    return p->target && p->data_name && p->side_name
               ? marks_init(&p->marks, p->side_name, p->about.n_extents)
               : WEIR_ERR_NOMEM;
}

static weir_err set_about(struct partial *p, const char *target, const struct sidecar *about)
{
    *p = (struct partial){.data = -1, .about = *about, .marks = {.fd = -1}};
    return set_names(p, target);
}

static struct sidecar about_store(const struct weir_store *store)
{
    const struct weir_store_info *info = weir_store_info(store);
    struct sidecar about = {.store_bytes = info->stored_bytes, .n_extents = info->n_extents};
    memcpy(about.digest, info->digest, sizeof(about.digest));
    return about;
}

/* most_behind: bytes that an appendix may have behind the data. */
static weir_err open_about(struct partial *p, const char *target, const struct sidecar *about,
                           size_t most_behind, struct weir_diag *diag)
{
    weir_err err = set_about(p, target, about);
    if (!err)
        err = marks_lock(&p->marks, AT_FDCWD, p->side_name, p->target, diag);
    if (err)
        return err;
    p->data = open(p->data_name, O_RDWR | O_CREAT | O_NOFOLLOW | O_CLOEXEC, 0666);
    struct stat st;
    if (p->data < 0 || fstat(p->data, &st) != 0) {
        err = fail_errno(diag, p->data_name);
        if (fstat(p->marks.fd, &st) == 0 && st.st_size == 0) /* ours, just made */
            (void)unlink(p->side_name);
        return err;
    }
    /* It was ended while its appendix was written. */
    uint64_t size = (uint64_t)st.st_size;
    bool fits = size >= p->about.store_bytes && size - p->about.store_bytes <= most_behind &&
                ftruncate(p->data, (off_t)p->about.store_bytes) == 0;
    const struct marks_anew anew = {&p->about, fits, p, drop};
    return marks_take_up(&p->marks, &anew, &p->resumed, diag);
}

weir_err partial_open(struct partial *p, const char *target, const struct weir_store *store,
                      struct weir_diag *diag)
{
    const struct sidecar about = about_store(store);
    return open_about(p, target, &about, weir_part_bytes(store), diag);
}

weir_err partial_open_about(struct partial *p, const char *target, const struct sidecar *about,
                            struct weir_diag *diag)
{
    return open_about(p, target, about, 0, diag);
}

/* Reads the marks of a part.  Somebody may have completed it just before we locked it. */
static weir_err take_appendix(struct partial *p, const struct weir_store *store,
                              struct weir_diag *diag)
{
    size_t n = weir_part_bytes(store);
    uint8_t *bytes = malloc(n + 1);
    if (!bytes)
        return WEIR_ERR_NOMEM;
    bool fits = marks_same_file(p->data, AT_FDCWD, p->target) &&
                pread(p->data, bytes, n + 1, (off_t)p->about.store_bytes) == (ssize_t)n &&
                weir_part_fits(store, bytes, n);
    if (fits)
        memcpy(p->marks.map, bytes, p->marks.n_map);
    else
        weir_diag_set(diag, "%.400s: was changed meanwhile; run it again", p->target);
    free(bytes);
    return fits ? WEIR_OK : WEIR_ERR_CHANGED;
}

weir_err partial_open_part(struct partial *p, const char *target, const struct weir_store *store,
                           struct weir_diag *diag)
{
    const struct sidecar about = about_store(store);
    weir_err err = set_about(p, target, &about);
    if (err)
        return err;
    p->in_place = p->resumed = true;
    p->marks.at = p->about.store_bytes;
    p->data = open(p->target, O_RDWR | O_NOFOLLOW | O_CLOEXEC);
    p->marks.fd = p->data < 0 ? -1 : fcntl(p->data, F_DUPFD_CLOEXEC, 0);
    if (p->marks.fd < 0)
        return fail_errno(diag, p->target);
    err = marks_lock_file(p->data, p->target, diag);
    return err ? err : take_appendix(p, store, diag);
}

bool partial_is_whole(const struct partial *p)
{
    for (uint32_t i = 0; i < p->about.n_extents; i++)
        if (!sidecar_has(p->marks.map, i))
            return false;
    return true;
}

void partial_mark(struct partial *p, uint32_t extent)
{
    marks_set(&p->marks, extent);
}

weir_err partial_sync(struct partial *p, bool now, struct weir_diag *diag)
{
    if (p->marks.broken)
        return marks_still_broken(&p->marks, p->data_name, diag);
    if (p->marks.n_unsynced == 0 || (!now && !marks_are_due(&p->marks)))
        return WEIR_OK;
    if (fdatasync(p->data) != 0)
        return marks_break_off(&p->marks, p->data_name, diag);
    weir_err err = marks_write(&p->marks, p->marks.map, diag);
    if (!err)
        p->marks.n_unsynced = 0;
    return err;
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

weir_err partial_place(int data, const char *data_name, const char *target, bool replace,
                       struct weir_diag *diag)
{
    if (fsync(data) != 0)
        return fail_errno(diag, data_name);
    if (weir_beneath_place(AT_FDCWD, data_name, AT_FDCWD, target, replace) == 0)
        return sync_folder_of(target) ? WEIR_OK : fail_errno(diag, target);
    if (errno != EEXIST)
        return fail_errno(diag, target);
    weir_diag_set(diag, "%.400s: somebody made it meanwhile; use -f to replace it", target);
    return WEIR_ERR_IO;
}

static weir_err write_appendix(const struct partial *p, const struct weir_store *store,
                               struct weir_diag *diag)
{
    size_t n = weir_part_bytes(store);
    uint8_t *bytes = malloc(n);
    if (!bytes)
        return WEIR_ERR_NOMEM;
    weir_part_write(store, p->marks.map, bytes);
    weir_err err = extents_write(p->data, p->about.store_bytes, bytes, n)
                       ? WEIR_OK
                       : fail_errno(diag, p->data_name);
    free(bytes);
    return err;
}

/* One step from a part to the store: all before is a part, that lacks nothing at last. */
static weir_err commit_part(struct partial *p, struct weir_diag *diag)
{
    if (!partial_is_whole(p))
        return WEIR_OK;
    if (ftruncate(p->data, (off_t)p->about.store_bytes) != 0 || fsync(p->data) != 0)
        return fail_errno(diag, p->target);
    return WEIR_OK;
}

weir_err partial_commit(struct partial *p, const struct weir_store *store, bool replace,
                        struct weir_diag *diag)
{
    weir_err err = partial_sync(p, true, diag);
    if (!err && p->in_place)
        return commit_part(p, diag);
    if (!err && store && !partial_is_whole(p))
        err = write_appendix(p, store, diag);
    if (err)
        return err;
    err = partial_place(p->data, p->data_name, p->target, replace, diag);
    if (err)
        return err;
    (void)unlink(p->side_name); /* one that is left over says nothing about a file with a name */
    return WEIR_OK;
}

void partial_close(struct partial *p)
{
    if (p->data >= 0)
        (void)close(p->data);
    p->data = -1;
    marks_close(&p->marks);
    free(p->target);
    free(p->data_name);
    free(p->side_name);
    p->target = p->data_name = p->side_name = NULL;
}

void partial_forget(const char *target)
{
    char *side = with_ending(target, ".weir-fetch");
    char *data = with_ending(target, ".weir-partial");
    int fd = side ? open(side, O_RDWR | O_NOFOLLOW | O_CLOEXEC) : -1;
    if (data && fd >= 0 && flock(fd, LOCK_EX | LOCK_NB) == 0 &&
        marks_same_file(fd, AT_FDCWD, side)) {
        (void)unlink(data);
        (void)unlink(side);
    }
    if (fd >= 0)
        (void)close(fd);
    free(side);
    free(data);
}
