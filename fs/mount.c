#define FUSE_USE_VERSION 312
#include "fs/mount.h"

#include <errno.h>
#include <fcntl.h>
#include <fuse_lowlevel.h>
#include <limits.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include "ahead.h"
#include "answer.h"
#include "hear.h"
#include "idle.h"
#include "kernel_ahead.h"
#include "log.h"
#include "mounted.h"
#include "reader.h"
#include "tree.h"
#include "unmount.h"

enum {
    MIN_THREADS = 4,
    KERNEL_AHEAD_BYTES = 1 << 20,
    /* The kernel asks for as much again while the reader is in what it asked for before; and who
     * says POSIX_FADV_SEQUENTIAL gets twice as much. */
    GUARD_WINDOWS = 2,
    FUSE_MAJOR = 10, /* of /dev/fuse; Linux' list of devices has it */
    FUSE_MINOR = 229,
};

/* libfuse's log hook has no argument to say whose log it is, and its signal handlers serve one
 * session: so one mount per process, and this is its log. */
static struct log *_Atomic hooked_log;

static void hear_libfuse(enum fuse_log_level level, const char *format, va_list args)
{
    struct log *log = atomic_load(&hooked_log);
    if (!log)
        return;
    log_vline(log,
              level <= FUSE_LOG_ERR       ? WEIR_MOUNT_LOG_ERROR
              : level == FUSE_LOG_WARNING ? WEIR_MOUNT_LOG_WARNING
              : level == FUSE_LOG_DEBUG   ? WEIR_MOUNT_LOG_DEBUG
                                          : WEIR_MOUNT_LOG_INFO,
              format, args);
}

/* What weir_mount_run() takes down again. */
struct run {
    const struct weir_mount_options *options;
    struct weir_diag *diag;
    struct log log;
    struct mount mount;
    struct idle idle;
    unsigned n_threads, n_ahead;
    char *mountpoint;     /* absolute */
    struct own_mount own; /* the mount at it */
    bool mounted_already; /* it is "/dev/fd/N", to be served and not to be mounted */
    bool handles_signals, is_mounted;
};

/* ---- what is asked for ---- */

static weir_err check_options(const struct weir_mount_options *o, struct weir_diag *diag)
{
    if (o->store && o->source && o->mountpoint && o->n_threads <= WEIR_MOUNT_MAX_THREADS &&
        o->n_ahead <= WEIR_MOUNT_MAX_THREADS)
        return WEIR_OK;
    weir_diag_set(diag, "a mount takes a store, its source, a mountpoint and at most %d threads",
                  WEIR_MOUNT_MAX_THREADS);
    return WEIR_ERR_INVALID;
}

static unsigned choose_threads(unsigned asked, unsigned least)
{
    if (asked)
        return asked;
    long n = sysconf(_SC_NPROCESSORS_ONLN);
    if (n < (long)least)
        return least;
    return n < WEIR_MOUNT_MAX_THREADS ? (unsigned)n : WEIR_MOUNT_MAX_THREADS;
}

/* Whether it is /dev/fuse, opened and mounted by somebody else, and passed as "/dev/fd/N". */
static bool is_passed_device(const char *path)
{
    static const char folder[] = "/dev/fd/";
    const char *number = path + strlen(folder);
    struct stat st;
    if (strncmp(path, folder, strlen(folder)) != 0 || !*number ||
        number[strspn(number, "0123456789")] || strlen(number) > 9)
        return false;
    return fstat(atoi(number), &st) == 0 && S_ISCHR(st.st_mode) &&
           st.st_rdev == makedev(FUSE_MAJOR, FUSE_MINOR);
}

/* Absolute, because unmounting names it again and `ready` may change the working directory. */
static weir_err find_mountpoint(struct run *run)
{
    const char *path = run->options->mountpoint;
    if (is_passed_device(path)) {
        run->mounted_already = true;
        run->mountpoint = strdup(path); /* libfuse knows what it means */
        return run->mountpoint ? WEIR_OK : WEIR_ERR_NOMEM;
    }
    run->mountpoint = realpath(path, NULL);
    struct stat st;
    if (!run->mountpoint || stat(run->mountpoint, &st) != 0) {
        int why = errno;
        weir_diag_set(run->diag, "%s: %s", path, strerror(why));
        return why == ENOENT || why == ENOTDIR ? WEIR_ERR_NOT_FOUND : WEIR_ERR_IO;
    }
    if (!S_ISDIR(st.st_mode)) {
        weir_diag_set(run->diag, "%s: not a directory; name an existing one", path);
        return WEIR_ERR_INVALID;
    }
    return WEIR_OK;
}

/* ---- the parts ---- */

