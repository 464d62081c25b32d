#include "disk_cache.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "disk_usage.h"

enum {
    /* Without a look at the clock: sleeps of so long each, so many at most. */
    CLAIM_MS = 5,
    MAX_CLAIM_WAITS = 10000 / CLAIM_MS,
    LOCK_MS = 2,
    MAX_LOCK_WAITS = 250,
    CLAIM_TRIES = 3,
    NO_ROOM = -1,  /* no errno */
    TRIM_PART = 8, /* when room is made, one of so many parts is left free */
    FILE_MODE = 0600,
    FOLDER_MODE = 0700,
};

struct disk_cache {
    struct disk_cache_options options; /* folder: its own */
    int folder;                        /* -1: of no use at all */
    int usage;                         /* the count's file; -1: nothing can be kept */
    pthread_mutex_t lock;              /* the count's, within this process */
    _Atomic bool off;                  /* nothing is kept any more */
    _Atomic bool warned;
    _Atomic bool impatient; /* somebody has sat on a claim: nobody is waited for any more */
};

static void complain(struct disk_cache *c, const char *why)
{
    char text[512];
    if (atomic_exchange(&c->warned, true) || !c->options.warn)
        return;
    snprintf(text, sizeof(text), "cache %.300s: %s; nothing more is kept there", c->options.folder,
             why);
    c->options.warn(c->options.self, text);
}

static void turn_off(struct disk_cache *c, const char *why)
{
    atomic_store(&c->off, true);
    complain(c, why);
}

static bool keeps(const struct disk_cache *c)
{
    return c && c->usage >= 0 && !atomic_load(&c->off);
}

static void sleep_ms(long ms)
{
    (void)nanosleep(&(struct timespec){.tv_nsec = ms * 1000000L}, NULL);
}

/* ---- files ---- */

struct name {
    char kept[DISK_NAME_CHARS + 1], part[DISK_PART_CHARS + 1];
};

static void name_of(const struct weir_extent *e, struct name *out)
{
    static const char digit[] = "0123456789abcdef";
    for (size_t i = 0; i < WEIR_DIGEST_BYTES; i++) {
        out->kept[2 * i] = digit[e->sha256[i] >> 4];
        out->kept[2 * i + 1] = digit[e->sha256[i] & 0xf];
    }
    out->kept[DISK_NAME_CHARS] = 0;
    snprintf(out->part, sizeof(out->part), "%s.part", out->kept);
}

