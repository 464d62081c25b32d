/* rANS and the checksum: the scalar kernels against the words of docs/format.md, every other
 * variant that runs here against the scalar one, bit for bit.  Tests a private header
 * (codec/kernels.h). */
#include "kernels.h"

#include <criterion/criterion.h>
#include <stdio.h>

#include "coding_kit.h"
#include "stream.h"

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
        for (size_t rows = 1; rows <= KERNEL_TEST_ROWS; rows++) {
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
    uint8_t index[KERNEL_TEST_ROWS * WEIR_LANES];
    uint32_t x[WEIR_LANES];
    for (unsigned n = 0; n < 2u * N_TABLE_KINDS; n++) {
        struct weir_part p = {.item_bytes = 2, .symbol_bits = n % 2 ? 8 : 3};
        struct rans_encode_table table;
        struct rans_decode_table slots;
        part_fill_freq(&p, (enum table_kind)(n / 2), &random);
        rans_encode_table_make(&p, &table);
        rans_decode_table_make(&p, &slots);
        for (size_t rows = 1; rows <= KERNEL_TEST_ROWS; rows++) {
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
