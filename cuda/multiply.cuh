/* multiply.cuh - the kernel of weir_gpu_multiply(), for all forms, any number of vectors. */
#ifndef WEIR_CUDA_MULTIPLY_CUH
#define WEIR_CUDA_MULTIPLY_CUH

#include <stdint.h>

#include "cuda/ops.h"

enum { MULTIPLY_MOST_NORMED = 4096 /* columns of a vector that is normed on the way */ };

/* What a launch is about; on the host and as the kernel's parameter. */
struct multiply_job {
    const uint8_t *weights; /* the first unit, or the first row */
    const uint32_t *lines;
    const uint32_t *steps; /* WEIR_GPU_Q8 */
    uint2 high;
    uint32_t n_rows, n_columns;
    uint32_t n_tiles, n_steps; /* of 16 rows; of 64 columns */
    uint32_t least, n_more;    /* tiles (or pairs) of a block; blocks that have one more */
    uint32_t pass_tiles;       /* that a block does side by side, at most */
    uint32_t two_steps;        /* 1: two steps of a single tile are on their way */
    const uint4 *x;            /* of the first group that this launch is about */
    uint32_t x_stride;         /* from a step to the next, in 16 bytes */
    uint32_t n; /* vectors from that group on; more than the kernel is made for are left */
    float *y;
    size_t y_stride;
    bool fresh;
};

/* What stands around the product of a single vector. */
struct multiply_around {
    struct weir_gpu_norm norm; /* the vector is what this gives */
    struct weir_gpu_gate gate; /* out NULL: there is none.  Else tiles are pairs */
};

/* Queues it for vectors in `groups` groups of 8. */
struct weir_gpu_stream;
weir_err multiply_packed(struct weir_gpu_stream *s, const struct multiply_job *job,
                         uint32_t groups);
weir_err multiply_q8(struct weir_gpu_stream *s, const struct multiply_job *job, uint32_t groups);
weir_err multiply_rows(struct weir_gpu_stream *s, const struct multiply_job *job, uint32_t groups);

/* For one. */
weir_err multiply_packed_around(struct weir_gpu_stream *s, const struct multiply_job *job,
                                const struct multiply_around *around);
weir_err multiply_q8_around(struct weir_gpu_stream *s, const struct multiply_job *job,
                            const struct multiply_around *around);
weir_err multiply_rows_around(struct weir_gpu_stream *s, const struct multiply_job *job,
                              const struct multiply_around *around);

#endif
