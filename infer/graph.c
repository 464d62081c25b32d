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
    g->last = calloc(o->n_sequences, sizeof(*g->last));
    if (!g->length || !g->is_long || !g->last)
        return WEIR_ERR_NOMEM;
    err = graph_steps_new(g);
    if (err)
        return err;
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
    free(g->last);
    graph_steps_free(g);
    free(g);
}

/* ---- sequences ---- */

void weir_graph_begin(struct weir_graph *g, uint32_t sequence, uint32_t most_tokens)
{
    const uint32_t most = most_tokens ? most_tokens : g->options.context;
    graph_forget_choices(g, sequence);
    g->length[sequence] = 0;
    g->is_long[sequence] = most > g->model->config.rope.original_context;
}

void weir_graph_cut(struct weir_graph *g, uint32_t sequence, uint32_t n)
{
    graph_forget_choices(g, sequence);
    g->length[sequence] = n;
}

uint32_t weir_graph_length(const struct weir_graph *g, uint32_t sequence)
{
    return g->length[sequence];
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
