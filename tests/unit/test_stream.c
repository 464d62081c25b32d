/* One part of a tile: there and back, and every way in which a stream can be broken.  Tests a
 * private header (codec/stream.h). */
#include "stream.h"

#include <criterion/criterion.h>

#include "coding_kit.h"

/* A part with its tables. */
struct tables {
    struct weir_part part;
    struct item_code code;
    struct rans_encode_table encode;
    struct rans_decode_table decode;
};

static void tables_make(const struct weir_part *p, struct tables *t)
{
    t->part = *p;
    item_code_make(p, &t->code);
    rans_encode_table_make(p, &t->encode);
    rans_decode_table_make(p, &t->decode);
}

/* Items whose symbols the table has, about as often as it says. */
static uint8_t *likely_items(const struct tables *t, size_t n_items, uint64_t *random)
{
    size_t item_bytes = t->part.item_bytes, n_rows = (n_items + WEIR_LANES - 1) / WEIR_LANES;
    size_t raw_bytes = stream_raw_bytes(&t->code, n_items);
    uint8_t *index = must_alloc(n_rows * WEIR_LANES), *raw = must_alloc(raw_bytes);
    uint8_t *items = must_alloc(n_rows * WEIR_LANES * item_bytes);
    for (size_t i = 0; i < n_rows * WEIR_LANES; i++)
        index[i] = (uint8_t)(t->decode.entry[random_below(random, 4096)] >> 24);
    random_bytes(random, raw, raw_bytes);
    weir_kernels_named("scalar")->join(&t->code, index, raw, 0, n_rows, items);
    free(index);
    free(raw);
    return items;
}

/* Encoded bytes, in a block that ends with them. */
struct stream {
    uint8_t *bytes;
    size_t n_bytes;
};

static struct stream encode(const struct weir_kernels *kernels, const struct tables *t,
                            const uint8_t *items, size_t n_items)
{
    static struct stream_encoder encoder;
    size_t room = STREAM_HEAD_BYTES + stream_raw_bytes(&t->code, n_items) + 12 * n_items + 64;
    struct stream s = {.bytes = must_alloc(room)};
    encoder.kernels = kernels;
    s.n_bytes = stream_encode(&encoder, &t->code, &t->encode, items, n_items, s.bytes, room);
    uint8_t *exact = must_alloc(s.n_bytes);
    memcpy(exact, s.bytes, s.n_bytes);
    free(s.bytes);
    s.bytes = exact;
    return s;
}

static size_t decode(const struct weir_kernels *kernels, const struct tables *t,
                     const uint8_t *bytes, size_t n_bytes, size_t n_items, uint8_t *items)
{
    return stream_decode(kernels, &t->code, &t->decode, bytes, n_bytes, n_items, items);
}

/* Every variant encodes to the same bytes, and decodes them to the items. */
static void expect_round_trip(const struct tables *t, const uint8_t *items, size_t n_items)
{
    struct variants v = variants_here();
    struct stream wanted = encode(v.at[0], t, items, n_items);
    size_t plain_bytes = n_items * t->part.item_bytes;
    uint8_t *out = must_alloc(plain_bytes);
    cr_assert_gt(wanted.n_bytes, 0);
    for (size_t i = 0; i < v.n; i++) {
        const char *name = weir_kernels_name(v.at[i]);
        struct stream s = encode(v.at[i], t, items, n_items);
        cr_assert_eq(s.n_bytes, wanted.n_bytes, "%s: %zu items", name, n_items);
        cr_assert_arr_eq(s.bytes, wanted.bytes, s.n_bytes, "%s: %zu items", name, n_items);
        free(s.bytes);
        memset(out, 0x5a, plain_bytes);
        cr_assert_eq(decode(v.at[i], t, wanted.bytes, wanted.n_bytes, n_items, out), wanted.n_bytes,
                     "%s: %zu items", name, n_items);
        cr_assert_arr_eq(out, items, plain_bytes, "%s: %zu items", name, n_items);
    }
    free(wanted.bytes);
    free(out);
}

