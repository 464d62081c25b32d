/* One pass: each step is shared out to the threads by rows (tokens), by heads, or by rows of
 * matrices, and none of them computes anything that depends on how. */
#include <string.h>

#include "graph_private.h"
#include "ops.h"

static const struct weir_layer *layer_of(const struct weir_graph *g)
{
    return &g->model->layer[g->layer];
}

static bool is_windowed(const struct weir_graph *g)
{
    return g->model->config.windowed[g->layer];
}

static void norm(const struct weir_graph *g, const float *x, const float *weight, float *to)
{
    op_norm(x, weight, g->model->config.hidden, g->model->config.norm_eps, to);
}

static weir_err begin_row(void *self, size_t row, unsigned worker, struct weir_diag *diag)
{
    struct weir_graph *g = self;
    const struct weir_model_config *c = &g->model->config;
    const struct weir_graph_token *t = &g->token[row];
    float *x = line(&g->x, row);
    weir_err err = linear_row(g->linear, worker, &g->model->embedding, t->id, x, diag);
    if (err)
        return err;
    if (c->embedding_scale != 1)
        op_scale(x, c->embedding_scale, c->hidden);
    norm(g, x, g->model->layer[0].attention_norm, line(&g->normed, row));
    rope_turn(&g->rope, g->position[row], g->is_long[t->sequence], line(&g->turn, row));
    rope_turn(&g->local_rope, g->position[row], g->is_long[t->sequence], line(&g->local_turn, row));
    return WEIR_OK;
}

static void turn_heads(const struct weir_graph *g, size_t row, float *heads, uint32_t n,
                       const float *norm_weight)
{
    const struct weir_model_config *c = &g->model->config;
    const bool local = is_windowed(g);
    const float *turn = line(local ? &g->local_turn : &g->turn, row);
    const uint32_t n_pairs = local ? g->local_rope.n_pairs : g->rope.n_pairs;
    for (uint32_t h = 0; h < n; h++) {
        float *head = heads + (size_t)h * c->head_dim;
        if (norm_weight)
            op_norm(head, norm_weight, c->head_dim, c->norm_eps, head);
        rope_apply(turn, n_pairs, c->rope_pairs, head);
    }
}

static weir_err turn_row(void *self, size_t row, unsigned worker, struct weir_diag *diag)
{
    struct weir_graph *g = self;
    const struct weir_model_config *c = &g->model->config;
    float *k = line(&g->k, row), *v = line(&g->v, row);
    (void)worker;
    (void)diag;
    turn_heads(g, row, line(&g->q, row), c->n_heads, layer_of(g)->q_norm);
    turn_heads(g, row, k, c->n_kv_heads, layer_of(g)->k_norm);
    for (uint32_t h = 0; h < c->n_kv_heads; h++) {
        struct kv_place place = {g->layer, g->token[row].sequence, h};
        size_t at = (size_t)h * c->head_dim;
        kv_store(&g->kv, place, g->position[row], k + at, v + at);
    }
    return WEIR_OK;
}

/* unit: a row and a head of keys and values */
static weir_err look(void *self, size_t unit, unsigned worker, struct weir_diag *diag)
{
    struct weir_graph *g = self;
    const struct weir_model_config *c = &g->model->config;
    const size_t row = unit / c->n_kv_heads;
    const uint32_t head = (uint32_t)(unit % c->n_kv_heads);
    const size_t at = (size_t)head * (c->n_heads / c->n_kv_heads) * c->head_dim;
    const struct attention a = {math_kernels_exact(g->kernels), c, &g->kv};
    const struct kv_place place = {g->layer, g->token[row].sequence, head};
    (void)diag;
    attention_head(&a, place, g->position[row], is_windowed(g) ? c->window : 0,
                   line(&g->q, row) + at, line(&g->looked, row) + at, line(&g->scratch, worker));
    return WEIR_OK;
}

static void add_sum(const struct weir_graph *g, size_t row, const float *norm_weight)
{
    float *sum = line(&g->sum, row);
    if (norm_weight)
        norm(g, sum, norm_weight, sum);
    op_add(line(&g->x, row), sum, g->model->config.hidden);
}

static weir_err after_attention(void *self, size_t row, unsigned worker, struct weir_diag *diag)
{
    struct weir_graph *g = self;
    (void)worker;
    (void)diag;
    add_sum(g, row, layer_of(g)->after_attention_norm);
    norm(g, line(&g->x, row), layer_of(g)->mlp_norm, line(&g->normed, row));
    return WEIR_OK;
}

static weir_err gate_row(void *self, size_t row, unsigned worker, struct weir_diag *diag)
{
    struct weir_graph *g = self;
    (void)worker;
    (void)diag;
    op_gate(g->model->config.activation, line(&g->gate, row), line(&g->up, row), g->gate.n);
    return WEIR_OK;
}

