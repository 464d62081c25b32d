/* Near-lossless rows: what is promised of every weight, the same from every kernel, and the steps
 * that are chosen for what is asked. */
#include "codec/quantise.h"

#include <math.h>

#include "coding_kit.h"
#include "fail_alloc.h"
#include "tile_kit.h"

enum { COLUMNS = 1100, ROWS = 9, N = COLUMNS * ROWS }; /* more than two chunks, and a rest */

static const char *const type_name[] = {"BF16", "F16", "F32"};

/* ---- numbers, a second time ---- */

static double value_of(enum weir_float type, const uint8_t *element)
{
    uint32_t bits = 0;
    memcpy(&bits, element, weir_float_bytes(type));
    if (type == WEIR_FLOAT_BF16)
        bits <<= 16;
    if (type != WEIR_FLOAT_F16) {
        float f;
        memcpy(&f, &bits, 4);
        return (double)f;
    }
    const int exponent = (int)(bits >> 10 & 31);
    const double mantissa = bits & 1023, sign = bits >> 15 ? -1 : 1;
    if (exponent == 31)
        return mantissa > 0 ? (double)NAN : sign * (double)INFINITY;
    return sign * ldexp(mantissa + (exponent ? 1024 : 0), (exponent ? exponent : 1) - 25);
}

static void put_value(enum weir_float type, double value, uint8_t *element)
{
    float f = (float)value;
    uint32_t bits;
    memcpy(&bits, &f, 4);
    if (type == WEIR_FLOAT_BF16)
        bits >>= 16;
    if (type == WEIR_FLOAT_F16) { /* cut off: any F16 will do */
        const uint32_t sign = bits >> 16 & 0x8000;
        const int exponent = (int)(bits >> 23 & 255) - 112;
        bits = sign | (exponent <= 0   ? 0u
                       : exponent > 30 ? 0x7bffu
                                       : (uint32_t)exponent << 10 | (bits >> 13 & 1023));
    }
    memcpy(element, &bits, weir_float_bytes(type));
}

/* Nearly normal, with outliers. */
static double draw(uint64_t *random)
{
    double sum = -6;
    for (int i = 0; i < 12; i++)
        sum += random_below(random, 1 << 20) * 0x1p-20;
    return random_below(random, 500) ? sum : 10 * sum;
}

static const uint32_t specials_32[] = {0x7f800000, 0xff800000, 0x7fc00001, 0xffffffff, 0x80000000,
                                       0x00000001, 0x80000001, 0x007fffff, 0x7f7fffff, 0x00000000};
static const uint16_t specials_f16[] = {0x7c00, 0xfc00, 0x7e01, 0xffff, 0x8000,
                                        0x0001, 0x8001, 0x03ff, 0x7bff, 0x0000};

/* Infinities, NaNs, zeros, denormals, the largest. */
static void put_special(enum weir_float type, size_t i, uint8_t *element)
{
    const uint32_t whole = specials_32[i % COUNT_OF(specials_32)];
    const uint16_t half =
        type == WEIR_FLOAT_F16 ? specials_f16[i % COUNT_OF(specials_f16)] : (uint16_t)(whole >> 16);
    if (type == WEIR_FLOAT_F32)
        memcpy(element, &whole, 4);
    else
        memcpy(element, &half, 2);
}

/* Row 0 zeros, 1 constant, 2 denormals, 3 huge, 4 with specials; the others ordinary. */
static void fill(enum weir_float type, uint8_t *elements)
{
    const size_t elem_bytes = weir_float_bytes(type);
    uint64_t random = 88172645463325252u;
    for (size_t i = 0; i < N; i++) {
        const size_t row = i / COLUMNS;
        double v = 0.02 * (double)(row + 1) * draw(&random);
        uint8_t *at = elements + i * elem_bytes;
        put_value(type, row == 0 ? 0 : row == 1 ? 0.25 : row == 3 ? v * 1e38 : v, at);
        if (row == 2) {
            memset(at, 0, elem_bytes);
            at[0] = (uint8_t)random_below(&random, 8);
        }
        if (row == 4 && random_below(&random, 8) == 0)
            put_special(type, i, at);
    }
}

