/* What parts take as stored, and parts that stay in memory that way, or in pinned memory as rows.
 */
#include <stdlib.h>
#include <string.h>

#include "gpu_weights_private.h"

enum { PAYLOAD_ALIGN = 16 };

static uint64_t payload_room(uint64_t bytes)
{
    return (bytes + PAYLOAD_ALIGN - 1) / PAYLOAD_ALIGN * PAYLOAD_ALIGN;
}

/* Of a store that has to be fetched: no more than the extents and the tiles can be. */
static uint64_t most_bytes(const struct weir_store *store, const struct gpu_chunk *c)
{
    const uint64_t first = weir_store_object(store, c->tensor->object)->first_tile + c->tile;
    uint64_t bytes = 0;
    for (uint64_t t = first; t < first + c->n_tiles;) {
        const uint32_t extent = (uint32_t)(t / WEIR_EXTENT_TILES);
        const uint64_t end = (uint64_t)(extent + 1) * WEIR_EXTENT_TILES;
        const uint64_t n = (end < first + c->n_tiles ? end : first + c->n_tiles) - t;
        const uint64_t stored = weir_store_extent(store, extent).bytes;
        bytes += stored < n * WEIR_TILE_BYTES ? stored : n * WEIR_TILE_BYTES;
        t += n;
    }
    return bytes + (uint64_t)c->n_tiles * PAYLOAD_ALIGN;
}

static uint64_t chunk_bytes(struct weir_store_cursor *cursor, const struct weir_store *store,
                            const struct gpu_chunk *c)
{
    const uint64_t first = weir_store_object(store, c->tensor->object)->first_tile + c->tile;
    uint64_t bytes = 0;
    for (uint32_t i = 0; i < c->n_tiles; i++) {
        struct weir_tile_head head;
        if (weir_store_tile_head(cursor, first + i, &head) != WEIR_OK)
            return most_bytes(store, c); /* reading it will say what is wrong */
        const uint32_t plain = gpu_tile_bytes(c->tensor, c->tile + i);
        bytes += payload_room(head.mode == WEIR_TILE_ZSTD ? plain : head.payload_bytes);
    }
    return bytes;
}

static uint64_t image_bytes(struct weir_store_cursor *cursor, const struct weir_store *store,
                            const struct gpu_part *part)
{
    const struct gpu_cut cut = {store, GPU_CHUNK_TILES};
    uint64_t bytes = 0;
    for (uint64_t i = 0; i < gpu_part_count_chunks(part, &cut); i++) {
        const struct gpu_chunk c = gpu_part_chunk(part, &cut, i);
        bytes += cursor ? chunk_bytes(cursor, store, &c) : most_bytes(store, &c);
    }
    return (bytes + WEIR_GPU_ALIGN - 1) / WEIR_GPU_ALIGN * WEIR_GPU_ALIGN;
}

static bool decodes(const struct weir_store *store, const struct gpu_part *part)
{
    for (uint32_t m = 0; m < part->n_matrices; m++)
        if (!gpu_matrix_decodes(store, &part->matrix[m]))
            return false;
    return true;
}

void gpu_parts_weigh_images(const struct weir_checkpoint *ck, struct gpu_parts *parts)
{
    struct weir_store_cursor *cursor = NULL;
    if (!ck->store)
        return;
    if (weir_store_fetches(ck->store) ||
        weir_store_cursor_new(ck->store, weir_kernels_best(), &cursor) != WEIR_OK)
        cursor = NULL;
    for (uint32_t i = 0; i < gpu_parts_n(parts); i++)
        if (decodes(ck->store, &parts->part[i]))
            parts->part[i].image_bytes = image_bytes(cursor, ck->store, &parts->part[i]);
    weir_store_cursor_free(cursor);
}

/* ---- bringing them there ---- */

/* Chunks of a part on their way. */
struct storing {
    struct gpu_weights *w;
    const struct gpu_part *part;
    struct gpu_stored *to;
    uint8_t *at; /* where the image goes, pinned or on the device */
    bool on_device;
    uint64_t used, room; /* bytes of it */
    uint64_t n_tiles;    /* described so far */
};

static uint64_t stored_bytes(const struct gpu_part *part, enum gpu_place place)
{
    return gpu_place_is_wire(place) ? part->image_bytes : part->bytes;
}

static weir_err begin(struct storing *s, enum gpu_place place, uint8_t *device)
{
    s->room = stored_bytes(s->part, place);
    s->on_device = place == GPU_PLACE_WIRE;
    s->at = device;
    if (!s->on_device)
        s->at = s->to->host = weir_gpu_alloc_host(s->w->gpu, (size_t)s->room);
    if (gpu_place_is_wire(place)) {
        s->to->image = calloc((size_t)s->part->n_chunks, sizeof(*s->to->image));
        s->to->tile = calloc((size_t)s->part->n_tiles, sizeof(*s->to->tile));
        if (!s->to->image || !s->to->tile)
            return WEIR_ERR_NOMEM;
    }
    return s->at ? WEIR_OK : WEIR_ERR_NOMEM;
}

