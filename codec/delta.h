/* delta.h - items that lead from a base's elements to a tensor's, and back (docs/format.md, 5.1):
 * the kernels of the transforms DIFF and XOR.
 *
 * Static, so that each kernels_*.c that includes it gets its own copy, compiled for its instruction
 * set: the compiler vectorises these loops as well as we could. */
#ifndef WEIR_CODEC_DELTA_PRIVATE_H
#define WEIR_CODEC_DELTA_PRIVATE_H

#include "kernels.h"

#include <string.h>

#define ITEM   uint8_t
#define DIFF   diff_8
#define UNDIFF undiff_8
#include "delta_loops.h"
#define ITEM   uint16_t
#define DIFF   diff_16
#define UNDIFF undiff_16
#include "delta_loops.h"
#define ITEM   uint32_t
#define DIFF   diff_32
#define UNDIFF undiff_32
#include "delta_loops.h"
#define ITEM   uint64_t
#define DIFF   diff_64
#define UNDIFF undiff_64
#include "delta_loops.h"

static void xor_bytes(const uint8_t *restrict from, size_t n, uint8_t *restrict to)
{
    for (size_t i = 0; i < n; i++)
        to[i] ^= from[i];
}

/* elements become items */
static void delta_take(const struct weir_transform *t, const uint8_t *base, size_t n,
                       uint8_t *elements)
{
    if (t->kind == WEIR_TRANSFORM_XOR)
        xor_bytes(base, n * t->item_bytes, elements);
    else if (t->item_bytes == 1)
        diff_8(base, n, elements);
    else if (t->item_bytes == 2)
        diff_16(base, n, elements);
    else if (t->item_bytes == 4)
        diff_32(base, n, elements);
    else
        diff_64(base, n, elements);
}

/* the base's elements become the tensor's */
static void delta_put(const struct weir_transform *t, const uint8_t *items, size_t n,
                      uint8_t *elements)
{
    if (t->kind == WEIR_TRANSFORM_XOR)
        xor_bytes(items, n * t->item_bytes, elements);
    else if (t->item_bytes == 1)
        undiff_8(items, n, elements);
    else if (t->item_bytes == 2)
        undiff_16(items, n, elements);
    else if (t->item_bytes == 4)
        undiff_32(items, n, elements);
    else
        undiff_64(items, n, elements);
}

#endif
