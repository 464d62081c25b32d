#include "cuda/form.h"

#include <string.h>

enum {
    N_HIGH = 128,
    N_LANES = 32,
    N_STEPS = 8,     /* of a unit */
    N_OF_A_STEP = 8, /* weights of a lane */
    N_WEIGHTS = N_STEPS * N_LANES * N_OF_A_STEP,
    NO_CODE = 0xff,
    CODE_MASK = WEIR_FORM_CODES - 1,
    /* in a unit */
    EXCEPTIONS_AT = WEIR_FORM_HALF_BYTES,
    SECOND_HALF_AT = EXCEPTIONS_AT + WEIR_FORM_INLINE * 4,
    /* in a half */
    CODES_AT = 1024,
};

/* The fewest exceptions that take n lines are 5, 9, 17, ...: 4.5 a line at the least. */
uint64_t weir_form_lines(uint64_t exceptions)
{
    return exceptions / 9 * 2 + (exceptions % 9 > WEIR_FORM_INLINE);
}

uint64_t weir_form_choose(const uint64_t count[128], uint8_t high[WEIR_FORM_CODES])
{
    uint64_t left = 0, taken[2] = {0, 0};
    for (size_t k = 0; k < WEIR_FORM_CODES; k++) {
        size_t best = N_HIGH;
        for (size_t i = 0; i < N_HIGH; i++)
            if (!(taken[i / 64] >> i % 64 & 1) && (best == N_HIGH || count[i] > count[best]))
                best = i;
        taken[best / 64] |= (uint64_t)1 << best % 64;
    }
    for (size_t i = 0, k = 0; i < N_HIGH; i++)
        if (taken[i / 64] >> i % 64 & 1)
            high[k++] = (uint8_t)i;
        else
            left += count[i];
    return left;
}

static uint32_t pieces(uint32_t n, uint32_t of)
{
    return n / of + (n % of != 0);
}

uint64_t weir_form_units(uint32_t n_rows, uint32_t n_columns)
{
    return (uint64_t)pieces(n_rows, WEIR_FORM_ROWS) * pieces(n_columns, WEIR_FORM_COLUMNS);
}

/* ---- places ---- */

struct place {
    uint32_t row, column;        /* in the unit */
    size_t low, code;            /* bytes from the unit's first: the low byte, the word of codes */
    uint32_t code_bit, sign_bit; /* of that word */
};

/* `at`: as in exceptions. */
static struct place place_of(uint32_t at)
{
    const uint32_t step = at >> 8, lane = at >> 3 & 31, j = at & 7, t = step % 4;
    const size_t half = step / 4 * (size_t)SECOND_HALF_AT;
    struct place p;
    p.row = lane / 4 + 8 * (j / 2 % 2);
    p.column = step / 2 * 32 + 8 * (lane % 4) + 4 * (step % 2) + 2 * (j / 4) + j % 2;
    p.low = half + t / 2 * (size_t)(CODES_AT / 2) + lane * (size_t)16 + (size_t)8 * (t % 2) + j;
    p.code = half + CODES_AT + lane * (size_t)16 + t * (size_t)4;
    p.code_bit = 4 * j;
    p.sign_bit = j < 4 ? 8 * j + 7 : 8 * (j - 4) + 3;
    return p;
}

static uint32_t get_word(const uint8_t *at)
{
    return at[0] | (uint32_t)at[1] << 8 | (uint32_t)at[2] << 16 | (uint32_t)at[3] << 24;
}

static void put_word(uint8_t *at, uint32_t word)
{
    for (size_t i = 0; i < 4; i++)
        at[i] = (uint8_t)(word >> 8 * i);
}

/* ---- packing ---- */

struct packer {
    struct weir_form *f;
    const uint16_t *rows;
    uint32_t n_rows, n_columns;
    uint8_t code[N_HIGH];
    uint32_t found[N_WEIGHTS]; /* the unit's exceptions */
};

static void put_exceptions(struct packer *p, uint8_t *to, uint32_t n)
{
    uint32_t word[WEIR_FORM_INLINE];
    for (uint32_t i = 0; i < WEIR_FORM_INLINE; i++)
        word[i] = i < n ? p->found[i] : WEIR_FORM_NONE;
    if (n > WEIR_FORM_INLINE) {
        const uint32_t n_lines = pieces(n, WEIR_FORM_LINE);
        const uint64_t first = p->f->n_lines;
        word[0] = WEIR_FORM_LIST;
        word[1] = p->f->n_lines;
        word[2] = n;
        word[3] = WEIR_FORM_NONE;
        if (first + n_lines <= p->f->most_lines)
            for (uint32_t i = 0; i < n_lines * WEIR_FORM_LINE; i++)
                p->f->lines[first * WEIR_FORM_LINE + i] = i < n ? p->found[i] : WEIR_FORM_NONE;
        p->f->n_lines += n_lines;
    }
    for (size_t i = 0; i < WEIR_FORM_INLINE; i++)
        put_word(to + 4 * i, word[i]);
    p->f->n_exceptions += n;
}

