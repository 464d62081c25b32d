#include "codec/quantise.h"

#include <math.h>
#include <string.h>

#include "dtype.h"
#include "quantise_row.h"

/* Nominal steps beyond these are taken for none: then products and inverses are normal numbers. */
static const float least_step = 0x1p-100F, most_step = 0x1p100F;

static const char *const type_text[] = {
    [WEIR_FLOAT_BF16] = "BF16", [WEIR_FLOAT_F16] = "F16", [WEIR_FLOAT_F32] = "F32"};

static bool has_word(const char *name, const char *const *words)
{
    for (; *words; words++)
        if (strcasestr(name, *words))
            return true;
    return false;
}

bool weir_near_wants(const struct weir_tensor *tensor, bool embeddings)
{
    static const char *const never[] = {"norm", "bias", "ln_", NULL};
    static const char *const embedding[] = {"embed", "embd", "wte", "wpe", NULL};
    struct weir_rows rows;
    return weir_quantise_rows(tensor, &rows) && !has_word(tensor->name, never) &&
           (embeddings || !has_word(tensor->name, embedding));
}

void weir_nearness_add(struct weir_nearness *a, const struct weir_nearness *b)
{
    a->signal += b->signal;
    a->noise += b->noise;
    a->largest = b->largest > a->largest ? b->largest : a->largest;
    a->step = b->step > a->step ? b->step : a->step;
}

double weir_nearness_snr(const struct weir_nearness *nearness)
{
    return nearness->noise > 0 ? 10 * log10(nearness->signal / nearness->noise) : (double)INFINITY;
}

size_t weir_float_bytes(enum weir_float type)
{
    return type == WEIR_FLOAT_F32 ? 4 : 2;
}

bool weir_quantise_rows(const struct weir_tensor *tensor, struct weir_rows *out)
{
    struct weir_rows rows = {.n_rows = 1};
    size_t type = 0;
    while (type <= WEIR_FLOAT_F32 && strcmp(tensor->dtype, type_text[type]) != 0)
        type++;
    const struct dtype *dtype = dtype_by_text(tensor->dtype);
    uint64_t bytes, in_row = 1;
    if (type > WEIR_FLOAT_F32 || tensor->n_dims < 2 ||
        !dtype_tensor_bytes(dtype, tensor->dim, tensor->n_dims, &bytes) ||
        bytes < WEIR_QUANTISE_MIN_BYTES)
        return false;
    uint8_t d = tensor->n_dims;
    while (d > 1 && in_row < WEIR_QUANTISE_MIN_ROW)
        in_row *= tensor->dim[--d];
    if (in_row < WEIR_QUANTISE_MIN_ROW || in_row > UINT32_MAX)
        return false;
    rows.type = (enum weir_float)type;
    rows.n_elements = (uint32_t)in_row;
    rows.n_rows = bytes / weir_float_bytes(rows.type) / in_row;
    *out = rows;
    return true;
}

double quantiser_sum(const double lane[SUM_LANES])
{
    double sum = 0;
    for (size_t l = 0; l < SUM_LANES; l++)
        sum += lane[l];
    return sum;
}

float weir_quantise_rms(const struct weir_kernels *kernels, enum weir_float type,
                        const uint8_t *row, size_t n, double *signal)
{
    double lane[SUM_LANES] = {0};
    kernels->squares(type, row, n, lane);
    double sum = quantiser_sum(lane);
    *signal += sum;
    return (float)sqrt(sum / (double)n);
}

/* ---- from weights to items ---- */

/* The items that the coding has an index for, from the first to the last. */
static void find_window(const struct weir_part *part, struct quantise_step *out)
{
    const unsigned raw_bits = 16u - part->symbol_bits;
    int first = 0, last = 0;
    for (int j = 1; j < 256; j++) {
        if (!part->freq[j])
            continue;
        first = first ? first : j;
        last = j;
    }
    out->first = (float)(((part->base + first) << raw_bits) - QUANTISE_ZERO);
    out->last = (float)(((part->base + last + 1) << raw_bits) - 1 - QUANTISE_ZERO);
}

static bool is_step(float nominal)
{
    return nominal >= least_step && nominal <= most_step;
}

/* Where weights are BF16 so is the scale: then a product is exact as a float32 and rounded once,
 * and weights can be multiplied with as items (codec/grid.h).  A grid of 0.9 becomes 0.896 to
 * 0.904.
 */
static float scale_of(enum weir_float type, float scale)
{
    uint32_t bits;
    memcpy(&bits, &scale, sizeof(bits));
    if (type == WEIR_FLOAT_BF16)
        bits = (bits + 0x7fff + (bits >> 16 & 1)) & 0xffff0000;
    memcpy(&scale, &bits, sizeof(scale));
    return scale;
}

void quantiser_use(struct quantiser *q, const struct weir_step *step, float rms)
{
    const float nominal = step->share * rms;
    const bool none = !is_step(nominal);
    q->step.scale = none ? 0 : scale_of(q->step.type, nominal * step->grid);
    q->step.inverse = none ? 0 : 1 / q->step.scale;
    q->step.half = none ? 0 : nominal / 2;
}

static void put_item(uint8_t *item, int value)
{
    uint16_t v = (uint16_t)value;
    memcpy(item, &v, 2);
}

/* Rounding the product took it too far from the weight: an item beside may still do; else the
 * weight stays as it was. */
