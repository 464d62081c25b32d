/* A store whose bytes change after it was opened: what the index names comes out, or an error. */
#include "codec/extract.h"

#include <criterion/criterion.h>
#include <limits.h>
#include <pthread.h>
#include <time.h>

#include "changed_kit.h"
#include "fail_alloc.h"

#define N(array) (sizeof(array) / sizeof((array)[0]))

enum { N_THREADS = 4 };

/* ---- the same bytes ---- */

Test(store_changed, costs_a_question_per_tile_unless_changed, .init = make_stores,
     .fini = free_stores)
{
    struct shifty s = {0};
    struct weir_source src = shifty_source(&s);
    struct weir_store *store = open_store(&src);
    struct weir_store_cursor *cur = new_cursor(store);
    start_counting(&s);
    expect_all(cur, store, fine, "unchanged");
    cr_expect_eq(s.n_bytes, fast_bytes);
    cr_expect_eq(s.n_asked, weir_store_info(store)->n_tiles);
    weir_store_cursor_free(cur);
    weir_store_free(store);
}

Test(store_changed, hashes_an_extent_once_per_revision, .init = make_stores, .fini = free_stores)
{
    struct shifty s = {0};
    struct weir_source src = shifty_source(&s);
    struct weir_store *store = open_store(&src);
    struct weir_store_cursor *cur[2] = {new_cursor(store), new_cursor(store)};
    static const uint64_t revisions[] = {2, 3, UINT64_MAX, UINT64_MAX / 2 - 1, 7};
    for (size_t i = 0; i < N(revisions); i++) {
        s.revision = revisions[i];
        start_counting(&s);
        expect_all(cur[0], store, fine, "touched");
        cr_expect_eq(s.n_bytes, fast_bytes + extent_bytes, "revision %zu", i);
        start_counting(&s);
        expect_all(cur[0], store, fine, "again");
        cr_expect_eq(s.n_bytes, fast_bytes, "revision %zu", i);
        /* This one has yet to hear of the revision; then it reads its first tile once more. */
        start_counting(&s);
        expect_all(cur[1], store, fine, "another cursor");
        cr_expect_lt(s.n_bytes, fast_bytes + 2 * (uint64_t)WEIR_TILE_BYTES, "revision %zu", i);
        start_counting(&s);
        expect_all(cur[1], store, fine, "another cursor, again");
        cr_expect_eq(s.n_bytes, fast_bytes, "revision %zu", i);
    }
    for (size_t i = 0; i < 2; i++)
        weir_store_cursor_free(cur[i]);
    weir_store_free(store);
}

/* Revisions that are of no use: what is read is hashed, every time, and so is right. */
Test(store_changed, reads_on_while_the_revision_does_not_settle, .init = make_stores,
     .fini = free_stores)
{
    static const struct {
        const char *what;
        bool restless;
        uint64_t revision;
    } cases[] = {
        {"restless", true, 2}, {"0", false, 0}, {"a bit of ours", false, UINT64_C(1) << 63}};
    for (size_t i = 0; i < N(cases); i++) {
        struct shifty s = {0};
        struct weir_source src = shifty_source(&s);
        struct weir_store *store = open_store(&src);
        struct weir_store_cursor *cur = new_cursor(store);
        uint8_t *other = spliced(store, 1);
        s.restless = cases[i].restless;
        s.revision = cases[i].revision;
        for (int round = 0; round < 2; round++) {
            start_counting(&s);
            s.bytes = tree[0]->store;
            expect_all(cur, store, fine, cases[i].what);
            cr_expect_gt(s.n_bytes, 32 * (extent_bytes / 2), "%s", cases[i].what);
            cr_expect_eq(s.n_asked, 2 * weir_store_info(store)->n_tiles, "%s", cases[i].what);
            s.bytes = other;
            expect_all(cur, store, (weir_err[]){WEIR_OK, WEIR_ERR_CHANGED}, cases[i].what);
        }
        weir_store_cursor_free(cur);
        weir_store_free(store);
        free(other);
    }
}

