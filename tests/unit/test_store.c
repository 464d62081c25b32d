#include "codec/store.h"

#include <criterion/criterion.h>
#include <pthread.h>
#include <stdio.h>

#include "fail_alloc.h"
#include "store_bytes.h"

#define N(array) (sizeof(array) / sizeof((array)[0]))

static const struct patch no_patch = {NOWHERE, 0, 0, 0};

/* What open, the checks of all extents and the reads of all tiles say; the first error of each. */
struct verdict {
    weir_err open, check, read;
    struct weir_diag open_diag, check_diag, read_diag;
};

static void keep_first(weir_err *first, struct weir_diag *kept, weir_err err,
                       const struct weir_diag *diag)
{
    if (*first || !err)
        return;
    *first = err;
    *kept = *diag;
}

static void check_extents(const struct weir_store *store, struct verdict *v)
{
    static uint8_t scratch[WEIR_MAX_EXTENT_BYTES + WEIR_ALIGN];
    for (uint32_t i = 0; i < weir_store_info(store)->n_extents; i++) {
        struct weir_diag diag = {""};
        weir_err err = weir_store_check_extent(store, i, scratch, &diag);
        keep_first(&v->check, &v->check_diag, err, &diag);
    }
}

static void read_tiles(const struct weir_store *store, struct verdict *v)
{
    struct weir_store_cursor *cur = NULL;
    cr_assert_eq(weir_store_cursor_new(store, weir_kernels_best(), &cur), WEIR_OK);
    for (uint32_t i = 0; i < weir_store_info(store)->n_objects; i++) {
        for (uint64_t tile = 0; tile < weir_store_object(store, i)->n_tiles; tile++) {
            uint8_t *out = malloc(weir_store_tile_bytes(store, i, tile));
            struct weir_diag diag = {""};
            weir_err err = weir_store_read_tile(cur, i, tile, out, &diag);
            keep_first(&v->read, &v->read_diag, err, &diag);
            free(out);
        }
    }
    weir_store_cursor_free(cur);
}

/* Everything there is to do with a store, in a block that ends with it. */
static struct verdict examine(const uint8_t *bytes, size_t n)
{
    struct verdict v = {0};
    uint8_t *exact = bytes_exact(bytes, n);
    struct weir_source src;
    weir_source_from_memory(exact, n, &src);
    struct weir_store *store = NULL;
    v.open = weir_store_open(&src, &store, &v.open_diag);
    cr_assert((v.open == WEIR_OK) == (store != NULL));
    if (store) {
        check_extents(store, &v);
        read_tiles(store, &v);
    }
    weir_store_free(store);
    free(exact);
    return v;
}

static struct verdict examine_patched(const struct patch *patch)
{
    struct bytes b = tiny_store(raw_frame, patch);
    struct verdict v = examine(b.at, b.n);
    bytes_free(&b);
    return v;
}

static struct weir_store *open_tiny(struct bytes *b, struct weir_source *src)
{
    *b = tiny_store(raw_frame, &no_patch);
    weir_source_from_memory(b->at, b->n, src);
    struct weir_store *store = NULL;
    struct weir_diag diag = {""};
    cr_assert_eq(weir_store_open(src, &store, &diag), WEIR_OK, "%s", diag.text);
    return store;
}

/* ---- what is in it ---- */

Test(store, tells_what_is_in_it)
{
    struct bytes b;
    struct weir_source src;
    struct weir_store *store = open_tiny(&b, &src);
    const struct weir_store_info *info = weir_store_info(store);
    cr_expect_eq(info->stored_bytes, b.n);
    cr_expect_eq(info->n_entries, 4);
    cr_expect_eq(info->n_objects, TINY_TILES);
    cr_expect_eq(info->n_extents, 2);
    cr_expect_eq(info->n_tiles, TINY_TILES);
    cr_expect_eq(info->plain_bytes, weir_store_entry(store, 1)->size + TINY_CONST_BYTES);
    cr_expect_eq(memcmp(info->digest, b.at + b.n - 48, 32), 0);
    struct weir_extent first = weir_store_extent(store, 0), second = weir_store_extent(store, 1);
    cr_expect_eq(first.at, 4096);
    cr_expect_eq(first.bytes, TINY_EXTENT_BYTES);
    cr_expect_eq(first.n_tiles, 32);
    cr_expect_eq(second.at, 8192);
    cr_expect_eq(second.bytes, 32);
    cr_expect_eq(second.n_tiles, 1);
    weir_store_free(store);
    bytes_free(&b);
}

