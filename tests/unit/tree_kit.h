/* tree_kit.h - a tree of files in memory for weir_pack(), and its output in memory.
 *
 * Sources and output fail where they are told to.  Everything is allocated beforehand, so that a
 * test can make the allocations of the code under test fail, and only those. */
#ifndef WEIR_TESTS_TREE_KIT_H
#define WEIR_TESTS_TREE_KIT_H

#include "codec/pack.h"

#include <criterion/criterion.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
    TREE_ENTRIES = 160,
    TREE_PATH_BYTES = 64,
    TREE_NEVER = -1,
};

struct tree;

struct tree_file {
    struct tree *tree;
    uint8_t *bytes; /* owned unless borrowed */
    size_t n_bytes;
    bool borrowed;
    bool changed;       /* what `unchanged` denies */
    size_t later_bytes; /* the size from the second time on that it is opened; 0: the same */
    long flip_at_read;  /* the first byte differs from this read of the file on; 0: never */
    int n_opens, n_open, n_reads;
};

struct tree {
    size_t n_entries;
    struct weir_pack_entry entry[TREE_ENTRIES];
    struct tree_file file[TREE_ENTRIES];
    char path[TREE_ENTRIES][TREE_PATH_BYTES];

    long fail_read, fail_write, fail_tick, fail_open; /* number of the call, or TREE_NEVER */
    atomic_long n_reads, n_writes, n_ticks, n_opens;
    uint64_t ticked, total; /* by the last tick */
    unsigned n_threads;
    uint64_t window_bytes;
    const struct weir_pack_journal *journal; /* NULL: none */
    const struct weir_store *base;           /* NULL: none */
    atomic_ullong read_bytes, expected_bytes;

    uint8_t *store; /* of store_room bytes */
    size_t store_bytes, store_room;
    struct weir_pack_result result;
    struct weir_diag diag;
};

/* ---- what weir_pack() calls ---- */

static inline weir_err tree_read(void *self, uint64_t at, void *dst, size_t n)
{
    struct tree_file *f = self;
    if (atomic_fetch_add(&f->tree->n_reads, 1) == f->tree->fail_read)
        return WEIR_ERR_IO;
    if (f->flip_at_read && ++f->n_reads == f->flip_at_read)
        f->bytes[0] ^= 1;
    atomic_fetch_add(&f->tree->read_bytes, n);
    memcpy(dst, f->bytes + at, n);
    return WEIR_OK;
}

static inline void tree_expect(void *self, uint64_t at, uint64_t n)
{
    struct tree_file *f = self;
    if (n == 0 || at >= f->n_bytes || n > f->n_bytes - at)
        abort(); /* Criterion's own checks are for one thread at a time */
    atomic_fetch_add(&f->tree->expected_bytes, n);
}

static inline void tree_close(void *self)
{
    struct tree_file *f = self;
    f->n_open--;
}

static inline weir_err tree_open(void *self, struct weir_source *out, struct weir_diag *diag)
{
    struct tree_file *f = self;
    if (atomic_fetch_add(&f->tree->n_opens, 1) == f->tree->fail_open) {
        weir_diag_set(diag, "no luck");
        return WEIR_ERR_NOT_FOUND;
    }
    f->n_opens++;
    f->n_open++;
    size_t size = f->n_opens > 1 && f->later_bytes ? f->later_bytes : f->n_bytes;
    *out = (struct weir_source){
        .self = f, .size = size, .read = tree_read, .close = tree_close, .expect = tree_expect};
    return WEIR_OK;
}

static inline bool tree_unchanged(void *self)
{
    return !((struct tree_file *)self)->changed;
}

static inline weir_err tree_write(void *self, const void *bytes, size_t n)
{
    struct tree *t = self;
    if (atomic_fetch_add(&t->n_writes, 1) == t->fail_write)
        return WEIR_ERR_NETWORK; /* an error that nothing else here gives */
    cr_assert_leq(n, t->store_room - t->store_bytes);
    memcpy(t->store + t->store_bytes, bytes, n);
    t->store_bytes += n;
    return WEIR_OK;
}

static inline bool tree_tick(void *self, uint64_t done_bytes, uint64_t total_bytes)
{
    struct tree *t = self;
    if (done_bytes > total_bytes || done_bytes < t->ticked) /* checks that pass cost time, too */
        cr_expect_fail("%llu of %llu", (unsigned long long)done_bytes,
                       (unsigned long long)total_bytes);
    t->ticked = done_bytes;
    t->total = total_bytes;
    return atomic_fetch_add(&t->n_ticks, 1) != t->fail_tick;
}

