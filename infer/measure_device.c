#include "measure_device.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "gpu_bench.h"

enum {
    N_TIMES = 3,  /* the least time counts */
    N_COPIES = 4, /* at once */
    TILE_ELEMENTS = WEIR_TILE_BYTES / 2,
};

/* The matrices of TinyLlama and Llama 3.1 8B. */
static const struct {
    uint32_t n_rows, n_columns;
} shapes[] = {{2560, 2048}, {11264, 2048}, {2048, 5632}, {4096, 4096},
              {6144, 4096}, {28672, 4096}, {4096, 14336}};

/* ---- weights ---- */

static double uniform(uint64_t *state)
{
    *state = *state * 6364136223846793005U + 1442695040888963407U;
    return ((double)(*state >> 11) + 0.5) / 9007199254740992.0;
}

/* Normally distributed, as weights are. */
static void make_weights(uint16_t *to, size_t n)
{
    uint64_t state = 1;
    for (size_t i = 0; i < n; i++) {
        double r = sqrt(-2 * log(uniform(&state)));
        float f = (float)(0.02 * r * cos(6.283185307179586 * uniform(&state)));
        uint32_t bits;
        memcpy(&bits, &f, sizeof(bits));
        to[i] = (uint16_t)(bits >> 16);
    }
}

/* ---- making ---- */

static weir_err take_memory(struct gpu_bench *b)
{
    for (int i = 0; i < 2; i++)
        b->area[i] = weir_gpu_alloc(b->gpu, AREA_BYTES);
    b->product = weir_gpu_alloc(b->gpu, sizeof(float) * MOST_ROWS * WEIR_GPU_MOST_VECTORS);
    b->x = weir_gpu_alloc(b->gpu, sizeof(float) * MOST_COLUMNS * WEIR_GPU_MOST_VECTORS);
    size_t fragments =
        weir_gpu_vectors_bytes(WEIR_GPU_FRAGMENTS, MOST_COLUMNS, WEIR_GPU_MOST_VECTORS);
    size_t lines = weir_gpu_vectors_bytes(WEIR_GPU_LINES, MOST_COLUMNS, WEIR_GPU_MOST_VECTORS);
    b->vectors = weir_gpu_alloc(b->gpu, fragments > lines ? fragments : lines);
    b->host = weir_gpu_alloc_host(b->gpu, HOST_BYTES);
    b->made = malloc((size_t)N_MADE * WEIR_TILE_BYTES);
    bool fine = b->area[0] && b->area[1] && b->product && b->x && b->vectors && b->host && b->made;
    return fine ? WEIR_OK : WEIR_ERR_NOMEM;
}

static weir_err open_bench(struct gpu_bench *b, int number, struct weir_diag *diag)
{
    weir_err err = weir_gpu_open(number, &b->gpu, diag);
    if (!err)
        err = weir_gpu_stream_new(b->gpu, &b->s);
    if (!err)
        err = weir_gpu_event_new(b->gpu, true, &b->from);
    if (!err)
        err = weir_gpu_event_new(b->gpu, true, &b->to);
    if (!err)
        err = take_memory(b);
    if (err)
        return err;
    err = weir_gpu_blas_new(b->gpu, &b->blas, diag);
    if (err == WEIR_ERR_NOT_FOUND || err == WEIR_ERR_UNSUPPORTED) {
        b->blas = NULL;
        err = WEIR_OK;
    }
    make_weights(b->made, (size_t)N_MADE * TILE_ELEMENTS);
    if (!err)
        err = weir_gpu_fill(b->s, b->x, 0, sizeof(float) * MOST_COLUMNS * WEIR_GPU_MOST_VECTORS);
    return err;
}

