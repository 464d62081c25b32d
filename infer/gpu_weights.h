/* gpu_weights.h - a model's matrices in device memory, whenever a pass needs them: all the time, or
 * layer by layer.
 *
 * All device memory and pinned memory for it is taken when it is made.  Layers are asked for in
 * order, 0 to n_layers - 1, then the blocks of the output matrix in order, then 0 again; a part
 * that was asked for is given back before the pass ends, and at most two are out at once.  Where
 * parts stream, the next `depth` are on their way meanwhile.
 *
 * What is given is the same numbers whatever the way. */
#ifndef WEIR_INFER_GPU_WEIGHTS_PRIVATE_H
#define WEIR_INFER_GPU_WEIGHTS_PRIVATE_H

#include "cuda/matrix.h"
#include "device.h"
#include "model.h"

struct gpu_weights; /* opaque */

/* `bytes` of device memory at most.  Reads the store: what stays is brought there.
 * `cancelled` may be NULL; where it says true loading ends with WEIR_ERR_CANCELLED. */
WEIR_MUST_CHECK weir_err gpu_weights_new(struct weir_gpu *gpu, const struct weir_model *model,
                                         const struct weir_device_rules *rules, uint64_t bytes,
                                         struct gpu_weights **out, struct weir_diag *diag);
void gpu_weights_free(struct gpu_weights *w); /* waits; NULL is fine */

/* Device memory that it could do with at least, and the most that it could use. */
WEIR_MUST_CHECK weir_err gpu_weights_needs(const struct weir_model *model,
                                           const struct weir_device_rules *rules, uint64_t *least,
                                           uint64_t *most, struct weir_diag *diag);

/* q, k and v are one matrix of their rows one behind the other; gate and up are one. */
struct gpu_layer {
    struct weir_gpu_matrix qkv, o, gate_up, down;
    bool fresh; /* as in weir_gpu_product */
};

/* Whether every part stays where it is: what is queued for them may be recorded. */
bool gpu_weights_stay(const struct gpu_weights *w);

/* A layer for what is queued on `s` from now on, until it is given back; then its memory may be
 * written by others once what was queued on `s` before that is done. */
WEIR_MUST_CHECK weir_err gpu_weights_layer(struct gpu_weights *w, uint32_t layer,
                                           struct weir_gpu_stream *s, struct gpu_layer *out,
                                           struct weir_diag *diag);
WEIR_MUST_CHECK weir_err gpu_weights_layer_done(struct gpu_weights *w, uint32_t layer,
                                                struct weir_gpu_stream *s);

/* The output matrix in blocks of rows, likewise. */
uint32_t gpu_weights_n_blocks(const struct gpu_weights *w);
struct gpu_block_rows {
    struct weir_gpu_matrix matrix;
    uint32_t first_row; /* of the output matrix */
    bool fresh;
};
WEIR_MUST_CHECK weir_err gpu_weights_block(struct gpu_weights *w, uint32_t block,
                                           struct weir_gpu_stream *s, struct gpu_block_rows *out,
                                           struct weir_diag *diag);
WEIR_MUST_CHECK weir_err gpu_weights_block_done(struct gpu_weights *w, uint32_t block,
                                                struct weir_gpu_stream *s);

/* The matrix of embeddings, where it stays on the device; false: rows come from the host
 * (gpu_weights_embed()). */
bool gpu_weights_embedding(const struct gpu_weights *w, struct weir_gpu_matrix *out);

/* Rows id[0 .. n) (host memory) of the embeddings, widened, times `scale`, into to[n][hidden],
 * which is pinned memory. */
WEIR_MUST_CHECK weir_err gpu_weights_embed(struct gpu_weights *w, const uint32_t *id, size_t n,
                                           float scale, float *to, struct weir_diag *diag);

/* Fills in n_packed, n_rows, n_wire, bytes and tier. */
void gpu_weights_counts(const struct gpu_weights *w, struct weir_device_counts *out);

#endif
