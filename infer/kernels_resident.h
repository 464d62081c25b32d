/* kernels_resident.h - the resident form's kernels for processors with AVX2; AVX-512 has no better
 * ones, as reading the weights from memory is all the work. */
#ifndef WEIR_INFER_KERNELS_RESIDENT_PRIVATE_H
#define WEIR_INFER_KERNELS_RESIDENT_PRIVATE_H

#include "kernels.h"

float resident_dot_avx2(const struct resident_row *row, const float *x);
void resident_widen_avx2(const struct resident_row *row, float *to);

#endif
