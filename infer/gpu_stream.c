/* Parts that do not stay, as a pass asks for them. */
#include "gpu_weights_private.h"

enum { POISON = 0xff }; /* as BF16: NaNs */

/* s->lock is held.  The part is not the next one, or an error has been told of: from there on. */
static void begin_anew(struct gpu_weights *w, uint32_t part)
{
    struct gpu_streaming *s = &w->streaming;
    uint32_t at = 0;
    while (s->order[at] != part)
        at++;
    const uint64_t from = s->n_queued > s->n_taken ? s->n_queued : s->n_taken;
    s->restart_at = (from / s->n_order + 1) * s->n_order + at;
    s->restarting = true;
    pthread_cond_broadcast(&s->changed);
    while (s->restarting)
        pthread_cond_wait(&s->changed, &s->lock);
}

static weir_err tell(struct gpu_streaming *s, struct weir_diag *diag)
{
    s->told = true;
    if (diag)
        *diag = s->diag;
    return s->err;
}

/* Whether something that was taken is not sound.  What was read ahead is nobody's yet. */
static bool has_bad(const struct gpu_streaming *s)
{
    return s->err && s->err_number < s->n_taken;
}

weir_err gpu_stream_take(struct gpu_weights *w, uint32_t part, struct weir_gpu_stream *stream,
                         struct gpu_laid *out, struct weir_diag *diag)
{
    struct gpu_streaming *s = &w->streaming;
    weir_err err = WEIR_OK;
    pthread_mutex_lock(&s->lock);
    if ((s->err && s->told) || gpu_part_of(w, s->n_taken) != part)
        begin_anew(w, part);
    while (!s->err && s->n_queued <= s->n_taken)
        pthread_cond_wait(&s->changed, &s->lock);
    const uint64_t number = s->n_taken;
    if (s->err && s->err_number <= number)
        err = tell(s, diag);
    else
        s->n_taken++;
    pthread_mutex_unlock(&s->lock);
    if (err)
        return err;
    const struct gpu_slot *slot = gpu_slot_of(w, number);
    const struct gpu_part *p = &w->parts.part[part];
    for (uint32_t m = 0; m < p->n_matrices; m++)
        out->matrix[m] = gpu_matrix_of_rows(&p->matrix[m], slot->at + p->matrix[m].region_at);
    return weir_gpu_event_before(slot->ready, stream);
}

weir_err gpu_stream_give(struct gpu_weights *w, struct weir_gpu_stream *stream)
{
    struct gpu_streaming *s = &w->streaming;
    const struct gpu_slot *slot = gpu_slot_of(w, s->n_given); /* nobody else changes it now */
    weir_err err = WEIR_OK;
    if (w->rules.poison)
        err = weir_gpu_fill(stream, slot->at, POISON, w->plan.slot_bytes);
    if (!err)
        err = weir_gpu_event_record(slot->used, stream);
    pthread_mutex_lock(&s->lock);
    s->n_given++;
    pthread_cond_broadcast(&s->changed);
    pthread_mutex_unlock(&s->lock);
    return err;
}

weir_err gpu_stream_verify_wait(struct gpu_weights *w, struct weir_diag *diag)
{
    struct gpu_streaming *s = &w->streaming;
    weir_err err = WEIR_OK;
    pthread_mutex_lock(&s->lock);
    s->n_wanted_sound = s->n_taken;
    pthread_cond_broadcast(&s->changed);
    while (!has_bad(s) && s->n_sound < s->n_wanted_sound)
        pthread_cond_wait(&s->changed, &s->lock);
    if (has_bad(s))
        err = tell(s, diag);
    pthread_mutex_unlock(&s->lock);
    return err;
}

void gpu_stream_counts(struct gpu_weights *w, struct weir_device_counts *out)
{
    struct gpu_streaming *s = &w->streaming;
    pthread_mutex_lock(&s->lock);
    out->copied_bytes = s->copied_bytes;
    out->decoded_bytes = s->decoded_bytes;
    pthread_mutex_unlock(&s->lock);
}