/* ---- other bytes ---- */

Test(store_changed, would_not_be_seen_in_the_tiles, .init = make_stores, .fini = free_stores)
{
    struct weir_source src;
    struct weir_store *store = tree_open_store(tree[0], &src);
    struct weir_store_cursor *cur = new_cursor(store);
    struct weir_extent e = weir_store_extent(store, 0);
    memcpy(tree[0]->store + e.at, tree[1]->store + e.at, e.bytes);
    struct seen seen = read_tile(cur, store, 0, 5, NULL);
    cr_expect(seen.err == WEIR_OK && !seen.right, "the test's stores are not as they should be");
    weir_store_cursor_free(cur);
    weir_store_free(store);
}

static void expect_spliced(uint32_t extent, bool heads_known)
{
    struct shifty s = {0};
    struct weir_source src = shifty_source(&s);
    struct weir_store *store = open_store(&src);
    struct weir_store_cursor *cur = new_cursor(store);
    uint8_t *other = spliced(store, extent);
    uint64_t its_tile = (uint64_t)extent * WEIR_EXTENT_TILES;
    struct weir_tile_head head;
    const weir_err want[2] = {extent == 0 ? WEIR_ERR_CHANGED : WEIR_OK,
                              extent == 1 ? WEIR_ERR_CHANGED : WEIR_OK};
    char text[64];
    snprintf(text, sizeof(text), "extent %u: the store was changed", extent);
    if (heads_known)
        cr_assert(read_tile(cur, store, 0, its_tile, NULL).right);
    s.bytes = other;
    s.revision = 2;
    if (!heads_known)
        cr_expect_eq(weir_store_tile_head(cur, its_tile, &head), WEIR_ERR_CHANGED);
    start_counting(&s);
    struct weir_diag diag = {""};
    cr_expect_eq(read_tile(cur, store, 0, its_tile + 1, &diag).err, WEIR_ERR_CHANGED);
    cr_expect_eq(strncmp(diag.text, text, strlen(text)), 0, "%s", diag.text);
    start_counting(&s);
    for (int i = 0; i < 10; i++)
        cr_expect_eq(read_tile(cur, store, 0, its_tile + 1, NULL).err, WEIR_ERR_CHANGED);
    cr_expect_lt(s.n_bytes, 11 * (uint64_t)WEIR_TILE_BYTES, "a bad extent is hashed again");
    expect_all(cur, store, want, text);
    cr_expect_eq(weir_store_tile_head(cur, (uint64_t)32 * (1 - extent), &head), WEIR_OK);
    cr_expect_eq(weir_store_tile_head(cur, its_tile, &head), WEIR_ERR_CHANGED);
    s.bytes = tree[0]->store;
    s.revision = 3;
    expect_all(cur, store, fine, "put back");
    weir_store_cursor_free(cur);
    weir_store_free(store);
    free(other);
}

Test(store_changed, refuses_an_extent_of_another_store, .init = make_stores, .fini = free_stores)
{
    for (uint32_t i = 0; i < 4; i++)
        expect_spliced(i % 2, i / 2);
}

/* Heads that are none, a payload that is none, and each of the rest: only this extent is lost. */
Test(store_changed, refuses_an_extent_with_a_flipped_bit, .init = make_stores, .fini = free_stores)
{
    static const size_t places[] = {0, 8, 12, 15, 512, 700000, 4194815};
    struct shifty s = {0};
    struct weir_source src = shifty_source(&s);
    struct weir_store *store = open_store(&src);
    struct weir_store_cursor *cur = new_cursor(store);
    for (size_t i = 0; i < N(places); i++) {
        tree[0]->store[WEIR_ALIGN + places[i]] ^= 4;
        s.revision++;
        expect_all(cur, store, (weir_err[]){WEIR_ERR_CHANGED, WEIR_OK}, "flipped");
        tree[0]->store[WEIR_ALIGN + places[i]] ^= 4;
        s.revision++;
        expect_all(cur, store, fine, "flipped back");
    }
    weir_store_cursor_free(cur);
    weir_store_free(store);
}

