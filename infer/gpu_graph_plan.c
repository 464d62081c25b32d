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

/* The library, if there is one; what it may take is looked at before it does. */
static weir_err take_library(struct graph_gpu *g, uint64_t budget, uint64_t least,
                             struct weir_diag *diag)
{
    if (!wants_blas(&g->options, &g->rules))
        return WEIR_OK;
    const uint64_t needed = gpu_device_blas_bytes(g->device);
    gpu_sizes_fill(g->model, &g->options, &g->rules, true, &g->sizes);
    if (budget < needed)
        return too_little(budget, needed + least + gpu_room_bytes(g->model, &g->options, &g->sizes),
                          diag);
    return gpu_device_blas(g->device, &g->blas, diag);
}

weir_err gpu_graph_take_room(struct graph_gpu *g, uint64_t *bytes, struct weir_diag *diag)
{
    uint64_t least = 0, most, before = 0, left = 0;
    weir_err err = gpu_weights_needs(g->model, &g->rules, &least, &most, diag);
    if (!err)
        err = gpu_device_left(g->device, &before);
    const uint64_t budget = g->rules.bytes && g->rules.bytes < before ? g->rules.bytes : before;
    if (!err)
        err = take_library(g, budget, least, diag);
    if (!err)
        err = gpu_device_left(g->device, &left);
    if (err)
        return err;
    gpu_sizes_fill(g->model, &g->options, &g->rules, g->blas != NULL, &g->sizes);
    const uint64_t room = gpu_room_bytes(g->model, &g->options, &g->sizes);
    const uint64_t fixed = room + (before - left);
    if (!room || budget < fixed || budget - fixed < least)
        return room ? too_little(budget, fixed + least, diag) : WEIR_ERR_NOMEM;
    err = gpu_room_take(g);
    if (err)
        weir_diag_set(diag, "the GPU has no %" PRIu64 "MiB to spare; end what else uses it",
                      room >> MEBI_SHIFT);
    else
        *bytes = budget - fixed;
    return err;
}
