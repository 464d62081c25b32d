#include "compare.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "compare_near.h"
#include "nearness.h"

enum { CHUNK_BYTES = 32 << 10 }; /* on the stack of a decoding thread */

static weir_err add(struct compare *c, struct difference d)
{
    weir_err err = WEIR_OK;
    pthread_mutex_lock(&c->lock);
    if (c->n == c->capacity) {
        size_t capacity = c->capacity ? 2 * c->capacity : 16;
        struct difference *more = realloc(c->difference, capacity * sizeof(*more));
        err = more ? WEIR_OK : WEIR_ERR_NOMEM;
        c->difference = more ? more : c->difference;
        c->capacity = more ? capacity : c->capacity;
    }
    if (!err)
        c->difference[c->n++] = d;
    pthread_mutex_unlock(&c->lock);
    return err;
}

static int by_path(const void *a, const void *b)
{
    const struct walk_item *x = a, *y = b;
    return strcmp(x->path, y->path);
}

static weir_err match(struct compare *c, uint32_t entry, const struct walk_item *item)
{
    const struct weir_entry *e = weir_store_entry(c->store, entry);
    struct difference d = {.path = e->path, .kind = DIFF_KIND};
    if (e->kind != item->kind)
        return add(c, d);
    if (e->kind == WEIR_ENTRY_LINK && strcmp(e->target, item->target) != 0) {
        d.kind = DIFF_TARGET;
        return add(c, d);
    }
    c->pair[entry].item = e->kind == WEIR_ENTRY_FILE ? item : NULL;
    return WEIR_OK;
}

/* Both lists are ascending by path: one pass. */
static weir_err compare_lists(struct compare *c)
{
    uint32_t n = weir_store_info(c->store)->n_entries, i = 0;
    size_t k = 0;
    weir_err err = WEIR_OK;
    while (!err && (i < n || k < c->walk->n)) {
        const char *ours = i < n ? weir_store_entry(c->store, i)->path : NULL;
        const char *theirs = k < c->walk->n ? c->walk->item[k].path : NULL;
        int order = !ours ? 1 : !theirs ? -1 : strcmp(ours, theirs);
        if (order < 0)
            err = add(c, (struct difference){.path = ours, .kind = DIFF_MISSING});
        else if (order > 0)
            err = add(c, (struct difference){.path = theirs, .kind = DIFF_EXTRA});
        else
            err = match(c, i, &c->walk->item[k]);
        i += order <= 0;
        k += order >= 0;
    }
    return err;
}

static bool has_links(const struct weir_store *store)
{
    for (uint32_t i = 0; i < weir_store_info(store)->n_entries; i++)
        if (weir_store_entry(store, i)->kind == WEIR_ENTRY_LINK)
            return true;
    return false;
}

weir_err compare_open(struct compare *c, const struct weir_store *store, const char *from,
                      struct weir_diag *diag)
{
    *c = (struct compare){.store = store};
    pthread_mutex_init(&c->lock, NULL);
    /* A store without links came from a tree without them, or they were followed. */
    struct walk_options how = {.keep_links = has_links(store)};
    weir_err err = walk_tree(from, &how, &c->walk, diag);
    if (err)
        return err;
    c->pair = calloc(weir_store_info(store)->n_entries + (size_t)1, sizeof(c->pair[0]));
    if (!c->pair)
        return WEIR_ERR_NOMEM;
    if (c->walk->n)
        qsort(c->walk->item, c->walk->n, sizeof(c->walk->item[0]), by_path);
    return compare_lists(c);
}

void compare_close(struct compare *c)
{
    if (!c->store)
        return;
    for (uint32_t i = 0; c->pair && i < weir_store_info(c->store)->n_entries; i++)
        weir_source_close(&c->pair[i].src);
    free(c->pair);
    free(c->difference);
    walk_free(c->walk);
    pthread_mutex_destroy(&c->lock);
    memset(c, 0, sizeof(*c));
}

/* ---- the sink ---- */

static weir_err begin(void *self, uint32_t entry)
{
    struct compare *c = self;
    struct pair *p = &c->pair[entry];
    p->first = UINT64_MAX;
    if (!p->item)
        return WEIR_OK;
    pthread_mutex_lock(&c->lock);
    weir_err err = weir_source_open_file(p->item->from, &p->src, &c->diag);
    pthread_mutex_unlock(&c->lock);
    return err == WEIR_ERR_INVALID ? WEIR_ERR_CHANGED : err;
}

static size_t first_difference(const uint8_t *a, const uint8_t *b, size_t n)
{
    if (memcmp(a, b, n) == 0)
        return n;
    size_t i = 0;
    while (a[i] == b[i])
        i++;
    return i;
}

/* A byte of the file differs at `at`. */
static void note(struct compare *c, struct pair *p, uint64_t at)
{
    pthread_mutex_lock(&c->lock);
    if (at < p->first)
        p->first = at;
    pthread_mutex_unlock(&c->lock);
}

