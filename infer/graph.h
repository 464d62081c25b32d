/* graph.h - tokens in, logits out: the model computed on the processor; or what comes next out.
 *
 * A graph holds the keys and values of some texts ("sequences") and everything else that computing
 * needs; all of it is allocated when it is made.  One pass takes tokens of any of the sequences, as
 * many as a chunk, and goes through the weights once for all of them.
 *
 * The logits of a token depend on the tokens of its sequence up to it, and on nothing else: not on
 * how they were cut into passes, on what other sequences were in them, on the number of threads, on
 * the instruction set (but for "avx512bf16"), or on where the weights lie.  They are the same bits.
 *
 * For one thread at a time; it has others of its own. */
#ifndef WEIR_INFER_GRAPH_H
#define WEIR_INFER_GRAPH_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "codec/err.h"
#include "model.h"
#include "sample.h"

#ifdef __cplusplus
extern "C" {
#endif

struct weir_graph; /* opaque */

struct weir_graph_options {
    unsigned n_threads;   /* 0: one per processor */
    uint32_t n_sequences; /* 0: 1 */
    uint32_t context;     /* tokens of a sequence; 0: what the model takes */
    uint32_t chunk;       /* most tokens of a pass; 0: 256 */
    uint32_t n_logits;    /* most tokens of a pass whose logits are wanted; 0: n_sequences */
    bool kv_bf16;         /* keys and values in BF16, half the memory; else F32 */
    const char *kernels;  /* "scalar", "avx2", "avx512"; NULL: the fastest of these.  "avx512bf16"
                             rounds what matrices of BF16 are multiplied with to BF16: other bits */
    uint64_t keep_bytes;  /* of weights, at most, stay in memory from one pass to the next;
                             UINT64_MAX:  all of them */
    bool keep_plain;      /* ... and BF16 as it is, not in 12 bits */
};

struct weir_graph_token {
    uint32_t sequence;
    uint32_t id;
    bool wants_logits; /* of what comes after it */
};

/* Bytes that weir_graph_new() would allocate, weights that are kept not counted; 0: more than there
 * can be. */
uint64_t weir_graph_bytes(const struct weir_model *model, const struct weir_graph_options *options);

/* `model` is borrowed.  On success *out is freed with weir_graph_free().
 *
 * WEIR_ERR_INVALID       a context that the model does not take; an instruction set that this
 *                        processor does not have
 * WEIR_ERR_NOMEM */
WEIR_MUST_CHECK weir_err weir_graph_new(const struct weir_model *model,
                                        const struct weir_graph_options *options,
                                        struct weir_graph **out, struct weir_diag *diag);
void weir_graph_free(struct weir_graph *g); /* NULL is fine */

/* Forgets a sequence.  Before its first token it may be said how many tokens it will have at most
 * (0: the context): a model that turns heads in another way for long texts (longrope) goes by that,
 * from the first token on. */
void weir_graph_begin(struct weir_graph *g, uint32_t sequence, uint32_t most_tokens);

/* Forgets all but the first n tokens of a sequence, n <= its length; what comes next goes behind
 * them. */
void weir_graph_cut(struct weir_graph *g, uint32_t sequence, uint32_t n);

/* Tokens of a sequence so far. */
uint32_t weir_graph_length(const struct weir_graph *g, uint32_t sequence);

/* Appends tokens to their sequences, in this order, in one pass.
 *
 * WEIR_ERR_INVALID   no tokens, or more than a chunk; more logits than n_logits; a sequence or an
 *                    id that there is not; a sequence longer than its context: *diag says which
 *                    a pass that has begun and not ended
 * What reading weights ends with.  After an error the sequences are as they were. */
WEIR_MUST_CHECK weir_err weir_graph_run(struct weir_graph *g, const struct weir_graph_token *token,
                                        size_t n, struct weir_diag *diag);

/* Of the last pass: vocab numbers for the i-th token that wanted them.  They stay until the next.
 */
float *weir_graph_logits(const struct weir_graph *g, size_t i);

/* ---- what comes next ----
 *
 * A pass can go on to what follows: it begins with weir_graph_start() and ends with
 * weir_graph_finish(), and ids are chosen in between, by samplers.  A GPU chooses by itself where
 * it can, and a next pass may begin before the ids of this one are known: it takes them from the
 * device.  So a caller learns of an id when the next one is on its way; what it then does not want
 * it cuts off.
 *
 * Ids are those that the sampler alone would choose by the same logits, on a GPU too: its sums are
 * in the same order, but e^x there may differ in its last bit, so that a number drawn within some
 * 1e-13 of the border between two tokens could fall on its other side. */

enum {
    WEIR_GRAPH_CHOSEN = UINT32_MAX, /* as a token's id: the one last chosen for its sequence, right
                                       behind what it was chosen by */
    WEIR_GRAPH_MOST_BEGUN = 2       /* passes that have begun and not ended, at most */
};

/* Whether a pass may begin now.  Always where none is on its way. */
bool weir_graph_may_start(const struct weir_graph *g);

/* Begins a pass.  sampler[i] chooses what follows the i-th of the tokens that want logits, which is
 * then the last of its sequence in the pass (NULL: nothing is chosen there); at most n_sequences
 * want logits.  Samplers are borrowed until the pass has ended, or the sequence is cut or begun
 * anew.  wants_logits: weir_graph_finish() hands logits out, too.
 *
 * As weir_graph_run(), and WEIR_ERR_INVALID where weir_graph_may_start() is false, or nothing was
 * chosen for a sequence.  After an error this pass has not begun; those before are on their way. */
WEIR_MUST_CHECK weir_err weir_graph_start(struct weir_graph *g,
                                          const struct weir_graph_token *token, size_t n,
                                          struct weir_sampler *const *sampler, bool wants_logits,
                                          struct weir_diag *diag);

struct weir_graph_choice {
    uint32_t id;         /* WEIR_GRAPH_CHOSEN: none; its sequence was cut or begun anew since */
    uint32_t length;     /* of its sequence after the pass */
    const float *logits; /* that it was chosen by; NULL unless they were wanted.  They stay until
                            the next pass begins */
};

/* Ends the pass that began first; one is on its way.  choice[i]: of the i-th of its tokens that
 * wanted logits.  Each id was given to its sampler with weir_sampler_accept().
 *
 * What weir_graph_run() ends with; WEIR_ERR_CORRUPT: the logits are not numbers.  After an error
 * nothing is on its way any more, and the sequences are as they were before the pass; those that
 * were cut or begun while it was on its way are to be begun anew. */
WEIR_MUST_CHECK weir_err weir_graph_finish(struct weir_graph *g, struct weir_graph_choice *choice,
                                           struct weir_diag *diag);

unsigned weir_graph_threads(const struct weir_graph *g);

struct weir_graph_counts {
    uint64_t used_bytes; /* plain, of weights that were multiplied with */
    uint64_t read_bytes; /* of these, read from plain files or decoded from a store */
    uint64_t kept_bytes; /* memory that weights take, or will once a pass has gone through all */
};
struct weir_graph_counts weir_graph_counts(const struct weir_graph *g);

/* Where a tensor of the model stays between passes. */
enum weir_place { WEIR_PLACE_STREAMED, WEIR_PLACE_PLAIN, WEIR_PLACE_RESIDENT };

/* And the memory that takes, in bytes. */
enum weir_place weir_graph_place(const struct weir_graph *g, const struct weir_checkpoint_tensor *t,
                                 uint64_t *bytes);

#ifdef __cplusplus
}
#endif

#endif
