#include "model.h"

#include <stdlib.h>

#include "model_bind.h"
#include "model_names.h"

enum { MAX_NUMBER_BYTES = 4 };

/* Elements of all vectors of the model. */
static size_t count_vectors(const struct weir_model_config *c)
{
    const size_t heads = (size_t)c->n_heads * c->head_dim;
    const size_t kv_heads = (size_t)c->n_kv_heads * c->head_dim;
    size_t n = (c->norm_after ? 4 : 2) * (size_t)c->hidden;
    n += c->qk_norm ? 2 * (size_t)c->head_dim : 0;
    n += (c->bias_q ? heads : 0) + (c->bias_k ? kv_heads : 0) + (c->bias_v ? kv_heads : 0);
    n += c->bias_o ? c->hidden : 0;
    n += c->bias_mlp ? c->hidden + 2 * (size_t)c->intermediate : 0;
    return c->n_layers * n + c->hidden + c->head_dim;
}

/* A config may want gigabytes of vectors: not before there are as many. */
static weir_err check_bytes(const struct weir_checkpoint *ck, size_t n_vectors,
                            struct weir_diag *diag)
{
    uint64_t bytes = 0;
    for (size_t i = 0; i < weir_checkpoint_n_tensors(ck); i++)
        bytes += weir_checkpoint_tensor(ck, i)->bytes;
    if (n_vectors <= bytes)
        return WEIR_OK;
    weir_diag_set(diag, "the config is that of a larger model");
    return WEIR_ERR_MISMATCH;
}

static size_t longest_vector(const struct weir_model_config *c)
{
    size_t n = (size_t)c->n_heads * c->head_dim;
    n = n < c->hidden ? c->hidden : n;
    return n < c->intermediate ? c->intermediate : n;
}

static weir_err fill(struct weir_model *m, struct weir_diag *diag)
{
    const size_t n_vectors = count_vectors(&m->config);
    struct binding b = {.model = m, .ck = m->checkpoint, .diag = diag};
    weir_err err = check_bytes(b.ck, n_vectors, diag);
    if (err)
        return err;
    err = WEIR_ERR_NOMEM;
    m->layer = calloc(m->config.n_layers, sizeof(*m->layer));
    m->vectors = calloc(n_vectors, sizeof(float));
    b.used = calloc(weir_checkpoint_n_tensors(b.ck) + 1, sizeof(*b.used));
    b.raw = malloc(longest_vector(&m->config) * MAX_NUMBER_BYTES);
    b.prefix = names_prefix(&m->config, b.ck);
    if (m->layer && m->vectors && b.used && b.raw) {
        b.vector = m->vectors;
        b.vectors_end = b.vector + n_vectors;
        err = weir_reader_new(b.ck, 0, &b.reader);
    }
    if (!err)
        err = model_bind(&b);
    weir_reader_free(b.reader);
    free(b.used);
    free(b.raw);
    return err;
}

weir_err weir_model_open(const struct weir_checkpoint *ck, const struct weir_model_config *config,
                         struct weir_model **out, struct weir_diag *diag)
{
    struct weir_model *m = calloc(1, sizeof(*m));
    if (!m)
        return WEIR_ERR_NOMEM;
    m->config = *config;
    m->checkpoint = ck;
    weir_err err = fill(m, diag);
    if (err)
        weir_model_free(m);
    else
        *out = m;
    return err;
}

void weir_model_free(struct weir_model *model)
{
    if (!model)
        return;
    free(model->layer);
    free(model->vectors);
    free(model);
}