/* ---- everything that quantising gives ---- */

struct quantised {
    uint8_t items[2 * N], made[4 * N];
    float rms[ROWS], scales[ROWS];
    struct weir_nearness nearness;
};

static const struct weir_coding *coding_for(enum weir_float type, const uint8_t *elements,
                                            const struct weir_near *near, struct weir_step *step)
{
    const struct weir_rows shape = {type, COLUMNS, ROWS - 5};
    struct weir_coding *coding = NULL;
    double bits = 0;
    /* The ordinary rows: the others are not what a tensor is like. */
    const uint8_t *from = elements + (size_t)5 * COLUMNS * weir_float_bytes(type);
    cr_assert_eq(weir_quantise_choose(weir_kernels_named("scalar"), &shape, from, near, &coding,
                                      step, &bits),
                 WEIR_OK);
    cr_assert_not_null(coding, "%s", type_name[type]);
    cr_assert_eq(weir_coding_check(coding), WEIR_OK);
    return coding;
}

static struct quantised *quantise(const struct weir_kernels *k, const struct weir_coding *coding,
                                  const struct weir_step *step, const uint8_t *elements)
{
    struct quantised *q = must_alloc(sizeof(*q));
    memset(q, 0, sizeof(*q));
    const enum weir_float type = (enum weir_float)coding->transform.made;
    const size_t row_bytes = COLUMNS * weir_float_bytes(type);
    for (size_t r = 0; r < ROWS; r++)
        q->rms[r] =
            weir_quantise_rms(k, type, elements + r * row_bytes, COLUMNS, &q->nearness.signal);
    const struct weir_quantise_job job = {coding, *step, 0, q->rms, &q->nearness};
    weir_quantise(k, &job, elements, N, q->items, q->made, q->scales);
    return q;
}

static bool same_bits(const void *a, const void *b, size_t n)
{
    return memcmp(a, b, n) == 0;
}

static bool same(const struct quantised *a, const struct quantised *b)
{
    return same_bits(a->items, b->items, sizeof(a->items)) &&
           same_bits(a->made, b->made, sizeof(a->made)) &&
           same_bits(a->rms, b->rms, sizeof(a->rms)) &&
           same_bits(a->scales, b->scales, sizeof(a->scales)) &&
           same_bits(&a->nearness.noise, &b->nearness.noise, sizeof(a->nearness.noise)) &&
           same_bits(&a->nearness.signal, &b->nearness.signal, sizeof(a->nearness.signal)) &&
           same_bits(&a->nearness.largest, &b->nearness.largest, sizeof(a->nearness.largest));
}

/* The promise: within half a step, or as it was. */
static void check_promise(enum weir_float type, const uint8_t *elements, const struct quantised *q,
                          float share)
{
    const size_t elem_bytes = weir_float_bytes(type);
    double noise = 0, largest = 0;
    for (size_t i = 0; i < N; i++) {
        const uint8_t *was = elements + i * elem_bytes, *is = q->made + i * elem_bytes;
        const double w = value_of(type, was), step = (double)(share * q->rms[i / COLUMNS]);
        const double e = fabs(value_of(type, is) - w);
        if (memcmp(was, is, elem_bytes) == 0)
            continue;
        cr_assert(isfinite(w) && e <= step / 2, "%s %zu: %g, not %g, step %g", type_name[type], i,
                  value_of(type, is), w, step);
        cr_assert(w != 0 || !signbit(w), "%zu: a negative zero", i);
        noise += e * e;
        largest = e / step > largest ? e / step : largest;
    }
    cr_expect_float_eq(q->nearness.noise, noise, 1e-9 * noise);
    cr_expect_float_eq((double)q->nearness.largest, largest, 1e-6);
    cr_expect_gt(noise, 0);
}

