/* gpu_plan.h - where a model's weights lie for a GPU, so that device memory never takes more than
 * it may: arithmetic, which knows no GPU.
 *
 * The unit is a layer; the output matrix stays as a whole, or streams in blocks no larger than a
 * layer.  What streams is spread evenly: every k-th layer.  While the layers between two of these
 * compute, the next one is copied, so that the copies go on all the time; were they neighbours, the
 * copies would wait for their slots while those compute, and for nothing to compute at the others.
 */
#ifndef WEIR_INFER_GPU_PLAN_PRIVATE_H
#define WEIR_INFER_GPU_PLAN_PRIVATE_H

#include <stdbool.h>

#include "config.h"
#include "device.h"

enum {
    GPU_RING = 8, /* chunks on their way at once */
    GPU_MAX_DEPTH = 8,
};

enum gpu_place {
    /* in device memory */
    GPU_PLACE_ROWS,
    GPU_PLACE_PACKED, /* matrix by matrix: or as rows, where that is not larger */
    GPU_PLACE_WIRE,   /* as stored, decoded each time */
    /* in pinned memory, copied each time */
    GPU_PLACE_HOST_WIRE,
    GPU_PLACE_HOST_ROWS,
    /* nowhere: read each time, as stored; or decoded by the host, too */
    GPU_PLACE_READ_WIRE,
    GPU_PLACE_READ_ROWS,
    /* of the embeddings: the output matrix's */
    GPU_PLACE_SHARED,
};

/* What something would take, bytes. */
struct gpu_part_sizes {
    uint64_t rows, packed;
    uint64_t wire; /* 0: the device cannot decode it */
    uint64_t n_tiles;
    uint64_t coding_bytes; /* of tables that decoding needs */
};

struct gpu_plan_in {
    enum weir_tier tier;
    uint32_t cache_layers, depth;       /* as in weir_device_rules */
    uint64_t bytes, host_bytes;         /* device and pinned memory that there is */
    uint32_t n_layers;                  /* at most WEIR_MAX_LAYERS */
    const struct gpu_part_sizes *layer; /* n_layers */
    struct gpu_part_sizes output, embedding;
    uint64_t block_rows; /* of a block of the output matrix, bytes as rows: the largest */
    uint64_t block_tiles;
    bool tied;
    uint64_t chunk_bytes; /* of the largest chunk, plain */
    uint64_t tile_bytes;  /* that a tile takes in a batch to decode */
};

struct gpu_plan {
    enum weir_tier tier; /* never AUTO */
    uint32_t depth;
    enum gpu_place layer[WEIR_MAX_LAYERS];
    enum gpu_place output, embedding; /* embedding: _SHARED, _ROWS, _PACKED, or on the host */
    uint64_t stay_bytes;              /* of what lies in device memory all the time */
    uint64_t slot_bytes;              /* of each of `depth` slots; 0: nothing needs them */
    uint64_t scratch_bytes;           /* while loading, where the slots are; at least that */
    uint64_t ring_bytes;              /* of each of GPU_RING, in device and pinned memory */
    bool ring_stays;                  /* something streams from the host */
    uint64_t batch_tiles;             /* of each of `depth`, for _WIRE; 0: none */
    uint64_t other_bytes;             /* codings, batches */
    uint64_t bytes;                   /* all together, at most at any time */
    uint64_t least_bytes;             /* of all that was tried */
    uint64_t pinned_bytes;
    uint64_t read_bytes; /* as stored, each time, for want of pinned memory */
};

/* false: there is no room; out->least_bytes would do. */
bool gpu_plan_make(const struct gpu_plan_in *in, struct gpu_plan *out);

/* The least that can be made do with, and the most that is of use. */
void gpu_plan_bounds(const struct gpu_plan_in *in, uint64_t *least, uint64_t *most);

/* Whether a part of that place is the same memory all the time. */
static inline bool gpu_place_stays(enum gpu_place p)
{
    return p == GPU_PLACE_ROWS || p == GPU_PLACE_PACKED || p == GPU_PLACE_SHARED;
}

static inline bool gpu_place_is_wire(enum gpu_place p)
{
    return p == GPU_PLACE_WIRE || p == GPU_PLACE_HOST_WIRE || p == GPU_PLACE_READ_WIRE;
}

#endif
