/* tokenizer_private.h - what a tokenizer is, for those who make one and those who use it. */
#ifndef WEIR_INFER_TOKENIZER_PRIVATE_H
#define WEIR_INFER_TOKENIZER_PRIVATE_H

#include <string.h>

#include "added.h"
#include "cut.h"
#include "infer/tokenizer.h"
#include "merges.h"
#include "norm.h"
#include "vocab.h"

enum {
    MAX_NORMS = 8,
    MAX_CUTS = 8,
    MAX_AROUND = 16, /* ids in front of a text, or behind it */
    N_BYTES = 256,
    N_ASCII = 128,
};

/* How spellings become text. */
struct decoding {
    bool bytes;       /* they are text; else U+2581 is a space, and: */
    bool byte_tokens; /* "<0xHH>" is a byte */
    bool strip;       /* one space is taken off the text */
    bool first_bare;  /* the first token has no spaces */
};

struct weir_tokenizer {
    struct vocab vocab;
    struct merges merges; /* of slot NULL: by rank */
    uint32_t *rank;       /* by id, or NULL */

    bool by_bytes;              /* symbols are bytes; else characters */
    bool ignore_merges;         /* a piece that is a word is that token, whatever the merges say */
    bool fuse_unknown;          /* characters without a token that follow each other share one */
    bool falls_back;            /* a character without a token becomes its bytes' tokens */
    uint32_t unknown;           /* VOCAB_NONE: there is none */
    uint32_t of_byte[N_BYTES];  /* a byte's token; by characters "<0xHH>".  VOCAB_NONE: none */
    uint32_t of_ascii[N_ASCII]; /* by characters: the token spelled so.  VOCAB_NONE: none */

    struct added_set added;            /* looked for in the text as it comes */
    struct added_set added_normalized; /* in the text after norm[] */
    struct norm norm[MAX_NORMS];
    size_t n_norms;
    struct norm front[MAX_NORMS]; /* after added_normalized */
    size_t n_fronts;
    struct cut cut[MAX_CUTS];
    size_t n_cuts;
    uint32_t before[MAX_AROUND], behind[MAX_AROUND]; /* for add_special */
    size_t n_before, n_behind;

    struct decoding decoding;
};

/* Empty: no ids anywhere.  NULL: out of memory. */
struct weir_tokenizer *tokenizer_new(void);

/* The last step of making one: vocab is indexed and merges are there.  Fills of_byte (by
 * characters) and of_ascii; makes long texts cheap where that changes no id. */
void tokenizer_finish(struct weir_tokenizer *t);

/* One more, behind those that are there; zeroed.  NULL: too many. */
struct cut *tokenizer_add_cut(struct weir_tokenizer *t);

/* "<0xHH>" */
static inline bool tokenizer_is_byte_name(const char *spelling, size_t n, uint8_t *byte)
{
    static const char digits[] = "0123456789ABCDEF";
    const char *high, *low;
    if (n != 6 || memcmp(spelling, "<0x", 3) != 0 || spelling[5] != '>' || !spelling[3] ||
        !spelling[4])
        return false;
    high = strchr(digits, spelling[3]);
    low = strchr(digits, spelling[4]);
    if (!high || !low)
        return false;
    *byte = (uint8_t)((high - digits) << 4 | (low - digits));
    return true;
}

#endif