Test(quantise, keeps_every_weight_within_half_a_step_in_every_kernel)
{
    static const struct weir_near nears[] = {{0}, {.step = 0.02F}, {.snr = 46}, {.ratio = 3}};
    uint8_t *elements = must_alloc((size_t)4 * N);
    struct variants v = variants_here();
    for (int type = 0; type <= WEIR_FLOAT_F32; type++) {
        fill((enum weir_float)type, elements);
        for (size_t k = 0; k < COUNT_OF(nears); k++) {
            struct weir_step step;
            const struct weir_coding *coding =
                coding_for((enum weir_float)type, elements, &nears[k], &step);
            struct quantised *truth = quantise(v.at[0], coding, &step, elements);
            check_promise((enum weir_float)type, elements, truth, step.share);
            for (size_t i = 1; i < v.n; i++) {
                struct quantised *other = quantise(v.at[i], coding, &step, elements);
                cr_expect(same(truth, other), "%s, %s, %zu", type_name[type],
                          weir_kernels_name(v.at[i]), k);
                free(other);
            }
            free(truth);
            free((void *)coding);
        }
    }
    free(elements);
}

Test(quantise, takes_the_mean_square_of_what_is_finite)
{
    uint8_t *elements = must_alloc((size_t)4 * N);
    for (int type = 0; type <= WEIR_FLOAT_F32; type++) {
        const size_t elem_bytes = weir_float_bytes((enum weir_float)type);
        fill((enum weir_float)type, elements);
        for (size_t n = 1; n <= COLUMNS; n += n < 40 ? 1 : 97) {
            const uint8_t *row = elements + (size_t)4 * COLUMNS * elem_bytes;
            double sum = 0, signal = 1;
            for (size_t i = 0; i < n; i++) {
                const double w = value_of((enum weir_float)type, row + i * elem_bytes);
                sum += isfinite(w) ? w * w : 0;
            }
            const float rms =
                weir_quantise_rms(weir_kernels_best(), (enum weir_float)type, row, n, &signal);
            cr_expect_float_eq((double)rms, sqrt(sum / (double)n), 1e-6 * sqrt(sum / (double)n));
            cr_expect_float_eq(signal, 1 + sum, 1e-12 * (1 + sum));
        }
    }
    free(elements);
}

/* Of each F16 there is. */
Test(quantise, reads_every_f16)
{
    for (uint32_t bits = 0; bits < 0x10000; bits++) {
        uint8_t element[2] = {(uint8_t)bits, (uint8_t)(bits >> 8)};
        const double w = value_of(WEIR_FLOAT_F16, element);
        double signal = 0;
        (void)weir_quantise_rms(weir_kernels_best(), WEIR_FLOAT_F16, element, 1, &signal);
        cr_assert_eq(signal, isfinite(w) ? w * w : 0, "%04x", bits);
    }
}

Test(quantise, gives_the_same_of_a_part_as_of_the_whole)
{
    uint8_t *elements = must_alloc((size_t)4 * N);
    fill(WEIR_FLOAT_BF16, elements);
    const struct weir_near near = {0};
    struct weir_step step;
    const struct weir_coding *coding = coding_for(WEIR_FLOAT_BF16, elements, &near, &step);
    struct quantised *whole = quantise(weir_kernels_best(), coding, &step, elements);
    static const size_t from[] = {0, 1, 513, COLUMNS - 1, COLUMNS, 3 * COLUMNS + 17};
    for (size_t i = 0; i < COUNT_OF(from); i++) {
        for (size_t n = 1; from[i] + n <= N; n = 3 * n + 1) {
            uint8_t *items = must_alloc(2 * n), *made = must_alloc(2 * n);
            float scales[ROWS];
            const struct weir_quantise_job job = {coding, step, (uint32_t)(from[i] % COLUMNS),
                                                  whole->rms + from[i] / COLUMNS, NULL};
            weir_quantise(weir_kernels_best(), &job, elements + 2 * from[i], n, items, made,
                          scales);
            cr_expect_eq(memcmp(items, whole->items + 2 * from[i], 2 * n), 0);
            cr_expect_eq(memcmp(made, whole->made + 2 * from[i], 2 * n), 0);
            cr_expect_eq(scales[0], whole->scales[from[i] / COLUMNS]);
            free(items);
            free(made);
        }
    }
    free(whole);
    free((void *)coding);
    free(elements);
}

