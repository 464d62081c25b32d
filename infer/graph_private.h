/* graph_private.h - the front of a graph, which every back end has, and what a back end does.
 *
 * The front knows sequences and how long they are, and checks what it is given; a back end computes
 * passes that have been checked. */
#ifndef WEIR_INFER_GRAPH_PRIVATE_H
#define WEIR_INFER_GRAPH_PRIVATE_H

#include "graph.h"

/* A row whose id is known. */
enum { GRAPH_KNOWN = UINT32_MAX };

/* Tokens that have their places.  All of it is the front's, and stays while the pass runs. */
struct graph_pass {
    const struct weir_graph_token *token;
    size_t n_rows, n_asked;
    const uint32_t *position;  /* by row */
    const uint32_t *asked_row; /* by number of the asked */
    const bool *is_long;       /* by sequence */
    unsigned slot;             /* below WEIR_GRAPH_MOST_BEGUN; no other pass on its way has it */
    /* of one that chooses */
    struct weir_sampler *const *sampler; /* by number of the asked; NULL: this one does not */
    const uint32_t *fed; /* by row: its id is what this number of the asked of the pass before has
                            chosen, which is not known yet; or GRAPH_KNOWN */
    bool wants_logits;
};

struct graph_back {
    /* Begins a pass.  *chooses, which is false before: its own finish() gives ids.  After an error
     * nothing is on its way.  Keys and values at the positions of a pass that failed are never
     * looked at. */
    weir_err (*start)(void *self, const struct graph_pass *pass, bool *chooses,
                      struct weir_diag *diag);
    /* Waits for the pass of a slot; after an error nothing is on its way.  *id: what was chosen, by
     * number of the asked, if it chooses; UINT32_MAX: there was nothing to choose from. */
    weir_err (*finish)(void *self, unsigned slot, const uint32_t **id, struct weir_diag *diag);
    /* Whether a pass may begin before the one that began last, and chooses, has ended. */
    bool (*may_go_ahead)(const void *self);
    /* Of a pass that has ended, if they were wanted, or it did not choose. */
    float *(*logits)(const void *self, unsigned slot, size_t i);
    unsigned (*threads)(const void *self);
    struct weir_graph_counts (*counts)(const void *self);
    enum weir_place (*place)(const void *self, const struct weir_checkpoint_tensor *t,
                             uint64_t *bytes);
    void (*free)(void *self);
};

/* A pass that has begun. */
struct graph_begun {
    struct weir_graph_token *token; /* [chunk]; ids that are fed are 0 */
    uint32_t *position, *fed;       /* [chunk] */
    uint32_t *asked_row;            /* [n_logits] */
    struct weir_sampler **sampler;  /* [n_logits] */
    size_t n_rows, n_asked;
    bool chooses, wants_logits, any_sampler;
};

/* What was chosen last for a sequence. */
struct graph_last {
    bool any, awaited;
    uint32_t length; /* of the sequence then: what was chosen goes behind that */
    uint32_t id;
    uint32_t at; /* while it is awaited: number of the asked in the newest pass */
};

struct weir_graph {
    const struct weir_model *model;
    struct weir_graph_options options; /* without zeros that mean something else */
    const struct graph_back *back;     /* NULL: none yet */
    void *self;                        /* the back end's */

    /* of each sequence */
    uint32_t *length;
    bool *is_long;
    struct graph_last *last;

    struct graph_begun begun[WEIR_GRAPH_MOST_BEGUN]; /* by slot */
    unsigned oldest, n_begun;                        /* slot 0 is the first where none is begun */
};

/* graph_step.c: passes beginning and ending. */
WEIR_MUST_CHECK weir_err graph_steps_new(struct weir_graph *g); /* WEIR_ERR_NOMEM */
void graph_steps_free(struct weir_graph *g);                    /* half-made is fine */

/* What is chosen for a sequence from now on is of no use, and its samplers are let go. */
void graph_forget_choices(struct weir_graph *g, uint32_t sequence);

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
