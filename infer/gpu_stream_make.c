/* Streaming begun and ended. */
#include <signal.h>
#include <stdlib.h>
#include <string.h>

#include "gpu_weights_private.h"

static weir_err make_order(struct gpu_weights *w)
{
    struct gpu_streaming *s = &w->streaming;
    const uint32_t n = gpu_parts_n(&w->parts);
    s->order = calloc(n, sizeof(*s->order));
    if (!s->order)
        return WEIR_ERR_NOMEM;
    for (uint32_t i = 0; i < n; i++) {
        const enum gpu_place p = i < w->parts.n_layers ? w->plan.layer[i] : w->plan.output;
        if (!gpu_place_stays(p))
            s->order[s->n_order++] = i;
    }
    return WEIR_OK;
}

static weir_err make_slots(struct gpu_weights *w)
{
    weir_err err = WEIR_OK;
    for (uint32_t i = 0; i < w->plan.depth && !err; i++) {
        struct gpu_slot *slot = &w->streaming.slot[i];
        slot->at = w->work + i * w->plan.slot_bytes;
        err = weir_gpu_event_new(w->gpu, false, &slot->ready);
        if (!err)
            err = weir_gpu_event_new(w->gpu, false, &slot->used);
        if (!err && w->plan.batch_tiles)
            err = weir_gpu_batch_new(w->gpu, (size_t)w->plan.batch_tiles, &slot->batch);
    }
    return err;
}

/* Signals are the other threads' business. */
static weir_err start(struct gpu_weights *w)
{
    struct gpu_streaming *s = &w->streaming;
    sigset_t all, before;
    sigfillset(&all);
    (void)pthread_sigmask(SIG_SETMASK, &all, &before);
    s->runs = pthread_create(&s->thread, NULL, gpu_stream_feed, w) == 0;
    (void)pthread_sigmask(SIG_SETMASK, &before, NULL);
    return s->runs ? WEIR_OK : WEIR_ERR_NOMEM;
}

weir_err gpu_stream_begin(struct gpu_weights *w)
{
    struct gpu_streaming *s = &w->streaming;
    pthread_mutex_init(&s->lock, NULL);
    pthread_cond_init(&s->changed, NULL);
    s->made = true;
    s->bad_number = w->ring.bad_number = UINT64_MAX;
    s->copied_bytes = w->ring.copied_bytes;
    s->decoded_bytes = w->ring.decoded_bytes;
    weir_err err = make_order(w);
    if (err || s->n_order == 0)
        return err;
    if (w->plan.batch_tiles) {
        s->tile = calloc((size_t)w->plan.batch_tiles, sizeof(*s->tile));
        err = s->tile ? WEIR_OK : WEIR_ERR_NOMEM;
    }
    if (!err)
        err = make_slots(w);
    return err ? err : start(w);
}

void gpu_stream_end(struct gpu_weights *w)
{
    struct gpu_streaming *s = &w->streaming;
    if (!s->made)
        return;
    if (s->runs) {
        pthread_mutex_lock(&s->lock);
        s->ending = true;
        pthread_cond_broadcast(&s->changed);
        pthread_mutex_unlock(&s->lock);
        pthread_join(s->thread, NULL);
    }
    pthread_cond_destroy(&s->changed);
    pthread_mutex_destroy(&s->lock);
}

void gpu_stream_free(struct gpu_weights *w)
{
    struct gpu_streaming *s = &w->streaming;
    for (uint32_t i = 0; i < GPU_MAX_DEPTH; i++) {
        weir_gpu_batch_free(w->gpu, s->slot[i].batch);
        weir_gpu_event_free(s->slot[i].ready);
        weir_gpu_event_free(s->slot[i].used);
    }
    free(s->order);
    free(s->tile);
    memset(s, 0, sizeof(*s));
}
