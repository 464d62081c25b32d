/* model.h - a checkpoint's tensors in their roles: which one is layer 3's down projection.
 *
 * Every tensor that the graph needs is found by the name that its family gives it, and its form and
 * element type (F32, F16, BF16) are checked; a tensor of the model that nothing needs ends it too,
 * because it would mean something.  Matrices stay where they are; the vectors (norms, biases) are
 * read into memory.  Never changes after it is opened; shared by any number of graphs. */
#ifndef WEIR_INFER_MODEL_H
#define WEIR_INFER_MODEL_H

#include "checkpoint.h"
#include "config.h"

#ifdef __cplusplus
extern "C" {
#endif

/* Rows first_row .. first_row + n_rows - 1 of a tensor, as a matrix that vectors are multiplied
 * with.  Several may show the same tensor. */
struct weir_matrix {
    const struct weir_checkpoint_tensor *tensor;
    uint32_t first_row, n_rows, n_cols;
    const float *bias; /* n_rows; NULL: none */
};

struct weir_layer {
    struct weir_matrix q, k, v, o, gate, up, down;
    const float *attention_norm, *mlp_norm;             /* hidden */
    const float *after_attention_norm, *after_mlp_norm; /* hidden; NULL: none */
    const float *q_norm, *k_norm;                       /* head_dim; NULL: none */
};

struct weir_model {
    struct weir_model_config config;
    const struct weir_checkpoint *checkpoint; /* borrowed */
    struct weir_matrix embedding;             /* vocab rows */
    struct weir_matrix output;
    const float *norm; /* hidden */
    struct weir_layer *layer;
    uint64_t weight_bytes; /* of all its tensors, plain, each once */
    size_t row_bytes;      /* of its longest row */
    void *vectors;         /* private */
};

/* Binds the tensors of `ck`, which is borrowed, as `config` says.  On success *out is freed with
 * weir_model_free().
 *
 * WEIR_ERR_NOT_FOUND     a tensor is missing; *diag names it
 * WEIR_ERR_MISMATCH      one has another form than the config says; *diag has both
 * WEIR_ERR_UNSUPPORTED   an element type that is no float of 16 or 32 bits; a tensor in excess
 * WEIR_ERR_NOMEM, and what reading ends with. */
WEIR_MUST_CHECK weir_err weir_model_open(const struct weir_checkpoint *ck,
                                         const struct weir_model_config *config,
                                         struct weir_model **out, struct weir_diag *diag);
void weir_model_free(struct weir_model *model); /* NULL is fine */

#ifdef __cplusplus
}
#endif

#endif
