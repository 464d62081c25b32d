/* mount_table.h - what is mounted where, as the kernel tells it in /proc/self/mountinfo.
 *
 * Looks at names only: what is mounted may be dead or hang. */
#ifndef WEIR_FS_MOUNT_TABLE_PRIVATE_H
#define WEIR_FS_MOUNT_TABLE_PRIVATE_H

#include <stdbool.h>

struct mount_place {
    char device[32]; /* "MAJOR:MINOR", nobody else's while it is mounted */
    bool is_weir;
};

enum mount_found {
    MOUNT_FOUND,
    MOUNT_NONE,
    MOUNT_NO_TABLE, /* it cannot be read; errno says why */
};

/* The uppermost mount at `path`, which is absolute and without symbolic links. */
enum mount_found mount_table_find(const char *path, struct mount_place *out);

#endif
