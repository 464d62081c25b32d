#include "cuda/form_q8.h"

#include <string.h>

#include "codec/grid.h"

enum {
    N_LANES = 32,
    N_STEPS = 8,     /* of a unit */
    N_OF_A_STEP = 8, /* weights of a lane */
    N_WEIGHTS = N_STEPS * N_LANES * N_OF_A_STEP,
    MAGNITUDE_BITS = 6,
    SIGN_WORD = 6, /* of the two pairs that have a bit of each word */
    SPREAD = 14,   /* the first of these */
    HALF_ROWS = WEIR_FORM_ROWS / 2,
    /* in a unit */
    EXCEPTIONS_AT = WEIR_FORM_Q8_HALF_BYTES,
    SECOND_HALF_AT = EXCEPTIONS_AT + 4 * WEIR_FORM_Q8_INLINE,
    /* in a half */
    PAIRS_OF_WORDS_AT = 512,
    LAST_WORDS_AT = 768,
};

static uint32_t pieces(uint32_t n, uint32_t of)
{
    return n / of + (n % of != 0);
}

uint64_t weir_form_q8_step_bytes(uint32_t n_rows)
{
    return (uint64_t)pieces(n_rows, WEIR_FORM_ROWS) * WEIR_FORM_Q8_STEP_WORDS * sizeof(uint32_t);
}

/* The fewest exceptions that take n lines are 9, 17, 25, ...: 9 take two, 8 more another. */
uint64_t weir_form_q8_lines(uint64_t exceptions)
{
    return exceptions / 9 * 2 + 1;
}

/* ---- places ---- */

struct place {
    uint32_t row, column; /* in the unit */
    size_t half;          /* bytes from the unit's first */
    uint32_t lane, pair, second;
};

/* `at`: as in exceptions. */
static struct place place_of(uint32_t at)
{
    const uint32_t step = at >> 8, lane = at >> 3 & 31, j = at & 7;
    struct place p;
    p.row = lane / 4 + 8 * (j / 2 % 2);
    p.column = step / 2 * 32 + 8 * (lane % 4) + 4 * (step % 2) + 2 * (j / 4) + j % 2;
    p.half = step / 4 * (size_t)SECOND_HALF_AT;
    p.lane = lane;
    p.pair = step % 4 * 4 + j / 2;
    p.second = j % 2;
    return p;
}

/* Bytes from the unit's first to word `i` of the place's lane. */
static size_t word_at(const struct place *p, uint32_t i)
{
    if (i < 4)
        return p->half + p->lane * (size_t)16 + i * (size_t)4;
    if (i < 6)
        return p->half + PAIRS_OF_WORDS_AT + p->lane * (size_t)8 + (i - 4) * (size_t)4;
    return p->half + LAST_WORDS_AT + p->lane * (size_t)4;
}

/* Where bit b of the magnitude is (b == MAGNITUDE_BITS: the sign): word and bit of it. */
struct bit_place {
    uint32_t word, bit;
};

