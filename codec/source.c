#include "codec/source.h"

#include <errno.h>
#include <fcntl.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>
#include <xxhash.h>

/* A change sets the file's times when it begins, to the last tick of the kernel's clock. */
static const double tick_ns = 20e6; /* twice the longest tick */
static const double write_ns = 1e9; /* one write() is over by then, however slow the disk */

enum {
    DIRECT_ALIGN = 4096,
    PAUSE_NS = 5000000,
    MAX_PAUSES = 20,
};

weir_err weir_source_read(const struct weir_source *src, uint64_t at, void *dst, size_t n)
{
    if (at > src->size || n > src->size - at)
        return WEIR_ERR_IO;
    return n ? src->read(src->self, at, dst, n) : WEIR_OK;
}

weir_err weir_source_read_past(const struct weir_source *src, uint64_t at, void *dst, size_t n)
{
    if (!src->read_past)
        return weir_source_read(src, at, dst, n);
    if (at > src->size || n > src->size - at)
        return WEIR_ERR_IO;
    return n ? src->read_past(src->self, at, dst, n) : WEIR_OK;
}

weir_err weir_source_revision(const struct weir_source *src, uint64_t *out)
{
    if (src->revision)
        return src->revision(src->self, out);
    *out = 1;
    return WEIR_OK;
}

void weir_source_expect(const struct weir_source *src, uint64_t at, uint64_t n)
{
    if (!src->expect || at >= src->size || n == 0)
        return;
    src->expect(src->self, at, n < src->size - at ? n : src->size - at);
}

void weir_source_close(struct weir_source *src)
{
    if (!src)
        return;
    if (src->close)
        src->close(src->self);
    memset(src, 0, sizeof(*src));
}

/* ---- a file ---- */

struct file {
    int fd;
    uint64_t opened;   /* its revision after the wait, or 0 */
    atomic_int direct; /* the same file, opened with O_DIRECT; or one of these: */
};

enum { NOT_TRIED = -1, NOT_POSSIBLE = -2 };

static weir_err read_from(int fd, uint64_t at, void *dst, size_t n)
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

static weir_err file_read(void *self, uint64_t at, void *dst, size_t n)
{
    const struct file *file = self;
    return read_from(file->fd, at, dst, n);
}

/* Negative: there is none. */
static int direct_of(struct file *file)
{
    char path[64];
    int fd = atomic_load(&file->direct), before = NOT_TRIED;
    if (fd != NOT_TRIED)
        return fd;
    (void)snprintf(path, sizeof(path), "/proc/self/fd/%d", file->fd); /* whatever its name is now */
    fd = open(path, O_RDONLY | O_CLOEXEC | O_DIRECT);
    if (fd < 0)
        fd = NOT_POSSIBLE;
    if (atomic_compare_exchange_strong(&file->direct, &before, fd))
        return fd;
    if (fd >= 0)
        (void)close(fd); /* another thread was first */
    return before;
}

/* What O_DIRECT refuses all the same is read as ever. */
static weir_err file_read_past(void *self, uint64_t at, void *dst, size_t n)
{
    struct file *file = self;
    const bool aligned = (at | n | (uintptr_t)dst) % DIRECT_ALIGN == 0;
    const int fd = aligned ? direct_of(file) : NOT_POSSIBLE;
    if (fd >= 0 && read_from(fd, at, dst, n) == WEIR_OK)
        return WEIR_OK;
    return read_from(file->fd, at, dst, n);
}

/* A time in the future is of another clock, or set by hand: it is not young until it is near. */
static bool is_near(const struct timespec *now, const struct timespec *then, double limit_ns)
{
    double ns =
        1e9 * ((double)now->tv_sec - (double)then->tv_sec) + (double)(now->tv_nsec - then->tv_nsec);
    return ns < limit_ns && ns > -limit_ns;
}

static bool is_young(const struct stat *st, double limit_ns)
{
    struct timespec now;
    return clock_gettime(CLOCK_REALTIME, &now) != 0 || is_near(&now, &st->st_mtim, limit_ns) ||
           is_near(&now, &st->st_ctim, limit_ns);
}

