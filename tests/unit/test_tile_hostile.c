/* Tiles that break the format: all must be refused, by every variant, without a byte touched
 * outside of blocks that have exactly the size they must have (AddressSanitizer looks). */
#include "codec/tile.h"

#include <criterion/criterion.h>

#include "tile_kit.h"

enum { N_BLOCKS = 128 };

/* Blocks of one f16 and sixteen bytes: two streams, no patches, whole rows. */
struct small {
    struct weir_coding *coding;
    uint8_t *plain;
    struct tile tile;
};

static struct small small_new(struct bench *b)
{
    const struct weir_elements *like = &element_types[12].like;
    struct small s = {.coding = choose_for_normal(like)};
    uint64_t random = 1;
    for (int j = 0; j < 256; j++) /* the f16 table has everything, so there are no patches */
        s.coding->part[0].freq[j] = j % 2 ? 20 : 12;
    s.coding->part[0].symbol_bits = 8;
    s.coding->part[0].base = 0;
    s.coding->part[0].drop_bits = 0;
    cr_assert_eq(weir_coding_check(s.coding), WEIR_OK);
    s.plain = make_elements(like, DATA_NORMAL, N_BLOCKS, &random);
    s.tile = expect_round_trip(b, s.coding, s.plain, (size_t)N_BLOCKS * like->elem_bytes, "small");
    cr_assert_eq(s.tile.head.mode, WEIR_TILE_SPLIT);
    return s;
}

static void small_free(struct small *s)
{
    free(s->coding);
    free(s->plain);
    free(s->tile.payload);
}

/* Decodes n_bytes as the payload; true if all variants say WEIR_ERR_CORRUPT. */
static bool all_refuse(struct bench *b, struct tile t, const uint8_t *bytes, size_t n_bytes)
{
    t.payload = must_alloc(n_bytes);
    memcpy(t.payload, bytes, n_bytes);
    t.head.payload_bytes = (uint32_t)n_bytes;
    weir_err err = decode_by_all(b, &t);
    free(t.payload);
    return err == WEIR_ERR_CORRUPT;
}

Test(tile_hostile, every_truncation_is_refused)
{
    struct bench b = bench_new();
    struct small s = small_new(&b);
    for (size_t n = 0; n < s.tile.head.payload_bytes; n++)
        cr_assert(all_refuse(&b, s.tile, s.tile.payload, n), "%zu bytes", n);
    small_free(&s);
    bench_free(&b);
}

Test(tile_hostile, every_flip_is_refused)
{
    struct bench b = bench_new();
    struct small s = small_new(&b);
    uint8_t *bytes = s.tile.payload;
    for (size_t bit = 0; bit < 8 * (size_t)s.tile.head.payload_bytes; bit++) {
        bytes[bit / 8] ^= (uint8_t)(1u << bit % 8);
        cr_assert(all_refuse(&b, s.tile, bytes, s.tile.head.payload_bytes), "bit %zu of byte %zu",
                  bit % 8, bit / 8);
        bytes[bit / 8] ^= (uint8_t)(1u << bit % 8);
    }
    for (size_t bit = 0; bit < 64; bit++) {
        s.tile.head.xxh3 ^= (uint64_t)1 << bit;
        cr_assert_eq(decode_by_all(&b, &s.tile), WEIR_ERR_CORRUPT, "bit %zu of the checksum", bit);
        s.tile.head.xxh3 ^= (uint64_t)1 << bit;
    }
    cr_assert_eq(decode_by_all(&b, &s.tile), WEIR_OK);
    small_free(&s);
    bench_free(&b);
}

Test(tile_hostile, trailing_bytes_are_refused)
{
    struct bench b = bench_new();
    struct small s = small_new(&b);
    size_t n = s.tile.head.payload_bytes;
    uint8_t *longer = must_alloc(s.tile.plain_bytes + 1);
    memset(longer, 0, s.tile.plain_bytes + 1);
    memcpy(longer, s.tile.payload, n);
    cr_assert(n + 20 < s.tile.plain_bytes);
    cr_assert_not(all_refuse(&b, s.tile, longer, n));
    for (size_t more = n + 1; more <= s.tile.plain_bytes + 1; more++)
        cr_assert(all_refuse(&b, s.tile, longer, more), "%zu bytes, not %zu", more, n);
    free(longer);
    small_free(&s);
    bench_free(&b);
}