Test(store, finds_entries_by_path)
{
    struct bytes b;
    struct weir_source src;
    struct weir_store *store = open_tiny(&b, &src);
    for (uint32_t i = 0; i < 4; i++) {
        const struct weir_entry *entry = weir_store_entry(store, i);
        cr_expect_eq(weir_store_find(store, entry->path), entry, "%s", entry->path);
    }
    static const char *const missing[] = {"", "/", "d/", "d/e", "d/ff", "a", "z", "g\xff"};
    for (size_t i = 0; i < N(missing); i++)
        cr_expect_null(weir_store_find(store, missing[i]), "%s", missing[i]);
    weir_store_free(store);
    bytes_free(&b);
}

/* ---- tiles ---- */

static void expect_tile(struct weir_store_cursor *cur, unsigned tile)
{
    uint8_t out[TINY_CONST_BYTES];
    struct weir_diag diag = {""};
    cr_assert_eq(weir_store_read_tile(cur, tile, 0, out, &diag), WEIR_OK, "%s", diag.text);
    for (size_t i = 0; i < tiny_tile_bytes(tile); i++)
        cr_assert_eq(out[i], tiny_byte(tile, i), "byte %zu of tile %u", i, tile);
}

Test(store, reads_tiles_in_any_order)
{
    struct bytes b;
    struct weir_source src;
    struct weir_store *store = open_tiny(&b, &src);
    struct weir_store_cursor *cur = NULL;
    cr_assert_eq(weir_store_cursor_new(store, weir_kernels_named("scalar"), &cur), WEIR_OK);
    for (unsigned i = 0; i < 2 * TINY_TILES; i++) {
        unsigned tile = 20 * i % TINY_TILES;
        struct weir_tile_head head;
        cr_expect_eq(weir_store_tile_bytes(store, tile, 0), tiny_tile_bytes(tile));
        expect_tile(cur, tile);
        cr_assert_eq(weir_store_tile_head(cur, tile, &head), WEIR_OK);
        cr_expect_eq(head.mode, tile == TINY_CONST ? WEIR_TILE_CONST : WEIR_TILE_RAW);
        cr_expect_eq(head.payload_bytes, tile == TINY_CONST ? 1 : tiny_tile_bytes(tile));
    }
    weir_store_cursor_free(cur);
    weir_store_free(store);
    bytes_free(&b);
}

static void *read_all(void *store)
{
    struct weir_store_cursor *cur = NULL;
    cr_assert_eq(weir_store_cursor_new(store, weir_kernels_best(), &cur), WEIR_OK);
    for (unsigned i = 0; i < 20 * TINY_TILES; i++)
        expect_tile(cur, 20 * i % TINY_TILES);
    weir_store_cursor_free(cur);
    return NULL;
}

Test(store, is_shared_by_threads)
{
    struct bytes b;
    struct weir_source src;
    struct weir_store *store = open_tiny(&b, &src);
    pthread_t thread[4];
    for (size_t i = 0; i < N(thread); i++)
        cr_assert_eq(pthread_create(&thread[i], NULL, read_all, store), 0);
    for (size_t i = 0; i < N(thread); i++)
        cr_assert_eq(pthread_join(thread[i], NULL), 0);
    weir_store_free(store);
    bytes_free(&b);
}

/* ---- damage ---- */

Test(store, is_sound_unless_damaged)
{
    struct verdict v = examine_patched(&no_patch);
    cr_expect_eq(v.open, WEIR_OK, "%s", v.open_diag.text);
    cr_expect_eq(v.check, WEIR_OK, "%s", v.check_diag.text);
    cr_expect_eq(v.read, WEIR_OK, "%s", v.read_diag.text);
}

static bool is_fine_or_rejected(weir_err err)
{
    return err == WEIR_OK || err == WEIR_ERR_CORRUPT || err == WEIR_ERR_UNSUPPORTED;
}

static void expect_flips_noticed(struct bytes *b, const char *name)
{
    static const uint8_t flips[] = {0x01, 0x80, 0xff};
    for (size_t i = 0; i < N(flips) * b->n; i++) {
        uint8_t flip = flips[i % N(flips)];
        size_t at = i / N(flips);
        b->at[at] ^= flip;
        struct verdict v = examine(b->at, b->n);
        b->at[at] ^= flip;
        cr_expect(v.open || v.check || v.read, "%s: byte %zu ^ %02x", name, at, flip);
        cr_expect(is_fine_or_rejected(v.open) && is_fine_or_rejected(v.check) &&
                      is_fine_or_rejected(v.read),
                  "%s: byte %zu ^ %02x", name, at, flip);
    }
}

