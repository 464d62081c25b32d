#include "reader.h"

#include <assert.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "fs/tile_cache.h"
#include "log.h"

enum { BUFFER_ALIGN = 4096 };

struct reader {
    const struct weir_store *store;
    struct log *log;
    struct weir_tile_cache *cache;
    unsigned n_workers;
    struct reader_worker *worker; /* n_workers */
    pthread_mutex_t lock;
    pthread_cond_t returned;     /* a worker was */
    struct reader_worker *spare; /* list; under lock */
};

/* ---- from an offset to a tile ---- */

/* Where a byte of a file is. */
struct place {
    const struct weir_segment *segment;
    const struct weir_object *object;
    uint64_t tile;    /* of the object */
    uint32_t offset;  /* in the tile */
    uint32_t n_bytes; /* of the tile, from the offset to its end */
};

/* The last segment that starts at or before `at`: those of 0 bytes there come before it. */
static const struct weir_segment *find_segment(const struct weir_entry *file, uint64_t at)
{
    uint32_t low = 0, high = file->n_segments;
    while (high - low > 1) {
        uint32_t mid = low + (high - low) / 2;
        if (file->segment[mid].file_offset <= at)
            low = mid;
        else
            high = mid;
    }
    return &file->segment[low];
}

static void find_place(const struct weir_store *store, const struct weir_entry *file, uint64_t at,
                       struct place *out)
{
    out->segment = find_segment(file, at);
    out->object = weir_store_object(store, out->segment->object);
    uint64_t in_object = at - out->segment->file_offset;
    out->tile = in_object / out->object->tile_bytes;
    out->offset = (uint32_t)(in_object % out->object->tile_bytes);
    out->n_bytes = weir_store_tile_bytes(store, out->segment->object, out->tile) - out->offset;
}

/* ---- reading ---- */

static void log_bad_tile(struct reader *r, const struct weir_entry *file, const struct place *place,
                         weir_err err, const struct weir_diag *diag)
{
    uint64_t store_tile = place->object->first_tile + place->tile;
    if (!log_is_news(r->log, store_tile))
        return;
    const struct weir_tensor *tensor = place->segment->tensor;
    log_line(r->log, WEIR_MOUNT_LOG_ERROR,
             "%.300s: %s%.300s, tile %llu of %llu, extent %llu: %.300s", file->path,
             tensor ? "tensor " : "opaque bytes", tensor ? tensor->name : "",
             (unsigned long long)place->tile, (unsigned long long)place->object->n_tiles,
             (unsigned long long)(store_tile / WEIR_EXTENT_TILES),
             diag->text[0] ? diag->text : weir_err_text(err));
}

static weir_err pin_tile(struct reader *r, struct reader_worker *worker,
                         const struct weir_entry *file, const struct place *place,
                         struct weir_tile_pin *pin)
{
    weir_err err = weir_tile_cache_pin(r->cache, place->object->first_tile + place->tile, pin);
    if (err || !pin->must_fill)
        return err;
    struct weir_diag diag = {""};
    err = weir_store_read_tile(worker->cursor, place->segment->object, place->tile, pin->bytes,
                               &diag);
    if (err)
        log_bad_tile(r, file, place, err, &diag);
    weir_tile_cache_filled(r->cache, pin, err);
    return err;
}

weir_err reader_read(struct reader *r, struct reader_worker *worker, const struct weir_entry *file,
                     uint64_t at, size_t n)
{
    assert(n <= READER_MAX_BYTES && at <= file->size && n <= file->size - at);
    for (size_t done = 0; done < n;) {
        struct place place;
        find_place(r->store, file, at + done, &place);
        struct weir_tile_pin pin;
        weir_err err = pin_tile(r, worker, file, &place, &pin);
        if (err)
            return err;
        size_t some = n - done < place.n_bytes ? n - done : place.n_bytes;
        memcpy(worker->buffer + done, pin.bytes + place.offset, some);
        weir_tile_cache_unpin(r->cache, &pin);
        done += some;
    }
    return WEIR_OK;
}

/* ---- workers ---- */

struct reader_worker *reader_borrow(struct reader *r)
{
    pthread_mutex_lock(&r->lock);
    while (!r->spare)
        pthread_cond_wait(&r->returned, &r->lock);
    struct reader_worker *worker = r->spare;
    r->spare = worker->next;
    pthread_mutex_unlock(&r->lock);
    return worker;
}

void reader_return(struct reader *r, struct reader_worker *worker)
{
    pthread_mutex_lock(&r->lock);
    worker->next = r->spare;
    r->spare = worker;
    pthread_cond_signal(&r->returned);
    pthread_mutex_unlock(&r->lock);
}

/* ---- birth and death ---- */

static weir_err fill(struct reader *r, const struct reader_options *options)
{
    uint64_t n_tiles = weir_store_info(options->store)->n_tiles;
    size_t n_slots = options->cache_bytes / WEIR_TILE_BYTES;
    if (n_slots == 0)
        return WEIR_ERR_NOMEM;
    if (n_slots > n_tiles)
        n_slots = n_tiles ? (size_t)n_tiles : 1;
    weir_err err = weir_tile_cache_new(n_slots, &r->cache);
    if (err)
        return err;

    r->worker = calloc(options->n_workers, sizeof(r->worker[0]));
    if (!r->worker)
        return WEIR_ERR_NOMEM;
    r->n_workers = options->n_workers;
    for (unsigned i = 0; i < r->n_workers; i++) {
        struct reader_worker *worker = &r->worker[i];
        worker->buffer = aligned_alloc(BUFFER_ALIGN, READER_MAX_BYTES);
        if (!worker->buffer)
            return WEIR_ERR_NOMEM;
        err = weir_store_cursor_new(r->store, options->kernels, &worker->cursor);
        if (err)
            return err;
        worker->next = r->spare;
        r->spare = worker;
    }
    return WEIR_OK;
}

weir_err reader_new(const struct reader_options *options, struct reader **out)
{
    struct reader *r = calloc(1, sizeof(*r));
    if (!r)
        return WEIR_ERR_NOMEM;
    r->store = options->store;
    r->log = options->log;
    pthread_mutex_init(&r->lock, NULL);
    pthread_cond_init(&r->returned, NULL);
    weir_err err = fill(r, options);
    if (err) {
        reader_free(r);
        return err;
    }
    *out = r;
    return WEIR_OK;
}

void reader_free(struct reader *r)
{
    if (!r)
        return;
    for (unsigned i = 0; i < r->n_workers; i++) {
        weir_store_cursor_free(r->worker[i].cursor);
        free(r->worker[i].buffer);
    }
    free(r->worker);
    weir_tile_cache_free(r->cache);
    pthread_cond_destroy(&r->returned);
    pthread_mutex_destroy(&r->lock);
    free(r);
}
