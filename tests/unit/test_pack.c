/* weir_pack(): what it writes, and that nothing it calls can fail unnoticed. */
#include "codec/pack.h"

#include "codec/extract.h"
#include "fail_alloc.h"
#include "tree_kit.h"

enum {
    SMALL = 3000,           /* values of the largest tensor, when a test packs hundreds of times */
    LARGE = 36 * (1 << 16), /* more than an extent */
};

Test(pack, gives_the_same_bytes_with_any_number_of_threads)
{
    static const unsigned n_threads[] = {2, 5, 16, 0};
    struct tree *one = tree_new(64 << 20);
    struct tree *more = tree_new(64 << 20);
    tree_fill(one, LARGE);
    tree_fill(more, LARGE);
    tree_fill_more(one);
    tree_fill_more(more);
    cr_assert_eq(tree_pack(one), WEIR_OK, "%s", one->diag.text);
    cr_expect_eq(one->result.stored_bytes, one->store_bytes);
    cr_expect_eq(one->ticked, one->result.plain_bytes);
    cr_expect_eq(one->total, one->result.plain_bytes);
    for (size_t i = 0; i < sizeof(n_threads) / sizeof(n_threads[0]); i++) {
        more->n_threads = n_threads[i];
        cr_assert_eq(tree_pack(more), WEIR_OK, "%s", more->diag.text);
        cr_assert_eq(more->store_bytes, one->store_bytes, "%u threads", n_threads[i]);
        cr_expect_eq(memcmp(more->store, one->store, one->store_bytes), 0, "%u threads",
                     n_threads[i]);
        cr_expect_eq(memcmp(more->result.digest, one->result.digest, WEIR_DIGEST_BYTES), 0);
    }
    tree_free(one);
    tree_free(more);
}

Test(pack, takes_entries_in_any_order)
{
    struct tree *t = tree_new(8 << 20);
    tree_fill(t, SMALL);
    cr_assert_eq(tree_pack(t), WEIR_OK);
    uint8_t digest[WEIR_DIGEST_BYTES];
    memcpy(digest, t->result.digest, sizeof(digest));
    for (size_t i = 0; i < t->n_entries / 2; i++) {
        struct weir_pack_entry swap = t->entry[i];
        t->entry[i] = t->entry[t->n_entries - 1 - i];
        t->entry[t->n_entries - 1 - i] = swap;
    }
    cr_assert_eq(tree_pack(t), WEIR_OK);
    cr_expect_eq(memcmp(digest, t->result.digest, sizeof(digest)), 0);
    tree_free(t);
}

Test(pack, stores_equal_segments_once)
{
    struct tree *t = tree_new(16 << 20);
    tree_fill(t, 1 << 18);
    cr_assert_eq(tree_pack(t), WEIR_OK, "%s", t->diag.text);
    struct weir_source src;
    struct weir_store *store = tree_open_store(t, &src);
    const struct weir_entry *model = weir_store_find(store, "m/model.safetensors");
    const struct weir_entry *copy = weir_store_find(store, "z-copy.safetensors");
    cr_assert(model && copy);
    cr_assert_eq(model->n_segments, 6);
    cr_assert_eq(copy->n_segments, 6);
    for (uint32_t i = 0; i < 6; i++)
        cr_expect_eq(copy->segment[i].object, model->segment[i].object, "segment %u", i);
    cr_expect_eq(model->segment[1].object, model->segment[2].object);
    cr_expect_eq(model->segment[3].object, WEIR_NO_OBJECT);
    cr_expect_str_eq(model->segment[3].tensor->name, "none");
    cr_expect_eq(memcmp(model->sha256, copy->sha256, WEIR_DIGEST_BYTES), 0);
    /* 512 KiB of w, 512 KiB of x, 256 KiB of unknown bf16: the copies are free, x is half zeros. */
    cr_expect_lt(t->store_bytes, (size_t)(1200 << 10), "%zu bytes", t->store_bytes);
    weir_store_free(store);
    tree_free(t);
}

Test(pack, finds_numbers_in_files_that_it_does_not_know)
{
    struct tree *t = tree_new(2 << 20);
    struct tree_file *f = tree_add_file(t, "unknown", 1 << 20);
    tree_fill_bf16(f->bytes, f->n_bytes / 2, 1);
    cr_assert_eq(tree_pack(t), WEIR_OK);
    cr_expect_lt(t->store_bytes, f->n_bytes * 3 / 4, "%zu bytes", t->store_bytes);
    tree_free(t);
}

