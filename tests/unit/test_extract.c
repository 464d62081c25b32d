/* weir_extract() and weir_check_extents(): what was packed comes out, and nothing else does. */
#include "codec/extract.h"

#include <criterion/criterion.h>
#include <pthread.h>
#include <zstd.h>

#include "fail_alloc.h"
#include "tree_kit.h"

#include <openssl/sha.h>

enum {
    SMALL = 3000, /* values of the largest tensor, when a test extracts hundreds of times */
    LARGE = 36 * (1 << 16), /* more than an extent */
    NEVER = -1,
    TRAILER_BYTES = 64, /* docs/format.md, 2.2 */
};

/* ---- a sink that remembers, checks the order of its calls, and fails where it is told to ---- */

struct sink_entry {
    uint8_t *bytes;
    uint64_t size, n_written;
    bool begun, ended;
};

struct memory_sink {
    pthread_mutex_t lock;
    uint32_t n_entries, n_begun, n_ended;
    struct sink_entry entry[TREE_ENTRIES];
    long n_calls, fail_call;
    long n_ticks, fail_tick;
    uint64_t ticked, total;
};

static weir_err count_call(struct memory_sink *s)
{
    return s->n_calls++ == s->fail_call ? WEIR_ERR_NETWORK : WEIR_OK;
}

static weir_err sink_begin(void *self, uint32_t entry)
{
    struct memory_sink *s = self;
    pthread_mutex_lock(&s->lock);
    cr_expect_eq(entry, s->n_begun, "begun in order");
    s->n_begun++;
    s->entry[entry].begun = true;
    weir_err err = count_call(s);
    pthread_mutex_unlock(&s->lock);
    return err;
}

static weir_err sink_write(void *self, uint32_t entry, uint64_t at, const void *bytes, size_t n)
{
    struct memory_sink *s = self;
    struct sink_entry *e = &s->entry[entry];
    pthread_mutex_lock(&s->lock);
    cr_expect(e->begun && !e->ended, "written between begin and end");
    cr_assert(n > 0 && at <= e->size && n <= e->size - at);
    memcpy(e->bytes + at, bytes, n);
    e->n_written += n;
    weir_err err = count_call(s);
    pthread_mutex_unlock(&s->lock);
    return err;
}

static weir_err sink_end(void *self, uint32_t entry)
{
    struct memory_sink *s = self;
    struct sink_entry *e = &s->entry[entry];
    pthread_mutex_lock(&s->lock);
    cr_expect_eq(entry, s->n_ended, "ended in order");
    s->n_ended++;
    cr_expect(e->begun && e->n_written == e->size, "ended with everything written");
    e->ended = true;
    weir_err err = count_call(s);
    pthread_mutex_unlock(&s->lock);
    return err;
}

static bool sink_tick(void *self, uint64_t done_bytes, uint64_t total_bytes)
{
    struct memory_sink *s = self;
    cr_expect_leq(done_bytes, total_bytes);
    cr_expect_geq(done_bytes, s->ticked);
    s->ticked = done_bytes;
    s->total = total_bytes;
    return s->n_ticks++ != s->fail_tick;
}

static struct memory_sink *sink_new(const struct weir_store *store)
{
    struct memory_sink *s = calloc(1, sizeof(*s));
    cr_assert_not_null(s);
    pthread_mutex_init(&s->lock, NULL);
    s->fail_call = s->fail_tick = NEVER;
    s->n_entries = weir_store_info(store)->n_entries;
    for (uint32_t i = 0; i < s->n_entries; i++) {
        s->entry[i].size = weir_store_entry(store, i)->size;
        s->entry[i].bytes = malloc(s->entry[i].size + 1);
        cr_assert_not_null(s->entry[i].bytes);
    }
    return s;
}

static void sink_reset(struct memory_sink *s)
{
    s->n_begun = s->n_ended = 0;
    s->n_calls = s->n_ticks = 0;
    s->ticked = 0;
    for (uint32_t i = 0; i < s->n_entries; i++) {
        s->entry[i].begun = s->entry[i].ended = false;
        s->entry[i].n_written = 0;
    }
}

static void sink_free(struct memory_sink *s)
{
    for (uint32_t i = 0; i < s->n_entries; i++)
        free(s->entry[i].bytes);
    pthread_mutex_destroy(&s->lock);
    free(s);
}

static weir_err run_sink(const struct weir_store *store, struct memory_sink *s, unsigned n_threads,
                         struct weir_diag *diag)
{
    struct weir_sink sink = {s, sink_begin, sink_write, sink_end};
    struct weir_watch watch = {s, sink_tick};
    struct weir_extract_options options = {.n_threads = n_threads, .watch = &watch};
    sink_reset(s);
    return weir_extract(store, &sink, &options, diag);
}

