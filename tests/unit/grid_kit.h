/* grid_kit.h - rows of weights that were rounded to whole steps, as a store of them decodes. */
#ifndef WEIR_TESTS_GRID_KIT_H
#define WEIR_TESTS_GRID_KIT_H

#include <stdint.h>

#include "codec/grid.h"

static inline uint32_t kit_next(uint32_t *state)
{
    *state = *state * 1664525u + 1013904223u;
    return *state >> 16;
}

/* Of +-13.7 steps mostly: a sum of 12 uniform numbers has that deviation. */
static inline int kit_number(uint32_t *state)
{
    int sum = 0;
    for (int i = 0; i < 12; i++)
        sum += (int)(kit_next(state) % 1371);
    return (sum - 6 * 1370) / 100;
}

/* One weight in `rare` is anything (0: none); row r has step first_step + r % 100. */
static inline void kit_rows(uint16_t *w, uint32_t n_rows, uint32_t n_columns, uint16_t first_step,
                            uint32_t rare, uint32_t seed)
{
    for (uint32_t r = 0; r < n_rows; r++)
        for (uint32_t c = 0; c < n_columns; c++, w++) {
            const int q = kit_number(&seed);
            const uint16_t step = (uint16_t)(first_step + r % 100);
            *w = (uint16_t)(weir_grid_weight(step, (uint32_t)(q < 0 ? -q : q)) |
                            (q < 0 ? 0x8000 : 0));
            if (rare && kit_next(&seed) % rare == 0)
                *w = (uint16_t)kit_next(&seed);
        }
}

#endif
