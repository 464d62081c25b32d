/* cmd_mount.h - what `weir mount` is called, shared by the program with libfuse3 and the one
 * without. */
#ifndef WEIR_CLI_CMD_MOUNT_H
#define WEIR_CLI_CMD_MOUNT_H

#include "cmd.h"

enum { MOUNT_FOREGROUND, MOUNT_OPTIONS, MOUNT_CACHE, MOUNT_THREADS };

/* Shows the store; in cmd_mount_fuse.c or cmd_mount_off.c. */
int mount_run(struct cli *cli);

#endif
