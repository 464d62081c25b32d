#include "pack_plan.h"

#include <stdlib.h>
#include <string.h>

#include <xxhash.h>

enum {
    CODINGS_INDEX_BYTES = 30 << 20, /* of the index; segments get zstd after that */
    EXTENT_BYTES = 36,              /* docs/format.md, 3.3 */
    LEAST_TILE_BYTES = 32,          /* a head and a payload of one byte, padded */

    MAX_RATIO = 16384, /* docs/format.md, 3.4: plain bytes per stored byte */
    LEAST_STORE_BYTES = 4096 + 64,
    DULL_RATIO = 1024,  /* packing to less than this fraction, an object is not worth sharing */
    MEASURED_TILES = 8, /* of an object that may be shared */
    MAX_CANDIDATES = 4, /* per segment; equal samples of unequal segments are rare */
};

struct share_job {
    uint32_t entry, segment;
    struct pack_choice choice;
};

struct share {
    struct pack *p;
    struct share_job job[ORDERED_MAX_SLOTS];
    uint32_t entry, segment; /* of the next job */
    struct pack_chooser *chooser[ORDERED_MAX_THREADS];

    /* The finishing thread's own. */
    struct weir_tile_encoder *encoder;
    uint32_t n_heads;       /* a power of two */
    uint32_t *object_head;  /* n_heads chains by length and sample */
    uint32_t *coding_at;    /* 2 n_heads: open addressing; coding number + 1 */
    uint64_t codings_bytes; /* in the index */
    uint64_t done_bytes;    /* of the segments so far */
    uint64_t least_bytes;   /* that their objects take in the store */
};

/* ---- codings, each one once ---- */

static uint64_t hash_coding(const struct weir_coding *c)
{
    return XXH3_64bits_withSeed(c->part, c->n_parts * sizeof(c->part[0]), c->elem_bytes);
}

/* There is no padding inside a part: 2 + 2 + 1 + 1 + 1 + 1 + 2 + 512 bytes. */
static bool same_coding(const struct weir_coding *a, const struct weir_coding *b)
{
    return a->elem_bytes == b->elem_bytes && a->n_parts == b->n_parts &&
           memcmp(a->part, b->part, a->n_parts * sizeof(a->part[0])) == 0;
}

/* Takes *coding over, or leaves it to be freed: the one to use is returned, NULL for opaque. */
static const struct weir_coding *intern_coding(struct share *s, struct weir_coding **coding)
{
    if (!*coding)
        return NULL;
    struct index *ix = &s->p->ix;
    uint32_t mask = 2 * s->n_heads - 1;
    uint32_t at = (uint32_t)hash_coding(*coding) & mask;
    for (; s->coding_at[at]; at = (at + 1) & mask) {
        const struct weir_coding *known = ix->coding[s->coding_at[at] - 1];
        if (same_coding(known, *coding))
            return known;
    }
    size_t n_bytes = pack_coding_bytes(*coding);
    if (s->codings_bytes + n_bytes > CODINGS_INDEX_BYTES)
        return NULL;
    s->codings_bytes += n_bytes;
    s->p->index_bytes += n_bytes;
    ix->coding[ix->n_codings++] = *coding;
    s->coding_at[at] = ix->n_codings;
    *coding = NULL;
    return ix->coding[ix->n_codings - 1];
}

/* ---- objects ---- */

static bool same_elements(const struct weir_elements *a, const struct weir_elements *b)
{
    if (!a || !b)
        return a == b;
    if (a->elem_bytes != b->elem_bytes || a->n_parts != b->n_parts)
        return false;
    for (int i = 0; i < a->n_parts; i++)
        if (a->part[i].offset != b->part[i].offset || a->part[i].count != b->part[i].count ||
            a->part[i].item_bytes != b->part[i].item_bytes ||
            a->part[i].is_float != b->part[i].is_float ||
            a->part[i].exponent_bits != b->part[i].exponent_bits)
            return false;
    return true;
}

static const struct weir_segment *job_segment(const struct share *s, const struct share_job *job)
{
    return &s->p->ix.entry[job->entry].segment[job->segment];
}

static uint32_t *chain_of(struct share *s, const struct share_job *job)
{
    uint64_t key = job->choice.sample_xxh3 ^ job_segment(s, job)->bytes;
    return &s->object_head[(uint32_t)key & (s->n_heads - 1)];
}

static bool looks_equal(const struct share *s, const struct share_job *job, uint32_t object)
{
    const struct pack_object *o = &s->p->object[object];
    return s->p->ix.object[object].bytes == job_segment(s, job)->bytes &&
           o->sample_xxh3 == job->choice.sample_xxh3 &&
           same_elements(pack_elements(s->p, o->entry, o->segment),
                         pack_elements(s->p, job->entry, job->segment));
}

/* A lower bound of what the object takes in the store: some tiles as they will be stored, and the
 * least possible for the others. */
