/* Steps and codings for near tensors: the sample's rows are quantised with a step, their items
 * counted and priced, until what was asked for is reached.
 *
 * As in coding_choose.c, the same everywhere: IEEE doubles, no fused operations, no libm but sqrt.
 */
#include "codec/quantise.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "coding_price.h"
#include "quantise_row.h"
#include "stream.h"

enum {
    REACH = 8191, /* items up to so far from zero are counted */
    N_COUNTS = 2 * REACH + 1,
    LOWEST = QUANTISE_ZERO - REACH,
    ITEM_BITS = 16,
    LEAST_SYMBOL_BITS = 10,
    MADE_HEAD_BYTES = 16,
    SCALE_BITS = 32,
    POSITION_BITS = 32,
    SEARCHES = 14, /* halvings of a range of steps */
    TRIES = 8,     /* to come up to an SNR on the sample */
};

/* Measured on BF16 of N(0, s) with 0.1 % outliers of 10 s.  At 33.5 dB: 0.95 takes 5.862 bits a
 * weight and has 0.05 % exceptions, 0.9: 5.852, 0.025 %, 0.7: 5.848; with 1, 0.4 to 2 % are
 * exceptions. Where a step comes near to what BF16 can tell apart, a finer grid is worth more: at
 * 46 dB 0.95 takes 10.0 bits, 0.7: 8.49, 0.5: 7.99. */
static const float grids[] = {0.9F, 0.8F, 0.7F, 0.5F};

static const double min_snr = 20, max_snr = 60, max_ratio = 16;
static const float min_share = 0.0005F;

weir_err weir_near_check(const struct weir_near *near)
{
    const int n = (near->step != 0) + (near->snr != 0) + (near->ratio != 0);
    const bool sane = (near->step == 0 || (near->step >= min_share && near->step <= 1)) &&
                      (near->snr == 0 || (near->snr >= min_snr && near->snr <= max_snr)) &&
                      (near->ratio == 0 || (near->ratio > 1 && near->ratio <= max_ratio));
    return n <= 1 && sane ? WEIR_OK : WEIR_ERR_INVALID;
}

/* 10 to the power of x, |x| <= 10, to about 1e-12: the series of e^y for a small y, squared. */
static double ten_to(double x)
{
    enum { SQUARINGS = 10, TERMS = 8 };
    double y = x * 2.302585092994046 / (1 << SQUARINGS), term = 1, sum = 1;
    for (int i = 1; i <= TERMS; i++) {
        term *= y / i;
        sum += term;
    }
    for (int i = 0; i < SQUARINGS; i++)
        sum *= sum;
    return sum;
}

bool weir_near_reached(const struct weir_near *near, double signal, double noise,
                       struct weir_step *step)
{
    if (near->snr == 0)
        return true;
    const double wanted = ten_to(near->snr / 10);
    if (noise * wanted <= signal)
        return true;
    step->share = (float)(step->share * sqrt(signal / (noise * wanted)) * 0.999);
    return false;
}

/* ---- what a step makes of the sample ---- */

struct sample {
    const struct weir_kernels *kernels;
    const struct weir_rows *shape;
    const uint8_t *rows;
    size_t n_rows;
    float *rms;
    double signal;
    uint8_t *items, *made; /* of a row */

    /* What the last step gave. */
    uint32_t count[N_COUNTS]; /* by item, from LOWEST on */
    struct quantiser quantiser;
};

static void sample_free(struct sample *s)
{
    if (!s)
        return;
    free(s->rms);
    free(s->items);
    free(s->made);
    free(s);
}

static weir_err sample_new(struct sample **out, const struct weir_kernels *kernels,
                           const struct weir_rows *shape, const uint8_t *rows, size_t n_rows)
{
    struct sample *s = calloc(1, sizeof(*s));
    if (!s)
        return WEIR_ERR_NOMEM;
    *s = (struct sample){.kernels = kernels, .shape = shape, .rows = rows, .n_rows = n_rows};
    s->rms = malloc((n_rows + 1) * sizeof(s->rms[0]));
    s->items = malloc((size_t)2 * shape->n_elements);
    s->made = malloc((size_t)4 * shape->n_elements);
    if (!s->rms || !s->items || !s->made) {
        sample_free(s);
        return WEIR_ERR_NOMEM;
    }
    const size_t row_bytes = shape->n_elements * weir_float_bytes(shape->type);
    for (size_t i = 0; i < n_rows; i++)
        s->rms[i] = weir_quantise_rms(kernels, shape->type, rows + i * row_bytes, shape->n_elements,
                                      &s->signal);
    *out = s;
    return WEIR_OK;
}