static weir_err check_only(const struct weir_store *store, unsigned n_threads,
                           struct weir_diag *diag)
{
    struct weir_extract_options options = {.n_threads = n_threads};
    return weir_extract(store, NULL, &options, diag);
}

static weir_err check_extents(const struct weir_store *store, unsigned n_threads,
                              struct weir_diag *diag)
{
    struct weir_extract_options options = {.n_threads = n_threads};
    return weir_check_extents(store, &options, diag);
}

/* ---- what comes out ---- */

static struct tree *pack_tree(size_t scale)
{
    struct tree *t = tree_new((4 << 20) + 8 * scale);
    tree_fill(t, scale);
    if (scale == LARGE)
        tree_fill_more(t);
    cr_assert_eq(tree_pack(t), WEIR_OK, "%s", t->diag.text);
    return t;
}

static void expect_tree(const struct tree *t, const struct weir_store *store,
                        const struct memory_sink *s)
{
    cr_assert_eq(weir_store_info(store)->n_entries, t->n_entries);
    cr_expect_eq(s->n_ended, t->n_entries);
    for (uint32_t i = 0; i < s->n_entries; i++) {
        const struct weir_entry *e = weir_store_entry(store, i);
        size_t from = tree_find(t, e->path);
        cr_expect_eq(e->kind, t->entry[from].kind, "%s", e->path);
        cr_expect_eq(e->mode, t->entry[from].mode, "%s", e->path);
        cr_expect_eq(e->size, t->file[from].n_bytes, "%s", e->path);
        if (e->kind == WEIR_ENTRY_LINK)
            cr_expect_str_eq(e->target, t->entry[from].target);
        if (e->size == t->file[from].n_bytes && e->size)
            cr_expect_eq(memcmp(s->entry[i].bytes, t->file[from].bytes, e->size), 0, "%s", e->path);
    }
}

Test(extract, gives_back_what_was_packed)
{
    static const unsigned n_threads[] = {1, 2, 5, 16, 0};
    static const size_t scales[] = {SMALL, LARGE};
    for (size_t i = 0; i < sizeof(scales) / sizeof(scales[0]); i++) {
        struct tree *t = pack_tree(scales[i]);
        struct weir_source src;
        struct weir_store *store = tree_open_store(t, &src);
        struct memory_sink *s = sink_new(store);
        for (size_t j = 0; j < sizeof(n_threads) / sizeof(n_threads[0]); j++) {
            for (uint32_t k = 0; k < s->n_entries; k++)
                memset(s->entry[k].bytes, 0xa5, s->entry[k].size);
            weir_err err = run_sink(store, s, n_threads[j], &t->diag);
            cr_assert_eq(err, WEIR_OK, "%u threads: %s", n_threads[j], t->diag.text);
            expect_tree(t, store, s);
            cr_expect_eq(s->ticked, weir_store_info(store)->plain_bytes);
            cr_expect_eq(s->total, weir_store_info(store)->plain_bytes);
            cr_expect_eq(check_only(store, n_threads[j], NULL), WEIR_OK);
            cr_expect_eq(check_extents(store, n_threads[j], NULL), WEIR_OK);
        }
        sink_free(s);
        weir_store_free(store);
        tree_free(t);
    }
}

Test(extract, needs_neither_begin_nor_end)
{
    struct tree *t = pack_tree(SMALL);
    struct weir_source src;
    struct weir_store *store = tree_open_store(t, &src);
    struct memory_sink *s = sink_new(store);
    for (uint32_t i = 0; i < s->n_entries; i++)
        s->entry[i].begun = true;
    struct weir_sink sink = {.self = s, .write = sink_write};
    struct weir_extract_options options = {.n_threads = 2};
    cr_expect_eq(weir_extract(store, &sink, &options, NULL), WEIR_OK);
    for (uint32_t i = 0; i < s->n_entries; i++)
        cr_expect_eq(s->entry[i].n_written, s->entry[i].size);
    sink_free(s);
    weir_store_free(store);
    tree_free(t);
}

Test(extract, takes_stores_without_extents)
{
    struct tree *t = tree_new(64 << 10);
    for (int n = 0; n < 3; n++) {
        if (n == 1)
            tree_add(t, "dir", WEIR_ENTRY_DIR);
        if (n == 2)
            tree_add_file(t, "empty", 0);
        cr_assert_eq(tree_pack(t), WEIR_OK);
        struct weir_source src;
        struct weir_store *store = tree_open_store(t, &src);
        struct memory_sink *s = sink_new(store);
        cr_expect_eq(run_sink(store, s, 2, NULL), WEIR_OK);
        cr_expect_eq(s->n_ended, n);
        cr_expect_eq(check_extents(store, 2, NULL), WEIR_OK);
        sink_free(s);
        weir_store_free(store);
    }
    tree_free(t);
}