/* ---- making one ---- */

static inline struct tree *tree_new(size_t store_room)
{
    struct tree *t = calloc(1, sizeof(*t));
    if (!t)
        abort();
    t->store = malloc(store_room);
    if (!t->store)
        abort();
    t->store_room = store_room;
    t->fail_read = t->fail_write = t->fail_tick = t->fail_open = TREE_NEVER;
    t->n_threads = 1;
    return t;
}

static inline void tree_free(struct tree *t)
{
    for (size_t i = 0; i < t->n_entries; i++)
        if (!t->file[i].borrowed)
            free(t->file[i].bytes);
    free(t->store);
    free(t);
}

static inline struct weir_pack_entry *tree_add(struct tree *t, const char *path,
                                               enum weir_entry_kind kind)
{
    cr_assert_lt(t->n_entries, TREE_ENTRIES);
    size_t i = t->n_entries++;
    snprintf(t->path[i], TREE_PATH_BYTES, "%s", path);
    t->entry[i] = (struct weir_pack_entry){.path = t->path[i], .kind = kind, .mode = 0644};
    return &t->entry[i];
}

/* A file of n zeroed bytes, to be filled by the caller. */
static inline struct tree_file *tree_add_file(struct tree *t, const char *path, size_t n)
{
    struct weir_pack_entry *e = tree_add(t, path, WEIR_ENTRY_FILE);
    struct tree_file *f = &t->file[e - t->entry];
    *f = (struct tree_file){.tree = t, .bytes = calloc(n + 1, 1), .n_bytes = n};
    if (!f->bytes)
        abort();
    e->self = f;
    e->open = tree_open;
    e->unchanged = tree_unchanged;
    return f;
}

static inline void tree_add_copy(struct tree *t, const char *path, const struct tree_file *of)
{
    struct tree_file *f = tree_add_file(t, path, 0);
    free(f->bytes);
    f->bytes = of->bytes;
    f->n_bytes = of->n_bytes;
    f->borrowed = true;
}

static inline void tree_add_link(struct tree *t, const char *path, const char *target)
{
    tree_add(t, path, WEIR_ENTRY_LINK)->target = target;
}

/* The number of an entry that is there. */
static inline size_t tree_find(const struct tree *t, const char *path)
{
    size_t i = 0;
    while (strcmp(t->entry[i].path, path) != 0)
        i++;
    return i;
}

/* ---- contents ---- */

static inline uint32_t tree_random(uint64_t *state)
{
    *state = *state * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
    return (uint32_t)(*state >> 33);
}

static inline void tree_fill_random(uint8_t *to, size_t n, uint64_t seed)
{
    for (size_t i = 0; i < n; i++)
        to[i] = (uint8_t)(tree_random(&seed) >> 8);
}

/* n values whose exponents are as uneven as those of weights. */
static inline void tree_fill_bf16(uint8_t *to, size_t n, uint64_t seed)
{
    for (size_t i = 0; i < n; i++) {
        uint32_t r = tree_random(&seed);
        unsigned exponent = 120;
        for (uint32_t coins = r >> 8; exponent > 100 && (coins & 1); coins >>= 1)
            exponent--;
        to[2 * i] = (uint8_t)((exponent & 1) << 7 | (r & 0x7f));
        to[2 * i + 1] = (uint8_t)((r & 0x80) | exponent >> 1);
    }
}

/* A safetensors file: w and its equal, copy, of n_w bf16 values; x of n_x F32 values that are bf16
 * at heart; none, without any; zero, of 1000 bytes. */
