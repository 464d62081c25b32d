/* model_bind.h - tensors found, checked and put into their roles: between model.c and model_bind.c.
 */
#ifndef WEIR_INFER_MODEL_BIND_PRIVATE_H
#define WEIR_INFER_MODEL_BIND_PRIVATE_H

#include "model.h"

/* What binding needs and nobody afterwards. */
struct binding {
    struct weir_model *model;
    const struct weir_checkpoint *ck;
    const char *prefix;
    struct weir_reader *reader;
    bool *used; /* by number of the tensor */
    float *vector, *vectors_end;
    uint8_t *raw; /* a vector's bytes as they are stored */
    struct weir_diag *diag;
};

/* All of them; errors as weir_model_open(). */
WEIR_MUST_CHECK weir_err model_bind(struct binding *b);

#endif
