/* storm_ops.c - the ways in which a program can get at the bytes of a file. */
#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/uio.h>
#include <unistd.h>

#include "storm.h"

enum {
    SMALL_MAP_BYTES = 64 << 10, /* of a map that is made for one access */
    UNMAP_EVERY = 32,           /* touches of a lasting map, before its pages are let go */
    FORGET_EVERY = 4096,        /* accesses, before a file's pages leave the page cache */
};

/* ---- what came of it ---- */

static void complain(const struct storm_range *r, const char *what)
{
    fprintf(stderr, "storm: %s, %zu bytes at %zu: %s\n", r->file->path, r->n, r->at, what);
}

static size_t wanted(const struct storm_range *r)
{
    size_t left = r->file->reference.bytes - r->at;
    return r->n < left ? r->n : left;
}

/* got: what the system call returned; bytes: where it put them. */
static void judge(struct storm_thread *t, const struct storm_range *r, const uint8_t *bytes,
                  ssize_t got)
{
    size_t want = wanted(r);
    t->n_bytes += want;
    if (got < 0) {
        t->n_errors++;
        complain(r, strerror(errno));
    } else if ((size_t)got != want) {
        t->n_short++;
        complain(r, "another length");
    } else if (want && memcmp(bytes, r->file->reference.map + r->at, want) != 0) {
        t->n_different++;
        complain(r, "other bytes");
    }
}

static void judge_map(struct storm_thread *t, const struct storm_range *r, const uint8_t *bytes)
{
    judge(t, r, bytes, (ssize_t)wanted(r));
}

/* ---- system calls ---- */

static void op_pread(struct storm_thread *t, const struct storm_range *r)
{
    judge(t, r, t->buffer, pread(r->file->buffered.fd, t->buffer, r->n, (off_t)r->at));
}

/* The next bytes of a run through one file, as a loader reads it; every thread has its own. */
static void op_stream(struct storm_thread *t, const struct storm_range *r)
{
    if (!t->stream.file || t->stream.at >= t->stream.file->reference.bytes)
        t->stream = *r;
    t->stream.n = r->n;
    struct storm_range next = t->stream;
    op_pread(t, &next);
    t->stream.at = next.at + wanted(&next);
}

static void op_preadv(struct storm_thread *t, const struct storm_range *r)
{
    size_t first = next_random(&t->seed) % (r->n + 1);
    size_t second = next_random(&t->seed) % (r->n - first + 1);
    struct iovec part[] = {{t->buffer, first},
                           {t->buffer + first, second},
                           {t->buffer + first + second, r->n - first - second}};
    judge(t, r, t->buffer, preadv(r->file->buffered.fd, part, 3, (off_t)r->at));
}

static void op_direct(struct storm_thread *t, const struct storm_range *r)
{
    struct storm_range whole = *r;
    whole.at -= r->at % PAGE_BYTES;
    whole.n = (r->n + PAGE_BYTES - 1) / PAGE_BYTES * PAGE_BYTES;
    judge(t, &whole, t->buffer, pread(r->file->direct.fd, t->buffer, whole.n, (off_t)whole.at));
}

static void op_willneed(struct storm_thread *t, const struct storm_range *r)
{
    (void)posix_fadvise(r->file->buffered.fd, (off_t)r->at, (off_t)r->n, POSIX_FADV_WILLNEED);
    op_pread(t, r);
}

static void op_open(struct storm_thread *t, const struct storm_range *r)
{
    int fd = open(r->file->path, O_RDONLY | O_CLOEXEC);
    ssize_t got = fd;
    if (fd >= 0 && lseek(fd, (off_t)r->at, SEEK_SET) == (off_t)r->at)
        got = readv(fd, &(struct iovec){t->buffer, r->n}, 1);
    judge(t, r, t->buffer, got);
    if (fd >= 0)
        (void)close(fd);
}

/* ---- maps ---- */

/* Pages that are in a page table stay in memory whatever is done to the page cache. */
static void touch_lasting(struct storm_thread *t, const struct storm_range *r, const uint8_t *map)
{
    judge_map(t, r, map + r->at);
    if (next_random(&t->seed) % UNMAP_EVERY == 0)
        (void)madvise((void *)map, r->file->reference.bytes, MADV_DONTNEED);
}

