/* gpu_bench.h - what the measurements of a GPU share: memory, made-up weights, a clock. */
#ifndef WEIR_INFER_GPU_BENCH_PRIVATE_H
#define WEIR_INFER_GPU_BENCH_PRIVATE_H

#include "codec/tile.h"
#include "cuda/decode.h"
#include "cuda/matrix.h"
#include "measure_device.h"

enum {
    AREA_BYTES = 512 << 20, /* of device memory, twice: more than any cache */
    HOST_BYTES = 128 << 20,
    N_MADE = 16, /* tiles of weights that are made; the others are copies */
    MOST_COLUMNS = 14336,
    MOST_ROWS = 28672,
};

/* What a measurement has; device memory but for host and made. */
struct gpu_bench {
    struct weir_gpu *gpu;
    struct weir_gpu_stream *s;
    struct weir_gpu_event *from, *to;
    char *area[2]; /* AREA_BYTES */
    float *product, *x;
    void *vectors;
    void *host;     /* pinned */
    uint16_t *made; /* N_MADE tiles of weights */
    struct weir_gpu_blas *blas;
    struct weir_gpu_coding *coding;
    struct weir_gpu_batch *batch;
};

typedef weir_err gpu_queue_fn(struct gpu_bench *b, void *what);

/* The least time that the device takes for what queue() queues, seconds. */
WEIR_MUST_CHECK weir_err gpu_bench_time(struct gpu_bench *b, gpu_queue_fn *queue, void *what,
                                        double *out);

/* gpu_bench_decode.c: out->decode. */
WEIR_MUST_CHECK weir_err gpu_bench_decode(struct gpu_bench *b, struct weir_device_measured *out);

/* gpu_bench_products.c: of c's shape, the rest of *c. */
WEIR_MUST_CHECK weir_err gpu_bench_shape(struct gpu_bench *b, struct weir_device_crossing *c);

#endif
