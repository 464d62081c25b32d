#include "model_bind.h"

#include <math.h>
#include <string.h>

#include "kernels.h"
#include "model_names.h"

static bool number_type(const char *dtype, enum number *type)
{
    static const struct {
        const char *text;
        enum number type;
    } types[] = {{"F32", NUMBER_F32}, {"F16", NUMBER_F16}, {"BF16", NUMBER_BF16}};
    for (size_t i = 0; i < sizeof(types) / sizeof(types[0]); i++) {
        if (strcmp(types[i].text, dtype) == 0) {
            *type = types[i].type;
            return true;
        }
    }
    return false;
}

/* n_rows 0: a vector of n_cols. */
static weir_err check_form(struct binding *b, const struct weir_checkpoint_tensor *t,
                           uint64_t n_rows, uint64_t n_cols, enum number *out)
{
    const struct weir_tensor *f = &t->form;
    enum number type;
    uint8_t n_dims = n_rows ? 2 : 1;
    bool fits =
        f->n_dims == n_dims && f->dim[n_dims - 1] == n_cols && (!n_rows || f->dim[0] == n_rows);
    if (!fits) {
        weir_diag_set(
            b->diag, "%s: the config wants %llu x %llu, it has %u dimensions, %llu x %llu", f->name,
            (unsigned long long)(n_rows ? n_rows : 1), (unsigned long long)n_cols, f->n_dims,
            (unsigned long long)(f->n_dims > 1 ? f->dim[0] : 1),
            (unsigned long long)(f->n_dims ? f->dim[f->n_dims - 1] : 1));
        return WEIR_ERR_MISMATCH;
    }
    if (!number_type(f->dtype, &type)) {
        weir_diag_set(b->diag, "%s: elements of type %s are not known here (F32, F16 and BF16 are)",
                      f->name, f->dtype);
        return WEIR_ERR_UNSUPPORTED;
    }
    if (t->bytes != (n_rows ? n_rows : 1) * n_cols * number_bytes(type))
        return WEIR_ERR_CORRUPT;
    *out = type;
    return WEIR_OK;
}

static weir_err find(struct binding *b, enum role role, uint32_t layer, bool is_bias,
                     const struct weir_checkpoint_tensor **out)
{
    char name[NAME_BYTES];
    names_of(&b->model->config, b->prefix, role, layer, is_bias, name);
    const struct weir_checkpoint_tensor *t = weir_checkpoint_find(b->ck, name);
    if (!t) {
        weir_diag_set(b->diag, "the model has no tensor %s", name);
        return WEIR_ERR_NOT_FOUND;
    }
    b->used[t - weir_checkpoint_tensor(b->ck, 0)] = true;
    *out = t;
    return WEIR_OK;
}

static weir_err read_vector(struct binding *b, const struct weir_checkpoint_tensor *t, uint32_t n,
                            const float **out)
{
    enum number type;
    weir_err err = check_form(b, t, 0, n, &type);
    if (err)
        return err;
    if (b->vectors_end - b->vector < (ptrdiff_t)n)
        return WEIR_ERR_INVALID; /* not reached: count_vectors() has counted them */
    err = weir_reader_copy(b->reader, t, b->raw, b->diag);
    if (err)
        return err;
    math_kernels_scalar.widen(type, b->raw, n, b->vector);
    *out = b->vector;
    b->vector += n;
    b->model->weight_bytes += t->bytes;
    return WEIR_OK;
}

/* A norm's weights; where the graph multiplies by 1 + w, that is what is kept. */
static weir_err bind_norm(struct binding *b, enum role role, uint32_t layer, uint32_t n,
                          const float **out)
{
    const struct weir_checkpoint_tensor *t;
    weir_err err = find(b, role, layer, false, &t);
    if (!err)
        err = read_vector(b, t, n, out);
    if (err || !b->model->config.norm_plus_one)
        return err;
    for (float *w = b->vector - n; w < b->vector; w++)
        *w += 1;
    return WEIR_OK;
}

