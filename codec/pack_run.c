#include "pack_plan.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "cursor.h"

struct run_job {
    uint32_t number; /* of the extent */
    uint32_t object; /* of the first tile */
    uint64_t tile;   /* within it */
    unsigned n_tiles;
    size_t plain_bytes;
    struct index_extent extent;
};

/* An announcement is repeated with each extent, so it need not be longer than what can be on its
 * way at once. */
enum { MIN_AHEAD_BYTES = 2 * PACK_PLAIN_BYTES };

struct run {
    struct pack *p;
    struct run_job job[ORDERED_MAX_SLOTS];
    unsigned n_threads;
    struct pack_encoder *encoder[ORDERED_MAX_THREADS];
    struct pack_near_room *room[ORDERED_MAX_THREADS];      /* for near tensors */
    struct weir_store_cursor *cursor[ORDERED_MAX_THREADS]; /* with extents to restore */
    uint32_t extent, object;                               /* of the next job */
    uint64_t tile;
    bool announced;        /* the coming samples, in this round */
    struct pack_hash hash; /* the finishing thread's own */
};

/* ---- the line: a job is an extent ---- */

/* The tiles that come next, as far as they are known, and then samples. */
static void announce(struct run *r)
{
    struct pack *p = r->p;
    uint64_t n_left = p->window_bytes > MIN_AHEAD_BYTES ? p->window_bytes : MIN_AHEAD_BYTES;
    uint32_t object = r->object;
    uint64_t from = object < p->ix.n_objects ? r->tile * p->ix.object[object].tile_bytes : 0;
    for (; n_left && object < p->ix.n_objects; object++, from = 0) {
        const struct weir_object *o = &p->ix.object[object];
        const struct pack_object *po = &p->object[object];
        const struct weir_segment *s = &p->ix.entry[po->entry].segment[po->segment];
        uint64_t n = o->bytes - from < n_left ? o->bytes - from : n_left;
        pack_expect(&p->announcer, po->entry, s->file_offset + from, n);
        n_left -= n;
    }
    if (n_left && !r->announced) {
        pack_share_announce(p);
        r->announced = true;
    }
}

/* With a window, only what makes a whole extent, until there is nothing more to come. */
static bool is_complete(const struct run *r)
{
    const struct pack *p = r->p;
    return p->all_shared || p->ix.n_tiles / WEIR_EXTENT_TILES > r->extent;
}

/* References have no tiles. */
static uint32_t next_stored(const struct index *ix, uint32_t object)
{
    while (object < ix->n_objects && ix->object[object].n_tiles == 0)
        object++;
    return object;
}

static weir_err run_next(void *self, unsigned slot, bool *more, struct weir_diag *diag)
{
    (void)diag;
    struct run *r = self;
    const struct index *ix = &r->p->ix;
    struct run_job *job = &r->job[slot];
    if (r->p->window_bytes && r->extent >= r->p->n_restored)
        announce(r);
    if (!is_complete(r)) {
        *more = false;
        return WEIR_OK;
    }
    r->object = next_stored(ix, r->object);
    *job = (struct run_job){.number = r->extent, .object = r->object, .tile = r->tile};
    while (job->n_tiles < WEIR_EXTENT_TILES && r->object < ix->n_objects) {
        uint64_t n_left = ix->object[r->object].n_tiles - r->tile;
        uint64_t n = WEIR_EXTENT_TILES - job->n_tiles;
        if (n < n_left) {
            r->tile += n;
        } else {
            n = n_left;
            r->object++;
            r->tile = 0;
        }
        job->n_tiles += (unsigned)n;
    }
    *more = job->n_tiles > 0;
    r->extent += *more;
    return WEIR_OK;
}

/* Of a tile. */
struct tile_room {
    const uint8_t *plain;
    size_t n;
    uint8_t *payload;
};

static weir_err encode_difference(struct run *r, unsigned worker, const struct run_job *job,
                                  const struct tile_room *room, struct weir_tile_head *head,
                                  struct weir_diag *diag)
{
    const struct weir_object *o = &r->p->ix.object[job->object];
    const uint8_t *base = NULL;
    weir_err err =
        pack_base_read(r->p->base, worker, o, job->tile * o->tile_bytes, room->n, &base, diag);
    return err ? err
               : weir_tile_encode_delta(pack_encoder_of_tiles(r->encoder[worker]), o->coding, base,
                                        room->plain, room->n, room->payload, head);
}

/* One tile, read and encoded to stored[*at], which moves on. */
static weir_err encode_tile(struct run *r, unsigned worker, struct run_job *job,
                            const struct pack_slot *slot, unsigned number, struct weir_diag *diag)
{
    struct pack *p = r->p;
    const struct weir_object *o = &p->ix.object[job->object];
    const struct pack_object *po = &p->object[job->object];
    const struct weir_segment *s = &p->ix.entry[po->entry].segment[po->segment];
    uint64_t from = job->tile * o->tile_bytes;
    size_t n = o->bytes - from < o->tile_bytes ? (size_t)(o->bytes - from) : o->tile_bytes;
    uint8_t *plain = slot->plain + job->plain_bytes;
    uint8_t *payload = slot->stored + job->extent.bytes;
    struct weir_tile_head head;
    weir_err err = pack_read(&p->reader[worker], po->entry, s->file_offset + from, plain, n, diag);
    const struct pack_near_tile near = {pack_encoder_of_tiles(r->encoder[worker]), r->room[worker],
                                        o, po->near, job->tile};
    if (!err && po->near)
        err = pack_near_encode(p, &near, plain, n, payload, &head);
    else if (!err && weir_object_needs_base(o))
        err =
            encode_difference(r, worker, job, &(struct tile_room){plain, n, payload}, &head, diag);
    else if (!err)
        err = pack_encode(r->encoder[worker], o, job->tile, plain, n, payload, &head);
    if (err)
        return err;
    uint32_t padded = (head.payload_bytes + 15u) & ~15u;
    memset(payload + head.payload_bytes, 0, padded - head.payload_bytes);
    job->plain_bytes += n;
    job->extent.bytes += padded;

    uint8_t *to = slot->stored + (size_t)number * WEIR_TILE_HEAD_BYTES; /* docs/format.md, 4 */
    memset(to, 0, WEIR_TILE_HEAD_BYTES);
    put_number(to, head.xxh3, 8);
    put_number(to + 8, head.payload_bytes, 4);
    to[12] = head.mode;
    return WEIR_OK;
}

