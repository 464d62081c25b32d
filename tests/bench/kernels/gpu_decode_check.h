/* gpu_decode_check.h - the GPU's decoder against the CPU's: every verdict and every byte. */
#ifndef WEIR_TESTS_GPU_DECODE_CHECK_H
#define WEIR_TESTS_GPU_DECODE_CHECK_H

#include <stdbool.h>

#include "cuda/gpu.h"

#ifdef __cplusplus
extern "C" {
#endif

/* few: a tenth of the cases, for a slow device or checker.  Prints what differed, and at the end
 * how much there was.  Whether all was well. */
bool check_decoder(struct weir_gpu *gpu, bool few);

#ifdef __cplusplus
}
#endif

#endif
