#include "cuda/matrix.h"

#include <string.h>

#include "fragment.cuh"
#include "gpu_private.h"
#include "multiply_steps.cuh"

static bool can_multiply(const struct weir_gpu_product *p)
{
    const struct weir_gpu_matrix *m = p->matrix;
    return p->n >= 1 && p->n <= WEIR_GPU_MOST_VECTORS && m->n_rows && m->n_columns &&
           weir_form_units(m->n_rows, m->n_columns) <= UINT32_MAX;
}

static struct multiply_job job_of(const struct weir_gpu_product *product)
{
    const struct weir_gpu_matrix *m = product->matrix;
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
    return job;
}

weir_err weir_gpu_multiply(struct weir_gpu_stream *s, const struct weir_gpu_product *product)
{
    if (!can_multiply(product))
        return WEIR_ERR_INVALID;
    const struct multiply_job job = job_of(product);
    const uint32_t groups = fragment_groups(product->n);
    if (product->matrix->form == WEIR_GPU_Q8)
        return multiply_q8(s, &job, groups);
    return product->matrix->form == WEIR_GPU_PACKED ? multiply_packed(s, &job, groups)
                                                    : multiply_rows(s, &job, groups);
}

/* ---- with what stands around it ---- */

static bool is_chain(const struct weir_gpu_chain *c)
{
    const struct weir_gpu_norm *n = c->norm;
    const struct weir_gpu_product *p = c->product;
    const struct weir_gpu_gate *g = c->gate;
    return can_multiply(p) && p->n == 1 && n->weight && !n->row && n->out == p->vectors &&
           n->layout == WEIR_GPU_FRAGMENTS && n->hidden == p->matrix->n_columns && n->x_to &&
           n->x_to != n->x && n->x_to != n->sum &&
           (!g || (g->gate_up == p->to && g->out != p->vectors && g->layout == WEIR_GPU_FRAGMENTS &&
                   p->matrix->n_rows == 2 * (uint64_t)g->width));
}

/* In a block's registers. */
static bool may_norm(const struct weir_gpu_norm *n)
{
    return n->hidden % 2 == 0 && n->hidden <= MULTIPLY_MOST_NORMED;
}

/* Gates and their ups lie in whole tiles, and there is no padding to write. */
static bool may_gate(const struct weir_gpu_gate *g)
{
    return g->width % FRAGMENT_COLUMNS == 0;
}

static weir_err multiply_around_norm(struct weir_gpu_stream *s,
                                     const struct weir_gpu_product *product,
                                     const struct multiply_around *around)
{
    const struct multiply_job job = job_of(product);
    if (product->matrix->form == WEIR_GPU_Q8)
        return multiply_q8_around(s, &job, around);
    return product->matrix->form == WEIR_GPU_PACKED ? multiply_packed_around(s, &job, around)
                                                    : multiply_rows_around(s, &job, around);
}

weir_err weir_gpu_op_chain(struct weir_gpu_stream *s, const struct weir_gpu_chain *chain)
{
    const struct weir_gpu_product *product = chain->product;
    const struct weir_gpu_gate *gate = chain->gate;
    if (!is_chain(chain))
        return WEIR_ERR_INVALID;
    struct multiply_around around = {*chain->norm, {}};
    const bool gated = gate && may_norm(chain->norm) && may_gate(gate);
    if (gated)
        around.gate = *gate;
    weir_err err;
    if (may_norm(chain->norm)) {
        err = multiply_around_norm(s, product, &around);
    } else {
        err = weir_gpu_op_norm(s, 1, chain->norm);
        if (!err)
            err = weir_gpu_multiply(s, product);
    }
    return err || !gate || gated ? err : weir_gpu_op_gate(s, 1, gate);
}
