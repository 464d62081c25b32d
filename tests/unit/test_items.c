/* The kernels that take items apart and put them together: the scalar ones against the words of
 * docs/format.md, every other variant that runs here against the scalar one, bit for bit.  Tests a
 * private header (codec/kernels.h). */
#include "kernels.h"

#include <criterion/criterion.h>

#include "coding_kit.h"
#include "stream.h"

static uint64_t load_item(const uint8_t *at, unsigned item_bytes)
{
    uint64_t v = 0;
    for (unsigned i = 0; i < item_bytes; i++)
        v |= (uint64_t)at[i] << (8 * i);
    return v;
}

static uint64_t low_bits(unsigned n)
{
    return n ? UINT64_MAX >> (64 - n) : 0;
}

/* Bits of lane `lane`'s string from `bit` on (docs/format.md, 7.1), one by one. */
static uint64_t book_raw_bits(const struct item_code *c, const uint8_t *raw, size_t row,
                              size_t lane)
{
    size_t width = 8 * (size_t)c->item_bytes;
    uint64_t bits = 0;
    for (size_t i = 0; i < c->raw_bits; i++) {
        size_t bit = row * c->raw_bits + i;
        const uint8_t *number = raw + (64 * (bit / width) + lane) * c->item_bytes;
        bits |= (load_item(number, c->item_bytes) >> bit % width & 1) << i;
    }
    return bits;
}

/* An item put together from table index and raw bits, by the sentences of section 6. */
static uint64_t book_join(const struct item_code *c, uint8_t index, uint64_t raw_bits)
{
    unsigned width = 8u * c->item_bytes;
    uint64_t symbol = index ? (uint64_t)c->base + index : 0;
    uint64_t code = symbol << c->raw_bits | raw_bits;
    if (!c->sign_first)
        return code << c->drop_bits;
    return ((code >> 1) << c->drop_bits) | (code % 2) << (width - 1);
}

/* The raw bits of an item, and its table index, or -1 for a patch. */
static int book_cut(const struct weir_part *p, const struct item_code *c, uint64_t v,
                    uint64_t *raw_bits)
{
    unsigned width = 8u * c->item_bytes;
    uint64_t magnitude = c->sign_first ? v & low_bits(width - 1) : v;
    uint64_t code = magnitude >> c->drop_bits;
    if (c->sign_first)
        code = code * 2 + (v >> (width - 1));
    *raw_bits = code & low_bits(c->raw_bits);
    uint64_t symbol = code >> c->raw_bits;
    if ((magnitude & low_bits(c->drop_bits)) != 0)
        return -1;
    if (symbol != 0 && (symbol <= c->base || symbol - c->base > 255))
        return -1;
    int index = symbol ? (int)(symbol - c->base) : 0;
    return p->freq[index] ? index : -1;
}

/* Rows first_row .. first_row + n_rows - 1 of one part, for join and for cut. */
struct rows {
    const struct weir_part *part;
    struct item_code code;
    size_t first_row, n_rows, n_items, item_bytes;
    size_t before_bytes, raw_bytes;     /* of the raw bits up to first_row, and in all */
    uint8_t *index, *raw, *items, *bad; /* blocks of exactly their size */
};

static struct rows rows_new(const struct weir_part *p, size_t first_row, size_t n_rows)
{
    struct rows r = {.part = p,
                     .first_row = first_row,
                     .n_rows = n_rows,
                     .n_items = n_rows * WEIR_LANES,
                     .item_bytes = p->item_bytes};
    item_code_make(p, &r.code);
    r.before_bytes = stream_raw_bytes(&r.code, first_row * WEIR_LANES);
    r.raw_bytes = stream_raw_bytes(&r.code, (first_row + n_rows) * WEIR_LANES);
    r.index = must_alloc(r.n_items);
    r.raw = must_alloc(r.raw_bytes);
    r.items = must_alloc(r.n_items * p->item_bytes);
    r.bad = must_alloc(n_rows);
    return r;
}

static void rows_free(struct rows *r)
{
    free(r->index);
    free(r->raw);
    free(r->items);
    free(r->bad);
}

