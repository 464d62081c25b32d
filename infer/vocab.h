/* vocab.h - the spellings of tokens, by id and by spelling.
 *
 * Two steps: set each id once, then index.  A spelling is any bytes. */
#ifndef WEIR_INFER_VOCAB_PRIVATE_H
#define WEIR_INFER_VOCAB_PRIVATE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "codec/err.h"

enum {
    VOCAB_THERE = 1 << 0,    /* the id has a spelling */
    VOCAB_WORD = 1 << 1,     /* text may become it: it is found by its spelling */
    VOCAB_SPECIAL = 1 << 2,  /* marks structure */
    VOCAB_BYTE = 1 << 3,     /* stands for the byte that "<0xHH>" names */
    VOCAB_ADDED = 1 << 4,    /* found in the text before anything else */
    VOCAB_NONE = UINT32_MAX, /* no id */
};

struct vocab_slot {
    uint32_t hash;
    uint32_t id; /* VOCAB_NONE: free */
};

struct vocab {
    size_t n;         /* ids are below */
    uint32_t *at;     /* [n], of the spelling in `bytes` */
    uint32_t *length; /* [n], bytes */
    uint8_t *flags;   /* [n] */
    char *bytes;
    size_t n_bytes, most_bytes;
    struct vocab_slot *slot; /* mask + 1; at least half of them are free */
    size_t mask;
    uint64_t seed;
};

/* n <= WEIR_TOKENIZER_MAX_TOKENS ids, n_bytes of spellings at most (below 4 GiB), all yet to be
 * set.  Freed with vocab_free() also when it fails.  WEIR_ERR_NOMEM. */
WEIR_MUST_CHECK weir_err vocab_start(struct vocab *v, size_t n, size_t n_bytes);

/* false: the id is too large or has a spelling already, or there is no room for this one. */
bool vocab_set(struct vocab *v, uint32_t id, const char *spelling, size_t n, uint8_t flags);

/* Makes VOCAB_WORDs be found.  WEIR_ERR_CORRUPT: two are spelled alike; WEIR_ERR_NOMEM. */
WEIR_MUST_CHECK weir_err vocab_index(struct vocab *v);

/* VOCAB_NONE: no VOCAB_WORD is spelled so. */
uint32_t vocab_find(const struct vocab *v, const char *spelling, size_t n);

static inline bool vocab_has(const struct vocab *v, uint64_t id)
{
    return id < v->n && v->flags[id] & VOCAB_THERE;
}

static inline const char *vocab_spelling(const struct vocab *v, uint32_t id)
{
    return v->bytes + v->at[id];
}

void vocab_free(struct vocab *v); /* a zeroed one is fine */

#endif
