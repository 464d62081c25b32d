#include "gpu_ring.h"

#include <inttypes.h>
#include <string.h>

enum { POISON = 0xff }; /* as BF16: NaNs */

/* ---- memory ---- */

weir_err gpu_ring_fill_in(struct gpu_ring *r, struct weir_gpu *gpu,
                          const struct gpu_ring_memory *memory)
{
    weir_err err = WEIR_OK;
    r->random = r->rules->delay_seed;
    for (size_t i = 0; i < GPU_RING && !err; i++) {
        struct gpu_ring_slot *s = &r->slot[i];
        s->device = memory->device + i * memory->bytes;
        s->pinned = memory->pinned + i * memory->bytes;
        err = weir_gpu_event_new(gpu, false, &s->copied);
        if (!err)
            err = weir_gpu_event_new(gpu, false, &s->decoded);
        if (!err && memory->batches)
            err = weir_gpu_batch_new(gpu, (size_t)(memory->bytes / WEIR_TILE_BYTES), &s->batch);
    }
    return err;
}

void gpu_ring_free(struct gpu_ring *r, struct weir_gpu *gpu)
{
    for (size_t i = 0; i < GPU_RING; i++) {
        struct gpu_ring_slot *s = &r->slot[i];
        weir_gpu_batch_free(gpu, s->batch);
        weir_gpu_event_free(s->copied);
        weir_gpu_event_free(s->decoded);
        *s = (struct gpu_ring_slot){.batch = NULL};
    }
}

/* ---- tests' delays ---- */

