/* born_q8.h - Q8_0 blocks whose weights were born as 8-bit floats with a scale for each block of
 * theirs: what born.h is for floats.
 *
 * The first number of a Q8_0 block, d, says where its largest weight was, so the few different d of
 * all that have a scale in common say what the scale was, and the integers say which numbers.
 *
 * Deterministic, plain IEEE; pure functions; any bytes are fine.  An element is a Q8_0 block; rows,
 * columns and a tensor's n_elements, row_elements and slab_elements count weights. */
#ifndef WEIR_CODEC_BORN_Q8_PRIVATE_H
#define WEIR_CODEC_BORN_Q8_PRIVATE_H

#include "born.h"

/* As born_glance(), of n elements.  Costs ordinary weights a few elements. */
bool born_q8_glance(const uint8_t *plain, size_t n, enum weir_number number);

/* As born_fit().
 *
 * item     WEIR_Q8_WEIGHTS bytes for each element
 * Returns how many elements are not what their items make. */
size_t born_q8_fit(const struct weir_transform *t, const uint8_t *plain, size_t n, uint32_t row,
                   uint32_t column, uint8_t *item, float *scale);

/* As born_find(), for weights that were tensor->type between: the largest blocks of which all but
 * one element in 64 are what their items make.  `first` of a piece counts elements. */
bool born_q8_find(const struct born_tensor *tensor, const struct born_piece *piece, size_t n_pieces,
                  enum weir_number number, struct born_room *room, struct weir_transform *out);

#endif
