/* idle.h - unmounts what nobody uses. */
#ifndef WEIR_FS_IDLE_PRIVATE_H
#define WEIR_FS_IDLE_PRIVATE_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "codec/err.h"

struct log;
struct own_mount;

struct idle {
    const struct own_mount *own;     /* borrowed, as the next two */
    const _Atomic uint64_t *n_heard; /* grows while somebody uses the mount */
    struct log *log;
    unsigned seconds;
    pthread_t thread;
    pthread_mutex_t lock;
    pthread_cond_t stopped;
    bool stop; /* under lock */
    bool runs;
};

/* With own to seconds filled in, starts a thread that unmounts when n_heard
 * has stayed the same for so long and nothing is open.  WEIR_ERR_NOMEM. */
WEIR_MUST_CHECK weir_err idle_start(struct idle *idle);
void idle_stop(struct idle *idle); /* a zeroed one is fine */

#endif
