#include "graph_cpu.h"

#include <stdlib.h>
#include <string.h>

enum { ALIGNMENT = 64 };

/* ---- memory ---- */

enum { N_NEEDS = 14 };

struct need {
    struct lines *lines;
    size_t n, rows;
};

static void list_needs(struct graph_cpu *g, unsigned n_threads, struct need need[N_NEEDS])
{
    const struct weir_model_config *c = &g->model->config;
    const size_t chunk = g->options.chunk, n_logits = g->options.n_logits;
    const size_t heads = (size_t)c->n_heads * c->head_dim;
    const size_t kv_heads = (size_t)c->n_kv_heads * c->head_dim;
    const struct need all[N_NEEDS] = {
        {&g->x, c->hidden, chunk},
        {&g->normed, c->hidden, chunk},
        {&g->q, heads, chunk},
        {&g->k, kv_heads, chunk},
        {&g->v, kv_heads, chunk},
        {&g->looked, heads, chunk},
        {&g->gate, c->intermediate, chunk},
        {&g->up, c->intermediate, chunk},
        {&g->sum, c->hidden, chunk},
        {&g->turn, c->rope.n_dims, chunk},
        {&g->local_turn, c->local_rope.n_dims, chunk},
        {&g->asked, c->hidden, n_logits},
        {&g->logits, c->vocab, n_logits},
        {&g->scratch, attention_scratch(c, g->options.context), n_threads},
    };
    memcpy(need, all, sizeof(all));
}

/* Elements of all lines; 0: too many. */
static size_t count_elements(const struct need need[N_NEEDS])
{
    size_t sum = 0, part;
    for (size_t i = 0; i < N_NEEDS; i++)
        if (__builtin_mul_overflow(whole_lanes(need[i].n), need[i].rows, &part) ||
            __builtin_add_overflow(sum, part, &sum) || sum > SIZE_MAX / sizeof(float) - ALIGNMENT)
            return 0;
    return sum;
}

static weir_err allocate_lines(struct graph_cpu *g)
{
    struct need need[N_NEEDS];
    list_needs(g, pool_threads(g->pool), need);
    size_t n = count_elements(need);
    if (!n)
        return WEIR_ERR_NOMEM;
    size_t bytes = (n * sizeof(float) + ALIGNMENT - 1) / ALIGNMENT * ALIGNMENT;
    g->memory = aligned_alloc(ALIGNMENT, bytes);
    if (!g->memory)
        return WEIR_ERR_NOMEM;
    memset(g->memory, 0, bytes);
    float *at = g->memory;
    for (size_t i = 0; i < N_NEEDS; i++) {
        *need[i].lines = (struct lines){at, need[i].n, whole_lanes(need[i].n)};
        at += whole_lanes(need[i].n) * need[i].rows;
    }
    return WEIR_OK;
}

static struct kv_shape shape_of(const struct graph_cpu *g)
{
    const struct weir_model_config *c = &g->model->config;
    return (struct kv_shape){.type = g->options.kv_bf16 ? NUMBER_BF16 : NUMBER_F32,
                             .n_layers = c->n_layers,
                             .n_sequences = g->options.n_sequences,
                             .n_heads = c->n_kv_heads,
                             .context = g->options.context,
                             .head_dim = c->head_dim};
}

/* ---- what the front asks for ---- */

/* All of it is done at once. */
static weir_err start(void *self, const struct graph_pass *pass, bool *chooses,
                      struct weir_diag *diag)
{
    struct graph_cpu *g = self;
    (void)chooses;
    g->pass = *pass;
    weir_err err = graph_forward(g, diag);
    if (g->keep)
        keep_settle(g->keep);
    return err;
}

/* Samplers choose from the logits. */
static weir_err finish(void *self, unsigned slot, const uint32_t **id, struct weir_diag *diag)
{
    (void)self;
    (void)slot;
    (void)id;
    (void)diag;
    return WEIR_OK;
}

static bool may_go_ahead(const void *self)
{
    (void)self;
    return false;
}

static float *logits(const void *self, unsigned slot, size_t i)
{
    const struct graph_cpu *g = self;
    (void)slot;
    return line(&g->logits, i);
}

