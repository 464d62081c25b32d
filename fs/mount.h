/* mount.h - a store shown as a read-only directory tree, through FUSE.
 *
 * Knows nothing of command lines, daemons or where a store comes from: the caller opens the store,
 * forks if it wants to, and is told when the mount answers.  Nothing is printed: what happens after
 * the mount stands goes to events.log.  Safe on hostile stores: what codec/store.h refuses is EIO.
 *
 * Beside the store's entries the root has a directory `.weir` that no listing shows (unless the
 * store has an entry of that name, which then wins):
 *
 *   .weir/store        the compressed store itself, readable at any offset; not with `subdir`
 *   .weir/status.json  what the mount has done so far, as one JSON object (docs/architecture.md)
 *
 * Regular files have the extended attributes user.weir.sha256 (of the plain bytes, 64 hex digits),
 * user.weir.ratio (plain bytes over stored bytes, such as "1.523"), user.weir.tensors (how many),
 * and those with near-lossless tensors user.weir.near_lossless (how near, such as
 * "tensors=154 snr_db=33.53 max_error_steps=0.500"); they and the store's directories have
 * user.weir.digest (the store's, 64 hex digits).
 *
 * In the background, the order that works: fork, then weir_mount_run() in the child (it starts
 * threads, and threads do not survive a fork).  The child's `ready` tells the parent through a pipe
 * that it may exit with success; weir_mount_run() coming back with an error before that is the
 * error to report.  `ready` may change the working directory and point fds 0 to 2 elsewhere. */
#ifndef WEIR_FS_MOUNT_H
#define WEIR_FS_MOUNT_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>
#include <time.h>

#include "codec/err.h"
#include "codec/source.h"
#include "codec/store.h"
#include "codec/tile.h"

#ifdef __cplusplus
extern "C" {
#endif

enum {
    WEIR_MOUNT_CACHE_BYTES = 64 << 20, /* of decoded tiles, by default */
    WEIR_MOUNT_MAX_THREADS = 16,
};

enum weir_mount_log {
    WEIR_MOUNT_LOG_ERROR,   /* somebody's read failed: a bad tile, a source that is gone */
    WEIR_MOUNT_LOG_WARNING, /* it works, but not as it should */
    WEIR_MOUNT_LOG_INFO,    /* it comes and goes */
    WEIR_MOUNT_LOG_DEBUG,   /* every request; only with options.debug */
};

struct weir_mount_events {
    void *self;
    /* Once, when the kernel has begun to talk to the mount: from now on every system call on it is
     * answered, as soon as this has returned.  Never called when weir_mount_run() fails to mount.
     * From its thread.  May be NULL. */
    void (*ready)(void *self);
    /* One line without a newline and without control characters.  From any thread, several at
     * once.  May be NULL. */
    void (*log)(void *self, enum weir_mount_log level, const char *line);
    /* Adds to *diag, for the log, what only the source knows of a read that ended with err.  From
     * any thread.  May be NULL. */
    void (*explain)(void *self, weir_err err, struct weir_diag *diag);
    /* Once, when a mount that stood is about to end: reads that wait for the source had better fail
     * now, as weir_mount_run() waits for them.  From its thread.  May be NULL. */
    void (*ending)(void *self);
};

/* Zero means the default everywhere but in store, source and mountpoint. */
struct weir_mount_options {
    const struct weir_store *store;   /* borrowed: it outlives weir_mount_run() */
    const struct weir_source *source; /* what the store was opened on; borrowed, likewise */
    const char *store_name;           /* the source column of /proc/mounts; NULL: "weir" */
    const char *mountpoint; /* an existing directory; relative to the working directory at the call;
                               symbolic links and trailing slashes are fine.  Or "/dev/fd/N": N is
                               /dev/fuse, mounted already by somebody who unmounts it, too */
    const char *subdir;     /* the directory of the store that is the root; NULL: all of it */
    struct timespec mtime;  /* of the store: every file shows it as its mtime, ctime and atime */
    const uid_t *uid;       /* owner of everything; NULL: the caller's effective user */
    const gid_t *gid;       /* NULL: the caller's effective group */
    mode_t umask;           /* permission bits that nothing gets, write bits are gone anyway */
    mode_t store_mode;      /* of .weir/store: those of the store itself; 0: 0400 */
    size_t cache_bytes;     /* ceiling of decoded tiles held; default WEIR_MOUNT_CACHE_BYTES */
    unsigned n_threads;     /* that answer requests, at most WEIR_MOUNT_MAX_THREADS; default: one
                               per processor, at least 4 */
    unsigned n_ahead;       /* threads that read ahead, at most WEIR_MOUNT_MAX_THREADS; default: one
                               per processor */
    unsigned idle_seconds;  /* unmount when nobody asked for so long and nothing is open; 0: never.
                                Not of /dev/fd/N, which is somebody else's to unmount */
    const struct weir_kernels *kernels; /* default: weir_kernels_best() */
    bool allow_other; /* users other than the caller may look; for an ordinary user this takes
                         user_allow_other in /etc/fuse.conf */
    bool noexec;      /* nothing there can be executed */
    bool debug;       /* events.log hears of every request */
    struct weir_mount_events events;
};

/* Mounts the store and answers requests until it is unmounted: by umount or fusermount3 -u, by
 * SIGINT, SIGTERM or SIGHUP to this process (where the caller left them at their default; SIGPIPE
 * is ignored meanwhile), or by being idle.  A signal unmounts at once: programs that still read get
 * errors.  On return its mount is gone (but for /dev/fd/N), what others have mounted in its place
 * or over it is not; no thread is left and the signals are as they were.
 *
 * A file's mode is the store's without write bits and without `umask`.  As root, the kernel's
 * read-ahead of the mount is raised to 1 MiB.  One mount per process at a time (libfuse's signal
 * and log hooks are the process's).
 *
 * WEIR_ERR_INVALID      no store, no source, no mountpoint, it is not a directory, too many
 *                       threads, or another mount runs in this process
 * WEIR_ERR_NOT_FOUND    the mountpoint, or `subdir` in the store, does not exist
 * WEIR_ERR_UNSUPPORTED  this system has no /dev/fuse
 * WEIR_ERR_IO           the system refuses the mount; *diag says what libfuse said
 * WEIR_ERR_NOMEM        also when cache_bytes is below WEIR_TILE_BYTES */
WEIR_MUST_CHECK weir_err weir_mount_run(const struct weir_mount_options *options,
                                        struct weir_diag *diag);

/* Unmounts what is mounted at `mountpoint`, if it is a weir mount; as root with umount2(), else
 * through fusermount3.  lazy: also when it is busy; it goes when its last user has gone.
 *
 * WEIR_ERR_NOT_FOUND    nothing there, or not a weir mount
 * WEIR_ERR_IO           busy, or the system refuses; *diag says why */
WEIR_MUST_CHECK weir_err weir_mount_end(const char *mountpoint, bool lazy, struct weir_diag *diag);

#ifdef __cplusplus
}
#endif

#endif
