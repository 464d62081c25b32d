#include "fetch/remote.h"

#include <pthread.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "disk_cache.h"
#include "extent_cache.h"
#include "origin.h"

enum {
    HEAD_BYTES = WEIR_ALIGN, /* before the first extent */
    MIN_EXTENTS = 9,
    EXTRA_EXTENTS = 5, /* more than processors */
    MAX_TRIES = 3,     /* to get an index that verifies */
    MAX_AHEAD = 6, /* extents that come ahead: a fast line with a long way is busy with them ... */
    AHEAD_TENTHS = 6, /* ... and as many tenths of those kept, at most */
};

/* Bytes outside of extents, kept from opening the store: header, index, trailer. */
struct piece {
    struct piece *next;
    uint64_t at;
    size_t n;
    uint8_t bytes[];
};

struct weir_remote {
    struct weir_http_file *file;
    struct weir_source src; /* self: this remote */
    struct weir_store *store;
    struct extent_cache *cache; /* NULL: the store is being opened, by one thread */
    struct piece *kept;         /* changes only until then */
    struct origin origin;
};

/* ---- what lies outside of extents ---- */

static weir_err keep(struct weir_remote *r, uint64_t at, const void *bytes, size_t n)
{
    struct piece *p = malloc(sizeof(*p) + n);
    if (!p)
        return WEIR_ERR_NOMEM;
    *p = (struct piece){r->kept, at, n};
    memcpy(p->bytes, bytes, n);
    r->kept = p;
    return WEIR_OK;
}

/* Bytes from `at` on that are kept; else 0, and *n becomes how many to ask for. */
static size_t copy_kept(const struct weir_remote *r, uint64_t at, void *dst, size_t *n)
{
    for (const struct piece *p = r->kept; p; p = p->next) {
        if (p->at <= at && at - p->at < p->n) {
            size_t left = p->n - (size_t)(at - p->at);
            size_t part = left < *n ? left : *n;
            memcpy(dst, p->bytes + (at - p->at), part);
            return part;
        }
        if (p->at > at && p->at - at < *n)
            *n = (size_t)(p->at - at);
    }
    return 0;
}

static weir_err read_outside(struct weir_remote *r, uint64_t at, uint8_t *dst, size_t n)
{
    while (n) {
        size_t part = n;
        size_t kept = copy_kept(r, at, dst, &part);
        if (!kept) {
            weir_err err = origin_ask(&r->origin, at, dst, part);
            if (!err && !r->cache)
                err = keep(r, at, dst, part);
            if (err)
                return err;
            kept = part;
        }
        at += kept;
        dst += kept;
        n -= kept;
    }
    return WEIR_OK;
}

/* ---- extents ---- */

/* The last extent that begins at or before `at`; there is one. */
static uint32_t extent_at(const struct weir_store *store, uint64_t at)
{
    uint32_t low = 0;
    uint32_t high = weir_store_info(store)->n_extents;
    while (high - low > 1) {
        uint32_t middle = low + (high - low) / 2;
        if (weir_store_extent(store, middle).at <= at)
            low = middle;
        else
            high = middle;
    }
    return low;
}

/* As in struct weir_source, whose range has been checked. */
static weir_err remote_read(void *self, uint64_t at, void *dst, size_t n)
{
    struct weir_remote *r = self;
    uint8_t *to = dst;
    uint32_t n_extents = r->cache ? weir_store_info(r->store)->n_extents : 0;
    uint64_t first = n_extents ? weir_store_extent(r->store, 0).at : 0;
    uint64_t end = n_extents ? origin_end_of(r->store, n_extents - 1) : 0;
    while (n) {
        bool inside = at >= first && at < end;
        uint32_t extent = inside ? extent_at(r->store, at) : 0;
        uint64_t border = inside       ? origin_end_of(r->store, extent)
                          : at < first ? first
                                       : r->src.size;
        size_t part = border - at < n ? (size_t)(border - at) : n;
        size_t offset = inside ? (size_t)(at - weir_store_extent(r->store, extent).at) : 0;
        weir_err err = inside ? extent_cache_read(r->cache, extent, offset, to, part)
                              : read_outside(r, at, to, part);
        if (err)
            return err;
        at += part;
        to += part;
        n -= part;
    }
    return WEIR_OK;
}

static void remote_expect(void *self, uint64_t at, uint64_t n)
{
    const struct weir_remote *r = self;
    uint32_t n_extents = r->cache ? weir_store_info(r->store)->n_extents : 0;
    if (!n_extents || at + n <= weir_store_extent(r->store, 0).at)
        return;
    uint32_t i = at > weir_store_extent(r->store, 0).at ? extent_at(r->store, at) : 0;
    for (unsigned k = 0; k < EXTENT_CACHE_PENDING && i < n_extents; k++, i++) {
        if (weir_store_extent(r->store, i).at >= at + n)
            return;
        extent_cache_expect(r->cache, i);
    }
}

/* ---- opening ---- */