static uint64_t next_random(uint64_t *state)
{
    uint64_t z = *state += UINT64_C(0x9e3779b97f4a7c15); /* splitmix64 */
    z = (z ^ (z >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
    z = (z ^ (z >> 27)) * UINT64_C(0x94d049bb133111eb);
    return z ^ (z >> 31);
}

weir_err gpu_ring_delay(struct gpu_ring *r, struct weir_gpu_stream *s)
{
    if (!r->rules->delay_us)
        return WEIR_OK;
    return weir_gpu_delay(s, (uint32_t)(next_random(&r->random) % (r->rules->delay_us + 1)));
}

/* ---- looking ---- */

static bool is_brought(const struct gpu_ring_item *item)
{
    return !item->image && !item->rows;
}

weir_err gpu_say_bad(weir_err err, const struct gpu_chunk *c, uint64_t tile, struct weir_diag *diag)
{
    if (err == WEIR_ERR_CORRUPT)
        weir_diag_set(diag, "%s: tile %" PRIu64 ": its payload is damaged (format or checksum)",
                      c->tensor->form.name, c->tile + tile);
    else
        weir_diag_set(diag, "%s: the device has not decoded it", c->tensor->form.name);
    return err;
}

static void note_bad(struct gpu_ring *r, const struct gpu_ring_slot *s)
{
    if (s->item.number < r->bad_number)
        r->bad_number = s->item.number;
}

/* Waits until the slot's device memory is free, and looks at what was decoded from it. */
static weir_err look(struct gpu_ring *r, struct gpu_ring_slot *s, struct weir_diag *diag)
{
    weir_err err = weir_gpu_event_wait(s->decoded);
    if (err || !s->decoding)
        return err;
    s->decoding = false;
    size_t bad = 0;
    err = weir_gpu_batch_result(s->batch, &bad);
    if (!err)
        return WEIR_OK;
    note_bad(r, s);
    return gpu_say_bad(err, &s->item.chunk, bad, diag);
}

weir_err gpu_ring_verify_wait(struct gpu_ring *r, uint64_t number, struct weir_diag *diag)
{
    weir_err err = WEIR_OK;
    for (size_t i = 0; i < GPU_RING; i++) {
        if (r->slot[i].item.number >= number)
            continue;
        weir_err one = look(r, &r->slot[i], err ? NULL : diag);
        err = err ? err : one;
    }
    return err;
}

void gpu_ring_drop(struct gpu_ring *r)
{
    for (; r->n_issued < r->n_announced; r->n_issued++) {
        struct gpu_ring_slot *s = &r->slot[r->n_issued % GPU_RING];
        if (is_brought(&s->announced) && fill_wait(r->fill, &s->job, NULL) != WEIR_OK)
            continue; /* nobody wants it any more */
    }
}

void gpu_ring_forget(struct gpu_ring *r)
{
    for (size_t i = 0; i < GPU_RING; i++)
        r->slot[i].decoding = false;
}

/* ---- announcing ---- */

weir_err gpu_ring_room(struct gpu_ring *r, bool wait, bool *out)
{
    struct gpu_ring_slot *s = &r->slot[r->n_announced % GPU_RING];
    if (r->n_announced == r->n_issued + GPU_RING) {
        *out = false;
        return WEIR_OK;
    }
    *out = true;
    return wait ? weir_gpu_event_wait(s->copied) : weir_gpu_event_done(s->copied, out);
}

void gpu_ring_announce(struct gpu_ring *r, const struct gpu_ring_item *item)
{
    struct gpu_ring_slot *s = &r->slot[r->n_announced++ % GPU_RING];
    s->job.chunk = item->chunk;
    s->job.kind = item->kind;
    s->job.to = s->pinned;
    s->announced = *item;
    if (!is_brought(item))
        return;
    if (r->rules->poison)
        memset(s->pinned, POISON, (size_t)item->chunk.n_tiles * WEIR_TILE_BYTES);
    fill_begin(r->fill, &s->job);
}

/* ---- issuing ---- */

static weir_err copy(struct gpu_ring *r, uint8_t *to, const uint8_t *from, uint64_t bytes)
{
    r->copied_bytes += bytes;
    return weir_gpu_to_device(r->copy, to, from, (size_t)bytes);
}

static uint64_t plain_bytes(const struct gpu_chunk *c)
{
    uint64_t from = c->tile * c->tensor->tile_bytes;
    uint64_t end = from + (uint64_t)c->n_tiles * c->tensor->tile_bytes;
    return (end < c->tensor->bytes ? end : c->tensor->bytes) - from;
}

static weir_err queue_copies(struct gpu_ring *r, struct gpu_ring_slot *s)
{
    weir_err err = gpu_ring_delay(r, r->copy);
    if (!err && s->item.image) {
        err = copy(r, s->device, s->item.image->at, s->item.image->bytes);
    } else if (!err && s->item.rows) {
        err = copy(r, s->device, s->item.rows, plain_bytes(&s->item.chunk));
    } else {
        for (uint32_t i = 0; i < s->job.n_runs && !err; i++)
            err = copy(r, s->device + s->job.run[i].at, s->pinned + s->job.run[i].at,
                       s->job.run[i].bytes);
    }
    return err ? err : weir_gpu_event_record(s->copied, r->copy);
}

void gpu_chunk_tiles(const struct gpu_chunk *c, const struct weir_gpu_coding *coding,
                     const uint8_t *payloads, const struct fill_tile *tile, uint8_t *to,
                     struct weir_gpu_tile *out)
{
    for (uint32_t i = 0; i < c->n_tiles; i++)
        out[i] = (struct weir_gpu_tile){.coding = coding,
                                        .payload = payloads + tile[i].at,
                                        .out = to + (size_t)i * c->tensor->tile_bytes,
                                        .head = tile[i].head,
                                        .plain_bytes = gpu_tile_bytes(c->tensor, c->tile + i)};
}

/* Describes the chunk's tiles to the device, in front of its bytes. */
static weir_err describe(struct gpu_ring *r, struct gpu_ring_slot *s, uint8_t *to)
{
    const struct gpu_chunk *c = &s->item.chunk;
    if (s->item.kind == FILL_ROWS)
        return WEIR_OK;
    gpu_chunk_tiles(c, s->item.coding, s->device, s->item.image ? s->item.image->tile : s->job.tile,
                    to, r->tile);
    weir_err err = weir_gpu_batch_set(s->batch, r->tile, c->n_tiles);
    return err ? err : weir_gpu_batch_upload(r->copy, s->batch);
}

static weir_err queue_decoding(struct gpu_ring *r, struct gpu_ring_slot *s,
                               struct weir_gpu_stream *stream, uint8_t *to)
{
    const struct gpu_chunk *c = &s->item.chunk;
    if (s->item.kind == FILL_ROWS)
        return weir_gpu_copy(stream, to, s->device, (size_t)plain_bytes(c));
    weir_err err = weir_gpu_decode(stream, s->batch);
    s->decoding = !err;
    r->decoded_bytes += plain_bytes(c);
    return err;
}

/* From the copied bytes to rows at `to`. */
static weir_err queue_rest(struct gpu_ring *r, struct gpu_ring_slot *s, uint8_t *to,
                           struct weir_gpu_event *free)
{
    struct weir_gpu_stream *stream = r->decode[s - r->slot];
    weir_err err = weir_gpu_event_before(s->copied, stream);
    if (!err && free)
        err = weir_gpu_event_before(free, stream);
    if (!err)
        err = gpu_ring_delay(r, stream);
    if (!err)
        err = queue_decoding(r, s, stream, to);
    if (!err && r->rules->poison)
        err = weir_gpu_fill(stream, s->device, POISON,
                            (size_t)s->item.chunk.n_tiles * WEIR_TILE_BYTES);
    if (!err)
        err = weir_gpu_event_record(s->decoded, stream);
    return err ? err : weir_gpu_event_before(s->decoded, r->done);
}

weir_err gpu_ring_issue(struct gpu_ring *r, uint8_t *to, struct weir_gpu_event *free,
                        struct weir_diag *diag)
{
    struct gpu_ring_slot *s = &r->slot[r->n_issued % GPU_RING];
    weir_err err = look(r, s, diag);
    s->item = s->announced;
    if (is_brought(&s->item)) {
        weir_err filled = fill_wait(r->fill, &s->job, err ? NULL : diag);
        if (filled)
            note_bad(r, s);
        err = err ? err : filled;
    }
    r->n_issued++;
    if (!err)
        err = describe(r, s, to);
    if (!err)
        err = queue_copies(r, s);
    return err ? err : queue_rest(r, s, to, free);
}
