/* A pass queued: parameters up; embeddings, layers, logits; logits down. */
#include "gpu_graph.h"

static uint32_t least(uint32_t a, uint32_t b)
{
    return a < b ? a : b;
}

weir_err gpu_pass_queue_input(struct graph_gpu *g)
{
    const size_t row_bytes = g->sizes.x * sizeof(float);
    weir_err err = weir_gpu_to_device(g->stream, g->room.params, g->params,
                                      g->choice.words * sizeof(*g->params));
    if (!err && g->choice.n_fed)
        err = gpu_choice_feed(g);
    if (err || !g->embedded)
        return err;
    return weir_gpu_to_device(g->stream, g->room.x, g->embedded, g->n_rows * row_bytes);
}

static weir_err queue_embeddings(struct graph_gpu *g)
{
    if (g->embedded)
        return WEIR_OK;
    return weir_gpu_matrix_pick(g->stream, &g->embedding, g->room.params + g->at.id, g->n_rows,
                                g->model->config.embedding_scale, g->room.x, g->sizes.x);
}

/* For tests: another order of what is not ordered, if there is such a thing. */
static weir_err delay(struct graph_gpu *g)
{
    if (!g->rules.delay_us)
        return WEIR_OK;
    g->random = g->random * 6364136223846793005U + 1442695040888963407U;
    return weir_gpu_delay(g->stream, (uint32_t)(g->random >> 33) % g->rules.delay_us);
}

static weir_err poison(struct graph_gpu *g)
{
    const size_t rows = g->sizes.group * sizeof(float);
    if (!g->rules.poison)
        return WEIR_OK;
    weir_err err = weir_gpu_fill(g->stream, g->room.qkv, GPU_POISON, rows * g->sizes.qkv);
    return err ? err
               : weir_gpu_fill(g->stream, g->room.gate_up, GPU_POISON, rows * g->sizes.gate_up);
}

static weir_err queue_groups(struct graph_gpu *g, uint32_t layer, const struct gpu_layer *weights)
{
    weir_err err = WEIR_OK;
    for (uint32_t i = 0; i < g->n_groups && !err; i++)
        err = gpu_layer_queue(g, &g->group[i], layer, weights, g->n_groups == 1);
    return err;
}

static weir_err queue_layer(struct graph_gpu *g, uint32_t layer, struct weir_diag *diag)
{
    struct gpu_layer weights;
    weir_err err = delay(g);
    if (!err)
        err = gpu_weights_layer(g->weights, layer, g->stream, &weights, diag);
    if (err)
        return err;
    err = queue_groups(g, layer, &weights);
    weir_err given = gpu_weights_layer_done(g->weights, layer, g->stream);
    err = err ? err : given;
    return err ? err : poison(g);
}

/* ---- logits ---- */

static size_t asked_bytes(const struct graph_gpu *g)
{
    return weir_gpu_vectors_bytes(WEIR_GPU_FRAGMENTS, g->model->config.hidden, GPU_SMALL);
}

/* Rows that want logits, normed, in groups. */
static weir_err queue_asked(struct graph_gpu *g)
{
    const uint32_t last = g->model->config.n_layers - 1;
    const bool chained = g->n_groups == 1;
    struct weir_gpu_norm o = {.hidden = g->model->config.hidden,
                              .eps = g->model->config.norm_eps,
                              .x = g->room.x,
                              .x_stride = g->sizes.x,
                              .sum = chained ? g->room.sum : NULL,
                              .sum_stride = g->sizes.x,
                              .sum_bias = chained ? g->vectors.layer[last].down_bias : NULL,
                              .sum_weight = chained ? g->vectors.layer[last].after_mlp_norm : NULL,
                              .weight = g->vectors.norm,
                              .out = g->room.asked,
                              .layout = WEIR_GPU_FRAGMENTS,
                              .row = g->room.params + g->at.asked};
    weir_err err = WEIR_OK;
    for (uint32_t at = 0; at < g->n_asked && !err; at += GPU_SMALL) {
        err = weir_gpu_op_norm(g->stream, least(g->n_asked - at, GPU_SMALL), &o);
        o.row += GPU_SMALL;
        o.out = (char *)o.out + asked_bytes(g);
    }
    return err;
}

static weir_err multiply_block(struct graph_gpu *g, const struct gpu_block_rows *block)
{
    weir_err err = WEIR_OK;
    for (uint32_t at = 0; at < g->n_asked && !err; at += GPU_SMALL) {
        const struct weir_gpu_product product = {
            .matrix = &block->matrix,
            .vectors = (char *)g->room.asked + at / GPU_SMALL * asked_bytes(g),
            .n = least(g->n_asked - at, GPU_SMALL),
            .to = g->room.logits + (size_t)at * g->sizes.logits + block->first_row,
            .to_stride = g->sizes.logits,
            .fresh = block->fresh};
        err = weir_gpu_multiply(g->stream, &product);
    }
    return err;
}

static weir_err queue_block(struct graph_gpu *g, uint32_t block, struct weir_diag *diag)
{
    struct gpu_block_rows rows;
    weir_err err = gpu_weights_block(g->weights, block, g->stream, &rows, diag);
    if (err)
        return err;
    err = multiply_block(g, &rows);
    weir_err given = gpu_weights_block_done(g->weights, block, g->stream);
    return err ? err : given;
}

static weir_err queue_answer(struct graph_gpu *g, struct weir_diag *diag)
{
    const struct weir_model_config *c = &g->model->config;
    const uint32_t n_blocks = gpu_weights_n_blocks(g->weights);
    weir_err err = queue_asked(g);
    for (uint32_t i = 0; i < n_blocks && !err; i++)
        err = queue_block(g, i, diag);
    if (err || !(c->logit_cap > 0))
        return err;
    return weir_gpu_op_cap(g->stream, g->room.logits, g->sizes.logits, g->n_asked, c->vocab,
                           c->logit_cap);
}

weir_err gpu_pass_queue(struct graph_gpu *g, struct weir_diag *diag)
{
    weir_err err = queue_embeddings(g);
    for (uint32_t layer = 0; layer < g->model->config.n_layers && !err; layer++)
        err = queue_layer(g, layer, diag);
    return err || g->n_asked == 0 ? err : queue_answer(g, diag);
}

/* Beside: into room.aside, which the pass before may still be read from; from there on a stream of
 * its own. */
static weir_err queue_aside(struct graph_gpu *g, struct gpu_slot *slot, size_t bytes)
{
    weir_err err = WEIR_OK;
    for (size_t i = 0; i < GPU_SLOTS && !err; i++)
        err = weir_gpu_event_before(g->slot[i].down, g->stream);
    if (!err)
        err = weir_gpu_copy(g->stream, g->room.aside, g->room.logits, bytes);
    if (!err)
        err = weir_gpu_event_record(g->staged, g->stream);
    if (!err)
        err = weir_gpu_event_before(g->staged, g->aside);
    if (!err)
        err = weir_gpu_to_host(g->aside, slot->logits, g->room.aside, bytes);
    return err ? err : weir_gpu_event_record(slot->down, g->aside);
}

weir_err gpu_logits_queue(struct graph_gpu *g, struct gpu_slot *slot, bool beside)
{
    const size_t bytes = (size_t)g->n_asked * g->sizes.logits * sizeof(float);
    if (beside)
        return queue_aside(g, slot, bytes);
    weir_err err = weir_gpu_to_host(g->stream, slot->logits, g->room.logits, bytes);
    return err ? err : weir_gpu_event_record(slot->down, g->stream);
}
