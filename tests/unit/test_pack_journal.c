/* weir_pack() with a window and with a journal: the same bytes, wherever it was stopped. */
#include "codec/pack.h"

#include "codec/extract.h"
#include "fail_alloc.h"
#include "kept_kit.h"

enum {
    ROOM = 64 << 20,
    LARGE = 36 * (1 << 16), /* values of a tensor of more than an extent */
    N_SMALL = 100,          /* files of a tile each: three extents and a bit */
};

/* Copies of each other among them, codings, and extents of next to no bytes. */
static struct tree *small_tree(void)
{
    struct tree *t = tree_new(1 << 20);
    for (int i = 0; i < N_SMALL; i++) {
        char path[TREE_PATH_BYTES];
        snprintf(path, sizeof(path), "%03d", i);
        if (i % 10 == 9) {
            tree_add_copy(t, path, &t->file[i - 7]);
            continue;
        }
        struct tree_file *f = tree_add_file(t, path, (size_t)40 + (size_t)i);
        tree_fill_random(f->bytes, f->n_bytes, (uint64_t)i);
    }
    tree_add_model(t, "m.safetensors", 1000, 500);
    return t;
}

static struct tree *large_tree(void)
{
    struct tree *t = tree_new(ROOM);
    tree_fill(t, LARGE);
    tree_fill_more(t);
    return t;
}

/* What packing gives without window and journal; freed by the caller. */
static uint8_t *plain_pack(struct tree *t, size_t *n)
{
    cr_assert_eq(tree_pack(t), WEIR_OK, "%s", t->diag.text);
    uint8_t *store = malloc(t->store_bytes);
    if (!store)
        abort();
    *n = t->store_bytes;
    return memcpy(store, t->store, t->store_bytes);
}

static void expect_store(const struct tree *t, const uint8_t *store, size_t n, const char *when,
                         long i)
{
    if (t->store_bytes != n || memcmp(t->store, store, n) != 0)
        cr_expect_fail("%s %ld: another store, of %zu bytes and not %zu", when, i, t->store_bytes,
                       n);
}

Test(pack_journal, a_window_changes_no_byte)
{
    static const uint64_t window[] = {1, 1 << 17, 1 << 20, 8 << 20, UINT64_MAX};
    static const unsigned n_threads[] = {1, 2, 5};
    struct tree *t = large_tree();
    size_t n;
    uint8_t *store = plain_pack(t, &n);
    cr_expect_eq(t->expected_bytes, 0, "nobody asked for it");
    for (size_t i = 0; i < sizeof(window) / sizeof(window[0]); i++) {
        for (size_t j = 0; j < sizeof(n_threads) / sizeof(n_threads[0]); j++) {
            t->window_bytes = window[i];
            t->n_threads = n_threads[j];
            cr_assert_eq(tree_pack(t), WEIR_OK, "%s", t->diag.text);
            expect_store(t, store, n, "window", (long)window[i]);
            cr_expect_gt(t->expected_bytes, t->read_bytes / 2);
        }
    }
    free(store);
    tree_free(t);
}

Test(pack_journal, goes_on_wherever_it_was_stopped)
{
    static const unsigned n_threads[] = {1, 3};
    struct tree *t = large_tree();
    size_t n;
    uint8_t *store = plain_pack(t, &n);
    t->window_bytes = 1 << 20;
    for (size_t j = 0; j < sizeof(n_threads) / sizeof(n_threads[0]); j++) {
        t->n_threads = n_threads[j];
        struct kept k;
        kept_init(&k, t);
        weir_err err = WEIR_ERR_CANCELLED;
        for (long i = 0; err == WEIR_ERR_CANCELLED; i += 13) { /* each run gets a little further */
            t->fail_tick = i;
            kept_forget(&k);
            err = kept_pack(&k);
            cr_expect(!err || err == WEIR_ERR_CANCELLED, "%s: %s", weir_err_text(err),
                      t->diag.text);
            t->fail_tick = TREE_NEVER;
            cr_assert_eq(kept_pack(&k), WEIR_OK, "stopped at tick %ld: %s", i, t->diag.text);
            expect_store(t, store, n, "stopped at tick", i);
        }
        kept_free(&k);
    }
    free(store);
    tree_free(t);
}