static weir_err build_tree(struct run *run)
{
    const struct weir_mount_options *o = run->options;
    weir_err err = tree_new(o->store, o->subdir, &run->mount.tree);
    if (err == WEIR_ERR_NOT_FOUND)
        weir_diag_set(run->diag, "%s: the store has no such directory", o->subdir);
    return err;
}

static weir_err build_reader(struct run *run)
{
    const struct weir_mount_options *o = run->options;
    const struct reader_options reader = {
        .store = o->store,
        .kernels = o->kernels ? o->kernels : weir_kernels_best(),
        .cache_bytes = run->mount.cache_bytes,
        .n_workers = run->n_threads + run->n_ahead + 1,
        .log = &run->log,
    };
    return reader_new(&reader, &run->mount.reader);
}

static weir_err build_answer(struct run *run)
{
    const struct answer_options answer = {
        .n_threads = run->n_threads,
        .answer = mount_answer,
        .self = &run->mount,
    };
    const struct answer_options slow = {
        .n_threads = 1,
        .answer = mount_answer_ratio,
        .self = &run->mount,
    };
    weir_err err = answer_new(&answer, &run->mount.answer);
    return err ? err : answer_new(&slow, &run->mount.slow);
}

static weir_err build_mount(struct run *run)
{
    const struct weir_mount_options *o = run->options;
    struct mount *m = &run->mount;
    m->store = o->store;
    m->source = o->source;
    m->log = &run->log;
    m->store_name = o->store_name ? o->store_name : "";
    m->uid = o->uid ? *o->uid : geteuid();
    m->gid = o->gid ? *o->gid : getegid();
    m->umask = o->umask;
    m->mtime = o->mtime;
    m->store_mode = o->store_mode ? o->store_mode & 0444 : 0400;
    m->hears_opens = o->idle_seconds > 0; /* each of them is a sign of life */
    m->cache_bytes = o->cache_bytes ? o->cache_bytes : WEIR_MOUNT_CACHE_BYTES;
    clock_gettime(CLOCK_MONOTONIC, &m->started);
    run->n_threads = choose_threads(o->n_threads, MIN_THREADS);
    run->n_ahead = choose_threads(o->n_ahead, 1);
    m->slow_worker = run->n_threads + run->n_ahead;

    weir_err err = build_tree(run);
    if (!err)
        err = build_reader(run);
    return err ? err : build_answer(run);
}

/* The `-o` of the session; NULL when there is no memory.  Freed with free(). */
static char *list_mount_options(const struct weir_mount_options *o)
{
    const char *name = o->store_name ? o->store_name : "weir";
    char fixed[128];
    snprintf(fixed, sizeof(fixed),
             "ro,nosuid,nodev,default_permissions,subtype=weir,max_read=%d%s%s%s", READER_MAX_BYTES,
             o->allow_other ? ",allow_other" : "", o->noexec ? ",noexec" : "",
             o->debug ? ",debug" : "");
    size_t n = strlen("fsname=") + strlen(name) + 1;
    char *source = malloc(n);
    char *list = NULL;
    if (!source)
        return NULL;
    snprintf(source, n, "fsname=%s", name);
    bool fine = fuse_opt_add_opt(&list, fixed) == 0 && fuse_opt_add_opt_escaped(&list, source) == 0;
    free(source);
    if (fine)
        return list;
    free(list);
    return NULL;
}

static weir_err new_session(struct run *run)
{
    char *list = list_mount_options(run->options);
    if (!list)
        return WEIR_ERR_NOMEM;
    char program[] = "weir", dash_o[] = "-o";
    char *argv[] = {program, dash_o, list, NULL};
    struct fuse_args args = FUSE_ARGS_INIT(3, argv);
    run->mount.session = fuse_session_new(&args, &mount_ops, sizeof(mount_ops), &run->mount);
    fuse_opt_free_args(&args);
    free(list);
    return run->mount.session ? WEIR_OK : WEIR_ERR_NOMEM;
}

/* ---- up and down ---- */

/* What fusermount3 has to say, when it is needed, it writes to stderr itself. */
static weir_err put_up(struct run *run)
{
    if (!run->mounted_already && access("/dev/fuse", F_OK) != 0) {
        weir_diag_set(run->diag, "this system has no /dev/fuse");
        return WEIR_ERR_UNSUPPORTED;
    }
    run->handles_signals = fuse_set_signal_handlers(run->mount.session) == 0;
    run->is_mounted =
        run->handles_signals && fuse_session_mount(run->mount.session, run->mountpoint) == 0;
    if (run->is_mounted && !run->mounted_already)
        own_mount_find(&run->own, run->mountpoint, fuse_session_fd(run->mount.session));
    if (run->is_mounted)
        return WEIR_OK;
    weir_diag_set(run->diag, "cannot mount on %s: %s", run->options->mountpoint,
                  run->log.last_error[0] ? run->log.last_error : "the system refuses");
    return WEIR_ERR_IO;
}

