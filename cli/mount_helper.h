/* mount_helper.h - the program called as mount.weir or mount.fuse.weir, as mount(8) calls it. */
#ifndef WEIR_CLI_MOUNT_HELPER_H
#define WEIR_CLI_MOUNT_HELPER_H

#include <stdbool.h>

#include "cmd.h"

/* Whether argv[0] is one of these names, in whatever folder. */
bool mount_helper_is(const char *argv0);

/* A command without a subcommand's word; its exit codes are mount(8)'s. */
extern const struct cmd cmd_mount_helper;
int mount_helper_code(int code); /* of ours, EXIT_... */

#endif