static unsigned threads(const void *self)
{
    const struct graph_cpu *g = self;
    return pool_threads(g->pool);
}

static struct weir_graph_counts counts(const void *self)
{
    const struct graph_cpu *g = self;
    return (struct weir_graph_counts){.used_bytes = linear_used_bytes(g->linear),
                                      .read_bytes = linear_read_bytes(g->linear),
                                      .kept_bytes = g->keep ? keep_bytes(g->keep) : 0};
}

static enum weir_place place(const void *self, const struct weir_checkpoint_tensor *t,
                             uint64_t *bytes)
{
    const struct graph_cpu *g = self;
    enum keep_form form = KEEP_NOTHING;
    *bytes = 0;
    if (g->keep)
        form = keep_form_of(g->keep, t, bytes);
    return form == KEEP_RESIDENT ? WEIR_PLACE_RESIDENT
           : form == KEEP_PLAIN  ? WEIR_PLACE_PLAIN
                                 : WEIR_PLACE_STREAMED;
}

static void free_cpu(void *self)
{
    struct graph_cpu *g = self;
    linear_free(g->linear);
    keep_free(g->keep);
    pool_free(g->pool);
    kv_free(&g->kv);
    free(g->memory);
    free(g);
}

static const struct graph_back cpu_back = {start,   finish, may_go_ahead, logits,
                                           threads, counts, place,        free_cpu};

/* ---- making ---- */

static size_t most_cols(const struct weir_model_config *c)
{
    size_t n = (size_t)c->n_heads * c->head_dim;
    n = n < c->hidden ? c->hidden : n;
    return n < c->intermediate ? c->intermediate : n;
}

static weir_err fill(struct graph_cpu *g, struct weir_diag *diag)
{
    const struct weir_graph_options *o = &g->options;
    const struct kv_shape shape = shape_of(g);
    g->kernels = o->kernels ? math_kernels_named(o->kernels) : math_kernels_best();
    if (!g->kernels) {
        weir_diag_set(diag, "this processor has no %s", o->kernels);
        return WEIR_ERR_INVALID;
    }
    weir_err err = pool_new(o->n_threads, &g->pool);
    if (!err && o->keep_bytes)
        err = keep_new(g->model, o->keep_bytes, o->keep_plain, &g->keep, diag);
    if (!err)
        err = linear_new(g->model, g->pool, g->kernels, g->keep, most_cols(&g->model->config),
                         &g->linear);
    if (!err)
        err = kv_init(&g->kv, &shape);
    if (!err)
        err = allocate_lines(g);
    if (err)
        return err;
    rope_init(&g->rope, &g->model->config.rope);
    rope_init(&g->local_rope, &g->model->config.local_rope);
    return WEIR_OK;
}

static weir_err add_back(struct weir_graph *front, struct weir_diag *diag)
{
    struct graph_cpu *g = calloc(1, sizeof(*g));
    if (!g)
        return WEIR_ERR_NOMEM;
    g->model = front->model;
    g->options = front->options;
    front->back = &cpu_back;
    front->self = g;
    return fill(g, diag);
}

weir_err weir_graph_new(const struct weir_model *model, const struct weir_graph_options *options,
                        struct weir_graph **out, struct weir_diag *diag)
{
    struct weir_graph *front;
    weir_err err = graph_front_new(model, options, &front, diag);
    if (err)
        return err;
    err = add_back(front, diag);
    if (err)
        weir_graph_free(front);
    else
        *out = front;
    return err;
}

uint64_t weir_graph_bytes(const struct weir_model *model, const struct weir_graph_options *options)
{
    struct graph_cpu g = {.model = model};
    struct need need[N_NEEDS];
    graph_fill_options(model, options, &g.options);
    const struct kv_shape shape = shape_of(&g);
    const unsigned n_threads = pool_threads_for(options->n_threads);
    list_needs(&g, n_threads, need);
    uint64_t lines = count_elements(need) * sizeof(float), kv = kv_bytes(&shape), sum;
    uint64_t hands = n_threads * (uint64_t)linear_hand_bytes(model, most_cols(&model->config));
    if (!lines || !kv || __builtin_add_overflow(lines, kv, &sum) ||
        __builtin_add_overflow(sum, hands, &sum))
        return 0;
    return sum;
}
