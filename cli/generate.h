/* generate.h - a text gone on with: tokens from the graph to the reader, one at a time.
 *
 * One text alone with generate(); of several that share passes, each token by generation_take(). */
#ifndef WEIR_CLI_GENERATE_H
#define WEIR_CLI_GENERATE_H

#include <stdio.h>

#include "infer/device.h"
#include "infer/graph.h"
#include "infer/hash.h"
#include "infer/sample.h"
#include "infer/stop.h"
#include "infer/tokenizer.h"

/* The same for all texts of a run; the caller's. */
struct generation_rules {
    const struct weir_model *model;
    const struct weir_tokenizer *tokenizer;
    struct weir_sampler_options sampling;
    const uint32_t *end_id; /* n_ends ids that end a text */
    size_t n_ends;
    const char *const *stop; /* n_stops texts that do */
    size_t n_stops;
    uint32_t most;    /* tokens of an answer */
    bool show_tokens; /* ids, not text */
    FILE *stream;     /* gets the answer as it comes; NULL: nobody */
    FILE *logits;     /* NULL: nobody */
    bool hashes;      /* somebody is told what the logits' hash is */
};

struct generation {
    const struct generation_rules *rules;
    struct weir_graph *graph;
    uint32_t sequence;
    uint32_t context;
    const uint32_t *prompt;
    size_t n_prompt, n_known; /* the graph has the first n_known, fewer than all */
    /* results */
    struct weir_text text;
    struct weir_ids ids; /* of the answer */
    const char *end;     /* why it ended: "length", "eos", "stop", "context" or "interrupted" */
    double prompt_seconds, answer_seconds;
    uint64_t answer_bytes;                  /* plain bytes of weights used for it */
    uint64_t answer_copied, answer_decoded; /* bytes to a GPU, and by it */
    struct weir_logits_hash *hash;
    /* its own */
    struct weir_sampler *sampler; /* generation_sampler() for passes */
    uint32_t n_begun;             /* choices that passes have been asked for */
    struct weir_detok detok;
    struct weir_stops stops;
    struct weir_text piece; /* of the last token */
    size_t shown;           /* bytes of text that the stream has */
};

/* Zeroes *g but for what the caller sets, which is given.  Freed with generation_free(), also after
 * an error.  WEIR_ERR_NOMEM, WEIR_ERR_INVALID. */
WEIR_MUST_CHECK weir_err generation_begin(struct generation *g, struct weir_diag *diag);
void generation_free(struct generation *g); /* a zeroed one is fine */

/* Whether logits are to come with choices. */
bool generation_wants_logits(const struct generation_rules *rules);

/* What chooses the text's next token: NULL: none were asked for.  It counts as begun. */
struct weir_sampler *generation_sampler(struct generation *g);

/* Whether one more than those begun may be wanted; a graph may be asked for it before those are
 * taken. */
bool generation_may_ask(const struct generation *g);

/* Takes the choice of the oldest pass that was not taken.  *goes_on: more are wanted; else g->end
 * says why not, all of the text is there, and what the graph has of the text beyond this choice is
 * cut off.  WEIR_ERR_IO: stream or logits could not be written. */
WEIR_MUST_CHECK weir_err generation_take(struct generation *g,
                                         const struct weir_graph_choice *choice, bool *goes_on,
                                         struct weir_diag *diag);

/* All of it, `chunk` tokens of the prompt a pass.  An interrupt is no error.  The results hold what
 * there is in any case, and nothing is on its way.  As above, and what the graph ends with. */
WEIR_MUST_CHECK weir_err generate(struct generation *g, uint32_t chunk, struct weir_diag *diag);

/* Adds an id.  WEIR_ERR_NOMEM. */
WEIR_MUST_CHECK weir_err add_id(struct weir_ids *ids, uint32_t id);

#endif