/* ---- everything that can fail ---- */

static const unsigned mode_threads[] = {1, 3};

/* With every n: the n-th call fails, and extraction returns `want`. */
static void expect_each_to_fail(size_t fail_offset, weir_err want, long at_least)
{
    struct tree *t = pack_tree(SMALL);
    struct weir_source src;
    struct weir_store *store = tree_open_store(t, &src);
    struct memory_sink *s = sink_new(store);
    long *fail_at = (long *)(void *)((char *)s + fail_offset);
    for (size_t i = 0; i < sizeof(mode_threads) / sizeof(mode_threads[0]); i++) {
        for (*fail_at = 0;; ++*fail_at) {
            weir_err err = run_sink(store, s, mode_threads[i], NULL);
            if (!err)
                break;
            cr_assert_eq(err, want, "call %ld: %s", *fail_at, weir_err_text(err));
        }
        cr_expect_geq(*fail_at, at_least, "only %ld calls", *fail_at);
    }
    sink_free(s);
    weir_store_free(store);
    tree_free(t);
}

Test(extract, returns_what_the_sink_returns)
{
    expect_each_to_fail(offsetof(struct memory_sink, fail_call), WEIR_ERR_NETWORK, 18);
}

Test(extract, stops_at_each_tick)
{
    expect_each_to_fail(offsetof(struct memory_sink, fail_tick), WEIR_ERR_CANCELLED, 7);
}

Test(extract, survives_each_allocation_failing)
{
    struct tree *t = pack_tree(SMALL);
    struct weir_source src;
    struct weir_store *store = tree_open_store(t, &src);
    weir_err (*const run[])(const struct weir_store *, unsigned,
                            struct weir_diag *) = {check_only, check_extents};
    for (size_t i = 0; i < 4; i++) {
        weir_err err = WEIR_ERR_NOMEM;
        int n = 0;
        for (; err == WEIR_ERR_NOMEM; n++) {
            fail_alloc_at(n);
            err = run[i % 2](store, mode_threads[i / 2], NULL);
            fail_alloc_at(-1);
        }
        cr_assert_eq(err, WEIR_OK);
        cr_expect_gt(n, 1, "nothing was made to fail");
    }
    weir_store_free(store);
    tree_free(t);
}

/* A source over memory whose n-th read fails. */
struct weak_source {
    const uint8_t *bytes;
    atomic_long n_reads;
    long fail_read;
};

static weir_err weak_read(void *self, uint64_t at, void *dst, size_t n)
{
    struct weak_source *w = self;
    if (atomic_fetch_add(&w->n_reads, 1) == w->fail_read)
        return WEIR_ERR_IO;
    memcpy(dst, w->bytes + at, n);
    return WEIR_OK;
}

Test(extract, notices_each_read_that_fails)
{
    struct tree *t = pack_tree(SMALL);
    struct weak_source weak = {.bytes = t->store, .fail_read = NEVER};
    struct weir_source src = {.self = &weak, .size = t->store_bytes, .read = weak_read};
    struct weir_store *store = NULL;
    cr_assert_eq(weir_store_open(&src, &store, NULL), WEIR_OK);
    for (size_t i = 0; i < 4; i++) {
        weir_err err = WEIR_ERR_IO;
        for (weak.fail_read = 0; err; weak.fail_read++) {
            struct weir_diag diag = {{0}};
            weak.n_reads = 0;
            err = i % 2 ? check_extents(store, mode_threads[i / 2], &diag)
                        : check_only(store, mode_threads[i / 2], &diag);
            cr_assert(err == WEIR_OK || (err == WEIR_ERR_IO && diag.text[0]));
        }
        cr_expect_gt(weak.fail_read, i % 2 ? 1 : 8);
    }
    weir_store_free(store);
    tree_free(t);
}

/* ---- damage ---- */

