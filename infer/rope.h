/* rope.h - how far the pairs of dimensions of a head turn at a position.
 *
 * Frequencies and angles are rounded to F32 where transformers rounds them, for that is what models
 * were trained with; cosine and sine of an angle are then taken in double. */
#ifndef WEIR_INFER_ROPE_PRIVATE_H
#define WEIR_INFER_ROPE_PRIVATE_H

#include <stdbool.h>
#include <stdint.h>

#include "config.h"

struct rope {
    uint32_t n_pairs;
    float scale;
    float frequency[WEIR_MAX_HEAD_DIM / 2];      /* radians a token */
    float long_frequency[WEIR_MAX_HEAD_DIM / 2]; /* for texts beyond the original context */
};

void rope_init(struct rope *r, const struct weir_rope *config);

/* turn[2 i] and turn[2 i + 1]: cosine and sine, times the scale, for pair i at `position`. */
void rope_turn(const struct rope *r, uint32_t position, bool is_long, float *turn);

/* Turns one head in place: pair i is dimensions i and i + n_pairs, or, with `adjacent`, 2 i and
 * 2 i + 1. */
void rope_apply(const float *turn, uint32_t n_pairs, bool adjacent, float *head);

#endif
