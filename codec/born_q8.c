#include "born_q8.h"

#include <math.h>
#include <string.h>

#include "transform.h"

enum {
    LARGEST = 127,  /* integer of a block */
    HALF = 63,      /* of it; or one more: 63.5 is what was rounded */
    MAX_PEAKS = 64, /* different d with one scale: 8-bit floats have 8 in an octave */
    MAX_REGION = WEIR_TILE_BYTES / WEIR_Q8_BYTES, /* elements */
    N_STEPS = 4096,  /* scales of an interval that are tried, at most */
    N_FITTED = 8,    /* of those that make all peaks, at most */
    N_GLANCES = 16,  /* elements */
    LEAST_TOLD = 16, /* integers below it tell nothing of their number */
    MISFITS_IN = 64, /* elements */
    F16_INFINITE = 0x7c00,
};

/* Numbers as k x 2^j: k of 1.0, of the largest, and the largest's j. */
struct shape {
    int one, largest, top;
};

static const struct shape shapes[] = {
    [WEIR_NUMBER_E4M3] = {8, 14, 5},
    [WEIR_NUMBER_E5M2] = {4, 7, 13},
};

static uint32_t bits_of(float x)
{
    uint32_t bits;
    memcpy(&bits, &x, sizeof(bits));
    return bits;
}

static float float_of(uint32_t bits)
{
    float x;
    memcpy(&x, &bits, sizeof(x));
    return x;
}

static uint16_t d_of(const uint8_t *block)
{
    uint16_t d;
    memcpy(&d, block, sizeof(d));
    return d;
}

static int magnitude(const uint8_t *block, size_t i)
{
    const int q = block[2 + i]; /* of two's complement */
    return q < 0x80 ? q : 0x100 - q;
}

/* ---- a glance ---- */

/* Whether the integers are numbers, with k the largest one's. */
static bool integers_fit(const uint8_t *block, const struct shape *shape, int k)
{
    for (size_t i = 0; i < WEIR_Q8_WEIGHTS; i++) {
        const int q = magnitude(block, i);
        if (q < LEAST_TOLD)
            continue;
        int e;
        const float number = (float)q * (float)k / LARGEST;
        const float mantissa = frexpf(number, &e) * 2 * (float)shape->one;
        const float near = (float)born_nearest((double)mantissa);
        const float unit = (float)LARGEST / (float)k * ldexpf(1, e) / (2 * (float)shape->one);
        /* Half of one for the integer's rounding, and what the weight's rounding may add. */
        if (fabsf(mantissa - near) * unit > 0.5F + (float)q / 125)
            return false;
    }
    return true;
}

bool born_q8_glance(const uint8_t *plain, size_t n, enum weir_number number)
{
    const struct shape *shape = &shapes[number];
    size_t misfits = 0, seen = 0;
    for (size_t i = 0; i < N_GLANCES && i < n; i++) {
        const uint8_t *block = plain + (n < N_GLANCES ? i : n * i / N_GLANCES) * WEIR_Q8_BYTES;
        bool fits = d_of(block) == 0;
        seen += !fits;
        for (int k = shape->one; !fits && k < 2 * shape->one; k++)
            fits = integers_fit(block, shape, k);
        misfits += !fits;
        if (misfits > 1)
            return false;
    }
    return seen > 0;
}

/* ---- the scale of one block of the matrix ---- */

/* What elements say of the largest weight of theirs. */
struct peak {
    uint16_t d;
    int half;      /* 63 or 64: what 63.5 became; 0: not known */
    double number; /* if the largest of all is what is tried */
};

/* Elements with one scale. */
struct region {
    const struct weir_transform *t;
    const uint8_t *plain;
    size_t n;
    uint16_t element[MAX_REGION];
    size_t n_peaks;
    struct peak peak[MAX_PEAKS]; /* the first has the largest d */
};