static void coding_begin(struct weir_coding *c, const struct weir_rows *shape)
{
    c->elem_bytes = (uint16_t)weir_float_bytes(shape->type);
    c->n_parts = 1;
    c->transform.kind = WEIR_TRANSFORM_SCALE;
    c->transform.number = WEIR_NUMBER_INT;
    c->transform.made = (uint8_t)shape->type;
    c->transform.near = 1;
    c->transform.item_bytes = ITEM_BITS / 8;
    c->transform.row_elements = shape->n_elements;
    c->transform.block_rows = 1;
    c->transform.block_cols = shape->n_elements;
    c->part[0].count = 1;
    c->part[0].item_bytes = ITEM_BITS / 8;
}

/* Quantises the sample's rows with a step, every item within REACH allowed. */
static void survey(struct sample *s, const struct weir_coding *like, const struct weir_step *step)
{
    const size_t n = s->shape->n_elements, row_bytes = n * weir_float_bytes(s->shape->type);
    struct quantiser *q = &s->quantiser;
    *q = (struct quantiser){
        .kernels = s->kernels,
        .transform = &like->transform,
        .step = {.type = s->shape->type, .first = -REACH, .last = REACH},
        .measure = true,
    };
    memset(s->count, 0, sizeof(s->count));
    for (size_t row = 0; row < s->n_rows; row++) {
        quantiser_use(q, step, s->rms[row]);
        quantiser_run(q, s->rows + row * row_bytes, n, s->items, s->made);
        for (size_t i = 0; i < n; i++) {
            uint16_t item;
            memcpy(&item, s->items + 2 * i, 2);
            s->count[item - LOWEST]++;
        }
    }
}

/* ---- what that costs ---- */

/* With symbols of so many bits: those that are counted, behind one that never comes and stands for
 * symbol 0, so that base and indices mean what they mean in a part. */
static double price(const struct sample *s, unsigned symbol_bits, struct weir_part *part)
{
    const unsigned raw_bits = ITEM_BITS - symbol_bits;
    const uint32_t lowest = (uint32_t)LOWEST >> raw_bits;
    const uint32_t n_symbols = ((uint32_t)(LOWEST + N_COUNTS - 1) >> raw_bits) - lowest + 2;
    uint32_t count[N_COUNTS + 2];
    memset(count, 0, n_symbols * sizeof(count[0]));
    for (uint32_t i = 0; i < N_COUNTS; i++)
        count[((LOWEST + i) >> raw_bits) - lowest + 1] += s->count[i];
    const struct symbol_counts counts = {
        .count = count,
        .n_symbols = n_symbols,
        .n_items = (uint64_t)s->n_rows * s->shape->n_elements,
        .raw_bits = raw_bits,
        /* An exception: its position, what it was, and an item all the same. */
        .patch_bits = POSITION_BITS + 8.0 * (double)weir_float_bytes(s->shape->type) + 6,
    };
    double bits = coding_price(&counts, &part->base, part->freq);
    part->base = (uint16_t)(part->base + lowest - 1);
    part->symbol_bits = (uint8_t)symbol_bits;
    return bits;
}

/* What the sample takes in the store, and the coding for it. */
static double price_all(const struct sample *s, struct weir_coding *coding)
{
    const size_t elem_bytes = weir_float_bytes(s->shape->type);
    const double n = (double)s->n_rows * s->shape->n_elements;
    const double n_tiles = n * (double)elem_bytes / WEIR_TILE_BYTES;
    struct weir_part best = coding->part[0];
    double least = 1e300;
    for (unsigned symbol_bits = ITEM_BITS; symbol_bits >= LEAST_SYMBOL_BITS; symbol_bits--) {
        struct weir_part part = coding->part[0];
        double bits = price(s, symbol_bits, &part);
        if (bits >= least)
            break;
        least = bits;
        best = part;
    }
    coding->part[0] = best;
    return least + (double)s->quantiser.n_exceptions * (POSITION_BITS + 8 * (double)elem_bytes) +
           SCALE_BITS * ((double)s->n_rows + n_tiles) +
           8 * n_tiles * (WEIR_TILE_HEAD_BYTES + MADE_HEAD_BYTES + STREAM_HEAD_BYTES);
}

