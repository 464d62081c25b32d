/* dtype.h - what the element types of safetensors and GGUF look like in memory.
 *
 * Tables of facts and two ways in: safetensors names a type by its text, GGUF by a number.  All of
 * it static and constant; knows nothing of files. */
#ifndef WEIR_CODEC_DTYPE_PRIVATE_H
#define WEIR_CODEC_DTYPE_PRIVATE_H

#include <stdbool.h>
#include <stdint.h>

#include "codec/tile.h"

enum {
    DTYPE_MAX_TEXT = 31, /* bytes of a dtype's text, as docs/format.md 3.4 has it */
};

/* `count` items of `item_bytes` each, right behind the field before.  count 0: no more fields. */
struct dtype_field {
    uint16_t count;
    uint8_t item_bytes;
    uint8_t exponent_bits; /* 0: not a float */
};

/* `items` values take `bytes` bytes, and come in no smaller unit. */
struct dtype {
    const char *text; /* as the store keeps it */
    uint16_t items, bytes;
    struct dtype_field field[WEIR_MAX_PARTS]; /* of one element of weir_elements */
};

/* NULL if unknown. */
const struct dtype *dtype_by_text(const char *text);
const struct dtype *dtype_by_ggml(uint32_t type);

/* Bytes of a tensor with `n_dims` dimensions.  False if they pass 64 bits or are not whole. */
bool dtype_tensor_bytes(const struct dtype *type, const uint64_t *dim, uint8_t n_dims,
                        uint64_t *bytes);

/* How to cut the elements; NULL (unknown) gives single bytes. */
struct weir_elements dtype_elements(const struct dtype *type);

#endif
