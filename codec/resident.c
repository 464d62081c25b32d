#include "codec/resident.h"
#include "codec/grid.h"
#include "huge.h"
#include "resident_block.h"

#include <assert.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#define MAX_SIDE ((size_t)1 << 31)

enum { HALF_BLOCK = WEIR_RESIDENT_BLOCK / 2 }; /* positions whose codes lie in the low four bits */

typedef unsigned block_writer(const struct weir_resident_code *code,
                              const uint16_t weights[WEIR_RESIDENT_BLOCK], uint8_t *block);

#ifdef WEIR_X86_KERNELS
static block_writer *find_writer(void)
{
    return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("popcnt") ? resident_block_avx2
                                                                              : NULL;
}
#else
static block_writer *find_writer(void)
{
    return NULL;
}
#endif

struct span {
    uint32_t first, n;
};

struct weir_resident {
    size_t n_rows, n_columns;
    bool has_code;  /* else rows are whole steps */
    uint16_t *step; /* BF16, of each row; NULL: there is a code */
    struct weir_resident_code code;
    uint8_t code_of[256];      /* by high byte; WEIR_RESIDENT_CODES: none */
    block_writer *whole_block; /* NULL: none that is faster */
    uint8_t *blocks;
    struct span *span; /* of each row, in exception[] */
    struct weir_resident_exception *exception;
    uint32_t max_exceptions;
    _Atomic uint32_t n_exceptions; /* taken; never more than max_exceptions */
};

static int by_value(const void *a, const void *b)
{
    return (int)*(const uint8_t *)a - (int)*(const uint8_t *)b;
}

uint64_t weir_resident_choose(const uint64_t count[256], struct weir_resident_code *out)
{
    bool taken[256] = {false};
    uint64_t left = 0;
    for (size_t i = 0; i < WEIR_RESIDENT_CODES; i++) {
        size_t best = 256;
        for (size_t h = 0; h < 256; h++)
            if (!taken[h] && (best == 256 || count[h] > count[best]))
                best = h;
        taken[best] = true;
        out->high[i] = (uint8_t)best;
    }
    for (size_t h = 0; h < 256; h++)
        left += taken[h] ? 0 : count[h];
    qsort(out->high, WEIR_RESIDENT_CODES, 1, by_value);
    return left;
}

static size_t row_bytes(bool has_code, size_t n_columns)
{
    const size_t block = has_code ? WEIR_RESIDENT_BLOCK_BYTES : WEIR_RESIDENT_BLOCK;
    return (n_columns + WEIR_RESIDENT_BLOCK - 1) / WEIR_RESIDENT_BLOCK * block;
}

static uint64_t matrix_bytes(bool has_code, size_t n_rows, size_t n_columns,
                             uint32_t max_exceptions)
{
    if (n_rows > MAX_SIDE || n_columns > MAX_SIDE)
        return UINT64_MAX;
    const size_t beside = sizeof(struct span) + (has_code ? 0 : sizeof(uint16_t));
    return (uint64_t)n_rows * (row_bytes(has_code, n_columns) + beside) +
           (uint64_t)max_exceptions * sizeof(struct weir_resident_exception);
}

uint64_t weir_resident_bytes(size_t n_rows, size_t n_columns, uint32_t max_exceptions)
{
    return matrix_bytes(true, n_rows, n_columns, max_exceptions);
}

uint64_t weir_resident_step_bytes(size_t n_rows, size_t n_columns, uint32_t max_exceptions)
{
    return matrix_bytes(false, n_rows, n_columns, max_exceptions);
}

static weir_err fill(struct weir_resident *r)
{
    uint64_t bytes = (uint64_t)r->n_rows * row_bytes(r->has_code, r->n_columns);
    bytes += (WEIR_RESIDENT_ALIGN - bytes % WEIR_RESIDENT_ALIGN) % WEIR_RESIDENT_ALIGN;
    if (bytes > SIZE_MAX)
        return WEIR_ERR_NOMEM;
    r->blocks = huge_alloc((size_t)bytes);
    r->span = calloc(r->n_rows, sizeof(r->span[0]));
    r->exception = malloc(((size_t)r->max_exceptions + 1) * sizeof(r->exception[0]));
    if (!r->has_code)
        r->step = calloc(r->n_rows, sizeof(r->step[0]));
    return r->blocks && r->span && r->exception && (r->has_code || r->step) ? WEIR_OK
                                                                            : WEIR_ERR_NOMEM;
}