static void expect_other_sizes_corrupt(struct bytes *b, const char *name)
{
    size_t whole = b->n;
    bytes_number(b, 0, 1);
    for (size_t n = 0; n <= b->n; n++) {
        struct verdict v = examine(b->at, n);
        cr_expect_eq(v.open, n == whole ? WEIR_OK : WEIR_ERR_CORRUPT, "%s: %zu bytes", name, n);
        cr_expect_eq(v.open_diag.text[0] != 0, n != whole, "%s: %zu bytes", name, n);
    }
    b->n = whole;
}

/* Made by `weir pack`: split, constant and zstd tiles, a compressed index. */
static struct bytes packed_store(void)
{
    struct bytes b = {0};
    FILE *file = fopen(WEIR_TESTS "/fuzz/corpus/store/packed", "rb");
    cr_assert_not_null(file);
    uint8_t block[4096];
    for (size_t n; (n = fread(block, 1, sizeof(block), file)) > 0;)
        bytes_put(&b, block, n);
    cr_assert_eq(fclose(file), 0);
    struct verdict v = examine(b.at, b.n);
    cr_assert_not(v.open || v.check || v.read);
    return b;
}

Test(store, no_flip_goes_unnoticed, .timeout = 120)
{
    struct bytes b = tiny_store(raw_frame, &no_patch);
    expect_flips_noticed(&b, "tiny");
    bytes_free(&b);
}

Test(store, no_flip_of_a_packed_one_goes_unnoticed, .timeout = 120)
{
    struct bytes b = packed_store();
    expect_flips_noticed(&b, "packed");
    bytes_free(&b);
}

Test(store, has_one_size)
{
    struct bytes tiny = tiny_store(raw_frame, &no_patch), packed = packed_store();
    expect_other_sizes_corrupt(&tiny, "tiny");
    expect_other_sizes_corrupt(&packed, "packed");
    bytes_free(&tiny);
    bytes_free(&packed);
}

Test(store, refuses_header_and_trailer)
{
    static const struct {
        const char *why;
        struct patch patch;
        weir_err want;
        const char *text;
    } cases[] = {
        {"magic", {IN_STORE, 0, 1, 'w'}, WEIR_ERR_CORRUPT, "header: not a store"},
        {"version 2", {IN_STORE, 8, 2, 2}, WEIR_ERR_UNSUPPORTED, "header: version 2"},
        {"version 0", {IN_STORE, 8, 2, 0}, WEIR_ERR_CORRUPT, "header: version 0"},
        {"magic before version",
         {IN_STORE, 2, 8, UINT64_MAX},
         WEIR_ERR_CORRUPT,
         "header: not a store"},
        {"feature", {IN_STORE, 12, 4, 1u << 31}, WEIR_ERR_UNSUPPORTED, "header: features 0x80"},
        {"zeros behind the version", {IN_STORE, 10, 1, 1}, WEIR_ERR_CORRUPT, "header: a byte"},
        {"zeros of the header", {IN_STORE, 63, 1, 1}, WEIR_ERR_CORRUPT, "header: a byte"},
        {"zeros behind the header", {IN_STORE, 4095, 1, 1}, WEIR_ERR_CORRUPT, "header: a byte"},
        {"index offset", {IN_STORE, -64, 1, 1}, WEIR_ERR_CORRUPT, "trailer: the index does not"},
        {"offset wraps", {IN_STORE, -64, 8, UINT64_MAX}, WEIR_ERR_CORRUPT, "trailer: the index"},
        {"offset in the header", {IN_STORE, -64, 8, 64}, WEIR_ERR_CORRUPT, "trailer: the index"},
        {"stored bytes", {IN_STORE, -56, 1, 7}, WEIR_ERR_CORRUPT, "trailer: the index does not"},
        {"no stored bytes", {IN_STORE, -56, 4, 0}, WEIR_ERR_CORRUPT, "trailer: bytes of the"},
        {"no plain bytes", {IN_STORE, -52, 4, 0}, WEIR_ERR_CORRUPT, "trailer: bytes of the"},
        {"plain bytes", {IN_STORE, -52, 4, 67108865}, WEIR_ERR_CORRUPT, "trailer: bytes of the"},
        {"one plain byte", {IN_STORE, -52, 4, 1}, WEIR_ERR_CORRUPT, "index: does not decompress"},
        {"most plain bytes", {IN_STORE, -52, 4, 67108864}, WEIR_ERR_CORRUPT, "index: does not de"},
        {"digest", {IN_STORE, -48, 1, 1}, WEIR_ERR_CORRUPT, "index: its SHA-256"},
        {"trailer version 2", {IN_STORE, -16, 2, 2}, WEIR_ERR_UNSUPPORTED, "trailer: version 2"},
        {"trailer version 0", {IN_STORE, -16, 2, 0}, WEIR_ERR_CORRUPT, "trailer: version 0"},
        {"a feature without use", {IN_STORE, -14, 1, 1}, WEIR_ERR_CORRUPT, "index: the trailer's"},
        {"a feature of tomorrow", {IN_STORE, -13, 1, 128}, WEIR_ERR_UNSUPPORTED, "trailer: feat"},
        {"room for a signature", {IN_STORE, -9, 1, 1}, WEIR_ERR_CORRUPT, "trailer: a byte"},
        {"trailer magic", {IN_STORE, -1, 1, 0}, WEIR_ERR_CORRUPT, "trailer: wrong magic"},
    };
    for (size_t i = 0; i < N(cases); i++) {
        struct verdict v = examine_patched(&cases[i].patch);
        cr_expect_eq(v.open, cases[i].want, "%s", cases[i].why);
        cr_expect_eq(strstr(v.open_diag.text, cases[i].text), v.open_diag.text, "%s: \"%s\"",
                     cases[i].why, v.open_diag.text);
    }
}

