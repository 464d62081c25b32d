/* cmd_mount_fuse.c - the mount in the foreground, or behind a fork that reports back. */
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <syslog.h>
#include <unistd.h>

#include "behind.h"
#include "cmd.h"
#include "cmd_mount.h"
#include "fail.h"
#include "fs/mount.h"
#include "opened.h"
#include "output.h"

/* What an error is about. */
enum subject { SUBJECT_DIR, SUBJECT_STORE, SUBJECT_NONE };

struct job {
    const struct cli *cli;
    const struct mount_order *order;
    const char *store; /* for messages */
    struct opened in;
    struct weir_mount_options how;
    char *store_name; /* absolute, for /proc/mounts; NULL: as in messages */
    int mount_ns;     /* -1: ours */
    enum weir_mount_log loglevel;
    bool to_syslog;
    struct behind behind; /* in the background */
    char shown[OPENED_SHOWN];
};

/* ---- what is told ---- */

static void say_mounted(const struct job *job, pid_t pid)
{
    if (job->cli->json) {
        (void)print_json(job->cli,
                         json_pack("{s:o,s:o,s:I}", "store", json_text(job->store), "mountpoint",
                                   json_text(job->order->dir), "pid", (json_int_t)pid));
        (void)fflush(stdout); /* whoever reads it waits for the mount */
    }
}

static void log_line(void *self, enum weir_mount_log level, const char *line)
{
    static const int priority[] = {[WEIR_MOUNT_LOG_ERROR] = LOG_ERR,
                                   [WEIR_MOUNT_LOG_WARNING] = LOG_WARNING,
                                   [WEIR_MOUNT_LOG_INFO] = LOG_INFO,
                                   [WEIR_MOUNT_LOG_DEBUG] = LOG_DEBUG};
    const struct job *job = self;
    if (level > job->loglevel)
        return;
    if (job->to_syslog)
        syslog(priority[level], "%s: %s", job->order->dir, line);
    else
        fprintf(stderr, "weir mount: %s\n", line);
}

static void warn_of_cache(void *self, const char *text)
{
    log_line(self, WEIR_MOUNT_LOG_WARNING, text);
}

static void explain(void *self, weir_err err, struct weir_diag *diag)
{
    const struct job *job = self;
    (void)opened_explain(&job->in, err, diag);
}

/* Nobody waits for a server any more. */
static void ending(void *self)
{
    const struct job *job = self;
    opened_cancel(&job->in);
}

static void ready_here(void *self)
{
    const struct job *job = self;
    say_mounted(job, getpid());
    if (job->cli->json || job->cli->quiet || !isatty(STDERR_FILENO))
        return;
    fprintf(stderr, "%s shows %s; ^C unmounts\n", job->order->dir, job->store);
}

static void ready_behind(void *self)
{
    struct job *job = self;
    /* Nobody was told that it is mounted, so it must not be. */
    if (!behind_ready(&job->behind, behind_fd_of(job->order->dir)))
        (void)kill(getpid(), SIGTERM);
}

/* ---- what is asked for ---- */

static weir_err check_digest(const struct job *job, struct weir_diag *diag)
{
    const struct mount_settings *s = &job->order->settings;
    const uint8_t *digest = weir_store_info(job->in.store)->digest;
    if (!s->has_digest || memcmp(digest, s->digest, WEIR_DIGEST_BYTES) == 0)
        return WEIR_OK;
    char is[HEX_DIGEST], wanted[HEX_DIGEST];
    weir_diag_set(diag, "its digest is %s, not the %s of -o digest; it is another store",
                  hex_digest(is, digest), hex_digest(wanted, s->digest));
    return WEIR_ERR_MISMATCH;
}

static weir_err open_store(struct job *job, struct weir_diag *diag)
{
    /* enter_namespace() leaves a client's thread where it is, in the working directory, too. */
    if (job->order->mount_ns && is_url(job->order->store) && chdir("/") != 0) {
        weir_diag_set(diag, "/: %s", strerror(errno));
        return WEIR_ERR_IO;
    }
    const struct mount_settings *s = &job->order->settings;
    const struct remote_options remote = {.timeout_seconds = s->timeout_io,
                                          .cache_folder = s->cache_dir,
                                          .cache_bytes = s->cache_size,
                                          .self = job,
                                          .warn = warn_of_cache};
    weir_err err = opened_open_whole(&job->in, job->order->store, s->base, &remote, diag);
    return err ? err : check_digest(job, diag);
}

/* A process in the namespace, or the file of one. */
static weir_err open_namespace(struct job *job, struct weir_diag *diag)
{
    const char *name = job->order->mount_ns;
    if (!name)
        return WEIR_OK;
    char path[64];
    if (name[strspn(name, "0123456789")] == 0) {
        snprintf(path, sizeof(path), "/proc/%.20s/ns/mnt", name);
        name = path;
    }
    job->mount_ns = open(name, O_RDONLY | O_CLOEXEC);
    if (job->mount_ns >= 0)
        return WEIR_OK;
    weir_diag_set(diag, "mount namespace %s: %s", name, strerror(errno));
    return WEIR_ERR_IO;
}

/* Later than the store is opened: that lies in our namespace (mount(8), --namespace).  So do the
 * names and certificates that a client's thread looks up, with which we must share nothing here. */
static weir_err enter_namespace(const struct job *job, struct weir_diag *diag)
{
    if (job->mount_ns < 0 || (unshare(CLONE_FS) == 0 && setns(job->mount_ns, CLONE_NEWNS) == 0))
        return WEIR_OK;
    weir_diag_set(diag, "mount namespace %s: %s", job->order->mount_ns, strerror(errno));
    return WEIR_ERR_IO;
}

