/* A GGUF vocabulary, as llama.cpp writes it. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "alphabet.h"
#include "tokenizer_private.h"

enum { /* tokenizer.ggml.token_type */
       TYPE_NORMAL = 1,
       TYPE_UNKNOWN,
       TYPE_CONTROL,
       TYPE_USER_DEFINED,
       TYPE_UNUSED,
       TYPE_BYTE,
};

static const char lower_one[] = "\u2581";

struct making {
    struct weir_tokenizer *t;
    const struct weir_gguf_vocab *from;
    struct weir_diag *diag;
    char *spelling; /* room for the longest token or merge */
};

static weir_err corrupt(struct making *m, const char *what)
{
    weir_diag_set(m->diag, "the GGUF vocabulary: %s", what);
    return WEIR_ERR_CORRUPT;
}

static weir_err unsupported(struct making *m, const char *what, const char *name)
{
    weir_diag_set(m->diag, "the GGUF vocabulary: %s \"%.100s\" is not supported", what, name);
    return WEIR_ERR_UNSUPPORTED;
}

/* ---- tokens ---- */

static int32_t type_of(const struct making *m, size_t id)
{
    return m->from->types ? m->from->types[id] : TYPE_NORMAL;
}

/* The flags of a token whose text is `word`, spelled so that text may become it. */
static uint8_t flags_of(const struct making *m, size_t id, bool word)
{
    uint8_t byte;
    const struct weir_gguf_string *s = &m->from->tokens[id];
    switch (type_of(m, id)) {
    case TYPE_CONTROL:
        return VOCAB_ADDED | VOCAB_SPECIAL;
    case TYPE_UNKNOWN:
        return VOCAB_SPECIAL;
    case TYPE_USER_DEFINED:
        return VOCAB_ADDED;
    case TYPE_UNUSED:
        return 0;
    case TYPE_BYTE:
        return !m->t->by_bytes && tokenizer_is_byte_name(s->bytes, s->n, &byte) ? VOCAB_BYTE : 0;
    default:
        return word ? VOCAB_WORD : 0;
    }
}

static weir_err make_vocab(struct making *m)
{
    struct vocab *v = &m->t->vocab;
    size_t n_bytes = 0;
    for (size_t id = 0; id < m->from->n_tokens; id++) {
        if (m->from->tokens[id].n > UINT32_MAX - n_bytes)
            return corrupt(m, "more than 4 GiB of text");
        n_bytes += m->from->tokens[id].n;
    }
    weir_err err = vocab_start(v, m->from->n_tokens, n_bytes);
    if (err)
        return err;
    for (uint32_t id = 0; id < m->from->n_tokens; id++) {
        const struct weir_gguf_string *s = &m->from->tokens[id];
        size_t n = s->n;
        bool normal = type_of(m, id) == TYPE_NORMAL, word = true;
        if (normal && m->t->by_bytes)
            word = alphabet_decode(s->bytes, s->n, m->spelling, &n);
        bool decoded = normal && m->t->by_bytes && word;
        n = decoded ? n : s->n;
        if (!vocab_set(v, id, decoded ? m->spelling : s->bytes, n, flags_of(m, id, word && n > 0)))
            return corrupt(m, "a token that does not fit");
        if (decoded && n == 1)
            m->t->of_byte[(uint8_t)m->spelling[0]] = id;
    }
    err = vocab_index(v);
    return err == WEIR_ERR_CORRUPT ? corrupt(m, "two tokens are alike") : err;
}

static weir_err make_added(struct making *m)
{
    struct added_set *set = &m->t->added;
    const struct vocab *v = &m->t->vocab;
    size_t n = 0, n_bytes = 0;
    for (size_t id = 0; id < v->n; id++) {
        n += v->flags[id] & VOCAB_ADDED ? 1 : 0;
        n_bytes += v->flags[id] & VOCAB_ADDED ? v->length[id] : 0;
    }
    weir_err err = added_start(set, n, n_bytes);
    for (uint32_t id = 0; !err && id < v->n; id++) {
        struct added_token token = {.id = id, .special = v->flags[id] & VOCAB_SPECIAL};
        if (v->flags[id] & VOCAB_ADDED && v->length[id] > 0 &&
            !added_put(set, token, vocab_spelling(v, id), v->length[id]))
            err = corrupt(m, "a control token is too long");
    }
    if (!err)
        err = added_sort(set);
    return err == WEIR_ERR_CORRUPT ? corrupt(m, "two control tokens are alike, or one too long")
                                   : err;
}

