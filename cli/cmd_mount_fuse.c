/* cmd_mount_fuse.c - the mount in the foreground, or behind a fork that reports back. */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <syslog.h>
#include <unistd.h>

#include "cmd_mount.h"
#include "fail.h"
#include "fs/mount.h"
#include "opened.h"
#include "options.h"
#include "output.h"
#include "place.h"

/* What the child tells the parent, once. */
struct report {
    weir_err err;  /* WEIR_OK: the mount answers */
    bool of_store; /* it is the store's, not the folder's */
    struct weir_diag diag;
};

struct job {
    const struct cli *cli;
    struct opened in;
    struct weir_mount_options how;
    unsigned timeout_io; /* seconds; 0: the default */
    int to_parent;       /* -1 in the foreground */
};

static void say_mounted(const struct cli *cli, pid_t pid)
{
    if (cli->json) {
        (void)print_json(cli, json_pack("{s:o,s:o,s:I}", "store", json_text(cli->operand[0]),
                                        "mountpoint", json_text(cli->operand[1]), "pid",
                                        (json_int_t)pid));
        (void)fflush(stdout); /* whoever reads it waits for the mount */
    }
}

static void ready_here(void *self)
{
    const struct job *job = self;
    say_mounted(job->cli, getpid());
    if (job->cli->json || job->cli->quiet || !isatty(STDERR_FILENO))
        return;
    fprintf(stderr, "%s shows %s; ^C unmounts\n", job->cli->operand[1], job->cli->operand[0]);
}

static void log_here(void *self, enum weir_mount_log level, const char *line)
{
    const struct job *job = self;
    if (level == WEIR_MOUNT_LOG_ERROR || !job->cli->quiet)
        fprintf(stderr, "weir mount: %s\n", line);
}

/* The child lets go of the terminal and the folder it was started in. */
static void ready_behind(void *self)
{
    struct job *job = self;
    int null = open("/dev/null", O_RDWR | O_CLOEXEC);
    for (int fd = 0; fd < 3 && null >= 0; fd++)
        (void)dup2(null, fd);
    if (null > 2)
        (void)close(null);
    (void)setsid();
    if (chdir("/") != 0)
        syslog(LOG_WARNING, "cannot leave the working directory: %m");
    struct report report = {.err = WEIR_OK};
    (void)write_all(job->to_parent, &report, sizeof(report));
    (void)close(job->to_parent);
    job->to_parent = -1;
}

static void log_behind(void *self, enum weir_mount_log level, const char *line)
{
    static const int priority[] = {[WEIR_MOUNT_LOG_ERROR] = LOG_ERR,
                                   [WEIR_MOUNT_LOG_WARNING] = LOG_WARNING,
                                   [WEIR_MOUNT_LOG_INFO] = LOG_INFO,
                                   [WEIR_MOUNT_LOG_DEBUG] = LOG_DEBUG};
    (void)self;
    syslog(priority[level], "%s", line);
}

/* Opens the store here: the threads that fetch a remote one do not survive a fork. */
static struct report mount(struct job *job)
{
    struct report report = {.of_store = true};
    report.err = opened_open(&job->in, job->cli->operand[0], job->timeout_io, &report.diag);
    if (report.err)
        return report;
    job->how.store = job->in.store;
    job->how.source = &job->in.src;
    job->how.mtime = job->in.mtime;
    job->how.store_name = job->in.name;
    report.of_store = false;
    report.err = weir_mount_run(&job->how, &report.diag);
    opened_close(&job->in);
    /* The command line is fine: it is what lies at DIR that is not a directory. */
    if (report.err == WEIR_ERR_INVALID)
        report.err = WEIR_ERR_IO;
    return report;
}

static int fail_mount(const struct cli *cli, const struct report *report)
{
    char shown[OPENED_SHOWN];
    const char *store = cli->operand[0];
    if (is_url(store))
        store = url_name(store, shown, sizeof(shown));
    return fail(cli, report->err, report->of_store ? store : cli->operand[1], &report->diag);
}

static int run_here(struct job *job)
{
    job->how.events = (struct weir_mount_events){job, ready_here, log_here};
    struct report report = mount(job);
    return report.err ? fail_mount(job->cli, &report) : EXIT_FINE;
}

