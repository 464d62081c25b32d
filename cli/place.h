/* place.h - bytes written out whole, and what is said when they cannot be. */
#ifndef WEIR_CLI_PLACE_H
#define WEIR_CLI_PLACE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "codec/err.h"

/* write() until all n bytes are out; false and errno, EINTR when a signal asked to stop. */
bool write_all(int fd, const void *bytes, size_t n);

/* The same into a pipe that may be full for ever: looks up from waiting now and then, because a
 * signal may be another thread's. */
bool write_pipe(int fd, const void *bytes, size_t n);

/* "NAME: what errno says", with what to do when the disk is full. */
void diag_errno(struct weir_diag *diag, const char *name);

#endif