static uint64_t revision_of(const struct stat *st)
{
    const uint64_t seen[] = {(uint64_t)st->st_size, (uint64_t)st->st_mtim.tv_sec,
                             (uint64_t)st->st_mtim.tv_nsec, (uint64_t)st->st_ctim.tv_sec,
                             (uint64_t)st->st_ctim.tv_nsec};
    uint64_t hash = XXH3_64bits(seen, sizeof(seen));
    return hash ? hash : 1;
}

static weir_err file_revision(void *self, uint64_t *out)
{
    const struct file *file = self;
    struct stat st;
    if (fstat(file->fd, &st) != 0)
        return WEIR_ERR_IO;
    uint64_t now = revision_of(&st);
    *out = now == file->opened || !is_young(&st, write_ns) ? now : 0;
    return WEIR_OK;
}

static void file_close(void *self)
{
    struct file *file = self;
    /* Opened for reading only: nothing can be lost, so there is nothing to report. */
    (void)close(file->fd);
    if (atomic_load(&file->direct) >= 0)
        (void)close(atomic_load(&file->direct));
    free(file);
}

/* fstat, again while the file is young.  One that somebody keeps writing to stays young. */
static int settled_stat(int fd, struct stat *st, uint64_t *revision)
{
    const struct timespec pause = {.tv_nsec = PAUSE_NS};
    *revision = 0;
    for (int i = 0; i <= MAX_PAUSES; i++) {
        if (fstat(fd, st) != 0)
            return -1;
        if (!S_ISREG(st->st_mode))
            break;
        if (!is_young(st, tick_ns)) {
            *revision = revision_of(st);
            break;
        }
        if (i < MAX_PAUSES)
            (void)nanosleep(&pause, NULL); /* one that a signal cuts short counts, too */
    }
    return 0;
}

static weir_err file_open(struct file *file, const char *path, uint64_t *size,
                          struct weir_diag *diag)
{
    /* O_NONBLOCK: opening a FIFO must not hang before fstat can refuse it. */
    file->fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    if (file->fd < 0) {
        weir_diag_set(diag, "%s: %s", path, strerror(errno));
        return errno == ENOENT || errno == ENOTDIR ? WEIR_ERR_NOT_FOUND : WEIR_ERR_IO;
    }
    struct stat st;
    weir_err err = WEIR_OK;
    if (settled_stat(file->fd, &st, &file->opened) != 0) {
        weir_diag_set(diag, "%s: %s", path, strerror(errno));
        err = WEIR_ERR_IO;
    } else if (!S_ISREG(st.st_mode)) {
        weir_diag_set(diag, "%s: not a regular file", path);
        err = WEIR_ERR_INVALID;
    }
    if (err)
        (void)close(file->fd);
    else
        *size = (uint64_t)st.st_size;
    return err;
}

weir_err weir_source_open_file(const char *path, struct weir_source *out, struct weir_diag *diag)
{
    struct file *file = malloc(sizeof(*file));
    if (!file) {
        weir_diag_set(diag, "%s: %s", path, weir_err_text(WEIR_ERR_NOMEM));
        return WEIR_ERR_NOMEM;
    }
    uint64_t size = 0;
    atomic_init(&file->direct, NOT_TRIED);
    weir_err err = file_open(file, path, &size, diag);
    if (err) {
        free(file);
        return err;
    }
    *out = (struct weir_source){.self = file,
                                .size = size,
                                .read = file_read,
                                .close = file_close,
                                .revision = file_revision,
                                .read_past = file_read_past};
    return WEIR_OK;
}

/* ---- memory: self is the first byte; weir_source_read() has checked the range ---- */

static weir_err memory_read(void *self, uint64_t at, void *dst, size_t n)
{
    memcpy(dst, (const uint8_t *)self + at, n);
    return WEIR_OK;
}

void weir_source_from_memory(const void *bytes, size_t size, struct weir_source *out)
{
    *out =
        (struct weir_source){.self = (void *)(uintptr_t)bytes, .size = size, .read = memory_read};
}
