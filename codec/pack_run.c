#include "pack_plan.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include <xxhash.h>

#include "cursor.h"
#include "sha256.h"

struct run_job {
    uint32_t object; /* of the first tile */
    uint64_t tile;   /* within it */
    unsigned n_tiles;
    size_t plain_bytes;
    struct index_extent extent;
};

/* Tiles follow each other as the segments do that show their objects first, so the plain bytes of
 * the extents are the files in order, with the segments left out that share.  Those are read once
 * more, when their turn comes, for their file's SHA-256. */
struct run {
    struct pack *p;
    struct run_job job[ORDERED_MAX_SLOTS];
    struct weir_tile_encoder *encoder[ORDERED_MAX_THREADS];
    uint32_t object; /* of the next job */
    uint64_t tile;

    /* The finishing thread's own. */
    uint32_t extent;         /* the next one to write */
    uint32_t entry, segment; /* what is hashed */
    uint64_t offset;         /* in the segment */
    bool in_file;            /* sha256 has begun with this entry */
    struct sha256 sha256;
    XXH3_state_t *xxh3; /* of an object that is shared */
    uint64_t done_bytes;
};

/* ---- files: the finishing thread ---- */

static bool is_first_showing(const struct run *r, uint32_t object)
{
    const struct pack_object *o = &r->p->object[object];
    return o->entry == r->entry && o->segment == r->segment;
}

/* The bytes of a shared segment, read again: they must still be what its object was made of. */
static weir_err hash_shared(struct run *r, const struct weir_segment *s, struct weir_diag *diag)
{
    struct pack *p = r->p;
    XXH3_64bits_reset(r->xxh3);
    for (uint64_t at = 0; at < s->bytes; at += PACK_BLOCK_BYTES) {
        size_t n = s->bytes - at < PACK_BLOCK_BYTES ? (size_t)(s->bytes - at) : PACK_BLOCK_BYTES;
        weir_err err = pack_read(&p->here, r->entry, s->file_offset + at, p->block[0], n, diag);
        if (!err)
            err = sha256_add(&r->sha256, p->block[0], n);
        if (err)
            return err;
        XXH3_64bits_update(r->xxh3, p->block[0], n);
        r->done_bytes += n;
        err = pack_tick(p, r->done_bytes);
        if (err)
            return err;
    }
    if (XXH3_64bits_digest(r->xxh3) == p->object[s->object].xxh3)
        return WEIR_OK;
    weir_diag_set(diag, "%s: its bytes changed while it was packed", p->ix.entry[r->entry].path);
    return WEIR_ERR_CHANGED;
}

/* Goes on to the next byte that comes out of a tile, or to the end of all entries. */
static weir_err settle(struct run *r, struct weir_diag *diag)
{
    struct index *ix = &r->p->ix;
    while (r->entry < ix->n_entries) {
        struct weir_entry *e = &ix->entry[r->entry];
        weir_err err = WEIR_OK;
        if (e->kind == WEIR_ENTRY_FILE && !r->in_file) {
            err = sha256_begin(&r->sha256);
            r->in_file = true;
        } else if (r->segment < e->n_segments) {
            const struct weir_segment *s = &e->segment[r->segment];
            if (s->bytes && is_first_showing(r, s->object))
                return WEIR_OK;
            if (s->bytes)
                err = hash_shared(r, s, diag);
            r->segment++;
        } else {
            if (r->in_file)
                err = sha256_end(&r->sha256, e->sha256);
            r->in_file = false;
            r->entry++;
            r->segment = 0;
        }
        if (err)
            return err;
    }
    return WEIR_OK;
}

