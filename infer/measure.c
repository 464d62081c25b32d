#include "measure.h"

#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "codec/huge.h"
#include "keep.h"
#include "kernels.h"
#include "measure_files.h"
#include "pool.h"

enum {
    N_COLS = MEASURE_COLS,
    UNIT_ROWS = 64,
    NARROW_COLS = 256,  /* rows that are little else than rows, ... */
    NARROW_ROWS = 8192, /* ... in the cache */
    LEAST_TIMES = 3,    /* is something done, ... */
    MOST_TIMES = 99,
    MOST_TILES = 512, /* 64 MiB of weights in a file */
    N_ROUNDS = 500,
    HIGH_BYTES = 256,
    ALIGNMENT = 64,
};

static const double enough_seconds = 0.3; /* ... and as often as this takes */

struct bench {
    struct pool *one, *all; /* threads */
    const struct math_kernels *kernels;
    size_t n_rows;
    uint16_t *plain;
    struct weir_resident *resident, *narrow;
    size_t n_narrow;
    struct measure_files *files;
    size_t n_tiles;
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

static weir_err narrow_unit(void *self, size_t unit, unsigned worker, struct weir_diag *diag)
{
    struct bench *b = self;
    (void)worker;
    (void)diag;
    for (size_t r = unit * UNIT_ROWS; r < (unit + 1) * UNIT_ROWS; r++) {
        const struct resident_row row = keep_resident_row(b->narrow, r, NARROW_COLS);
        b->to[r % UNIT_ROWS] = b->kernels->dot_resident(&row, b->x);
    }
    return WEIR_OK;
}

/* ---- rates ---- */

static int compare(const void *a, const void *b)
{
    const double x = *(const double *)a, y = *(const double *)b;
    return x < y ? -1 : x > y;
}

/* The least time and the median of several. */
struct timing {
    double least, median;
};

static weir_err time_of(struct pool *pool, pool_work work, void *self, size_t n_units,
                        struct timing *out)
{
    struct weir_diag diag;
    double taken[MOST_TIMES], sum = 0;
    size_t n = 0;
    while (n < LEAST_TIMES || (sum < enough_seconds && n < MOST_TIMES)) {
        double began = seconds();
        weir_err err = pool_run(pool, work, self, n_units, &diag);
        if (err)
            return err;
        taken[n] = seconds() - began;
        sum += taken[n++];
    }
    qsort(taken, n, sizeof(taken[0]), compare);
    *out = (struct timing){taken[0], taken[n / 2]};
    return WEIR_OK;
}

/* n_units of `unit_bytes` each.  Of what goes by memory the median, because it is shared with
 * everybody; of what the processor does the least, which others only disturb. */
static weir_err rate_of(const struct bench *b, pool_work work, void *self, size_t n_units,
                        size_t unit_bytes, struct weir_rate *out)
{
    const double bytes = (double)(n_units * unit_bytes);
    const bool shared = self == b;
    struct timing one, all;
    weir_err err = time_of(b->one, work, self, n_units, &one);
    if (!err)
        err = time_of(b->all, work, self, n_units, &all);
    if (!err)
        *out = (struct weir_rate){bytes / (shared ? one.median : one.least),
                                  bytes / (shared ? all.median : all.least)};
    return err;
}

static weir_err no_work(void *self, size_t unit, unsigned worker, struct weir_diag *diag)
{
    (void)self;
    (void)unit;
    (void)worker;
    (void)diag;
    return WEIR_OK;
}

/* With one unit for each, so that they are waited for. */
static weir_err time_rounds(const struct bench *b, double *out)
{
    double began = seconds();
    weir_err err = WEIR_OK;
    for (int i = 0; i < N_ROUNDS && !err; i++)
        err = pool_run(b->all, no_work, NULL, pool_threads(b->all), NULL);
    *out = (seconds() - began) / N_ROUNDS;
    return err;
}

static weir_err time_rows(struct bench *b, const struct weir_rate *resident, double *out)
{
    struct timing t;
    weir_err err = time_of(b->one, narrow_unit, b, b->n_narrow / UNIT_ROWS, &t);
    if (err)
        return err;
    double row = t.median / (double)b->n_narrow;
    double weights = sizeof(uint16_t) * NARROW_COLS / resident->one;
    *out = row > weights ? row - weights : 0;
    return WEIR_OK;
}

static weir_err measure(struct bench *b, struct weir_measured *out)
{
    const size_t n_units = b->n_rows / UNIT_ROWS, bytes = sizeof(uint16_t) * UNIT_ROWS * N_COLS;
    weir_err err = rate_of(b, plain_unit, b, n_units, bytes, &out->plain);
    if (!err)
        err = rate_of(b, resident_unit, b, n_units, bytes, &out->resident);
    if (!err)
        err = rate_of(b, measure_store_unit, b->files, b->n_tiles, WEIR_TILE_BYTES, &out->store);
    if (!err)
        err = rate_of(b, measure_plain_unit, b->files, b->n_tiles, WEIR_TILE_BYTES, &out->files);
    if (!err)
        err = time_rows(b, &out->resident, &out->row_seconds);
    return err ? err : time_rounds(b, &out->round_seconds);
}

/* ---- weights ---- */

/* Of the plain weights: narrow rows, and tiles in a file. */
static weir_err fill_others(struct bench *b, const struct weir_resident_code *code, int fd)
{
    const size_t most = b->n_rows * N_COLS / NARROW_COLS;
    b->n_narrow = most < NARROW_ROWS ? most / UNIT_ROWS * UNIT_ROWS : NARROW_ROWS;
    b->n_tiles = b->n_rows / MEASURE_TILE_ROWS;
    b->n_tiles = b->n_tiles < MOST_TILES ? b->n_tiles : MOST_TILES;
    weir_err err = weir_resident_new(b->n_narrow, NARROW_COLS, code,
                                     (uint32_t)(b->n_narrow * NARROW_COLS / 16), &b->narrow);
    for (size_t r = 0; r < b->n_narrow && !err; r++)
        err = weir_resident_put(b->narrow, r, b->plain + r * NARROW_COLS);
    return err ? err
               : measure_files_new(fd, b->plain, b->n_tiles, pool_threads(b->all), b->kernels, b->x,
                                   &b->files);
}

static weir_err fill(struct bench *b, unsigned n_threads, int fd)
{
    struct weir_resident_code code;
    struct weir_diag diag;
    uint64_t count[HIGH_BYTES] = {0};
    uint16_t row[N_COLS];
    make_row(row, 0);
    for (size_t i = 0; i < N_COLS; i++)
        count[row[i] >> 8]++;
    (void)weir_resident_choose(count, &code);
    weir_err err = pool_new(1, &b->one);
    if (!err)
        err = pool_new(n_threads, &b->all);
    if (!err)
        err = weir_resident_new(b->n_rows, N_COLS, &code, (uint32_t)(b->n_rows * N_COLS / 16),
                                &b->resident);
    if (err)
        return err;
    b->plain = huge_alloc(b->n_rows * N_COLS * sizeof(*b->plain));
    b->x = aligned_alloc(ALIGNMENT, N_COLS * sizeof(*b->x));
    b->to = calloc(b->n_rows, sizeof(*b->to));
    if (!b->plain || !b->x || !b->to)
        return WEIR_ERR_NOMEM;
    for (size_t i = 0; i < N_COLS; i++)
        b->x[i] = (float)(i % 7) - 3;
    err = pool_run(b->all, fill_unit, b, b->n_rows / UNIT_ROWS, &diag);
    return err ? err : fill_others(b, &code, fd);
}

weir_err weir_measure(unsigned n_threads, size_t bytes, int fd, struct weir_measured *out)
{
    const size_t unit_bytes = sizeof(uint16_t) * UNIT_ROWS * N_COLS;
    struct bench b = {.kernels = math_kernels_best(),
                      .n_rows = (bytes / unit_bytes + 1) * UNIT_ROWS};
    struct weir_measured m = {.kernels = b.kernels->name};
    weir_err err = fill(&b, n_threads, fd);
    if (!err)
        err = measure(&b, &m);
    if (!err) {
        m.threads = pool_threads(b.all);
        *out = m;
    }
    pool_free(b.one);
    pool_free(b.all);
    measure_files_free(b.files);
    weir_resident_free(b.resident);
    weir_resident_free(b.narrow);
    free(b.plain);
    free(b.x);
    free(b.to);
    return err;
}