static inline struct tree_file *tree_add_model(struct tree *t, const char *path, size_t n_w,
                                               size_t n_x)
{
    char header[1024];
    size_t w = 2 * n_w;
    size_t x = 4 * n_x;
    int n = snprintf(header, sizeof(header),
                     "{\"w\":{\"dtype\":\"BF16\",\"shape\":[%zu],\"data_offsets\":[0,%zu]},"
                     "\"copy\":{\"dtype\":\"BF16\",\"shape\":[%zu],\"data_offsets\":[%zu,%zu]},"
                     "\"none\":{\"dtype\":\"F32\",\"shape\":[0,3],\"data_offsets\":[%zu,%zu]},"
                     "\"x\":{\"dtype\":\"F32\",\"shape\":[%zu],\"data_offsets\":[%zu,%zu]},"
                     "\"zero\":{\"dtype\":\"U8\",\"shape\":[1000],\"data_offsets\":[%zu,%zu]}}",
                     n_w, w, n_w, w, 2 * w, 2 * w, 2 * w, n_x, 2 * w, 2 * w + x, 2 * w + x,
                     2 * w + x + 1000);
    struct tree_file *f = tree_add_file(t, path, 8 + (size_t)n + 2 * w + x + 1000);
    for (int i = 0; i < 8; i++)
        f->bytes[i] = (uint8_t)((uint64_t)n >> (8 * i));
    memcpy(f->bytes + 8, header, (size_t)n);
    uint8_t *data = f->bytes + 8 + n;
    tree_fill_bf16(data, n_w, 1);
    memcpy(data + w, data, w);
    uint8_t *values = data + 2 * w;
    tree_fill_bf16(values, n_x, 2);
    for (size_t i = n_x; i-- > 0;) {
        uint8_t value[4] = {0, 0, values[2 * i], values[2 * i + 1]};
        memcpy(values + 4 * i, value, sizeof(value));
    }
    return f;
}

/* Every kind of entry; `scale`: values of the largest tensor. */
static inline void tree_fill(struct tree *t, size_t scale)
{
    static const char text[] = "{\"architectures\": [\"none\"], \"hidden_size\": 1}\n";
    const struct tree_file *model = tree_add_model(t, "m/model.safetensors", scale, scale / 2);
    tree_add(t, "m", WEIR_ENTRY_DIR)->mode = 0755;
    tree_add(t, "m/empty-dir", WEIR_ENTRY_DIR);
    tree_add_link(t, "m/link", "../m/model.safetensors");
    struct tree_file *config = tree_add_file(t, "m/config.json", 20 * (sizeof(text) - 1));
    for (size_t i = 0; i < config->n_bytes; i++)
        config->bytes[i] = (uint8_t)text[i % (sizeof(text) - 1)];
    tree_add_file(t, "empty", 0);
    struct tree_file *unknown = tree_add_file(t, "unknown.bin", 2 * (scale / 2));
    tree_fill_bf16(unknown->bytes, scale / 2, 3);
    tree_add_copy(t, "z-copy.safetensors", model);
}

/* Files of random bytes as long as a tile, and one byte off. */
static inline void tree_fill_more(struct tree *t)
{
    for (size_t n = WEIR_TILE_BYTES - 1; n <= WEIR_TILE_BYTES + 1; n++) {
        char path[TREE_PATH_BYTES];
        snprintf(path, sizeof(path), "random-%zu", n);
        struct tree_file *f = tree_add_file(t, path, n);
        tree_fill_random(f->bytes, n, n);
    }
}

/* Packs into t->store; the counters start over. */
static inline weir_err tree_pack(struct tree *t)
{
    struct weir_output output = {t, tree_write};
    struct weir_watch watch = {t, tree_tick};
    struct weir_pack_options options = {.n_threads = t->n_threads,
                                        .watch = &watch,
                                        .window_bytes = t->window_bytes,
                                        .journal = t->journal,
                                        .base = t->base};
    t->read_bytes = t->expected_bytes = 0;
    t->n_reads = t->n_writes = t->n_ticks = t->n_opens = 0;
    t->ticked = 0;
    t->store_bytes = 0;
    t->diag.text[0] = 0;
    for (size_t i = 0; i < t->n_entries; i++)
        t->file[i].n_opens = t->file[i].n_reads = 0;
    weir_err err = weir_pack(t->entry, t->n_entries, &output, &options, &t->result, &t->diag);
    for (size_t i = 0; i < t->n_entries; i++)
        if (t->file[i].n_open)
            cr_expect_fail("%s is still open", t->entry[i].path);
    return err;
}

static inline struct weir_store *tree_open_store(const struct tree *t, struct weir_source *src)
{
    struct weir_store *store = NULL;
    struct weir_diag diag = {{0}};
    weir_source_from_memory(t->store, t->store_bytes, src);
    cr_assert_eq(weir_store_open(src, &store, &diag), WEIR_OK, "%s", diag.text);
    return store;
}

#endif
