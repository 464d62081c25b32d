/* pool.h - threads that share out numbered pieces of work.
 *
 * A piece is taken by whichever thread is free: what it computes must not depend on which one that
 * is, nor on the order.  The caller works too, as worker 0, and returns when all is done.  One run
 * at a time. */
#ifndef WEIR_INFER_POOL_PRIVATE_H
#define WEIR_INFER_POOL_PRIVATE_H

#include <stddef.h>

#include "codec/err.h"

enum { POOL_MAX_THREADS = 256 };

struct pool; /* opaque */

/* Does piece `unit`.  worker < pool_threads(): for what a thread has of its own. */
typedef weir_err (*pool_work)(void *self, size_t unit, unsigned worker, struct weir_diag *diag);

/* n_threads: 1 to POOL_MAX_THREADS; 0: one per processor.  Fewer where the system refuses them.
 * WEIR_ERR_NOMEM. */
WEIR_MUST_CHECK weir_err pool_new(unsigned n_threads, struct pool **out);
void pool_free(struct pool *p); /* NULL is fine */
unsigned pool_threads(const struct pool *p);

/* How many pool_new() would try to have. */
unsigned pool_threads_for(unsigned n_threads);

/* Pieces 0 .. n_units - 1.  After an error no further piece is begun; the first one is returned,
 * with its text in *diag. */
WEIR_MUST_CHECK weir_err pool_run(struct pool *p, pool_work work, void *self, size_t n_units,
                                  struct weir_diag *diag);

#endif
