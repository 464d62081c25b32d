/* bpe.h - joins the symbols of one piece of text, the earliest merge first, of equals the leftmost.
 *
 * Short pieces by looking for the earliest again and again, long ones by a heap: n log n. */
#ifndef WEIR_INFER_BPE_PRIVATE_H
#define WEIR_INFER_BPE_PRIVATE_H

#include <stddef.h>
#include <stdint.h>

#include "codec/err.h"
#include "merges.h"
#include "vocab.h"

/* Either merges, or ranks: then any two join whose spellings together are a word. */
struct bpe_rules {
    const struct vocab *vocab;
    const struct merges *merges; /* NULL: by ranks */
    const uint32_t *rank;        /* by id */
};

struct bpe_symbol {
    uint32_t id;         /* by ranks also VOCAB_NONE */
    uint32_t at;         /* of its text in the piece; used by ranks only */
    uint32_t n;          /* bytes; 0: joined to the one on its left */
    int32_t left, right; /* neighbours; -1: none */
};

struct bpe_join;

/* Memory for pieces, kept from one to the next.  Zeroed at first. */
struct bpe {
    struct bpe_symbol *symbol;
    size_t n;    /* symbols: the caller puts them, with id, at and n */
    size_t room; /* symbols allocated */
    struct bpe_join *heap;
    size_t heap_n, heap_room;
};

/* Room for n symbols in all, before the caller puts them.  WEIR_ERR_NOMEM. */
WEIR_MUST_CHECK weir_err bpe_reserve(struct bpe *b, size_t n);

/* `text`: the piece that the symbols lie in.  What is left are b->n symbols, in order.
 * WEIR_ERR_NOMEM. */
WEIR_MUST_CHECK weir_err bpe_join(struct bpe *b, const struct bpe_rules *rules, const char *text);

void bpe_free(struct bpe *b);

#endif