/* The extent's file, if it can be that; else -1. */
static int open_kept(const struct disk_cache *c, const struct weir_extent *e)
{
    if (!c || c->folder < 0)
        return -1;
    struct name name;
    name_of(e, &name);
    int fd = openat(c->folder, name.kept, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
    struct stat st;
    if (fd < 0 || (fstat(fd, &st) == 0 && S_ISREG(st.st_mode) && st.st_size == e->bytes))
        return fd;
    (void)close(fd);
    (void)unlinkat(c->folder, name.kept, 0);
    return -1;
}

bool disk_cache_has(const struct disk_cache *cache, const struct weir_extent *e)
{
    int fd = open_kept(cache, e);
    if (fd < 0)
        return false;
    (void)posix_fadvise(fd, 0, 0, POSIX_FADV_WILLNEED);
    (void)close(fd);
    return true;
}

static bool read_all(int fd, uint8_t *bytes, size_t n)
{
    for (size_t done = 0; done < n;) {
        ssize_t got = pread(fd, bytes + done, n - done, (off_t)done);
        if (got <= 0 && !(got < 0 && errno == EINTR))
            return false;
        done += got > 0 ? (size_t)got : 0;
    }
    return true;
}

static bool write_all(int fd, const uint8_t *bytes, size_t n)
{
    for (size_t done = 0; done < n;) {
        ssize_t put = pwrite(fd, bytes + done, n - done, (off_t)done);
        if (put < 0 && errno != EINTR)
            return false;
        done += put > 0 ? (size_t)put : 0;
    }
    return true;
}

bool disk_cache_read(const struct disk_cache *cache, const struct weir_extent *e, uint8_t *bytes)
{
    int fd = open_kept(cache, e);
    if (fd < 0)
        return false;
    bool fine = read_all(fd, bytes, e->bytes);
    if (fine)
        (void)futimens(fd, NULL); /* who was read lately stays */
    (void)close(fd);
    return fine;
}

void disk_cache_drop(const struct disk_cache *cache, const struct weir_extent *e)
{
    if (!cache || cache->folder < 0)
        return;
    struct name name;
    name_of(e, &name);
    (void)unlinkat(cache->folder, name.kept, 0);
}

/* ---- the count ---- */

/* Not for ever: who holds it may be stopped. */
static bool lock(struct disk_cache *c)
{
    pthread_mutex_lock(&c->lock);
    for (int i = 0; i < MAX_LOCK_WAITS; i++) {
        if (flock(c->usage, LOCK_EX | LOCK_NB) == 0)
            return true;
        if (errno != EWOULDBLOCK && errno != EINTR)
            break;
        sleep_ms(LOCK_MS);
    }
    pthread_mutex_unlock(&c->lock);
    return false;
}

static void unlock(struct disk_cache *c)
{
    (void)flock(c->usage, LOCK_UN);
    pthread_mutex_unlock(&c->lock);
}

static bool read_count(const struct disk_cache *c, uint64_t *count)
{
    uint8_t bytes[DISK_USAGE_BYTES + 1];
    ssize_t n = pread(c->usage, bytes, sizeof(bytes), 0);
    return n > 0 && disk_usage_parse(bytes, (size_t)n, count);
}

static bool write_count(const struct disk_cache *c, uint64_t count)
{
    uint8_t bytes[DISK_USAGE_BYTES];
    disk_usage_write(count, bytes);
    return ftruncate(c->usage, sizeof(bytes)) == 0 && write_all(c->usage, bytes, sizeof(bytes));
}

/* Counts n bytes more, of the file `part`, which is as long from now on, so that whoever looks
 * through the folder sees them, too.  Under lock.  0; NO_ROOM: what is in use leaves none; or an
 * errno. */
static int count_more(const struct disk_cache *c, uint64_t n, int part)
{
    uint64_t count, max = c->options.max_bytes, more = disk_usage_of(n);
    if (more > max)
        return NO_ROOM;
    bool known = read_count(c, &count);
    if (!known || count > max - more) {
        uint64_t spare = max / TRIM_PART;
        uint64_t limit = max - more < spare ? 0 : max - more - spare;
        if (!disk_usage_trim(c->folder, limit, &count))
            return EIO;
    }
    if (count > max - more)
        return NO_ROOM;
    return write_count(c, count + more) && ftruncate(part, (off_t)n) == 0 ? 0 : errno;
}

/* ---- claims ---- */

/* 0: got it; EWOULDBLOCK: somebody else has it. */
static int try_claim(const struct disk_cache *c, const char *part, int *claim)
{
    for (int i = 0; i < CLAIM_TRIES; i++) {
        int fd = openat(c->folder, part, O_RDWR | O_CREAT | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC,
                        FILE_MODE);
        if (fd < 0)
            return errno;
        int why = flock(fd, LOCK_EX | LOCK_NB) == 0 ? 0 : errno;
        struct stat own, there;
        /* It may have got its final name, or been removed, before we had the lock. */
        bool same = fstat(fd, &own) == 0 && S_ISREG(own.st_mode) &&
                    fstatat(c->folder, part, &there, AT_SYMLINK_NOFOLLOW) == 0 &&
                    own.st_ino == there.st_ino && own.st_dev == there.st_dev;
        if (!why && same) {
            *claim = fd;
            return 0;
        }
        (void)close(fd);
        if (why)
            return why;
    }
    return EBUSY;
}

bool disk_cache_claim(struct disk_cache *cache, const struct weir_extent *e, bool wait, int *claim)
{
    *claim = DISK_NO_CLAIM;
    if (!keeps(cache))
        return true;
    struct name name;
    name_of(e, &name);
    int why = try_claim(cache, name.part, claim);
    for (int i = 0; why == EWOULDBLOCK && wait && !atomic_load(&cache->impatient); i++) {
        if (i == MAX_CLAIM_WAITS)
            atomic_store(&cache->impatient, true);
        sleep_ms(CLAIM_MS);
        why = try_claim(cache, name.part, claim);
    }
    if (why && why != EWOULDBLOCK && why != EBUSY)
        turn_off(cache, strerror(why));
    return why != EWOULDBLOCK || wait;
}

void disk_cache_let_go(struct disk_cache *cache, const struct weir_extent *e, int claim)
{
    if (claim == DISK_NO_CLAIM)
        return;
    struct name name;
    name_of(e, &name);
    (void)unlinkat(cache->folder, name.part, 0);
    (void)close(claim);
}

/* 0, NO_ROOM or an errno. */
static int keep(struct disk_cache *c, const struct weir_extent *e, int claim, const uint8_t *bytes)
{
    if (!lock(c))
        return EDEADLK;
    int why = count_more(c, e->bytes, claim);
    unlock(c);
    struct name name;
    name_of(e, &name);
    if (!why && (!write_all(claim, bytes, e->bytes) ||
                 renameat(c->folder, name.part, c->folder, name.kept) != 0))
        why = errno;
    return why;
}

void disk_cache_keep(struct disk_cache *cache, const struct weir_extent *e, int claim,
                     const uint8_t *bytes)
{
    if (claim == DISK_NO_CLAIM)
        return;
    int why = keeps(cache) ? keep(cache, e, claim, bytes) : NO_ROOM;
    if (why)
        disk_cache_let_go(cache, e, claim);
    else
        (void)close(claim);
    if (why == EDEADLK)
        turn_off(cache, "another process holds its lock and does not go on");
    else if (why && why != NO_ROOM)
        turn_off(cache, strerror(why));
}

/* ---- birth and death ---- */

static void open_folder(struct disk_cache *c)
{
    const char *folder = c->options.folder;
    if (mkdir(folder, FOLDER_MODE) == 0 || errno == EEXIST)
        c->folder = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (c->folder >= 0)
        c->usage = openat(c->folder, "usage", O_RDWR | O_CREAT | O_NOFOLLOW | O_CLOEXEC, FILE_MODE);
    if (c->usage < 0) {
        turn_off(c, strerror(errno));
        return;
    }
    /* What a process that was killed has left is not left until the folder is full. */
    uint64_t count;
    if (!lock(c))
        return;
    if (disk_usage_trim(c->folder, c->options.max_bytes, &count))
        (void)write_count(c, count);
    unlock(c);
}

weir_err disk_cache_open(const struct disk_cache_options *options, struct disk_cache **out)
{
    struct disk_cache *c = calloc(1, sizeof(*c));
    if (!c)
        return WEIR_ERR_NOMEM;
    pthread_mutex_init(&c->lock, NULL);
    c->folder = c->usage = -1;
    c->options = *options;
    c->options.folder = strdup(options->folder);
    if (!c->options.folder) {
        disk_cache_free(c);
        return WEIR_ERR_NOMEM;
    }
    open_folder(c);
    *out = c;
    return WEIR_OK;
}

void disk_cache_free(struct disk_cache *cache)
{
    if (!cache)
        return;
    if (cache->usage >= 0)
        (void)close(cache->usage);
    if (cache->folder >= 0)
        (void)close(cache->folder);
    pthread_mutex_destroy(&cache->lock);
    free((char *)cache->options.folder);
    free(cache);
}
