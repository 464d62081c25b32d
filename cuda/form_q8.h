/* form_q8.h - the resident form on the GPU of matrices whose rows are whole numbers times a step
 * (codec/grid.h), made and read on the CPU: the reference that the device's packing is compared
 * with, and the description of the form.  Needs no device.  form.h is the form for all others.
 *
 * A weight is its number, up to 63 of either sign, in 7 bits: six of its magnitude and a sign; the
 * number zero may have either, as weights have.  A weight that is no such number, or too large, is
 * an exception and has the number 0.  Decoding gives the very bits back, whatever they are.
 *
 * The matrix is cut into units of 16 rows and 128 columns, in the order of rows, then columns; what
 * is missing of the last ones is filled up with zeros.  A unit is 1824 bytes: 896 for its first 64
 * columns, 32 for exceptions, 896 for its last 64 columns.
 *
 * 64 columns are 32 lanes' work, each with 4 steps of 8 weights, where they are in form.h.  Weights
 * 2 r and 2 r + 1 of step t, neighbours in a row, are pair 4 (t % 4) + r of the lane, the operand
 * of one instruction.  A lane has 7 words of 32 bits: four at 16 bytes a lane, then (byte 512) two
 * at 8, then (byte 768) one at 4.  In a word or in an operand the first weight of a pair is in the
 * low half, the second in the high half, but for one sign:
 *
 *   pair 2 i      word i (0 to 6), magnitude in bits 1 to 6, sign in bit 15, of each half: as they
 *                 are in the operand
 *   pair 2 i + 1  word i, magnitude in bits 9 to 14 of each half; the sign of the second weight in
 *                 bit 7, of the first in bit 23: as in the operand once rotated right by 8
 *   pair 14       bit 0 of each half: of word b bit b of the magnitude, of word 6 the sign
 *   pair 15       bit 8 of each half, likewise
 *
 * An operand's half with magnitude m in bits 1 to 6 is a BF16 number, m times 2^-132, and weight =
 * that times (2^132 times the row's step), rounded once.  These scaled steps lie apart, 32 bytes
 * for 16 rows: word i has that of row i in its low half, of row i + 8 in its high half.
 *
 * The 32 bytes for exceptions are eight words like the four of form.h: WEIR_FORM_NONE where there
 * are fewer; with more than eight the first is WEIR_FORM_LIST, the second the first line of
 * WEIR_FORM_LINE words, the third how many there are. */
#ifndef WEIR_CUDA_FORM_Q8_H
#define WEIR_CUDA_FORM_Q8_H

#include <stddef.h>
#include <stdint.h>

#include "cuda/form.h"

#ifdef __cplusplus
extern "C" {
#endif

enum {
    WEIR_FORM_Q8_MOST = 63, /* magnitude of a number */
    WEIR_FORM_Q8_WORDS = 7, /* of a lane */
    WEIR_FORM_Q8_HALF_BYTES = 896,
    WEIR_FORM_Q8_INLINE = 8, /* exceptions in the unit */
    WEIR_FORM_Q8_UNIT_BYTES = 2 * WEIR_FORM_Q8_HALF_BYTES + 4 * WEIR_FORM_Q8_INLINE,
    WEIR_FORM_Q8_STEP_WORDS = 8,    /* of 16 rows */
    WEIR_FORM_Q8_SCALED = 132 << 7, /* is added to a step's bits, unless it is 0 */
};

/* Bytes of the steps of a matrix. */
uint64_t weir_form_q8_step_bytes(uint32_t n_rows);

/* Lines that n exceptions in lines never need more of, however they lie. */
uint64_t weir_form_q8_lines(uint64_t exceptions);

/* A matrix in that form, in memory of the caller's. */
struct weir_form_q8 {
    uint8_t *units;      /* weir_form_units() * WEIR_FORM_Q8_UNIT_BYTES */
    uint32_t *steps;     /* weir_form_q8_step_bytes() */
    uint32_t *lines;     /* most_lines * WEIR_FORM_LINE; only those in use are written */
    uint32_t most_lines; /* that there is room for */
    uint32_t n_lines, n_exceptions;
    uint32_t n_listed; /* exceptions in lines */
};

/* Fills units, steps (weir_grid_find() of each row) and lines, and counts; most_lines is the
 * caller's.  `rows` is [n_rows][n_columns].  WEIR_ERR_NOMEM: more lines than there is room for;
 * n_lines says how many. */
WEIR_MUST_CHECK weir_err weir_form_q8_pack(const uint16_t *rows, uint32_t n_rows,
                                           uint32_t n_columns, struct weir_form_q8 *f);

/* The way back. */
void weir_form_q8_unpack(const struct weir_form_q8 *f, uint32_t n_rows, uint32_t n_columns,
                         uint16_t *rows);

#ifdef __cplusplus
}
#endif

#endif