Test(pack, writes_stores_without_extents)
{
    for (int n = 0; n < 3; n++) {
        struct tree *t = tree_new(64 << 10);
        if (n > 0)
            tree_add_file(t, "empty", 0);
        if (n > 1)
            tree_add(t, "dir", WEIR_ENTRY_DIR);
        cr_assert_eq(tree_pack(t), WEIR_OK);
        struct weir_source src;
        struct weir_store *store = tree_open_store(t, &src);
        cr_expect_eq(weir_store_info(store)->n_entries, n);
        cr_expect_eq(weir_store_info(store)->n_extents, 0);
        weir_store_free(store);
        tree_free(t);
    }
}

Test(pack, refuses)
{
    static const struct {
        const char *why, *path, *target;
        enum weir_entry_kind kind;
        uint16_t mode;
    } cases[] = {
        {"a path that is absolute", "/a", NULL, WEIR_ENTRY_DIR, 0},
        {"a path that goes up", "dir/../a", NULL, WEIR_ENTRY_DIR, 0},
        {"an empty path", "", NULL, WEIR_ENTRY_DIR, 0},
        {"a parent that is not there", "other/a", NULL, WEIR_ENTRY_DIR, 0},
        {"a parent whose name only begins alike", "di/a", NULL, WEIR_ENTRY_DIR, 0},
        {"a parent that is a file", "file/a", NULL, WEIR_ENTRY_DIR, 0},
        {"a path that is there already", "file", NULL, WEIR_ENTRY_DIR, 0},
        {"a mode with more than permissions", "a", NULL, WEIR_ENTRY_DIR, 010000},
        {"a kind that there is not", "a", NULL, (enum weir_entry_kind)3, 0},
        {"a file without open", "a", NULL, WEIR_ENTRY_FILE, 0},
        {"a link without target", "a", NULL, WEIR_ENTRY_LINK, 0},
        {"a link that leaves the tree", "dir/a", "../../b", WEIR_ENTRY_LINK, 0},
        {"a link to an absolute path", "a", "/b", WEIR_ENTRY_LINK, 0},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct tree *t = tree_new(64 << 10);
        tree_add(t, "dir", WEIR_ENTRY_DIR);
        tree_add_file(t, "file", 0);
        struct weir_pack_entry *e = tree_add(t, cases[i].path, cases[i].kind);
        e->target = cases[i].target;
        e->mode = cases[i].mode;
        cr_expect_eq(tree_pack(t), WEIR_ERR_INVALID, "%s", cases[i].why);
        cr_expect(strstr(t->diag.text, cases[i].path), "%s: %s", cases[i].why, t->diag.text);
        cr_expect_eq(t->store_bytes, 0);
        tree_free(t);
    }
}

/* ---- everything that can fail ---- */

enum { N_MODES = 2 };
static const unsigned mode_threads[N_MODES] = {1, 3};

/* With every n: the n-th call fails, packing returns `want`; until there is no n-th call. */
static void expect_each_to_fail(long *fail_at, struct tree *t, weir_err want, long at_least)
{
    for (int i = 0; i < N_MODES; i++) {
        t->n_threads = mode_threads[i];
        t->result.digest[0] = 0xa5;
        for (*fail_at = 0;; ++*fail_at) {
            weir_err err = tree_pack(t);
            if (!err)
                break;
            cr_assert_eq(err, want, "call %ld: %s, %s", *fail_at, weir_err_text(err), t->diag.text);
            cr_assert_eq(t->result.digest[0], 0xa5, "the result was written to");
        }
        cr_expect_geq(*fail_at, at_least, "only %ld calls", *fail_at);
    }
}

Test(pack, notices_each_read_that_fails)
{
    struct tree *t = tree_new(8 << 20);
    tree_fill(t, SMALL);
    expect_each_to_fail(&t->fail_read, t, WEIR_ERR_IO, 40);
    tree_free(t);
}

Test(pack, names_the_file_that_cannot_be_read)
{
    struct tree *t = tree_new(8 << 20);
    tree_add_file(t, "first", 10);
    t->fail_read = 0;
    cr_expect_eq(tree_pack(t), WEIR_ERR_IO);
    cr_expect(strstr(t->diag.text, "first"), "%s", t->diag.text);
    tree_free(t);
}

Test(pack, notices_each_open_that_fails)
{
    struct tree *t = tree_new(8 << 20);
    tree_fill(t, SMALL);
    expect_each_to_fail(&t->fail_open, t, WEIR_ERR_NOT_FOUND, 10);
    tree_free(t);
}

Test(pack, notices_each_write_that_fails)
{
    struct tree *t = tree_new(8 << 20);
    tree_fill(t, SMALL);
    expect_each_to_fail(&t->fail_write, t, WEIR_ERR_NETWORK, 4);
    tree_free(t);
}

