/* items.h - the kernels that are plain loops: join and cut for every item width, and the checksum.
 *
 * Static, so that each kernels_*.c that includes it gets its own copy, compiled for its instruction
 * set: the compiler vectorises these loops as well as we could. */
#ifndef WEIR_CODEC_ITEMS_PRIVATE_H
#define WEIR_CODEC_ITEMS_PRIVATE_H

#include "kernels.h"

#include <string.h>

#define XXH_INLINE_ALL
#include <xxhash.h>

#define ITEM uint8_t
#define JOIN join_8
#define CUT  cut_8
#include "lanes.h"
#define ITEM uint16_t
#define JOIN join_16
#define CUT  cut_16
#include "lanes.h"
#define ITEM uint32_t
#define JOIN join_32
#define CUT  cut_32
#include "lanes.h"
#define ITEM uint64_t
#define JOIN join_64
#define CUT  cut_64
#include "lanes.h"

static void join(const struct item_code *code, const uint8_t *index, const uint8_t *raw,
                 size_t first_row, size_t n_rows, uint8_t *items)
{
    if (code->item_bytes == 1)
        join_8(code, index, raw, first_row, n_rows, items);
    else if (code->item_bytes == 2)
        join_16(code, index, raw, first_row, n_rows, items);
    else if (code->item_bytes == 4)
        join_32(code, index, raw, first_row, n_rows, items);
    else
        join_64(code, index, raw, first_row, n_rows, items);
}

static void cut(const struct item_code *code, const uint8_t *items, size_t first_row, size_t n_rows,
                uint8_t *index, uint8_t *raw, uint8_t *bad)
{
    if (code->item_bytes == 1)
        cut_8(code, items, first_row, n_rows, index, raw, bad);
    else if (code->item_bytes == 2)
        cut_16(code, items, first_row, n_rows, index, raw, bad);
    else if (code->item_bytes == 4)
        cut_32(code, items, first_row, n_rows, index, raw, bad);
    else
        cut_64(code, items, first_row, n_rows, index, raw, bad);
}

static uint64_t xxh3(const uint8_t *bytes, size_t n)
{
    return XXH3_64bits(bytes, n);
}

#endif
