/* The kernels that multiply pairs of BF16, against a model of the instruction that is written down
 * here; on processors without it the tests are passed over.  Tests private headers. */
#include "kernels.h"

#include <criterion/criterion.h>
#include <math.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { MOST_ROWS = 9, MOST_COLS = 200, MOST_VECTORS = 14, STRIDE = 208, STEP = 32 };

static uint64_t next(uint64_t *state)
{
    *state += 0x9e3779b97f4a7c15;
    uint64_t z = *state;
    z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9;
    return z ^ z >> 27;
}

static uint32_t bits_of(float f)
{
    uint32_t bits;
    memcpy(&bits, &f, sizeof(bits));
    return bits;
}

static float from_bits(uint32_t bits)
{
    float f;
    memcpy(&f, &bits, sizeof(f));
    return f;
}

static const struct math_kernels *kernels(void)
{
    const struct math_kernels *k = math_kernels_named("avx512bf16");
    if (!k)
        cr_skip_test("this processor has no avx512bf16");
    return k;
}

/* ---- the model ---- */

/* A number too small to be normal is zero, with its sign. */
static float flushed(float f)
{
    return fabsf(f) < 0x1p-126F ? copysignf(0, f) : f;
}

static float widened(uint16_t half)
{
    return flushed(from_bits((uint32_t)half << 16));
}

/* To nearest, ties to even. */
static float rounded(float f)
{
    uint32_t bits = bits_of(flushed(f));
    if (isnan(f))
        return from_bits((bits | 0x400000) & 0xffff0000);
    return from_bits((bits + 0x7fff + (bits >> 16 & 1)) & 0xffff0000);
}

static float model_dot(const uint16_t *w, const float *x, size_t n)
{
    float lane[16] = {0};
    for (size_t c = 0; c < (n + STEP - 1) / STEP * STEP; c += 2) {
        float *sum = &lane[c % STEP / 2];
        for (size_t i = 2; i-- > 0;) {
            const bool is_there = c + i < n;
            float a = is_there ? widened(w[c + i]) : 0, b = is_there ? rounded(x[c + i]) : 0;
            *sum = flushed(fmaf(a, b, *sum));
        }
    }
    for (size_t m = 8; m; m /= 2)
        for (size_t i = 0; i < m; i++)
            lane[i] += lane[i + m];
    return lane[0];
}

/* ---- data ---- */

/* Magnitudes from 2^-20 to 2^20, so that the order of a sum shows; or from 2^-150 on. */
static float wild(uint64_t *state, int least)
{
    uint64_t bits = next(state);
    return ldexpf((float)(int32_t)bits * 0x1p-31F, (int)(bits >> 32) % 41 + least);
}

struct data {
    uint16_t *w; /* exactly as long as the rows: what is read past them is seen */
    size_t n_rows, n_cols;
    float x[MOST_VECTORS * STRIDE];
};

static struct data make_data(size_t n_rows, size_t n_cols, int least, uint64_t *state)
{
    struct data d = {.n_rows = n_rows, .n_cols = n_cols};
    d.w = malloc(n_rows * n_cols * sizeof(*d.w));
    cr_assert_not_null(d.w);
    for (size_t i = 0; i < n_rows * n_cols; i++)
        d.w[i] = (uint16_t)(bits_of(wild(state, least)) >> 16);
    for (size_t i = 0; i < sizeof(d.x) / sizeof(d.x[0]); i++)
        d.x[i] = i % STRIDE < n_cols ? wild(state, least) : 0;
    return d;
}

static void compare_dot(const struct math_kernels *k, const struct data *d, size_t n_vectors)
{
    float found[MOST_VECTORS * MOST_ROWS];
    const struct rows rows = {(const uint8_t *)d->w, d->n_cols * sizeof(*d->w), d->n_rows,
                              d->n_cols, NUMBER_BF16};
    const struct vectors vectors = {d->x, STRIDE, n_vectors};
    k->dot(&rows, &vectors, found, MOST_ROWS);
    for (size_t v = 0; v < n_vectors; v++)
        for (size_t r = 0; r < d->n_rows; r++) {
            float expected = model_dot(d->w + r * d->n_cols, d->x + v * STRIDE, d->n_cols);
            float got = found[v * MOST_ROWS + r];
            cr_assert_eq(bits_of(got), bits_of(expected),
                         "%zu columns, row %zu of %zu, vector %zu of %zu: %a, not %a", d->n_cols, r,
                         d->n_rows, v, n_vectors, (double)got, (double)expected);
        }
}

Test(math_bf16, is_chosen_by_name_only)
{
    cr_assert_neq(strcmp(math_kernels_best()->name, "avx512bf16"), 0);
    fprintf(stderr, "avx512bf16 %s here\n",
            math_kernels_named("avx512bf16") ? "runs" : "does not run");
}

/* The model itself, where it can be told without an instruction: ties, what is lost, what is not.
 */
