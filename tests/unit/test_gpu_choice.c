/* In which form a matrix is faster: arithmetic over measurements that are made up. */
#include <criterion/criterion.h>

#include "gpu_choice.h"

static const struct weir_device_crossing measured[] = {
    {.n_rows = 2560, .n_columns = 2048, .most_odd = 0.04},
    {.n_rows = 4096, .n_columns = 4096, .most_odd = -1}, /* by an older doctor */
    {.n_rows = 28672, .n_columns = 4096, .most_odd = 0.01},
    {.n_rows = 4096, .n_columns = 14336, .most_odd = 0},
};
enum { N = sizeof(measured) / sizeof(measured[0]) };

Test(gpu_choice, takes_the_shape_that_is_most_alike)
{
    static const struct {
        uint32_t n_rows, n_columns;
        double most;
    } table[] = {
        {2560, 2048, 0.04},  {28672, 4096, 0.01},
        {4096, 14336, 0},    {1, 1, 0.04},
        {4096, 4096, 0.04}, /* which was not measured */
        {32000, 4096, 0.01}, {UINT32_MAX, UINT32_MAX, 0.01},
        {3072, 8192, 0},     {128256, 4096, 0.01},
    };
    for (size_t i = 0; i < sizeof(table) / sizeof(table[0]); i++)
        cr_expect_eq(gpu_most_odd(measured, N, table[i].n_rows, table[i].n_columns), table[i].most,
                     "%u x %u", table[i].n_rows, table[i].n_columns);
}

Test(gpu_choice, has_figures_where_nothing_was_measured)
{
    const uint32_t n[] = {64, 2048, 4096, 128256};
    for (size_t i = 0; i < 4; i++)
        for (size_t j = 0; j < 4; j++) {
            const double most = gpu_most_odd(NULL, 0, n[i], n[j]);
            cr_expect(most > 0 && most < 0.125, "%u x %u", n[i], n[j]);
            cr_expect_eq(gpu_most_odd(measured + 1, 1, n[i], n[j]), most);
        }
}
