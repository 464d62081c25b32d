/* Rows of whole steps in the resident form: every bit comes back, and each kernel computes with
 * them what it computes with the plain row. */
#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>

#include "fail_alloc.h"
#include "grid_kit.h"
#include "kernels.h"

enum { MOST = 400 };

static const char *const names[] = {"scalar", "avx2", "avx512", "avx512bf16"};
enum { N_NAMES = sizeof(names) / sizeof(*names) };

static struct weir_resident *make(const uint16_t *w, size_t n_rows, size_t n_columns)
{
    struct weir_resident *r = NULL;
    const uint32_t room = (uint32_t)(n_rows * n_columns);
    cr_assert_eq(weir_resident_new(n_rows, n_columns, NULL, room, &r), WEIR_OK);
    for (size_t row = n_rows; row-- > 0;)
        cr_assert_eq(weir_resident_put(r, row, w + row * n_columns), WEIR_OK);
    cr_assert_null(weir_resident_code(r));
    return r;
}

static struct resident_row row_of(const struct weir_resident *r, size_t row, size_t n_columns)
{
    struct resident_row out = {.step = weir_resident_step(r, row), .n_cols = n_columns};
    out.blocks = weir_resident_row(r, row, &out.exception, &out.n_exceptions);
    return out;
}

static uint32_t bits_of(float f)
{
    uint32_t bits;
    memcpy(&bits, &f, sizeof(bits));
    return bits;
}

Test(math_steps, every_bit_comes_back)
{
    enum { ROWS = 8 };
    static uint16_t w[ROWS * MOST], back[MOST + 1];
    const uint32_t rares[] = {0, 1, 3, 100};
    for (uint32_t n = 1; n <= MOST; n++) {
        kit_rows(w, ROWS, n, 0x3a00, rares[n % 4], n);
        w[n / 2] = 0x8000;
        struct weir_resident *r = make(w, ROWS, n);
        for (size_t row = 0; row < ROWS; row++) {
            back[n] = 0xabcd;
            weir_resident_get(r, row, back);
            cr_assert_arr_eq(back, w + row * n, 2 * (size_t)n, "%u columns", n);
            cr_assert_eq(back[n], 0xabcd);
        }
        weir_resident_free(r);
    }
    cr_expect_eq(weir_resident_step_bytes(10, 65, 3), 10 * (128 + 8 + 2) + 3 * 8);
    cr_expect_eq(weir_resident_step_bytes(SIZE_MAX, 1, 0), UINT64_MAX);
}

/* Few exceptions in what was rounded to the grid: else 8 bits were a lie. */
Test(math_steps, numbers_are_no_exceptions)
{
    static uint16_t w[MOST];
    kit_rows(w, 1, MOST, 0x3a35, 0, 1);
    struct weir_resident *r = make(w, 1, MOST);
    cr_expect_eq(row_of(r, 0, MOST).n_exceptions, 0);
    weir_resident_free(r);
}

Test(math_steps, no_room_for_exceptions_is_said)
{
    static uint16_t w[MOST];
    struct weir_resident *r = NULL;
    kit_rows(w, 1, MOST, 0x3a35, 0, 1);
    w[3] = w[300] = 0x7fc0;
    cr_assert_eq(weir_resident_new(1, MOST, NULL, 1, &r), WEIR_OK);
    cr_expect_eq(weir_resident_put(r, 0, w), WEIR_ERR_NOMEM);
    weir_resident_free(r);
    for (int n = 0; n < 5; n++) {
        fail_alloc_at(n);
        const weir_err err = weir_resident_new(3, 100, NULL, 5, &r);
        fail_alloc_at(-1);
        cr_assert(err == WEIR_OK || err == WEIR_ERR_NOMEM);
        if (!err)
            weir_resident_free(r);
    }
}

static void compare(const struct math_kernels *k, const uint16_t *w, uint32_t n, const float *x)
{
    struct weir_resident *r = make(w, 1, n);
    const struct resident_row row = row_of(r, 0, n);
    const struct rows plain = {(const uint8_t *)w, 2 * (size_t)n, 1, n, NUMBER_BF16};
    const struct vectors vectors = {x, whole_lanes(n), 1};
    const size_t padded = (n + 63) / 64 * (size_t)64;
    float expected, wide[MOST + 65];
    uint16_t unpacked[MOST + 64];
    k->dot(&plain, &vectors, &expected, 1);
    cr_assert_eq(bits_of(k->dot_resident(&row, x)), bits_of(expected), "%s, %u columns", k->name,
                 n);
    wide[padded] = 77;
    k->widen_resident(&row, wide);
    for (uint32_t c = 0; c < n; c++)
        cr_assert_eq(bits_of(wide[c]), (uint32_t)w[c] << 16, "%s, %u of %u", k->name, c, n);
    cr_assert_eq(wide[padded], 77);
    if (k->unpack_resident) {
        k->unpack_resident(&row, unpacked);
        cr_assert_arr_eq(unpacked, w, 2 * (size_t)n);
        for (size_t c = n; c < padded; c++)
            cr_assert_eq(unpacked[c], 0);
    }
    weir_resident_free(r);
}

/* Numbers large and small, so that another order of the sum is another sum; no NaNs. */
Test(math_steps, kernels_give_what_plain_rows_do)
{
    const uint32_t rares[] = {0, 500, 40, 2};
    uint16_t w[MOST];
    float x[MOST + SUM_LANES];
    for (size_t i = 0; i < N_NAMES; i++) {
        const struct math_kernels *k = math_kernels_named(names[i]);
        for (uint32_t n = 1; k && n <= MOST; n++) {
            uint32_t seed = n;
            kit_rows(w, 1, n, 0x3a00, 0, n);
            for (uint32_t c = 0; rares[n % 4] && c < n; c++)
                if (kit_next(&seed) % rares[n % 4] == 0)
                    w[c] = (uint16_t)((kit_next(&seed) & 0x8fff) | 0x3000);
            for (uint32_t c = 0; c < MOST + SUM_LANES; c++)
                x[c] = c < n ? (float)((int)(kit_next(&seed) % 2001) - 1000) *
                                   (kit_next(&seed) % 3 ? 1e-3F : 1e5F)
                             : 0;
            compare(k, w, n, x);
        }
    }
}

/* Every number of every significand of a step, at both ends of its range: ties of rounding are
 * among them. */
Test(math_steps, kernels_round_as_they_should)
{
    const uint16_t steps[] = {WEIR_GRID_LEAST_STEP, 0x3a00, WEIR_GRID_END_STEP - 128};
    enum { N = 2 * WEIR_GRID_MOST + 1 };
    uint16_t w[N];
    float x[N + SUM_LANES] = {0};
    for (size_t c = 0; c < N; c++)
        x[c] = (float)c - 20;
    for (size_t i = 0; i < N_NAMES; i++) {
        const struct math_kernels *k = math_kernels_named(names[i]);
        for (size_t s = 0; k && s < (size_t)3 * 128; s++) {
            const uint16_t step = (uint16_t)(steps[s / 128] + s % 128);
            for (uint32_t c = 0; c < N; c++)
                w[c] = (uint16_t)(weir_grid_weight(step, c / 2 + c % 2) | c % 2 << 15);
            if (i == 3 && s < 128)
                continue; /* products that count as zeros there */
            compare(k, w, N, x);
        }
    }
}