static void set_code(struct weir_resident *r, const struct weir_resident_code *code)
{
    r->has_code = true;
    r->code = *code;
    r->whole_block = find_writer();
    memset(r->code_of, WEIR_RESIDENT_CODES, sizeof(r->code_of));
    for (size_t i = 0; i < WEIR_RESIDENT_CODES; i++)
        r->code_of[code->high[i]] = (uint8_t)i;
}

weir_err weir_resident_new(size_t n_rows, size_t n_columns, const struct weir_resident_code *code,
                           uint32_t max_exceptions, struct weir_resident **out)
{
    if (!n_rows || !n_columns || n_rows > MAX_SIDE || n_columns > MAX_SIDE)
        return WEIR_ERR_INVALID;
    struct weir_resident *r = calloc(1, sizeof(*r));
    if (!r)
        return WEIR_ERR_NOMEM;
    r->n_rows = n_rows;
    r->n_columns = n_columns;
    r->max_exceptions = max_exceptions;
    if (code)
        set_code(r, code);
    weir_err err = fill(r);
    if (err)
        weir_resident_free(r);
    else
        *out = r;
    return err;
}

void weir_resident_free(struct weir_resident *r)
{
    if (!r)
        return;
    free(r->blocks);
    free(r->span);
    free(r->exception);
    free(r->step);
    free(r);
}

/* Where column c of a block lies; resident.h says why. */
static const uint8_t position[WEIR_RESIDENT_BLOCK] = {
    0,  2,  4,  6,  16, 18, 20, 22, 1,  3,  5,  7,  17, 19, 21, 23, 8,  10, 12, 14, 24, 26,
    28, 30, 9,  11, 13, 15, 25, 27, 29, 31, 32, 34, 36, 38, 48, 50, 52, 54, 33, 35, 37, 39,
    49, 51, 53, 55, 40, 42, 44, 46, 56, 58, 60, 62, 41, 43, 45, 47, 57, 59, 61, 63};

static uint8_t *row_of(const struct weir_resident *r, size_t row)
{
    return r->blocks + row * row_bytes(r->has_code, r->n_columns);
}

/* A block of n weights and padding.  Returns how many of them are exceptions; they get code 0. */
static unsigned put_block(const struct weir_resident *r, const uint16_t *weights, size_t n,
                          uint8_t *block)
{
    uint8_t codes[WEIR_RESIDENT_BLOCK] = {0}; /* by position */
    unsigned n_odd = 0;
    if (n == WEIR_RESIDENT_BLOCK && r->whole_block)
        return r->whole_block(&r->code, weights, block);
    if (n < WEIR_RESIDENT_BLOCK)
        memset(block, 0, WEIR_RESIDENT_BLOCK);
    for (size_t c = 0; c < n; c++) {
        uint8_t code = r->code_of[weights[c] >> 8];
        block[position[c]] = (uint8_t)weights[c];
        codes[position[c]] = code & (WEIR_RESIDENT_CODES - 1);
        n_odd += code / WEIR_RESIDENT_CODES;
    }
    for (size_t i = 0; i < HALF_BLOCK; i++)
        block[WEIR_RESIDENT_BLOCK + i] = (uint8_t)(codes[i] | codes[HALF_BLOCK + i] << 4);
    return n_odd;
}

/* Room for n exceptions that nobody else has; false: there is none. */
static bool take_room(struct weir_resident *r, uint32_t n, uint32_t *first)
{
    uint32_t taken = atomic_load(&r->n_exceptions);
    do {
        if (n > r->max_exceptions - taken)
            return false;
    } while (!atomic_compare_exchange_weak(&r->n_exceptions, &taken, taken + n));
    *first = taken;
    return true;
}