Test(quantise, is_what_a_tile_decodes_to)
{
    uint8_t *elements = must_alloc((size_t)4 * N), *payload = must_alloc((size_t)4 * N);
    uint8_t *out = must_alloc((size_t)4 * N);
    struct bench b = bench_new();
    for (int type = 0; type <= WEIR_FLOAT_F32; type++) {
        const struct weir_near near = {0};
        struct weir_step step;
        struct weir_tile_head head;
        fill((enum weir_float)type, elements);
        const struct weir_coding *coding =
            coding_for((enum weir_float)type, elements, &near, &step);
        const size_t elem_bytes = weir_float_bytes((enum weir_float)type);
        /* The first rows are exceptions for the most part. */
        const size_t first = (size_t)4 * COLUMNS, n_bytes = (N - first) * elem_bytes;
        struct quantised *q = quantise(weir_kernels_best(), coding, &step, elements);
        const struct weir_tile_items items = {q->items + 2 * first, 0, 0, q->scales + 4, ROWS - 4};
        const uint8_t *made = q->made + first * elem_bytes;
        cr_assert_eq(weir_tile_encode_made(b.enc[0], coding, &items, made, n_bytes, payload, &head),
                     WEIR_OK);
        cr_expect_eq(head.mode, WEIR_TILE_MADE);
        cr_assert_eq(weir_tile_decode(b.dec[0], coding, &head, payload, out, n_bytes), WEIR_OK);
        cr_expect_eq(memcmp(out, made, n_bytes), 0, "%s", type_name[type]);
        free(q);
        free((void *)coding);
    }
    bench_free(&b);
    free(elements);
    free(payload);
    free(out);
}

/* ---- choosing ---- */

static void fill_normal(uint8_t *elements, size_t n)
{
    uint64_t random = 88172645463325252u;
    for (size_t i = 0; i < n; i++)
        put_value(WEIR_FLOAT_BF16, 0.02 * draw(&random), elements + 2 * i);
}

Test(quantise, comes_up_to_what_is_asked)
{
    enum { C = 2048, R = 64 };
    static const struct {
        struct weir_near near;
        double snr, most_snr, bits;
    } cases[] = {
        {{0}, 33.4, 33.8, 5.95},          {{.snr = 33.5}, 33.5, 33.8, 5.95},
        {{.snr = 40}, 40, 40.3, 7.1},     {{.snr = 46}, 46, 46.4, 8.1},
        {{.snr = 20}, 20, 20.3, 3.7},     {{.ratio = 2.72}, 32, 35, 16 / 2.72},
        {{.ratio = 4}, 20, 26, 16.0 / 4}, {{.step = 0.3F}, 20, 26, 4.1},
    };
    const struct weir_rows shape = {WEIR_FLOAT_BF16, C, R};
    uint8_t *elements = must_alloc((size_t)2 * C * R);
    uint8_t *items = must_alloc((size_t)2 * C * R), *made = must_alloc((size_t)2 * C * R);
    fill_normal(elements, (size_t)C * R);
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        struct weir_coding *coding = NULL;
        struct weir_step step;
        struct weir_nearness nearness = {0};
        double bits = 0;
        float rms[R], scales[R];
        cr_assert_eq(weir_quantise_choose(weir_kernels_best(), &shape, elements, &cases[i].near,
                                          &coding, &step, &bits),
                     WEIR_OK);
        cr_assert_not_null(coding, "%zu", i);
        for (size_t r = 0; r < R; r++)
            rms[r] = weir_quantise_rms(weir_kernels_best(), WEIR_FLOAT_BF16,
                                       elements + (size_t)2 * C * r, C, &nearness.signal);
        const struct weir_quantise_job job = {coding, step, 0, rms, &nearness};
        weir_quantise(weir_kernels_best(), &job, elements, (size_t)C * R, items, made, scales);
        const double snr = weir_nearness_snr(&nearness);
        cr_expect(snr >= cases[i].snr && snr <= cases[i].most_snr, "%zu: %.3f dB", i, snr);
        cr_expect_leq(2 * bits, cases[i].bits, "%zu: %.3f bits", i, 2 * bits);
        cr_expect(weir_near_reached(&cases[i].near, nearness.signal, nearness.noise, &step));
        free(coding);
    }
    free(elements);
    free(items);
    free(made);
}

