/* changed_kit.h - a source whose bytes and revision change, and two stores of one layout for it.
 *
 * Both stores are there from make_stores() to free_stores(): .init and .fini of a test. */
#ifndef WEIR_TESTS_CHANGED_KIT_H
#define WEIR_TESTS_CHANGED_KIT_H

#include "codec/store.h"

#include <criterion/criterion.h>
#include <stdatomic.h>

#include "tree_kit.h"

enum {
    NOISE_TILES = 34, /* stored raw: they lie at the same place in every store */
    N_VALUES = 100000,
    MAX_TILES = 64,
    ROOM = 8 << 20,
};

/* Two stores of one layout, with different bytes in both of their extents. */
static struct tree *tree[2];
static uint64_t fast_bytes;   /* that reading every tile in order takes: heads and payloads */
static uint64_t extent_bytes; /* of all extents */

/* ---- a source that changes ---- */

struct shifty {
    _Atomic(const uint8_t *) bytes;
    _Atomic uint64_t size; /* of what is there now */
    _Atomic uint64_t revision;
    bool restless;   /* the revision goes up with every question */
    long fail_ask;   /* number of the question that fails, or TREE_NEVER */
    long change_ask; /* number of the question before which the revision goes up, likewise */
    atomic_long n_asked, n_reads;
    atomic_ullong n_bytes; /* read */

    long hook_read; /* number of the read that the hooks stand around, or TREE_NEVER */
    void (*before)(struct shifty *s);
    void (*after)(struct shifty *s);
    struct weir_store_cursor *other; /* the hooks' own */
};

static inline weir_err shifty_read(void *self, uint64_t at, void *dst, size_t n)
{
    struct shifty *s = self;
    bool hooked = atomic_fetch_add(&s->n_reads, 1) == s->hook_read;
    atomic_fetch_add(&s->n_bytes, n);
    if (hooked && s->before)
        s->before(s);
    uint64_t size = atomic_load(&s->size);
    if (at > size || n > size - at)
        return WEIR_ERR_IO;
    memcpy(dst, atomic_load(&s->bytes) + at, n);
    if (hooked && s->after)
        s->after(s);
    return WEIR_OK;
}

static inline weir_err shifty_revision(void *self, uint64_t *out)
{
    struct shifty *s = self;
    long n = atomic_fetch_add(&s->n_asked, 1);
    if (n == s->fail_ask)
        return WEIR_ERR_NETWORK;
    if (s->restless || n == s->change_ask)
        atomic_fetch_add(&s->revision, 1);
    *out = atomic_load(&s->revision);
    return WEIR_OK;
}

static inline struct weir_source shifty_source(struct shifty *s)
{
    s->bytes = tree[0]->store;
    s->size = tree[0]->store_bytes;
    s->revision = 1;
    s->fail_ask = s->change_ask = s->hook_read = TREE_NEVER;
    return (struct weir_source){
        .self = s, .size = s->size, .read = shifty_read, .revision = shifty_revision};
}

static inline void start_counting(struct shifty *s)
{
    s->n_asked = s->n_reads = 0;
    s->n_bytes = 0;
}

/* ---- the two stores ---- */

static inline struct tree *make_tree(uint64_t seed)
{
    struct tree *t = tree_new(ROOM);
    struct tree_file *noise = tree_add_file(t, "a", (size_t)NOISE_TILES * WEIR_TILE_BYTES - 100);
    tree_fill_random(noise->bytes, noise->n_bytes, seed);
    struct tree_file *values = tree_add_file(t, "b", 2 * (size_t)N_VALUES);
    tree_fill_bf16(values->bytes, N_VALUES, 1);
    cr_assert_eq(tree_pack(t), WEIR_OK, "%s", t->diag.text);
    return t;
}

static inline struct weir_store *open_store(const struct weir_source *src)
{
    struct weir_store *store = NULL;
    struct weir_diag diag = {""};
    cr_assert_eq(weir_store_open(src, &store, &diag), WEIR_OK, "%s", diag.text);
    return store;
}

static inline struct weir_store_cursor *new_cursor(const struct weir_store *store)
{
    struct weir_store_cursor *cur = NULL;
    cr_assert_eq(weir_store_cursor_new(store, weir_kernels_best(), &cur), WEIR_OK);
    return cur;
}

