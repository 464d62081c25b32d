/* What a base has for the segments that are packed: the same bytes, or tensors that they differ
 * little from.  Tensors are looked for by name, dtype and shape, whatever their file is called;
 * then all segments by their length and the bytes they begin with. */
#include "pack_plan.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "kernels.h"

enum {
    BEGINNING_BYTES = 64 << 10,    /* of an object: lies in its first tile */
    MAX_CANDIDATES = 16,           /* with the same length and beginning */
    BLOCK_BYTES = WEIR_TILE_BYTES, /* compared at once */
    ITEMS_AT = PACK_SAMPLE_BYTES,  /* in slot->plain, behind the sample */
};

_Static_assert(ITEMS_AT + (int)PACK_SAMPLE_BYTES <= (int)PACK_PLAIN_BYTES, "both fit a slot");
_Static_assert((int)PACK_SAMPLE_BYTES <= WEIR_MAX_EXTENT_BYTES &&
                   2 * (int)BLOCK_BYTES <= WEIR_MAX_EXTENT_BYTES,
               "the base's sample, or two blocks, fit a slot's stored bytes");

/* A tensor of the base. */
struct base_tensor {
    const struct weir_tensor *tensor;
    const char *path;
    uint32_t object;
};

/* An object of the base. */
struct base_object {
    uint64_t bytes;
    uint64_t beginning; /* checksum */
    uint32_t number;
};

/* A thread's own. */
struct base_worker {
    struct base_reader *reader;
    XXH3_state_t *xxh3;
    uint8_t tile[WEIR_TILE_BYTES];
};

struct pack_base {
    const struct pack *pack;
    const struct weir_store *store;
    size_t n_tensors, n_objects;
    struct base_tensor *tensor; /* by name; those of one name as they come */
    struct base_object *object; /* by length and beginning */
    struct base_worker *worker[ORDERED_MAX_THREADS];
    uint64_t same_bytes;
};

/* ---- the base's tables ---- */

static int compare_tensors(const void *a, const void *b)
{
    const struct base_tensor *left = a, *right = b;
    int order = strcmp(left->tensor->name, right->tensor->name);
    return order ? order : strcmp(left->path, right->path);
}

static int compare_objects(const void *a, const void *b)
{
    const struct base_object *left = a, *right = b;
    if (left->bytes != right->bytes)
        return left->bytes < right->bytes ? -1 : 1;
    if (left->beginning != right->beginning)
        return left->beginning < right->beginning ? -1 : 1;
    return (left->number > right->number) - (left->number < right->number);
}

static void list_tensors(struct pack_base *b, bool count_only)
{
    b->n_tensors = 0;
    for (uint32_t i = 0; i < weir_store_info(b->store)->n_entries; i++) {
        const struct weir_entry *e = weir_store_entry(b->store, i);
        for (uint32_t k = 0; e->kind == WEIR_ENTRY_FILE && k < e->n_segments; k++) {
            const struct weir_segment *s = &e->segment[k];
            if (!s->tensor || !s->bytes)
                continue;
            if (!count_only)
                b->tensor[b->n_tensors] = (struct base_tensor){s->tensor, e->path, s->object};
            b->n_tensors++;
        }
    }
}

static weir_err list_objects(struct pack_base *b, struct weir_diag *diag)
{
    struct base_worker *w = b->worker[0];
    assert(w); /* there is one thread at least */
    for (uint32_t i = 0; i < b->n_objects; i++) {
        const uint64_t bytes = weir_store_object(b->store, i)->bytes;
        const size_t n = bytes < BEGINNING_BYTES ? (size_t)bytes : (size_t)BEGINNING_BYTES;
        weir_err err = base_reader_read(w->reader, i, 0, w->tile, n, diag);
        if (err)
            return err;
        b->object[i] = (struct base_object){bytes, XXH3_64bits(w->tile, n), i};
    }
    qsort(b->object, b->n_objects, sizeof(b->object[0]), compare_objects);
    return WEIR_OK;
}

static weir_err make_workers(struct pack_base *b)
{
    for (unsigned i = 0; i < b->pack->n_threads; i++) {
        struct base_worker *w = b->worker[i] = calloc(1, sizeof(*w));
        if (!w)
            return WEIR_ERR_NOMEM;
        w->xxh3 = XXH3_createState();
        weir_err err =
            w->xxh3 ? base_reader_new(b->store, b->pack->kernels, &w->reader) : WEIR_ERR_NOMEM;
        if (err)
            return err;
    }
    return WEIR_OK;
}

