/* config_private.h - between the readers of the two forms of a model's config, and what both check
 * at the end. */
#ifndef WEIR_INFER_CONFIG_PRIVATE_H
#define WEIR_INFER_CONFIG_PRIVATE_H

#include <jansson.h>

#include "config.h"

/* What transformers takes where config.json says nothing; 0: it must be there. */
struct family {
    const char *name;         /* model_type */
    const char *architecture; /* NULL: none of its own */
    uint32_t vocab, hidden, intermediate, n_layers, n_heads, n_kv_heads, head_dim, context;
    float norm_eps, theta;
    bool tied;
    uint32_t window;
    const char *const *key; /* that it knows beside everybody's; NULL-terminated */
};

const struct family *family_named(const char *model_type);

/* Refuses every key of config.json that this family does not know and that could mean something.
 * WEIR_ERR_UNSUPPORTED. */
WEIR_MUST_CHECK weir_err config_keys_check(const struct family *f, const json_t *root,
                                           struct weir_diag *diag);

/* Reads rope_theta, rope_scaling and rope_parameters of a family's config; `c` has everything else.
 * WEIR_ERR_UNSUPPORTED, WEIR_ERR_CORRUPT. */
WEIR_MUST_CHECK weir_err config_rope_read(const struct family *f, const json_t *root,
                                          struct weir_model_config *c, struct weir_diag *diag);

/* Windows; everything else that is switched.  The sizes in `c` have been read.
 * WEIR_ERR_UNSUPPORTED, WEIR_ERR_CORRUPT. */
WEIR_MUST_CHECK weir_err config_window_read(const struct family *f, const json_t *root,
                                            struct weir_model_config *c, struct weir_diag *diag);
WEIR_MUST_CHECK weir_err config_switches_read(const struct family *f, const json_t *root,
                                              struct weir_model_config *c, struct weir_diag *diag);

/* WEIR_ERR_UNSUPPORTED, naming a key and its value (NULL: it has none). */
weir_err config_refuse(struct weir_diag *diag, const char *key, const char *value);

/* Values of config.json: absent or null is `otherwise`; the result is between least and most.
 * WEIR_ERR_CORRUPT, naming the key. */
struct config_number {
    const char *key;
    double least, most, otherwise;
};
WEIR_MUST_CHECK weir_err config_real(const json_t *root, struct config_number number, float *out,
                                     struct weir_diag *diag);
WEIR_MUST_CHECK weir_err config_count(const json_t *root, struct config_number number,
                                      uint32_t *out, struct weir_diag *diag);
WEIR_MUST_CHECK weir_err config_flag(const json_t *root, const char *key, bool otherwise, bool *out,
                                     struct weir_diag *diag);

/* Whether all numbers go together.  WEIR_ERR_CORRUPT. */
WEIR_MUST_CHECK weir_err config_check(const struct weir_model_config *c, struct weir_diag *diag);

#endif
