/* model_tensors.h - the tensors of a model by name, and their plain bytes: of a directory or file
 * of weights as it is, or of a store.
 *
 * As little as a listing needs: no config, no roles; infer/checkpoint.h is for running one. */
#ifndef WEIR_CLI_MODEL_TENSORS_H
#define WEIR_CLI_MODEL_TENSORS_H

#include "codec/layout.h"
#include "opened.h"
#include "walk.h"

struct model_tensor {
    const struct weir_tensor *tensor;
    uint64_t bytes;
    /* where it is: */
    size_t file; /* of plain files */
    uint64_t at;
    uint32_t object; /* of a store */
};

struct model_tensors {
    size_t n;
    struct model_tensor *tensor; /* in the order of files and of their bytes */
    /* its own */
    struct walk *walk; /* NULL: of a store */
    size_t n_files;
    struct weir_source *source;
    struct weir_layout **layout;
    struct opened store;
    struct weir_store_cursor *cursor;
};

/* On error *m is closed.  What opening gives; WEIR_ERR_UNSUPPORTED without a tensor. */
WEIR_MUST_CHECK weir_err model_tensors_open(struct model_tensors *m, const char *name,
                                            struct weir_diag *diag);
void model_tensors_close(struct model_tensors *m); /* a zeroed one, or once more, does no harm */

/* All plain bytes of tensor i, into `to`. */
WEIR_MUST_CHECK weir_err model_tensors_read(struct model_tensors *m, size_t i, uint8_t *to,
                                            struct weir_diag *diag);

#endif