/* The zeros between two streams. */
Test(tile_hostile, padding_that_is_not_zero_is_refused)
{
    struct bench b = bench_new();
    struct small s = small_new(&b);
    const uint8_t *at = s.tile.payload;
    unsigned raw_bits = 16 - 8, n_words = at[0] | (unsigned)at[1] << 8;
    cr_assert_eq(at[4], 0, "there are patches");
    size_t end = 272 + N_BLOCKS / 8 * raw_bits + (size_t)(n_words + n_words % 2) * 2;
    cr_assert(end % 16 != 0 && end < s.tile.head.payload_bytes, "the first stream ends at %zu",
              end);
    for (size_t i = end; i % 16; i++) {
        s.tile.payload[i] = 1;
        cr_assert_eq(decode_by_all(&b, &s.tile), WEIR_ERR_CORRUPT, "byte %zu", i);
        s.tile.payload[i] = 0;
        cr_assert_eq(decode_by_all(&b, &s.tile), WEIR_OK, "byte %zu was not 0", i);
    }
    small_free(&s);
    bench_free(&b);
}

/* Heads that do not go with payload, plain bytes or coding. */
Test(tile_hostile, wrong_heads_are_refused)
{
    struct bench b = bench_new();
    struct small s = small_new(&b);
    const uint8_t *bytes = s.plain; /* any will do */
    const struct weir_coding *c = s.coding;
    const struct {
        const char *what;
        const struct weir_coding *coding;
        size_t plain_bytes, payload_bytes;
        uint8_t mode;
    } cases[] = {
        {"mode 4", c, 18, 18, 4},
        {"mode 255", c, 18, 18, 255},
        {"raw: nothing", c, 18, 0, WEIR_TILE_RAW},
        {"raw: too short", c, 18, 17, WEIR_TILE_RAW},
        {"raw: longer than plain", c, 18, 19, WEIR_TILE_RAW},
        {"constant: nothing", c, 36, 0, WEIR_TILE_CONST},
        {"constant: half an element", c, 36, 9, WEIR_TILE_CONST},
        {"constant: two elements", c, 36, 36, WEIR_TILE_CONST},
        {"constant: not whole elements", c, 37, 18, WEIR_TILE_CONST},
        {"constant: less than an element", c, 17, 17, WEIR_TILE_CONST},
        {"constant: opaque bytes are alone", NULL, 36, 2, WEIR_TILE_CONST},
        {"zstd: nothing", NULL, 36, 0, WEIR_TILE_ZSTD},
        {"zstd: not a frame", NULL, 36, 20, WEIR_TILE_ZSTD},
        {"split: nothing", c, 1152, 0, WEIR_TILE_SPLIT},
        {"split: not whole elements", c, 1151, 1100, WEIR_TILE_SPLIT},
        {"split: too short for a head", c, 1152, 271, WEIR_TILE_SPLIT},
        {"split: no coding", NULL, 1152, 1100, WEIR_TILE_SPLIT},
        {"no plain bytes", c, 0, 0, WEIR_TILE_RAW},
        {"no plain bytes, but a payload", c, 0, 18, WEIR_TILE_CONST},
    };
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        struct tile t = {.coding = cases[i].coding, .plain_bytes = cases[i].plain_bytes};
        t.head.mode = cases[i].mode;
        cr_expect(all_refuse(&b, t, bytes, cases[i].payload_bytes), "%s", cases[i].what);
    }
    struct tile big = {.plain_bytes = WEIR_TILE_BYTES + 1, .head = {.mode = WEIR_TILE_CONST}};
    big.head.xxh3 = 0xb0fc6870af087fe8; /* of 131073 times 0x78, by the reference library */
    cr_expect(all_refuse(&b, big, (const uint8_t *)"\x78", 1), "more than a tile");
    struct tile split = s.tile;
    for (uint8_t mode = 0; mode < 8; mode++) {
        split.head.mode = mode;
        cr_expect_eq(decode_by_all(&b, &split) == WEIR_OK, mode == WEIR_TILE_SPLIT, "mode %d",
                     mode);
    }
    small_free(&s);
    bench_free(&b);
}

/* ---- zstd ---- */

enum { N_PLAIN = 40 };

