/* ahead.h - threads that decode before it is asked for, and put what is wanted later rather than
 * at once into the kernel's page cache.
 *
 * Storing a page waits, and cannot be interrupted, while the kernel has it locked for a read that
 * is not answered yet.  So
 *   - it is not done where a read is known, nor where a stream may be about to read;
 *   - where it happens all the same, the wait ends with the answer: no thread that answers needs
 *     anything of a thread that stores (no pin without slots to spare, no lock);
 *   - somebody must answer requests until ahead_stopped(). */
#ifndef WEIR_FS_AHEAD_PRIVATE_H
#define WEIR_FS_AHEAD_PRIVATE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "codec/err.h"
#include "codec/store.h"
#include "fs/streams.h"

struct ahead;
struct answer;
struct reader;
struct tree;

struct ahead_options {
    const struct tree *tree;
    struct reader *reader;
    unsigned first_worker; /* the reader's worker that thread 0 takes; the others follow */
    struct answer *answer; /* knows the reads that are not answered yet */
    unsigned n_threads;
    uint64_t ahead_bytes, guard_bytes; /* as in struct weir_streams_options */
    /* Puts n bytes at `at` of node `file` into the page cache. */
    void (*store)(void *self, uint32_t file, uint64_t at, const uint8_t *bytes, size_t n);
    void *self;
};

/* Everything is borrowed.  On error *out is untouched.  WEIR_ERR_NOMEM. */
WEIR_MUST_CHECK weir_err ahead_new(const struct ahead_options *options, struct ahead **out);

/* Starts the threads (after the last fork).  WEIR_ERR_NOMEM when the system refuses all of them. */
WEIR_MUST_CHECK weir_err ahead_start(struct ahead *a);

/* A read of node `file` that is about to be answered. */
void ahead_saw(struct ahead *a, uint32_t file, uint64_t at, size_t n, bool is_direct);

struct weir_streams_counts ahead_counts(struct ahead *a);

/* Asks the threads to end; whether they have. */
void ahead_stop(struct ahead *a);
bool ahead_stopped(struct ahead *a);

/* Waits for the threads; NULL is fine. */
void ahead_free(struct ahead *a);

#endif
