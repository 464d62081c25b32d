/* read_loop.c - how fast memory is read: read_loop THREADS prints GB/s.
 *
 * Each thread adds up its own 256 MiB, in huge pages where there are some, eight times, after all
 * of them have written theirs. */
#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <time.h>

enum {
    MOST_THREADS = 64,
    BYTES = 256 << 20,
    HUGE_PAGE = 2 << 20,
    ROUNDS = 8,
    AT_ONCE = 32,
};

static pthread_barrier_t all;

static void *add_up(void *out)
{
    const size_t n = BYTES / sizeof(uint64_t);
    uint64_t *words = aligned_alloc(HUGE_PAGE, BYTES), sum[AT_ONCE] = {0};
    if (!words)
        abort();
    (void)madvise(words, BYTES, MADV_HUGEPAGE); /* a hint */
    for (size_t i = 0; i < n; i++)
        words[i] = i;
    (void)pthread_barrier_wait(&all);
    for (int r = 0; r < ROUNDS; r++)
        for (size_t i = 0; i < n; i += AT_ONCE)
            for (size_t j = 0; j < AT_ONCE; j++)
                sum[j] += words[i + j];
    (void)pthread_barrier_wait(&all);
    for (size_t j = 0; j < AT_ONCE; j++)
        *(uint64_t *)out += sum[j];
    free(words);
    return NULL;
}

static double now(void)
{
    struct timespec t;
    (void)clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

int main(int argc, char **argv)
{
    const unsigned n = argc == 2 ? (unsigned)strtoul(argv[1], NULL, 10) : 0;
    pthread_t thread[MOST_THREADS];
    uint64_t sum[MOST_THREADS] = {0}, total = 0;
    if (n < 1 || n > MOST_THREADS || pthread_barrier_init(&all, NULL, n + 1) != 0)
        return 1;
    for (unsigned i = 0; i < n; i++)
        if (pthread_create(&thread[i], NULL, add_up, &sum[i]) != 0)
            return 1;
    (void)pthread_barrier_wait(&all);
    double began = now();
    (void)pthread_barrier_wait(&all);
    double seconds = now() - began;
    for (unsigned i = 0; i < n; i++) {
        (void)pthread_join(thread[i], NULL);
        total += sum[i];
    }
    printf("%.2f\n", (double)n * BYTES * ROUNDS / seconds / 1e9);
    return total == 1; /* so that it is needed */
}
