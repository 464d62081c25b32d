#include "codec/pack.h"

#include <stdlib.h>
#include <string.h>

#include <zstd.h>

#include "ends.h"
#include "pack_plan.h"
#include "sha256.h"

enum {
    INDEX_LEVEL = 19,
    LARGE_INDEX_BYTES = 4 << 20, /* from here on that takes too long */
    LARGE_INDEX_LEVEL = 9,
};

weir_err pack_write(struct pack *p, const void *bytes, size_t n)
{
    p->stored_bytes += n;
    return p->output->write(p->output->self, bytes, n);
}

weir_err pack_tick(const struct pack *p, uint64_t done_bytes)
{
    const struct weir_watch *watch = p->watch;
    if (!watch || watch->tick(watch->self, done_bytes, p->ix.plain_bytes))
        return WEIR_OK;
    return WEIR_ERR_CANCELLED;
}

static weir_err make_buffers(struct pack *p)
{
    for (unsigned i = 0; i < p->n_slots; i++) {
        p->slot[i].plain = malloc(PACK_PLAIN_BYTES);
        p->slot[i].stored = malloc(WEIR_MAX_EXTENT_BYTES);
        if (!p->slot[i].plain || !p->slot[i].stored)
            return WEIR_ERR_NOMEM;
    }
    for (int i = 0; i < 2; i++) {
        p->block[i] = malloc(PACK_BLOCK_BYTES);
        if (!p->block[i])
            return WEIR_ERR_NOMEM;
    }
    return WEIR_OK;
}

static void release_readers(struct pack *p)
{
    for (size_t i = 0; i < ORDERED_MAX_THREADS; i++)
        pack_reader_release(&p->reader[i]);
    pack_reader_release(&p->announcer);
    pack_reader_release(&p->here);
    pack_reader_release(&p->there);
}

static weir_err write_header(struct pack *p)
{
    uint8_t header[HEADER_BYTES];
    header_write(header);
    return pack_write(p, header, sizeof(header));
}

static weir_err write_trailer(struct pack *p, const struct trailer *trailer)
{
    uint8_t bytes[TRAILER_BYTES];
    trailer_write(trailer, bytes);
    return pack_write(p, bytes, sizeof(bytes));
}

/* plain and room: the index, and memory for its compressed form. */
static weir_err write_compressed(struct pack *p, const uint8_t *plain, size_t n_plain,
                                 uint8_t *room, uint8_t *digest)
{
    int level = n_plain < LARGE_INDEX_BYTES ? INDEX_LEVEL : LARGE_INDEX_LEVEL;
    size_t n = ZSTD_compress(room, ZSTD_compressBound(n_plain), plain, n_plain, level);
    if (ZSTD_isError(n))
        return WEIR_ERR_NOMEM; /* there is room for any result */
    if (n > WEIR_MAX_INDEX_BYTES)
        return WEIR_ERR_INVALID;
    struct trailer trailer = {.index_at = p->stored_bytes,
                              .stored_bytes = (uint32_t)n,
                              .plain_bytes = (uint32_t)n_plain,
                              .features = (uint16_t)index_features(&p->ix)};
    weir_err err = sha256_of(room, n, digest);
    if (err)
        return err;
    memcpy(trailer.digest, digest, WEIR_DIGEST_BYTES);
    err = pack_write(p, room, n);
    return err ? err : write_trailer(p, &trailer);
}

static weir_err write_index(struct pack *p, uint8_t *digest, struct weir_diag *diag)
{
    uint8_t *plain = NULL;
    size_t n_plain = 0;
    weir_err err = index_write(&p->ix, &plain, &n_plain);
    if (err == WEIR_ERR_INVALID)
        weir_diag_set(diag, "too many entries for one store");
    if (err)
        return err;
    uint8_t *room = malloc(ZSTD_compressBound(n_plain));
    err = room ? write_compressed(p, plain, n_plain, room, digest) : WEIR_ERR_NOMEM;
    free(room);
    free(plain);
    return err;
}

static weir_err check_unchanged(const struct pack *p, struct weir_diag *diag)
{
    for (uint32_t i = 0; i < p->ix.n_entries; i++) {
        const struct weir_pack_entry *e = p->file[i].from;
        if (e->kind != WEIR_ENTRY_FILE || !e->unchanged || e->unchanged(e->self))
            continue;
        weir_diag_set(diag, "%s: changed while it was packed", e->path);
        return WEIR_ERR_CHANGED;
    }
    return WEIR_OK;
}

static weir_err prepare(struct pack *p, const struct weir_store *base, unsigned n_threads,
                        struct weir_diag *diag)
{
    uint64_t n_extents = p->ix.plain_bytes / PACK_PLAIN_BYTES + 1; /* about */
    p->n_threads = ordered_threads(n_threads, n_extents > p->n_parts ? n_extents : p->n_parts);
    p->n_slots = ordered_slots(p->n_threads);
    weir_err err = make_buffers(p);
    if (!err && base)
        err = pack_base_new(p, base, diag);
    if (!err)
        err = pack_share_new(p);
    if (!err)
        err = pack_stored_open(p);
    if (!err)
        err = pack_journal_begin(p, diag);
    if (!err)
        err = pack_run_new(p);
    return err;
}

