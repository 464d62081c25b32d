#define FUSE_USE_VERSION 312
#include "fs/mount.h"

#include <errno.h>
#include <fuse_lowlevel.h>
#include <limits.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include "log.h"
#include "ops.h"
#include "reader.h"
#include "tree.h"

enum {
    MIN_THREADS = 4,
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
    unsigned n_threads;
    char *mountpoint;     /* absolute */
    bool mounted_already; /* it is "/dev/fd/N", to be served and not to be mounted */
    struct fuse_session *session;
    struct fuse_loop_config *loop;
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

static unsigned choose_threads(unsigned asked)
{
    if (asked)
        return asked;
    long n = sysconf(_SC_NPROCESSORS_ONLN);
    if (n < MIN_THREADS)
        return MIN_THREADS;
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

static weir_err build_mount(struct run *run)
{
    const struct weir_mount_options *o = run->options;
    run->mount.store = o->store;
    run->mount.events = o->events;
    run->mount.uid = o->uid ? *o->uid : geteuid();
    run->mount.gid = o->gid ? *o->gid : getegid();
    run->mount.umask = o->umask;
    run->mount.mtime = o->mtime;
    run->n_threads = choose_threads(o->n_threads);

    weir_err err = tree_new(o->store, &run->mount.tree);
    if (err)
        return err;
    const struct reader_options reader = {
        .store = o->store,
        .kernels = o->kernels ? o->kernels : weir_kernels_best(),
        .cache_bytes = o->cache_bytes ? o->cache_bytes : WEIR_MOUNT_CACHE_BYTES,
        .n_workers = run->n_threads,
        .log = &run->log,
    };
    return reader_new(&reader, &run->mount.reader);
}

/* The `-o` of the session; NULL when there is no memory.  Freed with free(). */
static char *list_mount_options(const struct weir_mount_options *o)
{
    const char *name = o->store_name ? o->store_name : "weir";
    char fixed[128];
    snprintf(fixed, sizeof(fixed),
             "ro,nosuid,nodev,default_permissions,subtype=weir,max_read=%d%s%s", READER_MAX_BYTES,
             o->allow_other ? ",allow_other" : "", o->debug ? ",debug" : "");
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
    run->session = fuse_session_new(&args, &mount_ops, sizeof(mount_ops), &run->mount);
    fuse_opt_free_args(&args);
    free(list);
    run->loop = fuse_loop_cfg_create();
    if (!run->session || !run->loop)
        return WEIR_ERR_NOMEM;
    fuse_loop_cfg_set_max_threads(run->loop, run->n_threads);
    return WEIR_OK;
}

/* ---- up and down ---- */

/* What fusermount3 has to say, when it is needed, it writes to stderr itself. */
static weir_err put_up(struct run *run)
{
    if (!run->mounted_already && access("/dev/fuse", F_OK) != 0) {
        weir_diag_set(run->diag, "this system has no /dev/fuse");
        return WEIR_ERR_UNSUPPORTED;
    }
    run->handles_signals = fuse_set_signal_handlers(run->session) == 0;
    run->is_mounted =
        run->handles_signals && fuse_session_mount(run->session, run->mountpoint) == 0;
    if (run->is_mounted)
        return WEIR_OK;
    weir_diag_set(run->diag, "cannot mount on %s: %s", run->options->mountpoint,
                  run->log.last_error[0] ? run->log.last_error : "the system refuses");
    return WEIR_ERR_IO;
}

static weir_err serve(struct run *run)
{
    int status = fuse_session_loop_mt(run->session, run->loop);
    /* A positive one is the signal that ended it.  ECONNABORTED is what the kernel says, instead of
     * the ENODEV that libfuse takes for the end, to a thread that was being handed a request (the
     * last file's release, say) in the moment of unmounting. */
    if (status >= 0 || status == -ECONNABORTED)
        return WEIR_OK;
    weir_diag_set(run->diag, "%s: %s", run->options->mountpoint, strerror(-status));
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

static void take_down(struct run *run)
{
    if (run->is_mounted)
        fuse_session_unmount(run->session);
    if (run->handles_signals)
        fuse_remove_signal_handlers(run->session);
    if (run->session)
        fuse_session_destroy(run->session);
    if (run->loop)
        fuse_loop_cfg_destroy(run->loop);
    reader_free(run->mount.reader);
    tree_free(run->mount.tree);
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
