/* gpu_choice.h - in which form a matrix is multiplied with faster: arithmetic over what was
 * measured, which knows no GPU. */
#ifndef WEIR_INFER_GPU_CHOICE_PRIVATE_H
#define WEIR_INFER_GPU_CHOICE_PRIVATE_H

#include <stddef.h>
#include <stdint.h>

#include "measure_device.h"

/* The share of exceptions up to which a matrix of so many rows and columns stays in 12 bits a
 * weight: that of the shape most like it of c[0 .. n) that was measured, else of those that an H200
 * was measured with.  Rows and columns > 0. */
double gpu_most_odd(const struct weir_device_crossing *c, size_t n, uint32_t n_rows,
                    uint32_t n_columns);

#endif