/* Bits without a pattern, and rows that one weight dwarfs. */
Test(quantise, leaves_alone_what_does_not_get_smaller)
{
    const struct weir_rows shape = {WEIR_FLOAT_BF16, 2048, 16};
    const struct weir_near near = {.snr = 60};
    uint8_t *elements = must_alloc((size_t)2 * 2048 * 16);
    uint64_t random = 7;
    struct weir_coding *coding = NULL;
    struct weir_step step;
    double bits = 0;
    random_bytes(&random, elements, (size_t)2 * 2048 * 16);
    cr_assert_eq(
        weir_quantise_choose(weir_kernels_best(), &shape, elements, &near, &coding, &step, &bits),
        WEIR_OK);
    cr_expect_null(coding, "%.2f bits", 2 * bits);
    free(coding);
    free(elements);
}

Test(quantise, survives_every_failing_allocation)
{
    const struct weir_rows shape = {WEIR_FLOAT_BF16, 2048, 16};
    const struct weir_near near = {0};
    uint8_t *elements = must_alloc((size_t)2 * 2048 * 16);
    fill_normal(elements, (size_t)2048 * 16);
    weir_err err = WEIR_ERR_NOMEM;
    for (int n = 0; err == WEIR_ERR_NOMEM && n < 20; n++) {
        struct weir_coding *coding = NULL;
        struct weir_step step;
        double bits = 0;
        fail_alloc_at(n);
        err = weir_quantise_choose(weir_kernels_best(), &shape, elements, &near, &coding, &step,
                                   &bits);
        fail_alloc_at(-1);
        cr_expect((err == WEIR_OK) == (coding != NULL));
        cr_expect(n > 0 || err == WEIR_ERR_NOMEM);
        free(coding);
    }
    cr_expect_eq(err, WEIR_OK);
    free(elements);
}

Test(quantise, knows_which_wishes_make_sense)
{
    static const struct {
        struct weir_near near;
        bool fine;
    } cases[] = {
        {{0}, true},
        {{.step = 0.1F}, true},
        {{.step = 1.1F}, false},
        {{.step = 0.0001F}, false},
        {{.step = -0.1F}, false},
        {{.step = NAN}, false},
        {{.snr = 40}, true},
        {{.snr = 61}, false},
        {{.snr = -1}, false},
        {{.snr = NAN}, false},
        {{.ratio = 2}, true},
        {{.ratio = 1}, false},
        {{.ratio = 17}, false},
        {{.ratio = INFINITY}, false},
        {{.snr = 40, .ratio = 2}, false},
        {{.step = 0.1F, .snr = 40}, false},
    };
    for (size_t i = 0; i < COUNT_OF(cases); i++)
        cr_expect_eq(weir_near_check(&cases[i].near) == WEIR_OK, cases[i].fine, "%zu", i);
}

/* ---- which tensors ---- */