/* Frames of forty times 0x78, put together by hand (RFC 8878) of blocks that repeat a byte. */
Test(tile_hostile, frames_but_one_plain_one_are_refused)
{
    static const struct {
        const char *what;
        bool fine;
        uint8_t n, bytes[24];
    } cases[] = {
        {"a frame", true, 10, {0x28, 0xb5, 0x2f, 0xfd, 0x20, 0x28, 0x43, 1, 0, 0x78}},
        {"no content size", true, 10, {0x28, 0xb5, 0x2f, 0xfd, 0, 8, 0x43, 1, 0, 0x78}},
        {"two blocks",
         true,
         14,
         {0x28, 0xb5, 0x2f, 0xfd, 0x20, 0x28, 0xa2, 0, 0, 0x78, 0xa3, 0, 0, 0x78}},
        {"a dictionary", false, 11, {0x28, 0xb5, 0x2f, 0xfd, 0x21, 7, 0x28, 0x43, 1, 0, 0x78}},
        {"a byte too few", false, 10, {0x28, 0xb5, 0x2f, 0xfd, 0x20, 0x27, 0x3b, 1, 0, 0x78}},
        {"a byte too many", false, 10, {0x28, 0xb5, 0x2f, 0xfd, 0x20, 0x29, 0x4b, 1, 0, 0x78}},
        {"a byte too few, no content size",
         false,
         10,
         {0x28, 0xb5, 0x2f, 0xfd, 0, 8, 0x3b, 1, 0, 0x78}},
        {"a byte too many, no content size",
         false,
         10,
         {0x28, 0xb5, 0x2f, 0xfd, 0, 8, 0x4b, 1, 0, 0x78}},
        {"another content size", false, 10, {0x28, 0xb5, 0x2f, 0xfd, 0x20, 0x29, 0x43, 1, 0, 0x78}},
        {"a byte behind", false, 11, {0x28, 0xb5, 0x2f, 0xfd, 0x20, 0x28, 0x43, 1, 0, 0x78, 0}},
        {"an empty frame behind",
         false,
         19,
         {0x28, 0xb5, 0x2f, 0xfd, 0x20, 0x28, 0x43, 1, 0, 0x78, 0x28, 0xb5, 0x2f, 0xfd, 0x20, 0, 1,
          0, 0}},
        {"two frames of half the bytes", false, 20, {0x28, 0xb5, 0x2f, 0xfd, 0x20, 0x14, 0xa3,
                                                     0,    0,    0x78, 0x28, 0xb5, 0x2f, 0xfd,
                                                     0x20, 0x14, 0xa3, 0,    0,    0x78}},
        {"a skippable frame behind",
         false,
         18,
         {0x28, 0xb5, 0x2f, 0xfd, 0x20, 0x28, 0x43, 1, 0, 0x78, 0x50, 0x2a, 0x4d, 0x18, 0, 0, 0,
          0}},
        {"a skippable frame before",
         false,
         18,
         {0x50, 0x2a, 0x4d, 0x18, 0, 0, 0, 0, 0x28, 0xb5, 0x2f, 0xfd, 0x20, 0x28, 0x43, 1, 0,
          0x78}},
        {"only a skippable frame", false, 12, {0x50, 0x2a, 0x4d, 0x18, 4, 0, 0, 0, 1, 2, 3, 4}},
        {"no last block", false, 10, {0x28, 0xb5, 0x2f, 0xfd, 0x20, 0x28, 0x42, 1, 0, 0x78}},
        {"a wrong checksum of its own",
         false,
         14,
         {0x28, 0xb5, 0x2f, 0xfd, 0x24, 0x28, 0x43, 1, 0, 0x78, 1, 2, 3, 4}},
        {"half a magic", false, 2, {0x28, 0xb5}},
        {"a frame of zstd 0.5, before RFC 8878",
         false,
         15,
         {0x25, 0xb5, 0x2f, 0xfd, 0, 0, 0, 4, 0xe0, 0x28, 0x78, 0, 0xc0, 0, 0}},
    };
    struct bench b = bench_new();
    uint8_t plain[N_PLAIN];
    memset(plain, 0x78, sizeof(plain));
    struct tile t = tile_encode(b.enc[0], NULL, plain, sizeof(plain));
    free(t.payload);
    t.head.mode = WEIR_TILE_ZSTD;
    for (size_t i = 0; i < COUNT_OF(cases); i++)
        cr_expect_eq(all_refuse(&b, t, cases[i].bytes, cases[i].n), !cases[i].fine, "%s",
                     cases[i].what);
    bench_free(&b);
}

/* Tiles whose checksum is that of what a careless decoder would leave in `out`, filled with 0x5a
 * by tile_decode(): all but one rule is kept. */
