/* graph_cpu.h - the back end on the processor from inside: its memory, and the pass that is going
 * on. */
#ifndef WEIR_INFER_GRAPH_CPU_PRIVATE_H
#define WEIR_INFER_GRAPH_CPU_PRIVATE_H

#include "attention.h"
#include "graph_private.h"
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

struct graph_cpu {
    const struct weir_model *model;
    struct weir_graph_options options; /* the front's */
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

    struct graph_pass pass;
    uint32_t layer;
};

static inline float *line(const struct lines *l, size_t row)
{
    return l->at + row * l->stride;
}

/* The pass: x to logits.  What reading ends with. */
WEIR_MUST_CHECK weir_err graph_forward(struct graph_cpu *g, struct weir_diag *diag);

#endif
