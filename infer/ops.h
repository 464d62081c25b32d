/* ops.h - what a graph does to vectors between the matrices.  Plain loops in a fixed order, without
 * libm where it is hot, so that the bits are the same everywhere. */
#ifndef WEIR_INFER_OPS_PRIVATE_H
#define WEIR_INFER_OPS_PRIVATE_H

#include <stddef.h>

#include "config.h"

/* to = x / root of (mean of x^2 + eps), times weight.  to may be x. */
void op_norm(const float *x, const float *weight, size_t n, float eps, float *to);

void op_add(float *x, const float *more, size_t n);
void op_scale(float *x, float by, size_t n);

/* gate = activation(gate) * up. */
void op_gate(enum weir_activation activation, float *gate, const float *up, size_t n);

/* x = cap * tanh(x / cap); cap 0: nothing. */
void op_cap(float *x, float cap, size_t n);

/* x = e^x over their sum.  n > 0. */
void op_softmax(float *x, size_t n);

/* e^x to 2 units in the last place; 0 below -87, infinity above 88.37. */
void op_exp(float *x, size_t n);

#endif
