/* Elements as differences from a base's: the kernels against the words of docs/format.md, 5.1, and
 * tiles that are made so.  Tests private headers. */
#include "kernels.h"

#include <criterion/criterion.h>
#include <string.h>

#include "coding_kit.h"

enum { N_ELEMENTS = 1027, ROOM = 8 * N_ELEMENTS + 8 };

static const uint8_t widths[] = {1, 2, 4, 8};
static const uint8_t kinds[] = {WEIR_TRANSFORM_DIFF, WEIR_TRANSFORM_XOR};

static uint64_t load(const uint8_t *p, unsigned n)
{
    uint64_t v = 0;
    for (unsigned i = 0; i < n; i++)
        v |= (uint64_t)p[i] << (8 * i);
    return v;
}

/* ---- the words of the format ---- */

static uint64_t mapped(uint64_t u, unsigned bits)
{
    const uint64_t top = UINT64_C(1) << (bits - 1), all = UINT64_MAX >> (64 - bits);
    return u & top ? ~u & all : u | top;
}

static uint64_t item_of(unsigned kind, unsigned bits, uint64_t base, uint64_t element)
{
    const uint64_t all = UINT64_MAX >> (64 - bits), half = UINT64_C(1) << (bits - 1);
    if (kind == WEIR_TRANSFORM_XOR)
        return base ^ element;
    const uint64_t d = (mapped(element, bits) - mapped(base, bits)) & all;
    return d < half ? d * 2 : (all - d) * 2 + 1; /* -1 is all ones: item 1 */
}

/* What is at the edges of every width: zeros of both signs, the largest, infinities, NaNs. */
static void fill(uint64_t *random, unsigned width, uint8_t *to)
{
    static const uint8_t edge[] = {0x00, 0x80, 0x7f, 0xff, 0x01, 0xfe};
    random_bytes(random, to, (size_t)N_ELEMENTS * width);
    for (size_t i = 0; i < N_ELEMENTS; i += 3) {
        memset(to + i * width, edge[random_below(random, COUNT_OF(edge))], width);
        to[i * width + width - 1] = edge[random_below(random, COUNT_OF(edge))];
    }
}

static void check_kernels(const struct weir_kernels *k, unsigned kind, uint8_t width, size_t off)
{
    static uint8_t base[ROOM], element[ROOM], work[ROOM];
    const struct weir_transform t = {.kind = (uint8_t)kind, .item_bytes = width};
    uint64_t random = 77 + width + kind;
    for (size_t n = 0; n <= N_ELEMENTS; n += n < 70 ? 1 : 319) {
        fill(&random, width, base + off);
        fill(&random, width, element + off);
        memcpy(work, element, sizeof(work));
        k->take_delta(&t, base + off, n, work + off);
        for (size_t i = 0; i < n; i++)
            cr_assert_eq(load(work + off + i * width, width),
                         item_of(kind, 8u * width, load(base + off + i * width, width),
                                 load(element + off + i * width, width)),
                         "%s, kind %u, %u bytes, element %zu of %zu", k->name, kind, width, i, n);
        cr_assert_arr_eq(work + off + n * width, element + off + n * width,
                         (N_ELEMENTS - n) * width, "written past the end");
        k->put_delta(&t, work + off, n, base + off);
        cr_assert_arr_eq(base + off, element + off, n * width, "%s, kind %u, %u bytes, %zu",
                         k->name, kind, width, n);
    }
}

Test(delta, kernels_do_what_the_format_says)
{
    struct variants v = variants_here();
    for (size_t i = 0; i < v.n; i++)
        for (size_t k = 0; k < COUNT_OF(kinds); k++)
            for (size_t w = 0; w < COUNT_OF(widths); w++)
                for (size_t off = 0; off < 4; off++)
                    check_kernels(v.at[i], kinds[k], widths[w], off);
}

Test(delta, every_byte_from_every_byte)
{
    uint8_t base[256], element[256];
    for (unsigned k = 0; k < 2; k++) {
        const struct weir_transform t = {.kind = kinds[k], .item_bytes = 1};
        for (unsigned b = 0; b < 256; b++) {
            bool seen[256] = {false};
            memset(base, (int)b, sizeof(base));
            for (unsigned e = 0; e < 256; e++)
                element[e] = (uint8_t)e;
            weir_kernels_best()->take_delta(&t, base, 256, element);
            for (unsigned e = 0; e < 256; e++) {
                cr_assert_eq(element[e], item_of(kinds[k], 8, b, e));
                cr_assert_not(seen[element[e]], "two elements have one item");
                seen[element[e]] = true;
            }
            cr_assert_eq(element[b], 0, "what is the same is 0");
        }
    }
}