static weir_err bind_matrix(struct binding *b, enum role role, uint32_t layer, uint32_t n_rows,
                            uint32_t n_cols, struct weir_matrix *out)
{
    const struct weir_checkpoint_tensor *t;
    enum number type;
    weir_err err = find(b, role, layer, false, &t);
    if (!err)
        err = check_form(b, t, n_rows, n_cols, &type);
    if (err)
        return err;
    *out = (struct weir_matrix){.tensor = t, .n_rows = n_rows, .n_cols = n_cols};
    if (t->bytes / n_rows > b->model->row_bytes)
        b->model->row_bytes = (size_t)(t->bytes / n_rows);
    b->model->weight_bytes += t->bytes;
    return WEIR_OK;
}

static weir_err bind_biased(struct binding *b, enum role role, uint32_t layer, bool bias,
                            struct weir_matrix *m)
{
    const struct weir_checkpoint_tensor *t;
    if (!bias)
        return WEIR_OK;
    weir_err err = find(b, role, layer, true, &t);
    return err ? err : read_vector(b, t, m->n_rows, &m->bias);
}

/* n_rows rows of `whole`, from `first` on. */
static struct weir_matrix part_of(const struct weir_matrix *whole, uint32_t first, uint32_t n_rows)
{
    struct weir_matrix part = *whole;
    part.first_row = first;
    part.n_rows = n_rows;
    return part;
}

static weir_err bind_qkv(struct binding *b, uint32_t layer, struct weir_layer *l)
{
    const struct weir_model_config *c = &b->model->config;
    const uint32_t q = c->n_heads * c->head_dim, kv = c->n_kv_heads * c->head_dim;
    weir_err err;
    if (c->fused_qkv) {
        struct weir_matrix all;
        err = bind_matrix(b, ROLE_QKV, layer, q + 2 * kv, c->hidden, &all);
        if (err)
            return err;
        l->q = part_of(&all, 0, q);
        l->k = part_of(&all, q, kv);
        l->v = part_of(&all, q + kv, kv);
        return WEIR_OK;
    }
    err = bind_matrix(b, ROLE_Q, layer, q, c->hidden, &l->q);
    if (!err)
        err = bind_matrix(b, ROLE_K, layer, kv, c->hidden, &l->k);
    if (!err)
        err = bind_matrix(b, ROLE_V, layer, kv, c->hidden, &l->v);
    if (!err)
        err = bind_biased(b, ROLE_Q, layer, c->bias_q, &l->q);
    if (!err)
        err = bind_biased(b, ROLE_K, layer, c->bias_k, &l->k);
    if (!err)
        err = bind_biased(b, ROLE_V, layer, c->bias_v, &l->v);
    return err;
}

static weir_err bind_attention(struct binding *b, uint32_t layer, struct weir_layer *l)
{
    const struct weir_model_config *c = &b->model->config;
    weir_err err = bind_norm(b, ROLE_ATTENTION_NORM, layer, c->hidden, &l->attention_norm);
    if (!err)
        err = bind_qkv(b, layer, l);
    if (!err)
        err = bind_matrix(b, ROLE_O, layer, c->hidden, c->n_heads * c->head_dim, &l->o);
    if (!err)
        err = bind_biased(b, ROLE_O, layer, c->bias_o, &l->o);
    if (!err && c->qk_norm)
        err = bind_norm(b, ROLE_Q_NORM, layer, c->head_dim, &l->q_norm);
    if (!err && c->qk_norm)
        err = bind_norm(b, ROLE_K_NORM, layer, c->head_dim, &l->k_norm);
    if (!err && c->norm_after)
        err = bind_norm(b, ROLE_AFTER_ATTENTION_NORM, layer, c->hidden, &l->after_attention_norm);
    return err;
}

static weir_err bind_gate_up(struct binding *b, uint32_t layer, struct weir_layer *l)
{
    const struct weir_model_config *c = &b->model->config;
    weir_err err;
    if (c->fused_gate_up) {
        struct weir_matrix both;
        err = bind_matrix(b, ROLE_GATE_UP, layer, 2 * c->intermediate, c->hidden, &both);
        if (err)
            return err;
        l->gate = part_of(&both, 0, c->intermediate);
        l->up = part_of(&both, c->intermediate, c->intermediate);
        return WEIR_OK;
    }
    err = bind_matrix(b, ROLE_GATE, layer, c->intermediate, c->hidden, &l->gate);
    if (!err)
        err = bind_matrix(b, ROLE_UP, layer, c->intermediate, c->hidden, &l->up);
    if (!err)
        err = bind_biased(b, ROLE_GATE, layer, c->bias_mlp, &l->gate);
    if (!err)
        err = bind_biased(b, ROLE_UP, layer, c->bias_mlp, &l->up);
    return err;
}

