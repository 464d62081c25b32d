/* born.h - floats that were born as something narrower: FP8 or integers with a scale for each
 * block, widened to BF16, F16 or F32 since.
 *
 * born_glance() and born_find() guess from a sample which numbers and what blocks; born_fit() finds
 * items and scales for the elements of a tile.  Neither promises anything: what a tile's items make
 * is compared with its elements when it is encoded (weir_tile_encode_made), and what differs is
 * kept.
 *
 * A scale is found from a block's elements alone: each says in which interval the scale lies if its
 * number were k, and only one choice of k's has a point in common.  So tiles need to know nothing
 * of each other, and the scale is seldom the one that the elements were made with, only as good.
 *
 * All arithmetic is plain IEEE without fused operations (see CMakeLists.txt): the same on every
 * machine.  Pure functions; any bytes are fine. */
#ifndef WEIR_CODEC_BORN_PRIVATE_H
#define WEIR_CODEC_BORN_PRIVATE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "codec/tile.h"

enum {
    BORN_MAX_SCALES = 8192, /* of a tile; transforms that need more are not looked for */
};

/* A tensor of more than one dimension, or one row. */
struct born_tensor {
    enum weir_float type;
    uint64_t n_elements;
    uint64_t row_elements;  /* the last dimension */
    uint64_t slab_elements; /* all dimensions but the first */
};

/* Consecutive elements of a tensor. */
struct born_piece {
    const uint8_t *bytes;
    size_t n;       /* elements, at most those of a tile */
    uint64_t first; /* number of the first */
};

/* Whether places all over the pieces look as if they were born so.  Costs ordinary weights some
 * microseconds. */
bool born_glance(const struct born_tensor *tensor, const struct born_piece *piece, size_t n_pieces,
                 enum weir_number number);

/* Room for what is found. */
struct born_room {
    float scale[BORN_MAX_SCALES];
    uint8_t *item; /* of all pieces, one after the other; owned by whoever gave it */
};

/* The largest blocks with which all pieces were born so, but for one element in 1024.  The pieces
 * should be whole tiles.
 *
 * *room   the items of all pieces, in the end
 * *out    set when true */
bool born_find(const struct born_tensor *tensor, const struct born_piece *piece, size_t n_pieces,
               enum weir_number number, struct born_room *room, struct weir_transform *out);

/* Scales that n_elements from there on need; 0 when that is more than BORN_MAX_SCALES. */
size_t born_scales(const struct weir_transform *t, uint32_t row, uint32_t column,
                   size_t n_elements);

/* Finds items and scales for n elements, of which the first is at (row mod block_rows, column).
 *
 * item     n bytes
 * scale    born_scales() of them
 * Returns how many elements are not what their items make. */
size_t born_fit(const struct weir_transform *t, const uint8_t *plain, size_t n, uint32_t row,
                uint32_t column, uint8_t *item, float *scale);

/* ---- born_solve.c ---- */

enum {
    BORN_MAX_INTS = 128, /* magnitudes of integers of a byte */
};

/* The different magnitudes of a block, as float32: finite, not 0. */
struct born_values {
    size_t n;
    float value[BORN_MAX_INTS]; /* unordered */
    float largest;              /* 0: there is none */
};

/* The integer next to x, which is below 2^51: ties to even. */
static inline double born_nearest(double x)
{
    const double far = 0x1.8p52; /* no number there has digits behind the point */
    return x + far - far;
}

/* The number of `type` next to a float32: ties to even. */
float born_round(float x, enum weir_float type);

/* The item of the 8-bit float next to x >= 0, at most that of the largest. */
uint8_t born_code(float x, enum weir_number number);

/* *scale such that number x scale, rounded to `type`, gives every value; of integers, the largest
 * such scale.  For 8-bit floats values are mantissas, 1 to 2, and only `largest` has its exponent.
 * false: there is none. */
bool born_solve_int(const struct born_values *v, enum weir_float type, float *scale);
bool born_solve_float(const struct born_values *v, enum weir_float type, enum weir_number number,
                      float *scale);

#endif
