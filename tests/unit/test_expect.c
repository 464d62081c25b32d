/* Whoever reads a store in order tells its source what comes next. */
#include "codec/extract.h"

#include <criterion/criterion.h>
#include <pthread.h>

#include "tree_kit.h"

enum { VALUES = 36 * (1 << 16) }; /* of the largest tensor: more than an extent */

/* What a source is told that will be read, and what is read of it. */
struct told {
    struct weir_source inner;
    const struct weir_store *store; /* NULL: not open yet */
    pthread_mutex_t lock;
    bool is_told[64]; /* extents */
    unsigned n_untold;
};

static weir_err told_read(void *self, uint64_t at, void *dst, size_t n)
{
    struct told *t = self;
    pthread_mutex_lock(&t->lock);
    for (uint32_t i = 0; t->store && i < weir_store_info(t->store)->n_extents; i++) {
        struct weir_extent e = weir_store_extent(t->store, i);
        t->n_untold += at >= e.at && at < e.at + e.bytes && !t->is_told[i];
    }
    pthread_mutex_unlock(&t->lock);
    return weir_source_read(&t->inner, at, dst, n);
}

static void told_expect(void *self, uint64_t at, uint64_t n)
{
    struct told *t = self;
    cr_assert(n > 0 && at < t->inner.size && n <= t->inner.size - at);
    pthread_mutex_lock(&t->lock);
    for (uint32_t i = 0; i < weir_store_info(t->store)->n_extents; i++) {
        struct weir_extent e = weir_store_extent(t->store, i);
        t->is_told[i] = t->is_told[i] || (e.at < at + n && e.at + e.bytes > at);
    }
    pthread_mutex_unlock(&t->lock);
}

Test(expect, comes_before_each_read)
{
    struct tree *t = tree_new(24 << 20);
    tree_fill(t, VALUES);
    tree_fill_more(t);
    cr_assert_eq(tree_pack(t), WEIR_OK, "%s", t->diag.text);
    struct told told = {.lock = PTHREAD_MUTEX_INITIALIZER};
    weir_source_from_memory(t->store, t->store_bytes, &told.inner);
    struct weir_source src = {
        .self = &told, .size = told.inner.size, .read = told_read, .expect = told_expect};
    const struct weir_extract_options options = {.n_threads = 2};
    struct weir_store *store = NULL;
    struct weir_diag diag = {""};
    cr_assert_eq(weir_store_open(&src, &store, &diag), WEIR_OK, "%s", diag.text);
    cr_assert_geq(weir_store_info(store)->n_extents, 2);
    told.store = store;
    cr_expect_eq(weir_extract(store, NULL, &options, &diag), WEIR_OK, "%s", diag.text);
    cr_expect_eq(told.n_untold, 0);
    memset(told.is_told, 0, sizeof(told.is_told));
    cr_expect_eq(weir_check_extents(store, &options, &diag), WEIR_OK, "%s", diag.text);
    cr_expect_eq(told.n_untold, 0);

    memset(told.is_told, 0, sizeof(told.is_told));
    weir_store_expect_tiles(store, 0, UINT64_MAX, 1);
    weir_store_expect_tiles(store, 0, 0, 0);
    for (uint32_t i = 0; i < weir_store_info(store)->n_extents; i++)
        cr_expect(!told.is_told[i], "extent %u", i);
    uint32_t last = weir_store_info(store)->n_objects - 1;
    weir_store_expect_tiles(store, last, 0, UINT64_MAX);
    cr_expect(told.is_told[weir_store_info(store)->n_extents - 1]);
    weir_store_free(store);
    tree_free(t);
}
