/* The hot loops: the scalar ones against the words of docs/format.md, every other variant that
 * runs here against the scalar one, bit for bit.  Tests a private header (codec/kernels.h). */
#include "kernels.h"

#include <criterion/criterion.h>
#include <stdio.h>

#include "coding_kit.h"
#include "stream.h"

enum { MAX_ROWS = 70 };

Test(kernels, are_named)
{
    struct variants v = variants_here();
    bool best_is_one = false;
    fprintf(stderr, "kernels that run here:");
    for (size_t i = 0; i < v.n; i++) {
        fprintf(stderr, " %s", weir_kernels_name(v.at[i]));
        cr_assert_eq(weir_kernels_named(weir_kernels_name(v.at[i])), v.at[i]);
        best_is_one |= weir_kernels_best() == v.at[i];
    }
    fprintf(stderr, "; best: %s\n", weir_kernels_name(weir_kernels_best()));
    cr_assert(v.n >= 1 && best_is_one);
    cr_assert_str_eq(weir_kernels_name(v.at[0]), "scalar");
    cr_assert_null(weir_kernels_named("AVX2"));
    cr_assert_null(weir_kernels_named(""));
}

/* ---- rANS ---- */

/* What the format says of one state, table index and word, by linear search. */
struct book {
    uint32_t x;
    uint8_t index;
    bool takes_word;
};

static struct book book_decode(const struct weir_part *p, uint32_t x)
{
    uint32_t s = x % 4096, first = 0, j = 0;
    while (s >= first + p->freq[j])
        first += p->freq[j++];
    x = p->freq[j] * (x >> 12) + s - first;
    return (struct book){x, (uint8_t)j, x < 65536};
}

static bool book_decode_rows(const struct weir_part *p, struct rans_reader *r, uint8_t *index,
                             size_t n_rows)
{
    for (size_t i = 0; i < n_rows * WEIR_LANES; i++) {
        uint32_t *x = &r->x[i % WEIR_LANES];
        struct book b = book_decode(p, *x);
        *x = b.x;
        index[i] = b.index;
        if (!b.takes_word)
            continue;
        if (r->end - r->at < 2)
            return false;
        *x = *x << 16 | (uint32_t)(r->at[0] | r->at[1] << 8);
        r->at += 2;
    }
    return true;
}

static uint8_t *book_encode_rows(const struct weir_part *p, uint32_t *state, const uint8_t *index,
                                 size_t n_rows, uint8_t *words)
{
    for (size_t i = n_rows * WEIR_LANES; i-- > 0;) {
        uint64_t x = state[i % WEIR_LANES], f = p->freq[index[i]], b = 0;
        for (unsigned j = 0; j < index[i]; j++)
            b += p->freq[j];
        if (x >= f << 20) {
            *--words = (uint8_t)(x >> 8);
            *--words = (uint8_t)x;
            x >>= 16;
        }
        state[i % WEIR_LANES] = (uint32_t)(x / f * 4096 + x % f + b);
    }
    return words;
}

/* Bytes of words between none and more than n_rows rows can take; odd ones too. */
static size_t some_word_bytes(uint64_t *random, size_t n_rows)
{
    size_t most = (size_t)2 * WEIR_LANES * n_rows;
    return random_below(random, 2) ? most : random_below(random, (uint32_t)most + 200);
}

static void expect_same_decoding(const struct weir_part *p, const struct rans_decode_table *table,
                                 uint64_t *random, size_t n_rows, bool hostile)
{
    size_t n_words = some_word_bytes(random, n_rows);
    uint8_t *words = must_alloc(n_words); /* ends where the words end: ASan sees a read past it */
    uint8_t *wanted = must_alloc(n_rows * WEIR_LANES), *index = must_alloc(n_rows * WEIR_LANES);
    struct rans_reader start = {.at = words, .end = words + n_words};
    random_bytes(random, words, n_words);
    for (int l = 0; l < WEIR_LANES; l++) {
        start.x[l] = (uint32_t)random_u64(random) | (hostile ? 0 : RANS_LOW);
        if (hostile && l % 3 == 0)
            start.x[l] &= 0xffff;
    }
    struct rans_reader book = start;
    bool fine = book_decode_rows(p, &book, wanted, n_rows);
    struct variants v = variants_here();
    for (size_t i = 0; i < v.n; i++) {
        struct rans_reader r = start;
        const char *name = v.at[i]->name;
        bool ok = v.at[i]->decode_rows(table, &r, index, n_rows);
        cr_assert_eq(ok, fine, "%s: %zu rows, %zu bytes of words", name, n_rows, n_words);
        if (!ok)
            continue;
        cr_assert_arr_eq(index, wanted, n_rows * WEIR_LANES, "%s: %zu rows", name, n_rows);
        cr_assert_arr_eq(r.x, book.x, sizeof(r.x), "%s: %zu rows", name, n_rows);
        cr_assert(r.at == book.at && r.end == book.end, "%s: %zu rows", name, n_rows);
    }
    free(words);
    free(wanted);
    free(index);
}