/* All is shared at first, and then all is run, unless a window has them take turns. */
static weir_err share_and_run(struct pack *p, struct weir_diag *diag)
{
    weir_err err = p->stored_bytes ? WEIR_OK : write_header(p);
    while (!err && !p->all_shared) {
        err = pack_share(p, diag);
        if (!err)
            err = pack_run(p, diag);
    }
    return err;
}

static weir_err pack_all(struct pack *p, const struct weir_pack_entry *entries, size_t n_entries,
                         const struct weir_pack_options *options, struct weir_pack_result *result,
                         struct weir_diag *diag)
{
    if (options->near && (options->base || options->journal || weir_near_check(options->near))) {
        weir_diag_set(diag, "near-lossless tensors, but also a base or a journal");
        return WEIR_ERR_INVALID;
    }
    if (options->base && (options->window_bytes || options->journal)) {
        weir_diag_set(diag, "a base, but also a window or a journal");
        return WEIR_ERR_INVALID;
    }
    weir_err err = pack_plan(p, entries, n_entries, diag);
    if (!err)
        err = prepare(p, options->base, options->n_threads, diag);
    result->resumed_bytes = p->n_restored ? p->stored_bytes : 0;
    if (!err)
        err = share_and_run(p, diag);
    if (!err)
        err = check_unchanged(p, diag);
    if (!err)
        err = write_index(p, result->digest, diag);
    return err;
}

static void pack_free(struct pack *p)
{
    release_readers(p);
    pack_run_free(p);
    pack_share_free(p);
    pack_base_free(p);
    pack_stored_close(p);
    for (uint32_t i = 0; i < p->ix.n_entries; i++) {
        free(p->file[i].segment);
        weir_layout_free(p->file[i].layout);
    }
    for (uint32_t i = 0; i < p->ix.n_codings; i++)
        free(p->ix.coding[i]);
    for (unsigned i = 0; i < ORDERED_MAX_SLOTS; i++) {
        free(p->slot[i].plain);
        free(p->slot[i].stored);
    }
    free(p->block[0]);
    free(p->block[1]);
    for (uint32_t i = 0; i < p->ix.n_objects; i++)
        pack_near_free(p->object[i].near);
    free(p->file);
    free(p->object);
    free(p->ix.coding);
    free(p->ix.object);
    free(p->ix.extent);
    free(p->extent_at);
    free(p->ix.entry);
    pthread_mutex_destroy(&p->lock);
    free(p);
}

static struct pack *pack_new(const struct weir_output *output,
                             const struct weir_pack_options *options)
{
    struct pack *p = calloc(1, sizeof(*p));
    if (!p)
        return NULL;
    p->kernels = options->kernels ? options->kernels : weir_kernels_best();
    p->watch = options->watch;
    p->output = output;
    p->journal = options->journal;
    p->near = options->near;
    p->near_embeddings = options->near_embeddings;
    p->window_bytes = options->window_bytes;
    if (p->window_bytes && p->window_bytes < PACK_PLAIN_BYTES)
        p->window_bytes = PACK_PLAIN_BYTES; /* else no extent might ever be complete */
    p->lock = (pthread_mutex_t)PTHREAD_MUTEX_INITIALIZER;
    for (size_t i = 0; i < ORDERED_MAX_THREADS; i++)
        p->reader[i] = (struct pack_reader){.pack = p, .entry = PACK_NO_ENTRY};
    p->here = p->there = p->announcer = p->reader[0];
    return p;
}

static void count_near(const struct pack *p, struct weir_pack_result *result)
{
    for (uint32_t i = 0; i < p->ix.n_objects; i++) {
        if (!p->object[i].near)
            continue;
        result->n_near++;
        result->near_bytes += p->ix.object[i].bytes;
        weir_nearness_add(&result->nearness, &p->ix.object[i].nearness);
    }
}

weir_err weir_pack(const struct weir_pack_entry *entries, size_t n_entries,
                   const struct weir_output *output, const struct weir_pack_options *options,
                   struct weir_pack_result *result, struct weir_diag *diag)
{
    struct pack *p = pack_new(output, options);
    if (!p)
        return WEIR_ERR_NOMEM;
    struct weir_diag detail = {{0}};
    struct weir_pack_result made = {0};
    weir_err err = pack_all(p, entries, n_entries, options, &made, &detail);
    /* A file that became shorter fails to read before anybody asks whether it changed. */
    if (err && p->read_failed && check_unchanged(p, &detail) == WEIR_ERR_CHANGED)
        err = WEIR_ERR_CHANGED;
    if (!err) {
        made.plain_bytes = p->ix.plain_bytes;
        made.stored_bytes = p->stored_bytes;
        count_near(p, &made);
        made.same_bytes = p->base ? pack_base_same_bytes(p->base) : 0;
        made.needs_base = index_features(&p->ix) & WEIR_FEATURE_BASE;
        *result = made;
    } else if (detail.text[0]) {
        weir_diag_set(diag, "%s", detail.text);
    }
    pack_free(p);
    return err;
}
