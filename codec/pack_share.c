#include "pack_plan.h"

#include <stdlib.h>
#include <string.h>

#include <xxhash.h>

enum {
    CODINGS_INDEX_BYTES = 30 << 20, /* of the index; segments get zstd after that */
    EXTENT_BYTES = 36,              /* docs/format.md, 3.3 */
    NEARNESS_BYTES = 24,            /* docs/format.md, 3.2 */
    BASE_PLACE_BYTES = 12,          /* the same */
    LEAST_TILE_PLAIN = WEIR_TILE_BYTES - WEIR_MAX_ELEM_BYTES, /* of all but an object's last */
};

/* A segment; or, between two, the next one. */
struct place {
    uint32_t entry, segment;
};

struct share_job {
    struct place place;
    struct pack_choice choice;
};

struct share {
    struct pack *p;
    struct share_job job[ORDERED_MAX_SLOTS];
    struct place next;    /* of the next job */
    uint64_t ahead_bytes; /* that are shared, or going to be, but not written */
    unsigned n_threads;
    struct pack_chooser *chooser[ORDERED_MAX_THREADS];

    /* The finishing thread's own. */
    struct pack_encoder *encoder;
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
    const uint64_t seed = (uint64_t)c->elem_bytes << 32 ^ c->transform.row_elements ^
                          (uint64_t)c->transform.kind << 56;
    return XXH3_64bits_withSeed(c->part, c->n_parts * sizeof(c->part[0]), seed);
}

static bool same_transform(const struct weir_transform *a, const struct weir_transform *b)
{
    return a->kind == b->kind && a->number == b->number && a->made == b->made &&
           a->near == b->near && a->item_bytes == b->item_bytes &&
           a->row_elements == b->row_elements && a->block_rows == b->block_rows &&
           a->block_cols == b->block_cols;
}

