#include "gpu_graph.h"

#include <stdlib.h>

#include "pool.h"

enum {
    BF16_BYTES = 2,
    /* of cuda/ops.h */
    HEAD_STEP = 8,
    MOST_HEAD_DIM = 256,
    MOST_HIDDEN = 1 << 16,
};

/* ---- what the front asks for ---- */

static weir_err embed(struct graph_gpu *g, struct weir_diag *diag)
{
    if (!g->embedded)
        return WEIR_OK;
    const struct weir_model_config *c = &g->model->config;
    weir_err err = WEIR_OK;
    for (uint32_t row = 0; row < g->n_rows && !err; row++)
        err = gpu_weights_embed(g->weights, g->params + g->at.id + row, 1, c->embedding_scale,
                                g->embedded + (size_t)row * g->sizes.x, diag);
    return err;
}

static uint64_t matrix_bytes(const struct weir_matrix *m)
{
    return (uint64_t)m->n_rows * m->n_cols * BF16_BYTES;
}

static uint64_t layer_bytes(const struct weir_layer *l)
{
    return matrix_bytes(&l->q) + matrix_bytes(&l->k) + matrix_bytes(&l->v) + matrix_bytes(&l->o) +
           matrix_bytes(&l->gate) + matrix_bytes(&l->up) + matrix_bytes(&l->down);
}

static void count_used(struct graph_gpu *g, bool asks)
{
    for (uint32_t i = 0; i < g->model->config.n_layers; i++)
        g->used_bytes += layer_bytes(&g->model->layer[i]);
    if (asks)
        g->used_bytes += matrix_bytes(&g->model->output);
}

/* What was queued is done, whatever came of it. */
static weir_err settle(struct graph_gpu *g)
{
    weir_err err = weir_gpu_stream_wait(g->stream);
    weir_err other = weir_gpu_stream_wait(g->aside);
    weir_err large = gpu_large_wait(&g->large);
    err = err ? err : other;
    return err ? err : large;
}

static weir_err queue(struct graph_gpu *g, const struct graph_pass *pass, struct weir_diag *diag)
{
    struct gpu_slot *slot = &g->slot[pass->slot];
    weir_err err = gpu_pass_queue_input(g);
    if (!err)
        err = gpu_pass_start(g, diag);
    if (!err && slot->chooses)
        err = gpu_choice_queue(g, slot);
    if (!err && slot->brings_logits) /* rows of a pass that only runs are more than there is room */
        err = gpu_logits_queue(g, slot, pass->sampler != NULL);
    return err ? err : weir_gpu_event_record(slot->done, g->stream);
}

/* Whether a pass may begin before this one has ended: weights that stream are looked at in between,
 * and embeddings that the host looks up need ids. */
static bool lets_ahead(const struct graph_gpu *g)
{
    return g->choice.is_made && !g->embedded && gpu_weights_stay(g->weights);
}

static weir_err start(void *self, const struct graph_pass *pass, bool *chooses,
                      struct weir_diag *diag)
{
    struct graph_gpu *g = self;
    struct gpu_slot *slot = &g->slot[pass->slot];
    gpu_pass_arrange(g, pass);
    gpu_choice_arrange(g, pass);
    slot->chooses = g->choice.is_made;
    slot->asks = g->n_asked > 0;
    slot->brings_logits = slot->asks && (pass->wants_logits || !slot->chooses);
    weir_err err = embed(g, diag);
    if (!err)
        err = queue(g, pass, diag);
    if (err) {
        (void)settle(g);
        gpu_choice_take_back(g, pass);
        return err;
    }
    g->n_choosing += slot->chooses;
    g->n_ahead += g->n_begun > 0;
    g->n_begun++;
    *chooses = slot->chooses;
    return WEIR_OK;
}

static bool may_go_ahead(const void *self)
{
    return lets_ahead(self);
}

