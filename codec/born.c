#include "born.h"

#include <math.h>
#include <string.h>

#include "transform.h"

enum {
    N_SLOTS = 512,      /* of a table of values; a power of two, twice BORN_MAX_VALUES */
    MANTISSA_BITS = 23, /* of a float32 */
    EXPONENT_ONE = 127, /* of 1.0 */
    RARE = 256,         /* values that fewer of a block's elements have may be no numbers */
    MAX_MANTISSAS = 24, /* of a block that are looked at: 8 are numbers */
    GLANCE = 32,        /* elements of a place that are looked at first */
    LEAST_SEEN = 128,   /* elements of them that are not 0: few fit anything */
    N_GLANCES = 8,      /* such places */
    MISFITS_IN = 1024,  /* one misfit in so many elements is not too many */
    INT_HALF = 128,     /* of the items of integers; the item of 0 */
    LEAST_BLOCK = 32,   /* elements; a scale costs 32 bits */
};

static const float f16_least_normal = 0x1p-14F;

/* ---- floats ---- */

static size_t float_bytes(enum weir_float type)
{
    return type == WEIR_FLOAT_F32 ? 4 : 2;
}

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

static float load(const uint8_t *plain, size_t i, enum weir_float type)
{
    uint32_t bits;
    uint16_t half;
    if (type == WEIR_FLOAT_F32) {
        memcpy(&bits, plain + 4 * i, 4);
        return float_of(bits);
    }
    memcpy(&half, plain + 2 * i, 2);
    return type == WEIR_FLOAT_F16 ? f16_as_float(half) : float_of((uint32_t)half << 16);
}

float born_round(float x, enum weir_float type)
{
    uint32_t bits = bits_of(x);
    if (type == WEIR_FLOAT_F16)
        return f16_as_float(f16_of(bits));
    if (type == WEIR_FLOAT_BF16)
        bits = (bits + 0x7fff + (bits >> 16 & 1)) & 0xffff0000;
    return float_of(bits);
}

/* ---- numbers ---- */

struct minifloat {
    unsigned mantissa_bits;
    int least_exponent;      /* of a normal number */
    double denormal_inverse; /* 1 / the least number above 0 */
    uint32_t largest;        /* finite one's item */
};

static const struct minifloat minifloats[] = {
    [WEIR_NUMBER_E4M3] = {3, -6, 0x1p9, 0x7e},
    [WEIR_NUMBER_E5M2] = {2, -14, 0x1p16, 0x7b},
};

/* The item of the number closest to x >= 0. */
static uint32_t minifloat_of(float x, const struct minifloat *m)
{
    const uint32_t least = (uint32_t)(EXPONENT_ONE + m->least_exponent) << MANTISSA_BITS;
    const unsigned lost = MANTISSA_BITS - m->mantissa_bits;
    uint32_t bits = bits_of(x), item;
    if (bits < least)
        item = (uint32_t)born_nearest((double)x * m->denormal_inverse);
    else
        item = ((bits + (1U << (lost - 1))) >> lost) - (least >> lost) + (1U << m->mantissa_bits);
    return item < m->largest ? item : m->largest;
}

uint8_t born_code(float x, enum weir_number number)
{
    return (uint8_t)minifloat_of(x, &minifloats[number]);
}

/* Puts the item of a value; whether the value follows from it. */
static bool put_item(const struct weir_transform *t, float value, float scale, uint8_t *item)
{
    float number;
    if (t->number == WEIR_NUMBER_INT) {
        number = value / scale;
        if (!(number >= -INT_HALF && number < INT_HALF - 1))
            number = number > 0 ? INT_HALF - 1 : -INT_HALF;
        number = (float)born_nearest((double)number);
        *item = (uint8_t)((int)number + INT_HALF);
        number = (float)((int)*item - INT_HALF); /* never -0 */
    } else {
        const bool e4m3 = t->number == WEIR_NUMBER_E4M3;
        uint32_t v =
            isfinite(value) ? minifloat_of(fabsf(value) / scale, &minifloats[t->number]) : 0;
        *item = (uint8_t)(v | (signbit(value) ? 0x80 : 0));
        number = e4m3 ? number_e4m3[*item] : number_e5m2[*item];
    }
    return bits_of(born_round(number * scale, (enum weir_float)t->made)) == bits_of(value);
}

