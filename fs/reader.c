#include "reader.h"

#include <assert.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "log.h"

enum {
    BUFFER_ALIGN = 4096,
    EXTENT_TEXT = 40,
    MAX_EXPECTED = 256, /* segments announced at once; a file of crumbs gets along without */
};

#define NEWS_OF_ABSENT (UINT64_C(1) << 62) /* for log_is_news(); tiles have smaller numbers */

struct reader {
    const struct weir_store *store;
    struct log *log;
    struct weir_tile_cache *cache;
    /* How many pins a worker may hold while it waits for something: with a slot for each of them,
     * and one over, pins never keep another worker from its tile.  0: not even one. */
    unsigned max_pins;
    unsigned n_workers;
    struct reader_worker *worker; /* n_workers */
    _Atomic uint64_t decoded_tiles, decoded_bytes;
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
const struct weir_segment *reader_segment_at(const struct weir_entry *file, uint64_t at)
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
    out->segment = reader_segment_at(file, at);
    out->object = weir_store_object(store, out->segment->object);
    uint64_t in_object = at - out->segment->file_offset;
    out->tile = in_object / out->object->tile_bytes;
    out->offset = (uint32_t)(in_object % out->object->tile_bytes);
    out->n_bytes = weir_store_tile_bytes(store, out->segment->object, out->tile) - out->offset;
}

void reader_tile_at(const struct reader *r, const struct weir_entry *file, uint64_t at,
                    uint64_t *from, uint64_t *to)
{
    struct place place;
    find_place(r->store, file, at, &place);
    *from = at - place.offset;
    *to = at + place.n_bytes;
}

void reader_expect(const struct reader *r, const struct weir_entry *file, uint64_t from,
                   uint64_t to)
{
    for (int i = 0; from < to && i < MAX_EXPECTED; i++) {
        struct place place;
        find_place(r->store, file, from, &place);
        const struct weir_segment *s = place.segment;
        uint64_t end = s->file_offset + s->bytes < to ? s->file_offset + s->bytes : to;
        uint64_t last = (end - 1 - s->file_offset) / place.object->tile_bytes;
        weir_store_expect_tiles(r->store, s->object, place.tile, last - place.tile + 1);
        from = end;
    }
}

/* ---- reading ---- */

static void log_bad_tile(struct reader *r, const struct weir_entry *file, const struct place *place,
                         weir_err err, struct weir_diag *diag)
{
    uint64_t number = place->object->first_number + place->tile;
    /* Of a tensor that was not fetched one line is enough. */
    bool absent = err == WEIR_ERR_ABSENT;
    if (!log_is_news(r->log, absent ? NEWS_OF_ABSENT | place->segment->object : number))
        return;
    log_explain(r->log, err, diag);
    const struct weir_tensor *tensor = place->segment->tensor;
    char extent[EXTENT_TEXT] = ""; /* a reference lies in none of this store */
    if (!place->object->is_reference)
        snprintf(extent, sizeof(extent), ", extent %llu",
                 (unsigned long long)(number / WEIR_EXTENT_TILES));
    log_line(r->log, WEIR_MOUNT_LOG_ERROR, "%.300s: %s%.300s, tile %llu of %llu%s: %.300s",
             file->path, tensor ? "tensor " : "opaque bytes", tensor ? tensor->name : "",
             (unsigned long long)place->tile, (unsigned long long)weir_object_tiles(place->object),
             extent, diag->text[0] ? diag->text : weir_err_text(err));
}

static weir_err pin_tile(struct reader *r, struct reader_worker *worker,
                         const struct weir_entry *file, const struct place *place,
                         struct weir_tile_pin *pin)
{
    weir_err err = weir_tile_cache_pin(r->cache, place->object->first_number + place->tile, pin);
    if (!err && pin->must_fill) {
        struct weir_diag diag = {""};
        err = weir_store_read_tile(worker->cursor, place->segment->object, place->tile, pin->bytes,
                                   &diag);
        if (err)
            log_bad_tile(r, file, place, err, &diag);
        weir_tile_cache_filled(r->cache, pin, err);
        if (!err) {
            atomic_fetch_add(&r->decoded_tiles, 1);
            atomic_fetch_add(&r->decoded_bytes, place->offset + place->n_bytes);
        }
    }
    return err;
}

static weir_err copy_out(struct reader *r, struct reader_worker *worker,
                         const struct reader_range *range)
{
    for (size_t done = 0; done < range->n;) {
        struct place place;
        find_place(r->store, range->file, range->at + done, &place);
        struct weir_tile_pin pin;
        weir_err err = pin_tile(r, worker, range->file, &place, &pin);
        if (err)
            return err;
        size_t left = range->n - done;
        size_t some = left < place.n_bytes ? left : place.n_bytes;
        memcpy(worker->buffer + done, pin.bytes + place.offset, some);
        weir_tile_cache_unpin(r->cache, &pin, range->passes && some == place.n_bytes);
        done += some;
    }
    return WEIR_OK;
}

static unsigned count_parts(const struct reader *r, const struct reader_range *range)
{
    unsigned parts = 0;
    struct place place;
    for (size_t done = 0; done < range->n; done += place.n_bytes, parts++)
        find_place(r->store, range->file, range->at + done, &place);
    return parts;
}