Test(pack_journal, goes_on_again_and_again)
{
    struct tree *t = small_tree();
    size_t n;
    uint8_t *store = plain_pack(t, &n);
    t->window_bytes = 1;
    struct kept k;
    kept_init(&k, t);
    int n_runs = 0;
    weir_err err = WEIR_ERR_CANCELLED;
    for (; err == WEIR_ERR_CANCELLED; n_runs++) {
        cr_assert_lt(n_runs, 100, "it does not get on");
        t->fail_tick = N_SMALL + 20; /* so many are spent on looking at the files */
        err = kept_pack(&k);
    }
    cr_assert_eq(err, WEIR_OK, "%s", t->diag.text);
    cr_expect_gt(n_runs, 3);
    expect_store(t, store, n, "runs:", n_runs);
    kept_free(&k);
    free(store);
    tree_free(t);
}

/* Everything is there but the end of the store: little is read but the headers. */
Test(pack_journal, reads_no_byte_of_a_whole_extent_again)
{
    struct tree *t = large_tree();
    struct kept k;
    kept_init(&k, t);
    t->window_bytes = 8 << 20;
    cr_assert_eq(kept_pack(&k), WEIR_OK);
    uint64_t first = t->read_bytes;
    cr_expect_eq(t->result.resumed_bytes, 0);
    cr_assert_eq(kept_pack(&k), WEIR_OK);
    cr_expect_gt(first, 10 << 20);
    cr_expect_lt(t->read_bytes, 5 << 20, "%llu bytes of %llu: more than the last extent",
                 (unsigned long long)t->read_bytes, (unsigned long long)first);
    cr_expect_gt(t->result.resumed_bytes, 4 << 20);
    kept_free(&k);
    tree_free(t);
}

Test(pack_journal, takes_nothing_over_from_another_input)
{
    struct tree *t = small_tree();
    struct kept k;
    kept_init(&k, t);
    cr_assert_eq(kept_pack(&k), WEIR_OK);
    cr_assert_eq(kept_pack(&k), WEIR_OK);
    cr_expect_gt(k.resumed_store, 4096);
    k.how.input[31] ^= 1;
    cr_assert_eq(kept_pack(&k), WEIR_OK);
    cr_expect_eq(k.resumed_store, 0);
    cr_expect_eq(k.resumed_journal, 0);
    t->entry[0].mode = 0600;
    cr_assert_eq(kept_pack(&k), WEIR_OK);
    cr_expect_eq(k.resumed_store, 0);
    t->store[0] ^= 1; /* no store at all */
    cr_assert_eq(kept_pack(&k), WEIR_OK);
    cr_expect_eq(k.resumed_store, 0);
    kept_free(&k);
    tree_free(t);
}

/* ---- a journal that lies ---- */

static void expect_same_after(struct kept *k, const uint8_t *journal, size_t n_journal,
                              const uint8_t *store, size_t n, const char *what, long i)
{
    memcpy(k->tree->store, store, n);
    k->left_bytes = n;
    memcpy(k->journal, journal, n_journal);
    weir_err err = kept_pack(k);
    cr_expect_eq(err, WEIR_OK, "%s %ld: %s, %s", what, i, weir_err_text(err), k->tree->diag.text);
    expect_store(k->tree, store, n, what, i);
}

