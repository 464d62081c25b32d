/* sidecar.h - what is known of a store that is half fetched (docs/architecture.md, "Life of a
 * fetch"): which store, and which of its extents are there and verified.
 *
 * Pure: bytes to a struct and back.  Any bytes are fine as input. */
#ifndef WEIR_FETCH_SIDECAR_H
#define WEIR_FETCH_SIDECAR_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "codec/store.h"

enum { SIDECAR_HEAD_BYTES = 64 };

/* Which store it is about. */
struct sidecar {
    uint8_t digest[WEIR_DIGEST_BYTES];
    uint64_t store_bytes;
    uint32_t n_extents;
    uint64_t boot; /* not 0: its bits may be ahead of the disk, and hold until the next boot */
};

/* Bytes of the bitmap that follows the head: bit e % 8 of byte e / 8 is extent e's. */
size_t sidecar_map_bytes(const struct sidecar *sidecar);

void sidecar_write_head(const struct sidecar *sidecar, uint8_t out[SIDECAR_HEAD_BYTES]);

/* Whether the n bytes of a sidecar's file are about this very store and whole: head, bitmap, and
 * nothing behind it; bits past the last extent are zero. */
bool sidecar_fits(const struct sidecar *sidecar, const uint8_t *bytes, size_t n);

bool sidecar_has(const uint8_t *map, uint32_t extent);
void sidecar_set(uint8_t *map, uint32_t extent);
void sidecar_clear(uint8_t *map, uint32_t extent);

#endif
