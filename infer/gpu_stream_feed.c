/* The feeder: queues parts that do not stay, one after the other. */
#include "gpu_weights_private.h"

/* ---- one part ---- */

static struct gpu_ring_item item_of(const struct gpu_weights *w, const struct gpu_place_in_row *at)
{
    const uint32_t part = gpu_part_of(w, at->number);
    const struct gpu_stored *stored = &w->stored[part];
    const enum gpu_place place = gpu_place_of(w, part);
    struct gpu_ring_item item = {.chunk =
                                     gpu_part_chunk(&w->parts.part[part], &w->parts.cut, at->chunk),
                                 .kind = gpu_place_is_wire(place) ? FILL_WIRE : FILL_ROWS,
                                 .number = at->number};
    if (item.kind == FILL_WIRE)
        item.coding = w->coding[gpu_tensor_number(w, item.chunk.tensor)];
    if (stored->image)
        item.image = &stored->image[at->chunk];
    else if (stored->host)
        item.rows = stored->host + item.chunk.at;
    return item;
}

/* Passes over parts that the ring has nothing to do with. */
static void skip_on_device(const struct gpu_weights *w, struct gpu_place_in_row *at)
{
    for (uint32_t i = 0; i < w->streaming.n_order; i++) {
        if (gpu_place_of(w, gpu_part_of(w, at->number)) != GPU_PLACE_WIRE)
            return;
        *at = (struct gpu_place_in_row){at->number + 1, 0};
    }
}

/* Announces what there is room for; at least what comes next. */
static weir_err announce(struct gpu_weights *w)
{
    struct gpu_ring *ring = &w->ring;
    struct gpu_place_in_row *at = &w->streaming.announced;
    bool room = w->plan.ring_stays;
    while (room) {
        weir_err err = gpu_ring_room(ring, ring->n_announced == ring->n_issued, &room);
        if (err || !room)
            return err;
        skip_on_device(w, at);
        const struct gpu_ring_item item = item_of(w, at);
        gpu_ring_announce(ring, &item);
        if (++at->chunk == w->parts.part[gpu_part_of(w, at->number)].n_chunks)
            *at = (struct gpu_place_in_row){at->number + 1, 0};
    }
    return WEIR_OK;
}

static weir_err look_at_slot(struct gpu_weights *w, struct gpu_slot *s, struct weir_diag *diag)
{
    weir_err err = weir_gpu_event_wait(s->ready);
    if (err || !s->decoding)
        return err;
    s->decoding = false;
    size_t bad = 0;
    err = weir_gpu_batch_result(s->batch, &bad);
    if (err && s->number < w->streaming.bad_number)
        w->streaming.bad_number = s->number;
    for (uint64_t i = 0; err && i < s->part->n_chunks; i++) {
        const struct gpu_chunk c = gpu_part_chunk(s->part, &w->parts.cut, i);
        if (bad < c.n_tiles)
            return gpu_say_bad(err, &c, bad, diag);
        bad -= c.n_tiles;
    }
    return err;
}

/* Looks at all parts below `number`. */
static weir_err look_at(struct gpu_weights *w, uint64_t number, struct weir_diag *diag)
{
    weir_err err = w->plan.ring_stays ? gpu_ring_verify_wait(&w->ring, number, diag) : WEIR_OK;
    for (uint32_t i = 0; i < w->plan.depth && !err; i++)
        if (w->streaming.slot[i].number < number)
            err = look_at_slot(w, &w->streaming.slot[i], diag);
    return err;
}

/* Looks at what somebody waits for. */
static weir_err attend(struct gpu_weights *w, struct weir_diag *diag)
{
    struct gpu_streaming *s = &w->streaming;
    pthread_mutex_lock(&s->lock);
    const uint64_t wanted = s->n_wanted_sound;
    const bool idle = s->n_sound >= wanted;
    pthread_mutex_unlock(&s->lock);
    if (idle)
        return WEIR_OK;
    weir_err err = look_at(w, wanted, diag);
    if (err && s->bad_number >= wanted && w->ring.bad_number >= wanted)
        s->bad_number = wanted - 1; /* not to be known sound is as bad */
    pthread_mutex_lock(&s->lock);
    if (!err)
        s->n_sound = wanted;
    pthread_cond_broadcast(&s->changed);
    pthread_mutex_unlock(&s->lock);
    return err;
}

static weir_err queue_chunks(struct gpu_weights *w, const struct gpu_part *part,
                             const struct gpu_slot *s, struct weir_diag *diag)
{
    weir_err err = WEIR_OK;
    for (uint64_t i = 0; i < part->n_chunks && !err; i++) {
        const struct gpu_chunk c = gpu_part_chunk(part, &w->parts.cut, i);
        err = announce(w);
        if (!err)
            err = gpu_ring_issue(&w->ring, s->at + c.at, s->used, diag);
        if (!err)
            err = attend(w, diag);
    }
    return err ? err : weir_gpu_event_record(s->ready, w->done);
}

