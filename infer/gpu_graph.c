#include "gpu_graph.h"

#include <inttypes.h>
#include <stdlib.h>

#include "pool.h"

enum {
    MEBI_SHIFT = 20,
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

static void count_used(struct graph_gpu *g)
{
    for (uint32_t i = 0; i < g->model->config.n_layers; i++)
        g->used_bytes += layer_bytes(&g->model->layer[i]);
    if (g->n_asked)
        g->used_bytes += matrix_bytes(&g->model->output);
}

/* Whatever happens, nothing of the pass is on its way any more when this returns: the next one
 * writes where it read. */
static weir_err run(void *self, const struct graph_pass *pass, struct weir_diag *diag)
{
    struct graph_gpu *g = self;
    gpu_pass_arrange(g, pass);
    weir_err err = embed(g, diag);
    if (err)
        return err;
    err = gpu_pass_start(g, diag);
    weir_err ended = weir_gpu_event_record(g->done, g->stream);
    if (!ended)
        ended = weir_gpu_event_wait(g->done);
    weir_err aside = gpu_large_wait(&g->large);
    ended = ended ? ended : aside;
    if (ended && !err)
        weir_diag_set(diag, "the GPU reported an error; it is of no use any more");
    err = err ? err : ended;
    if (!err)
        err = gpu_weights_verify_wait(g->weights, diag);
    if (!err)
        count_used(g);
    return err;
}

static float *logits(const void *self, size_t i)
{
    const struct graph_gpu *g = self;
    return g->logits + i * g->sizes.logits;
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

static void free_gpu(void *self)
{
    struct graph_gpu *g = self;
    weir_gpu_stream_free(g->stream); /* waits */
    gpu_large_free(&g->large);
    gpu_recordings_free(g);
    gpu_weights_free(g->weights);
    weir_gpu_event_free(g->done);
    gpu_vectors_free(&g->vectors);
    weir_gpu_free(g->gpu, g->room.at);
    weir_gpu_free_host(g->gpu, g->params);
    weir_gpu_free_host(g->gpu, g->embedded);
    weir_gpu_free_host(g->gpu, g->logits);
    free(g->group);
    free(g->row_of);
    free(g->place);
    free(g->n_of);
    free(g);
}

static const struct graph_back gpu_back = {run, logits, threads, counts, place, free_gpu};

struct weir_device_counts weir_device_graph_counts(const struct weir_graph *graph)
{
    struct weir_device_counts c = {.n_layers = 0};
    if (graph->back != &gpu_back)
        return c;
    const struct graph_gpu *g = graph->self;
    gpu_weights_counts(g->weights, &c);
    c.n_layers = g->model->config.n_layers;
    c.has_blas = g->blas != NULL;
    c.n_replays = g->n_replays;
    for (size_t i = 0; i < GPU_MOST_RECORDINGS; i++)
        c.n_recordings += g->recording[i].graph != NULL;
    return c;
}

/* ---- how much it takes ---- */

/* Whether any pass of such a graph would go to the library. */
static bool wants_blas(const struct weir_graph_options *o, const struct weir_device_rules *rules)
{
    const uint32_t small = rules->small_piece ? rules->small_piece : GPU_SMALL;
    return o->chunk > (small < GPU_SMALL ? small : GPU_SMALL);
}

weir_err weir_device_graph_needs(const struct weir_model *model,
                                 const struct weir_graph_options *options,
                                 const struct weir_device_rules *rules,
                                 struct weir_device_needs *out, struct weir_diag *diag)
{
    struct weir_graph_options o;
    struct gpu_sizes sizes;
    struct weir_device_needs needs;
    graph_fill_options(model, options, &o);
    const bool blas = wants_blas(&o, rules);
    gpu_sizes_fill(model, &o, rules, blas, &sizes);
    needs.fixed = gpu_room_bytes(model, &o, &sizes);
    if (!needs.fixed)
        return WEIR_ERR_NOMEM;
    needs.fixed += blas ? WEIR_GPU_BLAS_BYTES : 0;
    weir_err err = gpu_weights_needs(model, rules, &needs.least_weights, &needs.most_weights, diag);
    if (!err)
        *out = needs;
    return err;
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

static weir_err too_little(uint64_t bytes, uint64_t least, struct weir_diag *diag)
{
    const uint64_t mebi = ((uint64_t)1 << MEBI_SHIFT) - 1;
    weir_diag_set(diag,
                  "%" PRIu64 "MiB of GPU memory are not enough for this model, context and number "
                  "of tokens at once; %" PRIu64 "MiB would be",
                  bytes >> MEBI_SHIFT, (least + mebi) >> MEBI_SHIFT);
    return WEIR_ERR_NOMEM;
}

/* A budget of `bytes`, of which `fixed` are not for weights, is too small, if it is. */
static weir_err say_least(const struct graph_gpu *g, uint64_t bytes, uint64_t fixed,
                          struct weir_diag *diag)
{
    uint64_t least = 0, most = 0;
    weir_err err = gpu_weights_needs(g->model, &g->rules, &least, &most, diag);
    if (err)
        return err;
    return bytes < fixed + least ? too_little(bytes, fixed + least, diag) : WEIR_ERR_NOMEM;
}

/* Everything in device memory that is no weight: *fixed bytes of *bytes. */
static weir_err take_room(struct graph_gpu *g, uint64_t *bytes, uint64_t *fixed,
                          struct weir_diag *diag)
{
    uint64_t before = 0, left = 0;
    const bool blas = wants_blas(&g->options, &g->rules);
    weir_err err = gpu_device_left(g->device, &before);
    if (!err && blas)
        err = gpu_device_blas(g->device, &g->blas, diag);
    if (err == WEIR_ERR_NOMEM && blas)
        return say_least(g, before, WEIR_GPU_BLAS_BYTES, diag); /* and the room, at least */
    if (!err)
        err = gpu_device_left(g->device, &left);
    if (err)
        return err;
    gpu_sizes_fill(g->model, &g->options, &g->rules, g->blas != NULL, &g->sizes);
    const uint64_t room = gpu_room_bytes(g->model, &g->options, &g->sizes);
    *bytes = g->rules.bytes && g->rules.bytes < before ? g->rules.bytes : before;
    *fixed = room + before - left;
    if (!room)
        return WEIR_ERR_NOMEM;
    if (*bytes < *fixed)
        return say_least(g, *bytes, *fixed, diag);
    err = gpu_room_take(g);
    if (err)
        weir_diag_set(diag, "the GPU has no %" PRIu64 "MiB to spare", room >> MEBI_SHIFT);
    return err;
}

static weir_err take_weights(struct graph_gpu *g, uint64_t bytes, uint64_t fixed,
                             struct weir_diag *diag)
{
    weir_err err = gpu_weights_new(g->gpu, g->model, &g->rules, bytes - fixed, &g->weights, diag);
    return err == WEIR_ERR_NOMEM ? say_least(g, bytes, fixed, diag) : err;
}

static weir_err take_host(struct graph_gpu *g)
{
    const struct weir_graph_options *o = &g->options;
    const size_t real = sizeof(float), words = gpu_params_at(o->chunk, o->n_sequences).words;
    g->params = weir_gpu_alloc_host(g->gpu, words * sizeof(*g->params));
    g->logits = weir_gpu_alloc_host(g->gpu, (size_t)o->n_logits * g->sizes.logits * real);
    if (!gpu_weights_embedding(g->weights, &g->embedding)) {
        g->embedded = weir_gpu_alloc_host(g->gpu, (size_t)o->chunk * g->sizes.x * real);
        if (!g->embedded)
            return WEIR_ERR_NOMEM;
    }
    g->group = calloc(o->chunk, sizeof(*g->group));
    g->row_of = calloc(o->chunk, sizeof(*g->row_of));
    g->place = calloc(o->chunk, sizeof(*g->place));
    g->n_of = calloc(o->n_sequences, sizeof(*g->n_of));
    return g->params && g->logits && g->group && g->row_of && g->place && g->n_of ? WEIR_OK
                                                                                  : WEIR_ERR_NOMEM;
}

static weir_err fill(struct graph_gpu *g, struct weir_diag *diag)
{
    uint64_t bytes = 0, fixed = 0;
    weir_err err = check_shapes(&g->model->config, diag);
    if (!err)
        err = take_room(g, &bytes, &fixed, diag);
    if (!err)
        err = weir_gpu_stream_new(g->gpu, &g->stream);
    if (!err)
        err = weir_gpu_event_new(g->gpu, false, &g->done);
    if (!err && g->sizes.large)
        err = gpu_large_init(g);
    if (!err)
        err = gpu_room_clear(g);
    if (!err)
        err = gpu_vectors_init(&g->vectors, g->model, g->options.context, g->stream, g->room.small);
    if (!err)
        err = take_weights(g, bytes, fixed, diag);
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
