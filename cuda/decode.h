/* decode.h - decoding tiles on the GPU, seen from C.  No CUDA type crosses this line.
 *
 * One warp decodes one tile (docs/format.md, 5 to 7), so a page fault, a disk and a GPU are served
 * by the same bytes.  This version decodes split tiles whose elements are single 16-bit items
 * (BF16, F16); the caller decodes others on the host.  Hostile payloads are safe: nothing outside
 * payload and output is touched, and a tile that breaks the format is reported.  Checksums are the
 * caller's to check.
 *
 * "Device memory" is what weir_gpu_alloc() returns.  A weir_gpu is for one thread at a time. */
#ifndef WEIR_CUDA_DECODE_H
#define WEIR_CUDA_DECODE_H

#include <stddef.h>
#include <stdint.h>

#include "codec/err.h"
#include "codec/tile.h"

#ifdef __cplusplus
extern "C" {
#endif

struct weir_gpu;        /* one device, one stream */
struct weir_gpu_coding; /* a coding's tables in device memory */
struct weir_gpu_batch;  /* tiles to decode in one launch */

/* WEIR_ERR_NOT_FOUND without such a device; WEIR_ERR_UNSUPPORTED below compute capability 8.0. */
WEIR_MUST_CHECK weir_err weir_gpu_open(int device, struct weir_gpu **out, struct weir_diag *diag);
void weir_gpu_close(struct weir_gpu *gpu); /* waits for queued work; NULL is fine */

/* Device memory, aligned to 256 bytes.  NULL when there is none. */
void *weir_gpu_alloc(struct weir_gpu *gpu, size_t bytes);
void weir_gpu_free(struct weir_gpu *gpu, void *device); /* waits for queued work; NULL is fine */

/* Queued; the host memory must stay as it is until weir_gpu_wait(). */
WEIR_MUST_CHECK weir_err weir_gpu_upload(struct weir_gpu *gpu, void *device, const void *host,
                                         size_t bytes);
WEIR_MUST_CHECK weir_err weir_gpu_download_wait(struct weir_gpu *gpu, void *host,
                                                const void *device, size_t bytes);

/* Waits for all queued work; reports the first fault of any of it. */
WEIR_MUST_CHECK weir_err weir_gpu_wait(struct weir_gpu *gpu);

/* Uploads what decoding with `coding` needs (16 KiB).
 * WEIR_ERR_UNSUPPORTED if its elements are not single 16-bit items. */
WEIR_MUST_CHECK weir_err weir_gpu_coding_new(struct weir_gpu *gpu, const struct weir_coding *coding,
                                             struct weir_gpu_coding **out);
void weir_gpu_coding_free(struct weir_gpu *gpu, struct weir_gpu_coding *coding); /* NULL is fine */

/* One tile of mode WEIR_TILE_SPLIT. */
struct weir_gpu_tile {
    const struct weir_gpu_coding *coding;
    const void *payload; /* device memory, 16-byte aligned, readable (any bytes) up to the next
                          * multiple of 16 bytes, as it is in an extent */
    void *out;           /* device memory, 4-byte aligned, plain_bytes */
    uint32_t payload_bytes;
    uint32_t plain_bytes; /* a multiple of 2, at most WEIR_TILE_BYTES */
};

/* Prepares a launch over n_tiles tiles (host memory, not kept); tiles of one coding should be
 * neighbours, since four neighbours with one coding share its table.
 * WEIR_ERR_INVALID for a tile outside the limits above; WEIR_ERR_NOMEM. */
WEIR_MUST_CHECK weir_err weir_gpu_batch_new(struct weir_gpu *gpu, const struct weir_gpu_tile *tiles,
                                            size_t n_tiles, struct weir_gpu_batch **out);
void weir_gpu_batch_free(struct weir_gpu *gpu, struct weir_gpu_batch *batch); /* NULL is fine */

/* Queues the decoding of all tiles.  Reads payload_bytes and writes plain_bytes a tile: 3.3 bytes a
 * weight at 10.5 bits stored. */
WEIR_MUST_CHECK weir_err weir_gpu_decode(struct weir_gpu *gpu, struct weir_gpu_batch *batch);

/* Waits for the last weir_gpu_decode() of `batch` and says whether every tile was sound.
 * WEIR_ERR_CORRUPT: *bad_tile is the first that was not (its output is undefined). */
WEIR_MUST_CHECK weir_err weir_gpu_decode_wait(struct weir_gpu *gpu, struct weir_gpu_batch *batch,
                                              size_t *bad_tile);

/* Device time of `n_repeat` decodes of `batch`, one after the other: milliseconds each, into
 * ms[n_repeat] (host).  For benchmarks; waits. */
WEIR_MUST_CHECK weir_err weir_gpu_decode_time_wait(struct weir_gpu *gpu,
                                                   struct weir_gpu_batch *batch, size_t n_repeat,
                                                   float *ms);

#ifdef __cplusplus
}
#endif

#endif