Test(tile_hostile, tiles_that_leave_bytes_alone_are_refused)
{
    static const uint8_t short_frame[] = {0x28, 0xb5, 0x2f, 0xfd, 0x20, 39, 0x3b, 1, 0, 0x78};
    static const uint8_t long_frame[9 + N_PLAIN] = {0x28,    0xb5, 0x2f, 0xfd, 0x20,
                                                    N_PLAIN, 0x41, 1,    0};
    struct bench b = bench_new();
    struct small s = small_new(&b);
    size_t whole = s.tile.plain_bytes;
    uint8_t *left = must_alloc(whole + 1), *repeated = must_alloc(37);
    uint8_t some_left[N_PLAIN], zeros[N_PLAIN] = {0};
    memcpy(left, s.plain, whole);
    left[whole] = 0x5a;
    for (size_t i = 0; i < 37; i++)
        repeated[i] = s.plain[i % 18];
    memset(some_left, 0x78, sizeof(some_left));
    some_left[N_PLAIN - 1] = 0x5a;
    const struct {
        const char *what;
        enum weir_tile_mode mode;
        const struct weir_coding *coding;
        const uint8_t *payload, *out;
        size_t payload_bytes, out_bytes;
    } cases[] = {
        {"split: a byte more than its elements", WEIR_TILE_SPLIT, s.coding, s.tile.payload, left,
         s.tile.head.payload_bytes, whole + 1},
        {"constant: two elements and a byte", WEIR_TILE_CONST, s.coding, s.plain, repeated, 18, 37},
        {"constant: more than an element", WEIR_TILE_CONST, s.coding, s.plain, repeated, 19, 36},
        {"raw: a byte less", WEIR_TILE_RAW, NULL, some_left, some_left, N_PLAIN - 1, N_PLAIN},
        {"zstd: a byte less", WEIR_TILE_ZSTD, NULL, short_frame, some_left, sizeof(short_frame),
         N_PLAIN},
        {"zstd: longer than the plain bytes", WEIR_TILE_ZSTD, NULL, long_frame, zeros,
         sizeof(long_frame), N_PLAIN},
    };
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        struct tile t = tile_encode(b.enc[0], NULL, cases[i].out, cases[i].out_bytes);
        free(t.payload);
        t.coding = cases[i].coding;
        t.head.mode = (uint8_t)cases[i].mode;
        cr_expect(all_refuse(&b, t, cases[i].payload, cases[i].payload_bytes), "%s", cases[i].what);
    }
    free(left);
    free(repeated);
    small_free(&s);
    bench_free(&b);
}

/* ---- anything at all ---- */

/* A part's stream with plausible counts and random bytes behind them. */
static size_t random_stream(const struct weir_part *p, size_t n_items, uint8_t *to,
                            uint64_t *random)
{
    size_t width = 8 * (size_t)p->item_bytes, rows = (n_items + 63) / 64;
    size_t raw_bits = width - p->drop_bits - p->symbol_bits;
    size_t n_words = random_below(random, (uint32_t)(n_items * p->symbol_bits / 18) + 1);
    size_t n_patches = random_below(random, 4);
    size_t words = 272 + (rows * raw_bits + width - 1) / width * 64 * p->item_bytes;
    size_t positions = (words + 2 * n_words + 3) / 4 * 4;
    size_t end = positions + n_patches * (4 + (size_t)p->item_bytes);
    random_bytes(random, to, end);
    memset(to, 0, 16);
    put_item(to, n_words, 4);
    put_item(to + 4, n_patches, 4);
    for (size_t l = 0; l < 64; l++) /* as likely as not a state that an encoder might leave */
        to[16 + 4 * l + 3] = (uint8_t)(to[16 + 4 * l + 3] * (random_below(random, 4) != 0));
    memset(to + words + 2 * n_words, 0, positions - words - 2 * n_words);
    for (size_t i = 0; i < n_patches; i++)
        put_item(to + positions + 4 * i, i * n_items / 4 + random_below(random, 3), 4);
    return end;
}

Test(tile_hostile, random_streams_touch_nothing_else)
{
    struct bench b = bench_new();
    uint64_t random = 9;
    uint8_t *bytes = must_alloc(1 << 20);
    for (size_t type = 0; type < COUNT_OF(element_types); type++) {
        const struct weir_elements *like = &element_types[type].like;
        struct weir_coding *coding = choose_for_normal(like);
        unsigned tried = 0;
        for (int round = 0; round < 200; round++) {
            size_t n_elements = 1 + random_below(&random, 16 + 30000u / like->elem_bytes), n = 0;
            for (int i = 0; i < coding->n_parts; i++) {
                size_t start = (n + 15) / 16 * 16;
                memset(bytes + n, 0, start - n);
                n = start + random_stream(&coding->part[i], n_elements * coding->part[i].count,
                                          bytes + start, &random);
            }
            struct tile t = {.coding = coding, .plain_bytes = n_elements * like->elem_bytes};
            t.head.mode = WEIR_TILE_SPLIT;
            cr_assert(all_refuse(&b, t, bytes, n));
            tried += n <= t.plain_bytes; /* longer ones are refused unseen */
        }
        cr_assert_gt(tried, 50, "%s: only %u", element_types[type].name, tried);
        free(coding);
    }
    free(bytes);
    bench_free(&b);
}
