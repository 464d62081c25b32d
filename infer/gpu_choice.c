#include "gpu_choice.h"

#include <math.h>

/* On an H200: docs/benchmarks/gpu-exceptions-h200.csv. */
static const struct weir_device_crossing built_in[] = {
    {.n_rows = 2560, .n_columns = 2048, .most_odd = 0.02},
};

/* How many times larger or smaller, in both directions together. */
static double distance(const struct weir_device_crossing *c, uint32_t n_rows, uint32_t n_columns)
{
    return fabs(log((double)c->n_rows / n_rows)) + fabs(log((double)c->n_columns / n_columns));
}

static const struct weir_device_crossing *nearest(const struct weir_device_crossing *c, size_t n,
                                                  uint32_t n_rows, uint32_t n_columns)
{
    const struct weir_device_crossing *best = NULL;
    double least = INFINITY;
    for (size_t i = 0; i < n; i++) {
        if (!(c[i].most_odd >= 0) || distance(&c[i], n_rows, n_columns) >= least)
            continue;
        least = distance(&c[i], n_rows, n_columns);
        best = &c[i];
    }
    return best;
}

double gpu_most_odd(const struct weir_device_crossing *c, size_t n, uint32_t n_rows,
                    uint32_t n_columns)
{
    const struct weir_device_crossing *best = nearest(c, n, n_rows, n_columns);
    if (!best)
        best = nearest(built_in, sizeof(built_in) / sizeof(built_in[0]), n_rows, n_columns);
    return best->most_odd;
}
