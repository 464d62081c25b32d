/* outfile.h - the store that pack makes: under its final name only when it is whole and on disk. */
#ifndef WEIR_CLI_OUTFILE_H
#define WEIR_CLI_OUTFILE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/stat.h>

#include "codec/err.h"

struct outfile {
    int fd;        /* -1: none */
    bool pipe;     /* fd is one */
    bool in_place; /* stdout, a device or a FIFO: written as it comes, no rename */
    bool replace;
    char *name, *temp; /* NULL for stdout; temp NULL when in_place */
    uint8_t *buffer;
    size_t used;
    struct weir_diag diag; /* why outfile_write() failed */
};

/* What `name` shows now, so that pack can leave it out of what it reads.  "-" is stdout.
 * *exists is false where there is nothing.
 * WEIR_ERR_INVALID  stdout is a terminal
 * WEIR_ERR_IO       it is a directory, or it exists and !replace */
WEIR_MUST_CHECK weir_err outfile_check(const char *name, bool replace, struct stat *st,
                                       bool *exists, struct weir_diag *diag);

/* Fills *out; pass it to outfile_close() in any case.
 * WEIR_ERR_IO, WEIR_ERR_NOT_FOUND, WEIR_ERR_CANCELLED, WEIR_ERR_NOMEM */
WEIR_MUST_CHECK weir_err outfile_open(const char *name, bool replace, struct outfile *out,
                                      struct weir_diag *diag);

/* As in struct weir_output. */
weir_err outfile_write(void *self, const void *bytes, size_t n);

/* Everything out, on disk, and under its name. */
WEIR_MUST_CHECK weir_err outfile_commit(struct outfile *out, struct weir_diag *diag);

/* Removes what was not committed.  Once more does no harm. */
void outfile_close(struct outfile *out);

#endif
