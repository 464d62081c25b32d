/* gpu_weights.h - a model's matrices in device memory, whenever a pass needs them: all the time, or
 * layer by layer.
 *
 * All device memory and pinned memory for it is taken when it is made.  Layers are asked for in
 * order, 0 to n_layers - 1, then the blocks of the output matrix in order, then 0 again; each is
 * given back before the next is asked for.  A pass that ends early (it failed, or wants no logits)
 * may begin with layer 0 again: what was on its way is let go.  Where parts stream, the next are on
 * their way meanwhile.
 *
 * What is given is the same numbers whatever the way.  Where it streams, its checksums are compared
 * on the device while it is in use: gpu_weights_verify_wait() has to be asked before a pass hands
 * on what it computed. */
#ifndef WEIR_INFER_GPU_WEIGHTS_PRIVATE_H
#define WEIR_INFER_GPU_WEIGHTS_PRIVATE_H

#include "cuda/matrix.h"
#include "device.h"
#include "model.h"

struct gpu_weights; /* opaque */

/* `bytes` of device memory at most.  Reads the store: what stays is brought there.  `model` and
 * `gpu` are borrowed.
 *
 * WEIR_ERR_UNSUPPORTED   a matrix is not BF16; *diag names it
 * WEIR_ERR_NOMEM         *diag has the least that would do
 * What reading ends with. */
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

/* Whether all that was given since the last time was sound; waits for it to have come.  Nothing to
 * wait for where every part stays.
 * WEIR_ERR_CORRUPT, WEIR_ERR_CHANGED, ...: *diag names it; what was computed with it is wrong. */
WEIR_MUST_CHECK weir_err gpu_weights_verify_wait(struct gpu_weights *w, struct weir_diag *diag);

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

/* Fills in all of it. */
void gpu_weights_counts(struct gpu_weights *w, struct weir_device_counts *out);

#endif
