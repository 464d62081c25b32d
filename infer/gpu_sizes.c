/* What a model's parts take on a GPU, and the plan that comes of it. */
#include <inttypes.h>
#include <stdlib.h>

#include "gpu_weights_private.h"

enum {
    CODING_PART_BYTES = 16 << 10, /* cuda/decode.h */
    CODING_BYTES = 1 << 10,       /* and what is not a table */
    BATCH_TILE_BYTES = 512,
    SMALL_CHUNK_TILES = 32,
};

/* Sizes as a plan is made from; `layer` is owned. */
struct sizes {
    struct gpu_plan_in in;
    struct gpu_part_sizes *layer;
};

static uint64_t coding_bytes(const struct weir_checkpoint *ck,
                             const struct weir_checkpoint_tensor *t)
{
    const struct weir_coding *c =
        ck->store ? weir_store_object(ck->store, t->object)->coding : NULL;
    return c ? (uint64_t)c->n_parts * CODING_PART_BYTES + CODING_BYTES : 0;
}

static uint64_t max_of(uint64_t a, uint64_t b)
{
    return a > b ? a : b;
}

/* Plain bytes of the largest chunk that there will be. */
static uint64_t chunk_bytes(const struct gpu_parts *p, uint32_t most_tiles)
{
    uint64_t tiles = max_of(p->output.n_tiles, p->embedding.n_tiles), rows = 0;
    for (uint32_t i = 0; i < p->n_layers; i++) {
        tiles = max_of(tiles, p->part[i].n_tiles);
        for (uint32_t m = 0; m < p->part[i].n_matrices; m++)
            rows = max_of(rows, p->part[i].matrix[m].n_columns);
    }
    rows *= (uint64_t)2 * GPU_FORM_ROWS; /* bytes that are packed at once, at least */
    tiles = max_of(tiles < most_tiles ? tiles : most_tiles, rows / WEIR_TILE_BYTES + 2);
    return tiles * WEIR_TILE_BYTES;
}

static struct gpu_part_sizes sizes_of(const struct weir_checkpoint *ck, const struct gpu_part *p)
{
    struct gpu_part_sizes s = {.rows = p->bytes, .n_tiles = p->n_tiles};
    bool decodes = ck->store != NULL;
    for (uint32_t m = 0; m < p->n_matrices; m++) {
        s.packed += gpu_matrix_stay_bytes(&p->matrix[m], GPU_PLACE_PACKED);
        decodes = decodes && gpu_matrix_decodes(ck->store, &p->matrix[m]);
        for (uint32_t i = 0; i < p->matrix[m].n_pieces; i++)
            s.coding_bytes += coding_bytes(ck, p->matrix[m].piece[i].tensor);
    }
    s.wire = decodes ? p->image_bytes : 0;
    return s;
}

/* All but the memory that there is. */
static weir_err weigh(const struct weir_checkpoint *ck, const struct gpu_parts *p,
                      const struct weir_device_rules *rules, struct sizes *out)
{
    out->layer = calloc(p->n_layers, sizeof(*out->layer));
    if (!out->layer)
        return WEIR_ERR_NOMEM;
    for (uint32_t i = 0; i < p->n_layers; i++)
        out->layer[i] = sizes_of(ck, &p->part[i]);
    out->in = (struct gpu_plan_in){.tier = rules->tier,
                                   .cache_layers = rules->cache_layers,
                                   .depth = rules->depth,
                                   .n_layers = p->n_layers,
                                   .layer = out->layer,
                                   .output = sizes_of(ck, &p->output),
                                   .embedding = sizes_of(ck, &p->embedding),
                                   .tied = p->tied,
                                   .tile_bytes = BATCH_TILE_BYTES};
    out->in.output.wire = 0; /* blocks share tiles */
    for (uint32_t i = 0; i < p->n_blocks; i++) {
        const struct gpu_part *b = &p->part[p->n_layers + i];
        if (ck->store && gpu_matrix_decodes(ck->store, &b->matrix[0]))
            out->in.output.wire += b->image_bytes;
        out->in.block_rows = max_of(out->in.block_rows, b->bytes);
        out->in.block_tiles = max_of(out->in.block_tiles, b->n_tiles);
    }
    return WEIR_OK;
}

/* Small chunks do where nothing streams from the host, and where there is no room for others. */
static bool plan(struct gpu_plan_in *in, struct gpu_parts *p, struct gpu_plan *out)
{
    in->chunk_bytes = chunk_bytes(p, SMALL_CHUNK_TILES);
    gpu_parts_cut(p, SMALL_CHUNK_TILES);
    const bool fits = gpu_plan_make(in, out);
    if (!fits || !out->ring_stays)
        return fits;
    in->chunk_bytes = chunk_bytes(p, GPU_CHUNK_TILES);
    gpu_parts_cut(p, GPU_CHUNK_TILES);
    if (gpu_plan_make(in, out))
        return true;
    in->chunk_bytes = chunk_bytes(p, SMALL_CHUNK_TILES);
    gpu_parts_cut(p, SMALL_CHUNK_TILES);
    return gpu_plan_make(in, out);
}

static void bounds(struct gpu_plan_in *in, const struct gpu_parts *p, uint64_t *least,
                   uint64_t *most)
{
    in->chunk_bytes = chunk_bytes(p, SMALL_CHUNK_TILES);
    gpu_plan_bounds(in, least, most);
}

bool gpu_tier_packs(enum weir_tier tier)
{
    return tier == WEIR_TIER_AUTO || tier == WEIR_TIER_FUSED;
}

weir_err gpu_weights_needs(const struct weir_model *model, const struct weir_device_rules *rules,
                           uint64_t *least, uint64_t *most, struct weir_diag *diag)
{
    struct gpu_parts parts;
    struct sizes sizes = {.layer = NULL};
    weir_err err = gpu_parts_find(model, &parts, diag);
    if (err)
        return err;
    if (gpu_tier_packs(rules->tier))
        err = gpu_parts_sample(model, rules, &parts, diag);
    gpu_parts_weigh_images(model->checkpoint, &parts);
    if (!err)
        err = weigh(model->checkpoint, &parts, rules, &sizes);
    if (!err)
        bounds(&sizes.in, &parts, least, most);
    free(sizes.layer);
    gpu_parts_free(&parts);
    return err;
}

weir_err gpu_weights_plan(struct gpu_weights *w, uint64_t bytes, struct weir_diag *diag)
{
    struct sizes sizes;
    weir_err err = weigh(w->ck, &w->parts, &w->rules, &sizes);
    if (err)
        return err;
    sizes.in.bytes = bytes;
    sizes.in.host_bytes = gpu_host_bytes(&w->rules);
    if (!plan(&sizes.in, &w->parts, &w->plan)) {
        weir_diag_set(diag,
                      "%" PRIu64 " bytes of device memory are too few for the weights, %" PRIu64
                      " would do",
                      bytes, w->plan.least_bytes);
        err = WEIR_ERR_NOMEM;
    }
    free(sizes.layer);
    return err;
}
