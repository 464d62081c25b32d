/* generate.h - a text gone on with: tokens from the graph to the reader, one at a time. */
#ifndef WEIR_CLI_GENERATE_H
#define WEIR_CLI_GENERATE_H

#include <stdio.h>

#include "infer/graph.h"
#include "infer/hash.h"
#include "infer/sample.h"
#include "infer/stop.h"
#include "infer/tokenizer.h"

struct generation {
    /* the caller's */
    const struct weir_model *model;
    const struct weir_tokenizer *tokenizer;
    struct weir_graph *graph;
    struct weir_sampler *sampler;
    struct weir_logits_hash *hash;
    const uint32_t *prompt;
    size_t n_prompt;
    uint32_t chunk, most; /* tokens of a pass; of the answer */
    uint32_t context;
    bool ignore_eos;
    bool show_tokens; /* ids, not text */
    const char *stop; /* NULL: none */
    FILE *stream;     /* gets the answer as it comes; NULL: nobody */
    FILE *logits;     /* NULL: nobody */
    /* results */
    struct weir_text text;
    struct weir_ids ids; /* of the answer */
    const char *end;     /* why it ended: "length", "eos", "stop", "context" or "interrupted" */
    double prompt_seconds, answer_seconds;
    uint64_t answer_bytes; /* plain bytes of weights read for it */
};

/* WEIR_ERR_IO: stream or logits could not be written; what the graph ends with.  The results hold
 * what there is in any case; freed with generation_free(). */
WEIR_MUST_CHECK weir_err generate(struct generation *g, struct weir_diag *diag);
void generation_free(struct generation *g);

#endif
