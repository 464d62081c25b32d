/* graph_private.h - a graph from inside: its memory, and the pass that is going on. */
#ifndef WEIR_INFER_GRAPH_PRIVATE_H
#define WEIR_INFER_GRAPH_PRIVATE_H

#include "attention.h"
#include "graph.h"
#include "kv.h"
#include "linear.h"
#include "pool.h"
#include "rope.h"

/* What a row (a token of the pass) has, one row behind the other.  `stride` elements each, a
 * multiple of SUM_LANES; what is behind `n` is zero and stays so. */
struct lines {
    float *at;
    size_t n, stride;
};

struct weir_graph {
    const struct weir_model *model;
    struct weir_graph_options options; /* without zeros that mean something else */
    const struct math_kernels *kernels;
    struct pool *pool;
    struct keep *keep; /* NULL: nothing is kept */
    struct linear *linear;
    struct kv kv;
    struct rope rope, local_rope;
    float *memory; /* that the lines and the scratch lie in */

    struct lines x;               /* the residual stream */
    struct lines normed;          /* what a matrix is multiplied with */
    struct lines q, k, v, looked; /* looked: what attention gives */
    struct lines gate, up;
    struct lines sum;              /* what is added to x next */
    struct lines turn, local_turn; /* cosines and sines of a row's position */
    struct lines asked, logits;    /* of the rows that want logits */
    struct lines scratch;          /* one for each thread */

    /* of each sequence */
    uint32_t *length;
    bool *is_long;

    /* the pass */
    const struct weir_graph_token *token;
    size_t n_rows, n_asked;
    uint32_t *position;  /* by row */
    uint32_t *asked_row; /* by number of the asked */
    uint32_t layer;
};

static inline float *line(const struct lines *l, size_t row)
{
    return l->at + row * l->stride;
}

/* The pass that g->token and what follows describe: x to logits.  What reading ends with. */
WEIR_MUST_CHECK weir_err graph_forward(struct weir_graph *g, struct weir_diag *diag);

#endif
