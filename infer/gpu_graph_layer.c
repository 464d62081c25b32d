/* A group's way through a layer. */
#include "gpu_graph.h"

struct step {
    struct graph_gpu *g;
    const struct gpu_group *group;
    const struct gpu_layer *weights;
    const struct gpu_layer_vectors *vectors;
    uint32_t layer;
    enum weir_gpu_layout layout;
};

static float *x_of(const struct step *t)
{
    return t->g->room.x + (size_t)t->group->first * t->g->sizes.x;
}

static struct weir_gpu_pass rows_of(const struct step *t)
{
    const uint32_t *params = t->g->room.params + t->group->first;
    return (struct weir_gpu_pass){t->group->n, params + t->g->at.sequence,
                                  params + t->g->at.position};
}

/* ---- products ---- */

/* `to`: a line for each row of the group. */
static struct weir_gpu_product product_of(const struct step *t, const struct weir_gpu_matrix *m,
                                          float *to, uint32_t stride)
{
    return (struct weir_gpu_product){.matrix = m,
                                     .vectors = t->g->room.vectors,
                                     .n = t->group->n,
                                     .to = to,
                                     .to_stride = stride,
                                     .fresh = t->weights->fresh};
}

static weir_err multiply(const struct step *t, const struct weir_gpu_matrix *m, float *to,
                         uint32_t stride)
{
    const struct weir_gpu_product product = product_of(t, m, to, stride);
    return t->group->large ? gpu_large_multiply(t->g, &product)
                           : weir_gpu_multiply(t->g->stream, &product);
}

/* ---- between products ---- */

/* x += sum, where there is one; vectors = x normed, where there is a weight. */
struct addition {
    const float *sum, *bias, *after, *weight;
};

static struct weir_gpu_norm norm_of(const struct step *t, const struct addition *a)
{
    const struct graph_gpu *g = t->g;
    return (struct weir_gpu_norm){.hidden = g->model->config.hidden,
                                  .eps = g->model->config.norm_eps,
                                  .x = x_of(t),
                                  .x_stride = g->sizes.x,
                                  .sum = a->sum,
                                  .sum_stride = g->sizes.x,
                                  .sum_bias = a->bias,
                                  .sum_weight = a->after,
                                  .weight = a->weight,
                                  .out = g->room.vectors,
                                  .layout = t->layout};
}

static weir_err add_and_norm(const struct step *t, const struct addition *a)
{
    const struct weir_gpu_norm o = norm_of(t, a);
    return weir_gpu_op_norm(t->g->stream, t->group->n, &o);
}

/* Queries and keys turn, keys and values are stored, then each row looks at those before it. */
static weir_err look(const struct step *t)
{
    const struct graph_gpu *g = t->g;
    const struct weir_model_config *c = &g->model->config;
    const bool windowed = c->windowed[t->layer];
    const struct gpu_turn *turns = windowed ? &g->vectors.local_turn : &g->vectors.turn;
    const struct weir_gpu_kv kv = gpu_room_kv(g, t->layer);
    const struct weir_gpu_pass rows = rows_of(t);
    const struct weir_gpu_heads heads = {.qkv = g->room.qkv,
                                         .stride = g->sizes.qkv,
                                         .n_heads = c->n_heads,
                                         .bias = t->vectors->qkv_bias,
                                         .q_norm = t->vectors->q_norm,
                                         .k_norm = t->vectors->k_norm,
                                         .norm_eps = c->norm_eps,
                                         .turn = turns->at,
                                         .long_turn = turns->long_at,
                                         .is_long = (uint8_t *)(g->room.params + g->at.is_long),
                                         .n_pairs = turns->n_pairs,
                                         .pairs = c->rope_pairs};
    const struct weir_gpu_attention attention = {.q = g->room.qkv,
                                                 .stride = g->sizes.qkv,
                                                 .n_heads = c->n_heads,
                                                 .scale = c->attention_scale,
                                                 .cap = c->attention_cap,
                                                 .window = windowed ? c->window : 0,
                                                 .most_positions = g->most_positions,
                                                 .scratch = g->room.attention,
                                                 .out = g->room.vectors,
                                                 .layout = t->layout};
    weir_err err = weir_gpu_op_heads(g->stream, &rows, &kv, &heads);
    return err ? err : weir_gpu_op_attention(g->stream, &rows, &kv, &attention);
}