Test(stream, comes_back_for_every_part)
{
    static const size_t sizes[] = {1, 2, 63, 64, 65, 127, 128, 129, 640, 700};
    struct part_walk walk = {0};
    struct weir_part p;
    uint64_t random = 1;
    while (part_walk_next(&walk, &p, &random)) {
        struct tables t;
        size_t n_items = sizes[walk.n % COUNT_OF(sizes)];
        tables_make(&p, &t);
        uint8_t *items = likely_items(&t, n_items, &random);
        for (size_t i = walk.n % 40; i < n_items; i += 100) /* patches, if it is one */
            items[i * p.item_bytes] ^= (uint8_t)random_below(&random, 256);
        expect_round_trip(&t, items, n_items);
        free(items);
    }
    cr_assert_eq(walk.n, 2880);
}

Test(stream, comes_back_for_every_size)
{
    struct weir_part parts[] = {
        {.count = 1, .item_bytes = 2, .sign_first = true, .symbol_bits = 9, .base = 200},
        {.count = 1, .item_bytes = 1, .symbol_bits = 8},
        {.count = 1, .item_bytes = 4, .sign_first = true, .drop_bits = 16, .symbol_bits = 10},
        {.count = 1, .item_bytes = 8, .sign_first = true, .symbol_bits = 14, .base = 8000},
    };
    uint64_t random = 2;
    for (size_t i = 0; i < COUNT_OF(parts); i++) {
        struct tables t;
        size_t most = (size_t)STREAM_MAX_ITEMS / parts[i].item_bytes, chunk = 4096;
        const size_t sizes[] = {chunk - 1, chunk, chunk + 1, 2 * chunk + 63, most - 1, most};
        part_fill_freq(&parts[i], TABLE_SKEWED, &random);
        tables_make(&parts[i], &t);
        uint8_t *items = likely_items(&t, most, &random);
        for (size_t k = 0; k < COUNT_OF(sizes); k++)
            expect_round_trip(&t, items, sizes[k]);
        free(items);
    }
}

/* For bf16; exponents above 99, and none of 0. */
static struct tables good_tables(void)
{
    struct weir_part p = {
        .count = 1, .item_bytes = 2, .sign_first = true, .symbol_bits = 8, .base = 99};
    struct tables t;
    uint64_t random = 3;
    part_fill_freq(&p, TABLE_SKEWED, &random);
    p.freq[1] = (uint16_t)(p.freq[1] + p.freq[0]);
    p.freq[0] = 0;
    tables_make(&p, &t);
    return t;
}

static uint8_t *items_with_patches(const struct tables *t, size_t n_items, size_t n_patches,
                                   uint64_t seed)
{
    uint8_t *items = likely_items(t, n_items, &seed);
    for (size_t i = 0; i < n_patches; i++) {
        size_t at = i * (n_items / n_patches);
        items[2 * at] = (uint8_t)i;
        items[2 * at + 1] = 0; /* exponent 0 or 1: not in the table */
    }
    return items;
}

Test(stream, fits_its_room_or_not_at_all)
{
    static struct stream_encoder encoder;
    struct tables t = good_tables();
    enum { N = 1000 };
    uint8_t *items = items_with_patches(&t, N, 7, 4);
    struct stream s = encode(weir_kernels_named("scalar"), &t, items, N);
    struct variants v = variants_here();
    for (size_t room = 0; room <= s.n_bytes; room++) {
        uint8_t *out = must_alloc(room);
        for (size_t i = 0; i < v.n; i++) {
            encoder.kernels = v.at[i];
            cr_assert_eq(stream_encode(&encoder, &t.code, &t.encode, items, N, out, room),
                         room < s.n_bytes ? 0 : s.n_bytes, "room for %zu of %zu bytes", room,
                         s.n_bytes);
        }
        if (room == s.n_bytes)
            cr_assert_arr_eq(out, s.bytes, room);
        free(out);
    }
    free(items);
    free(s.bytes);
}

Test(stream, is_not_made_of_patches)
{
    struct tables t = good_tables();
    struct variants v = variants_here();
    size_t n_items = STREAM_MAX_ITEMS / 2;
    for (size_t more = 0; more < 2; more++) {
        uint8_t *items = items_with_patches(&t, n_items, STREAM_MAX_PATCHES, 4);
        items[3] = more ? 0 : items[3];
        for (size_t i = 0; i < v.n; i++) {
            struct stream s = encode(v.at[i], &t, items, n_items);
            cr_assert_eq(s.n_bytes == 0, more == 1, "%s: %zu bytes", weir_kernels_name(v.at[i]),
                         s.n_bytes);
            free(s.bytes);
        }
        free(items);
    }
}

