/* device.h - a GPU for graphs: how much of its memory they may take, and how a model's weights get
 * there.  Without CUDA in the build everything here ends with WEIR_ERR_UNSUPPORTED. */
#ifndef WEIR_INFER_DEVICE_H
#define WEIR_INFER_DEVICE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "codec/err.h"
#include "graph.h"

#ifdef __cplusplus
extern "C" {
#endif

struct weir_device_crossing; /* measure_device.h */

struct weir_device; /* opaque: one GPU, shared by the graphs that are made on it */

/* Opens GPU number `number`.  It is for one thread at a time, as all graphs on it together are.
 *
 * WEIR_ERR_NOT_FOUND     no driver or no such GPU; *diag says what is missing
 * WEIR_ERR_UNSUPPORTED   built without CUDA, or too old a GPU
 * WEIR_ERR_NOMEM */
WEIR_MUST_CHECK weir_err weir_device_open(int number, struct weir_device **out,
                                          struct weir_diag *diag);
void weir_device_close(struct weir_device *d); /* after its graphs; NULL is fine */

struct weir_device_info {
    char name[128];
    uint64_t memory_bytes, free_bytes;
    uint64_t taken_bytes, peak_bytes; /* by graphs, as counted */
    uint64_t measured_bytes;          /* by how much free memory became less since it was opened */
};
WEIR_MUST_CHECK weir_err weir_device_info(struct weir_device *d, struct weir_device_info *out);

/* All graphs together take at most so much of its memory (what the driver takes for itself before
 * is not counted).  At the start: what is free, less a margin. */
void weir_device_limit(struct weir_device *d, uint64_t bytes);

/* The way that a layer's weights get from the store to the multiplication. */
enum weir_tier {
    WEIR_TIER_AUTO,  /* the fastest that fits */
    WEIR_TIER_CPU,   /* 1: decoded by the processor, multiplied on the GPU */
    WEIR_TIER_GPU,   /* 2: decoded on the GPU into a layer's scratch, each time */
    WEIR_TIER_FUSED, /* 4: in 12 bits a weight (7 of q8), decoded in the multiplication */
    WEIR_TIER_RAW,   /* decoded once, BF16 stays: what the others are compared with */
};

enum { WEIR_CACHE_AUTO = UINT32_MAX - 1 };

struct weir_device_rules {
    enum weir_tier tier;
    uint64_t bytes;        /* of device memory for this graph; 0: what the limit leaves */
    uint32_t cache_layers; /* 3: of tiers 1 and 2, so many layers stay as BF16 once they are
                              decoded; WEIR_CACHE_AUTO: as many as fit */
    uint32_t depth;        /* layers that are on their way at once; 0: 2 */
    unsigned n_threads;    /* that read and decode on the host; 0: one per processor */
    uint32_t small_piece;  /* up to so many tokens of a text in a pass are multiplied as single
                              ones are; more, by cuBLAS.  At most 64; 0: 64 */
    uint64_t host_bytes;   /* of memory of the host that weights which stream may stay in (pinned);
                              0: half of what is available.  What is read again each time, and is
                              more than that, is read past the system's memory */
    /* what was measured on such a GPU: in which form a matrix with many exceptions is faster; 0:
     * what an H200 was measured with.  Borrowed */
    const struct weir_device_crossing *crossing;
    size_t n_crossings;
    /* for tests */
    uint32_t delay_us; /* up to so long before each copy, decode and layer, at random */
    uint64_t delay_seed;
    bool no_recording; /* each pass is queued anew */
    bool poison;       /* what a layer leaves is filled with NaNs */
    bool host_choice;  /* the host's samplers choose what comes next, one pass at a time */
};

/* A graph that computes on the GPU; used and freed as every other (graph.h).
 *
 * Its logits depend on a sequence's own tokens, the weights, the GPU's kind, and how a prompt is
 * cut into passes (and then on rules->small_piece, and on whether there is a cuBLAS); not on the
 * tier, the budget, the depth, or on what other sequences are in a pass. They are not the CPU's
 * bits: matrices are multiplied with activations rounded to BF16, keys and values are BF16.
 *
 * Matrices have to be BF16: WEIR_ERR_UNSUPPORTED names the first that is not.
 * WEIR_ERR_NOMEM: the budget is too small; *diag has the least that would do.
 * As weir_graph_new(), too. */
WEIR_MUST_CHECK weir_err weir_device_graph_new(struct weir_device *d,
                                               const struct weir_model *model,
                                               const struct weir_graph_options *options,
                                               const struct weir_device_rules *rules,
                                               struct weir_graph **out, struct weir_diag *diag);

/* Device memory that such a graph takes besides weights, and the least and the most that it could
 * use for weights; for plans. */
struct weir_device_needs {
    uint64_t fixed, least_weights, most_weights;
    uint64_t library; /* of fixed, what the first graph of a device takes for all: cuBLAS */
};
WEIR_MUST_CHECK weir_err weir_device_graph_needs(const struct weir_model *model,
                                                 const struct weir_graph_options *options,
                                                 const struct weir_device_rules *rules,
                                                 struct weir_device_needs *out,
                                                 struct weir_diag *diag);

/* What a graph on a device did; zeros for one on the processor. */
struct weir_device_counts {
    enum weir_tier tier; /* that was taken */
    uint32_t n_layers;
    uint32_t n_packed, n_rows; /* layers that stay: in 12 bits or 7, as BF16 */
    uint32_t n_wire;           /* layers that stay in device memory as stored */
    uint64_t copied_bytes;     /* from host to device for weights, since the graph was made */
    uint64_t decoded_bytes;    /* plain, by the device */
    uint64_t weight_bytes;     /* device memory that weights take */
    bool has_blas;             /* there is cuBLAS; without, pieces of 64 tokens are the largest */
    uint32_t small_piece;      /* the longest piece of a text that does without it */
    uint32_t n_recordings;     /* passes that were recorded and may be replayed */
    uint64_t n_replays;        /* passes that were */
    uint64_t n_choosing;       /* passes that chose what comes next on the device, and ... */
    uint64_t n_ahead;          /* ... of these, that began before the one before had ended */
};
struct weir_device_counts weir_device_graph_counts(const struct weir_graph *g);

#ifdef __cplusplus
}
#endif

#endif
