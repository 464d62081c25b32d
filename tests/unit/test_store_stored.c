/* The bytes of a store itself, read through it while they change: what it had when it was opened
 * comes out, or an error. */
#include "codec/store.h"

#include <criterion/criterion.h>
#include <inttypes.h>
#include <limits.h>
#include <pthread.h>
#include <time.h>

#include "changed_kit.h"
#include "fail_alloc.h"

#define N(array) (sizeof(array) / sizeof((array)[0]))

enum { N_THREADS = 4, TRAILER = 64 };

/* Reads into a block of the right size, so that a sanitizer sees what passes it. */
static struct seen read_stored(struct weir_store_cursor *cur, uint64_t at, size_t n,
                               struct weir_diag *diag)
{
    struct seen seen = {.err = WEIR_ERR_NOMEM};
    uint8_t *out = malloc(n + !n);
    if (!out)
        return seen;
    seen.err = weir_store_read_stored(cur, at, out, n, diag);
    seen.right = !seen.err && memcmp(out, tree[0]->store + at, n) == 0;
    free(out);
    return seen;
}

static void expect_read(struct weir_store_cursor *cur, uint64_t at, size_t n, weir_err want,
                        const char *what)
{
    struct weir_diag diag = {""};
    struct seen seen = read_stored(cur, at, n, &diag);
    cr_expect_eq(seen.err, want, "%s: %zu at %" PRIu64 ": %s (%s)", what, n, at,
                 weir_err_text(seen.err), diag.text);
    cr_expect(seen.err || seen.right, "%s: %zu at %" PRIu64 ": other bytes", what, n, at);
    cr_expect_eq(diag.text[0] != 0, want != WEIR_OK, "%s: \"%s\"", what, diag.text);
}

/* The ranges in which something of its own lies, in order; each ends where the next one begins. */
enum place { HEADER, EXTENT_0, PADDING, EXTENT_1, INDEX, TRAILER_PLACE, N_PLACES };

static const char *const names[N_PLACES] = {"header",   "extent 0", "padding",
                                            "extent 1", "index",    "trailer"};

static uint64_t end[N_PLACES];

static void find_places(void)
{
    make_stores();
    struct weir_source src;
    struct weir_store *store = tree_open_store(tree[0], &src);
    struct weir_extent e0 = weir_store_extent(store, 0), e1 = weir_store_extent(store, 1);
    end[HEADER] = e0.at;
    end[EXTENT_0] = e0.at + e0.bytes;
    end[PADDING] = e1.at;
    end[EXTENT_1] = e1.at + e1.bytes;
    end[INDEX] = tree[0]->store_bytes - TRAILER;
    end[TRAILER_PLACE] = tree[0]->store_bytes;
    for (int i = 1; i < N_PLACES; i++)
        cr_assert_lt(end[i - 1], end[i], "the test's stores are not as they should be");
    weir_store_free(store);
}

/* ---- the same bytes ---- */

Test(store_stored, costs_one_question_unless_changed, .init = find_places, .fini = free_stores)
{
    struct shifty s = {0};
    struct weir_source src = shifty_source(&s);
    struct weir_store *store = open_store(&src);
    struct weir_store_cursor *cur = new_cursor(store);
    start_counting(&s);
    expect_read(cur, 0, tree[0]->store_bytes, WEIR_OK, "all");
    cr_expect(s.n_reads == 1 && s.n_asked == 1 && s.n_bytes == tree[0]->store_bytes);
    start_counting(&s);
    expect_read(cur, 5000, 3, WEIR_OK, "some");
    cr_expect(s.n_reads == 1 && s.n_asked == 1 && s.n_bytes == 3);
    weir_store_cursor_free(cur);
    weir_store_free(store);
}

