#include "gpu_fill.h"

#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>

#include "checkpoint_private.h"
#include "pool.h"

enum {
    UNIT_TILES = 4, /* of FILL_ROWS, done by one thread at a time */
    PAYLOAD_ALIGN = 16,
    EXTENT_ROOM = (WEIR_MAX_EXTENT_BYTES / WEIR_ALIGN + 1) * WEIR_ALIGN,
};

struct hand { /* what a thread has of its own */
    struct fill *fill;
    pthread_t thread;
    struct weir_store_cursor *cursor; /* NULL: no store */
    struct weir_tile_decoder *decoder;
    uint8_t *extent; /* EXTENT_ROOM, aligned to WEIR_ALIGN */
};

struct fill {
    const struct weir_checkpoint *ck;
    unsigned n_hands; /* that run */
    struct hand *hand;
    pthread_mutex_t lock; /* of what follows, and of the private part of jobs */
    pthread_cond_t begun, done;
    struct fill_job *first, *last; /* with units that nobody has begun */
    bool ending;
};

/* ---- plain bytes ---- */

static weir_err read_tiles(struct hand *hand, const struct weir_checkpoint_tensor *t, uint64_t tile,
                           uint64_t end, uint8_t *to, struct weir_diag *diag)
{
    const struct weir_checkpoint *ck = hand->fill->ck;
    if (!ck->store) {
        uint64_t at = tile * t->tile_bytes, n = end * t->tile_bytes;
        n = (n < t->bytes ? n : t->bytes) - at;
        return weir_source_read(ck->file[t->file].source, t->offset + at, to, (size_t)n);
    }
    weir_err err = WEIR_OK;
    for (; tile < end && !err; tile++, to += t->tile_bytes)
        err = weir_store_read_tile(hand->cursor, t->object, tile, to, diag);
    return err;
}

static weir_err fill_rows(struct hand *hand, struct fill_job *job, uint32_t unit,
                          struct weir_diag *diag)
{
    const struct gpu_chunk *c = &job->chunk;
    uint32_t from = unit * UNIT_TILES;
    uint32_t end = from + UNIT_TILES < c->n_tiles ? from + UNIT_TILES : c->n_tiles;
    return read_tiles(hand, c->tensor, c->tile + from, c->tile + end,
                      job->to + (size_t)from * c->tensor->tile_bytes, diag);
}

/* ---- as a store has them ---- */

/* Puts one tile at to + *at, in front of the next. */
static weir_err put_tile(struct hand *hand, struct fill_job *job,
                         const struct weir_extent_tile *from, uint32_t i, uint32_t *at)
{
    const struct gpu_chunk *c = &job->chunk;
    const uint8_t *payload = hand->extent + from->payload_at;
    struct fill_tile *to = &job->tile[i];
    weir_err err = WEIR_OK;
    *to = (struct fill_tile){from->head, *at};
    if (from->head.mode == WEIR_TILE_ZSTD) {
        const uint32_t n = gpu_tile_bytes(c->tensor, c->tile + i);
        const struct weir_coding *coding =
            weir_store_object(hand->fill->ck->store, from->object)->coding;
        err = weir_tile_decode(hand->decoder, coding, &from->head, payload, job->to + *at, n);
        to->head.mode = WEIR_TILE_RAW;
        to->head.payload_bytes = n;
    } else {
        memcpy(job->to + *at, payload, from->head.payload_bytes);
    }
    *at += (to->head.payload_bytes + PAYLOAD_ALIGN - 1) / PAYLOAD_ALIGN * PAYLOAD_ALIGN;
    return err;
}

/* The extent with the padding behind it, if there is one. */
static size_t whole_blocks(const struct weir_store *store, const struct weir_extent *e)
{
    const size_t whole = (e->bytes + (size_t)WEIR_ALIGN - 1) / WEIR_ALIGN * WEIR_ALIGN;
    return e->at + whole <= weir_store_info(store)->stored_bytes ? whole : e->bytes;
}