/* There is no padding inside a part: 2 + 2 + 1 + 1 + 1 + 1 + 2 + 512 bytes. */
static bool same_coding(const struct weir_coding *a, const struct weir_coding *b)
{
    return a->elem_bytes == b->elem_bytes && a->n_parts == b->n_parts &&
           same_transform(&a->transform, &b->transform) &&
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

static struct weir_segment *segment_at(const struct share *s, struct place place)
{
    return &s->p->file[place.entry].segment[place.segment];
}

static uint32_t *chain_of(struct share *s, struct place place, uint64_t sample_xxh3)
{
    uint64_t key = sample_xxh3 ^ segment_at(s, place)->bytes;
    return &s->object_head[(uint32_t)key & (s->n_heads - 1)];
}

static void add_object(struct share *s, struct place place, struct pack_sharing *how)
{
    struct index *ix = &s->p->ix;
    uint32_t *chain = chain_of(s, place, how->sample_xxh3);
    uint32_t number = ix->n_objects++;
    struct weir_object *o = &ix->object[number];
    o->bytes = segment_at(s, place)->bytes;
    o->coding = intern_coding(s, &how->coding);
    o->tile_bytes = weir_coding_tile_bytes(o->coding);
    o->first_tile = ix->n_tiles;
    o->is_reference = how->place.is_same;
    if (weir_object_needs_base(o)) {
        o->base_object = how->place.object;
        s->p->index_bytes += BASE_PLACE_BYTES;
    }
    o->n_tiles = o->is_reference ? 0 : weir_object_tiles(o);
    ix->n_tiles += o->n_tiles;
    struct pack_near *near = o->coding && o->coding->transform.near ? how->near : NULL;
    if (near) {
        how->near = NULL;
        o->nearness = near->nearness;
        s->p->index_bytes += NEARNESS_BYTES;
    }
    s->least_bytes += o->n_tiles * PACK_LEAST_TILE_BYTES;
    s->p->object[number] = (struct pack_object){
        .entry = place.entry,
        .segment = place.segment,
        .sample_xxh3 = how->sample_xxh3,
        .next = *chain,
        .near = near,
        .shared = o->is_reference, /* so that its checksum is looked at */
        .measured = o->is_reference,
        .xxh3 = how->place.xxh3,
    };
    *chain = number;
}

/* The segment is settled; takes how->coding over, or leaves it. */
static void give_object(struct share *s, struct place place, struct pack_sharing *how)
{
    struct pack *p = s->p;
    struct pack_object *o = &p->object[how->object];
    if (how->object == p->ix.n_objects) {
        add_object(s, place, how);
    } else if (!o->shared) {
        o->shared = true;
        s->least_bytes +=
            o->least_bytes - p->ix.object[how->object].n_tiles * PACK_LEAST_TILE_BYTES;
    }
    segment_at(s, place)->object = how->object;
    if (!p->ix.object[how->object].is_reference)
        s->done_bytes += segment_at(s, place)->bytes;
}

/* ---- the line: a job is a segment ---- */

/* Goes on to a segment with bytes; false: there are no more. */
static bool find_place(const struct pack *p, struct place *at)
{
    for (; at->entry < p->ix.n_entries; at->entry++, at->segment = 0) {
        const struct weir_entry *e = &p->ix.entry[at->entry];
        while (at->segment < e->n_segments && !e->segment[at->segment].bytes)
            at->segment++;
        if (at->segment < e->n_segments)
            return true;
    }
    return false;
}

static weir_err share_next(void *self, unsigned slot, bool *more, struct weir_diag *diag)
{
    (void)diag;
    struct share *s = self;
    struct pack *p = s->p;
    p->all_shared = !find_place(p, &s->next);
    *more = !p->all_shared && (!p->window_bytes || s->ahead_bytes < p->window_bytes);
    if (!*more)
        return WEIR_OK;
    s->job[slot].place = s->next;
    s->ahead_bytes += segment_at(s, s->next)->bytes;
    s->next.segment++;
    return WEIR_OK;
}

static weir_err share_work(void *self, unsigned slot, unsigned worker, struct weir_diag *diag)
{
    struct share *s = self;
    struct share_job *job = &s->job[slot];
    struct pack_seen seen = {.reader = &s->p->reader[worker],
                             .worker = worker,
                             .entry = job->place.entry,
                             .segment = job->place.segment,
                             .slot = &s->p->slot[slot]};
    return pack_choose(s->chooser[worker], &seen, &job->choice, diag);
}

/* The reference that is there already, or WEIR_NO_OBJECT: nothing has to be compared. */
static uint32_t find_reference(const struct pack *p, uint32_t first, uint32_t base_object)
{
    uint32_t o = first;
    while (o != WEIR_NO_OBJECT &&
           !(p->ix.object[o].is_reference && p->ix.object[o].base_object == base_object))
        o = p->object[o].next;
    return o;
}

static weir_err find_object(struct pack *p, const struct pack_twin *twin, struct pack_sharing *how,
                            struct weir_diag *diag)
{
    if (!how->place.is_same)
        return pack_find_equal(p, twin, how, &how->object, diag);
    how->object = find_reference(p, twin->first, how->place.object);
    return WEIR_OK;
}

static weir_err share_finish(void *self, unsigned slot, struct weir_diag *diag)
{
    struct share *s = self;
    struct pack *p = s->p;
    struct share_job *job = &s->job[slot];
    struct pack_sharing how = {.sample_xxh3 = job->choice.sample_xxh3,
                               .coding = job->choice.coding,
                               .near = job->choice.near,
                               .place = job->choice.place};
    if (how.place.is_same && !pack_base_allows(p->base, segment_at(s, job->place)->bytes))
        how.place.is_same = false;
    const struct pack_twin twin = {
        .encoder = s->encoder,
        .slot = &p->slot[slot],
        .done_bytes = s->done_bytes,
        .least_bytes = s->least_bytes,
        .entry = job->place.entry,
        .segment = job->place.segment,
        .first = *chain_of(s, job->place, how.sample_xxh3),
    };
    job->choice.coding = NULL;
    job->choice.near = NULL;
    weir_err err = find_object(p, &twin, &how, diag);
    if (!err && how.object == WEIR_NO_OBJECT)
        how.object = p->ix.n_objects;
    if (!err)
        err = pack_journal_sharing(p, &how, diag);
    if (!err)
        give_object(s, job->place, &how);
    free(how.coding);
    pack_near_free(how.near);
    return err ? err : pack_tick(p, p->done_bytes);
}

bool pack_share_again(struct pack *p, struct pack_sharing *how)
{
    struct share *s = p->share;
    struct place place = s->next;
    if (!find_place(p, &place) || how->object > p->ix.n_objects)
        return false;
    if (how->object < p->ix.n_objects &&
        (how->coding || p->ix.object[how->object].bytes != segment_at(s, place)->bytes))
        return false;
    for (unsigned i = 0; i < how->n_measured; i++)
        if (how->measured[i].object >= p->ix.n_objects)
            return false;
    for (unsigned i = 0; i < how->n_measured; i++) {
        struct pack_object *o = &p->object[how->measured[i].object];
        o->measured = true;
        o->dull = how->measured[i].dull;
        o->least_bytes = how->measured[i].least_bytes;
    }
    give_object(s, place, how);
    s->next = (struct place){place.entry, place.segment + 1};
    return true;
}

void pack_share_announce(struct pack *p)
{
    struct place at = p->share->next;
    uint64_t n_bytes = 0;
    for (; n_bytes < p->window_bytes && find_place(p, &at); at.segment++) {
        n_bytes += segment_at(p->share, at)->bytes;
        pack_choose_announce(&p->announcer, at.entry, at.segment);
    }
}

/* ---- the whole ---- */

/* Extents are not counted before all is shared, but there is an end to them. */
static weir_err make_extents(struct pack *p)
{
    uint64_t n_tiles = p->ix.plain_bytes / LEAST_TILE_PLAIN + p->n_parts;
    uint64_t most = WEIR_MAX_INDEX_BYTES / EXTENT_BYTES;
    uint64_t n = n_tiles / WEIR_EXTENT_TILES + 1;
    p->max_extents = n < most ? n : most;
    p->ix.extent = calloc((size_t)p->max_extents, sizeof(p->ix.extent[0]));
    p->extent_at = calloc((size_t)p->max_extents, sizeof(p->extent_at[0]));
    return p->ix.extent && p->extent_at ? WEIR_OK : WEIR_ERR_NOMEM;
}

static weir_err make_tables(struct share *s)
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
    return make_extents(p);
}