Test(store_stored, hashes_what_it_reads_once_per_revision, .init = find_places, .fini = free_stores)
{
    struct shifty s = {0};
    struct weir_source src = shifty_source(&s);
    struct weir_store *store = open_store(&src);
    struct weir_store_cursor *cur[2] = {new_cursor(store), new_cursor(store)};
    static const uint64_t revisions[] = {2, UINT64_MAX, UINT64_MAX / 2 - 1, 7};
    for (size_t i = 0; i < N(revisions); i++) {
        s.revision = revisions[i];
        start_counting(&s);
        expect_read(cur[0], end[INDEX] - 1, 1, WEIR_OK, "index");
        cr_expect_eq(s.n_bytes, 2 + end[INDEX] - end[EXTENT_1]);
        start_counting(&s);
        expect_read(cur[0], 0, 10, WEIR_OK, "header");
        expect_read(cur[0], end[INDEX], TRAILER, WEIR_OK, "trailer");
        expect_read(cur[0], end[EXTENT_0], 10, WEIR_OK, "padding");
        cr_expect(s.n_reads == 3 && s.n_asked == 3, "revision %zu: needs no hash", i);
        start_counting(&s);
        expect_read(cur[0], end[EXTENT_0] - 10, 10, WEIR_OK, "extent 0");
        cr_expect_eq(s.n_bytes, 10 + end[EXTENT_0] - end[HEADER]);
        /* What is hashed is known to who reads tiles, and the other way round. */
        start_counting(&s);
        cr_expect(read_tile(cur[1], store, 0, 3, NULL).right);
        cr_expect_lt(s.n_bytes, 3 * (uint64_t)WEIR_TILE_BYTES);
        cr_expect(read_tile(cur[1], store, 0, 33, NULL).right);
        start_counting(&s);
        expect_read(cur[0], 0, tree[0]->store_bytes, WEIR_OK, "all");
        cr_expect(s.n_reads == 1 && s.n_asked == 1, "revision %zu", i);
        expect_all(cur[0], store, fine, "tiles");
    }
    for (size_t i = 0; i < 2; i++)
        weir_store_cursor_free(cur[i]);
    weir_store_free(store);
}

/* Ranges of many sizes around each border, as fresh after each change. */
Test(store_stored, reads_across_all_borders, .init = find_places, .fini = free_stores)
{
    static const size_t sizes[] = {0, 1, 2, 3, 63, 64, 65, 511, 4095, 4096, 4097, 65536, 1 << 20};
    struct shifty s = {0};
    struct weir_source src = shifty_source(&s);
    struct weir_store *store = open_store(&src);
    struct weir_store_cursor *cur = new_cursor(store);
    for (int round = 0; round < 2; round++) {
        for (size_t i = 0; i < N_PLACES * N(sizes); i++) {
            uint64_t border = end[i / N(sizes)];
            size_t n = sizes[i % N(sizes)];
            const size_t before[] = {0, 1, n / 2, n - (n > 0), n};
            for (size_t k = 0; k < N(before); k++) {
                uint64_t at = border < before[k] ? 0 : border - before[k];
                bool fits = n <= tree[0]->store_bytes - at;
                expect_read(cur, at, n, fits ? WEIR_OK : WEIR_ERR_IO, "border");
            }
        }
        expect_read(cur, 0, tree[0]->store_bytes, WEIR_OK, "all");
        expect_read(cur, 0, tree[0]->store_bytes + 1, WEIR_ERR_IO, "more");
        expect_read(cur, tree[0]->store_bytes, 0, WEIR_OK, "the end");
        expect_read(cur, tree[0]->store_bytes, 1, WEIR_ERR_IO, "behind it");
        expect_read(cur, UINT64_MAX, 1, WEIR_ERR_IO, "far behind it");
        uint8_t untouched;
        cr_expect_eq(weir_store_read_stored(cur, 1, &untouched, SIZE_MAX, NULL), WEIR_ERR_IO);
        s.revision++;
    }
    weir_store_cursor_free(cur);
    weir_store_free(store);
}

/* Stores of other shapes: without extents, with one, with opaque files only. */
Test(store_stored, knows_every_byte_of_small_ones)
{
    static const size_t file_bytes[] = {0, 1, 300, 200000};
    for (size_t i = 0; i < N(file_bytes); i++) {
        tree[0] = tree_new(1 << 20);
        struct tree_file *f = tree_add_file(tree[0], "f", file_bytes[i]);
        tree_fill_random(f->bytes, f->n_bytes, 1);
        cr_assert_eq(tree_pack(tree[0]), WEIR_OK);
        struct shifty s = {0};
        struct weir_source src = shifty_source(&s);
        struct weir_store *store = open_store(&src);
        struct weir_store_cursor *cur = new_cursor(store);
        s.revision = 2;
        uint64_t size = tree[0]->store_bytes;
        for (uint64_t at = 0; at < size; at += at < 4090 || size - at > 1000 ? 97 : 1)
            expect_read(cur, at, size - at < 100 ? (size_t)(size - at) : 100, WEIR_OK, "small");
        expect_read(cur, 0, size, WEIR_OK, "all of a small one");
        weir_store_cursor_free(cur);
        weir_store_free(store);
        tree_free(tree[0]);
    }
}

