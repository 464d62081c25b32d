/* Weights as a pass asks for them. */
#include <string.h>

#include "gpu_weights_private.h"
#include "kernels.h"

bool gpu_weights_stay(const struct gpu_weights *w)
{
    for (uint32_t i = 0; i < w->parts.n_layers; i++)
        if (!gpu_place_stays(w->plan.layer[i]))
            return false;
    return gpu_place_stays(w->plan.output);
}

static struct gpu_layer layer_of(const struct gpu_laid *laid, bool fresh)
{
    return (struct gpu_layer){laid->matrix[0], laid->matrix[1], laid->matrix[2], laid->matrix[3],
                              fresh};
}

weir_err gpu_weights_layer(struct gpu_weights *w, uint32_t layer, struct weir_gpu_stream *s,
                           struct gpu_layer *out, struct weir_diag *diag)
{
    if (!gpu_place_stays(w->plan.layer[layer])) {
        struct gpu_laid laid;
        weir_err err = gpu_stream_take(w, layer, s, &laid, diag);
        if (err)
            return err;
        *out = layer_of(&laid, true);
        return WEIR_OK;
    }
    *out = layer_of(&w->laid[layer], false);
    return WEIR_OK;
}

weir_err gpu_weights_layer_done(struct gpu_weights *w, uint32_t layer, struct weir_gpu_stream *s)
{
    return gpu_place_stays(w->plan.layer[layer]) ? WEIR_OK : gpu_stream_give(w, s);
}

uint32_t gpu_weights_n_blocks(const struct gpu_weights *w)
{
    return gpu_place_stays(w->plan.output) ? 1 : w->parts.n_blocks;
}

weir_err gpu_weights_block(struct gpu_weights *w, uint32_t block, struct weir_gpu_stream *s,
                           struct gpu_block_rows *out, struct weir_diag *diag)
{
    const uint32_t n = w->parts.n_layers;
    struct gpu_laid laid = w->laid[n];
    const bool stays = gpu_place_stays(w->plan.output);
    if (!stays) {
        weir_err err = gpu_stream_take(w, n + block, s, &laid, diag);
        if (err)
            return err;
    }
    *out = (struct gpu_block_rows){laid.matrix[0], block * w->parts.block_rows, !stays};
    return WEIR_OK;
}

weir_err gpu_weights_block_done(struct gpu_weights *w, uint32_t block, struct weir_gpu_stream *s)
{
    (void)block;
    return gpu_place_stays(w->plan.output) ? WEIR_OK : gpu_stream_give(w, s);
}

weir_err gpu_weights_verify_wait(struct gpu_weights *w, struct weir_diag *diag)
{
    return gpu_weights_stay(w) ? WEIR_OK : gpu_stream_verify_wait(w, diag);
}

/* ---- embeddings ---- */

bool gpu_weights_embedding(const struct gpu_weights *w, struct weir_gpu_matrix *out)
{
    if (!gpu_place_stays(w->plan.embedding))
        return false;
    *out = w->laid[w->parts.n_layers + 1].matrix[0];
    return true;
}

weir_err gpu_weights_embed(struct gpu_weights *w, const uint32_t *id, size_t n, float scale,
                           float *to, struct weir_diag *diag)
{
    const struct weir_matrix *m = &w->model->embedding;
    for (size_t i = 0; i < n; i++, to += m->n_cols) {
        const uint8_t *row;
        uint64_t got;
        weir_err err = weir_reader_rows(w->reader, m->tensor, (uint64_t)m->first_row + id[i], 1,
                                        &row, &got, diag);
        if (err)
            return err;
        math_kernels_scalar.widen(NUMBER_BF16, row, m->n_cols, to);
        for (uint32_t k = 0; k < m->n_cols; k++)
            to[k] *= scale;
    }
    return WEIR_OK;
}

/* ---- counting ---- */

void gpu_weights_counts(struct gpu_weights *w, struct weir_device_counts *out)
{
    const struct gpu_plan *p = &w->plan;
    *out = (struct weir_device_counts){.tier = p->tier, .n_layers = w->parts.n_layers};
    for (uint32_t i = 0; i < w->parts.n_layers; i++) {
        out->n_packed += p->layer[i] == GPU_PLACE_PACKED;
        out->n_rows += p->layer[i] == GPU_PLACE_ROWS;
        out->n_wire += p->layer[i] == GPU_PLACE_WIRE;
    }
    out->weight_bytes = w->taken_bytes;
    gpu_stream_counts(w, out);
}