weir_err pack_base_new(struct pack *p, const struct weir_store *base, struct weir_diag *diag)
{
    if (weir_store_info(base)->features & WEIR_FEATURE_BASE) {
        weir_diag_set(diag, "the base needs a base itself; pack against that one");
        return WEIR_ERR_UNSUPPORTED;
    }
    struct pack_base *b = calloc(1, sizeof(*b));
    if (!b)
        return WEIR_ERR_NOMEM;
    p->base = b;
    b->pack = p;
    b->store = base;
    memcpy(p->ix.base_digest, weir_store_info(base)->digest, WEIR_DIGEST_BYTES);
    list_tensors(b, true);
    b->n_objects = weir_store_info(base)->n_objects;
    b->tensor = calloc(b->n_tensors + 1, sizeof(b->tensor[0]));
    b->object = calloc(b->n_objects + 1, sizeof(b->object[0]));
    if (!b->tensor || !b->object)
        return WEIR_ERR_NOMEM;
    list_tensors(b, false);
    qsort(b->tensor, b->n_tensors, sizeof(b->tensor[0]), compare_tensors);
    weir_err err = make_workers(b);
    struct weir_diag detail = {""};
    if (!err)
        err = list_objects(b, &detail);
    if (err && detail.text[0])
        weir_diag_set(diag, "the base: %s", detail.text);
    return err;
}

void pack_base_free(struct pack *p)
{
    struct pack_base *b = p->base;
    if (!b)
        return;
    for (size_t i = 0; i < ORDERED_MAX_THREADS; i++) {
        if (!b->worker[i])
            continue;
        base_reader_free(b->worker[i]->reader);
        XXH3_freeState(b->worker[i]->xxh3);
        free(b->worker[i]);
    }
    free(b->tensor);
    free(b->object);
    free(b);
    p->base = NULL;
}

/* ---- a segment's counterpart ---- */

static bool same_form(const struct weir_tensor *a, const struct weir_tensor *b)
{
    return strcmp(a->dtype, b->dtype) == 0 && a->n_dims == b->n_dims &&
           memcmp(a->dim, b->dim, a->n_dims * sizeof(a->dim[0])) == 0;
}

static int compare_name(const void *name, const void *tensor)
{
    return strcmp(name, ((const struct base_tensor *)tensor)->tensor->name);
}

/* The base's object of that name and form: of the file with the same path, or else of the first. */
static uint32_t find_named(const struct pack_base *b, const struct weir_segment *s,
                           const char *path)
{
    if (!s->tensor)
        return WEIR_NO_OBJECT;
    const struct base_tensor *any =
        bsearch(s->tensor->name, b->tensor, b->n_tensors, sizeof(b->tensor[0]), compare_name);
    if (!any)
        return WEIR_NO_OBJECT;
    while (any > b->tensor && compare_name(s->tensor->name, any - 1) == 0)
        any--;
    uint32_t found = WEIR_NO_OBJECT;
    for (; any < b->tensor + b->n_tensors && compare_name(s->tensor->name, any) == 0; any++) {
        if (!same_form(s->tensor, any->tensor) ||
            weir_store_object(b->store, any->object)->bytes != s->bytes)
            continue;
        if (found == WEIR_NO_OBJECT || strcmp(any->path, path) == 0)
            found = any->object;
    }
    return found;
}

static const struct weir_segment *segment_of(const struct pack_seen *seen)
{
    return &seen->reader->pack->ix.entry[seen->entry].segment[seen->segment];
}

/* Whether the segment is the base's object, all of it; *xxh3: of the segment, if so. */
static weir_err compare(const struct pack_base *b, const struct pack_seen *seen, uint32_t object,
                        struct pack_place *out, struct weir_diag *diag)
{
    struct base_worker *w = b->worker[seen->worker];
    const struct weir_segment *s = segment_of(seen);
    uint8_t *ours = seen->slot->stored, *theirs = ours + BLOCK_BYTES;
    XXH3_64bits_reset(w->xxh3);
    for (uint64_t at = 0; at < s->bytes; at += BLOCK_BYTES) {
        size_t n = s->bytes - at < BLOCK_BYTES ? (size_t)(s->bytes - at) : (size_t)BLOCK_BYTES;
        weir_err err = pack_read(seen->reader, seen->entry, s->file_offset + at, ours, n, diag);
        if (!err)
            err = base_reader_read(w->reader, object, at, theirs, n, diag);
        if (err)
            return err;
        if (memcmp(ours, theirs, n) != 0)
            return WEIR_OK;
        XXH3_64bits_update(w->xxh3, ours, n);
    }
    *out = (struct pack_place){object, true, XXH3_64bits_digest(w->xxh3)};
    return WEIR_OK;
}