Test(pack_journal, believes_no_byte_that_was_changed_or_cut)
{
    struct tree *t = small_tree();
    size_t n;
    uint8_t *store = plain_pack(t, &n);
    struct kept k;
    kept_init(&k, t);
    k.synced_from = 1;
    t->window_bytes = 100;
    cr_assert_eq(kept_pack(&k), WEIR_OK);
    cr_expect_gt(k.n_synced, 0);
    size_t n_journal = k.n;
    uint8_t *journal = malloc(n_journal);
    if (!journal)
        abort();
    memcpy(journal, k.journal, n_journal);
    for (size_t i = 0; i < n_journal; i += 2) { /* odd ones are much like it */
        journal[i] ^= (uint8_t)(1 << i % 8);
        k.n = n_journal;
        expect_same_after(&k, journal, n_journal, store, n, "flipped byte", (long)i);
        journal[i] ^= (uint8_t)(1 << i % 8);
        k.n = i;
        expect_same_after(&k, journal, i, store, n, "cut at", (long)i);
    }
    free(journal);
    free(store);
    kept_free(&k);
    tree_free(t);
}

/* Of extents that were not brought to disk the store's bytes are looked at before they count. */
Test(pack_journal, notices_what_the_disk_has_lost)
{
    struct tree *t = small_tree();
    size_t n;
    uint8_t *store = plain_pack(t, &n);
    for (int synced = 0; synced < 2; synced++) {
        struct kept k;
        kept_init(&k, t);
        k.synced_from = synced ? 2 : SIZE_MAX;
        cr_assert_eq(kept_pack(&k), WEIR_OK);
        cr_expect_eq(k.n_synced, synced ? 1 : 0, "%zu", k.n_synced);
        size_t n_journal = k.n;
        uint8_t *journal = malloc(n_journal);
        if (!journal)
            abort();
        memcpy(journal, k.journal, n_journal);
        for (size_t at = 4000; at < n; at += 97) {
            memcpy(t->store, store, n);
            t->store[at] ^= 0x10;
            memcpy(k.journal, journal, n_journal);
            k.n = n_journal;
            k.left_bytes = n;
            weir_err err = kept_pack(&k);
            cr_expect(!err || (synced && err == WEIR_ERR_MISMATCH), "byte %zu: %s, %s", at,
                      weir_err_text(err), t->diag.text);
            if (!err)
                expect_store(t, store, n, "damaged byte", (long)at);
        }
        free(journal);
        kept_free(&k);
    }
    free(store);
    tree_free(t);
}

/* ---- what can fail ---- */

Test(pack_journal, notices_each_call_that_fails)
{
    struct tree *t = small_tree();
    struct kept k;
    kept_init(&k, t);
    k.synced_from = 0;
    weir_err err = WEIR_ERR_NETWORK;
    long n = 0;
    for (; err == WEIR_ERR_NETWORK; n++) {
        kept_forget(&k);
        k.fail_call = n;
        err = kept_pack(&k);
    }
    cr_expect_eq(err, WEIR_OK, "call %ld: %s", n, t->diag.text);
    cr_expect_gt(n, N_SMALL);
    kept_free(&k);
    tree_free(t);
}

Test(pack_journal, survives_each_allocation_failing)
{
    struct tree *t = small_tree();
    size_t n;
    uint8_t *store = plain_pack(t, &n);
    struct kept k;
    kept_init(&k, t);
    t->n_threads = 2;
    cr_assert_eq(kept_pack(&k), WEIR_OK);
    size_t n_journal = k.n;
    uint8_t *journal = malloc(n_journal);
    if (!journal)
        abort();
    memcpy(journal, k.journal, n_journal);
    weir_err err = WEIR_ERR_NOMEM;
    int i = 0;
    for (; err == WEIR_ERR_NOMEM; i++) {
        memcpy(k.journal, journal, n_journal);
        memcpy(t->store, store, n);
        k.n = n_journal;
        k.left_bytes = n;
        uint8_t *left = malloc(n_journal);
        if (!left)
            abort();
        memcpy(left, journal, n_journal);
        weir_source_from_memory(left, n_journal, &k.how.left);
        fail_alloc_at(i);
        err = tree_pack(t);
        fail_alloc_at(-1);
        free(left);
    }
    cr_expect_eq(err, WEIR_OK, "allocation %d: %s", i, t->diag.text);
    cr_expect_gt(i, 40);
    expect_store(t, store, n, "allocation", i);
    free(journal);
    free(store);
    kept_free(&k);
    tree_free(t);
}