/* ---- streams that break the format ---- */

static uint32_t get_u32(const uint8_t *at)
{
    return (uint32_t)at[0] | (uint32_t)at[1] << 8 | (uint32_t)at[2] << 16 | (uint32_t)at[3] << 24;
}

static void put_u32(uint8_t *at, uint32_t v)
{
    for (int i = 0; i < 4; i++)
        at[i] = (uint8_t)(v >> (8 * i));
}

/* Where things lie in a stream, worked out from docs/format.md, 7. */
struct places {
    size_t raw, words, gap, positions, patches, end;
};

static struct places places_of(const struct tables *t, const struct stream *s, size_t n_items)
{
    struct places at = {.raw = 16 + 256};
    size_t rows = (n_items + 63) / 64, width = 8 * (size_t)t->part.item_bytes;
    at.words = at.raw + (rows * t->code.raw_bits + width - 1) / width * 64 * t->part.item_bytes;
    at.gap = at.words + 2 * (size_t)get_u32(s->bytes);
    at.positions = (at.gap + 3) / 4 * 4;
    at.patches = at.positions + 4 * (size_t)get_u32(s->bytes + 4);
    at.end = at.patches + t->part.item_bytes * (size_t)get_u32(s->bytes + 4);
    return at;
}

/* Decodes with every variant; true if all refuse, false if all take all n_bytes. */
static bool all_refuse(const struct tables *t, const uint8_t *bytes, size_t n_bytes, size_t n_items)
{
    struct variants v = variants_here();
    uint8_t *copy = must_alloc(n_bytes), *out = must_alloc(n_items * t->part.item_bytes);
    memcpy(copy, bytes, n_bytes);
    size_t wanted = decode(v.at[0], t, copy, n_bytes, n_items, out);
    for (size_t i = 1; i < v.n; i++)
        cr_assert_eq(decode(v.at[i], t, copy, n_bytes, n_items, out), wanted);
    free(copy);
    free(out);
    return wanted == 0;
}

static const size_t N_ITEMS = 1000, N_PATCHES = 5;

/* With an odd number of words, so that there is a gap. */
static struct stream good_stream(const struct tables *t)
{
    for (uint64_t seed = 1; seed < 100; seed++) {
        uint8_t *items = items_with_patches(t, N_ITEMS, N_PATCHES, seed);
        struct stream s = encode(weir_kernels_named("scalar"), t, items, N_ITEMS);
        free(items);
        cr_assert_gt(s.n_bytes, STREAM_HEAD_BYTES);
        if (get_u32(s.bytes) % 2 == 1)
            return s;
        free(s.bytes);
    }
    cr_assert_fail("no stream with an odd number of words");
    return (struct stream){0};
}

Test(stream, refuses_every_truncation)
{
    struct tables t = good_tables();
    struct stream s = good_stream(&t);
    cr_assert_not(all_refuse(&t, s.bytes, s.n_bytes, N_ITEMS));
    for (size_t n = 0; n < s.n_bytes; n++)
        cr_assert(all_refuse(&t, s.bytes, n, N_ITEMS), "%zu of %zu bytes", n, s.n_bytes);
    free(s.bytes);
}

Test(stream, refuses_another_number_of_items)
{
    struct tables t = good_tables();
    struct stream s = good_stream(&t);
    const size_t sizes[] = {1, 64, N_ITEMS - 64, N_ITEMS + 64, 2 * N_ITEMS};
    for (size_t i = 0; i < COUNT_OF(sizes); i++)
        cr_assert(all_refuse(&t, s.bytes, s.n_bytes, sizes[i]), "%zu items", sizes[i]);
    free(s.bytes);
}

