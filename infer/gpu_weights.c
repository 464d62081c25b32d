#include "gpu_weights_private.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

enum {
    CODING_PART_BYTES = 16 << 10, /* cuda/decode.h */
    CODING_BYTES = 1 << 10,       /* and what is not a table */
    BATCH_TILE_BYTES = 512,
    SMALL_CHUNK_TILES = 64,
};

/* ---- sizes ---- */

static uint64_t coding_bytes(const struct weir_checkpoint *ck,
                             const struct weir_checkpoint_tensor *t)
{
    const struct weir_coding *c = ck->store ? weir_store_object(ck->store, t->object)->coding : NULL;
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

static struct gpu_sizes sizes_of(const struct weir_checkpoint *ck, const struct gpu_part *p)
{
    struct gpu_sizes s = {.rows = p->bytes, .n_tiles = p->n_tiles};
    bool decodes = ck->store != NULL;
    for (uint32_t m = 0; m < p->n_matrices; m++) {
        s.packed += gpu_matrix_stay_bytes(&p->matrix[m], GPU_PLACE_PACKED);
        decodes = decodes && gpu_matrix_decodes(&p->matrix[m]);
        for (uint32_t i = 0; i < p->matrix[m].n_pieces; i++)
            s.coding_bytes += coding_bytes(ck, p->matrix[m].piece[i].tensor);
    }
    s.wire = decodes ? gpu_part_image_bytes(ck, p) : 0;
    return s;
}

struct sizes {
    struct gpu_plan_in in;
    struct gpu_sizes *layer;
};

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
        if (ck->store && gpu_matrix_decodes(&b->matrix[0]))
            out->in.output.wire += gpu_part_image_bytes(ck, b);
        out->in.block_rows = max_of(out->in.block_rows, b->bytes);
        out->in.block_tiles = max_of(out->in.block_tiles, b->n_tiles);
    }
    return WEIR_OK;
}