/* One extent.  Its bytes are those that the index names, because weir_store_read_stored() says so:
 * it costs nothing unless the store's file has changed.  That the tiles are sound is for the device
 * to say. */
static weir_err fill_wire(struct hand *hand, struct fill_job *job, uint32_t unit,
                          struct weir_diag *diag)
{
    const struct weir_store *store = hand->fill->ck->store;
    const struct gpu_chunk *c = &job->chunk;
    const uint64_t first = weir_store_object(store, c->tensor->object)->first_tile + c->tile;
    const uint32_t extent = (uint32_t)(first / WEIR_EXTENT_TILES) + unit;
    const struct weir_extent e = weir_store_extent(store, extent);
    struct weir_extent_tile tile[WEIR_EXTENT_TILES];
    size_t n = 0;
    uint32_t begin = UINT32_MAX, at = 0;
    weir_err err =
        weir_store_read_stored(hand->cursor, e.at, hand->extent, whole_blocks(store, &e), diag);
    if (!err)
        err = weir_store_extent_tiles(store, extent, hand->extent, tile, &n, diag);
    for (size_t i = 0; i < n && !err; i++) {
        uint64_t number = (uint64_t)extent * WEIR_EXTENT_TILES + i;
        if (number < first || number >= first + c->n_tiles)
            continue;
        uint32_t k = (uint32_t)(number - first);
        if (begin == UINT32_MAX)
            begin = at = k * WEIR_TILE_BYTES; /* payloads are no longer than plain bytes */
        err = put_tile(hand, job, &tile[i], k, &at);
    }
    job->run[unit] = (struct fill_run){begin, at - begin};
    return err;
}

/* ---- threads ---- */

static uint32_t n_units(const struct fill *f, const struct fill_job *job)
{
    const struct gpu_chunk *c = &job->chunk;
    if (job->kind == FILL_ROWS)
        return (c->n_tiles + UNIT_TILES - 1) / UNIT_TILES;
    uint64_t first = weir_store_object(f->ck->store, c->tensor->object)->first_tile + c->tile;
    return (uint32_t)((first + c->n_tiles - 1) / WEIR_EXTENT_TILES - first / WEIR_EXTENT_TILES + 1);
}

static weir_err do_unit(struct hand *hand, struct fill_job *job, uint32_t unit,
                        struct weir_diag *diag)
{
    struct weir_diag why = {""};
    weir_err err = job->kind == FILL_ROWS ? fill_rows(hand, job, unit, &why)
                                          : fill_wire(hand, job, unit, &why);
    if (err)
        weir_diag_set(diag, "%s: %s", job->chunk.tensor->form.name,
                      why.text[0] ? why.text : weir_err_text(err));
    return err;
}

static void note(struct fill *f, struct fill_job *job, weir_err err, const struct weir_diag *diag)
{
    if (err && !job->err) {
        job->err = err;
        job->diag = *diag;
    }
    if (++job->n_done == n_units(f, job))
        pthread_cond_broadcast(&f->done);
}

static void *live(void *self)
{
    struct hand *hand = self;
    struct fill *f = hand->fill;
    pthread_mutex_lock(&f->lock);
    while (true) {
        while (!f->first && !f->ending)
            pthread_cond_wait(&f->begun, &f->lock);
        struct fill_job *job = f->first;
        if (!job)
            break;
        uint32_t unit = job->n_begun++;
        if (job->n_begun == n_units(f, job))
            f->first = job->behind;
        pthread_mutex_unlock(&f->lock);
        struct weir_diag diag = {""};
        weir_err err = do_unit(hand, job, unit, &diag);
        pthread_mutex_lock(&f->lock);
        note(f, job, err, &diag);
    }
    pthread_mutex_unlock(&f->lock);
    return NULL;
}

static weir_err equip(struct hand *hand)
{
    const struct weir_checkpoint *ck = hand->fill->ck;
    if (!ck->store)
        return WEIR_OK;
    hand->extent = aligned_alloc(WEIR_ALIGN, EXTENT_ROOM);
    if (!hand->extent)
        return WEIR_ERR_NOMEM;
    weir_err err = weir_store_cursor_new(ck->store, weir_kernels_best(), &hand->cursor);
    return err ? err : weir_tile_decoder_new(weir_kernels_best(), &hand->decoder);
}

