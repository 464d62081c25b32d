/* gpu_weights_ahead.h - passes over a GPU's weights for tests of what is on its way meanwhile. */
#ifndef WEIR_TESTS_GPU_WEIGHTS_AHEAD_H
#define WEIR_TESTS_GPU_WEIGHTS_AHEAD_H

#include "gpu_weights_private.h"

enum { AHEAD_BUDGETS = 64 }; /* between the least and the most, to look for one */

/* Layers 0 .. n - 1, and the output matrix where that is all of them: taken and given back. */
weir_err ahead_layers(struct gpu_weights *w, uint32_t n, uint32_t n_layers,
                      struct weir_gpu_stream *s, struct weir_diag *diag);

/* Waits until the feeder has queued all that there are slots for, or stopped. */
void ahead_wait(struct gpu_weights *w);

/* Prints what was wrong; false. */
bool ahead_fail(const char *what);

#endif