Test(store, refuses_extents_and_heads)
{
    enum { HEAD_5 = 5 * 16, PADDING_5 = 32 * 16 + 5 * 32 + 17 + 5 };
    static const weir_err good = WEIR_OK, bad = WEIR_ERR_CORRUPT;
    const struct {
        const char *why;
        struct patch patch;
        weir_err open, check, read;
        const char *text;
    } cases[] = {
        {"extents that end late",
         {IN_INDEX, TINY_EXTENTS_AT + 36, 4, 48},
         bad,
         0,
         0,
         "its extents"},
        {"extents that end early",
         {IN_INDEX, TINY_EXTENTS_AT + 36, 4, 16},
         bad,
         0,
         0,
         "its extent"},
        {"an extent in the next", {IN_INDEX, TINY_EXTENTS_AT, 4, 4097}, bad, 0, 0, "its extents"},
        {"a longer extent", {IN_INDEX, TINY_EXTENTS_AT, 4, 1552}, good, bad, bad, "extent 0: "},
        {"an extent of 16 bytes",
         {IN_INDEX, TINY_EXTENTS_AT, 4, 16},
         good,
         bad,
         bad,
         "shorter than"},
        {"SHA-256", {IN_INDEX, TINY_EXTENTS_AT + 4, 2, 0}, good, bad, good, "extent 0: its SHA"},
        {"xxh3", {IN_EXTENT, HEAD_5, 1, 0}, good, good, bad, "extent 0, tile 5 (object 5, mode 0)"},
        {"mode 5", {IN_EXTENT, HEAD_5 + 12, 1, 5}, good, bad, bad, "tile 5: unknown"},
        {"zeros of a head", {IN_EXTENT, HEAD_5 + 15, 1, 1}, good, bad, bad, "extent 0, tile 5: a"},
        {"no payload", {IN_EXTENT, HEAD_5 + 8, 4, 0}, good, bad, bad, "extent 0, tile 5: payload"},
        {"too much payload", {IN_EXTENT, HEAD_5 + 8, 4, 23}, good, bad, bad, "extent 0, tile 5: p"},
        {"payload that wraps", {IN_EXTENT, HEAD_5 + 8, 4, UINT32_MAX}, good, bad, bad, "extent 0"},
        {"an extent not filled", {IN_EXTENT, HEAD_5 + 8, 4, 16}, good, bad, bad, "extent 0: heads"},
        {"payload cut short", {IN_EXTENT, HEAD_5 + 8, 4, 21}, good, bad, bad, "tile 5: padding"},
        {"a raw tile as zstd", {IN_EXTENT, HEAD_5 + 12, 1, 2}, good, good, bad, "tile 5 (object"},
        {"opaque, but split", {IN_EXTENT, HEAD_5 + 12, 1, 3}, good, good, bad, "tile 5 (object"},
        {"opaque, but made", {IN_EXTENT, HEAD_5 + 12, 1, 4}, good, good, bad, "tile 5 (object"},
        {"padding inside", {IN_EXTENT, PADDING_5, 1, 1}, good, bad, good, "extent 0, tile 5: padd"},
        {"padding behind", {IN_STORE, 8191, 1, 1}, good, bad, good, "extent 0: the padding"},
    };
    for (size_t i = 0; i < N(cases); i++) {
        struct verdict v = examine_patched(&cases[i].patch);
        cr_expect_eq(v.open, cases[i].open, "%s: open", cases[i].why);
        cr_expect_eq(v.check, cases[i].check, "%s: check", cases[i].why);
        cr_expect_eq(v.read, cases[i].read, "%s: read", cases[i].why);
        const char *text = v.open    ? v.open_diag.text
                           : v.check ? v.check_diag.text
                                     : v.read_diag.text;
        cr_expect_not_null(strstr(text, cases[i].text), "%s: \"%s\"", cases[i].why, text);
    }
}