/* ---- merges and ranks ---- */

static uint32_t find_part(struct making *m, const char *text, size_t n, char *to, size_t *wrote)
{
    return alphabet_decode(text, n, to, wrote) ? vocab_find(&m->t->vocab, to, *wrote) : VOCAB_NONE;
}

static weir_err make_merges(struct making *m)
{
    if (m->from->n_merges > UINT32_MAX / 4)
        return corrupt(m, "too many merges");
    weir_err err = merges_start(&m->t->merges, m->from->n_merges, m->t->vocab.seed);
    for (size_t i = 0; !err && i < m->from->n_merges; i++) {
        const struct weir_gguf_string *s = &m->from->merges[i];
        const char *space = s->n > 0 ? memchr(s->bytes, ' ', s->n) : NULL;
        if (!space)
            return corrupt(m, "a merge is no pair");
        size_t n = (size_t)(space - s->bytes), n_left = 0, n_right = 0;
        uint32_t left = find_part(m, s->bytes, n, m->spelling, &n_left);
        uint32_t right = find_part(m, space + 1, s->n - n - 1, m->spelling + n_left, &n_right);
        uint32_t both = vocab_find(&m->t->vocab, m->spelling, n_left + n_right);
        if (left == VOCAB_NONE || right == VOCAB_NONE || both == VOCAB_NONE)
            return corrupt(m, "a merge names a token that is not there");
        merges_add(&m->t->merges, left, right, (uint32_t)i, both);
    }
    return err;
}

struct scored {
    float score;
    uint32_t id;
};

static int higher_first(const void *a, const void *b)
{
    const struct scored *x = a, *y = b;
    return (x->score < y->score) - (x->score > y->score);
}

/* Ranks by falling score; equals share one, and the leftmost pair wins. */
static weir_err make_ranks(struct making *m)
{
    size_t n = m->from->n_tokens;
    struct scored *all = calloc(n + 1, sizeof(*all));
    m->t->rank = calloc(n + 1, sizeof(*m->t->rank));
    if (!all || !m->t->rank) {
        free(all);
        return WEIR_ERR_NOMEM;
    }
    for (size_t id = 0; id < n; id++) {
        if (isnan(m->from->scores[id])) {
            free(all);
            return corrupt(m, "a score that is no number");
        }
        all[id] = (struct scored){m->from->scores[id], (uint32_t)id};
    }
    qsort(all, n, sizeof(*all), higher_first);
    for (size_t i = 1; i < n; i++)
        m->t->rank[all[i].id] =
            m->t->rank[all[i - 1].id] + (all[i].score < all[i - 1].score ? 1 : 0);
    free(all);
    return WEIR_OK;
}

/* ---- the two models ---- */

static weir_err make_characters(struct making *m)
{
    struct weir_tokenizer *t = m->t;
    size_t n = strlen(lower_one);
    if (!m->from->scores)
        return corrupt(m, "it has no scores");
    t->falls_back = true;
    t->decoding = (struct decoding){.byte_tokens = true, .strip = m->from->add_space_prefix};
    if (m->from->add_space_prefix)
        t->norm[t->n_norms++] = (struct norm){.kind = NORM_PREPEND, .to = " ", .n_to = 1};
    struct norm *replace = &t->norm[t->n_norms++];
    *replace = (struct norm){.kind = NORM_REPLACE, .from = " ", .n_from = 1, .n_to = n};
    memcpy(replace->to, lower_one, n);
    weir_err err = make_vocab(m);
    if (!err)
        err = make_ranks(m);
    if (!err && m->from->unk >= 0)
        t->unknown = (uint32_t)m->from->unk;
    return err;
}