Test(kernels, decode_rows_as_the_format_says)
{
    uint64_t random = 1;
    for (unsigned n = 0; n < 2u * N_TABLE_KINDS; n++) {
        struct weir_part p = {.item_bytes = 2, .symbol_bits = n % 2 ? 8 : 3};
        struct rans_decode_table table;
        part_fill_freq(&p, (enum table_kind)(n / 2), &random);
        rans_decode_table_make(&p, &table);
        for (size_t rows = 1; rows <= MAX_ROWS; rows++) {
            expect_same_decoding(&p, &table, &random, rows, false);
            expect_same_decoding(&p, &table, &random, rows, true);
        }
    }
}

/* Encodes with every variant into a block with just the room that the contract asks for. */
static void expect_same_encoding(const struct weir_part *p, const struct rans_encode_table *table,
                                 const uint32_t *state, const uint8_t *index, size_t n_rows)
{
    size_t room = (size_t)2 * WEIR_LANES * n_rows + 64;
    uint8_t *wanted = must_alloc(room), *words = must_alloc(room);
    uint32_t end[WEIR_LANES], x[WEIR_LANES];
    memcpy(end, state, sizeof(end));
    uint8_t *first = book_encode_rows(p, end, index, n_rows, wanted + room);
    struct variants v = variants_here();
    for (size_t i = 0; i < v.n; i++) {
        memcpy(x, state, sizeof(x));
        uint8_t *at = v.at[i]->encode_rows(table, x, index, n_rows, words + room);
        const char *name = v.at[i]->name;
        cr_assert_eq(at - words, first - wanted, "%s: %zu rows", name, n_rows);
        cr_assert_arr_eq(at, first, (size_t)(wanted + room - first), "%s: %zu rows", name, n_rows);
        cr_assert_arr_eq(x, end, sizeof(x), "%s: %zu rows", name, n_rows);
    }
    free(wanted);
    free(words);
}

Test(kernels, encode_rows_as_the_format_says)
{
    uint64_t random = 2;
    uint8_t index[MAX_ROWS * WEIR_LANES];
    uint32_t x[WEIR_LANES];
    for (unsigned n = 0; n < 2u * N_TABLE_KINDS; n++) {
        struct weir_part p = {.item_bytes = 2, .symbol_bits = n % 2 ? 8 : 3};
        struct rans_encode_table table;
        struct rans_decode_table slots;
        part_fill_freq(&p, (enum table_kind)(n / 2), &random);
        rans_encode_table_make(&p, &table);
        rans_decode_table_make(&p, &slots);
        for (size_t rows = 1; rows <= MAX_ROWS; rows++) {
            bool likely = rows % 2; /* indices as often as the table has it, or all alike */
            for (size_t i = 0; i < rows * WEIR_LANES; i++)
                do
                    index[i] = likely ? (uint8_t)(slots.entry[random_below(&random, 4096)] >> 24)
                                      : (uint8_t)random_below(&random, 256);
                while (p.freq[index[i]] == 0);
            for (int l = 0; l < WEIR_LANES; l++)
                x[l] = (uint32_t)random_u64(&random) | RANS_LOW;
            expect_same_encoding(&p, &table, x, index, rows);
        }
    }
}

/* Vector variants divide in floats: every frequency, at and around multiples of it, up to the
 * largest state. */
