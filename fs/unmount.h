/* unmount.h - unmounting by path, but only what is meant. */
#ifndef WEIR_FS_UNMOUNT_PRIVATE_H
#define WEIR_FS_UNMOUNT_PRIVATE_H

#include <stdbool.h>

#include "codec/err.h"

/* A mount of this process. */
struct own_mount {
    const char *path; /* absolute, without symbolic links */
    char device[32];  /* "MAJOR:MINOR"; "": not known */
    int fd;           /* its /dev/fuse */
};

/* Whether the kernel still has it, mounted or on its way: only so long is its device number its own
 * and not already the next mount's. */
bool own_mount_lives(const struct own_mount *own);

/* As weir_mount_end(), if it lives and is the uppermost mount at its path: another one may have
 * been mounted in its place or over it.  WEIR_ERR_NOT_FOUND if not. */
WEIR_MUST_CHECK weir_err own_mount_end(const struct own_mount *own, bool lazy,
                                       struct weir_diag *diag);

#endif