static uint32_t put_codes(const struct weir_resident *r, const uint16_t *weights, uint8_t *block)
{
    uint32_t n = 0;
    for (size_t c = 0; c < r->n_columns; c += WEIR_RESIDENT_BLOCK) {
        size_t left = r->n_columns - c;
        n += put_block(r, weights + c, left < WEIR_RESIDENT_BLOCK ? left : WEIR_RESIDENT_BLOCK,
                       block);
        block += WEIR_RESIDENT_BLOCK_BYTES;
    }
    return n;
}

static uint32_t put_numbers(const struct weir_resident *r, const uint16_t *weights, uint16_t *step,
                            uint8_t *block)
{
    const size_t n = r->n_columns;
    int8_t *number = (int8_t *)block;
    *step = weir_grid_find(weights, n, WEIR_GRID_MOST);
    memset(block + n, 0, row_bytes(false, n) - n);
    return (uint32_t)weir_grid_numbers(*step, weights, n, number);
}

/* number: where its number is, if it has one. */
static bool is_exception(const struct weir_resident *r, const uint8_t *number, uint16_t weight)
{
    return r->has_code ? r->code_of[weight >> 8] == WEIR_RESIDENT_CODES
                       : *number == 0 && weight != 0;
}

weir_err weir_resident_put(struct weir_resident *r, size_t row, const uint16_t *weights)
{
    assert(row < r->n_rows);
    uint8_t *block = row_of(r, row);
    const uint32_t n =
        r->has_code ? put_codes(r, weights, block) : put_numbers(r, weights, &r->step[row], block);
    struct span span = {.n = n};
    if (!take_room(r, n, &span.first))
        return WEIR_ERR_NOMEM;
    struct weir_resident_exception *to = r->exception + span.first;
    for (size_t c = 0; n && c < r->n_columns; c++)
        if (is_exception(r, block + c, weights[c]))
            *to++ = (struct weir_resident_exception){(uint32_t)c, weights[c]};
    r->span[row] = span;
    return WEIR_OK;
}

const uint8_t *weir_resident_row(const struct weir_resident *r, size_t row,
                                 const struct weir_resident_exception **exceptions, size_t *n)
{
    *exceptions = r->exception + r->span[row].first;
    *n = r->span[row].n;
    return row_of(r, row);
}

const struct weir_resident_code *weir_resident_code(const struct weir_resident *r)
{
    return r->has_code ? &r->code : NULL;
}

float weir_resident_step(const struct weir_resident *r, size_t row)
{
    const uint32_t bits = (uint32_t)r->step[row] << 16;
    float step;
    memcpy(&step, &bits, sizeof(step));
    return step;
}

static uint16_t decode_code(const struct weir_resident *r, const uint8_t *block, size_t c)
{
    const uint8_t *at = block + c / WEIR_RESIDENT_BLOCK * WEIR_RESIDENT_BLOCK_BYTES;
    size_t p = position[c % WEIR_RESIDENT_BLOCK];
    uint8_t both = at[WEIR_RESIDENT_BLOCK + p % HALF_BLOCK];
    uint8_t code = p < HALF_BLOCK ? both & 15 : both >> 4;
    return (uint16_t)(r->code.high[code] << 8 | at[p]);
}

static uint16_t decode_number(uint16_t step, int8_t number)
{
    const uint16_t magnitude = weir_grid_weight(step, (uint32_t)(number < 0 ? -number : number));
    return (uint16_t)(magnitude | (number < 0) << 15);
}

void weir_resident_get(const struct weir_resident *r, size_t row, uint16_t *weights)
{
    assert(row < r->n_rows);
    size_t n;
    const struct weir_resident_exception *exception;
    const uint8_t *block = weir_resident_row(r, row, &exception, &n);
    for (size_t c = 0; c < r->n_columns; c++)
        weights[c] = r->has_code ? decode_code(r, block, c)
                                 : decode_number(r->step[row], ((const int8_t *)block)[c]);
    for (size_t i = 0; i < n; i++)
        weights[exception[i].column] = exception[i].weight;
}