Test(store, reads_on_after_a_damaged_extent)
{
    const struct patch patch = {IN_STORE, 8192 + 12, 1, 9}; /* the mode of extent 1's tile */
    struct bytes b = tiny_store(raw_frame, &patch);
    struct weir_source src;
    weir_source_from_memory(b.at, b.n, &src);
    struct weir_store *store = NULL;
    cr_assert_eq(weir_store_open(&src, &store, NULL), WEIR_OK);
    struct weir_store_cursor *cur = NULL;
    cr_assert_eq(weir_store_cursor_new(store, weir_kernels_best(), &cur), WEIR_OK);
    uint8_t out[TINY_CONST_BYTES];
    for (unsigned i = 0; i < 2; i++) {
        struct weir_tile_head head;
        expect_tile(cur, 0);
        cr_expect_eq(weir_store_read_tile(cur, TINY_CONST, 0, out, NULL), WEIR_ERR_CORRUPT);
        expect_tile(cur, 0);
        cr_expect_eq(weir_store_tile_head(cur, TINY_CONST, &head), WEIR_ERR_CORRUPT);
    }
    weir_store_cursor_free(cur);
    weir_store_free(store);
    bytes_free(&b);
}

/* ---- trouble that is not the store's ---- */

struct faulty {
    struct weir_source inner;
    int before; /* reads to let through */
    int n_reads;
};

static weir_err faulty_read(void *self, uint64_t at, void *dst, size_t n)
{
    struct faulty *f = self;
    f->n_reads++;
    if (f->before-- == 0)
        return WEIR_ERR_NETWORK;
    return weir_source_read(&f->inner, at, dst, n);
}

Test(store, passes_on_what_its_source_says)
{
    struct bytes b = tiny_store(raw_frame, &no_patch);
    struct faulty f = {0};
    weir_source_from_memory(b.at, b.n, &f.inner);
    struct weir_source src = {.self = &f, .size = b.n, .read = faulty_read};
    struct weir_store *store = NULL;
    for (int i = 0; i < 3; i++) {
        struct weir_diag diag = {""};
        f.before = i;
        cr_expect_eq(weir_store_open(&src, &store, &diag), WEIR_ERR_NETWORK, "read %d", i);
        cr_expect_not_null(strstr(diag.text, "cannot be read"), "%s", diag.text);
    }
    f.before = -1;
    cr_assert_eq(weir_store_open(&src, &store, NULL), WEIR_OK);
    struct weir_store_cursor *cur = NULL;
    cr_assert_eq(weir_store_cursor_new(store, weir_kernels_best(), &cur), WEIR_OK);
    uint8_t out[TINY_CONST_BYTES];
    for (int i = 0; i < 2; i++) { /* the heads, then the payload */
        f.before = i;
        cr_expect_eq(weir_store_read_tile(cur, 3, 0, out, NULL), WEIR_ERR_NETWORK, "read %d", i);
    }
    f.before = -1;
    f.n_reads = 0;
    expect_tile(cur, 3);
    expect_tile(cur, 4);
    cr_expect_eq(f.n_reads, 2, "one payload each: the heads were there");
    weir_store_cursor_free(cur);
    weir_store_free(store);
    bytes_free(&b);
}

Test(store, survives_each_allocation_failing)
{
    struct bytes b = tiny_store(raw_frame, &no_patch);
    struct weir_source src;
    weir_source_from_memory(b.at, b.n, &src);
    weir_err err = WEIR_ERR_NOMEM;
    int n = 0;
    for (; err == WEIR_ERR_NOMEM; n++) {
        struct weir_store *store = NULL;
        struct weir_store_cursor *cur = NULL;
        fail_alloc_at(n);
        err = weir_store_open(&src, &store, NULL);
        cr_assert((err == WEIR_OK) == (store != NULL));
        if (!err)
            err = weir_store_cursor_new(store, weir_kernels_best(), &cur);
        fail_alloc_at(-1);
        cr_assert((err == WEIR_OK) == (cur != NULL));
        weir_store_cursor_free(cur);
        weir_store_free(store);
    }
    cr_assert_eq(err, WEIR_OK);
    cr_assert_gt(n, 8, "only %d allocations were seen", n - 1);
    bytes_free(&b);
}
