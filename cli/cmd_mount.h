/* cmd_mount.h - what `weir mount`, mount.weir and `weir umount` ask for; the program with libfuse3
 * does it (cmd_mount_fuse.c), the one without says so (cmd_mount_off.c). */
#ifndef WEIR_CLI_CMD_MOUNT_H
#define WEIR_CLI_CMD_MOUNT_H

#include <stdbool.h>

#include "codec/err.h"
#include "mount_options.h"

struct cli;

struct mount_order {
    const char *store, *dir;
    const char *mount_ns; /* a mount namespace's file, or a process in it; NULL: ours */
    bool foreground;
    bool fake; /* everything but the mount */
    struct mount_settings settings;
};

/* Shows the store until it is unmounted, or, in the background, until it answers.  Reports its
 * errors; returns an exit code. */
int mount_start(const struct cli *cli, const struct mount_order *order);

/* weir_mount_end() */
WEIR_MUST_CHECK weir_err mount_end(const char *dir, bool lazy, struct weir_diag *diag);

#endif
