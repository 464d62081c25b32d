/* gpu_ring.h - chunks on their way from a checkpoint into rows in device memory: read or decoded by
 * the host's threads into pinned memory, copied, decoded on the device; each step of one while the
 * next ones are in the steps before.
 *
 * Chunks are announced in order and issued in the same order.  What is issued is queued: on `copy`,
 * then on one of the `decode` streams, and `done` waits for it: there whoever issued it may queue
 * what is to be done with its rows.  Decoding a chunk takes 0.12 ms however small it is, twice
 * what copying an extent takes: so several are decoded at once. */
#ifndef WEIR_INFER_GPU_RING_PRIVATE_H
#define WEIR_INFER_GPU_RING_PRIVATE_H

#include "cuda/decode.h"
#include "device.h"
#include "gpu_fill.h"
#include "gpu_plan.h"

/* A chunk as stored that stays in memory; at[] of its tiles count from `at`. */
struct gpu_image {
    uint8_t *at;
    uint32_t bytes;
    struct fill_tile *tile; /* of each of the chunk's, owned by who made it */
};

struct gpu_ring_item {
    struct gpu_chunk chunk;
    enum fill_kind kind;
    const struct weir_gpu_coding *coding; /* of FILL_WIRE; NULL: none */
    /* in pinned memory already: as stored, or plain bytes; NULL: to be brought */
    const struct gpu_image *image;
    const uint8_t *rows;
    uint64_t number; /* whatever the caller counts by: gpu_ring_verify_wait() */
};

struct gpu_ring_slot {
    uint8_t *pinned, *device;
    struct gpu_ring_item announced, item; /* item: that was issued */
    struct fill_job job;
    struct weir_gpu_batch *batch;
    struct weir_gpu_event *copied, *decoded;
    bool decoding; /* a batch is queued, and nobody has seen its result */
};

struct gpu_ring {
    struct weir_gpu_stream *copy, *decode[GPU_RING], *done; /* borrowed */
    struct fill *fill;                                      /* borrowed */
    const struct weir_device_rules *rules;
    uint64_t random;
    struct gpu_ring_slot slot[GPU_RING];
    uint64_t n_announced, n_issued;
    uint64_t copied_bytes, decoded_bytes;
    uint64_t bad_number; /* the least of those that an error was about; whoever looks resets it */
    struct weir_gpu_tile tile[GPU_CHUNK_TILES]; /* scratch */
};

/* device, pinned: GPU_RING times `bytes`, which the largest chunk fits in; borrowed, as all that is
 * handed in.  batches: chunks of FILL_WIRE may come.  WEIR_ERR_NOMEM, WEIR_ERR_IO. */
struct gpu_ring_memory {
    uint8_t *device, *pinned;
    uint64_t bytes;
    bool batches;
};
WEIR_MUST_CHECK weir_err gpu_ring_fill_in(struct gpu_ring *r, struct weir_gpu *gpu,
                                          const struct gpu_ring_memory *memory);
void gpu_ring_free(struct gpu_ring *r, struct weir_gpu *gpu);

/* Whether there is room to announce another; wait: waits for room, which comes if not all that were
 * announced are yet to be issued. */
WEIR_MUST_CHECK weir_err gpu_ring_room(struct gpu_ring *r, bool wait, bool *out);
void gpu_ring_announce(struct gpu_ring *r, const struct gpu_ring_item *item);

/* The next of those announced; its first tile goes to `to`, once `free` has happened (NULL: at
 * once).  What bringing it, or a chunk that was issued before, ended with: r->bad_number says which
 * of them, and is left alone by errors that are about none. */
WEIR_MUST_CHECK weir_err gpu_ring_issue(struct gpu_ring *r, uint8_t *to,
                                        struct weir_gpu_event *free, struct weir_diag *diag);

/* Waits for all that was issued with a number below `number`, and looks whether it was sound. */
WEIR_MUST_CHECK weir_err gpu_ring_verify_wait(struct gpu_ring *r, uint64_t number,
                                              struct weir_diag *diag);

/* Lets go of what was announced and not issued; waits for the host's threads. */
void gpu_ring_drop(struct gpu_ring *r);

/* Forgets what was decoded and not looked at: it is done, and nobody will have it. */
void gpu_ring_forget(struct gpu_ring *r);

/* A delay on a stream, if the rules want any. */
WEIR_MUST_CHECK weir_err gpu_ring_delay(struct gpu_ring *r, struct weir_gpu_stream *s);

/* Says which tile of the chunk is bad, and returns err. */
weir_err gpu_say_bad(weir_err err, const struct gpu_chunk *c, uint64_t tile,
                     struct weir_diag *diag);

/* Fills in what decoding the chunk's tiles to `to` takes. */
void gpu_chunk_tiles(const struct gpu_chunk *c, const struct weir_gpu_coding *coding,
                     const uint8_t *payloads, const struct fill_tile *tile, uint8_t *to,
                     struct weir_gpu_tile *out);

#endif
