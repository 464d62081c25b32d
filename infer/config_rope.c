/* rope_theta and rope_scaling (transformers 4), rope_parameters (transformers 5): how heads turn.
 */
#include <math.h>
#include <string.h>

#include "config_private.h"

static const char *const scaling_keys[] = {"rope_type",
                                           "type",
                                           "rope_theta",
                                           "factor",
                                           "low_freq_factor",
                                           "high_freq_factor",
                                           "original_max_position_embeddings",
                                           "short_factor",
                                           "long_factor",
                                           "attention_factor",
                                           "partial_rotary_factor",
                                           NULL};

static bool known(const char *key)
{
    for (const char *const *k = scaling_keys; *k; k++)
        if (strcmp(*k, key) == 0)
            return true;
    return false;
}

static weir_err refuse(struct weir_diag *diag, const char *what)
{
    weir_diag_set(diag, "config.json: rope of a kind that is not known here: %s", what);
    return WEIR_ERR_UNSUPPORTED;
}

static weir_err read_type(const json_t *scaling, enum weir_rope_type *out, struct weir_diag *diag)
{
    for (void *i = json_object_iter((json_t *)scaling); i;
         i = json_object_iter_next((json_t *)scaling, i))
        if (!known(json_object_iter_key(i)) && !json_is_null(json_object_iter_value(i)))
            return refuse(diag, json_object_iter_key(i));
    const char *type = json_string_value(json_object_get(scaling, "rope_type"));
    if (!type)
        type = json_string_value(json_object_get(scaling, "type"));
    if (!type || strcmp(type, "default") == 0)
        *out = WEIR_ROPE_PLAIN;
    else if (strcmp(type, "linear") == 0)
        *out = WEIR_ROPE_LINEAR;
    else if (strcmp(type, "llama3") == 0)
        *out = WEIR_ROPE_LLAMA3;
    else if (strcmp(type, "longrope") == 0 || strcmp(type, "su") == 0)
        *out = WEIR_ROPE_FACTORS;
    else
        return refuse(diag, type);
    return WEIR_OK;
}

static weir_err read_factors(const json_t *scaling, const char *key, uint32_t n, float *out,
                             struct weir_diag *diag)
{
    const json_t *list = json_object_get(scaling, key);
    if (json_array_size(list) != n) {
        weir_diag_set(diag, "config.json: %s has not one number for each pair of dimensions", key);
        return WEIR_ERR_CORRUPT;
    }
    for (uint32_t i = 0; i < n; i++)
        out[i] =
            (float)json_number_value(json_array_get(list, i)); /* 0, no number: checked later */
    return WEIR_OK;
}

/* The ratio of the two contexts, unless it is given, makes the scale. */
static weir_err read_longrope(const json_t *root, const json_t *scaling, uint32_t context,
                              struct weir_rope *r, struct weir_diag *diag)
{
    static const char original[] = "original_max_position_embeddings";
    const json_t *where = json_object_get(root, original) ? root : scaling;
    weir_err err =
        config_count(where, (struct config_number){original, 1, WEIR_MAX_CONTEXT, context},
                     &r->original_context, diag);
    if (err)
        return err;
    double ratio = (double)context / r->original_context;
    err =
        config_real(scaling, (struct config_number){"factor", 1e-3, 1e6, ratio}, &r->factor, diag);
    if (err)
        return err;
    double usual = 1;
    if (r->factor > 1)
        usual = sqrt(1 + log((double)r->factor) / log((double)r->original_context));
    err = config_real(scaling, (struct config_number){"attention_factor", 1e-3, 1e3, usual},
                      &r->scale, diag);
    if (!err)
        err = read_factors(scaling, "short_factor", r->n_dims / 2, r->short_factor, diag);
    if (!err)
        err = read_factors(scaling, "long_factor", r->n_dims / 2, r->long_factor, diag);
    return err;
}

