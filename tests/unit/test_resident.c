/* The resident form: every bit comes back, whatever the weights and the shape. */
#include <criterion/criterion.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "codec/resident.h"
#include "fail_alloc.h"

enum { MAX_COLUMNS = 200, N_ROWS = 64 };

static uint32_t next(uint32_t *state)
{
    *state = *state * 1664525u + 1013904223u;
    return *state >> 16;
}

/* Mostly weights with few high bytes; one in `rare` is anything. */
static void make_rows(uint16_t *w, size_t n, uint32_t rare, uint32_t seed)
{
    for (size_t i = 0; i < n; i++) {
        uint32_t high = 0x38 + next(&seed) % 8 + (next(&seed) & 1) * 0x80;
        w[i] = (uint16_t)(high << 8 | (next(&seed) & 0xff));
        if (rare && next(&seed) % rare == 0)
            w[i] = (uint16_t)next(&seed);
    }
}

static uint64_t choose(const uint16_t *w, size_t n, struct weir_resident_code *code)
{
    uint64_t count[256] = {0};
    for (size_t i = 0; i < n; i++)
        count[w[i] >> 8]++;
    return weir_resident_choose(count, code);
}

Test(resident, chooses_what_is_most_frequent)
{
    uint64_t count[256] = {0};
    struct weir_resident_code code;
    for (size_t i = 0; i < 20; i++)
        count[10 * i] = 100 - i;
    cr_assert_eq(weir_resident_choose(count, &code), 84 + 83 + 82 + 81);
    for (size_t i = 0; i < WEIR_RESIDENT_CODES; i++)
        cr_expect_eq(code.high[i], 10 * i);
    memset(count, 0, sizeof(count));
    count[255] = 1;
    cr_assert_eq(weir_resident_choose(count, &code), 0);
    cr_expect_eq(code.high[WEIR_RESIDENT_CODES - 1], 255);
    cr_expect_eq(code.high[0], 0);
    cr_expect_eq(code.high[14], 14);
}

Test(resident, gives_every_bit_back)
{
    static uint16_t w[N_ROWS * MAX_COLUMNS], back[MAX_COLUMNS + 1];
    const uint32_t rares[] = {0, 1, 3, 100};
    for (size_t n_columns = 1; n_columns <= MAX_COLUMNS; n_columns++) {
        struct weir_resident_code code;
        struct weir_resident *r = NULL;
        size_t n = N_ROWS * n_columns;
        make_rows(w, n, rares[n_columns % 4], (uint32_t)n_columns);
        uint64_t n_left = choose(w, n, &code);
        cr_assert_eq(weir_resident_new(N_ROWS, n_columns, &code, (uint32_t)n_left, &r), WEIR_OK);
        for (size_t row = N_ROWS; row-- > 0;)
            cr_assert_eq(weir_resident_put(r, row, w + row * n_columns), WEIR_OK);
        uint64_t n_listed = 0;
        for (size_t row = 0; row < N_ROWS; row++) {
            size_t n_here;
            const struct weir_resident_exception *e;
            (void)weir_resident_row(r, row, &e, &n_here);
            n_listed += n_here;
            back[n_columns] = 0xabcd;
            weir_resident_get(r, row, back);
            cr_assert_arr_eq(back, w + row * n_columns, 2 * n_columns);
            cr_assert_eq(back[n_columns], 0xabcd);
        }
        cr_assert_eq(n_listed, n_left, "%zu columns", n_columns);
        weir_resident_free(r);
    }
}

/* The layout is a contract with kernels, so it is spelled out once more here. */
Test(resident, lays_blocks_out_as_the_header_says)
{
    struct weir_resident_code code;
    struct weir_resident *r = NULL;
    uint16_t w[64];
    for (size_t c = 0; c < 64; c++)
        w[c] = (uint16_t)((0x30 + c % 16) << 8 | c);
    cr_assert_eq(choose(w, 64, &code), 0);
    cr_assert_eq(weir_resident_new(1, 64, &code, 0, &r), WEIR_OK);
    cr_assert_eq(weir_resident_put(r, 0, w), WEIR_OK);
    size_t n;
    const struct weir_resident_exception *e;
    const uint8_t *block = weir_resident_row(r, 0, &e, &n);
    cr_expect_eq(n, 0);
    cr_expect_eq((uintptr_t)block % WEIR_RESIDENT_ALIGN, 0);
    /* Bytes of a vector, its codes, interleaved as two halves of 16, give 16-bit weights; the lower
     * of each pair are columns 16q ... 16q + 7, the upper ones the next eight. */
    for (size_t q = 0; q < 4; q++)
        for (size_t i = 0; i < 16; i++) {
            size_t p = q / 2 * 32 + i / 8 * 16 + q % 2 * 8 + i % 8;
            size_t column = 16 * q + i % 2 * 8 + i / 2;
            uint8_t both = block[64 + p % 32];
            cr_expect_eq(block[p], column);
            cr_expect_eq(p < 32 ? both & 15 : both >> 4, column % 16);
        }
    weir_resident_free(r);
}