Test(extract, names_the_file_with_a_damaged_tile)
{
    struct tree *t = tree_new(1 << 20);
    struct tree_file *first = tree_add_file(t, "first", 5000);
    struct tree_file *second = tree_add_file(t, "second", 5000);
    tree_fill_random(first->bytes, first->n_bytes, 1);
    tree_fill_random(second->bytes, second->n_bytes, 2);
    cr_assert_eq(tree_pack(t), WEIR_OK);
    struct weir_source src;
    struct weir_store *store = tree_open_store(t, &src);
    struct weir_extent e = weir_store_extent(store, 0);
    for (uint64_t at = e.at; at < e.at + e.bytes; at += 331) {
        struct weir_diag diag = {{0}};
        t->store[at] ^= 0x10;
        weir_err err = check_only(store, 2, &diag);
        bool in_first = at >= e.at + 32 && at < e.at + 32 + 5000;
        cr_expect(err == WEIR_ERR_CORRUPT, "byte %llu", (unsigned long long)(at - e.at));
        cr_expect(strstr(diag.text, in_first || at < e.at + 32 ? "first" : "second"),
                  "byte %llu: %s", (unsigned long long)(at - e.at), diag.text);
        cr_expect_eq(check_extents(store, 2, &diag), WEIR_ERR_CORRUPT);
        t->store[at] ^= 0x10;
    }
    cr_expect_eq(check_only(store, 2, NULL), WEIR_OK);
    weir_store_free(store);
    tree_free(t);
}

Test(extract, finds_damage_between_extents)
{
    struct tree *t = pack_tree(LARGE);
    struct weir_source src;
    struct weir_store *store = tree_open_store(t, &src);
    for (uint32_t i = 0; i + 1 < weir_store_info(store)->n_extents; i++) {
        struct weir_extent e = weir_store_extent(store, i);
        uint64_t next = weir_store_extent(store, i + 1).at;
        for (uint64_t at = e.at + e.bytes; at < next; at += 511) {
            t->store[at] = 1;
            cr_expect_eq(check_extents(store, 2, NULL), WEIR_ERR_CORRUPT, "byte %llu",
                         (unsigned long long)at);
            t->store[at] = 0;
        }
    }
    cr_expect_eq(check_extents(store, 2, NULL), WEIR_OK);
    weir_store_free(store);
    tree_free(t);
}

static uint32_t u32_at(const uint8_t *p)
{
    return (uint32_t)(p[0] | p[1] << 8 | p[2] << 16) | (uint32_t)p[3] << 24;
}

/* Changes one byte of a file's SHA-256 in the index, and makes the store sound again. */
static void damage_sha256(struct tree *t, const uint8_t *sha256)
{
    uint8_t *trailer = t->store + t->store_bytes - TRAILER_BYTES;
    size_t at = u32_at(trailer); /* below 4 GiB, so the low half is all */
    size_t n_plain = u32_at(trailer + 12);
    uint8_t *plain = malloc(n_plain);
    cr_assert_not_null(plain);
    cr_assert_eq(ZSTD_decompress(plain, n_plain, t->store + at, u32_at(trailer + 8)), n_plain);
    uint8_t *found = memmem(plain, n_plain, sha256, WEIR_DIGEST_BYTES);
    cr_assert_not_null(found);
    found[0] ^= 1;
    uint8_t kept[TRAILER_BYTES];
    memcpy(kept, trailer, TRAILER_BYTES);
    size_t n = ZSTD_compress(t->store + at, t->store_room - at, plain, n_plain, 3);
    cr_assert(!ZSTD_isError(n));
    free(plain);
    for (int i = 0; i < 4; i++)
        kept[8 + i] = (uint8_t)(n >> (8 * i));
    SHA256(t->store + at, n, kept + 16);
    memcpy(t->store + at + n, kept, TRAILER_BYTES);
    t->store_bytes = at + n + TRAILER_BYTES;
}

Test(extract, compares_every_files_sha256)
{
    static const char *const paths[] = {"empty", "m/config.json", "m/model.safetensors"};
    for (size_t i = 0; i < sizeof(paths) / sizeof(paths[0]); i++) {
        struct tree *t = pack_tree(SMALL);
        struct weir_source src;
        struct weir_store *store = tree_open_store(t, &src);
        damage_sha256(t, weir_store_find(store, paths[i])->sha256);
        weir_store_free(store);
        store = tree_open_store(t, &src);
        struct memory_sink *s = sink_new(store);
        struct weir_diag diag = {{0}};
        cr_expect_eq(run_sink(store, s, 2, &diag), WEIR_ERR_CORRUPT, "%s", paths[i]);
        cr_expect(strstr(diag.text, paths[i]), "%s: %s", paths[i], diag.text);
        uint32_t number = 0;
        while (strcmp(weir_store_entry(store, number)->path, paths[i]) != 0)
            number++;
        cr_expect(!s->entry[number].ended, "%s was called good", paths[i]);
        sink_free(s);
        weir_store_free(store);
        tree_free(t);
    }
}