static weir_err measure(struct share *s, const struct pack_slot *slot, uint32_t object,
                        struct weir_diag *diag)
{
    struct pack *p = s->p;
    const struct weir_object *o = &p->ix.object[object];
    struct pack_object *po = &p->object[object];
    const struct weir_segment *home = &p->ix.entry[po->entry].segment[po->segment];
    uint64_t n_tiles = o->n_tiles < MEASURED_TILES ? o->n_tiles : MEASURED_TILES;
    uint64_t plain_bytes = 0;
    uint64_t stored_bytes = 0;
    for (uint64_t i = 0; i < n_tiles; i++) {
        uint64_t at = o->n_tiles / n_tiles * i * o->tile_bytes;
        size_t n = o->bytes - at < o->tile_bytes ? (size_t)(o->bytes - at) : o->tile_bytes;
        struct weir_tile_head head;
        weir_err err =
            pack_read(&p->there, po->entry, home->file_offset + at, slot->plain, n, diag);
        if (!err)
            err = weir_tile_encode(s->encoder, o->coding, slot->plain, n, slot->stored, &head);
        if (err)
            return err;
        stored_bytes += WEIR_TILE_HEAD_BYTES + ((head.payload_bytes + 15u) & ~15u);
        plain_bytes += n;
    }
    po->measured = true;
    po->least_bytes = stored_bytes + (o->n_tiles - n_tiles) * LEAST_TILE_BYTES;
    po->dull = stored_bytes < plain_bytes / DULL_RATIO;
    return WEIR_OK;
}

/* Would the store still obey the ratio rule with this segment sharing `object`?  Segments that do
 * not share stay far below it (a tile of 128 KiB takes at least 32 bytes), so it can be asked
 * segment by segment. */
static bool ratio_allows(const struct share *s, uint64_t bytes, uint32_t object)
{
    const struct pack_object *po = &s->p->object[object];
    uint64_t least = LEAST_STORE_BYTES + s->least_bytes;
    if (!po->shared)
        least += po->least_bytes - s->p->ix.object[object].n_tiles * LEAST_TILE_BYTES;
    return (s->done_bytes + bytes) / MAX_RATIO < least;
}

static weir_err compare(struct share *s, const struct share_job *job, uint32_t object, bool *equal,
                        struct weir_diag *diag)
{
    struct pack *p = s->p;
    const struct pack_object *o = &p->object[object];
    const struct weir_segment *a = job_segment(s, job);
    const struct weir_segment *b = &p->ix.entry[o->entry].segment[o->segment];
    *equal = false;
    for (uint64_t at = 0; at < a->bytes; at += PACK_BLOCK_BYTES) {
        size_t n = a->bytes - at < PACK_BLOCK_BYTES ? (size_t)(a->bytes - at) : PACK_BLOCK_BYTES;
        weir_err err = pack_read(&p->here, job->entry, a->file_offset + at, p->block[0], n, diag);
        if (!err)
            err = pack_read(&p->there, o->entry, b->file_offset + at, p->block[1], n, diag);
        if (!err)
            err = pack_tick(p, 0);
        if (err)
            return err;
        if (memcmp(p->block[0], p->block[1], n) != 0)
            return WEIR_OK;
    }
    *equal = true;
    return WEIR_OK;
}

/* *out: the earlier object with the same bytes, or WEIR_NO_OBJECT. */
static weir_err find_equal(struct share *s, const struct share_job *job,
                           const struct pack_slot *slot, uint32_t *out, struct weir_diag *diag)
{
    int n_left = MAX_CANDIDATES;
    *out = WEIR_NO_OBJECT;
    for (uint32_t o = *chain_of(s, job); o != WEIR_NO_OBJECT && n_left; o = s->p->object[o].next) {
        if (!looks_equal(s, job, o))
            continue;
        n_left--;
        weir_err err = WEIR_OK;
        if (!s->p->object[o].measured)
            err = measure(s, slot, o, diag);
        if (err || s->p->object[o].dull)
            return err;
        if (!ratio_allows(s, job_segment(s, job)->bytes, o))
            continue;
        bool equal = false;
        err = compare(s, job, o, &equal, diag);
        if (err)
            return err;
        if (equal) {
            *out = o;
            return WEIR_OK;
        }
    }
    return WEIR_OK;
}

static uint32_t add_object(struct share *s, struct share_job *job)
{
    struct index *ix = &s->p->ix;
    uint32_t *chain = chain_of(s, job);
    uint32_t number = ix->n_objects++;
    struct weir_object *o = &ix->object[number];
    o->bytes = job_segment(s, job)->bytes;
    o->coding = intern_coding(s, &job->choice.coding);
    o->tile_bytes = weir_coding_tile_bytes(o->coding);
    o->first_tile = ix->n_tiles;
    o->n_tiles = (o->bytes - 1) / o->tile_bytes + 1;
    ix->n_tiles += o->n_tiles;
    s->least_bytes += o->n_tiles * LEAST_TILE_BYTES;
    s->p->object[number] = (struct pack_object){
        .entry = job->entry,
        .segment = job->segment,
        .sample_xxh3 = job->choice.sample_xxh3,
        .next = *chain,
    };
    *chain = number;
    return number;
}

