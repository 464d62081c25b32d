/* How much of a device's memory a graph takes, before and when it does. */
#include <inttypes.h>

#include "gpu_graph.h"

enum { MEBI_SHIFT = 20 };

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
    needs.library = blas ? WEIR_GPU_BLAS_BYTES : 0;
    needs.fixed += needs.library;
    weir_err err = gpu_weights_needs(model, rules, &needs.least_weights, &needs.most_weights, diag);
    if (!err)
        *out = needs;
    return err;
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

/* A budget of which `fixed` are not for weights is too small, if it is.  Needs are asked for only
 * here: that looks at samples of all weights, as loading them does. */
static weir_err say_least(const struct graph_gpu *g, uint64_t budget, uint64_t fixed,
                          struct weir_diag *diag)
{
    uint64_t least = 0, most = 0;
    weir_err err = gpu_weights_needs(g->model, &g->rules, &least, &most, diag);
    if (err)
        return err;
    return budget < fixed + least ? too_little(budget, fixed + least, diag) : WEIR_ERR_NOMEM;
}

/* The library, if there is one; what it may take is looked at before it does. */
static weir_err take_library(struct graph_gpu *g, uint64_t budget, struct weir_diag *diag)
{
    if (!wants_blas(&g->options, &g->rules))
        return WEIR_OK;
    const uint64_t needed = gpu_device_blas_bytes(g->device);
    gpu_sizes_fill(g->model, &g->options, &g->rules, true, &g->sizes);
    if (budget < needed)
        return say_least(g, budget, needed + gpu_room_bytes(g->model, &g->options, &g->sizes),
                         diag);
    return gpu_device_blas(g->device, &g->blas, diag);
}

weir_err gpu_graph_take_room(struct graph_gpu *g, uint64_t *budget, uint64_t *fixed,
                             struct weir_diag *diag)
{
    uint64_t before = 0, left = 0;
    weir_err err = gpu_device_left(g->device, &before);
    *budget = g->rules.bytes && g->rules.bytes < before ? g->rules.bytes : before;
    if (!err)
        err = take_library(g, *budget, diag);
    if (!err)
        err = gpu_device_left(g->device, &left);
    if (err)
        return err;
    gpu_sizes_fill(g->model, &g->options, &g->rules, g->blas != NULL, &g->sizes);
    const uint64_t room = gpu_room_bytes(g->model, &g->options, &g->sizes);
    *fixed = room + (before - left);
    if (!room)
        return WEIR_ERR_NOMEM;
    if (*budget < *fixed)
        return say_least(g, *budget, *fixed, diag);
    err = gpu_room_take(g);
    if (err)
        weir_diag_set(diag, "the GPU has no %" PRIu64 "MiB to spare; end what else uses it",
                      room >> MEBI_SHIFT);
    return err;
}

weir_err gpu_graph_take_weights(struct graph_gpu *g, uint64_t budget, uint64_t fixed,
                                struct weir_diag *diag)
{
    weir_err err = gpu_weights_new(g->gpu, g->model, &g->rules, budget - fixed, &g->weights, diag);
    return err == WEIR_ERR_NOMEM ? say_least(g, budget, fixed, diag) : err;
}
