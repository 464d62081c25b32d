#include "measure.h"

#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "keep.h"
#include "kernels.h"
#include "pool.h"

enum {
    N_COLS = 4096,
    UNIT_ROWS = 64,
    N_TIMES = 3,
    HIGH_BYTES = 256,
    ALIGNMENT = 64,
};

struct bench {
    struct pool *pool;
    const struct math_kernels *kernels;
    size_t n_rows;
    uint16_t *plain;
    struct weir_resident *resident;
    float *x, *to;
};

static double seconds(void)
{
    struct timespec t;
    (void)clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

/* Numbers between -1 and 1, as weights are: few exponents. */
static void make_row(uint16_t *row, uint64_t seed)
{
    uint64_t state = seed * 0x9e3779b97f4a7c15U + 1;
    for (size_t i = 0; i < N_COLS; i++) {
        state = state * 6364136223846793005U + 1442695040888963407U;
        float f = (float)(int32_t)(state >> 32) / 2147483648.0F;
        uint32_t bits;
        memcpy(&bits, &f, sizeof(bits));
        row[i] = (uint16_t)(bits >> 16);
    }
}

static weir_err fill_unit(void *self, size_t unit, unsigned worker, struct weir_diag *diag)
{
    struct bench *b = self;
    weir_err err = WEIR_OK;
    (void)worker;
    (void)diag;
    for (size_t r = unit * UNIT_ROWS; r < (unit + 1) * UNIT_ROWS && !err; r++) {
        make_row(b->plain + r * N_COLS, r);
        err = weir_resident_put(b->resident, r, b->plain + r * N_COLS);
    }
    return err;
}

static weir_err plain_unit(void *self, size_t unit, unsigned worker, struct weir_diag *diag)
{
    struct bench *b = self;
    (void)worker;
    (void)diag;
    const struct rows w = {.at = (const uint8_t *)(b->plain + unit * UNIT_ROWS * N_COLS),
                           .stride = N_COLS * sizeof(uint16_t),
                           .n_rows = UNIT_ROWS,
                           .n_cols = N_COLS,
                           .type = NUMBER_BF16};
    const struct vectors x = {b->x, N_COLS, 1};
    b->kernels->dot(&w, &x, b->to + unit * UNIT_ROWS, b->n_rows);
    return WEIR_OK;
}

static weir_err resident_unit(void *self, size_t unit, unsigned worker, struct weir_diag *diag)
{
    struct bench *b = self;
    (void)worker;
    (void)diag;
    for (size_t r = unit * UNIT_ROWS; r < (unit + 1) * UNIT_ROWS; r++) {
        const struct resident_row row = keep_resident_row(b->resident, r, N_COLS);
        b->to[r] = b->kernels->dot_resident(&row, b->x);
    }
    return WEIR_OK;
}

/* The least time of several, bytes a second. */
static weir_err rate_of(struct bench *b, pool_work work, double *rate)
{
    struct weir_diag diag;
    double best = 0;
    for (int i = 0; i < N_TIMES; i++) {
        double began = seconds();
        weir_err err = pool_run(b->pool, work, b, b->n_rows / UNIT_ROWS, &diag);
        double taken = seconds() - began;
        if (err)
            return err;
        best = i == 0 || taken < best ? taken : best;
    }
    *rate = best > 0 ? (double)(b->n_rows * N_COLS * sizeof(uint16_t)) / best : 0;
    return WEIR_OK;
}

static weir_err fill(struct bench *b, unsigned n_threads)
{
    struct weir_resident_code code;
    struct weir_diag diag;
    uint64_t count[HIGH_BYTES] = {0};
    uint16_t row[N_COLS];
    make_row(row, 0);
    for (size_t i = 0; i < N_COLS; i++)
        count[row[i] >> 8]++;
    (void)weir_resident_choose(count, &code);
    weir_err err = pool_new(n_threads, &b->pool);
    if (!err)
        err = weir_resident_new(b->n_rows, N_COLS, &code, (uint32_t)(b->n_rows * N_COLS / 16),
                                &b->resident);
    if (err)
        return err;
    b->plain = aligned_alloc(ALIGNMENT, b->n_rows * N_COLS * sizeof(*b->plain));
    b->x = aligned_alloc(ALIGNMENT, N_COLS * sizeof(*b->x));
    b->to = calloc(b->n_rows, sizeof(*b->to));
    if (!b->plain || !b->x || !b->to)
        return WEIR_ERR_NOMEM;
    for (size_t i = 0; i < N_COLS; i++)
        b->x[i] = (float)(i % 7) - 3;
    return pool_run(b->pool, fill_unit, b, b->n_rows / UNIT_ROWS, &diag);
}

weir_err weir_measure(unsigned n_threads, size_t bytes, struct weir_measured *out)
{
    const size_t unit_bytes = sizeof(uint16_t) * UNIT_ROWS * N_COLS;
    struct bench b = {.kernels = math_kernels_best(),
                      .n_rows = (bytes / unit_bytes + 1) * UNIT_ROWS};
    weir_err err = fill(&b, n_threads);
    if (!err)
        err = rate_of(&b, plain_unit, &out->plain);
    if (!err)
        err = rate_of(&b, resident_unit, &out->resident);
    if (!err) {
        out->threads = pool_threads(b.pool);
        out->kernels = b.kernels->name;
    }
    pool_free(b.pool);
    weir_resident_free(b.resident);
    free(b.plain);
    free(b.x);
    free(b.to);
    return err;
}
