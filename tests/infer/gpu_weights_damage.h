/* gpu_weights_damage.h - what a GPU's weights say of a damaged store, and of passes that end early.
 */
#ifndef WEIR_TESTS_GPU_WEIGHTS_DAMAGE_H
#define WEIR_TESTS_GPU_WEIGHTS_DAMAGE_H

#include <stdbool.h>

#include "cuda/gpu.h"

/* src: a store.  In every tier a byte of a payload that is another one must be found before a pass
 * has ended; a store that is sound must load and stream again after passes that ended anywhere.
 * Prints what is wrong. */
bool damage_check(struct weir_gpu *gpu, const char *src);

#endif
