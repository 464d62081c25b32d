/* infer/gpu_weights.h, as little of it as graphs need: all weights as BF16 rows in device memory,
 * or, of tier 2, in one slot that is filled for each part and holds NaNs otherwise. */
#include "infer/gpu_weights.h"

#include <stdlib.h>

#include "fake.h"

enum { BYTES = 2, NAN_BYTE = 0xff, BLOCK_ROWS = 16 };

struct gpu_weights {
    struct weir_gpu *gpu;
    const struct weir_model *model;
    struct weir_reader *reader;
    bool streams;
    bool packed; /* layers are said to be, which they are not: what wants rows unpacks them */
    char *all;   /* stays, or what the slot is filled from */
    char *slot;  /* where it streams */
    uint64_t layer_bytes, embedding_bytes;
    uint64_t copied;
};

static uint64_t matrix_bytes(const struct weir_matrix *m)
{
    return (uint64_t)m->n_rows * m->n_cols * BYTES;
}

static uint64_t layer_bytes(const struct weir_model *model)
{
    const struct weir_layer *l = model->layer;
    const struct weir_matrix *const m[] = {&l->q, &l->k, &l->v, &l->o, &l->gate, &l->up, &l->down};
    uint64_t sum = 0;
    for (size_t i = 0; i < sizeof(m) / sizeof(m[0]); i++)
        sum += matrix_bytes(m[i]);
    return sum;
}

static weir_err copy_matrix(struct gpu_weights *w, const struct weir_matrix *m, char **to,
                            struct weir_diag *diag)
{
    for (uint64_t row = 0, n; row < m->n_rows; row += n) {
        const uint8_t *rows;
        weir_err err = weir_reader_rows(w->reader, m->tensor, m->first_row + row, m->n_rows - row,
                                        &rows, &n, diag);
        if (err)
            return err;
        memcpy(*to, rows, n * m->n_cols * BYTES);
        *to += n * m->n_cols * BYTES;
    }
    return WEIR_OK;
}

static weir_err copy_all(struct gpu_weights *w, struct weir_diag *diag)
{
    const struct weir_model *model = w->model;
    char *at = w->all;
    weir_err err = WEIR_OK;
    for (uint32_t i = 0; i < model->config.n_layers && !err; i++) {
        const struct weir_layer *l = &model->layer[i];
        const struct weir_matrix *const m[] = {&l->q,    &l->k,  &l->v,   &l->o,
                                               &l->gate, &l->up, &l->down};
        for (size_t k = 0; k < sizeof(m) / sizeof(m[0]) && !err; k++)
            err = copy_matrix(w, m[k], &at, diag);
    }
    if (!err)
        err = copy_matrix(w, &model->embedding, &at, diag);
    return err ? err : copy_matrix(w, &model->output, &at, diag);
}

weir_err gpu_weights_needs(const struct weir_model *model, const struct weir_device_rules *rules,
                           uint64_t *least, uint64_t *most, struct weir_diag *diag)
{
    (void)rules;
    (void)diag;
    *least = *most = layer_bytes(model) * model->config.n_layers + matrix_bytes(&model->embedding) +
                     matrix_bytes(&model->output);
    return WEIR_OK;
}

weir_err gpu_weights_new(struct weir_gpu *gpu, const struct weir_model *model,
                         const struct weir_device_rules *rules, uint64_t bytes,
                         struct gpu_weights **out, struct weir_diag *diag)
{
    uint64_t least, most;
    struct gpu_weights *w = calloc(1, sizeof(*w));
    weir_err err = gpu_weights_needs(model, rules, &least, &most, diag);
    if (!w)
        return WEIR_ERR_NOMEM;
    *w = (struct gpu_weights){.gpu = gpu,
                              .model = model,
                              .streams = rules->tier == WEIR_TIER_GPU,
                              .packed = rules->tier == WEIR_TIER_FUSED,
                              .layer_bytes = layer_bytes(model),
                              .embedding_bytes = matrix_bytes(&model->embedding)};
    w->all = least <= bytes ? weir_gpu_alloc(gpu, least) : NULL;
    w->slot = weir_gpu_alloc(gpu, w->layer_bytes + matrix_bytes(&model->output));
    if (!err)
        err = weir_reader_new(model->checkpoint, model->row_bytes, &w->reader);
    if (!err)
        err = w->all && w->slot ? copy_all(w, diag) : WEIR_ERR_NOMEM;
    if (err)
        gpu_weights_free(w);
    else
        *out = w;
    return err;
}

void gpu_weights_free(struct gpu_weights *w)
{
    if (!w)
        return;
    weir_reader_free(w->reader);
    weir_gpu_free(w->gpu, w->all);
    weir_gpu_free(w->gpu, w->slot);
    free(w);
}

bool gpu_weights_stay(const struct gpu_weights *w)
{
    return !w->streams;
}