static int half_of(const uint8_t *block)
{
    for (size_t i = 0; i < WEIR_Q8_WEIGHTS; i++)
        if (magnitude(block, i) == HALF || magnitude(block, i) == HALF + 1)
            return magnitude(block, i);
    return 0;
}

/* false: there are too many, or none. */
static bool find_peaks(struct region *g)
{
    g->n_peaks = 0;
    for (size_t i = 0; i < g->n; i++) {
        const uint8_t *block = g->plain + (size_t)g->element[i] * WEIR_Q8_BYTES;
        const uint16_t d = d_of(block);
        size_t at = 0;
        if (d == 0 || d >= F16_INFINITE)
            continue;
        while (at < g->n_peaks && g->peak[at].d != d)
            at++;
        if (at == MAX_PEAKS)
            return false;
        if (at == g->n_peaks)
            g->peak[g->n_peaks++] = (struct peak){.d = d};
        if (!g->peak[at].half)
            g->peak[at].half = half_of(block);
        if (d > g->peak[0].d) {
            const struct peak largest = g->peak[at];
            g->peak[at] = g->peak[0];
            g->peak[0] = largest;
        }
    }
    return g->n_peaks > 0;
}

struct interval {
    double low, high;
};

/* Where the product was whose 127th has this d.  false: no BF16 is there. */
static bool product_of(uint16_t d, enum weir_float made, struct interval *out)
{
    const double at = (double)f16_as_float(d), below = (double)f16_as_float((uint16_t)(d - 1));
    out->low = (at + below) / 2 * LARGEST;
    out->high = (at + at - below + at) / 2 * LARGEST;
    const double above = (double)f16_as_float((uint16_t)(d + 1));
    if (d + 1 < F16_INFINITE)
        out->high = (at + above) / 2 * LARGEST;
    if (made != WEIR_FLOAT_BF16)
        return true;
    const uint32_t ulp = 1U << 16;
    uint32_t low = bits_of((float)out->low) / ulp * ulp, high = bits_of((float)out->high);
    high = high / ulp * ulp;
    while ((double)float_of(low) < out->low)
        low += ulp;
    if (low > high || low == 0)
        return false;
    out->low = ((double)float_of(low) + (double)float_of(low - ulp)) / 2;
    out->high = ((double)float_of(high) + (double)float_of(high + ulp)) / 2;
    return true;
}

static double closest(double x, const struct shape *shape)
{
    int e;
    const double mantissa = frexp(x, &e);
    return ldexp(born_nearest(mantissa * 2 * shape->one) / (2 * shape->one), e);
}

/* Which numbers the peaks are and where the scale is, if the first one is so many. */
static bool narrow(struct region *g, double number, const struct shape *shape, struct interval *s)
{
    struct interval p;
    const enum weir_float made = (enum weir_float)g->t->made;
    if (!product_of(g->peak[0].d, made, &p))
        return false;
    *s = (struct interval){p.low / number, p.high / number};
    for (size_t i = 0; i < g->n_peaks; i++) {
        struct peak *peak = &g->peak[i];
        if (!product_of(peak->d, made, &p))
            return false;
        peak->number = closest((p.low + p.high) / (s->low + s->high), shape);
        const double low = p.low / peak->number, high = p.high / peak->number;
        s->low = low > s->low ? low : s->low;
        s->high = high < s->high ? high : s->high;
        if (!(s->low <= s->high))
            return false;
    }
    return true;
}

/* Whether each peak, and the half of it, becomes what it is. */
static bool makes_peaks(const struct region *g, float scale)
{
    const enum weir_float made = (enum weir_float)g->t->made;
    for (size_t i = 0; i < g->n_peaks; i++) {
        const struct peak *p = &g->peak[i];
        const float x = born_round((float)p->number * scale, made), d = x / LARGEST;
        if (f16_of(bits_of(d)) != p->d)
            return false;
        const float inverse = 1 / d;
        const float half = born_round((float)(p->number / 2) * scale, made) * inverse;
        if (p->half && (half >= HALF + 0.5F) != (p->half > HALF))
            return false;
    }
    return true;
}

