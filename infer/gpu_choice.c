#include "gpu_choice.h"

#include <math.h>

/* On an H200: docs/benchmarks/gpu-doctor-shapes-h200.csv. */
static const struct weir_device_crossing built_in[] = {
    {.n_rows = 11264, .n_columns = 2048, .most_odd = 0.00056},
    {.n_rows = 2048, .n_columns = 5632, .most_odd = 0.00051},
    {.n_rows = 4096, .n_columns = 4096, .most_odd = 0.001},
    {.n_rows = 6144, .n_columns = 4096, .most_odd = 0.00085},
    {.n_rows = 28672, .n_columns = 4096, .most_odd = 0.00103},
    {.n_rows = 4096, .n_columns = 14336, .most_odd = 0.00124},
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
