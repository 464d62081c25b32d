#include "codec/extract.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "ordered.h"
#include "sha256.h"
#include "store_private.h"

/* Memory: per thread a store cursor and 1.25 slots of 4 MiB; no allocation per tile.  For
 * weir_check_extents an extent (4 MiB) per thread. */
enum {
    JOB_TILES = 32,
    JOB_BYTES = JOB_TILES * WEIR_TILE_BYTES,
    WRITE_BYTES = WEIR_TILE_BYTES, /* handed on at once, at least, while it is in the cache */
    /* The source hears of so much beforehand: enough to keep a fast line with a long way busy. */
    AHEAD_EXTENTS = 6,
    AHEAD_TILES = AHEAD_EXTENTS * WEIR_EXTENT_TILES,
};

/* Up to 32 consecutive tiles of a file, or an entry without any. */
struct extract_job {
    uint32_t entry, segment; /* of the first tile */
    uint64_t tile;           /* in its segment */
    uint64_t at;             /* in the file */
    unsigned n_tiles;
    size_t n_bytes;
    bool first, last; /* of its entry */
};

struct extract {
    const struct weir_store *store;
    const struct weir_sink *sink;   /* NULL: only check */
    const struct weir_watch *watch; /* NULL: none */
    uint64_t total_bytes;

    struct extract_job job[ORDERED_MAX_SLOTS];
    uint8_t *plain[ORDERED_MAX_SLOTS]; /* JOB_BYTES each */
    struct weir_store_cursor *cursor[ORDERED_MAX_THREADS];
    pthread_mutex_t callback; /* begin and end never run at the same time */

    struct extract_job coming; /* where the next job starts */

    struct sha256 sha256; /* the finishing thread's own, as is all below */
    uint64_t done_bytes;
};

static weir_err tick(const struct weir_watch *watch, uint64_t done_bytes, uint64_t total_bytes)
{
    if (!watch || watch->tick(watch->self, done_bytes, total_bytes))
        return WEIR_OK;
    return WEIR_ERR_CANCELLED;
}

static weir_err call_back(struct extract *x, weir_err (*callback)(void *, uint32_t), uint32_t entry)
{
    if (!callback)
        return WEIR_OK;
    pthread_mutex_lock(&x->callback);
    weir_err err = callback(x->sink->self, entry);
    pthread_mutex_unlock(&x->callback);
    return err;
}

/* ---- the line ---- */

static uint64_t tiles_of(const struct extract *x, const struct weir_segment *s)
{
    return weir_object_tiles(weir_store_object(x->store, s->object));
}

/* Adds tiles of the entry to the job until it is full; x->coming follows. */
static void fill_job(struct extract *x, const struct weir_entry *e, struct extract_job *job)
{
    struct extract_job *to = &x->coming;
    while (to->segment < e->n_segments) {
        const struct weir_segment *s = &e->segment[to->segment];
        const struct weir_object *o = s->bytes ? weir_store_object(x->store, s->object) : NULL;
        uint64_t n_left = o ? weir_object_tiles(o) - to->tile : 0;
        uint64_t n = JOB_TILES - job->n_tiles;
        if (n < n_left) {
            to->tile += n;
            to->at = s->file_offset + to->tile * o->tile_bytes;
            job->n_tiles += (unsigned)n;
            break;
        }
        job->n_tiles += (unsigned)n_left;
        to->segment++;
        to->tile = 0;
        to->at = s->file_offset + s->bytes;
    }
    job->n_bytes = (size_t)(to->at - job->at);
    job->last = to->segment == e->n_segments;
}

/* Tells of the tiles from the job's first on. */
static void expect_tiles(const struct extract *x, const struct extract_job *job)
{
    uint32_t entry = job->entry, segment = job->segment;
    uint64_t tile = job->tile;
    for (uint64_t n_left = AHEAD_TILES; n_left && entry < weir_store_info(x->store)->n_entries;) {
        const struct weir_entry *e = weir_store_entry(x->store, entry);
        if (segment == e->n_segments) {
            entry++;
            segment = 0;
            n_left--; /* so that many empty files end, too */
            continue;
        }
        const struct weir_segment *s = &e->segment[segment++];
        uint64_t n = s->bytes ? tiles_of(x, s) - tile : 0;
        if (n)
            weir_store_expect_tiles(x->store, s->object, tile, n < n_left ? n : n_left);
        n_left -= n < n_left ? n : n_left;
        tile = 0;
    }
}

