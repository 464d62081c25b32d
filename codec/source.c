#include "codec/source.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

weir_err weir_source_read(const struct weir_source *src, uint64_t at, void *dst, size_t n)
{
    if (at > src->size || n > src->size - at)
        return WEIR_ERR_IO;
    return n ? src->read(src->self, at, dst, n) : WEIR_OK;
}

void weir_source_close(struct weir_source *src)
{
    if (!src)
        return;
    if (src->close)
        src->close(src->self);
    memset(src, 0, sizeof(*src));
}

/* ---- a file: self is the descriptor, kept in the pointer ---- */

static weir_err file_read(void *self, uint64_t at, void *dst, size_t n)
{
    int fd = (int)(intptr_t)self;
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

static void file_close(void *self)
{
    /* Opened for reading only: nothing can be lost, so there is nothing to report. */
    (void)close((int)(intptr_t)self);
}

weir_err weir_source_open_file(const char *path, struct weir_source *out, struct weir_diag *diag)
{
    /* O_NONBLOCK: opening a FIFO must not hang before fstat can refuse it. */
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    if (fd < 0) {
        weir_diag_set(diag, "%s: %s", path, strerror(errno));
        return errno == ENOENT || errno == ENOTDIR ? WEIR_ERR_NOT_FOUND : WEIR_ERR_IO;
    }
    struct stat st;
    weir_err err = WEIR_OK;
    if (fstat(fd, &st) != 0) {
        weir_diag_set(diag, "%s: %s", path, strerror(errno));
        err = WEIR_ERR_IO;
    } else if (!S_ISREG(st.st_mode)) {
        weir_diag_set(diag, "%s: not a regular file", path);
        err = WEIR_ERR_INVALID;
    }
    if (err) {
        (void)close(fd);
        return err;
    }
    *out = (struct weir_source){(void *)(intptr_t)fd, (uint64_t)st.st_size, file_read, file_close};
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
    *out = (struct weir_source){(void *)(uintptr_t)bytes, size, memory_read, NULL};
}