/* Whether the element is what its items make. */
static bool put_items(const struct weir_transform *t, const uint8_t *block, float scale,
                      uint8_t item[WEIR_Q8_WEIGHTS])
{
    const enum weir_number number = (enum weir_number)t->number;
    const float *value = number == WEIR_NUMBER_E4M3 ? number_e4m3 : number_e5m2;
    const float d = f16_as_float(d_of(block) & 0x7fff);
    const float largest = isfinite(d) ? value[born_code(d * LARGEST / scale, number)] : 0;
    uint8_t made[WEIR_Q8_BYTES], code[LARGEST + 2] = {0};
    for (size_t i = 0; i < WEIR_Q8_WEIGHTS; i++) {
        const int q = magnitude(block, i);
        if (q && !code[q])
            code[q] = born_code((float)q * largest / LARGEST, number);
        item[i] = (uint8_t)(code[q] | (block[2 + i] & 0x80));
    }
    transform_make_q8(t, item, scale, made);
    return memcmp(made, block, WEIR_Q8_BYTES) == 0;
}

/* Elements that do not fit; counting ends behind `enough`. */
static size_t misfits_with(const struct region *g, float scale, size_t enough)
{
    uint8_t item[WEIR_Q8_WEIGHTS];
    size_t misfits = 0;
    for (size_t i = 0; i < g->n && misfits <= enough; i++)
        misfits += !put_items(g->t, g->plain + (size_t)g->element[i] * WEIR_Q8_BYTES, scale, item);
    return misfits;
}

struct best {
    float scale;
    size_t misfits;
};

/* Takes the best scale of the interval, if it is better. */
static void try_interval(const struct region *g, const struct interval *s, struct best *best)
{
    const uint32_t low = bits_of((float)s->low), high = bits_of((float)s->high);
    const uint32_t n = high - low, step = n / N_STEPS + 1;
    size_t n_fitted = 0;
    for (uint32_t at = low; at <= high && n_fitted < N_FITTED && best->misfits; at += step) {
        const float scale = float_of(at);
        if (!makes_peaks(g, scale))
            continue;
        const size_t misfits = misfits_with(g, scale, best->misfits);
        if (misfits < best->misfits)
            *best = (struct best){scale, misfits};
        n_fitted++;
        at += n / N_FITTED / step * step;
    }
}

/* 1: there is none. */
static float scale_of(struct region *g)
{
    const struct shape *shape = &shapes[g->t->number];
    struct best best = {1, g->n + 1};
    if (!find_peaks(g))
        return 1;
    for (int i = 0; i <= shape->one && best.misfits > g->n / MISFITS_IN; i++) {
        /* The largest number first: that is what scales are mostly made for. */
        const int k = i == 0 ? shape->largest : 2 * shape->one - i;
        struct interval s;
        const double number = ldexp(k, k > shape->largest ? shape->top - 1 : shape->top);
        if ((i == 0 || k != shape->largest) && narrow(g, number, shape, &s) && s.low > 0x1p-120 &&
            s.high < 0x1p120)
            try_interval(g, &s, &best);
    }
    return best.scale;
}

/* ---- tiles ---- */

/* The elements from (row, column) on that lie in a block of the matrix. */
static void find_elements(struct region *g, size_t n, uint64_t row, uint64_t column,
                          const uint64_t block[4])
{
    const uint64_t width = g->t->row_elements;
    g->n = 0;
    for (uint64_t r = block[0]; r < block[1]; r++)
        for (uint64_t c = block[2]; c < block[3]; c += WEIR_Q8_WEIGHTS) {
            const uint64_t at = (r - row) * width + c;
            if (at >= column && (at - column) / WEIR_Q8_WEIGHTS < n)
                g->element[g->n++] = (uint16_t)((at - column) / WEIR_Q8_WEIGHTS);
        }
}