/* ---- tiles ---- */

/* n elements of a tensor and of its base, which differ little. */
static void make_pair(uint64_t seed, unsigned width, size_t n, uint8_t *base, uint8_t *plain)
{
    uint64_t random = seed;
    for (size_t i = 0; i < n; i++) {
        uint64_t v = random_u64(&random) >> (64 - 8 * width);
        uint64_t w = v + random_below(&random, 9) - 4;
        memcpy(base + i * width, &v, width); /* little-endian hosts only */
        memcpy(plain + i * width, &w, width);
    }
}

static struct weir_coding *choose(unsigned kind, uint8_t width, const uint8_t *base,
                                  const uint8_t *plain, size_t bytes)
{
    struct weir_coding *coding = NULL;
    double bits = 0;
    uint8_t *items = malloc(bytes);
    cr_assert_not_null(items);
    memcpy(items, plain, bytes);
    const struct weir_transform t = {.kind = (uint8_t)kind, .item_bytes = width};
    weir_kernels_best()->take_delta(&t, base, bytes / width, items);
    cr_assert_eq(weir_coding_choose_near_zero(width, items, bytes, &coding, &bits), WEIR_OK);
    free(items);
    cr_assert_not_null(coding);
    cr_expect_lt(bits, 8);
    coding->transform = t;
    cr_assert_eq(weir_coding_check(coding), WEIR_OK);
    return coding;
}

struct pair {
    uint8_t *base, *plain, *payload, *out;
    size_t bytes;
    struct weir_coding *coding;
    struct weir_tile_encoder *enc;
    struct weir_tile_decoder *dec;
    struct weir_tile_head head;
};

static struct pair pair_new(unsigned kind, uint8_t width, size_t bytes)
{
    struct pair p = {.bytes = bytes};
    p.base = malloc(bytes);
    p.plain = malloc(bytes);
    p.payload = malloc(bytes);
    p.out = malloc(bytes);
    cr_assert(p.base && p.plain && p.payload && p.out);
    make_pair(width, width, bytes / width, p.base, p.plain);
    p.coding = choose(kind, width, p.base, p.plain, bytes);
    cr_assert_eq(weir_tile_encoder_new(weir_kernels_best(), &p.enc), WEIR_OK);
    cr_assert_eq(weir_tile_decoder_new(weir_kernels_best(), &p.dec), WEIR_OK);
    return p;
}

static void pair_free(struct pair *p)
{
    weir_tile_encoder_free(p->enc);
    weir_tile_decoder_free(p->dec);
    free(p->coding);
    free(p->base);
    free(p->plain);
    free(p->payload);
    free(p->out);
}

static weir_err encode(struct pair *p)
{
    return weir_tile_encode_delta(p->enc, p->coding, p->base, p->plain, p->bytes, p->payload,
                                  &p->head);
}

/* With the payload in a block of its very size. */
static weir_err decode(struct pair *p)
{
    uint8_t *exact = malloc(p->head.payload_bytes);
    cr_assert_not_null(exact);
    memcpy(exact, p->payload, p->head.payload_bytes);
    memcpy(p->out, p->base, p->bytes);
    weir_err err = weir_tile_decode(p->dec, p->coding, &p->head, exact, p->out, p->bytes);
    free(exact);
    return err;
}

Test(delta, tiles_come_back)
{
    for (size_t w = 0; w < COUNT_OF(widths); w++)
        for (size_t bytes = 8; bytes <= WEIR_TILE_BYTES; bytes = bytes * 5 + 8) {
            bytes = bytes > WEIR_TILE_BYTES / 5 ? (size_t)WEIR_TILE_BYTES : bytes;
            struct pair p = pair_new(WEIR_TRANSFORM_DIFF, widths[w], WEIR_TILE_BYTES);
            p.bytes = bytes;
            cr_assert_eq(encode(&p), WEIR_OK);
            cr_expect(bytes < 4096 || widths[w] == 1 || p.head.mode == WEIR_TILE_MADE);
            cr_expect_leq(p.head.payload_bytes, bytes);
            cr_assert_eq(decode(&p), WEIR_OK, "%u bytes, %zu", widths[w], bytes);
            cr_assert_arr_eq(p.out, p.plain, bytes);
            pair_free(&p);
        }
}