static void expect_same_join(const struct weir_part *p, size_t first_row, size_t n_rows,
                             uint64_t *random, bool by_the_book)
{
    struct variants v = variants_here();
    struct rows r = rows_new(p, first_row, n_rows);
    uint8_t *wanted = must_alloc(r.n_items * r.item_bytes);
    random_bytes(random, r.raw, r.raw_bytes);
    for (size_t i = 0; i < r.n_items; i++)
        r.index[i] = (uint8_t)random_below(random, part_last_index(p) + 1);
    v.at[0]->join(&r.code, r.index, r.raw, first_row, n_rows, wanted);
    for (size_t i = 0; by_the_book && i < r.n_items; i++) {
        uint64_t bits = book_raw_bits(&r.code, r.raw, first_row + i / 64, i % 64);
        uint64_t item = book_join(&r.code, r.index[i], bits);
        cr_assert_eq(load_item(wanted + i * r.item_bytes, p->item_bytes), item,
                     "W %d S %d drop %d sign %d base %d, item %zu of %zu + %zu rows",
                     8 * p->item_bytes, p->symbol_bits, p->drop_bits, p->sign_first, p->base, i,
                     first_row, n_rows);
    }
    for (size_t i = 1; i < v.n; i++) {
        v.at[i]->join(&r.code, r.index, r.raw, first_row, n_rows, r.items);
        cr_assert_arr_eq(r.items, wanted, r.n_items * r.item_bytes,
                         "%s: W %d S %d drop %d sign %d base %d, %zu + %zu rows", v.at[i]->name,
                         8 * p->item_bytes, p->symbol_bits, p->drop_bits, p->sign_first, p->base,
                         first_row, n_rows);
    }
    free(wanted);
    rows_free(&r);
}

Test(items, join_as_the_format_says)
{
    struct part_walk walk = {0};
    struct weir_part p;
    uint64_t random = 4;
    while (part_walk_next(&walk, &p, &random)) {
        expect_same_join(&p, walk.n % 5 ? random_below(&random, 70) : 0, 1 + walk.n % 3, &random,
                         true);
        expect_same_join(&p, walk.n % 2 ? random_below(&random, 70) : 0,
                         1 + walk.n % KERNEL_TEST_ROWS, &random, false);
    }
    cr_assert_eq(walk.n, 2880); /* all that fit */
}

/* decode_items() against decode_rows() and join() of scalar, with words that may run out. */
static void expect_same_items(const struct weir_part *p, size_t first_row, size_t n_rows,
                              uint64_t *random)
{
    struct variants v = variants_here();
    struct rows r = rows_new(p, first_row, n_rows);
    struct rans_decode_table table;
    size_t n_words = some_word_bytes(random, n_rows);
    uint8_t *words = must_alloc(n_words), *wanted = must_alloc(r.n_items * r.item_bytes);
    struct rans_reader start = {.at = words, .end = words + n_words, .raw = r.raw};
    rans_decode_table_make(p, &table);
    random_bytes(random, words, n_words);
    random_bytes(random, r.raw, r.raw_bytes);
    random_bytes(random, start.x, sizeof(start.x));
    struct rans_reader book = start;
    bool fine = v.at[0]->decode_rows(&table, &book, r.index, n_rows);
    if (fine)
        v.at[0]->join(&r.code, r.index, r.raw, first_row, n_rows, wanted);
    for (size_t i = 0; i < v.n; i++) {
        struct rans_reader end = start;
        bool ok = v.at[i]->decode_items(&table, &r.code, &end, first_row, n_rows, r.items);
        cr_assert_eq(ok, fine, "%s: %zu + %zu rows", v.at[i]->name, first_row, n_rows);
        bool same = !ok || (memcmp(r.items, wanted, r.n_items * r.item_bytes) == 0 &&
                            memcmp(&end, &book, sizeof(end)) == 0);
        cr_assert(same, "%s: W %d S %d drop %d sign %d base %d, %zu + %zu rows", v.at[i]->name,
                  8 * p->item_bytes, p->symbol_bits, p->drop_bits, p->sign_first, p->base,
                  first_row, n_rows);
    }
    free(words);
    free(wanted);
    rows_free(&r);
}

Test(items, decode_items_is_decode_rows_and_join)
{
    struct part_walk walk = {0};
    struct weir_part p;
    uint64_t random = 7;
    while (part_walk_next(&walk, &p, &random))
        expect_same_items(&p, walk.n % 2 ? random_below(&random, 70) : 0,
                          1 + walk.n % KERNEL_TEST_ROWS, &random);
    for (size_t n_rows = 0; n_rows < 300; n_rows += 23) { /* more than one run of 64 */
        p = (struct weir_part){.item_bytes = 2, .sign_first = true, .symbol_bits = 9, .base = 200};
        part_fill_freq(&p, TABLE_SKEWED, &random);
        expect_same_items(&p, n_rows % 3, n_rows, &random);
    }
}