Test(store_changed, reads_what_a_truncated_one_still_has, .init = make_stores, .fini = free_stores)
{
    struct shifty s = {0};
    struct weir_source src = shifty_source(&s);
    struct weir_store *store = open_store(&src);
    struct weir_store_cursor *cur = new_cursor(store);
    struct weir_extent last = weir_store_extent(store, 1);
    const struct {
        uint64_t size;
        weir_err want[2];
    } cases[] = {
        {last.at + last.bytes, {WEIR_OK, WEIR_OK}},
        {last.at + last.bytes - 1, {WEIR_OK, WEIR_ERR_IO}},
        {last.at, {WEIR_OK, WEIR_ERR_IO}},
        {last.at - WEIR_ALIGN, {WEIR_ERR_IO, WEIR_ERR_IO}},
        {0, {WEIR_ERR_IO, WEIR_ERR_IO}},
    };
    for (size_t i = 0; i < N(cases); i++) {
        s.size = cases[i].size;
        s.revision++;
        expect_all(cur, store, cases[i].want, "truncated");
    }
    struct weir_diag diag = {""};
    (void)read_tile(cur, store, 0, 0, &diag);
    cr_expect_not_null(strstr(diag.text, "changed after it was opened"), "%s", diag.text);
    weir_store_cursor_free(cur);
    weir_store_free(store);
}

/* ---- while a tile is read ---- */

static void turn_to_other(struct shifty *s)
{
    s->bytes = tree[1]->store;
    s->revision++;
}

static void turn_back(struct shifty *s)
{
    s->bytes = tree[0]->store;
    s->revision++;
}

/* The other bytes are there for one read only, and before it is known, somebody else has found
 * that the extent is as it should be. */
static void turn_back_and_hash(struct shifty *s)
{
    turn_back(s);
    uint8_t *out = malloc(WEIR_TILE_BYTES);
    cr_assert_not_null(out);
    for (uint64_t tile = 1; tile < NOISE_TILES; tile += WEIR_EXTENT_TILES)
        cr_expect_eq(weir_store_read_tile(s->other, 0, tile, out, NULL), WEIR_OK);
    free(out);
}

Test(store_changed, gives_no_other_byte_whenever_it_changes, .init = make_stores,
     .fini = free_stores)
{
    static const struct {
        void (*before)(struct shifty *s);
        void (*after)(struct shifty *s);
    } cases[] = {
        {turn_to_other, NULL},
        {NULL, turn_to_other},
        {turn_to_other, turn_back},
        {turn_to_other, turn_back_and_hash},
    };
    for (size_t i = 0; i < 4 * N(cases); i++) {
        bool hashing = i / N(cases) % 2; /* the extent has changed before */
        bool heads_known = i / N(cases) / 2 == 1;
        long n_reads = LONG_MAX;
        for (long n = 0; n < n_reads; n++) {
            struct shifty s = {0};
            struct weir_source src = shifty_source(&s);
            struct weir_store *store = open_store(&src);
            struct weir_store_cursor *cur = new_cursor(store);
            s.other = new_cursor(store);
            if (heads_known)
                cr_assert(read_tile(cur, store, 0, 3, NULL).right);
            if (hashing)
                s.revision++;
            start_counting(&s);
            s.hook_read = n;
            s.before = cases[i % N(cases)].before;
            s.after = cases[i % N(cases)].after;
            for (uint64_t tile = 5; tile < 7; tile++) { /* the second one by what is remembered */
                struct seen seen = read_tile(cur, store, 0, tile, NULL);
                n_reads = s.n_reads;
                cr_expect(seen.err ? seen.err == WEIR_ERR_CHANGED : seen.right,
                          "case %zu, read %ld: %s", i, n, weir_err_text(seen.err));
            }
            weir_store_cursor_free(s.other);
            weir_store_cursor_free(cur);
            weir_store_free(store);
        }
    }
}

