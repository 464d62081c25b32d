/* threads.h - a thread that leaves the process's signals alone: they are for the one that waits
 * for them. */
#ifndef WEIR_FS_THREADS_PRIVATE_H
#define WEIR_FS_THREADS_PRIVATE_H

#include <pthread.h>
#include <signal.h>
#include <stdbool.h>

static inline bool threads_start(pthread_t *thread, void *(*run)(void *), void *arg)
{
    sigset_t all, before;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    bool started = pthread_create(thread, NULL, run, arg) == 0;
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    return started;
}

#endif
