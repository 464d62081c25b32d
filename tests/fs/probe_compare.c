/* probe_compare.c - four threads at random offsets, in one way at a time; and page by page. */
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "probe.h"

enum {
    N_THREADS = 4,
    N_ROUNDS = 200,
    MAX_BYTES = 3 << 20, /* of one access */
};

/* One thread's work. */
struct job {
    struct file reference, file;
    const uint8_t *map; /* of the file, for mmap */
    uint64_t seed;
    uint8_t *buffer; /* MAX_BYTES, aligned for O_DIRECT */
    int n_wrong;
    void (*look)(struct job *job, size_t at, size_t n);
};

/* ---- ways to look ---- */

static void look_mmap(struct job *job, size_t at, size_t n)
{
    if (memcmp(job->map + at, job->reference.map + at, n) != 0)
        job->n_wrong++;
}

/* Pages that were read before are dropped now and then, so that they have to be decoded again. */
static void look_pread(struct job *job, size_t at, size_t n)
{
    if (next_random(&job->seed) % 8 == 0)
        (void)posix_fadvise(job->file.fd, 0, 0, POSIX_FADV_DONTNEED);
    ssize_t got = pread(job->file.fd, job->buffer, n, (off_t)at);
    if (got != (ssize_t)n || memcmp(job->buffer, job->reference.map + at, n) != 0)
        job->n_wrong++;
}

static void look_direct(struct job *job, size_t at, size_t n)
{
    at -= at % PAGE_BYTES;
    size_t asked = (n + PAGE_BYTES - 1) / PAGE_BYTES * PAGE_BYTES;
    size_t left = job->reference.bytes - at;
    size_t want = asked < left ? asked : left;
    ssize_t got = pread(job->file.fd, job->buffer, asked, (off_t)at);
    if (got != (ssize_t)want || memcmp(job->buffer, job->reference.map + at, want) != 0)
        job->n_wrong++;
}

/* ---- random accesses ---- */

static void *run_job(void *arg)
{
    struct job *job = arg;
    for (int i = 0; i < N_ROUNDS; i++) {
        size_t at = next_random(&job->seed) % job->reference.bytes;
        size_t limit = i % 4 ? 3 * PAGE_BYTES : MAX_BYTES - PAGE_BYTES;
        size_t n = 1 + next_random(&job->seed) % limit;
        if (n > job->reference.bytes - at)
            n = job->reference.bytes - at;
        job->look(job, at, n);
    }
    return NULL;
}

static int run_jobs(const struct job *pattern)
{
    struct job job[N_THREADS];
    pthread_t thread[N_THREADS];
    int n_wrong = 0;
    for (unsigned i = 0; i < N_THREADS; i++) {
        job[i] = *pattern;
        job[i].seed = i + 1;
        job[i].buffer = aligned_alloc(PAGE_BYTES, MAX_BYTES);
        if (!job[i].buffer || pthread_create(&thread[i], NULL, run_job, &job[i]) != 0)
            die("thread");
    }
    for (unsigned i = 0; i < N_THREADS; i++) {
        pthread_join(thread[i], NULL);
        free(job[i].buffer);
        n_wrong += job[i].n_wrong;
    }
    return n_wrong;
}

int compare_main(const char *how, int argc, char **argv)
{
    if (argc != 2)
        return 2;
    struct job job = {.reference = open_file(argv[0], 0)};
    job.reference.map = map_file(&job.reference, MAP_PRIVATE);
    int n_wrong = 0;
    if (strcmp(how, "mmap") == 0) {
        job.look = look_mmap;
        job.file = open_file(argv[1], 0);
        job.map = map_file(&job.file, MAP_SHARED);
        n_wrong = run_jobs(&job);
        job.map = map_file(&job.file, MAP_PRIVATE);
    } else if (strcmp(how, "pread") == 0) {
        job.look = look_pread;
        job.file = open_file(argv[1], 0);
    } else {
        job.look = look_direct;
        job.file = open_file(argv[1], O_DIRECT);
    }
    n_wrong += run_jobs(&job);
    if (n_wrong || job.file.bytes != job.reference.bytes) {
        printf("%s: %d wrong, %zu bytes for %zu\n", how, n_wrong, job.file.bytes,
               job.reference.bytes);
        return 1;
    }
    return 0;
}

/* ---- page by page ---- */

int pages_main(int argc, char **argv)
{
    if (argc != 2)
        return 2;
    struct file reference = open_file(argv[0], 0), file = open_file(argv[1], 0);
    const uint8_t *map = map_file(&reference, MAP_PRIVATE);
    (void)posix_fadvise(file.fd, 0, 0, POSIX_FADV_RANDOM);
    size_t n_bad = 0, first = 0, last = 0;
    for (size_t at = 0; at < reference.bytes; at += PAGE_BYTES) {
        uint8_t page[PAGE_BYTES];
        size_t want = reference.bytes - at < PAGE_BYTES ? reference.bytes - at : PAGE_BYTES;
        ssize_t got = pread(file.fd, page, PAGE_BYTES, (off_t)at);
        if (got < 0 && errno == EIO) {
            last = at / PAGE_BYTES;
            first = n_bad++ ? first : last;
        } else if (got != (ssize_t)want || memcmp(page, map + at, want) != 0) {
            printf("wrong bytes in page %zu\n", at / PAGE_BYTES);
            return 1;
        }
    }
    printf("%zu %zu %zu\n", n_bad, first, last);
    return 0;
}