static weir_err finish(void *self, unsigned slot_number, const uint32_t **id,
                       struct weir_diag *diag)
{
    struct graph_gpu *g = self;
    struct gpu_slot *slot = &g->slot[slot_number];
    weir_err err = weir_gpu_event_wait(slot->done);
    if (!err && slot->brings_logits)
        err = weir_gpu_event_wait(slot->down);
    g->n_begun--;
    if (err) {
        (void)settle(g);
        weir_diag_set(diag, "the GPU reported an error; it is of no use any more");
        return err;
    }
    err = gpu_weights_verify_wait(g->weights, diag);
    if (!err)
        count_used(g, slot->asks);
    *id = slot->chosen;
    return err;
}

static float *logits(const void *self, unsigned slot, size_t i)
{
    const struct graph_gpu *g = self;
    return g->slot[slot].logits + i * g->sizes.logits;
}

static unsigned threads(const void *self)
{
    const struct graph_gpu *g = self;
    return pool_threads_for(g->rules.n_threads);
}

static struct weir_graph_counts counts(const void *self)
{
    const struct graph_gpu *g = self;
    struct weir_device_counts c = {.n_layers = 0};
    gpu_weights_counts(g->weights, &c);
    return (struct weir_graph_counts){
        .used_bytes = g->used_bytes, .read_bytes = c.copied_bytes, .kept_bytes = c.weight_bytes};
}

/* Weights are not in the processor's memory. */
static enum weir_place place(const void *self, const struct weir_checkpoint_tensor *t,
                             uint64_t *bytes)
{
    (void)self;
    (void)t;
    *bytes = 0;
    return WEIR_PLACE_STREAMED;
}

static void free_slot(struct graph_gpu *g, struct gpu_slot *slot)
{
    weir_gpu_event_free(slot->done);
    weir_gpu_event_free(slot->down);
    weir_gpu_free_host(g->gpu, slot->params);
    weir_gpu_free_host(g->gpu, slot->chosen);
    weir_gpu_free_host(g->gpu, slot->logits);
}

static void free_gpu(void *self)
{
    struct graph_gpu *g = self;
    weir_gpu_stream_free(g->stream); /* waits */
    weir_gpu_stream_free(g->aside);
    gpu_large_free(&g->large);
    gpu_recordings_free(g);
    gpu_weights_free(g->weights);
    weir_gpu_event_free(g->staged);
    gpu_vectors_free(&g->vectors);
    for (size_t i = 0; i < GPU_SLOTS; i++)
        free_slot(g, &g->slot[i]);
    weir_gpu_free(g->gpu, g->room.at);
    weir_gpu_free_host(g->gpu, g->embedded);
    free(g->group);
    free(g->row_of);
    free(g->place);
    free(g->n_of);
    free(g);
}

static const struct graph_back gpu_back = {start,   finish, may_go_ahead, logits,
                                           threads, counts, place,        free_gpu};

struct weir_device_counts weir_device_graph_counts(const struct weir_graph *graph)
{
    struct weir_device_counts c = {.n_layers = 0};
    if (graph->back != &gpu_back)
        return c;
    const struct graph_gpu *g = graph->self;
    gpu_weights_counts(g->weights, &c);
    c.n_layers = g->model->config.n_layers;
    c.has_blas = g->blas != NULL;
    c.small_piece = g->sizes.most_small < GPU_SMALL ? g->sizes.most_small : GPU_SMALL;
    c.n_replays = g->n_replays;
    c.n_choosing = g->n_choosing;
    c.n_ahead = g->n_ahead;
    for (size_t i = 0; i < GPU_MOST_RECORDINGS; i++)
        c.n_recordings += g->recording[i].graph != NULL;
    return c;
}

/* ---- making ---- */

/* What no kernel is made for. */
static weir_err check_shapes(const struct weir_model_config *c, struct weir_diag *diag)
{
    if (c->head_dim % HEAD_STEP || c->head_dim > MOST_HEAD_DIM) {
        weir_diag_set(diag, "heads of %u numbers: on a GPU they have a multiple of %d, at most %d",
                      c->head_dim, HEAD_STEP, MOST_HEAD_DIM);
        return WEIR_ERR_UNSUPPORTED;
    }
    if (c->hidden % 2 || c->intermediate % 2 || c->hidden > MOST_HIDDEN) {
        weir_diag_set(diag, "a width of %u and %u: on a GPU both are even, the first at most %d",
                      c->hidden, c->intermediate, MOST_HIDDEN);
        return WEIR_ERR_UNSUPPORTED;
    }
    return WEIR_OK;
}