Test(kernels, encode_rows_divides_exactly)
{
    uint64_t random = 3;
    uint8_t index[WEIR_LANES];
    uint32_t x[WEIR_LANES];
    for (uint32_t f = 1; f < 4096; f++) {
        struct weir_part p = {.item_bytes = 1, .symbol_bits = 8};
        struct rans_encode_table table;
        p.freq[7] = (uint16_t)f;
        p.freq[9] = (uint16_t)(4096 - f);
        rans_encode_table_make(&p, &table);
        uint64_t top = (uint64_t)f << 20;
        for (uint32_t l = 0; l < WEIR_LANES; l++) {
            uint64_t q = l < 32 ? (1u << 20) - 1 - l / 3 : random_below(&random, 1u << 20);
            uint64_t y = l % 4 == 3 ? random_u64(&random) % top : f * q + l % 3;
            if (l % 3 == 2 && y >= 3)
                y -= 3;
            y = y < top ? y : top - 1;
            x[l] = (uint32_t)(y < RANS_LOW ? y + RANS_LOW : y);
            index[l] = 7;
        }
        expect_same_encoding(&p, &table, x, index, 1);
    }
}

/* ---- items ---- */

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

Test(kernels, join_as_the_format_says)
{
    struct part_walk walk = {0};
    struct weir_part p;
    uint64_t random = 4;
    while (part_walk_next(&walk, &p, &random)) {
        expect_same_join(&p, walk.n % 5 ? random_below(&random, 70) : 0, 1 + walk.n % 3, &random,
                         true);
        expect_same_join(&p, walk.n % 2 ? random_below(&random, 70) : 0, 1 + walk.n % MAX_ROWS,
                         &random, false);
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
    struct rans_reader start = {.at = words, .end = words + n_words};
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
        bool ok = v.at[i]->decode_items(&table, &r.code, &end, r.raw, first_row, n_rows, r.items);
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

Test(kernels, decode_items_is_decode_rows_and_join)
{
    struct part_walk walk = {0};
    struct weir_part p;
    uint64_t random = 7;
    while (part_walk_next(&walk, &p, &random))
        expect_same_items(&p, walk.n % 2 ? random_below(&random, 70) : 0, 1 + walk.n % MAX_ROWS,
                          &random);
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

Test(kernels, cut_as_the_format_says)
{
    struct part_walk walk = {0};
    struct weir_part p;
    uint64_t random = 5;
    while (part_walk_next(&walk, &p, &random)) {
        size_t few = 1 + walk.n % 3, many = 1 + walk.n % MAX_ROWS;
        expect_same_cut(&p, random_below(&random, (uint32_t)few + 1), few, &random, true);
        expect_same_cut(&p, random_below(&random, (uint32_t)many + 1), many, &random, false);
    }
    cr_assert_eq(walk.n, 2880); /* all that fit */
}

/* ---- the checksum ---- */

Test(kernels, xxh3_of_known_bytes)
{
    static const struct {
        size_t n;
        uint64_t wanted;
    } cases[] = {
        /* from the reference library, of bytes (7 i + i / 256) mod 256 */
        {0, 0x2d06800538d394c2},      {1, 0xc44bdff4074eecdb},    {3, 0xc3489259e968ad9e},
        {8, 0xb88dee77f6bf6980},      {16, 0x9da23836adf2be1e},   {17, 0xf34c3c9cf5a112d1},
        {128, 0x65f3c2c00fa93185},    {129, 0x28065c6ec25f5b25},  {240, 0x4917a75c0ef8eed7},
        {241, 0x541b19226f0052e8},    {1024, 0x71bee625238addb4}, {1025, 0xd9b414f4e1bbf7ad},
        {131072, 0xab646508cda6bf91},
    };
    struct variants v = variants_here();
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        uint8_t *bytes = must_alloc(cases[i].n);
        for (size_t k = 0; k < cases[i].n; k++)
            bytes[k] = (uint8_t)(7 * k + k / 256);
        for (size_t k = 0; k < v.n; k++)
            cr_assert_eq(v.at[k]->xxh3(bytes, cases[i].n), cases[i].wanted, "%s: %zu bytes",
                         v.at[k]->name, cases[i].n);
        free(bytes);
    }
}

Test(kernels, xxh3_is_the_same_for_all)
{
    struct variants v = variants_here();
    uint64_t random = 6;
    for (size_t n = 0; n < 1200; n++) {
        uint8_t *bytes = must_alloc(n);
        random_bytes(&random, bytes, n);
        uint64_t wanted = v.at[0]->xxh3(bytes, n);
        for (size_t k = 1; k < v.n; k++)
            cr_assert_eq(v.at[k]->xxh3(bytes, n), wanted, "%s: %zu bytes", v.at[k]->name, n);
        free(bytes);
    }
}