weir_err pack_share_new(struct pack *p)
{
    struct share *s = calloc(1, sizeof(*s));
    if (!s)
        return WEIR_ERR_NOMEM;
    p->share = s;
    s->p = p;
    s->n_threads = ordered_threads(p->n_threads, p->n_parts);
    weir_err err = make_tables(s);
    if (!err)
        err = pack_encoder_new(p->kernels, &s->encoder);
    for (unsigned i = 0; !err && i < s->n_threads; i++)
        err = pack_chooser_new(&s->chooser[i]);
    return err;
}

void pack_share_free(struct pack *p)
{
    struct share *s = p->share;
    if (!s)
        return;
    for (size_t i = 0; i < ORDERED_MAX_SLOTS; i++) {
        free(s->job[i].choice.coding);
        pack_near_free(s->job[i].choice.near);
    }
    for (size_t i = 0; i < ORDERED_MAX_THREADS; i++)
        pack_chooser_free(s->chooser[i]);
    pack_encoder_free(s->encoder);
    free(s->object_head);
    free(s->coding_at);
    free(s);
}

weir_err pack_share(struct pack *p, struct weir_diag *diag)
{
    struct share *s = p->share;
    const struct ordered_line line = {s, share_next, share_work, share_finish};
    uint64_t n_written = (uint64_t)p->n_written * WEIR_EXTENT_TILES;
    if (p->n_written < p->n_restored)
        n_written = (uint64_t)p->n_restored * WEIR_EXTENT_TILES;
    s->ahead_bytes = p->ix.n_tiles > n_written ? (p->ix.n_tiles - n_written) * WEIR_TILE_BYTES : 0;
    if (p->window_bytes)
        pack_share_announce(p);
    weir_err err = ordered_run(&line, s->n_threads, diag);
    if (err)
        return err;
    uint64_t n_extents = (p->ix.n_tiles + WEIR_EXTENT_TILES - 1) / WEIR_EXTENT_TILES;
    if (p->index_bytes > WEIR_MAX_INDEX_BYTES ||
        n_extents > (WEIR_MAX_INDEX_BYTES - p->index_bytes) / EXTENT_BYTES) {
        weir_diag_set(diag, "too many bytes for one store");
        return WEIR_ERR_INVALID;
    }
    return WEIR_OK;
}
