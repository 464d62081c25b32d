/* fake_gpu.h - between the two halves of a GPU that is none: what is queued, and when it is done;
 * what it does. */
#ifndef WEIR_TESTS_FAKE_GPU_H
#define WEIR_TESTS_FAKE_GPU_H

#include <pthread.h>

#include "cuda/decode.h"
#include "cuda/gpu.h"
#include "cuda/matrix.h"

enum fake_what { COPY, FILL, RECORD, WAIT, DECODE, PACK, UNPACK };

struct fake_op {
    struct fake_op *behind;
    enum fake_what what;
    uint8_t *to;
    const uint8_t *from;
    size_t bytes;
    uint8_t byte;
    struct weir_gpu_event *event;
    uint64_t version;
    struct weir_gpu_batch *batch;
    struct weir_gpu_matrix matrix;
    uint32_t first_row, n_rows;
};

struct weir_gpu_stream {
    struct fake_op *first, *last;
};

struct weir_gpu_event {
    uint64_t recorded, done;
};

_Noreturn void fake_fail(const char *why); /* ends the program */
void *fake_must(void *p);                  /* fails if it is NULL */

extern pthread_mutex_t fake_lock; /* of all of it */

/* From now on what is queued is done at once, and what must come before it; what was queued before
 * is done when something waits for it, or not at all until then. */
void fake_at_once(bool on);

void fake_queue(struct weir_gpu_stream *s, const struct fake_op *op); /* takes the lock */

/* Under the lock. */
void fake_run(struct weir_gpu_stream *s);                       /* all that is queued on it */
void fake_do(const struct fake_op *op);                         /* DECODE, PACK, UNPACK */
void fake_drop_asides(const uint8_t *from, const uint8_t *end); /* of matrices that were there */

#endif