/* In the child; its exit code is seen only by whoever adopts it. */
static int run_behind(struct job *job)
{
    openlog("weir", LOG_PID, LOG_DAEMON);
    job->how.events = (struct weir_mount_events){job, ready_behind, log_behind};
    struct report report = mount(job);
    /* Unmounted before anybody could see it: the parent must not wait for ever. */
    if (job->to_parent >= 0) {
        (void)write_all(job->to_parent, &report, sizeof(report));
        (void)close(job->to_parent);
    }
    return exit_code_of(report.err);
}

static bool read_report(int from, struct report *report)
{
    size_t got = 0;
    while (got < sizeof(*report)) {
        ssize_t n = read(from, (char *)report + got, sizeof(*report) - got);
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            return false;
        got += (size_t)n;
    }
    report->diag.text[sizeof(report->diag.text) - 1] = 0;
    return true;
}

static int wait_for_child(const struct cli *cli, int from, pid_t child)
{
    struct report report = {.err = WEIR_ERR_IO};
    if (!read_report(from, &report)) {
        int status = 0;
        (void)waitpid(child, &status, 0);
        weir_diag_set(&report.diag, "the mount's process died (status %d); try -f", status);
        report.err = WEIR_ERR_IO;
    }
    if (report.err) {
        (void)waitpid(child, NULL, 0);
        return fail_mount(cli, &report);
    }
    say_mounted(cli, child);
    return EXIT_FINE;
}

static int run_forked(struct job *job)
{
    int pipes[2];
    pid_t child = -1;
    (void)fflush(NULL); /* or the child prints it again */
    if (pipe2(pipes, O_CLOEXEC) == 0)
        child = fork();
    if (child < 0) {
        struct weir_diag diag;
        weir_diag_set(&diag, "cannot start the mount's process: %s; try -f", strerror(errno));
        return fail(job->cli, WEIR_ERR_IO, NULL, &diag);
    }
    if (child == 0) {
        (void)close(pipes[0]);
        job->to_parent = pipes[1];
        return run_behind(job);
    }
    (void)close(pipes[1]);
    int code = wait_for_child(job->cli, pipes[0], child);
    (void)close(pipes[0]);
    return code;
}

static bool is_number(const char *text, size_t n)
{
    enum { MAX_DIGITS = 6 };
    size_t n_digits = strspn(text, "0123456789");
    return n == n_digits && n > 0 && n <= MAX_DIGITS;
}

/* -o LIST; false: reported. */
static bool parse_list(const struct cli *cli, struct job *job)
{
    const char *list = cli->value[MOUNT_OPTIONS] ? cli->value[MOUNT_OPTIONS] : "";
    while (*list) {
        size_t n = strcspn(list, ",");
        if (n == strlen("allow_other") && strncmp(list, "allow_other", n) == 0)
            job->how.allow_other = true;
        else if (strncmp(list, "timeout_io=", 11) == 0 && is_number(list + 11, n - 11))
            job->timeout_io = (unsigned)strtoul(list + 11, NULL, 10);
        else if (n && !(n == 2 && strncmp(list, "ro", n) == 0)) {
            fail_usage(cli, "-o knows allow_other, timeout_io=SECONDS and ro, not '%.*s'", (int)n,
                       list);
            return false;
        }
        list += n + (list[n] == ',');
    }
    return true;
}

static bool parse(const struct cli *cli, struct job *job)
{
    struct weir_mount_options *how = &job->how;
    uint64_t cache;
    if (!parse_list(cli, job) || !option_bytes(cli, MOUNT_CACHE, WEIR_MOUNT_CACHE_BYTES, &cache) ||
        !option_number(cli, MOUNT_THREADS, WEIR_MOUNT_MAX_THREADS, 0, &how->n_threads))
        return false;
    if (cache < WEIR_TILE_BYTES) {
        fail_usage(cli, "--cache is at least 128Ki, one tile");
        return false;
    }
    how->cache_bytes = cache < SIZE_MAX ? (size_t)cache : SIZE_MAX;
    return true;
}

int mount_run(struct cli *cli)
{
    struct job job = {.cli = cli, .to_parent = -1};
    if (!parse(cli, &job))
        return EXIT_USAGE;
    job.how.mountpoint = cli->operand[1];
    return option_given(cli, MOUNT_FOREGROUND) ? run_here(&job) : run_forked(&job);
}