/* ---- blocks ---- */

/* Consecutive elements of a matrix, and a block that they have a part in. */
struct region {
    const struct weir_transform *t;
    const uint8_t *plain;
    size_t n;
    uint64_t row, column; /* of the first element */
};

struct block {
    uint64_t row, end_row; /* of its rows, those that the region touches */
    uint64_t column, end_column;
};

/* The region's elements in a row of a block: n of them from *first on. */
static size_t run_in_row(const struct region *g, const struct block *b, uint64_t row, size_t *first)
{
    uint64_t from = b->column;
    if (row == g->row && from < g->column)
        from = g->column;
    uint64_t at = (row - g->row) * g->t->row_elements + from - g->column;
    if (from >= b->end_column || at >= g->n)
        return 0;
    uint64_t n = b->end_column - from;
    *first = (size_t)at;
    return n < g->n - at ? (size_t)n : g->n - (size_t)at;
}

/* Values by their bits; a slot of 0 is free. */
struct table {
    uint32_t bits[N_SLOTS], count[N_SLOTS];
    float largest[N_SLOTS]; /* of the magnitudes with these bits, or this mantissa */
    size_t n, most;         /* most: where counting ends */
    uint64_t n_elements;
};

static void table_add(struct table *table, uint32_t bits, float value)
{
    uint32_t at = (bits ^ bits >> 16) * 0x9e3779b1U >> 23; /* the top 9 of 32 bits: N_SLOTS */
    while (table->bits[at] && table->bits[at] != bits)
        at = (at + 1) % N_SLOTS;
    if (!table->bits[at]) {
        table->bits[at] = bits;
        table->n++;
    }
    table->count[at]++;
    if (value > table->largest[at])
        table->largest[at] = value;
}

/* Counts magnitudes, or mantissas.  false: there are too many. */
static bool table_add_run(struct table *table, const struct region *g, size_t first, size_t n)
{
    const enum weir_float type = (enum weir_float)g->t->made;
    const bool whole = g->t->number == WEIR_NUMBER_INT;
    for (size_t i = 0; i < n; i++) {
        float value = fabsf(load(g->plain, first + i, type));
        if (!isfinite(value) || value < 0x1p-126F)
            continue;
        table->n_elements++;
        if (!whole && type == WEIR_FLOAT_F16 && value <= f16_least_normal)
            continue; /* what was rounded there has another mantissa */
        uint32_t bits = bits_of(value);
        if (!whole)
            bits = (bits & ((1U << MANTISSA_BITS) - 1)) | (uint32_t)EXPONENT_ONE << MANTISSA_BITS;
        table_add(table, bits, value);
        if (table->n > table->most)
            return false;
    }
    return true;
}

/* Values that at least `least` elements have. */
static void values_of(const struct table *table, uint64_t least, struct born_values *v)
{
    v->n = 0;
    v->largest = 0;
    for (size_t i = 0; i < N_SLOTS; i++) {
        if (!table->bits[i] || table->count[i] < least)
            continue;
        v->value[v->n++] = float_of(table->bits[i]);
        if (table->largest[i] > v->largest)
            v->largest = table->largest[i];
    }
}

static bool solve(const struct weir_transform *t, const struct table *table, float *scale)
{
    const enum weir_float type = (enum weir_float)t->made;
    struct born_values v;
    if (table->n == 0)
        return false;
    for (uint64_t least = 1;; least = table->n_elements / RARE) {
        values_of(table, least, &v);
        if (v.n == 0)
            return false;
        bool found = t->number == WEIR_NUMBER_INT
                         ? born_solve_int(&v, type, scale)
                         : born_solve_float(&v, type, (enum weir_number)t->number, scale);
        if (found || least > 1 || table->n_elements < 2 * (uint64_t)RARE)
            return found;
    }
}