/* ---- other bytes ---- */

/* One byte of each place, first, last and within: lost is what cannot be told without it. */
Test(store_stored, refuses_just_what_has_changed, .init = find_places, .fini = free_stores)
{
    struct shifty s = {0};
    struct weir_source src = shifty_source(&s);
    struct weir_store *store = open_store(&src);
    struct weir_store_cursor *cur = new_cursor(store);
    const uint64_t size = tree[0]->store_bytes;
    uint8_t *kept = malloc(size);
    cr_assert_not_null(kept);
    memcpy(kept, tree[0]->store, size);
    s.bytes = kept;
    for (size_t i = 0; i < (size_t)5 * N_PLACES; i++) {
        enum place place = (enum place)(i / 5);
        uint64_t start = place ? end[place - 1] : 0;
        uint64_t n = end[place] - start;
        const uint64_t offset[] = {0, 1, n / 2, n - 2, n - 1};
        uint64_t bad = start + offset[i % 5];
        bool hashed = place == EXTENT_0 || place == EXTENT_1 || place == INDEX;
        uint64_t from = hashed ? start : bad, to = hashed ? end[place] : bad + 1;
        kept[bad] ^= 0x10;
        s.revision++;
        const uint64_t range[][2] = {{0, from},      {to, size},         {from, to},
                                     {bad, bad + 1}, {0, size},          {from, from + 1},
                                     {to - 1, to},   {0, from + 1},      {to - 1, size},
                                     {from, from},   {start, end[place]}};
        for (size_t k = 0; k < N(range); k++) {
            uint64_t at = range[k][0], after = range[k][1];
            bool touches = at < to && from < after && at < after;
            expect_read(cur, at, (size_t)(after - at), touches ? WEIR_ERR_CHANGED : WEIR_OK,
                        names[place]);
        }
        kept[bad] ^= 0x10;
    }
    s.revision++;
    expect_read(cur, 0, size, WEIR_OK, "put back");
    weir_store_cursor_free(cur);
    weir_store_free(store);
    free(kept);
}

Test(store_stored, says_what_has_changed, .init = find_places, .fini = free_stores)
{
    struct shifty s = {0};
    struct weir_source src = shifty_source(&s);
    struct weir_store *store = open_store(&src);
    struct weir_store_cursor *cur = new_cursor(store);
    for (int i = 0; i < N_PLACES; i++) {
        uint64_t at = end[i] - 1;
        struct weir_diag diag = {""};
        char text[64];
        snprintf(text, sizeof(text), "%s: the store was changed", names[i]);
        tree[0]->store[at] ^= 1;
        s.revision++;
        for (int again = 0; again < 2; again++) {
            start_counting(&s);
            cr_expect_eq(read_stored(cur, at, 1, &diag).err, WEIR_ERR_CHANGED);
            cr_expect_eq(strncmp(diag.text, text, strlen(text)), 0, "%s", diag.text);
        }
        cr_expect(s.n_reads == 1 && s.n_asked == 1, "%s: what is bad is hashed again", names[i]);
        tree[0]->store[at] ^= 1;
    }
    weir_store_cursor_free(cur);
    weir_store_free(store);
}

Test(store_stored, reads_what_a_truncated_one_still_has, .init = find_places, .fini = free_stores)
{
    struct shifty s = {0};
    struct weir_source src = shifty_source(&s);
    struct weir_store *store = open_store(&src);
    struct weir_store_cursor *cur = new_cursor(store);
    s.size = end[EXTENT_1] - 1;
    s.revision++;
    expect_read(cur, 0, (size_t)end[PADDING], WEIR_OK, "what is left");
    expect_read(cur, end[PADDING], 1, WEIR_ERR_IO, "of an extent that was cut");
    expect_read(cur, end[INDEX], 1, WEIR_ERR_IO, "the trailer");
    s.size = tree[0]->store_bytes;
    s.revision++;
    expect_read(cur, 0, tree[0]->store_bytes, WEIR_OK, "whole again");
    weir_store_cursor_free(cur);
    weir_store_free(store);
}

