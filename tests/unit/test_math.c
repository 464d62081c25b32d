/* Dot products and sums of rows: the scalar kernels against an order written down here, every other
 * variant that runs against the scalar one, bit for bit; and the operations between matrices
 * against libm.  Tests private headers (infer/kernels.h, infer/ops.h, infer/rope.h). */
#include "kernels.h"

#include <criterion/criterion.h>
#include <math.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "ops.h"
#include "rope.h"

enum { MOST_ROWS = 9, MOST_COLS = 131, MOST_VECTORS = 14, STRIDE = 144, GUARD = 77 };

static const enum number types[] = {NUMBER_F32, NUMBER_F16, NUMBER_BF16};

/* Bits, not values: -0 is not 0. */
static bool same_bits(const void *a, const void *b, size_t n)
{
    return memcmp(a, b, n) == 0;
}

static uint64_t next(uint64_t *state)
{
    *state += 0x9e3779b97f4a7c15;
    uint64_t z = *state;
    z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9;
    return z ^ z >> 27;
}

/* Magnitudes from 2^-20 to 2^20, so that the order of a sum shows. */
static float wild(uint64_t *state)
{
    uint64_t bits = next(state);
    return ldexpf((float)(int32_t)bits * 0x1p-31F, (int)(bits >> 32) % 41 - 20);
}

/* F16 and BF16 of any bits but infinities and NaNs. */
static void fill_rows(enum number type, uint8_t *at, size_t n, uint64_t *state)
{
    for (size_t i = 0; i < n; i++) {
        float f = wild(state);
        uint16_t half = (uint16_t)next(state);
        if (type == NUMBER_F16 && (half & 0x7c00) == 0x7c00)
            half &= 0x83ff;
        if (type == NUMBER_BF16)
            half = (uint16_t)((half & 0x8fff) | 0x3000);
        if (type == NUMBER_F32)
            memcpy(at + 4 * i, &f, sizeof(f));
        else
            memcpy(at + 2 * i, &half, sizeof(half));
    }
}

static const struct math_kernels *variant(size_t i)
{
    static const char *const names[] = {"avx2", "avx512"};
    return i < 2 ? math_kernels_named(names[i]) : NULL;
}

Test(math, kernels_are_named)
{
    fprintf(stderr, "best kernels here: %s\n", math_kernels_best()->name);
    cr_assert_eq(math_kernels_named(math_kernels_best()->name), math_kernels_best());
    cr_assert_eq(math_kernels_named("scalar"), &math_kernels_scalar);
    cr_assert_null(math_kernels_named("AVX2"));
}

/* ---- the order ---- */

static float book_dot(const float *w, const float *x, size_t n)
{
    float lane[16] = {0};
    for (size_t j = 0; j < (n + 15) / 16 * 16; j++)
        lane[j % 16] = fmaf(j < n ? w[j] : 0, j < n ? x[j] : 0, lane[j % 16]);
    for (size_t i = 0; i < 8; i++)
        lane[i] += lane[i + 8];
    for (size_t i = 0; i < 4; i++)
        lane[i] += lane[i + 4];
    return (lane[0] + lane[2]) + (lane[1] + lane[3]);
}

Test(math, sums_have_the_order_that_is_written_down)
{
    uint64_t state = 1;
    for (size_t n = 1; n <= MOST_COLS; n++) {
        float w[MOST_COLS], x[STRIDE] = {0}, to;
        for (size_t i = 0; i < n; i++) {
            w[i] = wild(&state);
            x[i] = wild(&state);
        }
        const struct rows rows = {(const uint8_t *)w, sizeof(w), 1, n, NUMBER_F32};
        const struct vectors vectors = {x, STRIDE, 1};
        math_kernels_scalar.dot(&rows, &vectors, &to, 1);
        float expected = book_dot(w, x, n);
        cr_assert(same_bits(&to, &expected, sizeof(to)), "%zu columns: %a, not %a", n, (double)to,
                  (double)expected);
    }
}

/* A row whose sum is 0 or 2 or something else, as one adds up. */
Test(math, order_shows)
{
    float w[33] = {0}, x[48] = {0}, to[2];
    w[0] = 0x1p25F;
    w[16] = 1;
    w[32] = -0x1p25F;
    for (size_t i = 0; i < 33; i++)
        x[i] = 1;
    const struct rows rows = {(const uint8_t *)w, sizeof(w), 1, 33, NUMBER_F32};
    const struct vectors vectors = {x, 48, 1};
    for (size_t i = 0; i < 3; i++) {
        const struct math_kernels *k = i < 2 ? variant(i) : &math_kernels_scalar;
        if (!k)
            continue;
        k->dot(&rows, &vectors, to, 1);
        cr_assert_float_eq(to[0], 0, 0.0, "%s", k->name); /* the 1 is lost in its lane */
    }
}