Test(pack, stops_at_each_tick)
{
    struct tree *t = tree_new(8 << 20);
    tree_fill(t, SMALL);
    expect_each_to_fail(&t->fail_tick, t, WEIR_ERR_CANCELLED, 20);
    tree_free(t);
}

Test(pack, survives_each_allocation_failing)
{
    struct tree *t = tree_new(8 << 20);
    tree_fill(t, SMALL);
    for (int i = 0; i < N_MODES; i++) {
        weir_err err = WEIR_ERR_NOMEM;
        int n = 0;
        for (; err == WEIR_ERR_NOMEM; n++) {
            t->n_threads = mode_threads[i];
            fail_alloc_at(n);
            err = tree_pack(t);
            fail_alloc_at(-1);
        }
        cr_assert_eq(err, WEIR_OK, "allocation %d: %s", n, t->diag.text);
        cr_expect_gt(n, 40, "nothing was made to fail");
    }
    tree_free(t);
}

Test(pack, notices_a_file_that_changes)
{
    enum { SHRINKS, GROWS, SAYS_SO, FAILS_AND_SAYS_SO, N_WAYS };
    for (int way = 0; way < N_WAYS; way++) {
        struct tree *t = tree_new(8 << 20);
        tree_fill(t, SMALL);
        struct tree_file *f = &t->file[tree_find(t, "z-copy.safetensors")];
        if (way == SHRINKS)
            f->later_bytes = f->n_bytes - 1;
        else if (way == GROWS)
            f->later_bytes = f->n_bytes + 1;
        else
            f->changed = true;
        if (way == FAILS_AND_SAYS_SO)
            t->fail_read = 3;
        cr_expect_eq(tree_pack(t), WEIR_ERR_CHANGED, "way %d", way);
        cr_expect(strstr(t->diag.text, "z-copy.safetensors"), "%s", t->diag.text);
        tree_free(t);
    }
}

/* Two equal files, one of which changes before its n-th read, silently: packing notices, or did not
 * need to because the store is whole all the same. */
Test(pack, makes_no_store_of_bytes_that_changed_in_between)
{
    static const char *const paths[] = {"first", "second"};
    for (int i = 0; i < 2; i++) {
        int n_noticed = 0;
        for (long n = 1; n < 8; n++) {
            struct tree *t = tree_new(1 << 20);
            struct tree_file *first = tree_add_file(t, "first", 1000);
            struct tree_file *second = tree_add_file(t, "second", 1000);
            tree_fill_random(first->bytes, 1000, 1);
            memcpy(second->bytes, first->bytes, 1000);
            t->file[i].flip_at_read = n;
            weir_err err = tree_pack(t);
            if (err) {
                n_noticed++;
                cr_expect_eq(err, WEIR_ERR_CHANGED);
                cr_expect(strstr(t->diag.text, "second"), "%s", t->diag.text);
            } else {
                struct weir_source src;
                struct weir_store *store = tree_open_store(t, &src);
                struct weir_extract_options options = {.n_threads = 1};
                err = weir_extract(store, NULL, &options, &t->diag);
                cr_expect_eq(err, WEIR_OK, "%s, read %ld: %s", paths[i], n, t->diag.text);
                weir_store_free(store);
            }
            tree_free(t);
        }
        cr_expect_gt(n_noticed, 0, "%s", paths[i]);
    }
}

/* ---- sharing and the ratio rule ---- */

Test(pack, shares_no_more_than_readers_accept)
{
    static const struct {
        const char *what;
        size_t random_bytes; /* of each tile; the rest is zero */
        int n_files;
        uint32_t least, most; /* objects */
    } cases[] = {
        {"constant", 0, 150, 150, 150},
        {"nearly constant", 160, 150, 2, 149},
        {"random", WEIR_TILE_BYTES, 10, 1, 1},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct tree *t = tree_new(8 << 20);
        struct tree_file *f = tree_add_file(t, "000", (size_t)8 * WEIR_TILE_BYTES);
        for (size_t tile = 0; tile < 8; tile++)
            tree_fill_random(f->bytes + tile * WEIR_TILE_BYTES, cases[i].random_bytes, tile);
        for (int copy = 1; copy < cases[i].n_files; copy++) {
            char path[TREE_PATH_BYTES];
            snprintf(path, sizeof(path), "%03d", copy);
            tree_add_copy(t, path, f);
        }
        cr_assert_eq(tree_pack(t), WEIR_OK, "%s: %s", cases[i].what, t->diag.text);
        struct weir_source src;
        struct weir_store *store = tree_open_store(t, &src);
        uint32_t n = weir_store_info(store)->n_objects;
        cr_expect(n >= cases[i].least && n <= cases[i].most, "%s: %u objects", cases[i].what, n);
        weir_store_free(store);
        tree_free(t);
    }
}
