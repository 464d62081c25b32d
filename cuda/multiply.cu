#include "cuda/matrix.h"

#include <string.h>

#include "fragment.cuh"
#include "gpu_private.h"
#include "multiply_steps.cuh"

weir_err weir_gpu_multiply(struct weir_gpu_stream *s, const struct weir_gpu_product *product)
{
    const struct weir_gpu_matrix *m = product->matrix;
    if (product->n < 1 || product->n > WEIR_GPU_MOST_VECTORS || !m->n_rows || !m->n_columns ||
        weir_form_units(m->n_rows, m->n_columns) > UINT32_MAX)
        return WEIR_ERR_INVALID;
    struct multiply_job job = {};
    job.weights = (const uint8_t *)m->at;
    job.lines = (const uint32_t *)m->lines;
    job.steps = (const uint32_t *)m->steps;
    memcpy(&job.high, m->high, sizeof(job.high));
    job.n_rows = m->n_rows;
    job.n_columns = m->n_columns;
    job.n_tiles = m->n_rows / TILE_ROWS + (m->n_rows % TILE_ROWS != 0);
    job.n_steps = m->n_columns / STEP_COLUMNS + (m->n_columns % STEP_COLUMNS != 0);
    job.x = (const uint4 *)product->vectors;
    job.x_stride = (uint32_t)(fragment_vectors(product->n) * FRAGMENT_STEP * 2 / sizeof(*job.x));
    job.y = product->to;
    job.y_stride = product->to_stride;
    job.n = product->n;
    job.fresh = product->fresh;
    const uint32_t groups = fragment_groups(product->n);
    if (m->form == WEIR_GPU_Q8)
        return multiply_q8(s, &job, groups);
    return m->form == WEIR_GPU_PACKED ? multiply_packed(s, &job, groups)
                                      : multiply_rows(s, &job, groups);
}
