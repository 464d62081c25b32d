/* gpu_weights_private.h - weights in device memory from inside: what stays, and what it is loaded
 * and streamed with. */
#ifndef WEIR_INFER_GPU_WEIGHTS_INSIDE_PRIVATE_H
#define WEIR_INFER_GPU_WEIGHTS_INSIDE_PRIVATE_H

#include "checkpoint_private.h"
#include "gpu_ring.h"
#include "gpu_stream.h"
#include "gpu_weights.h"

/* A part as its matrices lie in device memory. */
struct gpu_laid {
    struct weir_gpu_matrix matrix[GPU_MOST_MATRICES];
};

struct gpu_weights {
    struct weir_gpu *gpu;
    const struct weir_model *model;
    const struct weir_checkpoint *ck;
    struct weir_device_rules rules;
    struct gpu_parts parts;
    struct gpu_plan plan;

    struct weir_gpu_stream *copy, *decode[GPU_RING], *done; /* as in struct gpu_ring */
    struct weir_gpu_event *packed;                          /* what was in the scratch */
    struct fill *fill;
    struct gpu_ring ring;
    struct weir_gpu_coding **coding; /* by number of the tensor in the checkpoint */
    bool *host_only;                 /* likewise: the device does not decode it */

    /* device memory: what stays; scratch while loading, slots afterwards; of the ring */
    uint8_t *stay, *work, *ring_device;
    uint8_t *ring_pinned;
    struct gpu_laid *laid;      /* of layers, of the output matrix, of the embeddings */
    struct weir_reader *reader; /* of embeddings; NULL: none stays on the host */
    struct gpu_stored *stored;  /* of each layer, and of the blocks of the output matrix */
    struct gpu_streaming streaming;
    uint64_t taken_bytes; /* of device memory, once all is there */
};

/* ---- gpu_form.c ---- */

/* Takes samples of all matrices, and fills in what that says of their resident form. */
WEIR_MUST_CHECK weir_err gpu_parts_sample(const struct weir_model *model,
                                          const struct weir_device_rules *rules,
                                          struct gpu_parts *parts, struct weir_diag *diag);
/* The same again for a matrix of which it is known how many exceptions it has. */
void gpu_matrix_weigh(struct gpu_part_matrix *m, const struct weir_device_rules *rules,
                      uint64_t exceptions);

/* Bytes of a matrix in a place that stays. */
uint64_t gpu_matrix_stay_bytes(const struct gpu_part_matrix *m, enum gpu_place place);

/* ---- gpu_sizes.c ---- */

/* Fills in w->plan, and cuts w->parts as it wants it.  WEIR_ERR_NOMEM: too few bytes. */
WEIR_MUST_CHECK weir_err gpu_weights_plan(struct gpu_weights *w, uint64_t bytes,
                                          struct weir_diag *diag);
bool gpu_tier_packs(enum weir_tier tier); /* it needs samples */

/* ---- gpu_load.c ---- */

/* Brings everything that stays to device memory.  *fits false: a matrix turned out to have more
 * exceptions than there was room for; all that did have been weighed again. */
WEIR_MUST_CHECK weir_err gpu_load(struct gpu_weights *w, bool *fits, struct weir_diag *diag);

/* Bytes, from w->stay on, that this takes; what stays as stored is behind them. */
uint64_t gpu_load_bytes(const struct gpu_weights *w);

/* ---- gpu_image.c ---- */

/* Fills in what layers and blocks take as stored: reads the heads of all their tiles, once.  Where
 * one cannot be read it is no less than what reading it later could give. */
void gpu_parts_weigh_images(const struct weir_checkpoint *ck, struct gpu_parts *parts);

/* Brings parts that stay as stored, or in pinned memory, there.  *at: the device memory for those;
 * moves on by what they take. */
WEIR_MUST_CHECK weir_err gpu_store_all(struct gpu_weights *w, uint8_t *at, struct weir_diag *diag);
void gpu_store_free(struct gpu_weights *w);

/* ---- gpu_stream.c, gpu_stream_make.c, gpu_stream_feed.c: parts that do not stay ---- */

WEIR_MUST_CHECK weir_err gpu_stream_begin(struct gpu_weights *w);
void gpu_stream_end(struct gpu_weights *w);  /* nothing is queued any more */
void gpu_stream_free(struct gpu_weights *w); /* after that; nothing of it is in use */
void *gpu_stream_feed(void *self);           /* what the thread does */

/* Part `part` for what is queued on `stream` until it is given back. */
WEIR_MUST_CHECK weir_err gpu_stream_take(struct gpu_weights *w, uint32_t part,
                                         struct weir_gpu_stream *stream, struct gpu_laid *out,
                                         struct weir_diag *diag);
WEIR_MUST_CHECK weir_err gpu_stream_give(struct gpu_weights *w, struct weir_gpu_stream *stream);
WEIR_MUST_CHECK weir_err gpu_stream_verify_wait(struct gpu_weights *w, struct weir_diag *diag);
void gpu_stream_counts(struct gpu_weights *w, struct weir_device_counts *out);

/* ---- shared ---- */

/* Which slot part `number` goes to, and which one it is. */
static inline struct gpu_slot *gpu_slot_of(struct gpu_weights *w, uint64_t number)
{
    return &w->streaming.slot[number % w->plan.depth];
}

static inline uint32_t gpu_part_of(const struct gpu_weights *w, uint64_t number)
{
    return w->streaming.order[number % w->streaming.n_order];
}

static inline enum gpu_place gpu_place_of(const struct gpu_weights *w, uint32_t part)
{
    return part < w->parts.n_layers ? w->plan.layer[part] : w->plan.output;
}

/* Memory of the host that may be pinned. */
uint64_t gpu_host_bytes(const struct weir_device_rules *rules);

/* What a control group, of which `folder` tells, lets its programs take yet; UINT64_MAX: anything.
 * Files that the kernel keeps for it are no obstacle. */
uint64_t gpu_group_left(const char *folder);

static inline size_t gpu_tensor_number(const struct gpu_weights *w,
                                       const struct weir_checkpoint_tensor *t)
{
    return (size_t)(t - weir_checkpoint_tensor(w->ck, 0));
}

/* How a tensor's tiles are brought, and the coding that the device decodes them with. */
enum fill_kind gpu_fill_kind(const struct gpu_weights *w, const struct weir_checkpoint_tensor *t,
                             const struct weir_gpu_coding **coding);

/* A matrix as rows in a region at `at`. */
struct weir_gpu_matrix gpu_matrix_of_rows(const struct gpu_part_matrix *m, uint8_t *at);

#endif
