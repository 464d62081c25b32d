#include "pack_file.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "client.h"
#include "extent_file.h"
#include "partial.h"

enum { SYNC_SECONDS = 5 }; /* as in marks.c */

static weir_err fail(struct pack_file *f, const char *name)
{
    return fail_errno(&f->diag, name);
}

static weir_err read_fully(int fd, uint64_t at, void *dst, size_t n)
{
    uint8_t *to = dst;
    while (n) {
        ssize_t got = pread(fd, to, n, (off_t)at);
        if (got < 0 && errno == EINTR)
            continue;
        if (got <= 0)
            return WEIR_ERR_IO;
        to += got;
        at += (uint64_t)got;
        n -= (size_t)got;
    }
    return WEIR_OK;
}

/* ---- what weir_pack() calls ---- */

static weir_err data_read(void *self, uint64_t at, void *dst, size_t n)
{
    const struct pack_file *f = self;
    return read_fully(f->data, at, dst, n);
}

static weir_err side_read(void *self, uint64_t at, void *dst, size_t n)
{
    const struct pack_file *f = self;
    return read_fully(f->side.fd, at, dst, n);
}

/* The journal is cut first: it must not speak of bytes that are no longer there. */
static weir_err resume(void *self, uint64_t journal_bytes, uint64_t store_bytes)
{
    struct pack_file *f = self;
    if (ftruncate(f->side.fd, (off_t)journal_bytes) != 0 || fdatasync(f->side.fd) != 0)
        return fail(f, f->side_name);
    if (ftruncate(f->data, (off_t)store_bytes) != 0)
        return fail(f, f->data_name);
    f->side_bytes = f->synced_bytes = journal_bytes;
    f->data_bytes = store_bytes;
    return WEIR_OK;
}

static weir_err write_data(void *self, const void *bytes, size_t n)
{
    struct pack_file *f = self;
    if (!extents_write(f->data, f->data_bytes, bytes, n))
        return fail(f, f->data_name);
    /* The disk begins at once; nobody waits, and the next sync finds less to do. */
    (void)sync_file_range(f->data, (off_t)f->data_bytes, (off_t)n, SYNC_FILE_RANGE_WRITE);
    f->data_bytes += n;
    return WEIR_OK;
}

static weir_err append(void *self, const void *bytes, size_t n)
{
    struct pack_file *f = self;
    if (!extents_write(f->side.fd, f->side_bytes, bytes, n))
        return fail(f, f->side_name);
    f->side_bytes += n;
    if (!f->word_due)
        return WEIR_OK;
    f->word_due = false;
    if (fdatasync(f->side.fd) != 0)
        return fail(f, f->side_name);
    f->synced_bytes = f->side_bytes;
    return WEIR_OK;
}

/* A sync that failed is the end: the kernel tells of bytes that it lost only once.  So whatever was
 * written since the last one must not be believed by the next run. */
static weir_err sync_data(struct pack_file *f)
{
    if (fdatasync(f->data) == 0)
        return WEIR_OK;
    weir_err err = fail(f, f->data_name);
    (void)ftruncate(f->side.fd, (off_t)f->synced_bytes);
    return err;
}

static weir_err sync_now_and_then(void *self, bool *synced)
{
    struct pack_file *f = self;
    if (client_now() - f->synced < SYNC_SECONDS)
        return WEIR_OK;
    weir_err err = sync_data(f);
    if (err)
        return err;
    f->synced = client_now();
    f->word_due = *synced = true;
    return WEIR_OK;
}

void pack_file_journal(struct pack_file *f, struct weir_pack_journal *journal)
{
    struct stat st;
    uint64_t size = fstat(f->side.fd, &st) == 0 ? (uint64_t)st.st_size : 0;
    *journal = (struct weir_pack_journal){.self = f,
                                          .left = {.self = f, .size = size, .read = side_read},
                                          .read = data_read,
                                          .resume = resume,
                                          .append = append,
                                          .sync = sync_now_and_then};
}

void pack_file_output(struct pack_file *f, struct weir_output *output)
{
    *output = (struct weir_output){f, write_data};
}

/* ---- beginning and end ---- */

static char *with_ending(const char *name, const char *ending)
{
    size_t bytes = strlen(name) + strlen(ending) + 1;
    char *text = malloc(bytes);
    if (text)
        snprintf(text, bytes, "%s%s", name, ending);
    return text;
}

weir_err pack_file_open(struct pack_file *f, const char *target, struct weir_diag *diag)
{
    *f = (struct pack_file){.data = -1, .side.fd = -1, .synced = client_now()};
    f->target = strdup(target);
    f->data_name = with_ending(target, ".weir-partial");
    f->side_name = with_ending(target, ".weir-fetch");
    if (!f->target || !f->data_name || !f->side_name)
        return WEIR_ERR_NOMEM;
    weir_err err = marks_init(&f->side, f->side_name, 0);
    if (!err)
        err = marks_lock(&f->side, AT_FDCWD, f->side_name, target, diag);
    if (err)
        return err;
    f->data = open(f->data_name, O_RDWR | O_CREAT | O_NOFOLLOW | O_CLOEXEC, 0666);
    if (f->data >= 0)
        return WEIR_OK;
    err = fail_errno(diag, f->data_name);
    (void)unlink(f->side_name);
    return err;
}

void pack_file_source(struct pack_file *f, struct weir_source *out)
{
    *out = (struct weir_source){.self = f, .size = f->data_bytes, .read = data_read};
}

weir_err pack_file_begin_anew(struct pack_file *f, struct weir_diag *diag)
{
    weir_err err = resume(f, 0, 0);
    if (err)
        *diag = f->diag;
    return err;
}

void pack_file_keep(struct pack_file *f)
{
    struct weir_diag before = f->diag;
    if (f->data >= 0 && sync_data(f) == WEIR_OK)
        (void)fdatasync(f->side.fd);
    f->diag = before;
}

weir_err pack_file_commit(struct pack_file *f, bool replace, struct weir_diag *diag)
{
    weir_err err = sync_data(f);
    if (err) {
        *diag = f->diag;
        return err;
    }
    err = partial_place(f->data, f->data_name, f->target, replace, diag);
    if (!err)
        (void)unlink(f->side_name); /* one that is left over says nothing of a file with a name */
    return err;
}

void pack_file_close(struct pack_file *f)
{
    if (f->data >= 0)
        (void)close(f->data);
    f->data = -1;
    marks_close(&f->side);
    free(f->target);
    free(f->data_name);
    free(f->side_name);
    f->target = f->data_name = f->side_name = NULL;
}
