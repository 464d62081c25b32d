#include "graph.h"

#include <stdlib.h>

#include "graph_private.h"

enum {
    DEFAULT_CHUNK = 256,
    MAX_CHUNK = 1 << 16,
    MAX_SEQUENCES = 1 << 12,
};

/* ---- making ---- */

void graph_fill_options(const struct weir_model *model, const struct weir_graph_options *from,
                        struct weir_graph_options *to)
{
    *to = *from;
    if (!to->n_sequences)
        to->n_sequences = 1;
    if (!to->context)
        to->context = model->config.context;
    if (!to->chunk)
        to->chunk = DEFAULT_CHUNK;
    if (!to->n_logits)
        to->n_logits = to->n_sequences;
}

static weir_err check_options(const struct weir_graph *g, struct weir_diag *diag)
{
    const struct weir_graph_options *o = &g->options;
    if (o->context > g->model->config.context) {
        weir_diag_set(diag, "a context of %u tokens: the model takes %u", o->context,
                      g->model->config.context);
        return WEIR_ERR_INVALID;
    }
    if (o->chunk > MAX_CHUNK || o->n_sequences > MAX_SEQUENCES || o->n_logits > MAX_CHUNK) {
        weir_diag_set(diag, "more than %d tokens at once or %d texts", MAX_CHUNK, MAX_SEQUENCES);
        return WEIR_ERR_INVALID;
    }
    return WEIR_OK;
}

static weir_err fill(struct weir_graph *g, struct weir_diag *diag)
{
    const struct weir_graph_options *o = &g->options;
    weir_err err = check_options(g, diag);
    if (err)
        return err;
    g->length = calloc(o->n_sequences, sizeof(*g->length));
    g->is_long = calloc(o->n_sequences, sizeof(*g->is_long));
    g->position = calloc(o->chunk, sizeof(*g->position));
    g->asked_row = calloc(o->n_logits, sizeof(*g->asked_row));
    if (!g->length || !g->is_long || !g->position || !g->asked_row)
        return WEIR_ERR_NOMEM;
    for (uint32_t s = 0; s < o->n_sequences; s++)
        weir_graph_begin(g, s, 0);
    return WEIR_OK;
}

weir_err graph_front_new(const struct weir_model *model, const struct weir_graph_options *options,
                         struct weir_graph **out, struct weir_diag *diag)
{
    struct weir_graph *g = calloc(1, sizeof(*g));
    if (!g)
        return WEIR_ERR_NOMEM;
    g->model = model;
    graph_fill_options(model, options, &g->options);
    weir_err err = fill(g, diag);
    if (err)
        weir_graph_free(g);
    else
        *out = g;
    return err;
}

void weir_graph_free(struct weir_graph *g)
{
    if (!g)
        return;
    if (g->back)
        g->back->free(g->self);
    free(g->length);
    free(g->is_long);
    free(g->position);
    free(g->asked_row);
    free(g);
}

/* ---- sequences ---- */

void weir_graph_begin(struct weir_graph *g, uint32_t sequence, uint32_t most_tokens)
{
    const uint32_t most = most_tokens ? most_tokens : g->options.context;
    g->length[sequence] = 0;
    g->is_long[sequence] = most > g->model->config.rope.original_context;
}

void weir_graph_cut(struct weir_graph *g, uint32_t sequence, uint32_t n)
{
    g->length[sequence] = n;
}

uint32_t weir_graph_length(const struct weir_graph *g, uint32_t sequence)
{
    return g->length[sequence];
}

static weir_err place_token(struct weir_graph *g, size_t row, const struct weir_graph_token *t,
                            struct weir_diag *diag)
{
    if (t->sequence >= g->options.n_sequences || t->id >= g->model->config.vocab) {
        weir_diag_set(diag, "token %u of text %u: there is no such thing", t->id, t->sequence);
        return WEIR_ERR_INVALID;
    }
    if (g->length[t->sequence] == g->options.context) {
        weir_diag_set(diag, "the context of %u tokens is full", g->options.context);
        return WEIR_ERR_INVALID;
    }
    if (t->wants_logits && g->n_asked == g->options.n_logits) {
        weir_diag_set(diag, "logits of more than %u tokens at once", g->options.n_logits);
        return WEIR_ERR_INVALID;
    }
    g->position[row] = g->length[t->sequence]++;
    if (t->wants_logits)
        g->asked_row[g->n_asked++] = (uint32_t)row;
    return WEIR_OK;
}

weir_err weir_graph_run(struct weir_graph *g, const struct weir_graph_token *token, size_t n,
                        struct weir_diag *diag)
{
    if (n == 0 || n > g->options.chunk) {
        weir_diag_set(diag, "%zu tokens at once: 1 to %u are possible", n, g->options.chunk);
        return WEIR_ERR_INVALID;
    }
    weir_err err = WEIR_OK;
    size_t row;
    g->n_asked = 0;
    for (row = 0; row < n; row++) {
        err = place_token(g, row, &token[row], diag);
        if (err)
            break;
    }
    if (!err) {
        const struct graph_pass pass = {token,        n,         g->n_asked, g->position,
                                        g->asked_row, g->is_long};
        err = g->back->run(g->self, &pass, diag);
    }
    if (err)
        while (row-- > 0)
            g->length[token[row].sequence]--;
    return err;
}

float *weir_graph_logits(const struct weir_graph *g, size_t i)
{
    return g->back->logits(g->self, i);
}

unsigned weir_graph_threads(const struct weir_graph *g)
{
    return g->back->threads(g->self);
}

struct weir_graph_counts weir_graph_counts(const struct weir_graph *g)
{
    return g->back->counts(g->self);
}

enum weir_place weir_graph_place(const struct weir_graph *g, const struct weir_checkpoint_tensor *t,
                                 uint64_t *bytes)
{
    return g->back->place(g->self, t, bytes);
}