static struct weir_gpu_matrix matrix(const struct weir_matrix *m, uint32_t n_rows, char **at)
{
    struct weir_gpu_matrix out = {
        .form = WEIR_GPU_ROWS, .n_rows = n_rows, .n_columns = m->n_cols, .at = *at};
    *at += (size_t)n_rows * m->n_cols * BYTES;
    return out;
}

weir_err gpu_weights_layer(struct gpu_weights *w, uint32_t layer, struct weir_gpu_stream *s,
                           struct gpu_layer *out, struct weir_diag *diag)
{
    const struct weir_layer *l = &w->model->layer[layer];
    char *at = w->all + layer * w->layer_bytes;
    (void)diag;
    if (w->streams) {
        weir_err err = weir_gpu_copy(s, w->slot, at, w->layer_bytes);
        if (err)
            return err;
        w->copied += w->layer_bytes;
        at = w->slot;
    }
    out->qkv = matrix(&l->q, l->q.n_rows + l->k.n_rows + l->v.n_rows, &at);
    out->o = matrix(&l->o, l->o.n_rows, &at);
    out->gate_up = matrix(&l->gate, l->gate.n_rows + l->up.n_rows, &at);
    out->down = matrix(&l->down, l->down.n_rows, &at);
    out->fresh = w->streams;
    if (w->packed)
        out->qkv.form = out->o.form = out->gate_up.form = out->down.form = WEIR_GPU_PACKED;
    return WEIR_OK;
}

weir_err gpu_weights_layer_done(struct gpu_weights *w, uint32_t layer, struct weir_gpu_stream *s)
{
    (void)layer;
    return w->streams ? weir_gpu_fill(s, w->slot, NAN_BYTE, w->layer_bytes) : WEIR_OK;
}

weir_err gpu_weights_verify_wait(struct gpu_weights *w, struct weir_diag *diag)
{
    (void)w;
    (void)diag;
    return WEIR_OK;
}

uint32_t gpu_weights_n_blocks(const struct gpu_weights *w)
{
    return w->streams ? (w->model->output.n_rows + BLOCK_ROWS - 1) / BLOCK_ROWS : 1;
}

weir_err gpu_weights_block(struct gpu_weights *w, uint32_t block, struct weir_gpu_stream *s,
                           struct gpu_block_rows *out, struct weir_diag *diag)
{
    const struct weir_matrix *m = &w->model->output;
    const uint32_t first = block * BLOCK_ROWS, left = m->n_rows - first;
    const uint32_t n = !w->streams ? m->n_rows : left < BLOCK_ROWS ? left : BLOCK_ROWS;
    const size_t row = (size_t)m->n_cols * BYTES;
    char *at = w->all + w->model->config.n_layers * w->layer_bytes + w->embedding_bytes;
    (void)diag;
    at += first * row;
    if (w->streams) {
        weir_err err = weir_gpu_copy(s, w->slot, at, n * row);
        if (err)
            return err;
        at = w->slot;
    }
    *out = (struct gpu_block_rows){matrix(m, n, &at), first, w->streams};
    return WEIR_OK;
}

weir_err gpu_weights_block_done(struct gpu_weights *w, uint32_t block, struct weir_gpu_stream *s)
{
    (void)block;
    return w->streams ? weir_gpu_fill(s, w->slot, NAN_BYTE, w->layer_bytes) : WEIR_OK;
}

bool gpu_weights_embedding(const struct gpu_weights *w, struct weir_gpu_matrix *out)
{
    char *at = w->all + w->model->config.n_layers * w->layer_bytes;
    if (!w->streams)
        *out = matrix(&w->model->embedding, w->model->embedding.n_rows, &at);
    return !w->streams;
}

weir_err gpu_weights_embed(struct gpu_weights *w, const uint32_t *id, size_t n, float scale,
                           float *to, struct weir_diag *diag)
{
    const struct weir_matrix *m = &w->model->embedding;
    for (size_t i = 0; i < n; i++) {
        const uint8_t *rows;
        uint64_t n_rows;
        weir_err err =
            weir_reader_rows(w->reader, m->tensor, m->first_row + id[i], 1, &rows, &n_rows, diag);
        if (err)
            return err;
        for (uint32_t j = 0; j < m->n_cols; j++) {
            uint16_t bits;
            memcpy(&bits, rows + (size_t)j * BYTES, sizeof(bits));
            to[i * m->n_cols + j] = scale * fake_widen(bits);
        }
    }
    return WEIR_OK;
}

void gpu_weights_counts(struct gpu_weights *w, struct weir_device_counts *out)
{
    *out = (struct weir_device_counts){.tier = w->streams ? WEIR_TIER_GPU : WEIR_TIER_RAW,
                                       .n_rows = w->model->config.n_layers,
                                       .copied_bytes = w->copied,
                                       .weight_bytes = w->layer_bytes};
}