/* ---- variants ---- */

struct data {
    uint8_t *w; /* exactly as long as the rows: what is read past them is seen */
    size_t w_stride, n_cols;
    float x[MOST_VECTORS * STRIDE];
};

static struct data make_data(enum number type, size_t n_rows, size_t n_cols, uint64_t *state)
{
    struct data d = {.n_cols = n_cols, .w_stride = n_cols * number_bytes(type)};
    d.w = malloc(d.w_stride * n_rows);
    cr_assert_not_null(d.w);
    fill_rows(type, d.w, n_rows * n_cols, state);
    for (size_t i = 0; i < sizeof(d.x) / sizeof(d.x[0]); i++)
        d.x[i] = i % STRIDE < n_cols ? wild(state) : 0;
    return d;
}

static void compare_dot(const struct math_kernels *k, enum number type, const struct data *d,
                        size_t n_rows, size_t n_vectors)
{
    float expected[MOST_VECTORS * MOST_ROWS + GUARD], found[MOST_VECTORS * MOST_ROWS + GUARD];
    const struct rows rows = {d->w, d->w_stride, n_rows, d->n_cols, type};
    const struct vectors vectors = {d->x, STRIDE, n_vectors};
    memset(expected, 0x55, sizeof(expected));
    memset(found, 0x55, sizeof(found));
    math_kernels_scalar.dot(&rows, &vectors, expected, MOST_ROWS);
    k->dot(&rows, &vectors, found, MOST_ROWS);
    cr_assert(same_bits(expected, found, sizeof(found)), "%s, type %d: %zu x %zu, %zu vectors",
              k->name, (int)type, n_rows, d->n_cols, n_vectors);
}

static void compare_rest(const struct math_kernels *k, enum number type, const struct data *d,
                         size_t n_rows)
{
    float expected[STRIDE], found[STRIDE];
    const struct rows rows = {d->w, d->w_stride, n_rows, d->n_cols, type};
    memset(expected, 0x55, sizeof(expected));
    memset(found, 0x55, sizeof(found));
    math_kernels_scalar.blend(&rows, d->x, expected);
    k->blend(&rows, d->x, found);
    cr_assert(same_bits(expected, found, sizeof(found)), "%s, type %d: blend of %zu x %zu", k->name,
              (int)type, n_rows, d->n_cols);
    math_kernels_scalar.widen(type, d->w, d->n_cols, expected);
    k->widen(type, d->w, d->n_cols, found);
    cr_assert(same_bits(expected, found, sizeof(found)), "%s, type %d: widen %zu", k->name,
              (int)type, d->n_cols);
}

Test(math, variants_have_the_same_bits)
{
    uint64_t state = 2;
    for (size_t i = 0; i < 2; i++) {
        const struct math_kernels *k = variant(i);
        for (size_t t = 0; k && t < (size_t)3 * MOST_ROWS * MOST_COLS; t++) {
            enum number type = types[t % 3];
            size_t n_rows = 1 + t / 3 % MOST_ROWS, n_cols = 1 + t / 3 / MOST_ROWS;
            struct data d = make_data(type, n_rows, n_cols, &state);
            compare_dot(k, type, &d, n_rows, 1 + t % MOST_VECTORS);
            compare_rest(k, type, &d, n_rows);
            free(d.w);
        }
    }
}

/* All 65,536 of each, against libm's ldexp. */
Test(math, widens_every_half)
{
    for (uint32_t bits = 0; bits < 65536; bits++) {
        uint16_t half = (uint16_t)bits;
        uint32_t wide = bits << 16;
        float expected, to;
        memcpy(&expected, &wide, sizeof(expected));
        for (size_t i = 0; i < 3; i++) {
            const struct math_kernels *k = i < 2 ? variant(i) : &math_kernels_scalar;
            if (!k)
                continue;
            k->widen(NUMBER_BF16, (const uint8_t *)&half, 1, &to);
            cr_assert(same_bits(&to, &expected, sizeof(to)), "%s: bf16 %04x", k->name, bits);
            k->widen(NUMBER_F16, (const uint8_t *)&half, 1, &to);
            int exponent = (int)(bits >> 10 & 31), mantissa = (int)(bits & 1023);
            float f16 = exponent == 31 ? (mantissa ? NAN : INFINITY)
                        : exponent     ? ldexpf((float)(1024 + mantissa), exponent - 25)
                                       : ldexpf((float)mantissa, -24);
            f16 = bits >> 15 ? -f16 : f16;
            cr_assert(isnan(f16) ? isnan(to) : same_bits(&to, &f16, sizeof(to)),
                      "%s: f16 %04x is %a", k->name, bits, (double)to);
        }
    }
}