static void mend(struct quantiser *q, const uint8_t *element, uint8_t *item, uint8_t *made)
{
    enum { MAX_BYTES = 4 };
    const size_t elem_bytes = weir_float_bytes(q->step.type);
    uint16_t at;
    memcpy(&at, item, 2);
    float best = 0;
    bool found = false;
    for (int beside = -1; beside <= 1; beside += 2) {
        const float wanted = (float)(at + beside - QUANTISE_ZERO);
        uint8_t other[2], from[MAX_BYTES], bad;
        double unused[SUM_LANES];
        if (wanted < q->step.first || wanted > q->step.last)
            continue;
        put_item(other, at + beside);
        q->kernels->scale(q->transform, other, 1, q->step.scale, from);
        if (q->kernels->misfits(&q->step, element, from, 1, &bad))
            continue;
        memset(unused, 0, sizeof(unused));
        float error = q->kernels->add_errors(q->step.type, element, from, 1, unused);
        if (found && error >= best)
            continue;
        found = true;
        best = error;
        put_item(item, at + beside);
        memcpy(made, from, elem_bytes);
    }
    if (found)
        return;
    q->n_exceptions++;
    put_item(item, QUANTISE_ZERO); /* what is cheapest to code: it does not matter */
    memcpy(made, element, elem_bytes);
}

/* At most QUANTISE_CHUNK elements of one row. */
static void quantise_chunk(struct quantiser *q, const uint8_t *elements, size_t n, uint8_t *items,
                           uint8_t *made)
{
    const size_t elem_bytes = weir_float_bytes(q->step.type);
    uint8_t bad[QUANTISE_CHUNK];
    q->kernels->quantise(&q->step, elements, n, items);
    q->kernels->scale(q->transform, items, n, q->step.scale, made);
    if (!q->kernels->misfits(&q->step, elements, made, n, bad))
        return;
    for (size_t i = 0; i < n; i++)
        if (bad[i])
            mend(q, elements + i * elem_bytes, items + 2 * i, made + i * elem_bytes);
}

void quantiser_run(struct quantiser *q, const uint8_t *elements, size_t n, uint8_t *items,
                   uint8_t *made)
{
    const size_t elem_bytes = weir_float_bytes(q->step.type);
    float largest = 0;
    for (size_t at = 0, some; at < n; at += some) {
        some = n - at < QUANTISE_CHUNK ? n - at : QUANTISE_CHUNK;
        const uint8_t *from = elements + at * elem_bytes;
        uint8_t *to = made + at * elem_bytes;
        quantise_chunk(q, from, some, items + 2 * at, to);
        if (!q->measure)
            continue;
        float e = q->kernels->add_errors(q->step.type, from, to, some, q->noise);
        largest = e > largest ? e : largest;
    }
    const float nominal = 2 * q->step.half;
    if (largest > 0 && largest / nominal > q->largest)
        q->largest = largest / nominal;
}

void weir_quantise(const struct weir_kernels *kernels, const struct weir_quantise_job *job,
                   const uint8_t *elements, size_t n, uint8_t *items, uint8_t *made, float *scales)
{
    struct weir_nearness *nearness = job->nearness;
    const struct weir_transform *t = &job->coding->transform;
    struct quantiser q = {.kernels = kernels,
                          .transform = t,
                          .step.type = (enum weir_float)t->made,
                          .measure = nearness != NULL};
    const size_t elem_bytes = weir_float_bytes(q.step.type);
    size_t column = job->column, row = 0;
    find_window(&job->coding->part[0], &q.step);
    for (size_t at = 0, run; at < n; at += run, row++, column = 0) {
        run = t->row_elements - column < n - at ? t->row_elements - column : n - at;
        quantiser_use(&q, &job->step, job->rms[row]);
        scales[row] = q.step.scale;
        quantiser_run(&q, elements + at * elem_bytes, run, items + 2 * at, made + at * elem_bytes);
    }
    if (!nearness)
        return;
    nearness->noise += quantiser_sum(q.noise);
    nearness->largest = q.largest > nearness->largest ? q.largest : nearness->largest;
}

size_t weir_nearness_measure(const struct weir_kernels *kernels, const struct weir_coding *coding,
                             float step, const uint8_t *packed, const uint8_t *given, size_t n,
                             struct weir_nearness *nearness)
{
    const bool none = !is_step(step);
    const enum weir_float type = (enum weir_float)coding->transform.made;
    const struct quantise_step at = {.type = type, .half = none ? 0 : step / 2};
    const size_t elem_bytes = weir_float_bytes(type);
    double signal[SUM_LANES] = {0}, noise[SUM_LANES] = {0};
    float largest = 0;
    size_t first = n;
    for (size_t i = 0, some; i < n; i += some) {
        some = n - i < QUANTISE_CHUNK ? n - i : QUANTISE_CHUNK;
        uint8_t bad[QUANTISE_CHUNK];
        const uint8_t *was = packed + i * elem_bytes, *is = given + i * elem_bytes;
        if (kernels->misfits(&at, was, is, some, bad) && first == n)
            first = i + (size_t)((const uint8_t *)memchr(bad, 1, some) - bad);
        kernels->squares(type, was, some, signal);
        float e = kernels->add_errors(type, was, is, some, noise);
        largest = e > largest ? e : largest;
    }
    nearness->signal += quantiser_sum(signal);
    nearness->noise += quantiser_sum(noise);
    if (largest > 0 && !none && largest / step > nearness->largest)
        nearness->largest = largest / step;
    return first;
}