/* How far the kernel reads ahead can be changed, and is known, once it has begun to talk. */
static weir_err build_ahead(struct run *run)
{
    /* Where it is not known, it may be somebody else's mount, who may have raised it. */
    size_t kernel_bytes = run->own.device[0]
                              ? kernel_ahead_raise(run->own.device, KERNEL_AHEAD_BYTES)
                              : (size_t)KERNEL_AHEAD_BYTES;
    const struct ahead_options ahead = {
        .tree = run->mount.tree,
        .reader = run->mount.reader,
        .first_worker = run->n_threads,
        .answer = run->mount.answer,
        .n_threads = run->n_ahead,
        .ahead_bytes = run->mount.cache_bytes / 2,
        .guard_bytes = (uint64_t)GUARD_WINDOWS * kernel_bytes,
        .store = mount_store,
        .self = &run->mount,
    };
    return ahead_new(&ahead, &run->mount.ahead);
}

static weir_err start_threads(struct run *run)
{
    weir_err err = answer_start(run->mount.answer);
    if (!err)
        err = answer_start(run->mount.slow);
    if (!err)
        err = ahead_start(run->mount.ahead);
    if (err || !run->options->idle_seconds)
        return err;
    if (!run->own.device[0]) {
        log_line(&run->log, WEIR_MOUNT_LOG_WARNING,
                 "%s: it cannot be told what is mounted there; stays mounted when nobody uses it",
                 run->mountpoint);
        return WEIR_OK;
    }
    run->idle.own = &run->own;
    run->idle.n_heard = &run->mount.n_heard;
    run->idle.log = &run->log;
    run->idle.seconds = run->options->idle_seconds;
    return idle_start(&run->idle);
}

static weir_err serve(struct run *run)
{
    const struct weir_mount_events *events = &run->options->events;
    int why = hear(run->mount.session, &run->mount.is_up);
    if (!why && run->mount.is_up) {
        weir_err err = build_ahead(run);
        if (!err)
            err = start_threads(run);
        if (err)
            return err;
        if (events->ready)
            events->ready(events->self);
        why = hear(run->mount.session, NULL);
    }
    if (!why)
        return WEIR_OK;
    weir_diag_set(run->diag, "%s: %s", run->options->mountpoint, strerror(why));
    return WEIR_ERR_IO;
}

static weir_err set_up_and_serve(struct run *run)
{
    weir_err err = find_mountpoint(run);
    if (!err)
        err = build_mount(run);
    if (!err)
        err = new_session(run);
    if (!err)
        err = put_up(run);
    return err ? err : serve(run);
}

static bool ahead_is_done(void *self)
{
    return ahead_stopped(self);
}

/* The mount goes first, so that nobody waits for what may take long.  Who stores into the page
 * cache may be waiting for an answer: requests are heard and answered until that has ended. */
static void take_down(struct run *run)
{
    struct mount *m = &run->mount;
    const struct weir_mount_events *events = &run->options->events;
    if (run->is_mounted && events->ending)
        events->ending(events->self);
    if (run->is_mounted) /* may be gone, or somewhere below another */
        (void)!own_mount_end(&run->own, true, NULL);
    idle_stop(&run->idle);
    atomic_store(&m->stops, true);
    if (m->ahead) {
        ahead_stop(m->ahead);
        hear_until(m->session, ahead_is_done, m->ahead);
        ahead_free(m->ahead);
    }
    answer_free(m->slow);
    answer_free(m->answer);
    if (run->is_mounted) {
        own_mount_hide(&run->own);
        fuse_session_unmount(m->session);
    }
    if (run->handles_signals)
        fuse_remove_signal_handlers(m->session);
    if (m->session)
        fuse_session_destroy(m->session);
    reader_free(m->reader);
    tree_free(m->tree);
    free(run->mountpoint);
}

weir_err weir_mount_run(const struct weir_mount_options *options, struct weir_diag *diag)
{
    weir_err err = check_options(options, diag);
    if (err)
        return err;
    struct run run = {.options = options, .diag = diag};
    log_init(&run.log, &options->events);
    struct log *none = NULL;
    if (!atomic_compare_exchange_strong(&hooked_log, &none, &run.log)) {
        weir_diag_set(diag, "this process has a mount already");
        log_end(&run.log);
        return WEIR_ERR_INVALID;
    }
    fuse_set_log_func(hear_libfuse);
    err = set_up_and_serve(&run);
    take_down(&run);
    fuse_set_log_func(NULL);
    atomic_store(&hooked_log, NULL);
    log_end(&run.log);
    return err;
}