static void op_shared(struct storm_thread *t, const struct storm_range *r)
{
    if (r->file->shared)
        touch_lasting(t, r, r->file->shared);
}

static void op_private(struct storm_thread *t, const struct storm_range *r)
{
    if (r->file->private)
        touch_lasting(t, r, r->file->private);
}

/* Maps the range, or its beginning, for this access only; advice: -1 for none. */
static void touch_fresh(struct storm_thread *t, const struct storm_range *r, int flags, int advice)
{
    struct storm_range part = *r;
    part.n = part.n < SMALL_MAP_BYTES ? part.n : SMALL_MAP_BYTES;
    part.n = wanted(&part);
    if (part.n == 0)
        return;
    size_t before = part.at % PAGE_BYTES, bytes = before + part.n;
    bool writes = (flags & MAP_TYPE) == MAP_PRIVATE;
    uint8_t *map = mmap(NULL, bytes, PROT_READ | (writes ? PROT_WRITE : 0), flags,
                        r->file->buffered.fd, (off_t)(part.at - before));
    if (map == MAP_FAILED) {
        judge(t, &part, NULL, -1);
        return;
    }
    if (advice >= 0 && madvise(map, bytes, advice) != 0)
        judge(t, &part, NULL, -1);
    judge_map(t, &part, map + before);
    if (writes) /* nobody else may ever see it */
        map[before] ^= 0xff;
    (void)munmap(map, bytes);
}

static void op_write_private(struct storm_thread *t, const struct storm_range *r)
{
    touch_fresh(t, r, MAP_PRIVATE, -1);
}

static void op_populate(struct storm_thread *t, const struct storm_range *r)
{
    touch_fresh(t, r, MAP_SHARED | MAP_POPULATE, -1);
}

static void op_advise_random(struct storm_thread *t, const struct storm_range *r)
{
    touch_fresh(t, r, MAP_SHARED, MADV_RANDOM);
}

static void op_advise_sequential(struct storm_thread *t, const struct storm_range *r)
{
    touch_fresh(t, r, MAP_SHARED, MADV_SEQUENTIAL);
}

static void op_advise_willneed(struct storm_thread *t, const struct storm_range *r)
{
    touch_fresh(t, r, MAP_SHARED, MADV_WILLNEED);
}

/* ---- one of them ---- */

static const struct {
    const char *name;
    unsigned percent;
    void (*run)(struct storm_thread *t, const struct storm_range *r);
} ops[] = {
    {"pread", 22, op_pread},
    {"stream", 18, op_stream},
    {"preadv", 6, op_preadv},
    {"O_DIRECT", 4, op_direct},
    {"willneed", 3, op_willneed},
    {"open", 3, op_open},
    {"MAP_SHARED", 14, op_shared},
    {"MAP_PRIVATE", 10, op_private},
    {"written", 4, op_write_private},
    {"MAP_POPULATE", 6, op_populate},
    {"MADV_RANDOM", 4, op_advise_random},
    {"MADV_SEQUENTIAL", 4, op_advise_sequential},
    {"MADV_WILLNEED", 2, op_advise_willneed},
};
_Static_assert(sizeof(ops) / sizeof(ops[0]) <= STORM_MAX_OPS, "room for the counts");

const char *storm_op_name(unsigned kind)
{
    return kind < sizeof(ops) / sizeof(ops[0]) ? ops[kind].name : NULL;
}

void storm_access(struct storm_thread *t, struct storm_range range)
{
    size_t dice = next_random(&t->seed) % 100;
    unsigned kind = 0;
    if (next_random(&t->seed) % FORGET_EVERY == 0)
        (void)posix_fadvise(range.file->buffered.fd, 0, 0, POSIX_FADV_DONTNEED);
    while (dice >= ops[kind].percent)
        dice -= ops[kind++].percent;
    ops[kind].run(t, &range);
    t->n_of[kind]++;
    t->n_done++;
}
