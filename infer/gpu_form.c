/* What matrices take in the resident form, judged by rows from all over them. */
#include <stdlib.h>

#include "cuda/form.h"
#include "gpu_choice.h"
#include "gpu_weights_private.h"

enum {
    SAMPLE_PLACES = 4, /* of each tensor */
    HIGH_VALUES = 128,
};

struct sample {
    uint64_t count[HIGH_VALUES], n;
};

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
    m->packed_bytes = weir_gpu_matrix_bytes(WEIR_GPU_PACKED, m->n_rows, m->n_columns, exceptions);
    m->packed_bytes =
        (m->packed_bytes + GPU_REGION_ALIGN - 1) / GPU_REGION_ALIGN * GPU_REGION_ALIGN;
    m->packs = (double)exceptions <= most && m->packed_bytes < gpu_matrix_rows_bytes(m);
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