Test(delta, small_differences_take_little)
{
    struct pair p = pair_new(WEIR_TRANSFORM_DIFF, 4, WEIR_TILE_BYTES);
    cr_assert_eq(encode(&p), WEIR_OK);
    /* 9 places: 3.2 bits of 32; what lies above 16 bits is no symbol, so byte by byte. */
    cr_expect_lt(p.head.payload_bytes, WEIR_TILE_BYTES / 8);
    pair_free(&p);
    p = pair_new(WEIR_TRANSFORM_DIFF, 2, WEIR_TILE_BYTES);
    cr_assert_eq(encode(&p), WEIR_OK);
    cr_expect_lt(p.head.payload_bytes, WEIR_TILE_BYTES / 4);
    cr_expect_eq(p.coding->n_parts, 1, "one symbol an element");
    pair_free(&p);
}

Test(delta, what_differs_by_chance_is_stored_all_the_same)
{
    struct pair p = pair_new(WEIR_TRANSFORM_XOR, 2, WEIR_TILE_BYTES);
    uint64_t random = 5;
    random_bytes(&random, p.plain, p.bytes);
    cr_assert_eq(encode(&p), WEIR_OK);
    cr_expect_eq(p.head.mode, WEIR_TILE_RAW);
    cr_assert_eq(decode(&p), WEIR_OK);
    cr_assert_arr_eq(p.out, p.plain, p.bytes);
    memset(p.plain, 7, p.bytes);
    cr_assert_eq(encode(&p), WEIR_OK);
    cr_expect_eq(p.head.mode, WEIR_TILE_CONST);
    cr_assert_eq(decode(&p), WEIR_OK);
    cr_assert_arr_eq(p.out, p.plain, p.bytes);
    cr_expect_eq(
        weir_tile_encode_delta(p.enc, p.coding, p.base, p.plain, p.bytes - 1, p.payload, &p.head),
        WEIR_ERR_INVALID);
    pair_free(&p);
}

Test(delta, another_base_is_noticed)
{
    struct pair p = pair_new(WEIR_TRANSFORM_DIFF, 2, WEIR_TILE_BYTES);
    cr_assert_eq(encode(&p), WEIR_OK);
    cr_assert_eq(p.head.mode, WEIR_TILE_MADE);
    for (size_t at = 0; at < p.bytes; at += 4099) {
        p.base[at] ^= 1;
        cr_expect_eq(decode(&p), WEIR_ERR_CORRUPT, "byte %zu", at);
        p.base[at] ^= 1;
    }
    cr_expect_eq(decode(&p), WEIR_OK);
    pair_free(&p);
}

Test(delta, says_nothing_before_its_streams)
{
    struct pair p = pair_new(WEIR_TRANSFORM_DIFF, 2, WEIR_TILE_BYTES);
    cr_assert_eq(encode(&p), WEIR_OK);
    for (size_t at = 0; at < 16; at++) {
        cr_assert_eq(p.payload[at], 0);
        p.payload[at] = 1;
        cr_expect_eq(decode(&p), WEIR_ERR_CORRUPT, "byte %zu", at);
        p.payload[at] = 0;
    }
    const uint32_t whole = p.head.payload_bytes;
    for (uint32_t n = 1; n < whole; n += n < 400 ? 1 : 977) {
        p.head.payload_bytes = n;
        cr_expect_eq(decode(&p), WEIR_ERR_CORRUPT, "cut to %u", n);
    }
    pair_free(&p);
}

/* ---- codings ---- */

Test(delta, codings_have_one_form)
{
    struct pair p = pair_new(WEIR_TRANSFORM_DIFF, 4, 4096);
    cr_expect(weir_coding_needs_base(p.coding));
    cr_expect_not(weir_coding_needs_base(NULL));
    const struct weir_transform right = p.coding->transform;
    struct weir_transform wrong[7];
    for (size_t i = 0; i < COUNT_OF(wrong); i++)
        wrong[i] = right;
    wrong[0].number = wrong[1].made = wrong[2].near = 1;
    wrong[3].item_bytes = 2;
    wrong[4].row_elements = wrong[5].block_rows = wrong[6].block_cols = 1;
    for (size_t i = 0; i < COUNT_OF(wrong); i++) {
        p.coding->transform = wrong[i];
        cr_expect_eq(weir_coding_check(p.coding), WEIR_ERR_CORRUPT, "%zu", i);
    }
    p.coding->transform = right;
    cr_expect_eq(weir_coding_check(p.coding), WEIR_OK);
    cr_expect_eq(weir_transform_scales(&right, 0, 0, 8), 0);
    pair_free(&p);
}
