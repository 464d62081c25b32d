/* graph_private.h - the front of a graph, which every back end has, and what a back end does.
 *
 * The front knows sequences and how long they are, and checks what it is given; a back end computes
 * passes that have been checked. */
#ifndef WEIR_INFER_GRAPH_PRIVATE_H
#define WEIR_INFER_GRAPH_PRIVATE_H

#include "graph.h"

/* Tokens that have their places.  All of it is the front's, and stays while the pass runs. */
struct graph_pass {
    const struct weir_graph_token *token;
    size_t n_rows, n_asked;
    const uint32_t *position;  /* by row */
    const uint32_t *asked_row; /* by number of the asked */
    const bool *is_long;       /* by sequence */
};

struct graph_back {
    /* Keys and values at the positions of a pass that failed are never looked at. */
    weir_err (*run)(void *self, const struct graph_pass *pass, struct weir_diag *diag);
    float *(*logits)(const void *self, size_t i);
    unsigned (*threads)(const void *self);
    struct weir_graph_counts (*counts)(const void *self);
    enum weir_place (*place)(const void *self, const struct weir_checkpoint_tensor *t,
                             uint64_t *bytes);
    void (*free)(void *self);
};

struct weir_graph {
    const struct weir_model *model;
    struct weir_graph_options options; /* without zeros that mean something else */
    const struct graph_back *back;     /* NULL: none yet */
    void *self;                        /* the back end's */

    /* of each sequence */
    uint32_t *length;
    bool *is_long;

    /* the pass */
    size_t n_asked;
    uint32_t *position;  /* by row */
    uint32_t *asked_row; /* by number of the asked */
};

/* *to is *from with what its zeros mean. */
void graph_fill_options(const struct weir_model *model, const struct weir_graph_options *from,
                        struct weir_graph_options *to);

/* A graph without a back end yet: who called sets `back` and `self`, or frees it.
 *
 * WEIR_ERR_INVALID   a context that the model does not take, too large a chunk
 * WEIR_ERR_NOMEM */
WEIR_MUST_CHECK weir_err graph_front_new(const struct weir_model *model,
                                         const struct weir_graph_options *options,
                                         struct weir_graph **out, struct weir_diag *diag);

#endif