static inline void measure(const struct weir_store *store)
{
    struct weir_store_cursor *cur = new_cursor(store);
    const struct weir_store_info *info = weir_store_info(store);
    cr_assert(info->n_extents == 2 && info->n_tiles <= MAX_TILES);
    for (uint32_t i = 0; i < info->n_extents; i++)
        extent_bytes += weir_store_extent(store, i).bytes;
    for (uint64_t i = 0; i < info->n_tiles; i++) {
        struct weir_tile_head head;
        cr_assert_eq(weir_store_tile_head(cur, i, &head), WEIR_OK);
        fast_bytes += WEIR_TILE_HEAD_BYTES + head.payload_bytes;
    }
    weir_store_cursor_free(cur);
}

static inline void make_stores(void)
{
    struct weir_source src[2];
    struct weir_store *store[2];
    for (size_t i = 0; i < 2; i++) {
        tree[i] = make_tree(i + 1);
        store[i] = tree_open_store(tree[i], &src[i]);
    }
    cr_assert_eq(src[0].size, src[1].size);
    for (uint32_t i = 0; i < 2; i++) {
        struct weir_extent a = weir_store_extent(store[0], i), b = weir_store_extent(store[1], i);
        cr_assert(a.at == b.at && a.bytes == b.bytes);
        cr_assert_neq(memcmp(a.sha256, b.sha256, sizeof(a.sha256)), 0);
    }
    measure(store[0]);
    weir_store_free(store[0]);
    weir_store_free(store[1]);
}

static inline void free_stores(void)
{
    tree_free(tree[0]);
    tree_free(tree[1]);
}

/* Store 0 with one extent of store 1. */
static inline uint8_t *spliced(const struct weir_store *store, uint32_t extent)
{
    struct weir_extent e = weir_store_extent(store, extent);
    uint8_t *bytes = malloc(tree[0]->store_bytes);
    cr_assert_not_null(bytes);
    memcpy(bytes, tree[0]->store, tree[0]->store_bytes);
    memcpy(bytes + e.at, tree[1]->store + e.at, e.bytes);
    return bytes;
}

/* ---- reading ---- */

struct seen {
    weir_err err;
    bool right; /* if there is no error */
};

static inline struct seen read_tile(struct weir_store_cursor *cur, const struct weir_store *store,
                                    uint32_t object, uint64_t tile, struct weir_diag *diag)
{
    uint8_t *out = malloc(WEIR_TILE_BYTES);
    struct seen seen = {.err = WEIR_ERR_NOMEM};
    if (!out)
        return seen;
    seen.err = weir_store_read_tile(cur, object, tile, out, diag);
    if (!seen.err) {
        const uint8_t *want = tree[0]->file[object].bytes + tile * WEIR_TILE_BYTES;
        seen.right = memcmp(out, want, weir_store_tile_bytes(store, object, tile)) == 0;
    }
    free(out);
    return seen;
}

/* Every tile, in order: its file's object has the file's number. */
static inline void read_all(struct weir_store_cursor *cur, const struct weir_store *store,
                            struct seen seen[MAX_TILES], struct weir_diag *last)
{
    size_t n = 0;
    for (uint32_t i = 0; i < weir_store_info(store)->n_objects; i++)
        for (uint64_t tile = 0; tile < weir_store_object(store, i)->n_tiles; tile++)
            seen[n++] = read_tile(cur, store, i, tile, last);
}

static inline void expect_all(struct weir_store_cursor *cur, const struct weir_store *store,
                              const weir_err want[2], const char *what)
{
    struct seen seen[MAX_TILES];
    struct weir_diag diag = {""};
    read_all(cur, store, seen, &diag);
    for (size_t i = 0; i < weir_store_info(store)->n_tiles; i++) {
        weir_err wanted = want[i / WEIR_EXTENT_TILES];
        cr_expect_eq(seen[i].err, wanted, "%s: tile %zu: %s (%s)", what, i,
                     weir_err_text(seen[i].err), diag.text);
        cr_expect(seen[i].err || seen[i].right, "%s: tile %zu: other bytes", what, i);
    }
    cr_expect_eq(diag.text[0] != 0, want[0] || want[1], "%s: \"%s\"", what, diag.text);
}

static const weir_err fine[2] = {WEIR_OK, WEIR_OK};

#endif
