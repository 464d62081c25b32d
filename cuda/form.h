/* form.h - the resident form of a matrix on the GPU, made and read on the CPU: the reference that
 * the device's packing is compared with, and the description of the form.  Needs no device. */
#ifndef WEIR_CUDA_FORM_H
#define WEIR_CUDA_FORM_H

#include <stddef.h>
#include <stdint.h>

#include "codec/err.h"

#ifdef __cplusplus
extern "C" {
#endif

/* The 8 values of bits 8 to 14 of a BF16 weight (the exponent but its last bit) that are commonest,
 * by count[value]; ascending.  Returns how many weights have another: the exceptions. */
uint64_t weir_form_choose(const uint64_t count[128], uint8_t high[8]);

/* (layout, bytes, pack and unpack of whole matrices: to be written by the form's owner) */

#ifdef __cplusplus
}
#endif

#endif