/* ---- what was asked for ---- */

struct offer {
    struct weir_step step;
    double bits; /* of the sample */
    struct weir_coding *coding;
};

static void try_step(struct sample *s, struct offer *o)
{
    survey(s, o->coding, &o->step);
    o->bits = price_all(s, o->coding);
}

/* The step that has that SNR on the sample. */
static void try_snr(struct sample *s, const struct weir_near *near, struct offer *o)
{
    /* Errors are spread evenly over a step of the grid: its square / 12 in the mean. */
    o->step.share = (float)(sqrt(12 / ten_to(near->snr / 10)) / o->step.grid);
    for (int i = 0; i < TRIES; i++) {
        try_step(s, o);
        if (weir_near_reached(near, s->signal, quantiser_sum(s->quantiser.noise), &o->step))
            return;
    }
}

/* The least step that gets the sample small enough. */
static void try_ratio(struct sample *s, const struct weir_near *near, struct offer *o)
{
    const double plain_bits =
        8.0 * (double)s->n_rows * s->shape->n_elements * (double)weir_float_bytes(s->shape->type);
    float low = min_share, high = 1;
    for (int i = 0; i < SEARCHES; i++) {
        o->step.share = sqrtf(low * high);
        try_step(s, o);
        if (o->bits * near->ratio <= plain_bits)
            high = o->step.share;
        else
            low = o->step.share;
    }
    o->step.share = high;
    try_step(s, o);
}

static void try_grid(struct sample *s, const struct weir_near *near, struct offer *o)
{
    if (near->snr > 0) {
        try_snr(s, near, o);
    } else if (near->ratio > 0) {
        try_ratio(s, near, o);
    } else {
        o->step.share = near->step > 0 ? near->step : WEIR_QUANTISE_STEP;
        try_step(s, o);
    }
}

/* One grid will do for the default step, and for a ratio: it hardly matters there.  Otherwise that
 * one which takes least. */
static void try_all(struct sample *s, const struct weir_near *near, struct offer *best,
                    struct offer *other)
{
    const bool one = near->ratio > 0 || (near->step == 0 && near->snr == 0);
    for (size_t i = 0; i < (one ? 1 : sizeof(grids) / sizeof(grids[0])); i++) {
        other->step.grid = grids[i];
        try_grid(s, near, other);
        if (i && other->bits >= best->bits)
            continue;
        best->step = other->step;
        best->bits = other->bits;
        memcpy(best->coding, other->coding, weir_coding_bytes(1));
    }
}

weir_err weir_quantise_choose(const struct weir_kernels *kernels, const struct weir_rows *shape,
                              const uint8_t *rows, const struct weir_near *near,
                              struct weir_coding **out, struct weir_step *step,
                              double *bits_per_byte)
{
    const size_t n_rows = (size_t)shape->n_rows;
    struct sample *s = NULL;
    struct offer best = {.coding = calloc(1, weir_coding_bytes(1))};
    struct offer other = {.coding = calloc(1, weir_coding_bytes(1))};
    weir_err err =
        best.coding && other.coding ? sample_new(&s, kernels, shape, rows, n_rows) : WEIR_ERR_NOMEM;
    if (!err) {
        coding_begin(other.coding, shape);
        try_all(s, near, &best, &other);
        double bytes = (double)n_rows * shape->n_elements * (double)weir_float_bytes(shape->type);
        *bits_per_byte = best.bits / bytes;
        *step = best.step;
        *out = NULL;
        if (*bits_per_byte < 8) {
            *out = best.coding;
            best.coding = NULL;
        }
    }
    sample_free(s);
    free(best.coding);
    free(other.coding);
    return err;
}