/* The first of the base's objects with that length and beginning. */
static size_t find_alike(const struct pack_base *b, const struct base_object *like)
{
    size_t low = 0, high = b->n_objects;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (compare_objects(&b->object[middle], like) < 0)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

static weir_err find_by_content(const struct pack_base *b, const struct pack_seen *seen,
                                struct pack_place *out, struct weir_diag *diag)
{
    const struct weir_segment *s = segment_of(seen);
    const size_t n = s->bytes < BEGINNING_BYTES ? (size_t)s->bytes : (size_t)BEGINNING_BYTES;
    uint8_t *ours = seen->slot->stored;
    weir_err err = pack_read(seen->reader, seen->entry, s->file_offset, ours, n, diag);
    if (err)
        return err;
    const struct base_object like = {s->bytes, XXH3_64bits(ours, n), 0};
    size_t i = find_alike(b, &like);
    for (int k = 0; k < MAX_CANDIDATES && i < b->n_objects && !err && !out->is_same; k++, i++) {
        if (b->object[i].bytes != like.bytes || b->object[i].beginning != like.beginning)
            break;
        err = compare(b, seen, b->object[i].number, out, diag);
    }
    return err;
}

weir_err pack_base_find_same(struct pack_base *b, const struct pack_seen *seen,
                             struct pack_place *out, struct weir_diag *diag)
{
    out->object = find_named(b, segment_of(seen), b->pack->ix.entry[seen->entry].path);
    weir_err err = WEIR_OK;
    if (out->object != WEIR_NO_OBJECT)
        err = compare(b, seen, out->object, out, diag);
    return err || out->is_same ? err : find_by_content(b, seen, out, diag);
}

/* ---- differences ---- */

/* Elements that are one number each. */
static bool has_numbers(const struct weir_elements *e, uint64_t bytes)
{
    return e && e->n_parts == 1 && e->part[0].count == 1 &&
           e->part[0].item_bytes == e->elem_bytes && bytes % e->elem_bytes == 0;
}

/* The base's bytes at the places of the sample. */
static weir_err read_sample(const struct pack_base *b, const struct pack_seen *seen,
                            uint32_t object, uint8_t *to, struct weir_diag *diag)
{
    struct base_reader *reader = b->worker[seen->worker]->reader;
    const struct pack_sample *s = &seen->sample;
    weir_err err = WEIR_OK;
    for (size_t i = 0; i < s->n && !err; i++)
        err = base_reader_read(reader, object, pack_piece_at(s, i), to + i * s->piece, s->piece,
                               diag);
    return err;
}

weir_err pack_base_find_near(struct pack_base *b, const struct pack_seen *seen, double bytes,
                             struct pack_choice *choice, struct weir_diag *diag)
{
    static const uint8_t kind[] = {WEIR_TRANSFORM_DIFF, WEIR_TRANSFORM_XOR};
    const struct weir_segment *s = segment_of(seen);
    const struct weir_elements *e = pack_elements(b->pack, seen->entry, seen->segment);
    if (choice->place.object == WEIR_NO_OBJECT || !has_numbers(e, s->bytes))
        return WEIR_OK;
    uint8_t *base = seen->slot->stored, *items = seen->slot->plain + ITEMS_AT;
    const size_t n = seen->sample.n * seen->sample.piece;
    weir_err err = read_sample(b, seen, choice->place.object, base, diag);
    for (size_t i = 0; i < sizeof(kind) && !err; i++) {
        const struct weir_transform t = {.kind = kind[i], .item_bytes = (uint8_t)e->elem_bytes};
        struct weir_coding *coding = NULL;
        double bits = 8;
        memcpy(items, seen->slot->plain, n);
        b->pack->kernels->take_delta(&t, base, n / e->elem_bytes, items);
        err = weir_coding_choose_near_zero(t.item_bytes, items, n, &coding, &bits);
        double takes = (double)s->bytes * bits / 8;
        if (coding && takes < bytes) {
            coding->transform.kind = t.kind;
            coding->transform.item_bytes = t.item_bytes;
            free(choice->coding);
            choice->coding = coding;
            bytes = takes;
        } else {
            free(coding);
        }
    }
    return err;
}

/* ---- what is written ---- */

bool pack_base_allows(struct pack_base *b, uint64_t bytes)
{
    uint64_t most = store_most_plain(weir_store_info(b->store)->stored_bytes);
    if (bytes > most - b->same_bytes)
        return false;
    b->same_bytes += bytes;
    return true;
}

uint64_t pack_base_same_bytes(const struct pack_base *b)
{
    return b->same_bytes;
}

weir_err pack_base_read(struct pack_base *b, unsigned worker, const struct weir_object *o,
                        uint64_t at, size_t n, const uint8_t **out, struct weir_diag *diag)
{
    struct base_worker *w = b->worker[worker];
    weir_err err = base_reader_read(w->reader, o->base_object, o->base_at + at, w->tile, n, diag);
    if (!err)
        *out = w->tile;
    return err;
}
