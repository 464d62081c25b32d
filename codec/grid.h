/* grid.h - rows of BF16 weights that are whole numbers times a step of the row's: what is left of
 * weights that were rounded to so many steps (docs/format.md, "q8").
 *
 * Weight = BF16 nearest to number * step, ties to even, where the step is a BF16 number, too: the
 * product has at most 15 bits, so it is exact in F32 and is rounded once.  Up to WEIR_GRID_MOST the
 * number is found back from weight and step, and whether it is the right one is seen by going the
 * way again; so nothing has to be believed.  A weight that is none of them is an exception.
 *
 * Pure functions over the caller's buffers. */
#ifndef WEIR_CODEC_GRID_H
#define WEIR_CODEC_GRID_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

enum {
    WEIR_GRID_MOST = 127, /* magnitude of a number */
    WEIR_GRID_NONE = 255, /* no number: an exception */
    /* Steps are 2^-100 to 2^-4, BF16 bits: then products and steps are normal numbers, also when
     * scaled by 2^132 (cuda/form_q8.h). */
    WEIR_GRID_LEAST_STEP = 27 << 7,
    WEIR_GRID_END_STEP = 123 << 7,
    WEIR_GRID_TRIES = 8,
    WEIR_GRID_RARE_PART = 512,
    WEIR_GRID_DIVISORS = 4,  /* of a row's least weight: that many numbers it may have */
    WEIR_GRID_ODD_PART = 16, /* one exception in so many weights, at most: found */
};

/* The weight without sign of number `number` (<= WEIR_GRID_MOST). */
uint16_t weir_grid_weight(uint16_t step, uint32_t number);

/* The number, without sign, of a weight; WEIR_GRID_NONE: none up to `most` (<= WEIR_GRID_MOST). */
uint32_t weir_grid_number(uint16_t step, uint16_t weight, uint32_t most);

/* How many of n weights have none. */
size_t weir_grid_count_odd(uint16_t step, const uint16_t *weights, size_t n, uint32_t most);

/* All n numbers with their signs, 0 where there is none up to WEIR_GRID_MOST and for -0; how many
 * of these there are. */
size_t weir_grid_numbers(uint16_t step, const uint16_t *weights, size_t n, int8_t *numbers);

/* The step of a row: its least weight that is not zero and comes more than n / WEIR_GRID_RARE_PART
 * times (of the WEIR_GRID_TRIES least; what is less is an exception), over 1 to
 * WEIR_GRID_DIVISORS; the first of these that leaves at most one exception in WEIR_GRID_ODD_PART,
 * else the one that leaves fewest.  0: there is none that may be a step; then zeros have the number
 * 0, and all else is an exception. */
uint16_t weir_grid_find(const uint16_t *weights, size_t n, uint32_t most);

#ifdef __cplusplus
}
#endif

#endif