static weir_err hash_plain(struct run *r, const uint8_t *plain, size_t n, struct weir_diag *diag)
{
    while (n) {
        weir_err err = settle(r, diag);
        if (err)
            return err;
        assert(r->entry < r->p->ix.n_entries);
        const struct weir_segment *s = &r->p->ix.entry[r->entry].segment[r->segment];
        struct pack_object *o = &r->p->object[s->object];
        size_t taken = n < s->bytes - r->offset ? n : (size_t)(s->bytes - r->offset);
        if (o->shared && r->offset == 0)
            XXH3_64bits_reset(r->xxh3);
        if (o->shared)
            XXH3_64bits_update(r->xxh3, plain, taken);
        err = sha256_add(&r->sha256, plain, taken);
        if (err)
            return err;
        plain += taken;
        n -= taken;
        r->offset += taken;
        r->done_bytes += taken;
        if (r->offset == s->bytes) {
            if (o->shared)
                o->xxh3 = XXH3_64bits_digest(r->xxh3);
            r->segment++;
            r->offset = 0;
        }
    }
    return WEIR_OK;
}

/* ---- the line: a job is an extent ---- */

static weir_err run_next(void *self, unsigned slot, bool *more, struct weir_diag *diag)
{
    (void)diag;
    struct run *r = self;
    const struct index *ix = &r->p->ix;
    struct run_job *job = &r->job[slot];
    *job = (struct run_job){.object = r->object, .tile = r->tile};
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
    return WEIR_OK;
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
    if (!err)
        err = weir_tile_encode(r->encoder[worker], o->coding, plain, n, payload, &head);
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

static weir_err run_work(void *self, unsigned slot, unsigned worker, struct weir_diag *diag)
{
    struct run *r = self;
    struct run_job *job = &r->job[slot];
    const struct pack_slot *buffers = &r->p->slot[slot];
    job->extent.bytes = job->n_tiles * WEIR_TILE_HEAD_BYTES;
    for (unsigned i = 0; i < job->n_tiles; i++) {
        weir_err err = encode_tile(r, worker, job, buffers, i, diag);
        if (err)
            return err;
        if (++job->tile == r->p->ix.object[job->object].n_tiles) {
            job->object++;
            job->tile = 0;
        }
    }
    return sha256_of(buffers->stored, job->extent.bytes, job->extent.sha256);
}

static weir_err run_finish(void *self, unsigned slot, struct weir_diag *diag)
{
    static const uint8_t zeros[WEIR_ALIGN];
    struct run *r = self;
    const struct run_job *job = &r->job[slot];
    weir_err err = hash_plain(r, r->p->slot[slot].plain, job->plain_bytes, diag);
    if (err)
        return err;
    size_t past = (size_t)(r->p->stored_bytes % WEIR_ALIGN);
    if (past)
        err = pack_write(r->p, zeros, WEIR_ALIGN - past);
    if (!err)
        err = pack_write(r->p, r->p->slot[slot].stored, job->extent.bytes);
    if (err)
        return err;
    r->p->ix.extent[r->extent++] = job->extent;
    return pack_tick(r->p, r->done_bytes);
}

static weir_err run_all(struct run *r, struct weir_diag *diag)
{
    struct pack *p = r->p;
    unsigned n_threads = ordered_threads(p->n_threads, p->ix.n_extents);
    p->ix.extent = calloc((size_t)p->ix.n_extents + 1, sizeof(p->ix.extent[0]));
    r->xxh3 = XXH3_createState();
    if (!p->ix.extent || !r->xxh3)
        return WEIR_ERR_NOMEM;
    for (unsigned i = 0; i < n_threads; i++) {
        weir_err err = weir_tile_encoder_new(p->kernels, &r->encoder[i]);
        if (err)
            return err;
    }
    struct ordered_line line = {r, run_next, run_work, run_finish};
    weir_err err = ordered_run(&line, n_threads, diag);
    return err ? err : settle(r, diag);
}

weir_err pack_run(struct pack *p, struct weir_diag *diag)
{
    struct run r = {.p = p};
    weir_err err = run_all(&r, diag);
    assert(err || (r.extent == p->ix.n_extents && r.entry == p->ix.n_entries));
    for (size_t i = 0; i < ORDERED_MAX_THREADS; i++)
        weir_tile_encoder_free(r.encoder[i]);
    sha256_free(&r.sha256);
    XXH3_freeState(r.xxh3);
    return err;
}
