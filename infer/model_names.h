/* model_names.h - how families call their tensors. */
#ifndef WEIR_INFER_MODEL_NAMES_PRIVATE_H
#define WEIR_INFER_MODEL_NAMES_PRIVATE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "config.h"

enum role {
    ROLE_EMBEDDING,
    ROLE_NORM,
    ROLE_OUTPUT,
    ROLE_ATTENTION_NORM, /* from here on: one for each layer */
    ROLE_Q,
    ROLE_K,
    ROLE_V,
    ROLE_QKV,
    ROLE_O,
    ROLE_Q_NORM,
    ROLE_K_NORM,
    ROLE_AFTER_ATTENTION_NORM,
    ROLE_MLP_NORM,
    ROLE_GATE,
    ROLE_UP,
    ROLE_GATE_UP,
    ROLE_DOWN,
    ROLE_AFTER_MLP_NORM,
    N_ROLES,
};

enum { NAME_BYTES = 256 };

/* What stands before every name of the text model in this checkpoint: "model.",
 * "language_model.model.", nothing. */
const char *names_prefix(const struct weir_model_config *c, const struct weir_checkpoint *ck);

/* The name of a role's tensor; is_bias: of its bias. */
void names_of(const struct weir_model_config *c, const char *prefix, enum role role, uint32_t layer,
              bool is_bias, char name[NAME_BYTES]);

/* Whether a tensor that the graph does not need may be there all the same: not the text model's, or
 * worked out from the config, or (the output matrix of a tied model) not looked at by anybody. */
bool names_superfluous(const struct weir_model_config *c, const char *prefix, const char *name);

#endif
