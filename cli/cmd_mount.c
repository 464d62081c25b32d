/* cmd_mount.c - the command line of `weir mount`. */
#include "cmd_mount.h"

static const struct cli_option options[] = {
    [MOUNT_FOREGROUND] = {'f', "foreground", NULL, "stay here until it is unmounted", false},
    [MOUNT_OPTIONS] = {'o', "options", "LIST",
                       "allow_other: other users may look too; timeout_io=SECONDS;\n"
                       "                           ro: as it is",
                       true},
    [MOUNT_CACHE] = {0, "cache", "BYTES", "of decoded tiles kept in memory (default: 64Mi)", false},
    [MOUNT_THREADS] = {'j', "threads", "N",
                       "that answer requests (default: one per processor, 4 at least)", false},
    {0},
};

const struct cmd cmd_mount = {
    .name = "mount",
    .operands = "STORE|URL DIR",
    .summary = "Show a store as the plain directory it was made of",
    .text =
        "DIR is an existing directory; it shows the files read-only, decoded as they are read.\n"
        "Returns when the mount answers; 'umount DIR' or 'fusermount3 -u DIR' ends it. With -f it\n"
        "stays in the foreground and SIGINT or SIGTERM unmounts. Of a URL, what is read is "
        "fetched\n"
        "and verified before anybody sees it; reads wait for a server that is gone, for "
        "timeout_io\n"
        "(default: 60) seconds.\n",
    .examples = "  weir mount llama.weir /mnt/llama\n"
                "  weir mount https://host/llama.weir /mnt/llama\n"
                "  weir mount -f -o allow_other --cache 256Mi llama.weir /mnt/llama\n",
    .option = options,
    .min_operands = 2,
    .max_operands = 2,
    .run = mount_run,
};