/* ---- opening ---- */

Test(store_changed, is_not_opened_while_it_changes, .init = make_stores, .fini = free_stores)
{
    static const struct {
        long change_ask, fail_ask;
        uint64_t revision;
        bool corrupt;
        weir_err want;
    } cases[] = {
        {TREE_NEVER, TREE_NEVER, 5, false, WEIR_OK},
        {0, TREE_NEVER, 1, false, WEIR_OK}, /* before the first answer */
        {1, TREE_NEVER, 1, false, WEIR_ERR_CHANGED},
        {1, TREE_NEVER, 1, true, WEIR_ERR_CHANGED},
        {TREE_NEVER, TREE_NEVER, 1, true, WEIR_ERR_CORRUPT},
        {TREE_NEVER, TREE_NEVER, 0, false, WEIR_ERR_CHANGED},
        {TREE_NEVER, 0, 1, false, WEIR_ERR_NETWORK},
        {TREE_NEVER, 1, 1, false, WEIR_ERR_NETWORK},
    };
    for (size_t i = 0; i < N(cases); i++) {
        struct shifty s = {0};
        struct weir_source src = shifty_source(&s);
        struct weir_store *store = NULL;
        struct weir_diag diag = {""};
        s.revision = cases[i].revision;
        s.change_ask = cases[i].change_ask;
        s.fail_ask = cases[i].fail_ask;
        tree[0]->store[tree[0]->store_bytes - 100] ^= cases[i].corrupt;
        weir_err err = weir_store_open(&src, &store, &diag);
        tree[0]->store[tree[0]->store_bytes - 100] ^= cases[i].corrupt;
        cr_expect_eq(err, cases[i].want, "case %zu: %s", i, weir_err_text(err));
        cr_expect_eq(diag.text[0] != 0, err != WEIR_OK, "case %zu: \"%s\"", i, diag.text);
        cr_expect_eq(s.n_asked, cases[i].fail_ask == 0 ? 1 : 2, "case %zu", i);
        weir_store_free(store);
    }
}

Test(store_changed, survives_each_allocation_failing, .init = make_stores, .fini = free_stores)
{
    weir_err err = WEIR_ERR_NOMEM;
    for (int n = 0; err == WEIR_ERR_NOMEM; n++) {
        struct shifty s = {0};
        struct weir_source src = shifty_source(&s);
        struct weir_store *store = NULL;
        fail_alloc_at(n);
        err = weir_store_open(&src, &store, NULL);
        fail_alloc_at(-1);
        cr_assert((err == WEIR_OK) == (store != NULL));
        weir_store_free(store);
    }
    cr_assert_eq(err, WEIR_OK);
}

/* ---- questions that fail ---- */

Test(store_changed, passes_on_what_the_question_says, .init = make_stores, .fini = free_stores)
{
    for (int i = 0; i < 2; i++) { /* after the tile; after the extent */
        struct shifty s = {0};
        struct weir_source src = shifty_source(&s);
        struct weir_store *store = open_store(&src);
        struct weir_store_cursor *cur = new_cursor(store);
        struct weir_tile_head head;
        struct weir_diag diag = {""};
        s.revision = 2;
        start_counting(&s);
        s.fail_ask = i;
        cr_expect_eq(read_tile(cur, store, 0, 3, &diag).err, WEIR_ERR_NETWORK);
        cr_expect_str_eq(diag.text, "the store cannot be examined for changes");
        start_counting(&s);
        cr_expect_eq(weir_store_tile_head(cur, 3, &head), WEIR_ERR_NETWORK);
        s.fail_ask = TREE_NEVER;
        expect_all(cur, store, fine, "answered again");
        weir_store_cursor_free(cur);
        weir_store_free(store);
    }
}