Test(math, nan_stays_nan)
{
    float w[20], x[32] = {0}, to;
    for (size_t i = 0; i < 20; i++)
        w[i] = x[i] = 1;
    w[18] = NAN;
    const struct rows rows = {(const uint8_t *)w, sizeof(w), 1, 20, NUMBER_F32};
    const struct vectors vectors = {x, 32, 1};
    for (size_t i = 0; i < 3; i++) {
        const struct math_kernels *k = i < 2 ? variant(i) : &math_kernels_scalar;
        if (!k)
            continue;
        k->dot(&rows, &vectors, &to, 1);
        cr_assert(isnan(to), "%s", k->name);
    }
}

/* ---- between matrices ---- */

Test(math, exp_is_near)
{
    for (double x = -87; x < 88.3; x += 0.000977) {
        float y = (float)x;
        double expected = exp((double)y);
        op_exp(&y, 1);
        cr_assert_lt(fabs((double)y - expected) / expected, 2.0e-7, "e^%f is %a", x, (double)y);
    }
    float edge[] = {0, -88, -INFINITY, 100, INFINITY, NAN};
    op_exp(edge, 6);
    cr_assert(edge[0] == 1 && edge[1] == 0 && edge[2] == 0 && isinf(edge[3]) && isinf(edge[4]) &&
              isnan(edge[5]));
}

Test(math, softmax_norm_gate_and_cap_are_near)
{
    float x[100], w[100], gate[100];
    double sum = 0, squares = 0;
    for (int i = 0; i < 100; i++) {
        x[i] = (float)(i * i % 37) / 3 - 5;
        w[i] = (float)(i % 7) / 4;
        gate[i] = (float)(i - 50) / 5;
        squares += (double)x[i] * (double)x[i];
        sum += exp((double)x[i]);
    }
    float soft[100], norm[100], silu[100], gelu[100], capped[100];
    memcpy(soft, x, sizeof(x));
    memcpy(silu, gate, sizeof(x));
    memcpy(gelu, gate, sizeof(x));
    memcpy(capped, x, sizeof(x));
    op_softmax(soft, 100);
    op_norm(x, w, 100, 1e-6F, norm);
    op_gate(WEIR_SILU, silu, w, 100);
    op_gate(WEIR_GELU_TANH, gelu, w, 100);
    op_cap(capped, 3, 100);
    for (int i = 0; i < 100; i++) {
        double g = (double)gate[i], z = sqrt(2 / 3.14159265358979) * (g + 0.044715 * g * g * g);
        cr_assert_float_eq(soft[i], exp((double)x[i]) / sum, 1e-7);
        cr_assert_float_eq(norm[i], (double)w[i] * (double)x[i] / sqrt(squares / 100 + 1e-6), 1e-6);
        cr_assert_float_eq(silu[i], g / (1 + exp(-g)) * (double)w[i], 2e-6);
        cr_assert_float_eq(gelu[i], g / 2 * (1 + tanh(z)) * (double)w[i], 2e-6);
        cr_assert_float_eq(capped[i], 3 * tanh((double)x[i] / 3), 1e-6);
    }
    op_cap(x, 0, 100);
    cr_assert_float_eq(x[1], 1.0 / 3 - 5, 1e-6); /* 0: none */
}

/* ---- turning heads ---- */

static float frequency_of(enum weir_rope_type type, float theta, uint32_t pair, bool is_long)
{
    struct weir_rope c = {.type = type,
                          .theta = theta,
                          .n_dims = 16,
                          .factor = 8,
                          .scale = 1,
                          .low_freq_factor = 1,
                          .high_freq_factor = 4,
                          .original_context = 32};
    static struct rope r;
    for (size_t i = 0; i < 8; i++) {
        c.short_factor[i] = 1;
        c.long_factor[i] = 2;
    }
    rope_init(&r, &c);
    return is_long ? r.long_frequency[pair] : r.frequency[pair];
}

Test(math, frequencies_are_scaled)
{
    for (uint32_t i = 0; i < 8; i++) {
        double plain = pow(100, -(double)i / 8), wave = 2 * 3.14159265358979 / plain;
        double share = (32 / wave - 1) / 3;
        double llama3 = wave < 8    ? plain
                        : wave > 32 ? plain / 8
                                    : (1 - share) * plain / 8 + share * plain;
        cr_assert_float_eq(frequency_of(WEIR_ROPE_PLAIN, 100, i, false), plain, 1e-6 * plain);
        cr_assert_float_eq(frequency_of(WEIR_ROPE_LINEAR, 100, i, true), plain / 8, 1e-6 * plain);
        cr_assert_float_eq(frequency_of(WEIR_ROPE_LLAMA3, 100, i, false), llama3, 1e-6 * plain);
        cr_assert_float_eq(frequency_of(WEIR_ROPE_FACTORS, 100, i, false), plain, 1e-6 * plain);
        cr_assert_float_eq(frequency_of(WEIR_ROPE_FACTORS, 100, i, true), plain / 2, 1e-6 * plain);
    }
}

