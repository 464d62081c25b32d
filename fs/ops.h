/* ops.h - the answers to the kernel's requests. */
#ifndef WEIR_FS_OPS_PRIVATE_H
#define WEIR_FS_OPS_PRIVATE_H

#include <sys/types.h>
#include <time.h>

#include "codec/store.h"
#include "fs/mount.h"

struct fuse_lowlevel_ops;
struct reader;
struct tree;

/* A mount that stands: the session's user data.  Only read while the session runs. */
struct mount {
    const struct weir_store *store; /* borrowed */
    struct weir_mount_events events;
    struct tree *tree;
    struct reader *reader;
    uid_t uid;
    gid_t gid;
    mode_t umask;
    struct timespec mtime;
};

extern const struct fuse_lowlevel_ops mount_ops;

#endif