Test(resident, refuses_what_does_not_fit)
{
    const struct weir_resident_code code = {{0}};
    struct weir_resident *r = NULL;
    cr_expect_eq(weir_resident_new(0, 1, &code, 0, &r), WEIR_ERR_INVALID);
    cr_expect_eq(weir_resident_new(1, 0, &code, 0, &r), WEIR_ERR_INVALID);
    cr_expect_eq(weir_resident_new(SIZE_MAX, SIZE_MAX, &code, 0, &r), WEIR_ERR_INVALID);
    cr_expect_null(r);
    cr_expect_eq(weir_resident_bytes(SIZE_MAX, 1, 0), UINT64_MAX);
    cr_expect_eq(weir_resident_bytes(10, 65, 3), 10 * (2 * 96 + 8) + 3 * 8);

    const uint16_t bad[3] = {0x1234, 0x0012, 0x5678};
    cr_assert_eq(weir_resident_new(2, 3, &code, 3, &r), WEIR_OK);
    cr_expect_eq(weir_resident_put(r, 0, bad), WEIR_OK);
    cr_expect_eq(weir_resident_put(r, 1, bad), WEIR_ERR_NOMEM);
    weir_resident_free(r);
    weir_resident_free(NULL);
}

Test(resident, survives_every_failed_allocation)
{
    const struct weir_resident_code code = {{0}};
    struct weir_resident *r = NULL;
    int n = 0;
    for (;; n++) {
        fail_alloc_at(n);
        weir_err err = weir_resident_new(3, 100, &code, 5, &r);
        fail_alloc_at(-1);
        if (err == WEIR_OK)
            break;
        cr_assert_eq(err, WEIR_ERR_NOMEM);
        cr_assert_null(r);
    }
    cr_expect_eq(n, 3, "the blocks are not among the calls that can fail here");
    weir_resident_free(r);
}

struct part {
    struct weir_resident *r;
    const uint16_t *w;
    size_t n_columns, first;
    weir_err err;
};

static void *put_part(void *self)
{
    struct part *p = self;
    for (size_t row = p->first; !p->err && row < N_ROWS; row += 4)
        p->err = weir_resident_put(p->r, row, p->w + row * p->n_columns);
    return NULL;
}

Test(resident, takes_rows_from_several_threads)
{
    enum { N_COLUMNS = 130 };
    static uint16_t w[N_ROWS * N_COLUMNS];
    make_rows(w, sizeof(w) / sizeof(w[0]), 5, 7);
    struct weir_resident_code code;
    struct weir_resident *r = NULL;
    uint64_t n_left = choose(w, sizeof(w) / sizeof(w[0]), &code);
    cr_assert_eq(weir_resident_new(N_ROWS, N_COLUMNS, &code, (uint32_t)n_left, &r), WEIR_OK);
    pthread_t thread[4];
    struct part part[4];
    for (size_t i = 0; i < 4; i++) {
        part[i] = (struct part){r, w, N_COLUMNS, i, WEIR_OK};
        cr_assert_eq(pthread_create(&thread[i], NULL, put_part, &part[i]), 0);
    }
    for (size_t i = 0; i < 4; i++) {
        cr_assert_eq(pthread_join(thread[i], NULL), 0);
        cr_assert_eq(part[i].err, WEIR_OK);
    }
    uint16_t back[N_COLUMNS];
    for (size_t row = 0; row < N_ROWS; row++) {
        weir_resident_get(r, row, back);
        cr_assert_arr_eq(back, w + row * N_COLUMNS, sizeof(back));
    }
    weir_resident_free(r);
}