Test(math, heads_turn_by_halves_or_in_pairs)
{
    const float turn[] = {0, 1, 1, 0}; /* a quarter turn; none */
    float halves[] = {1, 2, 3, 4, 5}, pairs[] = {1, 2, 3, 4, 5};
    rope_apply(turn, 2, false, halves);
    rope_apply(turn, 2, true, pairs);
    const float turned_halves[] = {-3, 2, 1, 4, 5}, turned_pairs[] = {-2, 1, 3, 4, 5};
    cr_assert(same_bits(halves, turned_halves, sizeof(halves)));
    cr_assert(same_bits(pairs, turned_pairs, sizeof(pairs)));
}

/* ---- the resident form ---- */

/* n weights of few high bytes; one in `rare` has any, NaNs and infinities too where `odd`. */
static void fill_weights(uint16_t *w, size_t n, uint64_t rare, bool odd, uint64_t *state)
{
    for (size_t i = 0; i < n; i++) {
        uint64_t bits = next(state);
        w[i] = (uint16_t)((0x38 + (bits & 7) + (bits & 8) * 16) << 8 | (bits >> 8 & 0xff));
        if (rare && next(state) % rare == 0)
            w[i] = (uint16_t)(odd ? bits >> 16 : (bits >> 16 & 0x8fff) | 0x3000);
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

static struct resident_row first_row(const struct weir_resident *r, size_t n_cols)
{
    struct resident_row row = {.high = weir_resident_code(r)->high, .n_cols = n_cols};
    row.blocks = weir_resident_row(r, 0, &row.exception, &row.n_exceptions);
    return row;
}

static uint32_t bits_of(float f)
{
    uint32_t bits;
    memcpy(&bits, &f, sizeof(bits));
    return bits;
}

static void compare_resident(const struct math_kernels *k, const uint16_t *w, size_t n,
                             const float *x)
{
    struct weir_resident *r = make_resident(w, n);
    const struct resident_row row = first_row(r, n);
    const struct rows plain = {(const uint8_t *)w, 2 * n, 1, n, NUMBER_BF16};
    const struct vectors vectors = {x, whole_lanes(n), 1};
    float expected, found = k->dot_resident(&row, x);
    k->dot(&plain, &vectors, &expected, 1);
    cr_assert_eq(bits_of(expected), bits_of(found), "%s, %zu columns: %a, not %a", k->name, n,
                 (double)found, (double)expected);
    weir_resident_free(r);
}

Test(math, resident_rows_give_what_plain_ones_do)
{
    enum { MOST = 400 };
    const uint64_t rares[] = {0, 500, 40, 2};
    uint64_t state = 5;
    uint16_t w[MOST];
    float x[MOST + SUM_LANES];
    for (size_t i = 0; i < 3; i++) {
        const struct math_kernels *k = i < 2 ? variant(i) : &math_kernels_scalar;
        for (size_t n = 1; k && n <= MOST; n++) {
            fill_weights(w, n, rares[n % 4], false, &state);
            for (size_t c = 0; c < MOST + SUM_LANES; c++)
                x[c] = c < n ? wild(&state) : 0;
            compare_resident(k, w, n, x);
        }
    }
}

Test(math, resident_rows_are_widened_to_the_bit)
{
    enum { MOST = 200 };
    uint64_t state = 6;
    uint16_t w[MOST];
    float to[MOST + WEIR_RESIDENT_BLOCK + 1];
    for (size_t i = 0; i < 3; i++) {
        const struct math_kernels *k = i < 2 ? variant(i) : &math_kernels_scalar;
        for (size_t n = 1; k && n <= MOST; n++) {
            fill_weights(w, n, n % 5, true, &state);
            struct weir_resident *r = make_resident(w, n);
            const struct resident_row row = first_row(r, n);
            size_t whole =
                (n + WEIR_RESIDENT_BLOCK - 1) / WEIR_RESIDENT_BLOCK * WEIR_RESIDENT_BLOCK;
            to[whole] = GUARD;
            k->widen_resident(&row, to);
            for (size_t c = 0; c < n; c++)
                cr_assert_eq(bits_of(to[c]), (uint32_t)w[c] << 16, "%s, column %zu of %zu", k->name,
                             c, n);
            cr_assert_eq(to[whole], GUARD);
            weir_resident_free(r);
        }
    }
}
