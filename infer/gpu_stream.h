/* gpu_stream.h - parts that are brought to the device again for each pass.
 *
 * A thread, the feeder, queues them in the order in which a pass asks for them, pass after pass,
 * each into the next of `depth` slots, as soon as what was there has been given back.  It alone
 * touches the ring and what is decoded; whoever asks waits until the part is queued, and then for
 * an event.  Parts are numbered from the first one ever on. */
#ifndef WEIR_INFER_GPU_STREAM_PRIVATE_H
#define WEIR_INFER_GPU_STREAM_PRIVATE_H

#include <pthread.h>

#include "gpu_parts.h"
#include "gpu_ring.h"

/* A part that stays as stored, or as rows, in pinned memory; or as stored on the device. */
struct gpu_stored {
    struct gpu_image *image; /* of each chunk; NULL: none */
    struct fill_tile *tile;  /* of all of them */
    uint8_t *host;           /* pinned; NULL: none, or on the device */
};

struct gpu_slot {
    uint8_t *at;
    struct weir_gpu_event *ready, *used;
    struct weir_gpu_batch *batch; /* NULL: no part stays on the device as stored */
    /* the feeder's */
    bool decoding; /* of `batch`, and nobody has seen the result */
    uint64_t number;
    const struct gpu_part *part;
};

/* Where in the endless row of parts somebody is. */
struct gpu_place_in_row {
    uint64_t number; /* of the part */
    uint64_t chunk;
};

struct gpu_streaming {
    uint32_t *order; /* parts that stream, by their number in struct gpu_parts; n_order of them */
    uint32_t n_order;
    struct gpu_slot slot[GPU_MAX_DEPTH];
    pthread_t thread;
    bool made, runs;
    /* the feeder's */
    struct gpu_place_in_row announced; /* the next to be announced */
    struct weir_gpu_tile *tile;        /* scratch, for a whole part */
    uint64_t bad_number;               /* the part that an error is about */

    pthread_mutex_t lock; /* of what follows */
    pthread_cond_t changed;
    uint64_t n_queued, n_taken, n_given;
    uint64_t n_sound, n_wanted_sound; /* parts that were looked at, that shall be */
    bool ending, restarting;
    uint64_t restart_at;
    weir_err err;        /* what the feeder stopped with */
    uint64_t err_number; /* the part that this is about: for whoever asks for it, or has it */
    bool told;           /* somebody knows */
    struct weir_diag diag;
    uint64_t copied_bytes, decoded_bytes;
};

#endif