static void close_bench(struct gpu_bench *b)
{
    free(b->made);
    if (!b->gpu)
        return;
    weir_gpu_stream_free(b->s);
    weir_gpu_batch_free(b->gpu, b->batch);
    weir_gpu_coding_free(b->gpu, b->coding);
    weir_gpu_blas_free(b->blas);
    weir_gpu_event_free(b->from);
    weir_gpu_event_free(b->to);
    weir_gpu_free_host(b->gpu, b->host);
    for (int i = 0; i < 2; i++)
        weir_gpu_free(b->gpu, b->area[i]);
    weir_gpu_free(b->gpu, b->product);
    weir_gpu_free(b->gpu, b->x);
    weir_gpu_free(b->gpu, b->vectors);
    weir_gpu_close(b->gpu);
}

/* ---- timing ---- */

weir_err gpu_bench_time(struct gpu_bench *b, gpu_queue_fn *queue, void *what, double *out)
{
    double least = 0;
    weir_err err = queue(b, what); /* loads what it needs */
    for (int i = 0; i < N_TIMES && !err; i++) {
        float ms = 0;
        err = weir_gpu_event_record(b->from, b->s);
        if (!err)
            err = queue(b, what);
        if (!err)
            err = weir_gpu_event_record(b->to, b->s);
        if (!err)
            err = weir_gpu_event_wait(b->to);
        if (!err)
            err = weir_gpu_event_ms(b->from, b->to, &ms);
        least = i == 0 || ms < least ? ms : least;
    }
    if (!err && !(least > 0))
        err = WEIR_ERR_IO;
    *out = least * 1e-3;
    return err;
}

/* ---- copies ---- */

static weir_err queue_copy(struct gpu_bench *b, void *what)
{
    weir_err err = WEIR_OK;
    (void)what;
    for (int i = 0; i < N_COPIES && !err; i++)
        err = weir_gpu_copy(b->s, b->area[1], b->area[0], AREA_BYTES);
    return err;
}

static weir_err queue_to_device(struct gpu_bench *b, void *what)
{
    weir_err err = WEIR_OK;
    (void)what;
    for (int i = 0; i < N_COPIES && !err; i++)
        err = weir_gpu_to_device(b->s, b->area[0], b->host, HOST_BYTES);
    return err;
}

static weir_err queue_to_host(struct gpu_bench *b, void *what)
{
    weir_err err = WEIR_OK;
    (void)what;
    for (int i = 0; i < N_COPIES && !err; i++)
        err = weir_gpu_to_host(b->s, b->host, b->area[0], HOST_BYTES);
    return err;
}

static weir_err measure_copies(struct gpu_bench *b, struct weir_device_measured *out)
{
    double copy = 1, in = 1, back = 1;
    memset(b->host, 1, HOST_BYTES);
    weir_err err = gpu_bench_time(b, queue_copy, NULL, &copy);
    if (!err)
        err = gpu_bench_time(b, queue_to_device, NULL, &in);
    if (!err)
        err = gpu_bench_time(b, queue_to_host, NULL, &back);
    out->copy = 2.0 * N_COPIES * AREA_BYTES / copy;
    out->to_device = 1.0 * N_COPIES * HOST_BYTES / in;
    out->to_host = 1.0 * N_COPIES * HOST_BYTES / back;
    return err;
}

weir_err weir_device_measure(int number, struct weir_device_measured *out, struct weir_diag *diag)
{
    struct gpu_bench b = {.gpu = NULL};
    struct weir_gpu_info info;
    struct weir_device_measured m = {.n_crossings = 0};
    weir_err err = open_bench(&b, number, diag);
    if (!err)
        err = measure_copies(&b, &m);
    if (!err)
        err = gpu_bench_decode(&b, &m);
    for (size_t i = 0; i < sizeof(shapes) / sizeof(shapes[0]) && !err; i++) {
        m.crossing[i] = (struct weir_device_crossing){.n_rows = shapes[i].n_rows,
                                                      .n_columns = shapes[i].n_columns};
        err = gpu_bench_shape(&b, &m.crossing[i]);
        m.n_crossings = i + 1;
    }
    if (!err) {
        weir_gpu_info(b.gpu, &info);
        (void)memcpy(m.name, info.name, sizeof(m.name));
        m.memory_bytes = info.memory_bytes;
        *out = m;
    }
    close_bench(&b);
    return err;
}