/* Finds the scale of a block from the region's elements in it; 1 if there is none. */
static float scale_of(const struct region *g, const struct block *b)
{
    struct table table = {.most = g->t->number == WEIR_NUMBER_INT ? BORN_MAX_INTS : MAX_MANTISSAS};
    float scale = 1;
    for (uint64_t row = b->row; row < b->end_row; row++) {
        size_t first = 0, n = run_in_row(g, b, row, &first);
        if (!table_add_run(&table, g, first, n))
            return 1;
    }
    return solve(g->t, &table, &scale) ? scale : 1;
}

static size_t fit_block(const struct region *g, const struct block *b, uint8_t *item, float scale)
{
    const enum weir_float type = (enum weir_float)g->t->made;
    size_t misfits = 0;
    for (uint64_t row = b->row; row < b->end_row; row++) {
        size_t first = 0, n = run_in_row(g, b, row, &first);
        for (size_t i = first; i < first + n; i++)
            misfits += !put_item(g->t, load(g->plain, i, type), scale, item + i);
    }
    return misfits;
}

size_t born_scales(const struct weir_transform *t, uint32_t row, uint32_t column, size_t n_elements)
{
    uint64_t n = weir_transform_scales(t, row, column, n_elements);
    return n <= BORN_MAX_SCALES ? (size_t)n : 0;
}

size_t born_fit(const struct weir_transform *t, const uint8_t *plain, size_t n, uint32_t row,
                uint32_t column, uint8_t *item, float *scale)
{
    const struct region g = {t, plain, n, row, column};
    const uint64_t end_row = row + (column + (uint64_t)n - 1) / t->row_elements + 1;
    size_t misfits = 0;
    for (uint64_t band = 0; band < end_row; band += t->block_rows) {
        struct block b = {band > row ? band : row, band + t->block_rows, 0, 0};
        if (b.end_row > end_row)
            b.end_row = end_row;
        for (; b.column < t->row_elements; b.column = b.end_column, scale++) {
            b.end_column = b.column + t->block_cols;
            if (b.end_column > t->row_elements)
                b.end_column = t->row_elements;
            *scale = scale_of(&g, &b);
            misfits += fit_block(&g, &b, item, *scale);
        }
    }
    return misfits;
}

/* ---- from a sample ---- */

/* Fits GLANCE elements of one row from element `at` of the piece on, or from a little further on.
 * Returns how many of them are not 0. */
static size_t glance_at(const struct weir_transform *t, const struct born_piece *p, size_t at,
                        size_t *misfits)
{
    const uint64_t row_elements = t->row_elements, column = (p->first + at) % row_elements;
    uint64_t next = (column + GLANCE - 1) / GLANCE * GLANCE; /* so that it lies in one block */
    if (next + GLANCE > row_elements)
        next = row_elements; /* column 0 of the next row */
    at += (size_t)(next - column);
    if (at >= p->n)
        return 0;
    uint64_t n = p->n - at < GLANCE ? p->n - at : GLANCE;
    if (n > row_elements)
        n = row_elements;
    uint8_t item[GLANCE];
    float scale;
    struct weir_transform one = *t;
    const uint8_t *plain = p->bytes + at * float_bytes((enum weir_float)t->made);
    size_t not_zero = 0;
    one.row_elements = one.block_cols = (uint32_t)n;
    *misfits += born_fit(&one, plain, (size_t)n, 0, 0, item, &scale);
    for (size_t i = 0; i < n; i++)
        not_zero += load(plain, i, (enum weir_float)t->made) != 0;
    return not_zero;
}