/* ---- all at once ---- */

Test(store_changed, is_extracted_if_only_touched, .init = make_stores, .fini = free_stores)
{
    struct shifty s = {0};
    struct weir_source src = shifty_source(&s);
    struct weir_store *store = open_store(&src);
    uint8_t *other = spliced(store, 1);
    struct weir_extract_options options = {.n_threads = 2};
    s.revision = 2;
    cr_expect_eq(weir_extract(store, NULL, &options, NULL), WEIR_OK);
    cr_expect_eq(weir_check_extents(store, &options, NULL), WEIR_OK);
    s.bytes = other;
    s.revision = 3;
    struct weir_diag diag = {""};
    cr_expect_eq(weir_extract(store, NULL, &options, &diag), WEIR_ERR_CHANGED);
    cr_expect_not_null(strstr(diag.text, "a: extent 1: the store was changed"), "%s", diag.text);
    cr_expect_eq(weir_check_extents(store, &options, NULL), WEIR_ERR_CORRUPT);
    weir_store_free(store);
    free(other);
}

struct reading {
    const struct weir_store *store;
    atomic_int *n_done;
    unsigned number;
    unsigned n_wrong, n_refused, n_right;
};

static void *read_on(void *self)
{
    struct reading *r = self;
    struct weir_store_cursor *cur = NULL;
    if (weir_store_cursor_new(r->store, weir_kernels_best(), &cur))
        abort();
    for (unsigned i = 0; i < 6 * NOISE_TILES; i++) {
        struct seen seen = read_tile(cur, r->store, 0, (7 * i + 5 * r->number) % NOISE_TILES, NULL);
        r->n_refused += seen.err == WEIR_ERR_CHANGED;
        r->n_right += seen.err == WEIR_OK && seen.right;
        r->n_wrong += seen.err ? seen.err != WEIR_ERR_CHANGED : !seen.right;
    }
    weir_store_cursor_free(cur);
    atomic_fetch_add(r->n_done, 1);
    return NULL;
}

/* As a file's revision does it: 0 while the bytes are being changed. */
static void change(struct shifty *s, const uint8_t *bytes, uint64_t revision)
{
    atomic_store(&s->revision, 0);
    atomic_store(&s->bytes, bytes);
    atomic_store(&s->revision, revision);
}

Test(store_changed, is_shared_by_threads, .init = make_stores, .fini = free_stores, .timeout = 120)
{
    struct shifty s = {0};
    struct weir_source src = shifty_source(&s);
    struct weir_store *store = open_store(&src);
    struct weir_store_cursor *cur = new_cursor(store);
    struct reading reading[N_THREADS];
    pthread_t thread[N_THREADS];
    atomic_int n_done = 0;
    for (unsigned i = 0; i < N_THREADS; i++) {
        reading[i] = (struct reading){.store = store, .n_done = &n_done, .number = i};
        cr_assert_eq(pthread_create(&thread[i], NULL, read_on, &reading[i]), 0);
    }
    const struct timespec pause = {.tv_nsec = 3000000};
    for (uint64_t revision = 2; n_done < N_THREADS; revision++) {
        /* Twice in a row it is only touched. */
        change(&s, tree[revision % 3 == 0]->store, revision);
        (void)nanosleep(&pause, NULL);
    }
    unsigned n_right = 0;
    for (unsigned i = 0; i < N_THREADS; i++) {
        cr_assert_eq(pthread_join(thread[i], NULL), 0);
        cr_expect_eq(reading[i].n_wrong, 0, "thread %u", i);
        n_right += reading[i].n_right;
    }
    cr_expect_gt(n_right, 0);
    change(&s, tree[0]->store, UINT64_C(1) << 40);
    expect_all(cur, store, fine, "at the end");
    weir_store_cursor_free(cur);
    weir_store_free(store);
}
