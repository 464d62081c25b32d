/* Mounts and unmounts a store again and again in one process, which must not grow by it.
 *
 *   cycles STORE DIR FILE N SLACK
 *
 * FILE is one of the store's; its beginning is read through every mount.  From cycle 100 to the
 * last the process may grow by SLACK KiB of memory, and by no thread and no descriptor.  As root
 * it unmounts with umount2(), else with fusermount3. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <semaphore.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/wait.h>
#include <unistd.h>

#include "codec/source.h"
#include "codec/store.h"
#include "fs/mount.h"

enum {
    SETTLED = 100,      /* cycles, after which nothing may grow */
    READ_BYTES = 65536, /* of the file */
    MAX_SECONDS = 20,   /* of one cycle */
};

struct cycle {
    struct weir_mount_options options;
    struct weir_diag diag;
    weir_err err;
    bool is_ready;
    sem_t ready; /* or failed */
};

struct size {
    long kib, n_threads, n_fds;
};

_Noreturn static void give_up(const char *what, const char *why)
{
    fprintf(stderr, "cycles: %s: %s\n", what, why);
    exit(1);
}

/* ---- one cycle ---- */

static void on_ready(void *self)
{
    struct cycle *c = self;
    c->is_ready = true;
    sem_post(&c->ready);
}

static void on_log(void *self, enum weir_mount_log level, const char *line)
{
    (void)self;
    if (level <= WEIR_MOUNT_LOG_WARNING)
        fprintf(stderr, "cycles: %s\n", line);
}

static void *run_mount(void *arg)
{
    struct cycle *c = arg;
    c->err = weir_mount_run(&c->options, &c->diag);
    sem_post(&c->ready);
    return NULL;
}

static void unmount(const char *dir)
{
    if (geteuid() == 0) {
        if (umount2(dir, 0) != 0)
            give_up(dir, strerror(errno));
        return;
    }
    int status = 0;
    pid_t child = fork();
    if (child == 0) {
        execlp("fusermount3", "fusermount3", "-u", dir, (char *)NULL);
        _exit(127);
    }
    if (child < 0 || waitpid(child, &status, 0) != child || status != 0)
        give_up(dir, "fusermount3 failed");
}

static size_t read_beginning(const char *path, uint8_t *to)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    ssize_t got = fd < 0 ? -1 : pread(fd, to, READ_BYTES, 0);
    if (got <= 0)
        give_up(path, got ? strerror(errno) : "empty");
    (void)close(fd);
    return (size_t)got;
}

static size_t run_cycle(struct cycle *c, const char *path, uint8_t *to)
{
    pthread_t thread;
    (void)alarm(MAX_SECONDS); /* its default action ends the process */
    c->is_ready = false;
    sem_init(&c->ready, 0, 0);
    if (pthread_create(&thread, NULL, run_mount, c) != 0)
        give_up("thread", strerror(errno));
    while (sem_wait(&c->ready) != 0)
        continue;
    size_t n = 0;
    if (c->is_ready) {
        n = read_beginning(path, to);
        unmount(c->options.mountpoint);
    }
    pthread_join(thread, NULL);
    sem_destroy(&c->ready);
    if (c->err || !c->is_ready)
        give_up(c->options.mountpoint, c->err ? c->diag.text : "never ready");
    return n;
}

/* ---- how big the process is ---- */

static long status_line(const char *name)
{
    FILE *f = fopen("/proc/self/status", "re");
    char line[256];
    long value = -1;
    while (f && value < 0 && fgets(line, sizeof(line), f))
        if (strncmp(line, name, strlen(name)) == 0)
            value = strtol(line + strlen(name), NULL, 10);
    if (f)
        (void)fclose(f);
    return value;
}

static struct size measure(void)
{
    struct size s = {.kib = status_line("VmRSS:"), .n_threads = status_line("Threads:")};
    DIR *fds = opendir("/proc/self/fd");
    while (fds && readdir(fds))
        s.n_fds++;
    if (fds)
        (void)closedir(fds);
    return s;
}

static int judge(const struct size *before, const struct size *after, long slack_kib)
{
    printf(
        "from cycle %d to the last: %ld KiB to %ld, %ld threads to %ld, %ld descriptors to %ld\n",
        SETTLED, before->kib, after->kib, before->n_threads, after->n_threads, before->n_fds,
        after->n_fds);
    bool grows = after->kib > before->kib + slack_kib || after->n_threads > before->n_threads ||
                 after->n_fds > before->n_fds;
    return grows ? 1 : 0;
}

int main(int argc, char **argv)
{
    if (argc != 6)
        give_up("usage", "cycles STORE DIR FILE N SLACK");
    static uint8_t first[READ_BYTES], now[READ_BYTES];
    struct weir_source source;
    struct weir_store *store = NULL;
    struct weir_diag diag = {""};
    if (weir_source_open_file(argv[1], &source, &diag) ||
        weir_store_open(&source, &store, &diag) != WEIR_OK)
        give_up(argv[1], diag.text);
    struct cycle cycle = {
        .options = {.store = store, .source = &source, .mountpoint = argv[2]},
    };
    cycle.options.events =
        (struct weir_mount_events){.self = &cycle, .ready = on_ready, .log = on_log};
    char path[4096];
    snprintf(path, sizeof(path), "%s/%s", argv[2], argv[3]);
    long n_cycles = strtol(argv[4], NULL, 10);
    struct size before = {0};
    for (long i = 1; i <= n_cycles; i++) {
        size_t n = run_cycle(&cycle, path, i == 1 ? first : now);
        if (i > 1 && memcmp(first, now, n) != 0)
            give_up(path, "other bytes than the first time");
        if (i == SETTLED)
            before = measure();
    }
    struct size after = measure();
    weir_store_free(store);
    weir_source_close(&source);
    return n_cycles > SETTLED ? judge(&before, &after, strtol(argv[5], NULL, 10)) : 0;
}
