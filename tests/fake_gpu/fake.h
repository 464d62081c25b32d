/* fake.h - cuda/ without a GPU: the same headers, computed by plain loops, so that what is built on
 * them is tested where there is none.
 *
 * Device memory is the heap's (a sanitizer sees what is outside of it), filled with NaNs.  Work is
 * done as late as it may be: when somebody waits for it, each stream by itself as far as that
 * takes, or, at random, further.  So pinned memory that is written too early, or read before an
 * event, shows, and so does a stream that does not wait for another.  Recorded work is kept and
 * done when its launch is. */
#ifndef WEIR_TESTS_FAKE_GPU_H
#define WEIR_TESTS_FAKE_GPU_H

#include <math.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "cuda/gpu.h"

/* The call that queues work which comes n-th from now, and it alone, ends with WEIR_ERR_IO; 0:
 * none. */
void fake_gpu_fail(long n);
/* Calls that queued work so far, recorded ones counted when they are done. */
long fake_gpu_calls(void);

/* Work that began to be recorded and, from the n-th from now on, cannot be; 0: all can. */
void fake_gpu_fail_recording(long n);

/* Of a fake stream: does `work` with a copy of `size` bytes of *what, later. */
typedef void (*fake_work)(const void *what);
enum { FAKE_MOST_BYTES = 256 };
weir_err fake_queue(struct weir_gpu_stream *s, fake_work work, const void *what, size_t size);

static inline float fake_widen(uint16_t bits)
{
    uint32_t wide = (uint32_t)bits << 16;
    float v;
    memcpy(&v, &wide, sizeof(v));
    return v;
}

static inline uint16_t fake_round(float v)
{
    uint32_t bits;
    memcpy(&bits, &v, sizeof(bits));
    if (isnan(v))
        return 0x7fff;
    return (uint16_t)((bits + 0x7fff + (bits >> 16 & 1)) >> 16);
}

#endif
