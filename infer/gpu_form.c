/* What matrices take in the resident form, judged by rows from all over them. */
#include <math.h>
#include <stdlib.h>

#include "codec/grid.h"
#include "cuda/form.h"
#include "cuda/form_q8.h"
#include "gpu_choice.h"
#include "gpu_weights_private.h"

enum {
    SAMPLE_PLACES = 4,      /* of each tensor */
    MAX_ODD_PER_MILLE = 20, /* weights that are no whole steps; with more, it is not of q8 */
    HIGH_VALUES = 128,
    HOPELESS_PART = 8,  /* of a row that is no whole steps so much, at least, is exceptions */
    LISTED_SHARE = 100, /* one unit in so many may have a list that the sample did not show */
};

struct sample {
    uint64_t count[HIGH_VALUES], n;
    bool no_steps; /* rows are no whole steps; else so many weights are exceptions: */
    uint64_t n_stepless, n_looked_at;
};

/* What rows of whole steps would have for exceptions. */
static void look_for_steps(const uint16_t *rows, uint64_t n_rows, size_t n_columns,
                           struct sample *s)
{
    for (uint64_t i = 0; i < n_rows && !s->no_steps; i++, rows += n_columns) {
        const uint16_t step = weir_grid_find(rows, n_columns, WEIR_FORM_Q8_MOST);
        const size_t odd = weir_grid_count_odd(step, rows, n_columns, WEIR_FORM_Q8_MOST);
        s->n_stepless += odd;
        s->n_looked_at += n_columns;
        s->no_steps = s->n_stepless > s->n_looked_at / HOPELESS_PART;
    }
}

static weir_err take_sample(struct weir_reader *reader, const struct gpu_piece *p, struct sample *s,
                            struct weir_diag *diag)
{
    for (uint64_t i = 0; i < SAMPLE_PLACES; i++) {
        const uint8_t *rows;
        uint64_t n, first = p->n_rows * i / SAMPLE_PLACES;
        weir_err err = weir_reader_rows(reader, p->tensor, p->first_row + first, p->n_rows - first,
                                        &rows, &n, diag);
        if (err)
            return err;
        look_for_steps((const uint16_t *)(const void *)rows, n,
                       (size_t)(p->tensor->bytes / p->tensor->form.dim[0] / 2), s);
        n *= p->tensor->bytes / p->tensor->form.dim[0];
        for (uint64_t b = 1; b < n; b += 2)
            s->count[rows[b] & (HIGH_VALUES - 1)]++;
        s->n += n / 2;
    }
    return WEIR_OK;
}

void gpu_matrix_weigh(struct gpu_part_matrix *m, const struct weir_device_rules *rules,
                      uint64_t exceptions)
{
    const double most = gpu_most_odd(rules->crossing, rules->n_crossings, m->n_rows, m->n_columns) *
                        m->n_rows * m->n_columns;
    m->exceptions = exceptions;
    m->packed_bytes = weir_gpu_matrix_bytes(m->is_q8 ? WEIR_GPU_Q8 : WEIR_GPU_PACKED, m->n_rows,
                                            m->n_columns, exceptions);
    m->packed_bytes =
        (m->packed_bytes + GPU_REGION_ALIGN - 1) / GPU_REGION_ALIGN * GPU_REGION_ALIGN;
    m->packs =
        (m->is_q8 || (double)exceptions <= most) && m->packed_bytes < gpu_matrix_rows_bytes(m);
}

uint64_t gpu_matrix_stay_bytes(const struct gpu_part_matrix *m, enum gpu_place place)
{
    return place == GPU_PLACE_PACKED && m->packs ? m->packed_bytes : gpu_matrix_rows_bytes(m);
}

/* It is packed some rows at a time, which must not be of two tensors. */
static bool may_pack(const struct gpu_part_matrix *m)
{
    for (uint32_t i = 0; i + 1 < m->n_pieces; i++)
        if (m->piece[i].n_rows % GPU_FORM_ROWS)
            return false;
    return true;
}

/* Exceptions, one weight in 1 / share, that are in units with more than come along: were they
 * spread evenly, and twice as many, and some. */
static uint64_t listed(const struct gpu_part_matrix *m, double share)
{
    const double mean = share * WEIR_FORM_ROWS * WEIR_FORM_COLUMNS;
    const double units = (double)weir_form_units(m->n_rows, m->n_columns);
    double term = exp(-mean), inline_part = 0; /* of Poisson's distribution */
    for (int k = 1; k <= WEIR_FORM_Q8_INLINE; k++) {
        term *= mean / k;
        inline_part += k * term;
    }
    const double rest = mean > inline_part ? mean - inline_part : 0;
    return (uint64_t)(units * (2 * rest + (double)(WEIR_FORM_Q8_INLINE + 1) / LISTED_SHARE)) + 1;
}

static weir_err sample_matrix(struct weir_reader *reader, const struct weir_device_rules *rules,
                              struct gpu_part_matrix *m, struct weir_diag *diag)
{
    struct sample s = {.n = 0};
    if (!may_pack(m))
        return WEIR_OK;
    for (uint32_t i = 0; i < m->n_pieces; i++) {
        weir_err err = take_sample(reader, &m->piece[i], &s, diag);
        if (err)
            return err;
    }
    if (!s.no_steps && s.n_stepless * 1000 <= s.n * MAX_ODD_PER_MILLE) {
        m->is_q8 = true;
        gpu_matrix_weigh(m, rules, listed(m, (double)s.n_stepless / (double)s.n));
        return WEIR_OK;
    }
    uint64_t odd = weir_form_choose(s.count, m->high);
    gpu_matrix_weigh(m, rules,
                     (uint64_t)((double)odd / (double)s.n * (double)m->n_rows * m->n_columns));
    return WEIR_OK;
}

weir_err gpu_parts_sample(const struct weir_model *model, const struct weir_device_rules *rules,
                          struct gpu_parts *parts, struct weir_diag *diag)
{
    struct weir_reader *reader = NULL;
    weir_err err = weir_reader_new(model->checkpoint, model->row_bytes, &reader);
    for (uint32_t i = 0; i < parts->n_layers && !err; i++)
        for (uint32_t m = 0; m < parts->part[i].n_matrices && !err; m++)
            err = sample_matrix(reader, rules, &parts->part[i].matrix[m], diag);
    if (!err)
        err = sample_matrix(reader, rules, &parts->output.matrix[0], diag);
    if (!err)
        err = sample_matrix(reader, rules, &parts->embedding.matrix[0], diag);
    weir_reader_free(reader);
    return err;
}