/* All tiles of a part whose payloads are on the device, in one go. */
static weir_err queue_batch(struct gpu_weights *w, uint32_t number, struct gpu_slot *s,
                            struct weir_diag *diag)
{
    const struct gpu_part *part = &w->parts.part[number];
    const struct gpu_stored *stored = &w->stored[number];
    struct weir_gpu_stream *stream = w->decode[s - w->streaming.slot];
    size_t n = 0;
    weir_err err = look_at_slot(w, s, diag);
    for (uint64_t i = 0; i < part->n_chunks; i++) {
        const struct gpu_chunk c = gpu_part_chunk(part, &w->parts.cut, i);
        const struct gpu_image *image = &stored->image[i];
        gpu_chunk_tiles(&c, w->coding[gpu_tensor_number(w, c.tensor)], image->at, image->tile,
                        s->at + c.at, w->streaming.tile + n);
        n += c.n_tiles;
    }
    if (!err)
        err = weir_gpu_event_before(s->used, stream);
    if (!err)
        err = gpu_ring_delay(&w->ring, stream);
    if (!err)
        err = weir_gpu_batch_set(s->batch, w->streaming.tile, n);
    if (!err)
        err = weir_gpu_decode(stream, s->batch);
    s->decoding = !err;
    w->ring.decoded_bytes += part->bytes;
    return err ? err : weir_gpu_event_record(s->ready, stream);
}

static weir_err queue_part(struct gpu_weights *w, uint64_t number, struct weir_diag *diag)
{
    struct gpu_slot *s = gpu_slot_of(w, number);
    const uint32_t part = gpu_part_of(w, number);
    /* What lay there before has not been looked at, perhaps; afterwards nobody could. */
    weir_err err = s->decoding ? look_at_slot(w, s, diag) : WEIR_OK;
    if (!err)
        err = gpu_place_of(w, part) == GPU_PLACE_WIRE
                  ? queue_batch(w, part, s, diag)
                  : queue_chunks(w, &w->parts.part[part], s, diag);
    s->number = number;
    s->part = &w->parts.part[part];
    return err;
}

/* ---- what comes next ---- */

/* The first part of which nobody needs to ask whether it is sound: it is known not to be. */
static uint64_t stopped_at(const struct gpu_streaming *s)
{
    return s->err ? s->err_number : UINT64_MAX;
}

/* s->lock is held. */
static bool has_work(const struct gpu_weights *w)
{
    const struct gpu_streaming *s = &w->streaming;
    if (s->ending || s->restarting)
        return true;
    /* After an error what was queued before may still be in use, and be asked about. */
    return (s->n_sound < s->n_wanted_sound && s->n_wanted_sound <= stopped_at(s)) ||
           (!s->err && s->n_queued < s->n_given + w->plan.depth);
}

/* Nobody has taken, or will take, what is on its way into the slots: until it has come to rest they
 * are not written to again. */
static weir_err settle(struct gpu_weights *w)
{
    weir_err err = WEIR_OK;
    for (size_t i = 0; i < GPU_RING && !err; i++)
        err = weir_gpu_stream_wait(w->decode[i]);
    for (uint32_t i = 0; i < w->plan.depth; i++)
        w->streaming.slot[i].decoding = false;
    gpu_ring_forget(&w->ring);
    return err ? err : weir_gpu_stream_wait(w->done);
}

static weir_err restart(struct gpu_weights *w)
{
    struct gpu_streaming *s = &w->streaming;
    gpu_ring_drop(&w->ring);
    weir_err err = settle(w);
    pthread_mutex_lock(&s->lock);
    s->announced = (struct gpu_place_in_row){s->restart_at, 0};
    s->n_queued = s->n_taken = s->n_given = s->n_sound = s->n_wanted_sound = s->restart_at;
    s->restarting = s->told = false;
    s->err = WEIR_OK;
    pthread_cond_broadcast(&s->changed);
    pthread_mutex_unlock(&s->lock);
    return err;
}

static weir_err do_next(struct gpu_weights *w, struct weir_diag *diag)
{
    struct gpu_streaming *s = &w->streaming;
    weir_err err = attend(w, diag);
    pthread_mutex_lock(&s->lock);
    const uint64_t number = s->n_queued;
    const bool room = !s->err && number < s->n_given + w->plan.depth;
    pthread_mutex_unlock(&s->lock);
    if (err || !room)
        return err;
    err = queue_part(w, number, diag);
    if (!err) /* the host's threads go on while there is no slot */
        err = announce(w);
    pthread_mutex_lock(&s->lock);
    s->n_queued += !err;
    s->copied_bytes = w->ring.copied_bytes;
    s->decoded_bytes = w->ring.decoded_bytes;
    pthread_mutex_unlock(&s->lock);
    return err;
}

/* An error about no part in particular is about the next one. */
static void stop_with(struct gpu_weights *w, weir_err err, const struct weir_diag *diag)
{
    struct gpu_streaming *s = &w->streaming;
    uint64_t number = s->bad_number < w->ring.bad_number ? s->bad_number : w->ring.bad_number;
    s->bad_number = w->ring.bad_number = UINT64_MAX;
    pthread_mutex_lock(&s->lock);
    if (number > s->n_queued)
        number = s->n_queued;
    if (!s->err || number < s->err_number) {
        s->err = err;
        s->err_number = number;
        s->told = false;
        s->diag = *diag;
    }
    pthread_mutex_unlock(&s->lock);
}

void *gpu_stream_feed(void *self)
{
    struct gpu_weights *w = self;
    struct gpu_streaming *s = &w->streaming;
    struct weir_diag diag = {""};
    weir_err err = weir_gpu_use(w->gpu);
    if (err)
        stop_with(w, err, &diag);
    while (true) {
        pthread_mutex_lock(&s->lock);
        pthread_cond_broadcast(&s->changed);
        while (!has_work(w))
            pthread_cond_wait(&s->changed, &s->lock);
        const bool ending = s->ending, restarting = s->restarting;
        pthread_mutex_unlock(&s->lock);
        if (ending)
            return NULL;
        err = restarting ? restart(w) : do_next(w, &diag);
        if (err)
            stop_with(w, err, &diag);
    }
}
