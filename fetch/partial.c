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

weir_err partial_open(struct partial *p, const char *target, const struct weir_store *store,
                      struct weir_diag *diag)
{
    const struct weir_store_info *info = weir_store_info(store);
    struct sidecar about = {.store_bytes = info->stored_bytes, .n_extents = info->n_extents};
    memcpy(about.digest, info->digest, sizeof(about.digest));
    return partial_open_about(p, target, &about, diag);
}

weir_err partial_open_about(struct partial *p, const char *target, const struct sidecar *about,
                            struct weir_diag *diag)
{
    *p = (struct partial){.data = -1, .about = *about, .marks = {.fd = -1}};
    weir_err err = set_names(p, target);
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
    const struct marks_anew anew = {&p->about, (uint64_t)st.st_size == p->about.store_bytes, p,
                                    drop};
    return marks_take_up(&p->marks, &anew, &p->resumed, diag);
}

void partial_mark(struct partial *p, uint32_t extent)
{
    marks_set(&p->marks, extent);
}

weir_err partial_sync(struct partial *p, bool now, struct weir_diag *diag)
{
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
    if (weir_beneath_place(AT_FDCWD, data_name, AT_FDCWD, target, replace) != 0 ||
        !sync_folder_of(target))
        return fail_errno(diag, target);
    return WEIR_OK;
}

weir_err partial_commit(struct partial *p, bool replace, struct weir_diag *diag)
{
    weir_err err = partial_sync(p, true, diag);
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