static weir_err bind_mlp(struct binding *b, uint32_t layer, struct weir_layer *l)
{
    const struct weir_model_config *c = &b->model->config;
    weir_err err = bind_norm(b, ROLE_MLP_NORM, layer, c->hidden, &l->mlp_norm);
    if (!err)
        err = bind_gate_up(b, layer, l);
    if (!err)
        err = bind_matrix(b, ROLE_DOWN, layer, c->hidden, c->intermediate, &l->down);
    if (!err)
        err = bind_biased(b, ROLE_DOWN, layer, c->bias_mlp, &l->down);
    if (!err && c->norm_after)
        err = bind_norm(b, ROLE_AFTER_MLP_NORM, layer, c->hidden, &l->after_mlp_norm);
    return err;
}

/* GGUF files keep longrope's and llama3's factors as a tensor. */
static weir_err bind_rope_factors(struct binding *b)
{
    struct weir_rope *r = &b->model->config.rope;
    const float *factor;
    const struct weir_checkpoint_tensor *t = weir_checkpoint_find(b->ck, "rope_freqs.weight");
    if (b->model->config.naming != WEIR_NAMES_GGUF || !t)
        return WEIR_OK;
    if (r->type != WEIR_ROPE_PLAIN) {
        weir_diag_set(b->diag, "rope_freqs.weight beside llama.rope.scaling is not known here");
        return WEIR_ERR_UNSUPPORTED;
    }
    weir_err err = read_vector(b, t, r->n_dims / 2, &factor);
    if (err)
        return err;
    r->type = WEIR_ROPE_FACTORS;
    for (uint32_t i = 0; i < r->n_dims / 2; i++) {
        if (!isfinite(factor[i]) || factor[i] <= 0) {
            weir_diag_set(b->diag, "rope_freqs.weight: a factor is not a positive number");
            return WEIR_ERR_CORRUPT;
        }
        r->short_factor[i] = r->long_factor[i] = factor[i];
    }
    b->model->config.local_rope = *r;
    return WEIR_OK;
}

static weir_err check_excess(struct binding *b)
{
    for (size_t i = 0; i < weir_checkpoint_n_tensors(b->ck); i++) {
        const char *name = weir_checkpoint_tensor(b->ck, i)->form.name;
        if (b->used[i] || names_superfluous(&b->model->config, b->prefix, name))
            continue;
        weir_diag_set(b->diag, "the tensor %s is not known for %s", name, b->model->config.family);
        return WEIR_ERR_UNSUPPORTED;
    }
    return WEIR_OK;
}

weir_err model_bind(struct binding *b)
{
    struct weir_model *m = b->model;
    const struct weir_model_config *c = &m->config;
    char name[NAME_BYTES];
    names_of(c, b->prefix, ROLE_EMBEDDING, 0, false, name);
    /* A tied model's one matrix goes by either name. */
    const bool other = c->tied && !weir_checkpoint_find(b->ck, name);
    weir_err err =
        bind_matrix(b, other ? ROLE_OUTPUT : ROLE_EMBEDDING, 0, c->vocab, c->hidden, &m->embedding);
    m->output = m->embedding;
    if (!err && !c->tied)
        err = bind_matrix(b, ROLE_OUTPUT, 0, c->vocab, c->hidden, &m->output);
    if (!err)
        err = bind_norm(b, ROLE_NORM, 0, c->hidden, &m->norm);
    if (!err)
        err = bind_rope_factors(b);
    for (uint32_t i = 0; i < c->n_layers && !err; i++) {
        err = bind_attention(b, i, &m->layer[i]);
        if (!err)
            err = bind_mlp(b, i, &m->layer[i]);
    }
    return err ? err : check_excess(b);
}