size_t born_q8_fit(const struct weir_transform *t, const uint8_t *plain, size_t n, uint32_t row,
                   uint32_t column, uint8_t *item, float *scale)
{
    const uint64_t weights = (uint64_t)n * WEIR_Q8_WEIGHTS, width = t->row_elements;
    const uint64_t end_row = row + (column + weights - 1) / width + 1;
    struct region g = {.t = t, .plain = plain};
    size_t misfits = 0;
    for (uint64_t band = 0; band < end_row; band += t->block_rows) {
        const uint64_t from = band > row ? band : row;
        const uint64_t to = band + t->block_rows < end_row ? band + t->block_rows : end_row;
        for (uint64_t c = 0; c < width; c += t->block_cols, scale++) {
            const uint64_t end = c + t->block_cols < width ? c + t->block_cols : width;
            find_elements(&g, n, row, column, (const uint64_t[4]){from, to, c, end});
            *scale = scale_of(&g);
            for (size_t i = 0; i < g.n; i++) {
                const size_t at = g.element[i];
                misfits +=
                    !put_items(t, plain + at * WEIR_Q8_BYTES, *scale, item + at * WEIR_Q8_WEIGHTS);
            }
        }
    }
    return misfits;
}

/* ---- from a sample ---- */

/* Blocks that are tried, from large ones to small ones: rows and columns of weights; 0: all. */
static const uint32_t grids[][2] = {{0, 0}, {1, 0}, {128, 128}, {1, 128}, {1, 64}, {1, 32}};

enum { N_GRIDS = sizeof(grids) / sizeof(grids[0]) };

static bool set_grid(const struct born_tensor *tensor, size_t i, struct weir_transform *t)
{
    const uint64_t in_row = tensor->row_elements;
    if (in_row == 0 || in_row > UINT32_MAX || in_row % WEIR_Q8_WEIGHTS ||
        tensor->n_elements / in_row >= UINT32_MAX)
        return false;
    const uint32_t rows = (uint32_t)((tensor->n_elements + in_row - 1) / in_row);
    t->row_elements = (uint32_t)in_row;
    t->block_rows = grids[i][0] && grids[i][0] < rows ? grids[i][0] : rows;
    t->block_cols = grids[i][1] && grids[i][1] < in_row ? grids[i][1] : (uint32_t)in_row;
    return true;
}

static bool grid_fits(const struct weir_transform *t, const struct born_piece *piece,
                      size_t n_pieces, struct born_room *room)
{
    uint8_t *item = room->item;
    for (size_t i = 0; i < n_pieces; i++) {
        const struct born_piece *p = &piece[i];
        const uint64_t first = p->first * WEIR_Q8_WEIGHTS;
        const uint32_t row = (uint32_t)(first / t->row_elements % t->block_rows);
        const uint32_t column = (uint32_t)(first % t->row_elements);
        if (born_scales(t, row, column, p->n) == 0 ||
            born_q8_fit(t, p->bytes, p->n, row, column, item, room->scale) > p->n / MISFITS_IN)
            return false;
        item += p->n * WEIR_Q8_WEIGHTS;
    }
    return true;
}

bool born_q8_find(const struct born_tensor *tensor, const struct born_piece *piece, size_t n_pieces,
                  enum weir_number number, struct born_room *room, struct weir_transform *out)
{
    for (size_t i = 0; i < N_GRIDS; i++) {
        struct weir_transform t = {.kind = WEIR_TRANSFORM_Q8_0,
                                   .number = (uint8_t)number,
                                   .made = (uint8_t)tensor->type,
                                   .item_bytes = WEIR_Q8_WEIGHTS};
        if (!set_grid(tensor, i, &t) || !grid_fits(&t, piece, n_pieces, room))
            continue;
        *out = t;
        return true;
    }
    return false;
}