/* ---- changes that go on ---- */

static double seconds(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + 1e-9 * (double)now.tv_nsec;
}

Test(store_stored, gives_up_on_a_revision_that_does_not_settle, .init = find_places,
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
        s.restless = cases[i].restless;
        s.revision = cases[i].revision;
        start_counting(&s);
        double start = seconds();
        expect_read(cur, 0, tree[0]->store_bytes, WEIR_ERR_CHANGED, cases[i].what);
        cr_expect_lt(seconds() - start, 10, "%s", cases[i].what);
        cr_expect_lt(s.n_asked, 100, "%s", cases[i].what);
        s.restless = false;
        s.revision = 1000;
        expect_read(cur, 0, tree[0]->store_bytes, WEIR_OK, cases[i].what);
        weir_store_cursor_free(cur);
        weir_store_free(store);
    }
}

static void *settle_later(void *self)
{
    const struct timespec pause = {.tv_nsec = 200000000};
    (void)nanosleep(&pause, NULL);
    atomic_store(&((struct shifty *)self)->revision, 9);
    return NULL;
}

Test(store_stored, waits_for_a_change_to_end, .init = find_places, .fini = free_stores)
{
    struct shifty s = {0};
    struct weir_source src = shifty_source(&s);
    struct weir_store *store = open_store(&src);
    struct weir_store_cursor *cur = new_cursor(store);
    pthread_t thread;
    s.revision = 0;
    cr_assert_eq(pthread_create(&thread, NULL, settle_later, &s), 0);
    expect_read(cur, 0, tree[0]->store_bytes, WEIR_OK, "settled");
    cr_assert_eq(pthread_join(thread, NULL), 0);
    weir_store_cursor_free(cur);
    weir_store_free(store);
}

/* ---- while it is read ---- */

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

/* And before that is known, somebody else has found everything as it should be. */
static void turn_back_and_hash(struct shifty *s)
{
    turn_back(s);
    expect_read(s->other, 0, tree[0]->store_bytes, WEIR_OK, "by another");
}

Test(store_stored, gives_no_other_byte_whenever_it_changes, .init = find_places,
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
    struct shifty s = {0};
    struct weir_source src = shifty_source(&s);
    struct weir_store *store = open_store(&src);
    const struct {
        uint64_t from, to;
    } ranges[] = {{0, end[TRAILER_PLACE]},
                  {end[PADDING] - 1, end[PADDING] + 1},
                  {end[EXTENT_1], end[TRAILER_PLACE]},
                  {end[INDEX] + 16, end[INDEX] + 48}};
    for (size_t i = 0; i < 2 * N(cases) * N(ranges); i++) {
        const uint64_t from = ranges[i / 2 % N(ranges)].from, to = ranges[i / 2 % N(ranges)].to;
        long n_reads = LONG_MAX;
        for (long n = 0; n < n_reads; n++) {
            struct weir_store_cursor *cur = new_cursor(store);
            s.other = new_cursor(store);
            s.hook_read = TREE_NEVER;
            turn_back(&s);
            if (i % 2) /* hashed before, then touched */
                expect_read(cur, 0, tree[0]->store_bytes, WEIR_OK, "at first");
            start_counting(&s);
            s.before = cases[i / 2 / N(ranges)].before;
            s.after = cases[i / 2 / N(ranges)].after;
            s.hook_read = n;
            struct seen seen = read_stored(cur, from, (size_t)(to - from), NULL);
            n_reads = s.n_reads;
            bool lost = s.bytes != tree[0]->store;
            cr_expect(seen.err ? seen.err == WEIR_ERR_CHANGED && lost : seen.right,
                      "case %zu, read %ld: %s", i, n, weir_err_text(seen.err));
            weir_store_cursor_free(s.other);
            weir_store_cursor_free(cur);
        }
    }
    weir_store_free(store);
}

/* ---- what fails ---- */

