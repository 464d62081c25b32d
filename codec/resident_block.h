/* resident_block.h - 64 weights into a block of the resident form: the truth in resident.c, and a
 * variant that is equal byte for byte. */
#ifndef WEIR_CODEC_RESIDENT_BLOCK_PRIVATE_H
#define WEIR_CODEC_RESIDENT_BLOCK_PRIVATE_H

#include "codec/resident.h"

/* Writes WEIR_RESIDENT_BLOCK_BYTES at `block`; returns how many of the weights have no code. */
unsigned resident_block_avx2(const struct weir_resident_code *code,
                             const uint16_t weights[WEIR_RESIDENT_BLOCK], uint8_t *block);

#endif
