/* storm_main.c - a storm's files, threads and verdict.  (storm_ops.c: what each access does) */
#include <fcntl.h>
#include <ftw.h>
#include <getopt.h>
#include <inttypes.h>
#include <limits.h>
#include <pthread.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "storm.h"

enum {
    MAX_THREADS = 64,
    MAX_FILES = 256, /* with three descriptors each */
    MAX_BAD = 8,     /* accesses of one thread, before it gives up */
    LOG2_MAX_BYTES = 20,
    CLOCK_EVERY = 256, /* accesses */
};

struct storm {
    const char *reference, *shown; /* both files, or both directories */
    uint64_t n_ops, seed;
    unsigned n_threads;
    double seconds; /* 0: no limit */
    struct storm_file file[MAX_FILES];
    size_t n_files;
};

/* ---- files ---- */

static struct storm storm = {.n_ops = 100000, .n_threads = 16, .seed = 1};

static void add_file(const char *reference, const char *shown)
{
    if (storm.n_files == MAX_FILES)
        return;
    struct storm_file *f = &storm.file[storm.n_files++];
    f->path = strdup(shown);
    /* Mapped with all its pages, so that emptying the page cache does not slow it down. */
    f->reference = open_file(reference, O_CLOEXEC);
    f->reference.map = map_file(&f->reference, MAP_PRIVATE | MAP_POPULATE);
    (void)close(f->reference.fd);
    f->buffered = open_file(shown, O_CLOEXEC);
    f->direct = open_file(shown, O_CLOEXEC | O_DIRECT);
    if (!f->path || f->buffered.bytes != f->reference.bytes) {
        fprintf(stderr, "storm: %s: another length\n", shown);
        exit(1);
    }
    f->shared = map_file(&f->buffered, MAP_SHARED);
    f->private = map_file(&f->buffered, MAP_PRIVATE);
}

static int visit(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
    (void)st;
    (void)ftw;
    char shown[PATH_MAX];
    if (type == FTW_F) {
        snprintf(shown, sizeof(shown), "%s%s", storm.shown, path + strlen(storm.reference));
        add_file(path, shown);
    }
    return 0;
}

static void find_files(void)
{
    if (nftw(storm.reference, visit, 16, FTW_PHYS) != 0)
        die(storm.reference);
    if (storm.n_files == 0) {
        fprintf(stderr, "storm: %s: no files\n", storm.reference);
        exit(2);
    }
}

/* ---- where to look ---- */

/* Of three files one is any; two are where a byte is that was taken at random from all bytes. */
static const struct storm_file *choose_file(struct storm_thread *t)
{
    size_t any = next_random(&t->seed) % t->n_files;
    if (t->n_file_bytes == 0 || next_random(&t->seed) % 3 == 0)
        return &t->file[any];
    uint64_t at = next_random(&t->seed) % t->n_file_bytes;
    const struct storm_file *f = t->file;
    for (; at >= f->reference.bytes; f++)
        at -= f->reference.bytes;
    return f;
}

/* Between 1 byte and 1 MiB, mostly little: the smaller of two numbers whose logarithms are evenly
 * spread has a mean of 11 KiB. */
static size_t choose_bytes(struct storm_thread *t)
{
    unsigned one = (unsigned)(next_random(&t->seed) % LOG2_MAX_BYTES);
    unsigned other = (unsigned)(next_random(&t->seed) % LOG2_MAX_BYTES);
    size_t power = (size_t)1 << (one < other ? one : other);
    return power + next_random(&t->seed) % power;
}

static struct storm_range choose_range(struct storm_thread *t)
{
    struct storm_range r = {.file = choose_file(t), .n = choose_bytes(t)};
    size_t bytes = r.file->reference.bytes;
    size_t dice = next_random(&t->seed);
    if (dice % 16 == 0) /* at the end, or beyond it */
        r.at = bytes - next_random(&t->seed) % ((bytes < r.n ? bytes : r.n) + 1);
    else
        r.at = bytes ? next_random(&t->seed) % bytes : 0;
    return r;
}

static void *run_thread(void *arg)
{
    struct storm_thread *t = arg;
    while (t->n_done < t->n_ops && t->n_different + t->n_short + t->n_errors < MAX_BAD) {
        storm_access(t, choose_range(t));
        if (t->deadline > 0 && t->n_done % CLOCK_EVERY == 0 && seconds_now() > t->deadline)
            break;
    }
    return NULL;
}

