/* mount_options.h - what `-o LIST` of a mount says: one table, which --help prints, too.
 *
 * Knows nothing of how a mount is made.  Reports through a weir_diag, because `weir mount` and
 * mount.weir introduce themselves differently. */
#ifndef WEIR_CLI_MOUNT_OPTIONS_H
#define WEIR_CLI_MOUNT_OPTIONS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <sys/types.h>

#include "codec/err.h"
#include "codec/store.h"
#include "fs/mount.h"

/* Zeroed: nothing was said.  What has no "has" is its default when zero, as in fs/mount.h. */
struct mount_settings {
    bool has_uid, has_gid, has_digest, has_loglevel;
    bool allow_other, noexec, to_syslog;
    uid_t uid;
    gid_t gid;
    mode_t umask;
    unsigned idle_seconds, n_threads;
    unsigned timeout_io; /* seconds that reads wait for a server that is gone */
    size_t cache_bytes;
    char *cache_dir;     /* owned; NULL: what is fetched is not kept */
    uint64_t cache_size; /* of what is kept there */
    char *base;          /* owned; NULL: beside the store */
    char *subdir;        /* owned; never "", no '/' at its ends */
    uint8_t digest[WEIR_DIGEST_BYTES];
    enum weir_mount_log loglevel;
};

enum mount_tolerance {
    MOUNT_SLOPPY = 1,   /* unknown options are ignored */
    MOUNT_TAKES_RW = 2, /* mount(8) says rw when nobody said anything */
};

/* Adds "NAME[=VALUE],...".  A backslash takes the next character as it is, or is the byte of three
 * octal digits, as libfuse reads them.  Of an option that is given twice the last one counts.
 *
 * WEIR_ERR_INVALID   unknown, or a bad value; *diag names that option and no other
 * WEIR_ERR_NOMEM */
WEIR_MUST_CHECK weir_err mount_settings_add(struct mount_settings *s, const char *list,
                                            unsigned tolerance, struct weir_diag *diag);

/* One option of the table; for its long spelling.  Errors as above. */
WEIR_MUST_CHECK weir_err mount_settings_set(struct mount_settings *s, const char *name,
                                            const char *value, struct weir_diag *diag);

/* Whether the text is an amount of bytes, as `cache` takes it. */
bool mount_settings_is_bytes(const char *text);

void mount_settings_free(struct mount_settings *s);

void mount_settings_help(FILE *to);

#endif