static weir_err extract_next(void *self, unsigned slot, bool *more, struct weir_diag *diag)
{
    (void)diag; /* the sink says what was wrong with it */
    struct extract *x = self;
    struct extract_job *job = &x->job[slot];
    *job = x->coming;
    *more = job->entry < weir_store_info(x->store)->n_entries;
    if (!*more)
        return WEIR_OK;
    if (weir_store_fetches(x->store))
        expect_tiles(x, job);
    fill_job(x, weir_store_entry(x->store, job->entry), job);
    x->coming.first = false;
    if (job->last)
        x->coming = (struct extract_job){.entry = job->entry + 1, .first = true};
    return job->first && x->sink ? call_back(x, x->sink->begin, job->entry) : WEIR_OK;
}

static weir_err sink_write(struct extract *x, const struct extract_job *job, const uint8_t *plain,
                           size_t from, size_t to)
{
    if (!x->sink || from == to)
        return WEIR_OK;
    return x->sink->write(x->sink->self, job->entry, job->at + from, plain + from, to - from);
}

static weir_err extract_work(void *self, unsigned slot, unsigned worker, struct weir_diag *diag)
{
    struct extract *x = self;
    const struct extract_job *job = &x->job[slot];
    if (!job->n_tiles)
        return WEIR_OK;
    const struct weir_entry *e = weir_store_entry(x->store, job->entry);
    const struct weir_segment *s = &e->segment[job->segment];
    uint8_t *plain = x->plain[slot];
    uint64_t tile = job->tile;
    size_t n_decoded = 0;
    size_t n_written = 0;
    for (unsigned i = 0; i < job->n_tiles; i++) {
        while (!s->bytes || tile == tiles_of(x, s)) {
            s++;
            tile = 0;
        }
        struct weir_diag detail = {{0}};
        weir_err err =
            weir_store_read_tile(x->cursor[worker], s->object, tile, plain + n_decoded, &detail);
        if (err) {
            weir_diag_set(diag, "%s: %s", e->path,
                          detail.text[0] ? detail.text : weir_err_text(err));
            return err;
        }
        n_decoded += weir_store_tile_bytes(x->store, s->object, tile++);
        if (n_decoded - n_written >= WRITE_BYTES) {
            err = sink_write(x, job, plain, n_written, n_decoded);
            n_written = n_decoded;
        }
        if (err)
            return err;
    }
    return sink_write(x, job, plain, n_written, n_decoded);
}

static weir_err end_file(struct extract *x, const struct weir_entry *e, struct weir_diag *diag)
{
    uint8_t sha256[WEIR_DIGEST_BYTES];
    weir_err err = sha256_end(&x->sha256, sha256);
    if (!err && memcmp(sha256, e->sha256, sizeof(sha256)) != 0) {
        weir_diag_set(diag, "%s: its SHA-256 is not the one in the index", e->path);
        err = WEIR_ERR_CORRUPT;
    }
    return err;
}

static weir_err extract_finish(void *self, unsigned slot, struct weir_diag *diag)
{
    struct extract *x = self;
    const struct extract_job *job = &x->job[slot];
    const struct weir_entry *e = weir_store_entry(x->store, job->entry);
    weir_err err = WEIR_OK;
    if (e->kind == WEIR_ENTRY_FILE && job->first)
        err = sha256_begin(&x->sha256);
    if (!err && job->n_bytes)
        err = sha256_add(&x->sha256, x->plain[slot], job->n_bytes);
    if (!err && e->kind == WEIR_ENTRY_FILE && job->last)
        err = end_file(x, e, diag);
    if (!err && job->last && x->sink)
        err = call_back(x, x->sink->end, job->entry);
    if (err)
        return err;
    x->done_bytes += job->n_bytes;
    return tick(x->watch, x->done_bytes, x->total_bytes);
}

static weir_err extract_all(struct extract *x, const struct weir_kernels *kernels,
                            unsigned n_threads, struct weir_diag *diag)
{
    for (unsigned i = 0; i < ordered_slots(n_threads); i++) {
        x->plain[i] = malloc(JOB_BYTES);
        if (!x->plain[i])
            return WEIR_ERR_NOMEM;
    }
    for (unsigned i = 0; i < n_threads; i++) {
        weir_err err = weir_store_cursor_new(x->store, kernels, &x->cursor[i]);
        if (err)
            return err;
    }
    struct ordered_line line = {x, extract_next, extract_work, extract_finish};
    return ordered_run(&line, n_threads, diag);
}

