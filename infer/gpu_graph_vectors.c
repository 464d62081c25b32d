/* Norms, biases, cosines and sines: put one behind the other, once, and brought to the device. */
#include <stdlib.h>
#include <string.h>

#include "gpu_graph.h"
#include "rope.h"

enum { STEP = 64 }; /* floats: where each begins */

/* Counts where `host` is NULL; else fills it, and gives addresses of the device. */
struct pack {
    float *host;
    const float *device;
    size_t n;
};

static const float *put(struct pack *p, size_t n, const float *from)
{
    if (!from)
        return NULL;
    const size_t at = p->n;
    p->n += (n + STEP - 1) / STEP * STEP;
    if (!p->host)
        return NULL;
    memcpy(p->host + at, from, n * sizeof(*from));
    return p->device + at;
}

/* The biases of matrices that are one on the device; zeros for those without. */
static const float *put_biases(struct pack *p, const struct weir_matrix *const *m, size_t n_m)
{
    const size_t at = p->n;
    size_t n = 0;
    bool any = false;
    for (size_t i = 0; i < n_m; i++) {
        any = any || m[i]->bias;
        if (p->host && m[i]->bias)
            memcpy(p->host + at + n, m[i]->bias, m[i]->n_rows * sizeof(*m[i]->bias));
        n += m[i]->n_rows;
    }
    if (!any)
        return NULL;
    p->n += (n + STEP - 1) / STEP * STEP;
    return p->host ? p->device + at : NULL;
}

static struct gpu_layer_vectors put_layer(struct pack *p, const struct weir_model *model,
                                          const struct weir_layer *l)
{
    const size_t hidden = model->config.hidden, head = model->config.head_dim;
    const struct weir_matrix *const qkv[] = {&l->q, &l->k, &l->v};
    const struct weir_matrix *const gate_up[] = {&l->gate, &l->up};
    return (struct gpu_layer_vectors){
        .attention_norm = put(p, hidden, l->attention_norm),
        .mlp_norm = put(p, hidden, l->mlp_norm),
        .after_attention_norm = put(p, hidden, l->after_attention_norm),
        .after_mlp_norm = put(p, hidden, l->after_mlp_norm),
        .q_norm = put(p, head, l->q_norm),
        .k_norm = put(p, head, l->k_norm),
        .qkv_bias = put_biases(p, qkv, 3),
        .o_bias = put(p, hidden, l->o.bias),
        .gate_up_bias = put_biases(p, gate_up, 2),
        .down_bias = put(p, hidden, l->down.bias),
    };
}

static void put_all(struct pack *p, const struct weir_model *model, struct gpu_vectors *v)
{
    for (uint32_t i = 0; i < model->config.n_layers; i++) {
        const struct gpu_layer_vectors l = put_layer(p, model, &model->layer[i]);
        if (v)
            v->layer[i] = l;
    }
    const float *norm = put(p, model->config.hidden, model->norm);
    if (v)
        v->norm = norm;
}

/* ---- how heads turn ---- */

static bool has_windows(const struct weir_model_config *c)
{
    bool any = false;
    for (uint32_t i = 0; i < c->n_layers; i++)
        any = any || c->windowed[i];
    return any;
}

static size_t table_floats(const struct weir_rope *r, uint32_t context)
{
    return ((size_t)context * r->n_dims + STEP - 1) / STEP * STEP;
}

static size_t turn_floats(const struct weir_rope *r, uint32_t context)
{
    return table_floats(r, context) * (r->type == WEIR_ROPE_FACTORS ? 2 : 1);
}

struct table {
    struct weir_gpu_stream *s;
    uint32_t context;
    float *at; /* device memory, of the next one */
};

static weir_err fill_table(struct table *t, const struct weir_rope *config, bool is_long,
                           const float **out)
{
    const size_t bytes = table_floats(config, t->context) * sizeof(float);
    float *host = calloc(1, bytes);
    struct rope *r = malloc(sizeof(*r));
    weir_err err = host && r ? WEIR_OK : WEIR_ERR_NOMEM;
    if (!err) {
        rope_init(r, config);
        for (uint32_t p = 0; p < t->context; p++)
            rope_turn(r, p, is_long, host + (size_t)p * config->n_dims);
        err = weir_gpu_to_device(t->s, t->at, host, bytes);
    }
    if (!err)
        err = weir_gpu_stream_wait(t->s);
    free(r);
    free(host);
    *out = t->at;
    t->at += table_floats(config, t->context);
    return err;
}

static weir_err fill_turn(struct table *t, const struct weir_rope *config, struct gpu_turn *out)
{
    *out = (struct gpu_turn){.n_pairs = config->n_dims / 2};
    weir_err err = fill_table(t, config, false, &out->at);
    if (!err && config->type == WEIR_ROPE_FACTORS)
        err = fill_table(t, config, true, &out->long_at);
    return err;
}

/* ---- both ---- */

uint64_t gpu_vectors_bytes(const struct weir_model *model, uint32_t context)
{
    const struct weir_model_config *c = &model->config;
    struct pack p = {.n = 0};
    put_all(&p, model, NULL);
    size_t n = p.n + turn_floats(&c->rope, context);
    n += has_windows(c) ? turn_floats(&c->local_rope, context) : 0;
    return n * sizeof(float);
}

static weir_err fill_vectors(struct gpu_vectors *v, const struct weir_model *model,
                             struct weir_gpu_stream *s, float *room, size_t n)
{
    float *host = calloc(n, sizeof(*host));
    if (!host)
        return WEIR_ERR_NOMEM;
    struct pack p = {.host = host, .device = room};
    put_all(&p, model, v);
    weir_err err = weir_gpu_to_device(s, room, host, n * sizeof(*host));
    if (!err)
        err = weir_gpu_stream_wait(s);
    free(host);
    return err;
}

weir_err gpu_vectors_init(struct gpu_vectors *v, const struct weir_model *model, uint32_t context,
                          struct weir_gpu_stream *s, void *room)
{
    const struct weir_model_config *c = &model->config;
    struct pack p = {.n = 0};
    put_all(&p, model, NULL);
    struct table t = {s, context, (float *)room + p.n};
    v->layer = calloc(c->n_layers, sizeof(*v->layer));
    if (!v->layer)
        return WEIR_ERR_NOMEM;
    weir_err err = fill_vectors(v, model, s, room, p.n);
    if (!err)
        err = fill_turn(&t, &c->rope, &v->turn);
    if (!err && has_windows(c))
        err = fill_turn(&t, &c->local_rope, &v->local_turn);
    return err;
}

void gpu_vectors_free(struct gpu_vectors *v)
{
    free(v->layer);
}
