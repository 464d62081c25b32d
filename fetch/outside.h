/* outside.h - the bytes of a store that are in no extent: header, index, trailer, and the zeros
 * between them.  A remote store has them in memory since it was opened. */
#ifndef WEIR_FETCH_OUTSIDE_H
#define WEIR_FETCH_OUTSIDE_H

#include <stdbool.h>

#include "fetch/remote.h"

/* WEIR_ERR_ABSENT with *diag where the remote store is itself a part of one. */
WEIR_MUST_CHECK weir_err outside_check(const struct weir_remote *remote, struct weir_diag *diag);

/* Writes them where they belong in the file `fd`.  WEIR_ERR_IO with errno set and *diag not; what
 * reading the remote returns. */
WEIR_MUST_CHECK weir_err outside_write(const struct weir_remote *remote, int fd,
                                       struct weir_diag *diag);

/* Whether the file `fd` has the very same there. */
WEIR_MUST_CHECK weir_err outside_compare(const struct weir_remote *remote, int fd, bool *same,
                                         struct weir_diag *diag);

#endif