static void step(const struct pack *p, struct run_job *job)
{
    if (++job->tile == p->ix.object[job->object].n_tiles) {
        job->object = next_stored(&p->ix, job->object + 1);
        job->tile = 0;
    }
}

/* The plain bytes of an extent that an earlier run has written. */
static weir_err restore(struct run *r, struct run_job *job, const struct pack_slot *slot,
                        struct weir_store_cursor *cursor, struct weir_diag *diag)
{
    struct pack *p = r->p;
    weir_err err = pack_stored_check(p, job->number, slot->stored);
    if (err == WEIR_ERR_MISMATCH)
        weir_diag_set(diag, "extent %u, of an earlier run, is damaged", job->number);
    job->extent = p->ix.extent[job->number];
    for (unsigned i = 0; !err && i < job->n_tiles; i++, step(p, job)) {
        err = weir_store_read_tile(cursor, job->object, job->tile, slot->plain + job->plain_bytes,
                                   diag);
        job->plain_bytes += weir_store_tile_bytes(&p->view, job->object, job->tile);
    }
    return err == WEIR_ERR_CORRUPT ? WEIR_ERR_MISMATCH : err;
}

static weir_err run_work(void *self, unsigned slot, unsigned worker, struct weir_diag *diag)
{
    struct run *r = self;
    struct run_job *job = &r->job[slot];
    const struct pack_slot *buffers = &r->p->slot[slot];
    if (job->number < r->p->n_restored)
        return restore(r, job, buffers, r->cursor[worker], diag);
    job->extent.bytes = job->n_tiles * WEIR_TILE_HEAD_BYTES;
    for (unsigned i = 0; i < job->n_tiles; i++, step(r->p, job)) {
        weir_err err = encode_tile(r, worker, job, buffers, i, diag);
        if (err)
            return err;
    }
    return sha256_of(buffers->stored, job->extent.bytes, job->extent.sha256);
}

static weir_err write_extent(struct pack *p, const struct run_job *job, const uint8_t *stored)
{
    static const uint8_t zeros[WEIR_ALIGN];
    assert(p->n_written < p->max_extents);
    size_t past = (size_t)(p->stored_bytes % WEIR_ALIGN);
    weir_err err = past ? pack_write(p, zeros, WEIR_ALIGN - past) : WEIR_OK;
    p->extent_at[p->n_written] = p->stored_bytes;
    if (!err)
        err = pack_write(p, stored, job->extent.bytes);
    if (err)
        return err;
    p->ix.extent[p->n_written++] = job->extent;
    return WEIR_OK;
}

/* Written first: hashing may read it. */
static weir_err run_finish(void *self, unsigned slot, struct weir_diag *diag)
{
    struct run *r = self;
    struct pack *p = r->p;
    const struct run_job *job = &r->job[slot];
    weir_err err = WEIR_OK;
    if (job->number >= p->n_restored) {
        err = write_extent(p, job, p->slot[slot].stored);
        if (!err)
            err = pack_journal_extent(p, &job->extent, diag);
    }
    if (!err)
        err = pack_hash_add(p, &r->hash, p->slot[slot].plain, job->plain_bytes, diag);
    return err ? err : pack_tick(p, p->done_bytes);
}

weir_err pack_run_new(struct pack *p)
{
    struct run *r = calloc(1, sizeof(*r));
    if (!r)
        return WEIR_ERR_NOMEM;
    p->run = r;
    r->p = p;
    weir_err err = pack_hash_new(&r->hash);
    r->n_threads = p->n_threads;
    for (unsigned i = 0; !err && i < r->n_threads; i++) {
        err = pack_encoder_new(p->kernels, &r->encoder[i]);
        if (!err && p->n_restored)
            err = weir_store_cursor_new(&p->view, p->kernels, &r->cursor[i]);
        r->room[i] = !err && p->near ? pack_near_room_new() : NULL;
        if (!err && p->near && !r->room[i])
            err = WEIR_ERR_NOMEM;
    }
    return err;
}

void pack_run_free(struct pack *p)
{
    struct run *r = p->run;
    if (!r)
        return;
    for (size_t i = 0; i < ORDERED_MAX_THREADS; i++) {
        pack_encoder_free(r->encoder[i]);
        pack_near_room_free(r->room[i]);
        weir_store_cursor_free(r->cursor[i]);
    }
    pack_hash_free(&r->hash);
    free(r);
}

weir_err pack_run(struct pack *p, struct weir_diag *diag)
{
    struct run *r = p->run;
    const struct ordered_line line = {r, run_next, run_work, run_finish};
    uint64_t n_extents = (p->ix.n_tiles + WEIR_EXTENT_TILES - 1) / WEIR_EXTENT_TILES;
    r->announced = false;
    weir_err err = ordered_run(&line, ordered_threads(r->n_threads, n_extents - r->extent), diag);
    if (err || !p->all_shared)
        return err;
    assert(p->n_written == n_extents);
    p->ix.n_extents = p->n_written;
    return pack_hash_end(p, &r->hash, diag);
}
