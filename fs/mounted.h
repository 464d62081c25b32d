/* mounted.h - a mount that stands: what the answers to the kernel's requests are made from. */
#ifndef WEIR_FS_MOUNTED_PRIVATE_H
#define WEIR_FS_MOUNTED_PRIVATE_H

#include <stdatomic.h>
#include <stdint.h>
#include <sys/types.h>
#include <time.h>

#include "codec/source.h"
#include "codec/store.h"
#include "fs/mount.h"

struct ahead;
struct answer;
struct fuse_lowlevel_ops;
struct fuse_session;
struct log;
struct reader;
struct tree;

/* The session's user data.  While the session runs only the counters change. */
struct mount {
    const struct weir_store *store;   /* borrowed, as all pointers here */
    const struct weir_source *source; /* of the store */
    uint64_t revision;                /* of the source, when it was mounted */
    struct log *log;
    const char *store_name;
    struct tree *tree;
    struct reader *reader;
    struct answer *answer; /* of reads */
    struct answer *slow;   /* of what may take long, one at a time: reads do not wait for it */
    unsigned slow_worker;  /* the reader's that it has */
    struct ahead *ahead;
    struct fuse_session *session;
    uid_t uid;
    gid_t gid;
    mode_t umask;
    struct timespec mtime;
    struct timespec started; /* CLOCK_MONOTONIC */
    size_t cache_bytes;
    bool is_up;                  /* the kernel has begun to talk */
    mode_t store_mode;           /* of .weir/store */
    bool hears_opens;            /* the kernel tells of every open(); else only of the first */
    _Atomic bool stops;          /* what has not been begun is answered with an error */
    _Atomic uint64_t n_heard;    /* requests of all kinds: whether somebody uses the mount */
    _Atomic uint64_t n_requests; /* of these, the ones that are not about .weir */
    _Atomic uint64_t n_reads, read_bytes, n_errors; /* of these, reads */
};

enum { MOUNT_DIGEST_CHARS = 2 * WEIR_DIGEST_BYTES };

/* The store's digest in hexadecimal. */
void mount_digest(const struct mount *m, char out[MOUNT_DIGEST_CHARS + 1]);
void mount_hex(const uint8_t digest[WEIR_DIGEST_BYTES], char out[MOUNT_DIGEST_CHARS + 1]);

extern const struct fuse_lowlevel_ops mount_ops;

/* Answers a read; what struct answer_options wants.  `self` is the mount. */
struct answer_job;
void mount_answer(void *self, unsigned thread, const struct answer_job *job);

/* The same for the ratio of a file, as getxattr asks for it with `room` bytes. */
void mount_answer_ratio(void *self, unsigned thread, const struct answer_job *job);

/* Puts bytes into the page cache; what struct ahead_options wants.  `self` is the mount. */
void mount_store(void *self, uint32_t file, uint64_t at, const uint8_t *bytes, size_t n);

#endif
