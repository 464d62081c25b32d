#include "gpu_weights_private.h"

#include <inttypes.h>
#include <stdlib.h>

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
        const bool decodes = gpu_matrix_decodes(w->ck->store, &part->matrix[m]);
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
    return (struct weir_gpu_matrix){.form = WEIR_GPU_ROWS,
                                    .n_rows = m->n_rows,
                                    .n_columns = m->n_columns,
                                    .at = at + m->row_at};
}

/* ---- making ---- */

static weir_err refused(const struct gpu_plan *p, struct weir_diag *diag)
{
    weir_diag_set(diag,
                  "no memory for weights: %" PRIu64 " bytes of the device's, and %" PRIu64
                  " of the host's, pinned",
                  p->bytes, p->pinned_bytes);
    return WEIR_ERR_NOMEM;
}

static weir_err take_memory(struct gpu_weights *w, struct weir_diag *diag)
{
    const struct gpu_plan *p = &w->plan;
    const uint64_t ring = GPU_RING * p->ring_bytes, slots = p->depth * p->slot_bytes;
    w->laid = calloc((size_t)w->parts.n_layers + 2, sizeof(*w->laid));
    w->stored = calloc(gpu_parts_n(&w->parts), sizeof(*w->stored));
    w->stay = weir_gpu_alloc(w->gpu, p->stay_bytes);
    w->work = weir_gpu_alloc(w->gpu, slots > p->scratch_bytes ? slots : p->scratch_bytes);
    w->ring_device = weir_gpu_alloc(w->gpu, ring);
    w->ring_pinned = weir_gpu_alloc_host(w->gpu, ring);
    if (!w->laid || !w->stored || !w->stay || !w->work || !w->ring_device || !w->ring_pinned)
        return refused(p, diag);
    const struct gpu_ring_memory memory = {w->ring_device, w->ring_pinned, p->ring_bytes,
                                           w->ck->store && p->tier != WEIR_TIER_CPU};
    w->ring.copy = w->copy;
    w->ring.done = w->done;
    for (size_t i = 0; i < GPU_RING; i++)
        w->ring.decode[i] = w->decode[i];
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

/* Once more while a matrix turns out to have more exceptions than its sample let expect: then it
 * has been weighed by all of them. */
static weir_err load(struct gpu_weights *w, uint64_t bytes, struct weir_diag *diag)
{
    bool fits = false;
    while (!fits) {
        let_memory_go(w);
        weir_err err = gpu_weights_plan(w, bytes, diag);
        if (!err)
            err = take_memory(w, diag);
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
    if (!err && gpu_tier_packs(w->rules.tier))
        err = gpu_parts_sample(w->model, &w->rules, &w->parts, diag);
    if (!err)
        gpu_parts_weigh_images(w->ck, &w->parts);
    w->coding = calloc(n_tensors, sizeof(struct weir_gpu_coding *));
    w->host_only = calloc(n_tensors, sizeof(*w->host_only));
    if (!err && (!w->coding || !w->host_only))
        err = WEIR_ERR_NOMEM;
    if (!err)
        err = weir_gpu_stream_new(w->gpu, &w->copy);
    if (!err)
        err = weir_gpu_stream_new(w->gpu, &w->done);
    for (size_t i = 0; i < GPU_RING && !err; i++)
        err = weir_gpu_stream_new(w->gpu, &w->decode[i]);
    if (!err)
        err = weir_gpu_event_new(w->gpu, false, &w->packed);
    if (!err)
        err = fill_new(w->ck, w->rules.n_threads, &w->fill);
    if (!err)
        err = load(w, bytes, diag);
    if (!err && !gpu_place_stays(w->plan.embedding))
        err = weir_reader_new(w->ck, w->model->row_bytes, &w->reader);
    if (err)
        return err;
    tidy(w);
    if (w->plan.read_bytes > gpu_host_bytes(&w->rules)) /* it would push itself out */
        fill_read_past(w->fill);
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
    for (size_t i = 0; i < GPU_RING; i++)
        weir_gpu_stream_free(w->decode[i]);
    weir_gpu_stream_free(w->done);
    weir_gpu_event_free(w->packed);
    gpu_stream_free(w);
    let_memory_go(w);
    weir_reader_free(w->reader);
    free(w->coding);
    free(w->host_only);
    gpu_parts_free(&w->parts);
    free(w);
}
