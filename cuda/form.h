/* form.h - the resident form of a matrix on the GPU, made and read on the CPU: the reference that
 * the device's packing is compared with, and the description of the form.  Needs no device.
 *
 * A weight's low byte (the lowest bit of the exponent, and the mantissa) is kept as it is.  Of its
 * high byte the sign is kept as a bit, and the other seven bits as a code of three: the matrix has
 * a table of its 8 commonest values, pairs of exponents, of which 16 are so covered: all but 0.008
 * % of Gaussian weights.  What has another value is an exception.  Decoding gives the very bits
 * back, whatever they are.
 *
 * The matrix is cut into units of 16 rows and 128 columns, in the order of rows, then columns;
 * what is missing of the last ones is filled up with weights of low byte 0, code 0 and no sign
 * (which are finite).  A unit is 3088 bytes: 1536 for its first 64 columns, 16 for exceptions,
 * 1536 for its last 64 columns.
 *
 * 64 columns are 32 lanes' work, and lanes are those of the tensor cores: lane l has the rows
 * l / 4 and l / 4 + 8, and of each 32 columns the 8 that begin at 8 (l % 4).  In steps of 2 x 4
 * weights, two of them per 32 columns, weight j of step t has row l / 4 + 8 (j / 2 % 2) and column
 * 8 (l % 4) + 4 (t % 2) + 2 (j / 4) + j % 2 of 32.  The 1536 bytes are three arrays of 16 bytes a
 * lane: the low bytes of steps 0 and 1 (byte 8 (t % 2) + j), those of steps 2 and 3, and a 32-bit
 * word per step with the codes: code j in bits 4 j to 4 j + 2; the signs of weights 0 to 3 in bits
 * 7, 15, 23 and 31, those of 4 to 7 in bits 3, 11, 19 and 27.
 *
 * The 16 bytes are four words.  A word below 2^27 is an exception: its place in the unit in bits 16
 * to 26 (256 times the step, 0 to 7, plus 8 times the lane plus j), its weight in the lower 16.
 * There are up to four of them, others are WEIR_FORM_NONE.  If the first word is WEIR_FORM_LIST
 * there are more: as many as the third word says, in lines of 8 words beginning with the line that
 * the second word says, ascending. */
#ifndef WEIR_CUDA_FORM_H
#define WEIR_CUDA_FORM_H

#include <stddef.h>
#include <stdint.h>

#include "codec/err.h"

#ifdef __cplusplus
extern "C" {
#endif

enum {
    WEIR_FORM_CODES = 8,
    WEIR_FORM_ROWS = 16,     /* of a unit */
    WEIR_FORM_COLUMNS = 128, /* of a unit */
    WEIR_FORM_HALF_BYTES = 1536,
    WEIR_FORM_UNIT_BYTES = 2 * WEIR_FORM_HALF_BYTES + 16,
    WEIR_FORM_INLINE = 4, /* exceptions in the unit */
    WEIR_FORM_LINE = 8,   /* exceptions in a line: words */
};
#define WEIR_FORM_NONE 0xffffffffu
#define WEIR_FORM_LIST 0xfffffffeu

/* The 8 values of bits 8 to 14 of a BF16 weight (the exponent but its last bit) that are commonest,
 * by count[value]; ascending.  Of equal counts the lower value.  Returns how many weights have
 * another: the exceptions. */
uint64_t weir_form_choose(const uint64_t count[128], uint8_t high[WEIR_FORM_CODES]);

/* Units of a matrix. */
uint64_t weir_form_units(uint32_t n_rows, uint32_t n_columns);

/* Lines that n exceptions never need more of, however they lie. */
uint64_t weir_form_lines(uint64_t exceptions);

/* A matrix in that form, in memory of the caller's. */
struct weir_form {
    uint8_t *units;      /* weir_form_units() * WEIR_FORM_UNIT_BYTES */
    uint32_t *lines;     /* most_lines * WEIR_FORM_LINE; only those in use are written */
    uint32_t most_lines; /* that there is room for */
    uint32_t n_lines, n_exceptions;
    uint8_t high[WEIR_FORM_CODES];
};

/* Fills units and lines, and counts; most_lines and high are the caller's.  `rows` is
 * [n_rows][n_columns].  WEIR_ERR_NOMEM: more lines than there is room for; n_lines says how many.
 */
WEIR_MUST_CHECK weir_err weir_form_pack(const uint16_t *rows, uint32_t n_rows, uint32_t n_columns,
                                        struct weir_form *f);

/* The way back. */
void weir_form_unpack(const struct weir_form *f, uint32_t n_rows, uint32_t n_columns,
                      uint16_t *rows);

#ifdef __cplusplus
}
#endif

#endif
