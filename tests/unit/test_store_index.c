#include "codec/store.h"

#include <criterion/criterion.h>

#include "store_bytes.h"

#define N(array) (sizeof(array) / sizeof((array)[0]))

static const struct patch no_patch = {NOWHERE, 0, 0, 0};

static void expect_open(const struct bytes *b, weir_err want, const char *why)
{
    uint8_t *exact = bytes_exact(b->at, b->n);
    struct weir_source src;
    weir_source_from_memory(exact, b->n, &src);
    struct weir_store *store = NULL;
    struct weir_diag diag = {""};
    cr_expect_eq(weir_store_open(&src, &store, &diag), want, "%s: %s", why, diag.text);
    cr_expect_eq(store != NULL, want == WEIR_OK, "%s", why);
    weir_store_free(store);
    free(exact);
}

/* ---- the index's zstd frame ---- */

static void skippable(struct bytes *out)
{
    bytes_number(out, 0x184d2a50, 4);
    bytes_number(out, 3, 4);
    bytes_zeros(out, 3);
}

static void frame_behind_skippable(struct bytes *out, const struct bytes *plain)
{
    skippable(out);
    raw_frame(out, plain);
}

static void frame_before_skippable(struct bytes *out, const struct bytes *plain)
{
    raw_frame(out, plain);
    skippable(out);
}

static void frame_and_byte(struct bytes *out, const struct bytes *plain)
{
    raw_frame(out, plain);
    bytes_number(out, 0, 1);
}

static void frame_cut_short(struct bytes *out, const struct bytes *plain)
{
    raw_frame(out, plain);
    out->n--;
}

static void frame_twice(struct bytes *out, const struct bytes *plain)
{
    static const uint8_t empty[] = {0x28, 0xb5, 0x2f, 0xfd, 0x20, 0, 1, 0, 0};
    raw_frame(out, plain);
    bytes_put(out, empty, sizeof(empty));
}

static void frame_with_dictionary(struct bytes *out, const struct bytes *plain)
{
    bytes_number(out, 0xfd2fb528, 4);
    bytes_number(out, 0x61, 1); /* and one byte of dictionary number */
    bytes_number(out, 5, 1);
    bytes_number(out, plain->n - 256, 2);
    bytes_number(out, plain->n << 3 | 1, 3);
    bytes_put(out, plain->at, plain->n);
}

static void frame_of_other_size(struct bytes *out, const struct bytes *plain)
{
    size_t at = out->n;
    raw_frame(out, plain);
    out->at[at + 5]++;
}

static void no_frame(struct bytes *out, const struct bytes *plain)
{
    bytes_put(out, plain->at, plain->n);
}

static void short_frame(struct bytes *out, const struct bytes *plain)
{
    struct bytes less = {plain->at, plain->n - 1, 0};
    raw_frame(out, &less);
}

static void long_frame(struct bytes *out, const struct bytes *plain)
{
    struct bytes more = {0};
    bytes_put(&more, plain->at, plain->n);
    bytes_number(&more, 0, 1);
    raw_frame(out, &more);
    bytes_free(&more);
}

/* No content size, a window, an empty block at the end: as good as any. */
static void frame_without_size(struct bytes *out, const struct bytes *plain)
{
    bytes_number(out, 0xfd2fb528, 4);
    bytes_number(out, 0, 1);
    bytes_number(out, 0, 1);
    bytes_number(out, 1000 << 3, 3);
    bytes_put(out, plain->at, 1000);
    bytes_number(out, (plain->n - 1000) << 3, 3);
    bytes_put(out, plain->at + 1000, plain->n - 1000);
    bytes_number(out, 1, 3);
}

Test(store_index, wants_one_frame)
{
    static const struct {
        const char *why;
        frame_fn *frame;
        weir_err want;
    } cases[] = {
        {"plain", raw_frame, WEIR_OK},
        {"without content size", frame_without_size, WEIR_OK},
        {"behind a skippable frame", frame_behind_skippable, WEIR_ERR_CORRUPT},
        {"before a skippable frame", frame_before_skippable, WEIR_ERR_CORRUPT},
        {"a byte left over", frame_and_byte, WEIR_ERR_CORRUPT},
        {"cut short", frame_cut_short, WEIR_ERR_CORRUPT},
        {"an empty frame behind it", frame_twice, WEIR_ERR_CORRUPT},
        {"with a dictionary", frame_with_dictionary, WEIR_ERR_CORRUPT},
        {"wrong content size", frame_of_other_size, WEIR_ERR_CORRUPT},
        {"not a frame", no_frame, WEIR_ERR_CORRUPT},
        {"one byte less than promised", short_frame, WEIR_ERR_CORRUPT},
        {"one byte more than promised", long_frame, WEIR_ERR_CORRUPT},
    };
    for (size_t i = 0; i < N(cases); i++) {
        struct bytes b = tiny_store(cases[i].frame, &no_patch);
        expect_open(&b, cases[i].want, cases[i].why);
        bytes_free(&b);
    }
}

/* ---- size against plain size ---- */

/* A file that shows one constant object n times; the object is 32 tiles less `less` bytes. */
static struct bytes make_bomb(unsigned n, uint32_t less)
{
    const uint64_t object = 32 * (uint64_t)WEIR_TILE_BYTES - less;
    struct bytes b = {0}, index = {0};
    put_header(&b);
    uint8_t *plain = calloc(1, WEIR_TILE_BYTES);
    cr_assert_not_null(plain);
    for (unsigned i = 0; i < 32; i++)
        put_head(&b, plain, WEIR_TILE_BYTES - (i == 31 ? less : 0), true);
    free(plain);
    bytes_zeros(&b, 512);
    uint8_t sha256[32];
    SHA256(b.at + 4096, 1024, sha256);
    put_counts(&index, 0, 1, 1, 1);
    bytes_number(&index, object, 8);
    bytes_number(&index, NONE, 4);
    bytes_number(&index, 1024, 4);
    bytes_put(&index, sha256, 32);
    put_file(&index, "f", object * n, n);
    for (unsigned i = 0; i < n; i++)
        put_segment(&index, object, 0, NULL);
    finish_store(&b, &index, raw_frame, &no_patch);
    return b;
}

static uint64_t bomb_plain_bytes(unsigned n, uint32_t less)
{
    return n * (32 * (uint64_t)WEIR_TILE_BYTES - less);
}

Test(store_index, refuses_more_than_16384_times_its_size)
{
    struct bytes b = make_bomb(22, 0);
    uint64_t most = 16384 * (uint64_t)b.n;
    bytes_free(&b);
    cr_assert_gt(bomb_plain_bytes(22, 0), most);
    /* The least that makes it small enough: one less is still too much, by under 22 bytes. */
    uint64_t less = (bomb_plain_bytes(22, 0) - most + 21) / 22;
    cr_assert_lt(less, WEIR_TILE_BYTES);
    for (uint32_t i = 0; i < 3; i++) {
        uint32_t n = (uint32_t)less + i - 1;
        b = make_bomb(22, n);
        cr_assert_eq(16384 * (uint64_t)b.n, most);
        cr_expect_eq(bomb_plain_bytes(22, n) > most, i == 0);
        expect_open(&b, i ? WEIR_OK : WEIR_ERR_CORRUPT, i ? "small enough" : "a little too much");
        bytes_free(&b);
    }
    b = make_bomb(1000, 0);
    expect_open(&b, WEIR_ERR_CORRUPT, "far too much");
    bytes_free(&b);
}
