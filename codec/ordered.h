/* ordered.h - a line of jobs: many threads work, one at a time finishes, in the order of the jobs.
 *
 * A job goes through three steps: `next` names it, `work` does it, `finish` hands its result on.
 * work runs on all threads at once; next and finish run in the order of the jobs, each on one
 * thread at a time (but next of a later job may run beside finish of an earlier one).  Between next
 * and finish a job owns a slot, a number below n_slots: what it needs room for is the caller's and
 * found by that number, so memory is bounded and nothing is allocated here. */
#ifndef WEIR_CODEC_ORDERED_PRIVATE_H
#define WEIR_CODEC_ORDERED_PRIVATE_H

#include <stdbool.h>
#include <stdint.h>

#include "codec/err.h"

enum {
    ORDERED_MAX_THREADS = 16,
    ORDERED_MAX_SLOTS = ORDERED_MAX_THREADS + ORDERED_MAX_THREADS / 4 + 1,
};

/* diag is never NULL and private to the call until it returns an error. */
struct ordered_line {
    void *self;
    /* Describes the next job in the memory of `slot`; *more = false: there are no more. */
    weir_err (*next)(void *self, unsigned slot, bool *more, struct weir_diag *diag);
    /* worker < n_threads: which thread this is, for what a thread keeps between jobs. */
    weir_err (*work)(void *self, unsigned slot, unsigned worker, struct weir_diag *diag);
    weir_err (*finish)(void *self, unsigned slot, struct weir_diag *diag);
};

/* 1 to ORDERED_MAX_THREADS; asked 0: one per processor.  Never more than there are jobs. */
unsigned ordered_threads(unsigned asked, uint64_t n_jobs);

/* Enough that finish can lag by a quarter of the threads before one of them waits. */
unsigned ordered_slots(unsigned n_threads);

/* Runs the line dry, on the calling thread (worker 0) and n_threads - 1 others; on fewer when the
 * system refuses threads.  The first error stops it and is returned when every thread has left,
 * with its text in *diag (which stays untouched when the step that failed wrote none). */
WEIR_MUST_CHECK weir_err ordered_run(const struct ordered_line *line, unsigned n_threads,
                                     struct weir_diag *diag);

#endif