/* ---- the line: a job is a segment ---- */

static weir_err share_next(void *self, unsigned slot, bool *more, struct weir_diag *diag)
{
    (void)diag;
    struct share *s = self;
    const struct index *ix = &s->p->ix;
    while (s->entry < ix->n_entries) {
        const struct weir_entry *e = &ix->entry[s->entry];
        uint32_t segment = s->segment++;
        if (segment >= e->n_segments) {
            s->entry++;
            s->segment = 0;
        } else if (e->segment[segment].bytes) {
            s->job[slot].entry = s->entry;
            s->job[slot].segment = segment;
            return WEIR_OK;
        }
    }
    *more = false;
    return WEIR_OK;
}

static weir_err share_work(void *self, unsigned slot, unsigned worker, struct weir_diag *diag)
{
    struct share *s = self;
    struct share_job *job = &s->job[slot];
    return pack_choose(s->chooser[worker], &s->p->reader[worker], job->entry, job->segment,
                       &s->p->slot[slot], &job->choice, diag);
}

static weir_err share_finish(void *self, unsigned slot, struct weir_diag *diag)
{
    struct share *s = self;
    struct pack *p = s->p;
    struct share_job *job = &s->job[slot];
    uint32_t object = WEIR_NO_OBJECT;
    weir_err err = find_equal(s, job, &p->slot[slot], &object, diag);
    if (err)
        return err;
    if (object == WEIR_NO_OBJECT) {
        object = add_object(s, job);
    } else if (!p->object[object].shared) {
        p->object[object].shared = true;
        s->least_bytes +=
            p->object[object].least_bytes - p->ix.object[object].n_tiles * LEAST_TILE_BYTES;
    }
    p->file[job->entry].segment[job->segment].object = object;
    s->done_bytes += job_segment(s, job)->bytes;
    free(job->choice.coding);
    job->choice.coding = NULL;
    return pack_tick(p, 0);
}

static weir_err share_new(struct share *s, unsigned n_threads)
{
    struct pack *p = s->p;
    size_t n = (size_t)p->n_parts + 1;
    s->n_heads = 1;
    while (s->n_heads < n)
        s->n_heads *= 2;
    s->object_head = malloc(s->n_heads * sizeof(s->object_head[0]));
    s->coding_at = calloc(2 * (size_t)s->n_heads, sizeof(s->coding_at[0]));
    p->ix.object = calloc(n, sizeof(p->ix.object[0]));
    p->ix.coding = calloc(n, sizeof(struct weir_coding *));
    p->object = calloc(n, sizeof(p->object[0]));
    if (!s->object_head || !s->coding_at || !p->ix.object || !p->ix.coding || !p->object)
        return WEIR_ERR_NOMEM;
    for (uint32_t i = 0; i < s->n_heads; i++)
        s->object_head[i] = WEIR_NO_OBJECT;
    weir_err err = weir_tile_encoder_new(p->kernels, &s->encoder);
    for (unsigned i = 0; !err && i < n_threads; i++)
        err = pack_chooser_new(&s->chooser[i]);
    return err;
}

static void share_free(struct share *s)
{
    for (size_t i = 0; i < ORDERED_MAX_SLOTS; i++)
        free(s->job[i].choice.coding);
    for (size_t i = 0; i < ORDERED_MAX_THREADS; i++)
        pack_chooser_free(s->chooser[i]);
    weir_tile_encoder_free(s->encoder);
    free(s->object_head);
    free(s->coding_at);
}

weir_err pack_share(struct pack *p, struct weir_diag *diag)
{
    unsigned n_threads = ordered_threads(p->n_threads, p->n_parts);
    struct share s = {.p = p};
    struct ordered_line line = {&s, share_next, share_work, share_finish};
    weir_err err = share_new(&s, n_threads);
    if (!err)
        err = ordered_run(&line, n_threads, diag);
    share_free(&s);
    if (err)
        return err;
    uint64_t n_extents = (p->ix.n_tiles + WEIR_EXTENT_TILES - 1) / WEIR_EXTENT_TILES;
    if (p->index_bytes > WEIR_MAX_INDEX_BYTES ||
        n_extents > (WEIR_MAX_INDEX_BYTES - p->index_bytes) / EXTENT_BYTES) {
        weir_diag_set(diag, "too many bytes for one store");
        return WEIR_ERR_INVALID;
    }
    p->ix.n_extents = (uint32_t)n_extents;
    return WEIR_OK;
}
