/* resident.h - BF16 matrices in 12 bits a weight, or in 8, to be kept in memory and multiplied with
 * as they are.
 *
 * The wire form (docs/format.md) is smaller, but has to be decoded from end to end; this one has a
 * fixed width, so that a row is found by its number and a kernel decodes 64 weights in a handful of
 * instructions, in registers.  Nothing of it is ever stored.
 *
 * A weight's low byte (the lowest bit of the exponent, and the mantissa) is kept as it is.  Its
 * high byte (the sign, and seven bits of the exponent) is one of the 16 that the matrix has most,
 * and is kept as a code of 4 bits: 16 exponents of either sign, 99.99 % of Gaussian weights.  A
 * weight with another high byte is an exception and is listed with its row.  Decoding gives the
 * very bits back, whatever they are.
 *
 * A row is cut into blocks of 64 weights, filled up with weights of low byte 0 and code 0 (which
 * are finite).  A block is 96 bytes: 64 low bytes, then 32 bytes of codes.  The weight of column c
 * of a block lies at position
 *
 *     p = 32 * (c / 32) + 16 * (c % 8 / 4) + 8 * (c / 16 % 2) + 2 * (c % 4) + c / 8 % 2
 *
 * its low byte is byte p of the first 64; its code is in byte p % 32 of the other 32, in the low
 * four bits for p < 32, else in the high four.  With that order, interleaving the bytes of two
 * vectors and shifting gives vectors of eight consecutive columns on every machine whose vectors
 * consist of halves of 16 bytes.
 *
 * A matrix without a code is one whose rows are whole steps (codec/grid.h): a block is 64 bytes,
 * the numbers, -127 to 127, column by column, and a row has its step.  What is no such number, and
 * -0, is an exception and has the number 0. */
#ifndef WEIR_CODEC_RESIDENT_H
#define WEIR_CODEC_RESIDENT_H

#include <stddef.h>
#include <stdint.h>

#include "codec/err.h"

#ifdef __cplusplus
extern "C" {
#endif

enum {
    WEIR_RESIDENT_CODES = 16,
    WEIR_RESIDENT_BLOCK = 64,       /* weights */
    WEIR_RESIDENT_BLOCK_BYTES = 96, /* of them; with whole steps WEIR_RESIDENT_BLOCK */
    WEIR_RESIDENT_ALIGN = 64,       /* of the first block; rows follow each other without gaps */
};

/* High byte by code, ascending. */
struct weir_resident_code {
    uint8_t high[WEIR_RESIDENT_CODES];
};

/* A weight whose high byte has no code. */
struct weir_resident_exception {
    uint32_t column;
    uint16_t weight;
};

struct weir_resident; /* opaque */

/* The 16 high bytes with the largest count[]; of equal counts the lower byte.  Returns how many
 * weights are left out: the exceptions. */
uint64_t weir_resident_choose(const uint64_t count[256], struct weir_resident_code *out);

/* What a matrix takes in memory, in bytes, the struct not counted; UINT64_MAX: more than can be.
 * _step_bytes: one of whole steps. */
uint64_t weir_resident_bytes(size_t n_rows, size_t n_columns, uint32_t max_exceptions);
uint64_t weir_resident_step_bytes(size_t n_rows, size_t n_columns, uint32_t max_exceptions);

/* Room for a matrix, allocated here and never again; code NULL: of whole steps.  On success *out is
 * freed with weir_resident_free(); on error it is untouched.
 *
 * WEIR_ERR_INVALID  no rows, no columns, or more than 2^31 of either
 * WEIR_ERR_NOMEM */
WEIR_MUST_CHECK weir_err weir_resident_new(size_t n_rows, size_t n_columns,
                                           const struct weir_resident_code *code,
                                           uint32_t max_exceptions, struct weir_resident **out);
void weir_resident_free(struct weir_resident *r); /* NULL is fine */

/* Encodes row `row` (< n_rows) from n_columns weights, once.  Several threads may put several rows
 * at once.  WEIR_ERR_NOMEM: more exceptions than there is room for; the matrix is useless then. */
WEIR_MUST_CHECK weir_err weir_resident_put(struct weir_resident *r, size_t row,
                                           const uint16_t *weights);

/* Row `row` as it was put: blocks, and *n exceptions at *exceptions, ascending by column. */
const uint8_t *weir_resident_row(const struct weir_resident *r, size_t row,
                                 const struct weir_resident_exception **exceptions, size_t *n);
const struct weir_resident_code *weir_resident_code(const struct weir_resident *r); /* or NULL */
float weir_resident_step(const struct weir_resident *r, size_t row); /* of whole steps */

/* The n_columns weights of row `row`, exceptions included.  What kernels are compared with. */
void weir_resident_get(const struct weir_resident *r, size_t row, uint16_t *weights);

#ifdef __cplusplus
}
#endif

#endif
