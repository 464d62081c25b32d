/* probe_load.c - readers that go on until somebody takes the mount away from under them. */
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <semaphore.h>
#include <setjmp.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

#include "probe.h"

enum {
    N_THREADS = 16,
    CHUNK_BYTES = 1 << 20,
    FORGET_EVERY = 8, /* accesses; what stays in the page cache never sees an error */
};

int drain_main(int argc, char **argv)
{
    static uint8_t buffer[CHUNK_BYTES];
    if (argc != 1)
        return 2;
    struct file file = open_file(argv[0], 0);
    bool has_begun = false;
    for (off_t at = 0;;) {
        ssize_t got = pread(file.fd, buffer, sizeof(buffer), at);
        if (got < 0)
            return has_begun ? 0 : 1;
        if (!has_begun) {
            puts("reading");
            fflush(stdout);
            has_begun = true;
        }
        at += got;
        if (got == 0) {
            (void)posix_fadvise(file.fd, 0, 0, POSIX_FADV_DONTNEED);
            at = 0;
        }
    }
}

/* ---- load ---- */

struct reader {
    const char *path;
    struct file file, direct;
    uint64_t seed;
    uint8_t *buffer; /* CHUNK_BYTES, aligned for O_DIRECT */
    size_t at;       /* of a sequential reader */
    unsigned n_done;
    sem_t *has_begun;
    bool (*read)(struct reader *r); /* false: an error */
};

static size_t random_place(struct reader *r)
{
    return next_random(&r->seed) % r->file.bytes / PAGE_BYTES * PAGE_BYTES;
}

static bool read_in_order(struct reader *r)
{
    ssize_t got = pread(r->file.fd, r->buffer, CHUNK_BYTES / 4, (off_t)r->at);
    r->at = got > 0 ? r->at + (size_t)got : 0;
    return got >= 0;
}

static bool read_anywhere(struct reader *r)
{
    size_t n = 1 + next_random(&r->seed) % (CHUNK_BYTES / 8);
    return pread(r->file.fd, r->buffer, n, (off_t)random_place(r)) >= 0;
}

static bool read_direct(struct reader *r)
{
    size_t n = (1 + next_random(&r->seed) % 32) * PAGE_BYTES;
    return pread(r->direct.fd, r->buffer, n, (off_t)random_place(r)) >= 0;
}

static bool open_and_read(struct reader *r)
{
    int fd = open(r->path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return false;
    ssize_t got = pread(fd, r->buffer, PAGE_BYTES, (off_t)random_place(r));
    (void)posix_fadvise(fd, 0, 0, POSIX_FADV_DONTNEED);
    (void)close(fd);
    return got >= 0;
}

static _Thread_local sigjmp_buf bus_error;

static void on_bus_error(int signal)
{
    (void)signal;
    siglongjmp(bus_error, 1);
}

static bool touch(const volatile uint8_t *map, size_t bytes)
{
    if (sigsetjmp(bus_error, 1) != 0)
        return false;
    uint8_t sum = 0;
    for (size_t at = 0; at < bytes; at += PAGE_BYTES)
        sum ^= map[at];
    (void)sum;
    return true;
}

static bool map_and_touch(struct reader *r)
{
    size_t at = random_place(r), n = (1 + next_random(&r->seed) % 64) * PAGE_BYTES;
    n = n < r->file.bytes - at ? n : r->file.bytes - at;
    void *map =
        mmap(NULL, n, PROT_READ, r->seed & 1 ? MAP_SHARED : MAP_PRIVATE, r->file.fd, (off_t)at);
    if (map == MAP_FAILED)
        return false;
    bool fine = touch(map, n);
    (void)munmap(map, n);
    return fine;
}

static void *run_reader(void *arg)
{
    struct reader *r = arg;
    while (r->read(r)) {
        if (r->n_done++ == 0)
            sem_post(r->has_begun);
        if (r->n_done % FORGET_EVERY == 0)
            (void)posix_fadvise(r->file.fd, 0, 0, POSIX_FADV_DONTNEED);
    }
    if (r->n_done == 0)
        sem_post(r->has_begun);
    return NULL;
}

static void start_reader(struct reader *r, unsigned i, const char *path, sem_t *has_begun)
{
    static bool (*const reads[])(struct reader *) = {
        read_in_order, read_anywhere, map_and_touch, read_in_order, read_direct, open_and_read,
    };
    *r = (struct reader){.path = path,
                         .file = open_file(path, O_CLOEXEC),
                         .direct = open_file(path, O_DIRECT | O_CLOEXEC),
                         .seed = i + 1,
                         .buffer = aligned_alloc(PAGE_BYTES, CHUNK_BYTES),
                         .has_begun = has_begun,
                         .read = reads[i % (sizeof(reads) / sizeof(reads[0]))]};
    if (!r->buffer || r->file.bytes == 0)
        die(path);
    r->at = random_place(r);
}

/* A reader that hangs is ended by the alarm, with its whole process. */
static void on_alarm(int signal)
{
    (void)signal;
    _exit(1);
}

int load_main(int argc, char **argv)
{
    if (argc < 2)
        return 2;
    (void)sigaction(SIGBUS, &(struct sigaction){.sa_handler = on_bus_error}, NULL);
    (void)sigaction(SIGALRM, &(struct sigaction){.sa_handler = on_alarm}, NULL);
    (void)alarm((unsigned)strtoul(argv[0], NULL, 10));
    struct reader reader[N_THREADS];
    pthread_t thread[N_THREADS];
    sem_t has_begun;
    sem_init(&has_begun, 0, 0);
    for (unsigned i = 0; i < N_THREADS; i++)
        start_reader(&reader[i], i, argv[1 + i % (unsigned)(argc - 1)], &has_begun);
    for (unsigned i = 0; i < N_THREADS; i++)
        if (pthread_create(&thread[i], NULL, run_reader, &reader[i]) != 0)
            die("thread");
    for (unsigned i = 0; i < N_THREADS; i++)
        while (sem_wait(&has_begun) != 0)
            if (errno != EINTR)
                die("sem_wait");
    puts("reading");
    fflush(stdout);
    for (unsigned i = 0; i < N_THREADS; i++) {
        pthread_join(thread[i], NULL);
        free(reader[i].buffer);
    }
    return 0;
}