static void drop(struct hand *hand)
{
    weir_store_cursor_free(hand->cursor);
    weir_tile_decoder_free(hand->decoder);
    free(hand->extent);
}

/* At least one; signals are the other threads' business. */
static weir_err hire(struct fill *f, unsigned wanted)
{
    sigset_t all, before;
    weir_err err = WEIR_OK;
    sigfillset(&all);
    (void)pthread_sigmask(SIG_SETMASK, &all, &before);
    while (f->n_hands < wanted && !err) {
        struct hand *hand = &f->hand[f->n_hands];
        hand->fill = f;
        err = equip(hand);
        if (!err && pthread_create(&hand->thread, NULL, live, hand) != 0)
            err = WEIR_ERR_NOMEM;
        if (err)
            drop(hand);
        else
            f->n_hands++;
    }
    (void)pthread_sigmask(SIG_SETMASK, &before, NULL);
    return f->n_hands ? WEIR_OK : err;
}

weir_err fill_new(const struct weir_checkpoint *ck, unsigned n_threads, struct fill **out)
{
    const unsigned wanted = pool_threads_for(n_threads);
    struct fill *f = calloc(1, sizeof(*f));
    if (!f)
        return WEIR_ERR_NOMEM;
    f->ck = ck;
    pthread_mutex_init(&f->lock, NULL);
    pthread_cond_init(&f->begun, NULL);
    pthread_cond_init(&f->done, NULL);
    f->hand = calloc(wanted, sizeof(*f->hand));
    weir_err err = f->hand ? hire(f, wanted) : WEIR_ERR_NOMEM;
    if (err)
        fill_free(f);
    else
        *out = f;
    return err;
}

void fill_free(struct fill *f)
{
    if (!f)
        return;
    pthread_mutex_lock(&f->lock);
    f->ending = true;
    pthread_cond_broadcast(&f->begun);
    pthread_mutex_unlock(&f->lock);
    for (unsigned i = 0; i < f->n_hands; i++) {
        pthread_join(f->hand[i].thread, NULL);
        drop(&f->hand[i]);
    }
    pthread_cond_destroy(&f->begun);
    pthread_cond_destroy(&f->done);
    pthread_mutex_destroy(&f->lock);
    free(f->hand);
    free(f);
}

void fill_read_past(struct fill *f)
{
    pthread_mutex_lock(&f->lock);
    for (unsigned i = 0; i < f->n_hands; i++)
        if (f->hand[i].cursor)
            weir_store_cursor_read_past(f->hand[i].cursor);
    pthread_mutex_unlock(&f->lock);
}

void fill_begin(struct fill *f, struct fill_job *job)
{
    pthread_mutex_lock(&f->lock);
    job->behind = NULL;
    job->n_begun = job->n_done = 0;
    job->err = WEIR_OK;
    job->n_runs = job->kind == FILL_WIRE ? n_units(f, job) : 1;
    if (job->kind == FILL_ROWS) {
        const struct gpu_chunk *c = &job->chunk;
        uint64_t end = (c->tile + c->n_tiles) * c->tensor->tile_bytes;
        end = end < c->tensor->bytes ? end : c->tensor->bytes;
        job->run[0] = (struct fill_run){0, (uint32_t)(end - c->tile * c->tensor->tile_bytes)};
    }
    if (f->first)
        f->last->behind = job;
    else
        f->first = job;
    f->last = job;
    pthread_cond_broadcast(&f->begun);
    pthread_mutex_unlock(&f->lock);
}

weir_err fill_wait(struct fill *f, struct fill_job *job, struct weir_diag *diag)
{
    pthread_mutex_lock(&f->lock);
    while (job->n_done < n_units(f, job))
        pthread_cond_wait(&f->done, &f->lock);
    pthread_mutex_unlock(&f->lock);
    if (job->err && diag)
        *diag = job->diag;
    return job->err;
}