static weir_err pin_out(struct reader *r, struct reader_worker *worker,
                        const struct reader_range *range, struct reader_view *view)
{
    for (size_t done = 0; done < range->n;) {
        struct place place;
        find_place(r->store, range->file, range->at + done, &place);
        struct weir_tile_pin pin;
        weir_err err = pin_tile(r, worker, range->file, &place, &pin);
        if (err) {
            reader_end_view(r, view);
            return err;
        }
        size_t left = range->n - done;
        size_t some = left < place.n_bytes ? left : place.n_bytes;
        view->pin[view->n] = pin;
        view->is_spent[view->n] = range->passes && some == place.n_bytes;
        view->part[view->n] = (struct iovec){pin.bytes + place.offset, some};
        view->n++;
        done += some;
    }
    return WEIR_OK;
}

weir_err reader_view(struct reader *r, struct reader_worker *worker,
                     const struct reader_range *range, unsigned max_parts, struct reader_view *out)
{
    assert(range->n > 0 && range->n <= READER_MAX_BYTES);
    assert(range->at <= range->file->size && range->n <= range->file->size - range->at);
    assert(max_parts > 0 && max_parts <= READER_MAX_PARTS);
    if (max_parts > r->max_pins)
        max_parts = r->max_pins;
    out->n = 0;
    out->is_pinned = count_parts(r, range) <= max_parts;
    if (out->is_pinned)
        return pin_out(r, worker, range, out);
    out->part[out->n++] = (struct iovec){worker->buffer, range->n};
    return copy_out(r, worker, range);
}

void reader_end_view(struct reader *r, const struct reader_view *view)
{
    for (unsigned i = 0; view->is_pinned && i < view->n; i++)
        weir_tile_cache_unpin(r->cache, &view->pin[i], view->is_spent[i]);
}

/* Of the tiles [tile, stop), which lie in one extent. */
static weir_err add_heads(struct reader_worker *worker, uint64_t tile, uint64_t stop, uint64_t *sum)
{
    for (; tile < stop; tile++) {
        struct weir_tile_head head;
        weir_err err = weir_store_tile_head(worker->cursor, tile, &head);
        if (err)
            return err;
        *sum += WEIR_TILE_HEAD_BYTES + head.payload_bytes;
    }
    return WEIR_OK;
}

static weir_err add_object(struct reader *r, struct reader_worker *worker,
                           const struct weir_object *o, const _Atomic bool *stop, uint64_t *sum)
{
    uint64_t tile = o->first_tile, end = o->first_tile + o->n_tiles;
    while (tile < end) {
        uint32_t extent = (uint32_t)(tile / WEIR_EXTENT_TILES);
        uint64_t next = ((uint64_t)extent + 1) * WEIR_EXTENT_TILES;
        if (atomic_load(stop))
            return WEIR_ERR_CANCELLED;
        if (tile % WEIR_EXTENT_TILES == 0 && next <= end) {
            *sum += weir_store_extent(r->store, extent).bytes;
        } else {
            weir_err err = add_heads(worker, tile, next < end ? next : end, sum);
            if (err)
                return err;
        }
        tile = next;
    }
    return WEIR_OK;
}

weir_err reader_stored_bytes(struct reader *r, struct reader_worker *worker,
                             const struct weir_entry *file, const _Atomic bool *stop, uint64_t *out)
{
    uint64_t sum = 0; /* of what is the base's: nothing */
    for (uint32_t i = 0; i < file->n_segments; i++) {
        if (file->segment[i].object == WEIR_NO_OBJECT)
            continue;
        const struct weir_object *o = weir_store_object(r->store, file->segment[i].object);
        weir_err err = add_object(r, worker, o, stop, &sum);
        if (err)
            return err;
    }
    *out = sum;
    return WEIR_OK;
}

struct reader_counts reader_counts(struct reader *r)
{
    return (struct reader_counts){
        .cache_hits = weir_tile_cache_counts(r->cache).hits,
        .decoded_tiles = atomic_load(&r->decoded_tiles),
        .decoded_bytes = atomic_load(&r->decoded_bytes),
    };
}

struct reader_worker *reader_worker(struct reader *r, unsigned i)
{
    assert(i < r->n_workers);
    return &r->worker[i];
}

/* ---- birth and death ---- */

static weir_err fill(struct reader *r, const struct reader_options *options)
{
    uint64_t n_tiles = weir_store_info(options->store)->n_numbers;
    size_t n_slots = options->cache_bytes / WEIR_TILE_BYTES;
    if (n_slots == 0)
        return WEIR_ERR_NOMEM;
    if (n_slots > n_tiles)
        n_slots = n_tiles ? (size_t)n_tiles : 1;
    weir_err err = weir_tile_cache_new(n_slots, &r->cache);
    if (err)
        return err;

    r->n_workers = options->n_workers;
    size_t max_pins = n_slots == n_tiles ? READER_MAX_PARTS : (n_slots - 1) / r->n_workers;
    r->max_pins = max_pins < READER_MAX_PARTS ? (unsigned)max_pins : READER_MAX_PARTS;
    r->worker = calloc(r->n_workers, sizeof(r->worker[0]));
    if (!r->worker)
        return WEIR_ERR_NOMEM;
    for (unsigned i = 0; i < r->n_workers; i++) {
        struct reader_worker *worker = &r->worker[i];
        worker->buffer = aligned_alloc(BUFFER_ALIGN, READER_MAX_BYTES);
        if (!worker->buffer)
            return WEIR_ERR_NOMEM;
        err = weir_store_cursor_new(r->store, options->kernels, &worker->cursor);
        if (err)
            return err;
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
    free(r);
}