static struct bit_place bit_of(const struct place *p, uint32_t b)
{
    const uint32_t half = 16 * p->second;
    if (p->pair >= SPREAD)
        return (struct bit_place){b == MAGNITUDE_BITS ? SIGN_WORD : b,
                                  half + 8 * (p->pair - SPREAD)};
    if (p->pair % 2 == 0)
        return (struct bit_place){p->pair / 2, half + (b == MAGNITUDE_BITS ? 15 : 1 + b)};
    if (b == MAGNITUDE_BITS)
        return (struct bit_place){p->pair / 2, p->second ? 7 : 23};
    return (struct bit_place){p->pair / 2, half + 9 + b};
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

/* code: magnitude, and the sign above it. */
static void put_code(uint8_t *unit, const struct place *p, uint32_t code)
{
    for (uint32_t b = 0; b <= MAGNITUDE_BITS; b++) {
        const struct bit_place q = bit_of(p, b);
        uint8_t *word = unit + word_at(p, q.word);
        put_word(word, get_word(word) | (code >> b & 1) << q.bit);
    }
}

static uint32_t get_code(const uint8_t *unit, const struct place *p)
{
    uint32_t code = 0;
    for (uint32_t b = 0; b <= MAGNITUDE_BITS; b++) {
        const struct bit_place q = bit_of(p, b);
        code |= (get_word(unit + word_at(p, q.word)) >> q.bit & 1) << b;
    }
    return code;
}

static uint16_t get_step(const struct weir_form_q8 *f, uint32_t row)
{
    const uint32_t tile = row / WEIR_FORM_ROWS, r = row % WEIR_FORM_ROWS;
    const uint32_t word = f->steps[tile * WEIR_FORM_Q8_STEP_WORDS + r % HALF_ROWS];
    const uint16_t scaled = (uint16_t)(word >> 16 * (r / HALF_ROWS));
    return scaled ? (uint16_t)(scaled - WEIR_FORM_Q8_SCALED) : 0;
}

/* ---- packing ---- */

struct packer {
    struct weir_form_q8 *f;
    const uint16_t *rows;
    uint32_t n_rows, n_columns;
    uint32_t found[N_WEIGHTS]; /* the unit's exceptions */
};

static void find_steps(struct packer *p, uint32_t first_row)
{
    uint32_t *word = p->f->steps + first_row / WEIR_FORM_ROWS * (size_t)WEIR_FORM_Q8_STEP_WORDS;
    memset(word, 0, WEIR_FORM_Q8_STEP_WORDS * sizeof(*word));
    for (uint32_t r = 0; r < WEIR_FORM_ROWS && first_row + r < p->n_rows; r++) {
        const uint16_t step = weir_grid_find(p->rows + (size_t)(first_row + r) * p->n_columns,
                                             p->n_columns, WEIR_FORM_Q8_MOST);
        const uint32_t scaled = step ? (uint32_t)step + WEIR_FORM_Q8_SCALED : 0;
        word[r % HALF_ROWS] |= scaled << 16 * (r / HALF_ROWS);
    }
}

static void put_exceptions(struct packer *p, uint8_t *to, uint32_t n)
{
    uint32_t word[WEIR_FORM_Q8_INLINE];
    for (uint32_t i = 0; i < WEIR_FORM_Q8_INLINE; i++)
        word[i] = i < n && n <= WEIR_FORM_Q8_INLINE ? p->found[i] : WEIR_FORM_NONE;
    if (n > WEIR_FORM_Q8_INLINE) {
        const uint32_t n_lines = pieces(n, WEIR_FORM_LINE);
        const uint64_t first = p->f->n_lines;
        word[0] = WEIR_FORM_LIST;
        word[1] = p->f->n_lines;
        word[2] = n;
        if (first + n_lines <= p->f->most_lines)
            for (uint32_t i = 0; i < n_lines * WEIR_FORM_LINE; i++)
                p->f->lines[first * WEIR_FORM_LINE + i] = i < n ? p->found[i] : WEIR_FORM_NONE;
        p->f->n_lines += n_lines;
        p->f->n_listed += n;
    }
    for (size_t i = 0; i < WEIR_FORM_Q8_INLINE; i++)
        put_word(to + 4 * i, word[i]);
    p->f->n_exceptions += n;
}

static void pack_unit(struct packer *p, uint32_t first_row, uint32_t first_column, uint8_t *unit)
{
    uint32_t n = 0;
    memset(unit, 0, WEIR_FORM_Q8_UNIT_BYTES);
    for (uint32_t at = 0; at < N_WEIGHTS; at++) {
        const struct place q = place_of(at);
        const uint32_t row = first_row + q.row, column = first_column + q.column;
        if (row >= p->n_rows || column >= p->n_columns)
            continue;
        const uint16_t w = p->rows[(size_t)row * p->n_columns + column];
        const uint32_t number = weir_grid_number(get_step(p->f, row), w, WEIR_FORM_Q8_MOST);
        if (number == WEIR_GRID_NONE)
            p->found[n++] = at << 16 | w;
        else
            put_code(unit, &q, number | (uint32_t)(w >> 15) << MAGNITUDE_BITS);
    }
    put_exceptions(p, unit + EXCEPTIONS_AT, n);
}

weir_err weir_form_q8_pack(const uint16_t *rows, uint32_t n_rows, uint32_t n_columns,
                           struct weir_form_q8 *f)
{
    struct packer p = {.f = f, .rows = rows, .n_rows = n_rows, .n_columns = n_columns};
    f->n_lines = f->n_exceptions = f->n_listed = 0;
    uint8_t *unit = f->units;
    for (uint32_t row = 0; row < n_rows; row += WEIR_FORM_ROWS) {
        find_steps(&p, row);
        for (uint32_t column = 0; column < n_columns; column += WEIR_FORM_COLUMNS) {
            pack_unit(&p, row, column, unit);
            unit += WEIR_FORM_Q8_UNIT_BYTES;
        }
    }
    return f->n_lines > f->most_lines ? WEIR_ERR_NOMEM : WEIR_OK;
}

/* ---- unpacking ---- */

struct unpacker {
    const struct weir_form_q8 *f;
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
        const uint32_t code = get_code(unit, &q);
        const uint16_t w = weir_grid_weight(get_step(u->f, row + q.row), code & WEIR_FORM_Q8_MOST);
        put_weight(u, row + q.row, column + q.column, w | code >> MAGNITUDE_BITS << 15);
    }
    const uint8_t *head = unit + EXCEPTIONS_AT;
    const uint32_t *line = NULL;
    uint32_t n = WEIR_FORM_Q8_INLINE;
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

void weir_form_q8_unpack(const struct weir_form_q8 *f, uint32_t n_rows, uint32_t n_columns,
                         uint16_t *rows)
{
    const struct unpacker u = {f, rows, n_rows, n_columns};
    const uint8_t *unit = f->units;
    for (uint32_t row = 0; row < n_rows; row += WEIR_FORM_ROWS)
        for (uint32_t column = 0; column < n_columns; column += WEIR_FORM_COLUMNS) {
            unpack_unit(&u, row, column, unit);
            unit += WEIR_FORM_Q8_UNIT_BYTES;
        }
}