weir_err weir_extract(const struct weir_store *store, const struct weir_sink *sink,
                      const struct weir_extract_options *options, struct weir_diag *diag)
{
    const struct weir_store_info *info = weir_store_info(store);
    struct extract x = {
        .store = store,
        .sink = sink,
        .watch = options->watch,
        .total_bytes = info->plain_bytes,
        .callback = PTHREAD_MUTEX_INITIALIZER,
        .coming = {.first = true},
    };
    unsigned n_threads =
        ordered_threads(options->n_threads, info->plain_bytes / JOB_BYTES + info->n_entries);
    weir_err err =
        extract_all(&x, options->kernels ? options->kernels : weir_kernels_best(), n_threads, diag);
    for (size_t i = 0; i < ORDERED_MAX_SLOTS; i++)
        free(x.plain[i]);
    for (size_t i = 0; i < ORDERED_MAX_THREADS; i++)
        weir_store_cursor_free(x.cursor[i]);
    sha256_free(&x.sha256);
    pthread_mutex_destroy(&x.callback);
    return err;
}

/* ---- extents ---- */

struct check {
    const struct weir_store *store;
    const struct weir_watch *watch; /* NULL: none */
    uint32_t coming;
    uint32_t extent[ORDERED_MAX_SLOTS];
    uint8_t *scratch[ORDERED_MAX_THREADS]; /* WEIR_MAX_EXTENT_BYTES + WEIR_ALIGN each */
    struct weir_store_cursor *cursor[ORDERED_MAX_THREADS]; /* of a part, else NULL */
    uint64_t done_bytes, total_bytes;                      /* stored */
};

static weir_err check_next(void *self, unsigned slot, bool *more, struct weir_diag *diag)
{
    (void)diag;
    struct check *c = self;
    uint32_t n_extents = weir_store_info(c->store)->n_extents;
    while (c->coming < n_extents && !weir_store_has_extent(c->store, c->coming))
        c->coming++;
    *more = c->coming < n_extents;
    if (!*more)
        return WEIR_OK;
    store_expect_extents(c->store, c->coming, AHEAD_EXTENTS);
    c->extent[slot] = c->coming++;
    return WEIR_OK;
}

/* Its checksum is right: that is all. */
static weir_err check_tile(void *self, uint32_t object, uint64_t tile, size_t n)
{
    (void)self;
    (void)object;
    (void)tile;
    (void)n;
    return WEIR_OK;
}

static weir_err check_work(void *self, unsigned slot, unsigned worker, struct weir_diag *diag)
{
    struct check *c = self;
    uint8_t *scratch = c->scratch[worker];
    weir_err err = weir_store_check_extent(c->store, c->extent[slot], scratch, diag);
    if (err || !c->cursor[worker])
        return err;
    uint8_t tile[WEIR_TILE_BYTES];
    const struct weir_tile_sink sink = {NULL, tile, check_tile};
    return weir_store_decode_extent(c->cursor[worker], c->extent[slot], scratch, &sink, diag);
}

static weir_err check_finish(void *self, unsigned slot, struct weir_diag *diag)
{
    (void)diag;
    struct check *c = self;
    c->done_bytes += weir_store_extent(c->store, c->extent[slot]).bytes;
    return tick(c->watch, c->done_bytes, c->total_bytes);
}

weir_err weir_check_extents(const struct weir_store *store,
                            const struct weir_extract_options *options, struct weir_diag *diag)
{
    const struct weir_store_info *info = weir_store_info(store);
    unsigned n_threads = ordered_threads(options->n_threads, info->n_extents);
    struct check c = {.store = store, .watch = options->watch};
    c.total_bytes = info->present_bytes;
    weir_err err = WEIR_OK;
    for (unsigned i = 0; !err && i < n_threads; i++) {
        /* At a page's begin: reading a file to anywhere else takes three times as long. */
        c.scratch[i] = aligned_alloc(WEIR_ALIGN,
                                     (size_t)WEIR_ALIGN * (WEIR_MAX_EXTENT_BYTES / WEIR_ALIGN + 2));
        err = c.scratch[i] ? WEIR_OK : WEIR_ERR_NOMEM;
        if (!err && weir_store_is_part(store))
            err = weir_store_cursor_new(
                store, options->kernels ? options->kernels : weir_kernels_best(), &c.cursor[i]);
    }
    struct ordered_line line = {&c, check_next, check_work, check_finish};
    if (!err)
        err = ordered_run(&line, n_threads, diag);
    for (size_t i = 0; i < ORDERED_MAX_THREADS; i++) {
        free(c.scratch[i]);
        weir_store_cursor_free(c.cursor[i]);
    }
    return err;
}
