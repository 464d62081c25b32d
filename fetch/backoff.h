/* backoff.h - how long to wait before another try.  Pure. */
#ifndef WEIR_FETCH_BACKOFF_H
#define WEIR_FETCH_BACKOFF_H

#include <stdint.h>

enum { BACKOFF_MAX_MS = 30000 };

/* Milliseconds before try number `n_failed` + 1: between half and all of base_ms * 2^(n_failed -
 * 1), where `random` says, and never above BACKOFF_MAX_MS.  n_failed of 0 counts as 1.  The jitter
 * keeps those who failed together from coming back together. */
uint32_t backoff_ms(uint32_t base_ms, unsigned n_failed, uint32_t random);

/* The next of a row of random numbers; *state is any number but 0 and is moved on.  For jitter:
 * nothing secret may hang on it. */
uint32_t backoff_random(uint64_t *state);

#endif