Test(math_bf16, model_is_what_is_written_down)
{
    uint16_t w[34] = {0};
    float x[48] = {0};
    w[0] = w[1] = w[32] = 0x3f80; /* 1 */
    x[0] = 1;
    x[1] = 0x1p25F;
    x[32] = -0x1p25F;
    cr_assert_eq(model_dot(w, x, 34), 0); /* column 1 first, and then the 1 of column 0 is lost */
    x[0] = 0x1p25F;
    x[1] = 1;
    cr_assert_eq(model_dot(w, x, 34), 0);
    cr_assert_eq(rounded(0x1.01p0F), 1); /* a tie, to even */
    cr_assert_eq(rounded(0x1.03p0F), 0x1.04p0F);
    cr_assert_eq(bits_of(rounded(-0x1p-127F)), 0x80000000);
}

/* Ordinary numbers; and such as sums of which fall below the least normal one. */
Test(math_bf16, rows_times_vectors)
{
    const struct math_kernels *k = kernels();
    uint64_t state = 1;
    for (size_t n_cols = 1; k && n_cols <= MOST_COLS; n_cols++) {
        struct data d = make_data(1 + n_cols % MOST_ROWS, n_cols, n_cols % 3 ? -20 : -80, &state);
        compare_dot(k, &d, 1 + n_cols % MOST_VECTORS);
        compare_dot(k, &d, 1);
        free(d.w);
    }
}

/* Other types are the others' business: their bits. */
Test(math_bf16, other_types_are_left_alone)
{
    const struct math_kernels *k = kernels();
    uint64_t state = 2;
    float w[3 * 50], x[64] = {0}, found[3], expected[3];
    for (size_t i = 0; i < 150; i++)
        w[i] = wild(&state, -20);
    for (size_t i = 0; i < 50; i++)
        x[i] = wild(&state, -20);
    const struct rows rows = {(const uint8_t *)w, 50 * sizeof(float), 3, 50, NUMBER_F32};
    const struct vectors vectors = {x, 64, 1};
    if (!k)
        return;
    k->dot(&rows, &vectors, found, 3);
    math_kernels_scalar.dot(&rows, &vectors, expected, 3);
    for (size_t i = 0; i < 3; i++)
        cr_assert_eq(bits_of(found[i]), bits_of(expected[i]));
}

/* ---- the resident form ---- */

/* Few high bytes, and others one in `rare`. */
static void fill_weights(uint16_t *w, size_t n, uint64_t rare, uint64_t *state)
{
    for (size_t i = 0; i < n; i++) {
        uint64_t bits = next(state);
        w[i] = (uint16_t)((0x38 + (bits & 7) + (bits & 8) * 16) << 8 | (bits >> 8 & 0xff));
        if (rare && next(state) % rare == 0)
            w[i] = (uint16_t)((bits >> 16 & 0x8fff) | 0x3000);
    }
}

static struct weir_resident *make_resident(const uint16_t *w, size_t n)
{
    uint64_t count[256] = {0};
    struct weir_resident_code code;
    struct weir_resident *r = NULL;
    for (size_t i = 0; i < n; i++)
        count[w[i] >> 8]++;
    uint64_t n_left = weir_resident_choose(count, &code);
    cr_assert_eq(weir_resident_new(1, n, &code, (uint32_t)n_left, &r), WEIR_OK);
    cr_assert_eq(weir_resident_put(r, 0, w), WEIR_OK);
    return r;
}

static void compare_resident(const struct math_kernels *k, const uint16_t *w, size_t n,
                             const float *x)
{
    uint16_t unpacked[MOST_COLS + WEIR_RESIDENT_BLOCK];
    struct weir_resident *r = make_resident(w, n);
    struct resident_row row = {.high = weir_resident_code(r)->high, .n_cols = n};
    row.blocks = weir_resident_row(r, 0, &row.exception, &row.n_exceptions);
    float found = k->dot_resident(&row, x), expected = model_dot(w, x, n);
    cr_assert_eq(bits_of(found), bits_of(expected), "%zu columns: %a, not %a", n, (double)found,
                 (double)expected);
    memset(unpacked, 0x55, sizeof(unpacked));
    k->unpack_resident(&row, unpacked);
    cr_assert_eq(memcmp(unpacked, w, n * sizeof(*w)), 0, "%zu columns unpacked", n);
    for (size_t c = n; c % WEIR_RESIDENT_BLOCK; c++)
        cr_assert_eq(unpacked[c], 0, "column %zu of %zu", c, n);
    weir_resident_free(r);
}

Test(math_bf16, resident_rows_give_what_plain_ones_do)
{
    const uint64_t rares[] = {0, 500, 40, 2};
    const struct math_kernels *k = kernels();
    uint64_t state = 3;
    uint16_t w[MOST_COLS];
    float x[STRIDE];
    for (size_t round = 0; round < 4; round++)
        for (size_t n = 1; k && n <= MOST_COLS; n++) {
            fill_weights(w, n, rares[round], &state);
            for (size_t c = 0; c < STRIDE; c++)
                x[c] = c < n ? wild(&state, -20) : 0;
            compare_resident(k, w, n, x);
        }
}