/* ---- all of it ---- */

static void on_bus_error(int signal)
{
    static const char said[] = "storm: a page of a map cannot be read (SIGBUS)\n";
    (void)signal;
    (void)!write(STDERR_FILENO, said, sizeof(said) - 1);
    _exit(1);
}

static void add_counts(struct storm_thread *sum, const struct storm_thread *t)
{
    sum->n_done += t->n_done;
    sum->n_bytes += t->n_bytes;
    sum->n_different += t->n_different;
    sum->n_short += t->n_short;
    sum->n_errors += t->n_errors;
    for (unsigned i = 0; i < STORM_MAX_OPS; i++)
        sum->n_of[i] += t->n_of[i];
}

static struct storm_thread run_threads(void)
{
    struct storm_thread thread[MAX_THREADS] = {0}, sum = {0};
    pthread_t id[MAX_THREADS];
    uint64_t n_file_bytes = 0;
    for (size_t i = 0; i < storm.n_files; i++)
        n_file_bytes += storm.file[i].reference.bytes;
    for (unsigned i = 0; i < storm.n_threads; i++) {
        thread[i].file = storm.file;
        thread[i].n_files = storm.n_files;
        thread[i].n_file_bytes = n_file_bytes;
        thread[i].n_ops = storm.n_ops / storm.n_threads + (i < storm.n_ops % storm.n_threads);
        thread[i].deadline = storm.seconds > 0 ? seconds_now() + storm.seconds : 0;
        thread[i].seed = storm.seed * MAX_THREADS + i;
        thread[i].buffer = aligned_alloc(PAGE_BYTES, STORM_MAX_BYTES + PAGE_BYTES);
        if (!thread[i].buffer || pthread_create(&id[i], NULL, run_thread, &thread[i]) != 0)
            die("thread");
    }
    for (unsigned i = 0; i < storm.n_threads; i++) {
        pthread_join(id[i], NULL);
        free(thread[i].buffer);
        add_counts(&sum, &thread[i]);
    }
    return sum;
}

static int report(const struct storm_thread *sum, double seconds)
{
    printf("storm: %" PRIu64 " of %" PRIu64
           " accesses, %u threads, %zu files, %.1f GB, %.1f s: %" PRIu64 " differences, %" PRIu64
           " short, %" PRIu64 " errors;",
           sum->n_done, storm.n_ops, storm.n_threads, storm.n_files, 1e-9 * (double)sum->n_bytes,
           seconds, sum->n_different, sum->n_short, sum->n_errors);
    for (unsigned i = 0; storm_op_name(i); i++)
        printf(" %s %" PRIu64, storm_op_name(i), sum->n_of[i]);
    putchar('\n');
    bool fine = sum->n_done == storm.n_ops && !sum->n_different && !sum->n_short && !sum->n_errors;
    return fine ? 0 : 1;
}

static int parse(int argc, char **argv)
{
    static const struct option options[] = {
        {"ops", required_argument, NULL, 'n'},
        {"threads", required_argument, NULL, 't'},
        {"seed", required_argument, NULL, 's'},
        {"seconds", required_argument, NULL, 'l'},
        {0},
    };
    for (int key; (key = getopt_long(argc, argv, "", options, NULL)) != -1;) {
        uint64_t value = key == '?' ? 0 : strtoull(optarg, NULL, 10);
        if (key == 'n')
            storm.n_ops = value;
        else if (key == 't')
            storm.n_threads = (unsigned)value;
        else if (key == 's')
            storm.seed = value;
        else if (key == 'l')
            storm.seconds = (double)value;
        else
            return -1;
    }
    return storm.n_threads && storm.n_threads <= MAX_THREADS ? optind : -1;
}

int storm_main(int argc, char **argv)
{
    int first = parse(argc + 1, argv - 1); /* getopt() skips the name before the arguments */
    if (first < 0 || argc + 1 - first != 2) {
        fputs("probe storm: see usage\n", stderr);
        return 2;
    }
    storm.reference = argv[first - 1];
    storm.shown = argv[first];
    (void)sigaction(SIGBUS, &(struct sigaction){.sa_handler = on_bus_error}, NULL);
    find_files();
    double start = seconds_now();
    struct storm_thread sum = run_threads();
    return report(&sum, seconds_now() - start);
}