static struct weir_gpu_gate gate_of(const struct step *t)
{
    const struct graph_gpu *g = t->g;
    const struct weir_model_config *c = &g->model->config;
    return (struct weir_gpu_gate){.gate_up = g->room.gate_up,
                                  .stride = g->sizes.gate_up,
                                  .width = c->intermediate,
                                  .bias = t->vectors->gate_up_bias,
                                  .gelu_tanh = c->activation == WEIR_GELU_TANH,
                                  .out = g->room.vectors,
                                  .layout = t->layout};
}

/* ---- of any rows ---- */

/* From normed vectors to what is to be added. */
static weir_err attend(const struct step *t)
{
    struct graph_gpu *g = t->g;
    weir_err err = multiply(t, &t->weights->qkv, g->room.qkv, g->sizes.qkv);
    if (!err)
        err = look(t);
    return err ? err : multiply(t, &t->weights->o, g->room.sum, g->sizes.x);
}

static weir_err think(const struct step *t)
{
    struct graph_gpu *g = t->g;
    const struct weir_gpu_gate gate = gate_of(t);
    weir_err err = multiply(t, &t->weights->gate_up, g->room.gate_up, g->sizes.gate_up);
    if (!err)
        err = weir_gpu_op_gate(g->stream, t->group->n, &gate);
    return err ? err : multiply(t, &t->weights->down, g->room.sum, g->sizes.x);
}

/* ---- of a single row, in fewer launches ---- */

static weir_err attend_alone(const struct step *t, const struct addition *before)
{
    struct graph_gpu *g = t->g;
    struct weir_gpu_norm norm = norm_of(t, before);
    norm.x_to = g->room.x_between;
    const struct weir_gpu_product product =
        product_of(t, &t->weights->qkv, g->room.qkv, g->sizes.qkv);
    weir_err err = weir_gpu_op_chain(g->stream, &(struct weir_gpu_chain){&norm, &product, NULL});
    if (!err)
        err = look(t);
    return err ? err : multiply(t, &t->weights->o, g->room.sum, g->sizes.x);
}

static weir_err think_alone(const struct step *t, const struct addition *before)
{
    struct graph_gpu *g = t->g;
    struct weir_gpu_norm norm = norm_of(t, before);
    struct weir_gpu_gate gate = gate_of(t);
    const struct weir_gpu_product up =
        product_of(t, &t->weights->gate_up, g->room.gate_up, g->sizes.gate_up);
    struct weir_gpu_product down = product_of(t, &t->weights->down, g->room.sum, g->sizes.x);
    norm.x = g->room.x_between;
    norm.x_to = x_of(t);
    gate.out = g->room.gated;
    down.vectors = g->room.gated;
    weir_err err = weir_gpu_op_chain(g->stream, &(struct weir_gpu_chain){&norm, &up, &gate});
    return err ? err : weir_gpu_multiply(g->stream, &down);
}

/* ---- the layer ---- */

weir_err gpu_layer_queue(struct graph_gpu *g, const struct gpu_group *group, uint32_t layer,
                         const struct gpu_layer *weights, bool chained)
{
    const struct gpu_layer_vectors *v = &g->vectors.layer[layer];
    const struct step t = {g, group, weights,
                           v, layer, group->large ? WEIR_GPU_LINES : WEIR_GPU_FRAGMENTS};
    struct addition before = {.weight = v->attention_norm};
    if (chained && layer > 0)
        before = (struct addition){g->room.sum, v[-1].down_bias, v[-1].after_mlp_norm,
                                   v->attention_norm};
    const struct addition between = {g->room.sum, v->o_bias, v->after_attention_norm, v->mlp_norm};
    const struct addition behind = {g->room.sum, v->down_bias, v->after_mlp_norm, NULL};
    weir_err err;
    if (chained && group->n == 1 && !group->large) {
        err = attend_alone(&t, &before);
        return err ? err : think_alone(&t, &between);
    }
    err = add_and_norm(&t, &before);
    if (!err)
        err = attend(&t);
    if (!err)
        err = add_and_norm(&t, &between);
    if (!err)
        err = think(&t);
    return err || chained ? err : add_and_norm(&t, &behind);
}