static weir_err read_scaling(const json_t *scaling, struct weir_rope *r, struct weir_diag *diag)
{
    weir_err err =
        config_real(scaling, (struct config_number){"factor", 1e-3, 1e6, 0}, &r->factor, diag);
    if (err || r->type == WEIR_ROPE_LINEAR)
        return err;
    err = config_real(scaling, (struct config_number){"low_freq_factor", 1e-6, 1e6, 0},
                      &r->low_freq_factor, diag);
    if (!err)
        err = config_real(scaling, (struct config_number){"high_freq_factor", 1e-6, 1e6, 0},
                          &r->high_freq_factor, diag);
    if (!err)
        err = config_count(
            scaling,
            (struct config_number){"original_max_position_embeddings", 1, WEIR_MAX_CONTEXT, 0},
            &r->original_context, diag);
    return err;
}

/* scaling: NULL or an object.  theta: where it says nothing. */
static weir_err read_rope(const json_t *root, const json_t *scaling, double theta,
                          const struct weir_model_config *c, struct weir_rope *r,
                          struct weir_diag *diag)
{
    float part;
    weir_err err = read_type(scaling, &r->type, diag);
    if (!err)
        err = config_real(root, (struct config_number){"partial_rotary_factor", 0, 1, 1}, &part,
                          diag);
    if (!err)
        err = config_real(scaling, (struct config_number){"partial_rotary_factor", 0, 1, part},
                          &part, diag);
    if (!err)
        err = config_real(scaling, (struct config_number){"rope_theta", 1e-3, 1e12, theta},
                          &r->theta, diag);
    if (err)
        return err;
    r->n_dims = (uint32_t)((double)c->head_dim * part);
    r->scale = 1;
    if (r->type == WEIR_ROPE_PLAIN)
        return WEIR_OK;
    return r->type == WEIR_ROPE_FACTORS ? read_longrope(root, scaling, c->context, r, diag)
                                        : read_scaling(scaling, r, diag);
}

/* An object, or NULL where there is none. */
static weir_err object_of(const json_t *root, const char *key, const json_t **out,
                          struct weir_diag *diag)
{
    const json_t *value = json_object_get(root, key);
    if (value && !json_is_null(value) && !json_is_object(value)) {
        weir_diag_set(diag, "config.json: %s is not an object", key);
        return WEIR_ERR_CORRUPT;
    }
    *out = json_is_object(value) ? value : NULL;
    return WEIR_OK;
}

weir_err config_rope_read(const struct family *f, const json_t *root, struct weir_model_config *c,
                          struct weir_diag *diag)
{
    static const char global_key[] = "full_attention", local_key[] = "sliding_attention";
    const bool two = strcmp(f->name, "gemma3_text") == 0;
    const json_t *scaling, *parameters, *global, *local = NULL;
    float theta, local_theta;
    weir_err err = object_of(root, "rope_scaling", &scaling, diag);
    if (!err)
        err = object_of(root, "rope_parameters", &parameters, diag);
    if (!err)
        err = config_real(root, (struct config_number){"rope_theta", 1e-3, 1e12, (double)f->theta},
                          &theta, diag);
    if (!err)
        err = config_real(root, (struct config_number){"rope_local_base_freq", 1e-3, 1e12, 1e4},
                          &local_theta, diag);
    if (err)
        return err;
    global = scaling ? scaling : parameters;
    if (two && json_object_get(parameters, global_key)) {
        if (json_object_size(parameters) != 2)
            return refuse(diag, "rope_parameters of other layers than full and sliding");
        err = object_of(parameters, global_key, &global, diag);
        if (!err)
            err = object_of(parameters, local_key, &local, diag);
    }
    if (!err)
        err = read_rope(root, global, (double)theta, c, &c->rope, diag);
    if (!err && two)
        err = read_rope(root, local, (double)local_theta, c, &c->local_rope, diag);
    else if (!err)
        c->local_rope = c->rope;
    return err;
}
