#include "tokenizer_private.h"

#include <stdlib.h>
#include <string.h>

#include "utf8.h"

static const char lower_one[] = "\u2581";

enum {
    LOWER_ONE_BYTES = sizeof(lower_one) - 1,
};

struct weir_tokenizer *tokenizer_new(void)
{
    struct weir_tokenizer *t = calloc(1, sizeof(*t));
    if (!t)
        return NULL;
    t->unknown = VOCAB_NONE;
    for (size_t i = 0; i < N_BYTES; i++)
        t->of_byte[i] = VOCAB_NONE;
    for (size_t i = 0; i < N_ASCII; i++)
        t->of_ascii[i] = VOCAB_NONE;
    return t;
}

void weir_tokenizer_free(struct weir_tokenizer *t)
{
    if (!t)
        return;
    vocab_free(&t->vocab);
    merges_free(&t->merges);
    free(t->rank);
    added_free(&t->added);
    added_free(&t->added_normalized);
    for (size_t i = 0; i < t->n_cuts; i++)
        pattern_free(t->cut[i].pattern);
    free(t);
}

size_t weir_tokenizer_n_tokens(const struct weir_tokenizer *t)
{
    return t->vocab.n;
}

const char *weir_tokenizer_spelling(const struct weir_tokenizer *t, uint32_t id, size_t *n)
{
    if (!vocab_has(&t->vocab, id))
        return NULL;
    *n = t->vocab.length[id];
    return vocab_spelling(&t->vocab, id);
}

bool weir_tokenizer_find(const struct weir_tokenizer *t, const char *spelling, size_t n,
                         uint32_t *id)
{
    for (uint32_t i = 0; i < t->vocab.n; i++) {
        bool added = t->vocab.flags[i] & VOCAB_ADDED;
        if (added && t->vocab.length[i] == n &&
            memcmp(vocab_spelling(&t->vocab, i), spelling, n) == 0) {
            *id = i;
            return true;
        }
    }
    uint32_t found = vocab_find(&t->vocab, spelling, n);
    if (found == VOCAB_NONE)
        return false;
    *id = found;
    return true;
}

bool weir_tokenizer_is_special(const struct weir_tokenizer *t, uint32_t id)
{
    return vocab_has(&t->vocab, id) && t->vocab.flags[id] & VOCAB_SPECIAL;
}

struct cut *tokenizer_add_cut(struct weir_tokenizer *t)
{
    return t->n_cuts < MAX_CUTS ? &t->cut[t->n_cuts++] : NULL;
}

/* Is there a U+2581 in it behind something else? */
static bool crosses_words(const char *spelling, size_t n)
{
    bool other = false;
    for (size_t at = 0; at < n;) {
        bool is_lower_one =
            n - at >= LOWER_ONE_BYTES && memcmp(spelling + at, lower_one, LOWER_ONE_BYTES) == 0;
        if (is_lower_one && other)
            return true;
        other = other || !is_lower_one;
        at += is_lower_one ? LOWER_ONE_BYTES : 1;
    }
    return false;
}

/* Vocabularies over characters have no pre-tokenizer: a text is one piece.  But if no token has a
 * U+2581 behind anything else, none can come to lie across such a place, and the text may be cut
 * there. */
static void cut_at_words(struct weir_tokenizer *t)
{
    const struct vocab *v = &t->vocab;
    if (t->by_bytes || t->ignore_merges)
        return;
    if (vocab_find(v, lower_one, LOWER_ONE_BYTES) == VOCAB_NONE)
        return;
    for (size_t i = 0; t->merges.slot && i <= t->merges.mask; i++) {
        const struct merge *m = &t->merges.slot[i];
        if (m->pair != UINT64_MAX && crosses_words(vocab_spelling(v, m->id), v->length[m->id]))
            return;
    }
    for (uint32_t id = 0; t->rank && id < v->n; id++)
        if (v->flags[id] & VOCAB_WORD && crosses_words(vocab_spelling(v, id), v->length[id]))
            return;
    struct cut *cut = tokenizer_add_cut(t);
    if (!cut)
        return;
    memcpy(cut->string, lower_one, LOWER_ONE_BYTES);
    cut->n = LOWER_ONE_BYTES;
    cut->keep = CUT_RUN_WITH_NEXT;
}

void tokenizer_finish(struct weir_tokenizer *t)
{
    if (t->by_bytes)
        return;
    for (uint32_t id = 0; t->falls_back && id < t->vocab.n; id++) {
        uint8_t byte;
        if (t->vocab.flags[id] & VOCAB_BYTE &&
            tokenizer_is_byte_name(vocab_spelling(&t->vocab, id), t->vocab.length[id], &byte))
            t->of_byte[byte] = id;
    }
    for (size_t i = 0; i < N_ASCII; i++) {
        char c = (char)i;
        t->of_ascii[i] = vocab_find(&t->vocab, &c, 1);
    }
    cut_at_words(t);
}