static void fill_options(struct job *job)
{
    const struct mount_settings *s = &job->order->settings;
    struct weir_mount_options *how = &job->how;
    how->store = job->in.store;
    how->source = &job->in.src;
    how->mtime = job->in.mtime;
    how->store_mode = job->in.mode;
    /* As mount(8) compares it with fstab, from any directory. */
    job->store_name = is_url(job->order->store) ? NULL : realpath(job->order->store, NULL);
    how->store_name = job->store_name ? job->store_name : job->store;
    how->mountpoint = job->order->dir;
    how->subdir = s->subdir;
    how->uid = s->has_uid ? &s->uid : NULL;
    how->gid = s->has_gid ? &s->gid : NULL;
    how->umask = s->umask;
    how->cache_bytes = s->cache_bytes;
    how->n_threads = s->n_threads;
    how->idle_seconds = s->idle_seconds;
    how->allow_other = s->allow_other;
    how->noexec = s->noexec;

    bool here = job->order->foreground;
    how->debug = job->loglevel == WEIR_MOUNT_LOG_DEBUG;
    job->to_syslog = !here || s->to_syslog;
    how->events = (struct weir_mount_events){.self = job,
                                             .ready = here ? ready_here : ready_behind,
                                             .log = log_line,
                                             .explain = explain,
                                             .ending = ending};
}

/* ---- here and behind ---- */

/* Opens the store in the process that will read it: a client's threads do not survive a fork. */
static weir_err prepare(struct job *job, enum subject *subject, struct weir_diag *diag)
{
    *subject = SUBJECT_STORE;
    weir_err err = open_store(job, diag);
    if (err)
        return err;
    *subject = SUBJECT_NONE;
    err = open_namespace(job, diag);
    if (err)
        return err;
    fill_options(job);
    return enter_namespace(job, diag);
}

static weir_err mount(struct job *job, enum subject *subject, struct weir_diag *diag)
{
    weir_err err = prepare(job, subject, diag);
    if (err)
        return err;
    if (job->to_syslog)
        openlog("weir", LOG_PID, LOG_DAEMON);
    *subject = SUBJECT_DIR;
    err = weir_mount_run(&job->how, diag);
    /* The command line is fine: it is what lies at DIR that is not a directory. */
    return err == WEIR_ERR_INVALID ? WEIR_ERR_IO : err;
}

static int report_failure(const struct job *job, weir_err err, enum subject subject,
                          struct weir_diag *diag)
{
    if (subject != SUBJECT_DIR)
        return fail(job->cli, err, subject == SUBJECT_STORE ? job->store : NULL, diag);
    if (err == WEIR_ERR_IO && job->order->settings.allow_other && geteuid() != 0) {
        char text[sizeof(diag->text)];
        memcpy(text, diag->text, sizeof(text));
        weir_diag_set(diag, "%.400s; allow_other takes user_allow_other in /etc/fuse.conf", text);
    }
    bool named = strstr(diag->text, job->order->dir);
    return fail(job->cli, err, named ? NULL : job->order->dir, diag);
}

static int run_here(struct job *job)
{
    struct weir_diag diag = {""};
    enum subject subject;
    weir_err err = mount(job, &subject, &diag);
    return err ? report_failure(job, err, subject, &diag) : EXIT_FINE;
}

static int run_behind(struct job *job)
{
    struct weir_diag diag = {""};
    enum subject subject;
    weir_err err = behind_fork(&job->behind, &diag);
    if (err)
        return fail(job->cli, err, NULL, &diag);
    if (job->behind.child == 0) {
        err = mount(job, &subject, &diag);
        if (!err && job->behind.pipe >= 0)
            err = WEIR_ERR_CANCELLED; /* ended before anybody could see it */
        behind_failed(&job->behind, err, (int)subject, &diag);
        return exit_code_of(err); /* seen only by whoever adopts it */
    }
    int about = SUBJECT_DIR;
    err = behind_wait(&job->behind, &about, &diag);
    if (err)
        return report_failure(job, err, (enum subject)about, &diag);
    say_mounted(job, job->behind.child);
    return EXIT_FINE;
}

static int run_fake(struct job *job)
{
    struct weir_diag diag = {""};
    enum subject subject;
    weir_err err = prepare(job, &subject, &diag);
    struct stat st;
    if (!err && (stat(job->order->dir, &st) != 0 || !S_ISDIR(st.st_mode))) {
        weir_diag_set(&diag, "%s: not an existing directory", job->order->dir);
        subject = SUBJECT_NONE;
        err = WEIR_ERR_NOT_FOUND;
    }
    return err ? report_failure(job, err, subject, &diag) : EXIT_FINE;
}

static enum weir_mount_log choose_loglevel(const struct cli *cli, const struct mount_order *order)
{
    if (order->settings.has_loglevel)
        return order->settings.loglevel;
    return order->foreground && cli->quiet ? WEIR_MOUNT_LOG_ERROR : WEIR_MOUNT_LOG_INFO;
}

int mount_start(const struct cli *cli, const struct mount_order *order)
{
    struct job job = {.cli = cli,
                      .order = order,
                      .store = order->store,
                      .mount_ns = -1,
                      .loglevel = choose_loglevel(cli, order)};
    if (is_url(order->store))
        job.store = url_name(order->store, job.shown, sizeof(job.shown));
    if (!order->foreground)
        behind_close_inherited(behind_fd_of(order->store), behind_fd_of(order->dir));
    int code = order->fake ? run_fake(&job) : order->foreground ? run_here(&job) : run_behind(&job);
    opened_close(&job.in);
    free(job.store_name);
    if (job.mount_ns >= 0)
        (void)close(job.mount_ns);
    return code;
}

weir_err mount_end(const char *dir, bool lazy, struct weir_diag *diag)
{
    return weir_mount_end(dir, lazy, diag);
}