static void pack_unit(struct packer *p, uint32_t first_row, uint32_t first_column, uint8_t *unit)
{
    uint32_t n = 0;
    memset(unit, 0, WEIR_FORM_UNIT_BYTES);
    for (uint32_t at = 0; at < N_WEIGHTS; at++) {
        const struct place q = place_of(at);
        const uint32_t row = first_row + q.row, column = first_column + q.column;
        if (row >= p->n_rows || column >= p->n_columns)
            continue;
        const uint16_t w = p->rows[(size_t)row * p->n_columns + column];
        uint32_t code = p->code[w >> 8 & (N_HIGH - 1)];
        if (code == NO_CODE) {
            p->found[n++] = at << 16 | w;
            code = 0;
        }
        unit[q.low] = (uint8_t)w;
        put_word(unit + q.code,
                 get_word(unit + q.code) | code << q.code_bit | (uint32_t)(w >> 15) << q.sign_bit);
    }
    put_exceptions(p, unit + EXCEPTIONS_AT, n);
}

weir_err weir_form_pack(const uint16_t *rows, uint32_t n_rows, uint32_t n_columns,
                        struct weir_form *f)
{
    struct packer p = {.f = f, .rows = rows, .n_rows = n_rows, .n_columns = n_columns};
    memset(p.code, NO_CODE, sizeof(p.code));
    for (size_t i = 0; i < WEIR_FORM_CODES; i++)
        p.code[f->high[i] & (N_HIGH - 1)] = (uint8_t)i;
    f->n_lines = f->n_exceptions = 0;
    uint8_t *unit = f->units;
    for (uint32_t row = 0; row < n_rows; row += WEIR_FORM_ROWS)
        for (uint32_t column = 0; column < n_columns; column += WEIR_FORM_COLUMNS) {
            pack_unit(&p, row, column, unit);
            unit += WEIR_FORM_UNIT_BYTES;
        }
    return f->n_lines > f->most_lines ? WEIR_ERR_NOMEM : WEIR_OK;
}

/* ---- unpacking ---- */

struct unpacker {
    const struct weir_form *f;
    uint16_t *rows;
    uint32_t n_rows, n_columns;
};

static void put_weight(const struct unpacker *u, uint32_t row, uint32_t column, uint32_t w)
{
    if (row < u->n_rows && column < u->n_columns)
        u->rows[(size_t)row * u->n_columns + column] = (uint16_t)w;
}

static void unpack_unit(const struct unpacker *u, uint32_t row, uint32_t column,
                        const uint8_t *unit)
{
    for (uint32_t at = 0; at < N_WEIGHTS; at++) {
        const struct place q = place_of(at);
        const uint32_t word = get_word(unit + q.code);
        const uint32_t high = u->f->high[word >> q.code_bit & CODE_MASK];
        put_weight(u, row + q.row, column + q.column,
                   unit[q.low] | high << 8 | (word >> q.sign_bit & 1) << 15);
    }
    const uint8_t *head = unit + EXCEPTIONS_AT;
    const uint32_t *line = NULL;
    uint32_t n = WEIR_FORM_INLINE;
    if (get_word(head) == WEIR_FORM_LIST) {
        line = u->f->lines + (size_t)get_word(head + 4) * WEIR_FORM_LINE;
        n = get_word(head + 8);
    }
    for (uint32_t i = 0; i < n; i++) {
        const uint32_t e = line ? line[i] : get_word(head + (size_t)4 * i);
        if (e == WEIR_FORM_NONE)
            continue;
        const struct place q = place_of(e >> 16);
        put_weight(u, row + q.row, column + q.column, e & 0xffff);
    }
}

void weir_form_unpack(const struct weir_form *f, uint32_t n_rows, uint32_t n_columns,
                      uint16_t *rows)
{
    const struct unpacker u = {f, rows, n_rows, n_columns};
    const uint8_t *unit = f->units;
    for (uint32_t row = 0; row < n_rows; row += WEIR_FORM_ROWS)
        for (uint32_t column = 0; column < n_columns; column += WEIR_FORM_COLUMNS) {
            unpack_unit(&u, row, column, unit);
            unit += WEIR_FORM_UNIT_BYTES;
        }
}
