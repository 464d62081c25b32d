/* tokenizer.h - text to token ids, and ids back to text as they come.
 *
 * A tokenizer is made from a tokenizer.json (the layout of Hugging Face's `tokenizers`) or from a
 * GGUF vocabulary.  BPE only, of two kinds: over bytes (GPT-2, Llama 3, Qwen, SmolLM2, Phi-4) and
 * over characters with bytes to fall back on (Llama 2, TinyLlama, Mistral, Gemma, Phi-3).  Whatever
 * else a file asks for is refused by its name, and so is a pattern for cutting words whose exact
 * text is not known here: one letter of it changes ids.  Knows nothing of models or of chats.
 *
 * Files, texts and ids are hostile until checked.  A tokenizer never changes once made: any number
 * of threads may use it.
 *
 * Text is bytes.  What is not UTF-8 is no error: each wrong byte stands for itself, and comes back
 * as it was if the vocabulary has a token for it, as all of bytes and most of characters do; else
 * it is the unknown token.  (`tokenizers` takes only valid UTF-8.)  truncation and padding in a
 * file are not heeded. */
#ifndef WEIR_INFER_TOKENIZER_H
#define WEIR_INFER_TOKENIZER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "codec/err.h"
#include "infer/text.h"

#ifdef __cplusplus
extern "C" {
#endif

enum {
    WEIR_TOKENIZER_MAX_JSON = 64 << 20,  /* bytes; Gemma 3's has 33 million */
    WEIR_TOKENIZER_MAX_TOKENS = 1 << 20, /* ids are below; Gemma 3 has 262,145 */
    WEIR_TOKENIZER_MAX_TEXT = 256 << 20, /* bytes encoded at once */
    WEIR_TOKENIZER_MAX_PIECE = 16 << 20, /* bytes without a place to cut them */
};

struct weir_tokenizer; /* opaque */

/* `json`: n bytes, no longer needed afterwards.  Llama-3.1's takes 0.4 s and, while it is read, 43
 * MB, Qwen3's 63 MB; most that is allowed is 256 MiB.  Freed with weir_tokenizer_free().
 * WEIR_ERR_UNSUPPORTED: `diag` names the part that is not implemented; WEIR_ERR_CORRUPT: not a
 * tokenizer, or one that contradicts itself; WEIR_ERR_NOMEM. */
WEIR_MUST_CHECK weir_err weir_tokenizer_from_json(const char *json, size_t n,
                                                  struct weir_tokenizer **out,
                                                  struct weir_diag *diag);

struct weir_gguf_string {
    const char *bytes; /* no NUL needed */
    size_t n;
};

/* The tokenizer.ggml.* keys of a GGUF file.  Borrowed for the call.  What llama.cpp takes missing
 * flags for: add_bos true of llama (and of gpt2 with pre "llama-bpe"), add_space_prefix true. */
struct weir_gguf_vocab {
    const char *model;                     /* "llama" or "gpt2"; others are unsupported */
    const char *pre;                       /* of gpt2: which pattern; NULL is unsupported */
    const struct weir_gguf_string *tokens; /* n_tokens of them, the ids in order */
    size_t n_tokens;
    const float *scores;                   /* of llama: n_tokens; of gpt2: NULL */
    const int32_t *types;                  /* n_tokens; NULL: all are normal */
    const struct weir_gguf_string *merges; /* of gpt2: n_merges of "a b" */
    size_t n_merges;
    int64_t bos, eos, unk; /* ids; -1: none */
    bool add_bos, add_eos; /* around a text, if add_special asks for them */
    bool add_space_prefix; /* of llama */
};

/* Errors as above. */
WEIR_MUST_CHECK weir_err weir_tokenizer_from_gguf(const struct weir_gguf_vocab *vocab,
                                                  struct weir_tokenizer **out,
                                                  struct weir_diag *diag);

void weir_tokenizer_free(struct weir_tokenizer *t); /* NULL is fine */

/* One more than the largest id.  Models may have more rows than that. */
size_t weir_tokenizer_n_tokens(const struct weir_tokenizer *t);

/* How the vocabulary spells it: a byte-level token's bytes, else with U+2581 for spaces.  `n`: its
 * bytes.  NULL: there is no such id.  As long as the tokenizer. */
const char *weir_tokenizer_spelling(const struct weir_tokenizer *t, uint32_t id, size_t *n);

/* The id of the added token (such as "</s>"), else of the ordinary one, that is spelled so. */
bool weir_tokenizer_find(const struct weir_tokenizer *t, const char *spelling, size_t n,
                         uint32_t *id);

/* One that marks structure ("<s>", "<|eot_id|>"), and is not text. */
bool weir_tokenizer_is_special(const struct weir_tokenizer *t, uint32_t id);

/* ---- text to ids ---- */

/* The caller zeroes it, sets `most` if he likes, reads it, and frees it. */
struct weir_ids {
    uint32_t *id; /* n of them */
    size_t n;
    size_t room; /* ids allocated */
    size_t most; /* more than this are refused; 0: no such ceiling */
};

void weir_ids_free(struct weir_ids *ids); /* zeroes it; NULL is fine */

struct weir_encoding {
    bool add_special;   /* what the tokenizer puts before and behind a text, such as "<s>" */
    bool parse_special; /* the text of a special token becomes its id; else it is only text */
};

/* Adds the ids of n bytes of text.  Mostly they are fewer than the bytes; normalizing may make a
 * text longer, up to 8 times.  On error `ids` are as before. WEIR_ERR_INVALID: the text, or a piece
 * of it, is too long (see above), or has more than ids->most; WEIR_ERR_UNSUPPORTED: the pattern
 * gives up on it, or there is no token for one of its bytes and no unknown one; WEIR_ERR_NOMEM. */
WEIR_MUST_CHECK weir_err weir_tokenizer_encode(const struct weir_tokenizer *t, const char *text,
                                               size_t n, struct weir_encoding how,
                                               struct weir_ids *ids, struct weir_diag *diag);

/* ---- ids to text ---- */

enum {
    WEIR_DETOK_HELD = 4, /* bytes that are held back at most */
};

/* Ids to text, one by one.  All pieces together are what all ids give at once, wherever they are
 * cut.  Bytes of a character that is not complete are held back.  Otherwise than `tokenizers`: byte
 * tokens that are no UTF-8 are one U+FFFD for each wrong sequence, as everywhere, not for each
 * byte; and an added token with "normalized" is spelled as its file does. */
struct weir_detok {
    const struct weir_tokenizer *tokenizer; /* the caller sets this and the next three */
    bool goes_on;      /* after other text: no space is taken off the first token */
    bool with_special; /* the text of special tokens too; else they are passed over */
    bool only_utf8;    /* U+FFFD for what is not UTF-8 (as `tokenizers` does), else the bytes */
    bool begun;        /* private, zero at first: from here on */
    uint8_t n_held;
    char held[WEIR_DETOK_HELD];
};

/* WEIR_ERR_INVALID: no such id; WEIR_ERR_NOMEM.  On error nothing has changed. */
WEIR_MUST_CHECK weir_err weir_detok_push(struct weir_detok *d, uint32_t id, struct weir_text *out);

/* At the end: what is held back, as it is (or U+FFFD). */
WEIR_MUST_CHECK weir_err weir_detok_end(struct weir_detok *d, struct weir_text *out);

#ifdef __cplusplus
}
#endif

#endif