static weir_err cannot_read(struct compare *c, const struct pair *p, uint64_t at, weir_err err)
{
    pthread_mutex_lock(&c->lock);
    weir_diag_set(&c->diag, "%s: cannot be read at byte %" PRIu64, p->item->from, at);
    pthread_mutex_unlock(&c->lock);
    return err;
}

static weir_err compare_bytes(struct compare *c, struct pair *p, uint64_t at, const uint8_t *ours,
                              size_t n)
{
    uint8_t theirs[CHUNK_BYTES];
    while (n && at < p->src.size) {
        size_t part = n < CHUNK_BYTES ? n : CHUNK_BYTES;
        part = part < p->src.size - at ? part : (size_t)(p->src.size - at);
        weir_err err = weir_source_read(&p->src, at, theirs, part);
        if (err)
            return cannot_read(c, p, at, err);
        size_t same = first_difference(ours, theirs, part);
        if (same < part) {
            note(c, p, at + same);
            return WEIR_OK;
        }
        ours += part;
        at += part;
        n -= part;
    }
    return WEIR_OK;
}

/* The segment at an offset: there is one. */
static const struct weir_segment *segment_at(const struct weir_entry *e, uint64_t at)
{
    uint32_t low = 0, high = e->n_segments;
    while (high - low > 1) {
        uint32_t middle = low + (high - low) / 2;
        if (e->segment[middle].file_offset <= at)
            low = middle;
        else
            high = middle;
    }
    return &e->segment[low];
}

/* A file of another length has no tensor to hold it against: its bytes will do. */
static weir_err compare_segment(struct compare *c, uint32_t entry,
                                const struct weir_segment *segment, uint64_t at,
                                const uint8_t *ours, size_t n)
{
    struct pair *p = &c->pair[entry];
    if (!nearness_of(c->store, segment) || p->src.size != weir_store_entry(c->store, entry)->size)
        return compare_bytes(c, p, at, ours, n);
    const struct compare_near how = {c->store, segment, &p->src, at};
    struct weir_nearness found = {.step = nearness_of(c->store, segment)->step};
    uint64_t first = UINT64_MAX;
    weir_err err = compare_near(&how, ours, n, &found, &first);
    if (err)
        return cannot_read(c, p, at, err);
    pthread_mutex_lock(&c->lock);
    weir_nearness_add(&c->nearness, &found);
    pthread_mutex_unlock(&c->lock);
    if (first != UINT64_MAX)
        note(c, p, first);
    return WEIR_OK;
}

static weir_err write_at(void *self, uint32_t entry, uint64_t at, const void *bytes, size_t n)
{
    struct compare *c = self;
    const struct weir_entry *e = weir_store_entry(c->store, entry);
    const uint8_t *ours = bytes;
    while (c->pair[entry].item && n) {
        const struct weir_segment *s = segment_at(e, at);
        const uint64_t left = s->file_offset + s->bytes - at;
        const size_t part = left < n ? (size_t)left : n;
        weir_err err = compare_segment(c, entry, s, at, ours, part);
        if (err)
            return err;
        ours += part;
        at += part;
        n -= part;
    }
    return WEIR_OK;
}

static weir_err end(void *self, uint32_t entry)
{
    struct compare *c = self;
    struct pair *p = &c->pair[entry];
    if (!p->item)
        return WEIR_OK;
    const struct weir_entry *e = weir_store_entry(c->store, entry);
    struct difference d = {.path = e->path, .at = p->first, .stored = e->size, .tree = p->src.size};
    weir_source_close(&p->src);
    if (d.stored != d.tree) {
        d.kind = DIFF_SIZE;
        uint64_t shorter = d.stored < d.tree ? d.stored : d.tree;
        d.at = d.at < shorter ? d.at : shorter;
        return add(c, d);
    }
    d.kind = DIFF_BYTES;
    return d.at == UINT64_MAX ? WEIR_OK : add(c, d);
}

struct weir_sink compare_sink(struct compare *c)
{
    return (struct weir_sink){c, begin, write_at, end};
}

char *difference_text(const struct difference *d, char buf[DIFFERENCE_TEXT])
{
    static const char *const text[] = {
        [DIFF_MISSING] = "is in the store only",
        [DIFF_EXTRA] = "is not in the store",
        [DIFF_KIND] = "is of another kind (file, directory, link) in the store",
        [DIFF_TARGET] = "is a link that leads elsewhere in the store",
    };
    if (d->kind == DIFF_SIZE)
        snprintf(buf, DIFFERENCE_TEXT,
                 "has %" PRIu64 " bytes, not the store's %" PRIu64 "; differs from byte %" PRIu64
                 " on",
                 d->tree, d->stored, d->at);
    else if (d->kind == DIFF_BYTES)
        snprintf(buf, DIFFERENCE_TEXT, "differs, first at byte %" PRIu64, d->at);
    else
        snprintf(buf, DIFFERENCE_TEXT, "%s", text[d->kind]);
    return buf;
}