Test(quantise, knows_which_tensors_become_near)
{
    static const struct {
        const char *name, *dtype;
        uint8_t n_dims;
        uint64_t dim[4];
        uint32_t row; /* 0: it stays lossless */
        bool embedding;
    } cases[] = {
        {"model.layers.0.mlp.up_proj.weight", "BF16", 2, {5632, 2048}, 2048, false},
        {"lm_head.weight", "F16", 2, {32000, 2048}, 2048, false},
        {"blk.0.ffn_up.weight", "F32", 2, {704, 256}, 256, false},
        {"experts.w1", "BF16", 3, {8, 1024, 512}, 512, false},
        {"conv.weight", "F16", 4, {320, 320, 3, 3}, 2880, false},
        {"conv1d.weight", "F32", 3, {2048, 64, 4}, 256, false},
        {"model.embed_tokens.weight", "BF16", 2, {32000, 2048}, 2048, true},
        {"token_embd.weight", "F16", 2, {32000, 2048}, 2048, true},
        {"transformer.wpe.weight", "F32", 2, {1024, 768}, 768, true},
        {"model.norm.weight", "BF16", 1, {1 << 20}, 0, false},
        {"layers.norm.weight", "BF16", 2, {1024, 1024}, 0, false},
        {"attn.BatchNorm.w", "BF16", 2, {1024, 1024}, 0, false},
        {"mlp.bias", "F32", 2, {1024, 1024}, 0, false},
        {"ids", "I32", 2, {1024, 1024}, 0, false},
        {"w8", "F8_E4M3", 2, {1024, 1024}, 0, false},
        {"small", "BF16", 2, {64, 511}, 0, false},
        {"narrow", "BF16", 2, {1 << 20, 63}, 0, false},
        {"conv.tiny", "BF16", 4, {4096, 3, 3, 3}, 0, false},
        {"none", "BF16", 2, {0, 1024}, 0, false},
        {"huge", "BF16", 2, {1ULL << 40, 1ULL << 40}, 0, false},
        {"flat", "BF16", 2, {1 << 10, 1ULL << 33}, 0, false},
    };
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        struct weir_tensor t = {cases[i].name, cases[i].dtype, cases[i].n_dims, {0}};
        memcpy(t.dim, cases[i].dim, sizeof(cases[i].dim));
        const bool wanted = cases[i].row && !cases[i].embedding;
        struct weir_rows rows;
        cr_expect_eq(weir_near_wants(&t, false), wanted, "%s", t.name);
        cr_expect_eq(weir_near_wants(&t, true), cases[i].row != 0, "%s", t.name);
        if (cases[i].row && weir_quantise_rows(&t, &rows))
            cr_expect_eq(rows.n_elements, cases[i].row, "%s: %u", t.name, rows.n_elements);
    }
}

/* ---- held against the original ---- */

Test(quantise, finds_the_first_weight_that_is_too_far_off)
{
    uint8_t *elements = must_alloc((size_t)4 * N);
    fill(WEIR_FLOAT_BF16, elements);
    const struct weir_near near = {0};
    struct weir_step step;
    const struct weir_coding *coding = coding_for(WEIR_FLOAT_BF16, elements, &near, &step);
    struct quantised *q = quantise(weir_kernels_best(), coding, &step, elements);
    struct weir_nearness found = {0};
    for (size_t r = 0; r < ROWS; r++)
        cr_expect_eq(weir_nearness_measure(weir_kernels_best(), coding, step.share * q->rms[r],
                                           elements + (size_t)2 * COLUMNS * r,
                                           q->made + (size_t)2 * COLUMNS * r, COLUMNS, &found),
                     COLUMNS, "row %zu", r);
    cr_expect_float_eq(found.noise, q->nearness.noise, 1e-9 * found.noise);
    cr_expect_eq(found.largest, q->nearness.largest);
    static const size_t at[] = {0, 511, 512, COLUMNS - 1};
    for (size_t i = 0; i < COUNT_OF(at); i++) {
        uint8_t *made = q->made + 2 * ((size_t)6 * COLUMNS + at[i]);
        const uint8_t was = made[1];
        made[1] ^= 0x80; /* the sign; a zero's, too */
        const size_t first = weir_nearness_measure(
            weir_kernels_best(), coding, 1e-30F, elements + (size_t)2 * COLUMNS * 6,
            q->made + (size_t)2 * COLUMNS * 6, COLUMNS, &found);
        cr_expect_leq(first, at[i]);
        made[1] = was;
    }
    free(q);
    free((void *)coding);
    free(elements);
}