static weir_err take_slot(struct graph_gpu *g, struct gpu_slot *slot, uint32_t n_logits)
{
    const struct weir_graph_options *o = &g->options;
    const size_t words = gpu_params_at(o->chunk, o->n_sequences).words + gpu_choice_most_words(o);
    slot->params = weir_gpu_alloc_host(g->gpu, words * sizeof(*slot->params));
    slot->chosen = weir_gpu_alloc_host(g->gpu, gpu_n_choices(o) * sizeof(*slot->chosen));
    slot->logits = weir_gpu_alloc_host(g->gpu, (size_t)n_logits * g->sizes.logits * sizeof(float));
    if (!slot->params || !slot->chosen || !slot->logits)
        return WEIR_ERR_NOMEM;
    weir_err err = weir_gpu_event_new(g->gpu, false, &slot->done);
    return err ? err : weir_gpu_event_new(g->gpu, false, &slot->down);
}

static weir_err take_host(struct graph_gpu *g)
{
    const struct weir_graph_options *o = &g->options;
    weir_err err = WEIR_OK;
    for (size_t i = 0; i < GPU_SLOTS && !err; i++)
        err = take_slot(g, &g->slot[i], i ? gpu_n_choices(o) : o->n_logits);
    if (err)
        return err;
    if (!gpu_weights_embedding(g->weights, &g->embedding)) {
        g->embedded = weir_gpu_alloc_host(g->gpu, (size_t)o->chunk * g->sizes.x * sizeof(float));
        if (!g->embedded)
            return WEIR_ERR_NOMEM;
    }
    g->group = calloc(o->chunk, sizeof(*g->group));
    g->row_of = calloc(o->chunk, sizeof(*g->row_of));
    g->place = calloc(o->chunk, sizeof(*g->place));
    g->n_of = calloc(o->n_sequences, sizeof(*g->n_of));
    return g->group && g->row_of && g->place && g->n_of ? WEIR_OK : WEIR_ERR_NOMEM;
}

static weir_err fill(struct graph_gpu *g, struct weir_diag *diag)
{
    uint64_t budget = 0, fixed = 0;
    weir_err err = check_shapes(&g->model->config, diag);
    if (!err)
        err = gpu_graph_take_room(g, &budget, &fixed, diag);
    if (!err)
        err = weir_gpu_stream_new(g->gpu, &g->stream);
    if (!err)
        err = weir_gpu_stream_new(g->gpu, &g->aside);
    if (!err)
        err = weir_gpu_event_new(g->gpu, false, &g->staged);
    if (!err && g->sizes.large)
        err = gpu_large_init(g);
    if (!err)
        err = gpu_room_clear(g);
    if (!err)
        err = gpu_vectors_init(&g->vectors, g->model, g->options.context, g->stream, g->room.small);
    if (!err)
        err = gpu_graph_take_weights(g, budget, fixed, diag);
    return err ? err : take_host(g);
}

static weir_err add_back(struct weir_device *d, const struct weir_device_rules *rules,
                         struct weir_graph *front, struct weir_diag *diag)
{
    struct graph_gpu *g = calloc(1, sizeof(*g));
    if (!g)
        return WEIR_ERR_NOMEM;
    g->device = d;
    g->gpu = d->gpu;
    g->model = front->model;
    g->options = front->options;
    g->rules = *rules;
    g->random = rules->delay_seed;
    front->back = &gpu_back;
    front->self = g;
    return fill(g, diag);
}

weir_err weir_device_graph_new(struct weir_device *d, const struct weir_model *model,
                               const struct weir_graph_options *options,
                               const struct weir_device_rules *rules, struct weir_graph **out,
                               struct weir_diag *diag)
{
    struct weir_graph *front;
    weir_err err = graph_front_new(model, options, &front, diag);
    if (err)
        return err;
    err = add_back(d, rules, front, diag);
    if (err)
        weir_graph_free(front);
    else
        *out = front;
    return err;
}