/* Items of which most have an index: joined from table indices, some with bits flipped. */
static void some_items(struct rows *r, uint64_t *random)
{
    uint32_t every = 1 + random_below(random, 100);
    for (size_t i = 0; i < r->n_items; i++) {
        uint8_t j = (uint8_t)random_below(random, part_last_index(r->part) + 1);
        if (r->part->freq[j] == 0)
            j = r->code.filler;
        uint64_t v = book_join(&r->code, j, random_u64(random) & low_bits(r->code.raw_bits));
        if (i % every == 0)
            v ^= (uint64_t)1 << random_below(random, 8u * r->part->item_bytes);
        if (i % every == 1)
            v = random_u64(random);
        for (size_t k = 0; k < r->item_bytes; k++)
            r->items[i * r->item_bytes + k] = (uint8_t)(v >> (8 * k));
    }
}

/* Scalar's cut of rows that start at row 0. */
static void expect_book_cut(const struct rows *r)
{
    unsigned n_bad = 0;
    for (size_t i = 0; i < r->n_items; i++) {
        const uint8_t *item = r->items + i * r->item_bytes;
        uint64_t bits;
        int index = book_cut(r->part, &r->code, load_item(item, r->part->item_bytes), &bits);
        cr_assert_eq(item_is_coded(&r->code, item), index >= 0, "item %zu", i);
        cr_assert_eq(r->index[i], index < 0 ? r->code.filler : index, "item %zu: index %d", i,
                     index);
        cr_assert_eq(book_raw_bits(&r->code, r->raw, i / 64, i % 64), bits, "item %zu", i);
        n_bad = (i % WEIR_LANES ? n_bad : 0) + (index < 0);
        if (i % WEIR_LANES == WEIR_LANES - 1)
            cr_assert_eq(r->bad[i / WEIR_LANES], n_bad, "row %zu", i / WEIR_LANES);
    }
}

/* Cuts with every variant, the first `split` rows and then the rest: all must give what scalar
 * gives in one go, and nothing else may be written. */
static void expect_same_cut(const struct weir_part *p, size_t split, size_t n_rows,
                            uint64_t *random, bool by_the_book)
{
    struct variants v = variants_here();
    struct rows r = rows_new(p, 0, n_rows), other = rows_new(p, 0, n_rows);
    some_items(&r, random);
    memset(r.raw, 0xa5, r.raw_bytes);
    v.at[0]->cut(&r.code, r.items, 0, n_rows, r.index, r.raw, r.bad);
    if (by_the_book)
        expect_book_cut(&r);
    for (size_t i = 0; i < v.n; i++) {
        memset(other.raw, 0x5a, r.raw_bytes);
        v.at[i]->cut(&r.code, r.items, 0, split, other.index, other.raw, other.bad);
        v.at[i]->cut(&r.code, r.items + split * WEIR_LANES * r.item_bytes, split, n_rows - split,
                     other.index + split * WEIR_LANES, other.raw, other.bad + split);
        bool same = memcmp(other.index, r.index, r.n_items) == 0 &&
                    memcmp(other.raw, r.raw, r.raw_bytes) == 0 &&
                    memcmp(other.bad, r.bad, n_rows) == 0;
        cr_assert(same, "%s: W %d S %d drop %d sign %d base %d, %zu of %zu rows first",
                  v.at[i]->name, 8 * p->item_bytes, p->symbol_bits, p->drop_bits, p->sign_first,
                  p->base, split, n_rows);
    }
    rows_free(&r);
    rows_free(&other);
}

Test(items, cut_as_the_format_says)
{
    struct part_walk walk = {0};
    struct weir_part p;
    uint64_t random = 5;
    while (part_walk_next(&walk, &p, &random)) {
        size_t few = 1 + walk.n % 3, many = 1 + walk.n % KERNEL_TEST_ROWS;
        expect_same_cut(&p, random_below(&random, (uint32_t)few + 1), few, &random, true);
        expect_same_cut(&p, random_below(&random, (uint32_t)many + 1), many, &random, false);
    }
    cr_assert_eq(walk.n, 2880); /* all that fit */
}