Test(stream, refuses_wrong_numbers)
{
    struct tables t = good_tables();
    struct stream s = good_stream(&t);
    struct places at = places_of(&t, &s, N_ITEMS);
    uint32_t n_words = get_u32(s.bytes), n_patches = get_u32(s.bytes + 4);
    size_t last = at.patches - 4;
    cr_assert(at.end == s.n_bytes && n_patches == N_PATCHES);
    uint32_t second = get_u32(s.bytes + at.positions + 4);
    const struct {
        const char *what;
        size_t at;
        uint32_t value;
    } cases[] = {
        {"a word less", 0, n_words - 1},
        {"a word more", 0, n_words + 1},
        {"two words less", 0, n_words - 2},
        {"no words", 0, 0},
        {"2^31 words", 0, 0x80000000},
        {"all ones words", 0, 0xffffffff},
        {"a patch more", 4, n_patches + 1},
        {"more patches than items", 4, (uint32_t)N_ITEMS + 1},
        {"all ones patches", 4, 0xffffffff},
        {"zeros that are not (8)", 8, 1},
        {"zeros that are not (12)", 12, 0x80000000},
        {"a state of lane 0", 16, get_u32(s.bytes + 16) ^ 1},
        {"a state of lane 63", 268, get_u32(s.bytes + 268) ^ 0x1000},
        {"a state of 0", 44, 0},
        {"the gap's first byte", at.gap, get_u32(s.bytes + at.gap) ^ 1},
        {"the gap's second byte", at.gap, get_u32(s.bytes + at.gap) ^ 0x8000},
        {"a position twice", at.positions, second},
        {"positions that descend", at.positions, second + 1},
        {"a position past the end", last, (uint32_t)N_ITEMS},
        {"the last position", last, 0xffffffff},
    };
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        uint8_t was[4];
        memcpy(was, s.bytes + cases[i].at, 4);
        put_u32(s.bytes + cases[i].at, cases[i].value);
        cr_expect(all_refuse(&t, s.bytes, s.n_bytes, N_ITEMS), "%s", cases[i].what);
        memcpy(s.bytes + cases[i].at, was, 4);
    }
    cr_assert_not(all_refuse(&t, s.bytes, s.n_bytes, N_ITEMS));
    free(s.bytes);
}

/* Bits of the raw bits that are of no item: those of padding, and those that fill up a string. */
Test(stream, refuses_padding_that_is_not_zero)
{
    struct part_walk walk = {0};
    struct weir_part p;
    uint64_t random = 5;
    while (part_walk_next(&walk, &p, &random)) {
        struct tables t;
        size_t n_items = 1 + random_below(&random, 200), width = 8 * (size_t)p.item_bytes;
        tables_make(&p, &t);
        size_t raw_bytes = stream_raw_bytes(&t.code, n_items), r = t.code.raw_bits;
        if (r == 0)
            continue;
        uint8_t *items = likely_items(&t, n_items, &random);
        struct stream s = encode(weir_kernels_named("scalar"), &t, items, n_items);
        cr_assert_not(all_refuse(&t, s.bytes, s.n_bytes, n_items));
        for (int tries = 0; tries < 12; tries++) {
            size_t bit = tries < 6
                             ? random_below(&random, (uint32_t)(8 * raw_bytes))
                             : 8 * raw_bytes - 1 - random_below(&random, (uint32_t)(8 * width));
            size_t number = bit / width, in_string = number / 64 * width + bit % width;
            bool is_padding = in_string / r * 64 + number % 64 >= n_items;
            s.bytes[272 + bit / 8] ^= (uint8_t)(1u << bit % 8);
            cr_assert_eq(all_refuse(&t, s.bytes, s.n_bytes, n_items), is_padding,
                         "%zu items, W %zu R %zu: bit %zu of lane %zu", n_items, width, r,
                         in_string, number % 64);
            s.bytes[272 + bit / 8] ^= (uint8_t)(1u << bit % 8);
        }
        free(items);
        free(s.bytes);
    }
}

/* Anything at all may stand in states and words: refused or not, nothing outside is touched (ASan
 * looks), and all variants agree. */
Test(stream, survives_hostile_states_and_words)
{
    struct part_walk walk = {0};
    struct weir_part p;
    uint64_t random = 6;
    while (part_walk_next(&walk, &p, &random)) {
        struct tables t;
        size_t n_items = 1 + random_below(&random, 300);
        tables_make(&p, &t);
        size_t head = STREAM_HEAD_BYTES + stream_raw_bytes(&t.code, n_items);
        size_t n_words = random_below(&random, (uint32_t)n_items + 70);
        size_t n_bytes = head + 2 * (n_words + n_words % 2);
        uint8_t *bytes = must_alloc(n_bytes);
        random_bytes(&random, bytes, n_bytes);
        memset(bytes, 0, 16);
        memset(bytes + head + 2 * n_words, 0, n_bytes - head - 2 * n_words);
        put_u32(bytes, (uint32_t)n_words);
        cr_assert(all_refuse(&t, bytes, n_bytes, n_items));
        free(bytes);
    }
}
