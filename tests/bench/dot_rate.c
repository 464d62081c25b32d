/* dot_rate.c - each kernel that this processor runs: one vector times weights in memory, as they
 * are, in 12 bits and as whole steps in 8, and many vectors times weights in the cache.  One
 * thread; the best of several.
 *
 *     dot_rate [MEGABYTES]     of weights in memory (default: 256)
 * A line each: name, GB/s of BF16 weights plain, resident, in steps, and GFLOP/s with 48 vectors
 * plain and resident. */
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "codec/grid.h"
#include "kernels.h"

enum { N_COLS = 4096, N_VECTORS = 48, CACHE_ROWS = 16, N_TIMES = 5, HIGH_BYTES = 256 };

struct bench {
    size_t n_rows;
    uint16_t *plain;
    struct weir_resident *resident, *steps;
    float *x, *to, *wide;
};

static double seconds(void)
{
    struct timespec t;
    (void)clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

static struct resident_row row_of(const struct bench *b, size_t r)
{
    struct resident_row row = {.high = weir_resident_code(b->resident)->high, .n_cols = N_COLS};
    row.blocks = weir_resident_row(b->resident, r, &row.exception, &row.n_exceptions);
    return row;
}

static void one_plain(const struct bench *b, const struct math_kernels *k)
{
    const struct rows w = {(const uint8_t *)b->plain, 2 * (size_t)N_COLS, b->n_rows, N_COLS,
                           NUMBER_BF16};
    const struct vectors x = {b->x, N_COLS, 1};
    k->dot(&w, &x, b->to, b->n_rows);
}

static void one_resident(const struct bench *b, const struct math_kernels *k)
{
    for (size_t r = 0; r < b->n_rows; r++) {
        const struct resident_row row = row_of(b, r);
        b->to[r] = k->dot_resident(&row, b->x);
    }
}

/* Numbers of 1 to 31 steps, one in a thousand none. */
static void one_steps(const struct bench *b, const struct math_kernels *k)
{
    for (size_t r = 0; r < b->n_rows; r++) {
        struct resident_row row = {.step = weir_resident_step(b->steps, r), .n_cols = N_COLS};
        row.blocks = weir_resident_row(b->steps, r, &row.exception, &row.n_exceptions);
        b->to[r] = k->dot_resident(&row, b->x);
    }
}

static int fill_steps(struct bench *b)
{
    static uint16_t row[N_COLS];
    const uint16_t step = 0x3a35;
    const uint32_t room = (uint32_t)(b->n_rows * N_COLS / 100);
    if (weir_resident_new(b->n_rows, N_COLS, NULL, room, &b->steps))
        return 1;
    for (size_t r = 0; r < b->n_rows; r++) {
        for (size_t i = 0; i < N_COLS; i++)
            row[i] =
                (r + i) % 1000 ? weir_grid_weight(step, 1 + (uint32_t)(i * 37 + r) % 31) : 0x4100;
        if (weir_resident_put(b->steps, r, row))
            return 1;
    }
    return 0;
}

/* As infer/linear.c does it. */
static void many(const struct bench *b, const struct math_kernels *k, bool resident)
{
    struct rows w = {(const uint8_t *)b->plain, 2 * (size_t)N_COLS, CACHE_ROWS, N_COLS,
                     NUMBER_BF16};
    const struct vectors x = {b->x, N_COLS, N_VECTORS};
    for (size_t r = 0; r < CACHE_ROWS && (resident || !k->unpack_resident); r++) {
        const struct resident_row row = row_of(b, r);
        if (k->unpack_resident)
            k->unpack_resident(&row, (uint16_t *)(void *)b->wide + r * N_COLS);
        else if (resident)
            k->widen_resident(&row, b->wide + r * N_COLS);
        else
            k->widen(NUMBER_BF16, (const uint8_t *)(b->plain + r * N_COLS), N_COLS,
                     b->wide + r * N_COLS);
    }
    if (!k->unpack_resident)
        w = (struct rows){(const uint8_t *)b->wide, sizeof(float) * N_COLS, CACHE_ROWS, N_COLS,
                          NUMBER_F32};
    else if (resident)
        w.at = (const uint8_t *)b->wide;
    k->dot(&w, &x, b->to, CACHE_ROWS);
}

static void many_plain(const struct bench *b, const struct math_kernels *k)
{
    many(b, k, false);
}

static void many_resident(const struct bench *b, const struct math_kernels *k)
{
    many(b, k, true);
}

static double best(const struct bench *b, const struct math_kernels *k,
                   void (*work)(const struct bench *, const struct math_kernels *), int n_runs)
{
    double least = 0;
    for (int i = 0; i < N_TIMES; i++) {
        double began = seconds();
        for (int j = 0; j < n_runs; j++)
            work(b, k);
        double taken = (seconds() - began) / n_runs;
        least = i == 0 || taken < least ? taken : least;
    }
    return least;
}

static int fill(struct bench *b)
{
    struct weir_resident_code code;
    uint64_t count[HIGH_BYTES] = {0}, state = 1;
    const size_t n = b->n_rows * N_COLS;
    b->plain = aligned_alloc(64, 2 * n);
    b->x = aligned_alloc(64, sizeof(float) * N_VECTORS * N_COLS);
    b->wide = aligned_alloc(64, sizeof(float) * CACHE_ROWS * N_COLS);
    b->to = calloc(b->n_rows * N_VECTORS, sizeof(*b->to));
    if (!b->plain || !b->x || !b->wide || !b->to)
        return 1;
    for (size_t i = 0; i < n; i++) {
        state = state * 6364136223846793005U + 1442695040888963407U;
        float f = (float)(int32_t)(state >> 32) / 2147483648.0F;
        uint32_t bits;
        memcpy(&bits, &f, sizeof(bits));
        b->plain[i] = (uint16_t)(bits >> 16);
        count[b->plain[i] >> 8]++;
    }
    for (size_t i = 0; i < (size_t)N_VECTORS * N_COLS; i++)
        b->x[i] = (float)(i % 7) - 3;
    (void)weir_resident_choose(count, &code);
    if (weir_resident_new(b->n_rows, N_COLS, &code, (uint32_t)(n / 16), &b->resident))
        return 1;
    for (size_t r = 0; r < b->n_rows; r++)
        if (weir_resident_put(b->resident, r, b->plain + r * N_COLS))
            return 1;
    return fill_steps(b);
}

static void free_bench(struct bench *b)
{
    weir_resident_free(b->resident);
    weir_resident_free(b->steps);
    free(b->plain);
    free(b->x);
    free(b->wide);
    free(b->to);
}

static void print(const struct bench *b, const struct math_kernels *k)
{
    const double bytes = 2.0 * N_COLS * (double)b->n_rows;
    const double flops = 2.0 * N_COLS * CACHE_ROWS * N_VECTORS;
    printf("%-10s %7.1f %8.1f %6.1f %16.1f %12.1f\n", k->name,
           bytes / best(b, k, one_plain, 1) / 1e9, bytes / best(b, k, one_resident, 1) / 1e9,
           bytes / best(b, k, one_steps, 1) / 1e9, flops / best(b, k, many_plain, 20) / 1e9,
           flops / best(b, k, many_resident, 20) / 1e9);
}

int main(int argc, char **argv)
{
    static const char *const names[] = {"scalar", "avx2", "avx512", "avx512bf16"};
    const size_t megabytes = argc > 1 ? strtoul(argv[1], NULL, 10) : 256;
    struct bench b = {.n_rows = megabytes * 1000000 / (2 * (size_t)N_COLS) + CACHE_ROWS};
    int failed = fill(&b);
    if (failed)
        fprintf(stderr, "no memory\n");
    else
        printf("kernels      plain resident  steps  GB/s   48 plain  48 resident  GFLOP/s\n");
    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]) && !failed; i++) {
        const struct math_kernels *k = math_kernels_named(names[i]);
        if (k)
            print(&b, k);
    }
    free_bench(&b);
    return failed;
}