/* llama.cpp's names of published patterns, and what their publishers do besides. */
static const struct pre {
    const char *name, *pattern;
    bool each_digit, ignore_merges, nfc;
} pres[] = {
    {"gpt-2", "gpt2", false, false, false},
    {"phi-2", "gpt2", false, false, false},
    {"smollm", "gpt2", true, false, false},
    {"starcoder", "gpt2", true, false, false},
    {"refact", "gpt2", true, false, false},
    {"llama3", "llama3", false, true, false},
    {"llama-v3", "llama3", false, true, false},
    {"llama-bpe", "llama3", false, true, false},
    {"dbrx", "llama3", false, false, false},
    {"qwen2", "qwen2", false, false, true},
    {"deepseek-r1-qwen", "qwen2", false, false, true},
    {"qwen35", "qwen35", false, false, false},
    {"gpt-4o", "gpt4o", false, false, false},
    {"llama4", "gpt4o", false, false, false},
    {"tekken", "tekken", false, true, false},
};

static weir_err add_pattern(struct making *m, const char *text)
{
    struct cut *cut = tokenizer_add_cut(m->t);
    return cut ? pattern_new(text, &cut->pattern) : WEIR_ERR_UNSUPPORTED;
}

static weir_err make_bytes(struct making *m)
{
    const struct pre *pre = NULL;
    for (size_t i = 0; m->from->pre && i < sizeof(pres) / sizeof(pres[0]); i++)
        if (strcmp(pres[i].name, m->from->pre) == 0)
            pre = &pres[i];
    if (!pre)
        return unsupported(m, "the pre-tokenizer", m->from->pre ? m->from->pre : "(none)");
    m->t->by_bytes = m->t->decoding.bytes = true;
    m->t->ignore_merges = pre->ignore_merges;
    if (pre->nfc)
        m->t->norm[m->t->n_norms++] = (struct norm){.kind = NORM_NFC};
    weir_err err = pre->each_digit ? add_pattern(m, pattern_text("digit")) : WEIR_OK;
    if (!err)
        err = add_pattern(m, pattern_text(pre->pattern));
    if (!err)
        err = make_vocab(m);
    return err ? err : make_merges(m);
}

static weir_err check(struct making *m)
{
    const struct weir_gguf_vocab *from = m->from;
    int64_t n = (int64_t)from->n_tokens;
    if (from->n_tokens == 0 || from->n_tokens > WEIR_TOKENIZER_MAX_TOKENS)
        return corrupt(m, "no tokens, or too many");
    if (from->bos >= n || from->eos >= n || from->unk >= n)
        return corrupt(m, "a special token's id is too large");
    if ((from->add_bos && from->bos < 0) || (from->add_eos && from->eos < 0))
        return corrupt(m, "a token is to be added that it does not have");
    return WEIR_OK;
}

static size_t longest(const struct weir_gguf_vocab *from)
{
    size_t most = 0;
    for (size_t i = 0; i < from->n_tokens; i++)
        most = from->tokens[i].n > most ? from->tokens[i].n : most;
    for (size_t i = 0; i < from->n_merges; i++)
        most = from->merges[i].n > most ? from->merges[i].n : most;
    return most;
}

static weir_err make_all(struct making *m)
{
    weir_err err = check(m);
    if (err)
        return err;
    m->spelling = malloc(longest(m->from) + 1);
    if (!m->spelling)
        return WEIR_ERR_NOMEM;
    if (strcmp(m->from->model, "llama") == 0)
        err = make_characters(m);
    else if (strcmp(m->from->model, "gpt2") == 0)
        err = make_bytes(m);
    else
        err = unsupported(m, "the model", m->from->model);
    if (!err)
        err = make_added(m);
    if (err)
        return err;
    if (m->from->add_bos)
        m->t->before[m->t->n_before++] = (uint32_t)m->from->bos;
    if (m->from->add_eos)
        m->t->behind[m->t->n_behind++] = (uint32_t)m->from->eos;
    tokenizer_finish(m->t);
    return WEIR_OK;
}

weir_err weir_tokenizer_from_gguf(const struct weir_gguf_vocab *vocab, struct weir_tokenizer **out,
                                  struct weir_diag *diag)
{
    struct making m = {.t = tokenizer_new(), .from = vocab, .diag = diag};
    weir_err err = m.t ? make_all(&m) : WEIR_ERR_NOMEM;
    free(m.spelling);
    if (err) {
        weir_tokenizer_free(m.t);
        return err;
    }
    *out = m.t;
    return WEIR_OK;
}