static bool packs(const struct weir_device_rules *rules)
{
    return rules->tier == WEIR_TIER_AUTO || rules->tier == WEIR_TIER_FUSED;
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

weir_err gpu_weights_needs(const struct weir_model *model, const struct weir_device_rules *rules,
                           uint64_t *least, uint64_t *most, struct weir_diag *diag)
{
    struct gpu_parts parts;
    struct sizes sizes = {.layer = NULL};
    weir_err err = gpu_parts_find(model, &parts, diag);
    if (err)
        return err;
    if (packs(rules))
        err = gpu_parts_sample(model, &parts, diag);
    if (!err)
        err = weigh(model->checkpoint, &parts, rules, &sizes);
    if (!err)
        bounds(&sizes.in, &parts, least, most);
    free(sizes.layer);
    gpu_parts_free(&parts);
    return err;
}

/* ---- what is decoded where ---- */

static weir_err add_coding(struct gpu_weights *w, const struct weir_checkpoint_tensor *t)
{
    struct weir_gpu_coding **coding = &w->coding[gpu_tensor_number(w, t)];
    const struct weir_coding *c = weir_store_object(w->ck->store, t->object)->coding;
    return *coding || !c ? WEIR_OK : weir_gpu_coding_new(w->gpu, c, coding);
}

static weir_err add_codings(struct gpu_weights *w, const struct gpu_part *part)
{
    weir_err err = WEIR_OK;
    for (uint32_t m = 0; m < part->n_matrices; m++) {
        const bool decodes = gpu_matrix_decodes(&part->matrix[m]);
        for (uint32_t i = 0; i < part->matrix[m].n_pieces && !err; i++) {
            const struct weir_checkpoint_tensor *t = part->matrix[m].piece[i].tensor;
            if (decodes)
                err = add_coding(w, t);
            else
                w->host_only[gpu_tensor_number(w, t)] = true;
        }
    }
    return err;
}

enum fill_kind gpu_fill_kind(const struct gpu_weights *w, const struct weir_checkpoint_tensor *t,
                             const struct weir_gpu_coding **coding)
{
    *coding = w->coding[gpu_tensor_number(w, t)];
    return !w->ck->store || w->plan.tier == WEIR_TIER_CPU || w->host_only[gpu_tensor_number(w, t)]
               ? FILL_ROWS
               : FILL_WIRE;
}

/* That stay or stream from the store: all, while they are loaded. */
static weir_err make_codings(struct gpu_weights *w)
{
    weir_err err = WEIR_OK;
    if (!w->ck->store || w->plan.tier == WEIR_TIER_CPU)
        return WEIR_OK;
    for (uint32_t i = 0; i < w->parts.n_layers && !err; i++)
        err = add_codings(w, &w->parts.part[i]);
    if (!err)
        err = add_codings(w, &w->parts.output);
    return err ? err : add_codings(w, &w->parts.embedding);
}

struct weir_gpu_matrix gpu_matrix_of_rows(const struct gpu_part_matrix *m, uint8_t *at)
{
    return (struct weir_gpu_matrix){
        .form = WEIR_GPU_ROWS, .n_rows = m->n_rows, .n_columns = m->n_columns, .at = at + m->row_at};
}

/* ---- making ---- */

static weir_err take_memory(struct gpu_weights *w)
{
    const struct gpu_plan *p = &w->plan;
    const uint64_t ring = GPU_RING * p->ring_bytes;
    w->laid = calloc((size_t)w->parts.n_layers + 2, sizeof(*w->laid));
    w->stored = calloc(gpu_parts_n(&w->parts), sizeof(*w->stored));
    w->stay = weir_gpu_alloc(w->gpu, p->stay_bytes);
    w->work = weir_gpu_alloc(w->gpu, max_of(p->scratch_bytes, p->depth * p->slot_bytes));
    w->ring_device = weir_gpu_alloc(w->gpu, ring);
    w->ring_pinned = weir_gpu_alloc_host(w->gpu, ring);
    if (!w->laid || !w->stored || !w->stay || !w->work || !w->ring_device || !w->ring_pinned)
        return WEIR_ERR_NOMEM;
    const struct gpu_ring_memory memory = {w->ring_device, w->ring_pinned, p->ring_bytes,
                                           w->ck->store && p->tier != WEIR_TIER_CPU};
    w->ring.copy = w->copy;
    w->ring.decode = w->decode;
    w->ring.fill = w->fill;
    w->ring.rules = &w->rules;
    return gpu_ring_fill_in(&w->ring, w->gpu, &memory);
}

static void let_ring_go(struct gpu_weights *w)
{
    gpu_ring_free(&w->ring, w->gpu);
    weir_gpu_free(w->gpu, w->ring_device);
    weir_gpu_free_host(w->gpu, w->ring_pinned);
    w->ring_device = w->ring_pinned = NULL;
}

static void let_work_go(struct gpu_weights *w)
{
    weir_gpu_free(w->gpu, w->work);
    w->work = NULL;
}

static void let_memory_go(struct gpu_weights *w)
{
    let_ring_go(w);
    let_work_go(w);
    gpu_store_free(w);
    weir_gpu_free(w->gpu, w->stay);
    w->stay = NULL;
    free(w->laid);
    w->laid = NULL;
    for (size_t i = 0; w->coding && i < weir_checkpoint_n_tensors(w->ck); i++) {
        weir_gpu_coding_free(w->gpu, w->coding[i]);
        w->coding[i] = NULL;
    }
}

static weir_err make_plan(struct gpu_weights *w, uint64_t bytes, struct weir_diag *diag)
{
    struct sizes sizes;
    weir_err err = weigh(w->ck, &w->parts, &w->rules, &sizes);
    if (err)
        return err;
    sizes.in.bytes = bytes;
    sizes.in.host_bytes = gpu_host_bytes(&w->rules);
    w->chunk_bytes = 0;
    if (plan(&sizes.in, &w->parts, &w->plan)) {
        w->chunk_bytes = sizes.in.chunk_bytes;
    } else {
        weir_diag_set(diag,
                      "%" PRIu64 " bytes of device memory are too few for the weights, %" PRIu64
                      " would do",
                      bytes, w->plan.least_bytes);
        err = WEIR_ERR_NOMEM;
    }
    free(sizes.layer);
    return err;
}

/* Once more while a matrix turns out to have more exceptions than its sample let expect: then it
 * has been weighed by all of them. */
static weir_err load(struct gpu_weights *w, uint64_t bytes, struct weir_diag *diag)
{
    bool fits = false;
    while (!fits) {
        let_memory_go(w);
        weir_err err = make_plan(w, bytes, diag);
        if (!err)
            err = take_memory(w);
        if (!err)
            err = make_codings(w);
        if (!err)
            err = gpu_load(w, &fits, diag);
        if (err)
            return err;
    }
    return gpu_store_all(w, w->stay + gpu_load_bytes(w), diag);
}

/* What only loading needed. */
static void tidy(struct gpu_weights *w)
{
    if (!w->plan.ring_stays)
        let_ring_go(w);
    if (!w->plan.slot_bytes)
        let_work_go(w);
    for (size_t i = 0; !w->plan.slot_bytes && i < weir_checkpoint_n_tensors(w->ck); i++) {
        weir_gpu_coding_free(w->gpu, w->coding[i]);
        w->coding[i] = NULL;
    }
}

static weir_err fill_in(struct gpu_weights *w, uint64_t bytes, struct weir_diag *diag)
{
    const size_t n_tensors = weir_checkpoint_n_tensors(w->ck);
    struct weir_gpu_usage before, after;
    weir_err err = weir_gpu_usage(w->gpu, &before);
    if (!err)
        err = gpu_parts_find(w->model, &w->parts, diag);
    if (!err && packs(&w->rules))
        err = gpu_parts_sample(w->model, &w->parts, diag);
    w->coding = calloc(n_tensors, sizeof(struct weir_gpu_coding *));
    w->host_only = calloc(n_tensors, sizeof(*w->host_only));
    if (!err && (!w->coding || !w->host_only))
        err = WEIR_ERR_NOMEM;
    if (!err)
        err = weir_gpu_stream_new(w->gpu, &w->copy);
    if (!err)
        err = weir_gpu_stream_new(w->gpu, &w->decode);
    if (!err)
        err = fill_new(w->ck, w->rules.n_threads, &w->fill);
    if (!err)
        err = load(w, bytes, diag);
    if (!err && !gpu_place_stays(w->plan.embedding))
        err = weir_reader_new(w->ck, w->model->row_bytes, &w->reader);
    if (err)
        return err;
    tidy(w);
    err = gpu_stream_begin(w);
    if (!err)
        err = weir_gpu_usage(w->gpu, &after);
    if (!err)
        w->taken_bytes = after.taken - before.taken;
    return err;
}

weir_err gpu_weights_new(struct weir_gpu *gpu, const struct weir_model *model,
                         const struct weir_device_rules *rules, uint64_t bytes,
                         struct gpu_weights **out, struct weir_diag *diag)
{
    struct gpu_weights *w = calloc(1, sizeof(*w));
    if (!w)
        return WEIR_ERR_NOMEM;
    w->gpu = gpu;
    w->model = model;
    w->ck = model->checkpoint;
    w->rules = *rules;
    weir_err err = fill_in(w, bytes, diag);
    if (err)
        gpu_weights_free(w);
    else
        *out = w;
    return err;
}

void gpu_weights_free(struct gpu_weights *w)
{
    if (!w)
        return;
    gpu_stream_end(w);
    fill_free(w->fill);
    weir_gpu_stream_free(w->copy); /* waits */
    weir_gpu_stream_free(w->decode);
    gpu_stream_free(w);
    let_memory_go(w);
    weir_reader_free(w->reader);
    free(w->coding);
    free(w->host_only);
    gpu_parts_free(&w->parts);
    free(w);
}