Test(store_stored, passes_on_what_the_source_says, .init = find_places, .fini = free_stores)
{
    struct shifty s = {0};
    struct weir_source src = shifty_source(&s);
    struct weir_store *store = open_store(&src);
    struct weir_store_cursor *cur = new_cursor(store);
    s.revision = 2;
    for (long i = 0;; i++) { /* after the read, after the hashes, after the read again */
        start_counting(&s);
        s.fail_ask = i;
        s.revision++;
        struct weir_diag diag = {""};
        struct seen seen = read_stored(cur, 0, tree[0]->store_bytes, &diag);
        if (s.n_asked <= i) {
            cr_expect(seen.right);
            cr_expect_eq(i, 5);
            break;
        }
        cr_expect_eq(seen.err, WEIR_ERR_NETWORK, "question %ld", i);
        cr_expect_str_eq(diag.text, "the store cannot be examined for changes");
    }
    weir_store_cursor_free(cur);
    weir_store_free(store);
}

Test(store_stored, allocates_a_hash_context_at_most, .init = find_places, .fini = free_stores)
{
    struct shifty s = {0};
    struct weir_source src = shifty_source(&s);
    struct weir_store *store = open_store(&src);
    struct weir_store_cursor *cur = new_cursor(store);
    uint8_t out[100];
    for (int round = 0; round < 3; round++) {
        if (round == 1)
            expect_read(cur, 5000, 100, WEIR_OK, "the context is made");
        fail_alloc_at(0);
        weir_err err = weir_store_read_stored(cur, 5000, out, sizeof(out), NULL);
        fail_alloc_at(-1);
        cr_expect_eq(err, WEIR_OK, "round %d", round);
        s.revision++;
        if (round == 0) /* the first one at another revision may */
            expect_read(cur, 5000, 100, WEIR_OK, "hashed");
    }
    weir_store_cursor_free(cur);
    weir_store_free(store);
}

/* ---- all at once ---- */

struct reading {
    const struct weir_store *store;
    atomic_int *n_done;
    unsigned n_wrong, n_right;
};

static void *read_on(void *self)
{
    struct reading *r = self;
    struct weir_store_cursor *cur = NULL;
    if (weir_store_cursor_new(r->store, weir_kernels_best(), &cur))
        abort();
    uint64_t random = (uint64_t)(uintptr_t)self;
    for (unsigned i = 0; i < 200; i++) {
        uint64_t at = tree_random(&random) % tree[0]->store_bytes;
        size_t n = tree_random(&random) % 200000;
        if (n > tree[0]->store_bytes - at)
            n = (size_t)(tree[0]->store_bytes - at);
        struct seen seen = read_stored(cur, at, n, NULL);
        r->n_right += seen.err == WEIR_OK && seen.right;
        r->n_wrong += seen.err ? seen.err != WEIR_ERR_CHANGED : !seen.right;
        struct seen tile = read_tile(cur, r->store, 0, i % NOISE_TILES, NULL);
        r->n_wrong += tile.err ? tile.err != WEIR_ERR_CHANGED : !tile.right;
    }
    weir_store_cursor_free(cur);
    atomic_fetch_add(r->n_done, 1);
    return NULL;
}

Test(store_stored, is_shared_by_threads, .init = find_places, .fini = free_stores, .timeout = 120)
{
    struct shifty s = {0};
    struct weir_source src = shifty_source(&s);
    struct weir_store *store = open_store(&src);
    struct reading reading[N_THREADS];
    pthread_t thread[N_THREADS];
    atomic_int n_done = 0;
    for (unsigned i = 0; i < N_THREADS; i++) {
        reading[i] = (struct reading){.store = store, .n_done = &n_done};
        cr_assert_eq(pthread_create(&thread[i], NULL, read_on, &reading[i]), 0);
    }
    const struct timespec pause = {.tv_nsec = 20000000};
    for (uint64_t revision = 2; n_done < N_THREADS; revision++) {
        /* As a file's revision does it; twice in a row it is only touched. */
        atomic_store(&s.revision, 0);
        atomic_store(&s.bytes, tree[revision % 3 == 0]->store);
        atomic_store(&s.revision, revision);
        (void)nanosleep(&pause, NULL);
    }
    unsigned n_right = 0;
    for (unsigned i = 0; i < N_THREADS; i++) {
        cr_assert_eq(pthread_join(thread[i], NULL), 0);
        cr_expect_eq(reading[i].n_wrong, 0, "thread %u", i);
        n_right += reading[i].n_right;
    }
    cr_expect_gt(n_right, 0);
    weir_store_free(store);
}
