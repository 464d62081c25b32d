/* answer.h - threads that answer what takes time: reads.
 *
 * One thread hears the kernel's requests and answers at once what needs no reading; a read is a
 * job that it leaves here, so that nothing waits in the kernel's queue behind a tile.  That matters
 * for more than speed: the kernel keeps the pages of a read locked until it is answered, and
 * nobody may store into them meanwhile.  A read that has been heard is in a list, and
 * answer_overlaps() says so.
 *
 * A fixed number of jobs, allocated up front; a thread that leaves one waits while all are in
 * use.  Knows nothing of FUSE or files: how a job is answered is the caller's. */
#ifndef WEIR_FS_ANSWER_PRIVATE_H
#define WEIR_FS_ANSWER_PRIVATE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "codec/err.h"

struct answer;

struct answer_job {
    void *request; /* the caller's */
    uint32_t node;
    uint64_t at;
    size_t n;    /* bytes that are read; 0: none */
    size_t room; /* the caller's */
};

struct answer_options {
    unsigned n_threads;
    /* Answers a job, on any thread; for one thread at a time `thread` (below n_threads) is its
     * own. */
    void (*answer)(void *self, unsigned thread, const struct answer_job *job);
    void *self;
};

/* On error *out is untouched.  WEIR_ERR_NOMEM. */
WEIR_MUST_CHECK weir_err answer_new(const struct answer_options *options, struct answer **out);

/* Starts the threads (after the last fork).  WEIR_ERR_NOMEM when the system refuses all of them. */
WEIR_MUST_CHECK weir_err answer_start(struct answer *a);

/* Leaves a job. */
void answer_later(struct answer *a, const struct answer_job *what);

/* Whether a job that is not answered yet has a byte of [from, to) of `node`. */
bool answer_overlaps(struct answer *a, uint32_t node, uint64_t from, uint64_t to);

/* Lets the threads answer what has been left, and waits for them; NULL is fine. */
void answer_free(struct answer *a);

#endif