bool born_glance(const struct born_tensor *tensor, const struct born_piece *piece, size_t n_pieces,
                 enum weir_number number)
{
    struct weir_transform t = {.kind = WEIR_TRANSFORM_SCALE,
                               .number = (uint8_t)number,
                               .made = (uint8_t)tensor->type,
                               .item_bytes = 1,
                               .block_rows = 1};
    size_t misfits = 0, seen = 0;
    if (tensor->row_elements == 0 || tensor->row_elements > UINT32_MAX)
        return false;
    t.row_elements = (uint32_t)tensor->row_elements;
    for (size_t i = 0; i < N_GLANCES; i++) {
        const struct born_piece *p = &piece[n_pieces * i / N_GLANCES];
        seen += glance_at(&t, p, p->n / N_GLANCES * i, &misfits);
        if (misfits > 1)
            return false;
    }
    return seen >= LEAST_SEEN;
}

/* Blocks that are tried: rows and columns of them; 0: all there are. */
static const struct {
    uint32_t rows, cols;
    bool slab; /* rows are all but the first dimension */
} grids[] = {{0, 0, false},   {1, 0, true},   {1, 0, false}, {128, 128, false},
             {1, 128, false}, {1, 64, false}, {1, 32, false}};

enum { N_GRIDS = sizeof(grids) / sizeof(grids[0]) };

/* false: the tensor has no such blocks. */
static bool set_grid(const struct born_tensor *tensor, size_t i, struct weir_transform *t)
{
    uint64_t in_row = grids[i].slab ? tensor->slab_elements : tensor->row_elements;
    if (in_row == 0 || in_row > UINT32_MAX || tensor->n_elements / in_row > UINT32_MAX)
        return false;
    uint32_t rows = (uint32_t)((tensor->n_elements + in_row - 1) / in_row);
    t->row_elements = (uint32_t)in_row;
    t->block_rows = grids[i].rows && grids[i].rows < rows ? grids[i].rows : rows;
    t->block_cols = grids[i].cols && grids[i].cols < in_row ? grids[i].cols : (uint32_t)in_row;
    return true;
}

static bool grid_fits(const struct weir_transform *t, const struct born_piece *piece,
                      size_t n_pieces, struct born_room *room)
{
    size_t misfits = 0, seen = 0;
    uint8_t *item = room->item;
    for (size_t i = 0; i < n_pieces; i++) {
        const struct born_piece *p = &piece[i];
        const uint32_t row = (uint32_t)(p->first / t->row_elements % t->block_rows);
        const uint32_t column = (uint32_t)(p->first % t->row_elements);
        if (born_scales(t, row, column, p->n) == 0)
            return false;
        misfits += born_fit(t, p->bytes, p->n, row, column, item, room->scale);
        item += p->n;
        seen += p->n;
        if (misfits > p->n / MISFITS_IN * n_pieces)
            return false;
    }
    return misfits <= seen / MISFITS_IN;
}

bool born_find(const struct born_tensor *tensor, const struct born_piece *piece, size_t n_pieces,
               enum weir_number number, struct born_room *room, struct weir_transform *out)
{
    uint64_t size = UINT64_MAX; /* of the blocks tried last: from large ones to small ones */
    for (;;) {
        uint64_t next = 0;
        struct weir_transform best = {0}, t = {.kind = WEIR_TRANSFORM_SCALE,
                                               .number = (uint8_t)number,
                                               .made = (uint8_t)tensor->type,
                                               .item_bytes = 1};
        for (size_t i = 0; i < N_GRIDS; i++) {
            if (!set_grid(tensor, i, &t))
                continue;
            uint64_t n = (uint64_t)t.block_rows * t.block_cols;
            if (n < size && n > next) {
                next = n;
                best = t;
            }
        }
        if (next < LEAST_BLOCK)
            return false;
        size = next;
        if (grid_fits(&best, piece, n_pieces, room)) {
            *out = best;
            return true;
        }
    }
}