/* Runs of payloads, closed up, behind what is there. */
static weir_err put_run(struct storing *s, const struct gpu_ring_slot *slot,
                        const struct fill_run *run)
{
    uint8_t *to = s->at + s->used;
    if (run->bytes > s->room - s->used)
        return WEIR_ERR_CHANGED; /* there is more of it than its heads said */
    s->used += run->bytes;
    if (s->on_device) {
        s->w->ring.copied_bytes += run->bytes;
        return weir_gpu_to_device(s->w->copy, to, slot->pinned + run->at, run->bytes);
    }
    memcpy(to, slot->pinned + run->at, run->bytes);
    return WEIR_OK;
}

static weir_err put_chunk(struct storing *s, struct gpu_ring_slot *slot, uint64_t number)
{
    const struct fill_job *job = &slot->job;
    struct gpu_image *image = &s->to->image[number];
    uint32_t i = 0;
    weir_err err = WEIR_OK;
    *image = (struct gpu_image){.at = s->at + s->used, .tile = s->to->tile + s->n_tiles};
    s->n_tiles += job->chunk.n_tiles;
    for (uint32_t r = 0; r < job->n_runs && !err; r++) {
        const uint64_t end = (uint64_t)job->run[r].at + job->run[r].bytes;
        const uint32_t moved = job->run[r].at - image->bytes;
        for (; i < job->chunk.n_tiles && job->tile[i].at < end; i++) {
            image->tile[i] = job->tile[i];
            image->tile[i].at -= moved;
        }
        image->bytes += job->run[r].bytes;
        err = put_run(s, slot, &job->run[r]);
    }
    return err ? err : weir_gpu_event_record(slot->copied, s->w->copy);
}

static void begin_chunk(struct storing *s, struct gpu_ring_slot *slot, uint64_t number)
{
    struct fill_job *job = &slot->job;
    job->chunk = gpu_part_chunk(s->part, &s->w->parts.cut, number);
    job->kind = s->to->image ? FILL_WIRE : FILL_ROWS;
    job->to = s->to->image ? slot->pinned : s->at + job->chunk.at;
    fill_begin(s->w->fill, job);
}

/* As many chunks at once as the ring has slots; all that were begun are waited for. */
static weir_err put_part(struct storing *s, struct weir_diag *diag)
{
    struct gpu_ring *ring = &s->w->ring;
    uint64_t begun = 0;
    weir_err err = WEIR_OK;
    for (uint64_t i = 0; i < s->part->n_chunks && (!err || i < begun); i++) {
        for (; begun < s->part->n_chunks && begun < i + GPU_RING && !err; begun++) {
            struct gpu_ring_slot *slot = &ring->slot[begun % GPU_RING];
            err = weir_gpu_event_wait(slot->copied);
            if (err)
                break;
            begin_chunk(s, slot, begun);
        }
        if (i >= begun)
            break;
        struct gpu_ring_slot *slot = &ring->slot[i % GPU_RING];
        weir_err one = fill_wait(s->w->fill, &slot->job, err ? NULL : diag);
        if (!one && !err && s->to->image)
            one = put_chunk(s, slot, i);
        err = err ? err : one;
    }
    return err;
}

static void free_one(struct gpu_weights *w, struct gpu_stored *stored)
{
    weir_gpu_free_host(w->gpu, stored->host);
    free(stored->image);
    free(stored->tile);
    *stored = (struct gpu_stored){.host = NULL};
}

/* Where pinned memory is refused, the part is read each time. */
static weir_err store_part(struct gpu_weights *w, uint32_t i, enum gpu_place *place, uint8_t **at,
                           struct weir_diag *diag)
{
    struct storing s = {.w = w, .part = &w->parts.part[i], .to = &w->stored[i]};
    weir_err err = begin(&s, *place, *at);
    if (err == WEIR_ERR_NOMEM && !s.on_device) {
        free_one(w, &w->stored[i]);
        *place = *place == GPU_PLACE_HOST_WIRE ? GPU_PLACE_READ_WIRE : GPU_PLACE_READ_ROWS;
        return WEIR_OK;
    }
    if (!err)
        err = put_part(&s, diag);
    if (s.on_device)
        *at += s.room;
    return err;
}

static bool is_stored(enum gpu_place p)
{
    return p == GPU_PLACE_WIRE || p == GPU_PLACE_HOST_WIRE || p == GPU_PLACE_HOST_ROWS;
}

weir_err gpu_store_all(struct gpu_weights *w, uint8_t *at, struct weir_diag *diag)
{
    weir_err err = WEIR_OK;
    for (uint32_t i = 0; i < w->parts.n_layers && !err; i++)
        if (is_stored(w->plan.layer[i]))
            err = store_part(w, i, &w->plan.layer[i], &at, diag);
    enum gpu_place output = w->plan.output;
    for (uint32_t i = w->parts.n_layers; i < gpu_parts_n(&w->parts) && !err; i++) {
        enum gpu_place block = output;
        if (is_stored(output))
            err = store_part(w, i, &block, &at, diag);
        if (block != output) /* one that is refused: all are read */
            w->plan.output = block;
    }
    return err ? err : weir_gpu_stream_wait(w->copy);
}

void gpu_store_free(struct gpu_weights *w)
{
    for (uint32_t i = 0; w->stored && i < gpu_parts_n(&w->parts); i++)
        free_one(w, &w->stored[i]);
    free(w->stored);
    w->stored = NULL;
}
