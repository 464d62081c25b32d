#include "codec/store.h"

#include <criterion/criterion.h>

#include "store_bytes.h"

#define N(array) (sizeof(array) / sizeof((array)[0]))

enum { FIRST_AT = 4096, HEAD_5 = 5 * 16 };

/* A tiny store, and the bytes of its first extent in a block that ends with them. */
struct sample {
    struct bytes all;
    struct weir_source src;
    struct weir_store *store;
    uint8_t *extent;
};

static struct sample open_sample(const struct patch *patch)
{
    struct sample s = {.all = tiny_store(raw_frame, patch)};
    weir_source_from_memory(s.all.at, s.all.n, &s.src);
    cr_assert_eq(weir_store_open(&s.src, &s.store, NULL), WEIR_OK);
    s.extent = bytes_exact(s.all.at + FIRST_AT, weir_store_extent(s.store, 0).bytes);
    return s;
}

static void close_sample(struct sample *s)
{
    free(s->extent);
    weir_store_free(s->store);
    bytes_free(&s->all);
}

Test(extent_tiles, says_what_the_cursor_says)
{
    const struct patch none = {NOWHERE, 0, 0, 0};
    struct sample s = open_sample(&none);
    struct weir_store_cursor *cur = NULL;
    cr_assert_eq(weir_store_cursor_new(s.store, weir_kernels_best(), &cur), WEIR_OK);
    unsigned seen = 0;
    for (uint32_t extent = 0; extent < 2; extent++) {
        const uint8_t *bytes = s.all.at + weir_store_extent(s.store, extent).at;
        struct weir_extent_tile tile[WEIR_EXTENT_TILES];
        size_t n = 0;
        cr_assert_eq(weir_store_extent_tiles(s.store, extent, bytes, tile, &n, NULL), WEIR_OK);
        cr_assert_eq(n, extent ? 1 : 32);
        for (size_t i = 0; i < n; i++, seen++) {
            struct weir_tile_head head;
            cr_assert_eq(weir_store_tile_head(cur, seen, &head), WEIR_OK);
            cr_expect_eq(tile[i].object, seen); /* one tile each */
            cr_expect_eq(tile[i].tile, 0);
            cr_expect_eq(tile[i].head.xxh3, head.xxh3);
            cr_expect_eq(tile[i].head.mode, head.mode);
            cr_expect_eq(tile[i].head.payload_bytes, head.payload_bytes);
            cr_expect_eq(tile[i].payload_at % 16, 0);
            cr_expect_eq(bytes[tile[i].payload_at], tiny_byte(seen, 0), "tile %u", seen);
        }
    }
    weir_store_cursor_free(cur);
    close_sample(&s);
}

Test(extent_tiles, refuses_what_breaks_the_format)
{
    static const struct {
        const char *why;
        struct patch patch;
        const char *text;
    } cases[] = {
        {"an extent of 16 bytes", {IN_INDEX, TINY_EXTENTS_AT, 4, 16}, "extent 0: shorter"},
        {"mode 5", {IN_EXTENT, HEAD_5 + 12, 1, 5}, "extent 0, tile 5: unknown mode"},
        {"opaque, but made", {IN_EXTENT, HEAD_5 + 12, 1, 4}, "extent 0, tile 5: made, but"},
        {"zeros of a head", {IN_EXTENT, HEAD_5 + 13, 1, 1}, "extent 0, tile 5: a byte"},
        {"no payload", {IN_EXTENT, HEAD_5 + 8, 4, 0}, "extent 0, tile 5: payload"},
        {"too much payload", {IN_EXTENT, HEAD_5 + 8, 4, 23}, "extent 0, tile 5: payload"},
        {"payload that wraps", {IN_EXTENT, HEAD_5 + 8, 4, UINT32_MAX}, "extent 0, tile 5: payl"},
        {"an extent not filled", {IN_EXTENT, HEAD_5 + 8, 4, 16}, "extent 0: heads"},
        {"raw, but shorter", {IN_EXTENT, HEAD_5 + 8, 4, 21}, "extent 0, tile 5: raw, but"},
        {"constant, but long", {IN_EXTENT, HEAD_5 + 12, 1, 1}, "extent 0, tile 5: constant, but"},
        {"opaque, but split", {IN_EXTENT, HEAD_5 + 12, 1, 3}, "extent 0, tile 5: split, but"},
    };
    for (size_t i = 0; i < N(cases); i++) {
        struct sample s = open_sample(&cases[i].patch);
        struct weir_extent_tile tile[WEIR_EXTENT_TILES];
        struct weir_diag diag = {""};
        size_t n = 99;
        cr_expect_eq(weir_store_extent_tiles(s.store, 0, s.extent, tile, &n, &diag),
                     WEIR_ERR_CORRUPT, "%s", cases[i].why);
        cr_expect_eq(n, 99, "%s", cases[i].why);
        cr_expect_eq(strstr(diag.text, cases[i].text), diag.text, "%s: \"%s\"", cases[i].why,
                     diag.text);
        close_sample(&s);
    }
}
