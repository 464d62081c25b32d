/* kernels_resident.h - the resident form's kernels for processors with AVX2; AVX-512 has no better
 * ones, as reading the weights from memory is all the work. */
#ifndef WEIR_INFER_KERNELS_RESIDENT_PRIVATE_H
#define WEIR_INFER_KERNELS_RESIDENT_PRIVATE_H

#include "kernels.h"

float resident_dot_avx2(const struct resident_row *row, const float *x);
void resident_widen_avx2(const struct resident_row *row, float *to);

/* The same of whole steps, which those call. */
float steps_dot_avx2(const struct resident_row *row, const float *x);
void steps_widen_avx2(const struct resident_row *row, float *to);
/* Block b as numbers, with its exceptions, which begin at *e; zeros behind n_cols. */
void steps_block_avx2(const struct resident_row *row, size_t b, size_t *e,
                      float to[WEIR_RESIDENT_BLOCK]);

#endif
