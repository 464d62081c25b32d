#include "idle.h"

#include <errno.h>
#include <time.h>

#include "fs/mount.h"
#include "log.h"
#include "threads.h"
#include "unmount.h"

/* Until `deadline`; false: it is time to stop.  With the lock held. */
static bool sleep_until(struct idle *idle, const struct timespec *deadline)
{
    int status = 0;
    while (!idle->stop && status != ETIMEDOUT)
        status = pthread_cond_timedwait(&idle->stopped, &idle->lock, deadline);
    return !idle->stop;
}

/* Busy is as good as used: somebody has a file open or is in the directory.  The kernel knows, and
 * unmounts only when it is not so.  What somebody has mounted over it is not ours to unmount. */
static void try_unmount(struct idle *idle)
{
    pthread_mutex_unlock(&idle->lock);
    weir_err err = own_mount_end(idle->own, false, NULL);
    pthread_mutex_lock(&idle->lock);
    if (!err)
        log_line(idle->log, WEIR_MOUNT_LOG_INFO, "unmounted: nobody used it for %u s",
                 idle->seconds);
}

static void *run(void *arg)
{
    struct idle *idle = arg;
    uint64_t seen = atomic_load(idle->n_heard);
    struct timespec deadline;
    clock_gettime(CLOCK_MONOTONIC, &deadline);
    pthread_mutex_lock(&idle->lock);
    for (;;) { /* until the mount has ended, which may not be at once */
        deadline.tv_sec += idle->seconds;
        if (!sleep_until(idle, &deadline))
            break;
        if (atomic_load(idle->n_heard) == seen)
            try_unmount(idle);
        seen = atomic_load(idle->n_heard);
        clock_gettime(CLOCK_MONOTONIC, &deadline);
    }
    pthread_mutex_unlock(&idle->lock);
    return NULL;
}

weir_err idle_start(struct idle *idle)
{
    pthread_condattr_t monotonic;
    pthread_condattr_init(&monotonic);
    pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
    pthread_mutex_init(&idle->lock, NULL);
    pthread_cond_init(&idle->stopped, &monotonic);
    pthread_condattr_destroy(&monotonic);
    idle->runs = threads_start(&idle->thread, run, idle);
    if (idle->runs)
        return WEIR_OK;
    pthread_cond_destroy(&idle->stopped);
    pthread_mutex_destroy(&idle->lock);
    return WEIR_ERR_NOMEM;
}

void idle_stop(struct idle *idle)
{
    if (!idle->runs)
        return;
    pthread_mutex_lock(&idle->lock);
    idle->stop = true;
    pthread_cond_signal(&idle->stopped);
    pthread_mutex_unlock(&idle->lock);
    pthread_join(idle->thread, NULL);
    pthread_cond_destroy(&idle->stopped);
    pthread_mutex_destroy(&idle->lock);
    idle->runs = false;
}
