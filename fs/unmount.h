/* unmount.h - unmounting by path, but only what is meant. */
#ifndef WEIR_FS_UNMOUNT_PRIVATE_H
#define WEIR_FS_UNMOUNT_PRIVATE_H

#include <stdbool.h>

#include "codec/err.h"

/* As weir_mount_end(), for an absolute path without symbolic links, and only if the uppermost mount
 * there has this device ("MAJOR:MINOR"): another one may have been mounted in its place or over it.
 * WEIR_ERR_NOT_FOUND if it has not. */
WEIR_MUST_CHECK weir_err unmount_device(const char *path, const char *device, bool lazy,
                                        struct weir_diag *diag);

#endif
