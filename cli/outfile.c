#include "outfile.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "codec/beneath.h"
#include "interrupt.h"
#include "place.h"

enum {
    BUFFER_BYTES = 1 << 20,
    MAX_BASE = 200, /* of the name a temporary name begins with: 255 with all that follows */
};

static bool is_stdout(const char *name)
{
    return strcmp(name, "-") == 0;
}

weir_err outfile_check(const char *name, bool replace, struct stat *st, bool *exists,
                       struct weir_diag *diag)
{
    *exists = (is_stdout(name) ? fstat(STDOUT_FILENO, st) : stat(name, st)) == 0;
    if (is_stdout(name)) {
        if (!isatty(STDOUT_FILENO))
            return WEIR_OK;
        weir_diag_set(diag, "stdout is a terminal; redirect it to a file or a pipe");
        return WEIR_ERR_INVALID;
    }
    struct stat link;
    if (*exists && S_ISDIR(st->st_mode))
        weir_diag_set(diag, "%s: is a directory; name the store's file", name);
    else if (!replace && (*exists ? S_ISREG(st->st_mode) : lstat(name, &link) == 0))
        weir_diag_set(diag, "%s: exists already; use -f to replace it", name);
    else
        return WEIR_OK;
    return WEIR_ERR_IO;
}

/* Where the name leads: a link is written through, as cp does it. */
static char *resolve(const char *name)
{
    struct stat st;
    bool link = lstat(name, &st) == 0 && S_ISLNK(st.st_mode);
    char *real = link ? realpath(name, NULL) : NULL;
    return real ? real : strdup(name);
}

static weir_err open_temp(struct outfile *out, struct weir_diag *diag)
{
    const char *slash = strrchr(out->name, '/');
    const char *base = slash ? slash + 1 : out->name;
    size_t bytes = strlen(out->name) + sizeof(".XXXXXX.partial");
    out->temp = malloc(bytes);
    if (!out->temp)
        return WEIR_ERR_NOMEM;
    snprintf(out->temp, bytes, "%.*s%.*s.XXXXXX.partial", (int)(base - out->name), out->name,
             MAX_BASE, base);
    out->fd = mkostemps(out->temp, (int)strlen(".partial"), O_CLOEXEC);
    if (out->fd < 0) {
        weir_err err = errno == ENOENT || errno == ENOTDIR ? WEIR_ERR_NOT_FOUND : WEIR_ERR_IO;
        diag_errno(diag, out->name);
        free(out->temp);
        out->temp = NULL;
        return err;
    }
    mode_t mask = umask(0);
    umask(mask);
    if (fchmod(out->fd, 0666 & ~mask) == 0)
        return WEIR_OK;
    diag_errno(diag, out->name);
    return WEIR_ERR_IO;
}

weir_err outfile_open(const char *name, bool replace, struct outfile *out, struct weir_diag *diag)
{
    *out = (struct outfile){.fd = -1, .replace = replace, .in_place = is_stdout(name)};
    out->buffer = malloc(BUFFER_BYTES);
    if (!out->buffer)
        return WEIR_ERR_NOMEM;
    struct stat st;
    if (out->in_place) {
        out->fd = STDOUT_FILENO;
        out->pipe = fstat(out->fd, &st) == 0 && S_ISFIFO(st.st_mode);
        return WEIR_OK;
    }
    out->name = resolve(name);
    if (!out->name)
        return WEIR_ERR_NOMEM;
    out->in_place = stat(out->name, &st) == 0 && !S_ISREG(st.st_mode);
    out->pipe = out->in_place && S_ISFIFO(st.st_mode);
    if (!out->in_place)
        return open_temp(out, diag);
    out->fd = open(out->name, O_WRONLY | O_CLOEXEC);
    if (out->fd >= 0)
        return WEIR_OK;
    if (errno == EINTR) /* a FIFO that nobody reads */
        return WEIR_ERR_CANCELLED;
    diag_errno(diag, out->name);
    return WEIR_ERR_IO;
}

static weir_err write_out(struct outfile *out, const void *bytes, size_t n)
{
    if (out->pipe ? write_pipe(out->fd, bytes, n) : write_all(out->fd, bytes, n))
        return WEIR_OK;
    if (errno == EINTR)
        return WEIR_ERR_CANCELLED;
    diag_errno(&out->diag, out->name ? out->name : "standard output");
    return WEIR_ERR_IO;
}

weir_err outfile_write(void *self, const void *bytes, size_t n)
{
    struct outfile *out = self;
    weir_err err = WEIR_OK;
    if (out->used + n > BUFFER_BYTES) {
        err = write_out(out, out->buffer, out->used);
        out->used = 0;
    }
    if (!err && n > BUFFER_BYTES)
        return write_out(out, bytes, n);
    if (err || n == 0)
        return err;
    memcpy(out->buffer + out->used, bytes, n);
    out->used += n;
    return WEIR_OK;
}

static int open_folder_of(const char *name)
{
    const char *slash = strrchr(name, '/');
    char folder[PATH_MAX];
    if (slash && (size_t)(slash - name) + 2 > sizeof(folder)) {
        errno = ENAMETOOLONG;
        return -1;
    }
    /* "/" keeps its slash. */
    snprintf(folder, sizeof(folder), "%.*s", slash ? (int)(slash - name) + (slash == name) : 1,
             slash ? name : ".");
    return open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
}

/* A name in the folder of `path`. */
static const char *base_of(const char *path)
{
    const char *slash = strrchr(path, '/');
    return slash ? slash + 1 : path;
}

static weir_err rename_in(struct outfile *out, int folder, struct weir_diag *diag)
{
    if (interrupted())
        return WEIR_ERR_CANCELLED;
    if (weir_beneath_place(folder, base_of(out->temp), folder, base_of(out->name), out->replace) !=
        0) {
        if (errno == EEXIST)
            weir_diag_set(diag, "%s: exists already; use -f to replace it", out->name);
        else
            diag_errno(diag, out->name);
        return WEIR_ERR_IO;
    }
    free(out->temp); /* from now on there is nothing to remove */
    out->temp = NULL;
    if (fsync(folder) != 0 && errno != EINVAL && errno != EROFS) {
        diag_errno(diag, out->name);
        return WEIR_ERR_IO;
    }
    return WEIR_OK;
}

weir_err outfile_commit(struct outfile *out, struct weir_diag *diag)
{
    weir_err err = write_out(out, out->buffer, out->used);
    out->used = 0;
    if (err) {
        *diag = out->diag;
        return err;
    }
    if (out->in_place && !out->name)
        return WEIR_OK;
    /* Some devices and FIFOs cannot sync; a file must. */
    bool bad = (fsync(out->fd) != 0 && !out->in_place) || close(out->fd) != 0;
    out->fd = -1;
    if (bad) {
        diag_errno(diag, out->name);
        return WEIR_ERR_IO;
    }
    if (out->in_place)
        return WEIR_OK;
    int folder = open_folder_of(out->name);
    if (folder < 0) {
        diag_errno(diag, out->name);
        return WEIR_ERR_IO;
    }
    err = rename_in(out, folder, diag);
    (void)close(folder);
    return err;
}

void outfile_close(struct outfile *out)
{
    if (out->fd >= 0 && out->name)
        (void)close(out->fd);
    out->fd = -1;
    if (out->temp)
        (void)unlink(out->temp);
    free(out->temp);
    free(out->name);
    free(out->buffer);
    out->temp = out->name = NULL;
    out->buffer = NULL;
}
