/* decode.h - tiles decoded on the GPU, seen from C.
 *
 * A tile (docs/format.md, 5 to 7) is decoded where its payload lies, so a page fault, a disk and a
 * GPU are served by the same bytes.  All codings of floats and integers, and all modes but zstd,
 * which the host decodes.  Bit-equal to codec/tile.h; the tile's XXH3-64 is compared on the device.
 * Hostile payloads are safe: nothing outside payload and output is touched, and a tile that breaks
 * the format is reported. */
#ifndef WEIR_CUDA_DECODE_H
#define WEIR_CUDA_DECODE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "codec/err.h"
#include "codec/tile.h"
#include "cuda/gpu.h"

#ifdef __cplusplus
extern "C" {
#endif

/* Whether tiles of a coding are decoded by the device, but for those of mode WEIR_TILE_ZSTD; else
 * they are given to it plain. */
static inline bool weir_gpu_decodes(const struct weir_coding *coding)
{
    return coding->transform.kind == WEIR_TRANSFORM_NONE ||
           coding->transform.kind == WEIR_TRANSFORM_SCALE;
}

struct weir_gpu_coding; /* a coding's tables in device memory */
struct weir_gpu_batch;  /* tiles to decode in one go */

/* Uploads what decoding with `coding` needs (16 KiB a part); waits.
 * WEIR_ERR_UNSUPPORTED: not weir_gpu_decodes(). */
WEIR_MUST_CHECK weir_err weir_gpu_coding_new(struct weir_gpu *gpu, const struct weir_coding *coding,
                                             struct weir_gpu_coding **out);
void weir_gpu_coding_free(struct weir_gpu *gpu, struct weir_gpu_coding *coding); /* NULL is fine */

struct weir_gpu_tile {
    const struct weir_gpu_coding *coding; /* NULL for WEIR_TILE_RAW of opaque bytes */
    const void *payload; /* device memory, 16-byte aligned, readable (any bytes) up to the next
                          * multiple of 16 bytes, as it is in an extent */
    void *out;           /* device memory, 16-byte aligned, plain_bytes */
    struct weir_tile_head head; /* mode: RAW, CONST, SPLIT or MADE */
    uint32_t plain_bytes;       /* at most WEIR_TILE_BYTES */
};

/* Room for up to `most` tiles at once, in device and pinned memory: 200 bytes a tile in each. */
WEIR_MUST_CHECK weir_err weir_gpu_batch_new(struct weir_gpu *gpu, size_t most,
                                            struct weir_gpu_batch **out);
void weir_gpu_batch_free(struct weir_gpu *gpu, struct weir_gpu_batch *batch); /* NULL is fine */

/* The tiles that it decodes from now on (host memory, not kept); nothing is queued.  Not while work
 * with it is queued.  Tiles of one coding should be neighbours.
 * WEIR_ERR_INVALID: more than there is room for, or one outside the limits above. */
WEIR_MUST_CHECK weir_err weir_gpu_batch_set(struct weir_gpu_batch *batch,
                                            const struct weir_gpu_tile *tiles, size_t n_tiles);

/* Queues the way of what was set to the device.  Decoding does so itself, if nobody has; but where
 * payloads are copied on a stream of their own, in front of them is the better place: behind them
 * it would wait for all copies that are queued. */
WEIR_MUST_CHECK weir_err weir_gpu_batch_upload(struct weir_gpu_stream *s,
                                               struct weir_gpu_batch *batch);

/* Queues the decoding of all tiles and the comparison of their checksums: a copy of the
 * descriptors, unless the device has them, and one launch.  One decoding of a batch at a time.
 * Recorded, it decodes whatever the batch is set to when it is replayed, and copies and launches
 * for `most` tiles. */
WEIR_MUST_CHECK weir_err weir_gpu_decode(struct weir_gpu_stream *s, struct weir_gpu_batch *batch);

/* When that is done (the caller has waited for it): whether every tile was sound.
 *
 * WEIR_ERR_CORRUPT  *bad_tile is the first that was not; its output is undefined
 * WEIR_ERR_IO       no decoding has ended since the batch was set */
WEIR_MUST_CHECK weir_err weir_gpu_batch_result(const struct weir_gpu_batch *batch,
                                               size_t *bad_tile);

#ifdef __cplusplus
}
#endif

#endif