static weir_err make_caches(struct weir_remote *r, const struct weir_remote_options *options)
{
    long n = options->n_extents ? (long)options->n_extents
                                : sysconf(_SC_NPROCESSORS_ONLN) + EXTRA_EXTENTS;
    if (!options->n_extents && n < MIN_EXTENTS)
        n = MIN_EXTENTS;
    if (n > WEIR_REMOTE_MAX_EXTENTS)
        n = WEIR_REMOTE_MAX_EXTENTS;
    long n_ahead = n * AHEAD_TENTHS / 10;
    const struct extent_cache_options o = {
        .n_slots = (unsigned)n,
        .n_ahead = n_ahead < MAX_AHEAD ? (unsigned)n_ahead : MAX_AHEAD,
        .slot_bytes = WEIR_MAX_EXTENT_BYTES + WEIR_ALIGN,
        .self = &r->origin,
        .load = origin_load,
        .begin = origin_begin,
        .check = origin_check,
        .drop = origin_drop,
    };
    const struct disk_cache_options disk = {options->cache_folder, options->cache_bytes,
                                            options->self, options->warn};
    weir_err err = disk.folder ? disk_cache_open(&disk, &r->origin.disk) : WEIR_OK;
    if (err)
        return err;
    r->origin.file = r->file;
    r->origin.store = r->store;
    err = extent_cache_new(&o, &r->origin.cache);
    r->cache = r->origin.cache;
    return err;
}

/* Header and trailer, and what comes before that. */
static weir_err get_ends(struct weir_remote *r, struct weir_http *http, const char *url,
                         struct weir_diag *diag)
{
    uint8_t *bytes = malloc(HEAD_BYTES + WEIR_REMOTE_TAIL_BYTES);
    if (!bytes)
        return WEIR_ERR_NOMEM;
    struct weir_http_ends ends = {.head = bytes,
                                  .head_max = HEAD_BYTES,
                                  .tail = bytes + HEAD_BYTES,
                                  .tail_max = WEIR_REMOTE_TAIL_BYTES};
    weir_err err = weir_http_open_ends(http, url, &ends, &r->file, diag);
    if (!err) {
        uint64_t size = weir_http_file_size(r->file);
        /* No revision(): what does not verify never comes through. */
        r->src = (struct weir_source){
            .self = r, .size = size, .read = remote_read, .expect = remote_expect};
        r->origin.file = r->file;
        err = keep(r, size - ends.tail_bytes, ends.tail, ends.tail_bytes);
    }
    if (!err)
        err = keep(r, 0, ends.head, ends.head_bytes);
    free(bytes);
    return err;
}

static weir_err fill(struct weir_remote *r, struct weir_http *http, const char *url,
                     struct weir_diag *diag)
{
    weir_err err = get_ends(r, http, url, diag);
    if (err)
        return err;
    struct weir_diag what = {""};
    err = weir_store_open(&r->src, &r->store, &what);
    if (err)
        weir_diag_set(diag, "%.200s%s%.250s", what.text, r->origin.why.text[0] ? ": " : "",
                      r->origin.why.text);
    return err;
}

weir_err weir_remote_open(struct weir_http *http, const char *url,
                          const struct weir_remote_options *options, struct weir_remote **out,
                          struct weir_diag *diag)
{
    static const struct weir_remote_options defaults = {0};
    for (int i = 1;; i++) {
        struct weir_remote *r = calloc(1, sizeof(*r));
        if (!r)
            return WEIR_ERR_NOMEM;
        origin_init(&r->origin);
        weir_err err = fill(r, http, url, diag);
        if (!err)
            err = make_caches(r, options ? options : &defaults);
        if (!err) {
            *out = r;
            return WEIR_OK;
        }
        weir_remote_free(r);
        /* Its SHA-256 guards the index, and little else is checked so early: it may have been the
         * way here.  It may have made another version of ours. */
        if ((err != WEIR_ERR_CORRUPT && err != WEIR_ERR_UNSUPPORTED) || i == MAX_TRIES)
            return err;
    }
}

weir_err weir_remote_set_base(struct weir_remote *r, const struct weir_store *base,
                              struct weir_diag *diag)
{
    return weir_store_set_base(r->store, base, diag);
}

void weir_remote_free(struct weir_remote *r)
{
    if (!r)
        return;
    origin_end(&r->origin);
    extent_cache_free(r->cache);
    disk_cache_free(r->origin.disk);
    weir_store_free(r->store);
    weir_http_file_free(r->file);
    while (r->kept) {
        struct piece *p = r->kept;
        r->kept = p->next;
        free(p);
    }
    free(r);
}

const struct weir_source *weir_remote_source(const struct weir_remote *r)
{
    return &r->src;
}

const struct weir_store *weir_remote_store(const struct weir_remote *r)
{
    return r->store;
}

struct weir_http_file *weir_remote_file(const struct weir_remote *r)
{
    return r->file;
}

void weir_remote_why(struct weir_remote *r, struct weir_diag *diag)
{
    pthread_mutex_lock(&r->origin.lock);
    if (r->origin.why.text[0])
        *diag = r->origin.why;
    pthread_mutex_unlock(&r->origin.lock);
}