/* And the norm that the next layer begins with. */
static weir_err after_mlp(void *self, size_t row, unsigned worker, struct weir_diag *diag)
{
    struct weir_graph *g = self;
    (void)worker;
    (void)diag;
    add_sum(g, row, layer_of(g)->after_mlp_norm);
    if (g->layer + 1 < g->model->config.n_layers)
        norm(g, line(&g->x, row), layer_of(g)[1].attention_norm, line(&g->normed, row));
    return WEIR_OK;
}

static weir_err cap_logits(void *self, size_t i, unsigned worker, struct weir_diag *diag)
{
    struct weir_graph *g = self;
    (void)worker;
    (void)diag;
    op_cap(line(&g->logits, i), g->model->config.logit_cap, g->logits.n);
    return WEIR_OK;
}

static weir_err for_rows(struct weir_graph *g, pool_work work, struct weir_diag *diag)
{
    return pool_run(g->pool, work, g, g->n_rows, diag);
}

/* to = matrix times each row of `from`. */
static weir_err multiply(struct weir_graph *g, const struct weir_matrix *m,
                         const struct lines *from, const struct lines *to, struct weir_diag *diag)
{
    const struct linear_job job = {m, to->at, to->stride};
    const struct vectors x = {from->at, from->stride, g->n_rows};
    return linear_run(g->linear, &job, 1, &x, diag);
}

static weir_err attend(struct weir_graph *g, struct weir_diag *diag)
{
    const struct weir_layer *l = layer_of(g);
    const struct linear_job job[] = {{&l->q, g->q.at, g->q.stride},
                                     {&l->k, g->k.at, g->k.stride},
                                     {&l->v, g->v.at, g->v.stride}};
    const struct vectors x = {g->normed.at, g->normed.stride, g->n_rows};
    weir_err err = linear_run(g->linear, job, 3, &x, diag);
    if (!err)
        err = for_rows(g, turn_row, diag);
    if (!err)
        err = pool_run(g->pool, look, g, g->n_rows * g->model->config.n_kv_heads, diag);
    if (!err)
        err = multiply(g, &l->o, &g->looked, &g->sum, diag);
    return err ? err : for_rows(g, after_attention, diag);
}

static weir_err think(struct weir_graph *g, struct weir_diag *diag)
{
    const struct weir_layer *l = layer_of(g);
    const struct linear_job job[] = {{&l->gate, g->gate.at, g->gate.stride},
                                     {&l->up, g->up.at, g->up.stride}};
    const struct vectors x = {g->normed.at, g->normed.stride, g->n_rows};
    weir_err err = linear_run(g->linear, job, 2, &x, diag);
    if (!err)
        err = for_rows(g, gate_row, diag);
    if (!err)
        err = multiply(g, &l->down, &g->gate, &g->sum, diag);
    return err ? err : for_rows(g, after_mlp, diag);
}

static weir_err answer(struct weir_graph *g, struct weir_diag *diag)
{
    if (g->n_asked == 0)
        return WEIR_OK;
    for (size_t i = 0; i < g->n_asked; i++)
        norm(g, line(&g->x, g->asked_row[i]), g->model->norm, line(&g->asked, i));
    const struct linear_job job = {&g->model->output, g->logits.at, g->logits.stride};
    const struct vectors x = {g->asked.at, g->asked.stride, g->n_asked};
    weir_err err = linear_run(g->linear, &job, 1, &x, diag);
    if (err || g->model->config.logit_cap == 0)
        return err;
    return pool_run(g->pool, cap_logits, g, g->n_asked, diag);
}

/* What comes after this layer, for weights that have to be fetched. */
static void expect_next(const struct weir_graph *g)
{
    if (g->layer + 1 == g->model->config.n_layers) {
        linear_expect(g->linear, &g->model->output);
        return;
    }
    const struct weir_layer *l = &g->model->layer[g->layer + 1];
    const struct weir_matrix *const all[] = {&l->q,    &l->k,  &l->v,   &l->o,
                                             &l->gate, &l->up, &l->down};
    for (size_t i = 0; i < sizeof(all) / sizeof(all[0]); i++)
        linear_expect(g->linear, all[i]);
}

weir_err graph_forward(struct weir_graph *g, struct weir_diag *diag)
{
    weir_err err = for_rows(g, begin_row, diag);
    for (g->layer = 0; g->layer < g->model->config.n_layers && !err; g->layer++) {
        expect_next(g);
        err = attend(g, diag);
        if (!err)
            err = think(g, diag);
    }
    return err ? err : answer(g, diag);
}
