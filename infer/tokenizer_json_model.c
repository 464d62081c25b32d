/* tokenizer.json: the vocabulary, the merges, and the added tokens. */
#include <stdlib.h>
#include <string.h>

#include "alphabet.h"
#include "tokenizer_json.h"

enum {
    MAX_ADDED = 65536, /* Gemma 3 has 6,415 */
};

/* What text has to be spelled like for it to be this token: bytes if the model is over bytes. */
static bool spell(struct loading *l, const char *text, size_t n, size_t *n_spelling)
{
    if (l->t->by_bytes)
        return alphabet_decode(text, n, l->spelling, n_spelling);
    memcpy(l->spelling, text, n);
    *n_spelling = n;
    return true;
}

/* ---- vocabulary ---- */

struct extent {
    size_t n_ids;
    size_t n_bytes; /* of all spellings */
};

static bool count_id(const json_t *id, size_t n_bytes, struct extent *of)
{
    json_int_t value = json_integer_value(id);
    if (!json_is_integer(id) || value < 0 || value >= WEIR_TOKENIZER_MAX_TOKENS)
        return false;
    if ((size_t)value >= of->n_ids)
        of->n_ids = (size_t)value + 1;
    of->n_bytes += n_bytes;
    return true;
}

static weir_err measure(struct loading *l, json_t *vocab, const json_t *added, struct extent *of)
{
    for (void *i = json_object_iter(vocab); i; i = json_object_iter_next(vocab, i))
        if (!count_id(json_object_iter_value(i), json_object_iter_key_len(i), of))
            return loading_corrupt(l, "model", "a token's id is no number, or too large");
    for (size_t i = 0; i < json_array_size(added); i++) {
        const json_t *token = json_array_get(added, i);
        const json_t *content = json_object_get(token, "content");
        if (!json_is_string(content) ||
            !count_id(json_object_get(token, "id"), json_string_length(content), of))
            return loading_corrupt(l, "added_tokens", "one has no content, or no proper id");
    }
    return WEIR_OK;
}

static weir_err load_vocab(struct loading *l, json_t *vocab)
{
    struct vocab *v = &l->t->vocab;
    struct extent of = {0};
    weir_err err = measure(l, vocab, json_object_get(l->root, "added_tokens"), &of);
    if (!err)
        err = vocab_start(v, of.n_ids, of.n_bytes);
    if (err)
        return err;
    for (void *i = json_object_iter(vocab); i; i = json_object_iter_next(vocab, i)) {
        const char *key = json_object_iter_key(i);
        size_t n = json_object_iter_key_len(i), n_spelling;
        uint32_t id = (uint32_t)json_integer_value(json_object_iter_value(i));
        uint8_t byte;
        bool word = spell(l, key, n, &n_spelling);
        uint8_t flags =
            word ? VOCAB_WORD : 0; /* no text of bytes becomes a token that has others */
        if (!l->t->by_bytes && tokenizer_is_byte_name(key, n, &byte))
            flags |= VOCAB_BYTE;
        if (!vocab_set(v, id, word ? l->spelling : key, word ? n_spelling : n, flags))
            return loading_corrupt(l, "model", "two tokens have one id");
        if (l->t->by_bytes && word && n_spelling == 1)
            l->t->of_byte[(uint8_t)l->spelling[0]] = id;
    }
    err = vocab_index(v);
    return err == WEIR_ERR_CORRUPT ? loading_corrupt(l, "model", "two tokens are alike") : err;
}

/* ---- merges ---- */

/* "a b" or ["a", "b"] */
static bool split_merge(const json_t *merge, const char *part[2], size_t n[2])
{
    if (json_is_string(merge)) {
        const char *text = json_string_value(merge);
        size_t length = json_string_length(merge);
        const char *space = memchr(text, ' ', length);
        if (!space)
            return false;
        part[0] = text;
        n[0] = (size_t)(space - text);
        part[1] = space + 1;
        n[1] = length - n[0] - 1;
        return !memchr(part[1], ' ', n[1]);
    }
    for (size_t i = 0; i < 2; i++) {
        const json_t *half = json_array_get(merge, i);
        if (!json_is_string(half))
            return false;
        part[i] = json_string_value(half);
        n[i] = json_string_length(half);
    }
    return json_array_size(merge) == 2;
}

static weir_err load_merge(struct loading *l, const json_t *merge, uint32_t rank)
{
    const struct vocab *v = &l->t->vocab;
    const char *part[2];
    size_t n[2], n_left = 0, n_right = 0;
    uint32_t left = VOCAB_NONE, right = VOCAB_NONE, both = VOCAB_NONE;
    if (!split_merge(merge, part, n))
        return loading_corrupt(l, "merges", "one is no pair");
    char *spelling = l->spelling;
    if (spell(l, part[0], n[0], &n_left)) {
        left = vocab_find(v, spelling, n_left);
        l->spelling = spelling + n_left; /* behind it: a merge is no longer than the file */
        if (spell(l, part[1], n[1], &n_right)) {
            right = vocab_find(v, l->spelling, n_right);
            both = vocab_find(v, spelling, n_left + n_right);
        }
        l->spelling = spelling;
    }
    if (left == VOCAB_NONE || right == VOCAB_NONE || both == VOCAB_NONE)
        return loading_corrupt(l, "merges", "one names a token that is not there");
    merges_add(&l->t->merges, left, right, rank, both);
    return WEIR_OK;
}

static weir_err load_merges(struct loading *l, const json_t *merges)
{
    size_t n = json_array_size(merges);
    if (!json_is_array(merges) || n > UINT32_MAX / 4)
        return loading_corrupt(l, "model", "it has no merges");
    weir_err err = merges_start(&l->t->merges, n, l->t->vocab.seed);
    for (size_t i = 0; !err && i < n; i++) {
        const json_t *merge = json_array_get(merges, i);
        const char *text = json_string_value(merge);
        if (text && strncmp(text, "#version", strlen("#version")) == 0)
            continue;
        err = load_merge(l, merge, (uint32_t)i);
    }
    return err;
}

/* ---- model ---- */

static bool is_empty(const json_t *text)
{
    return !text || json_is_null(text) || (json_is_string(text) && json_string_length(text) == 0);
}

static weir_err check_model(struct loading *l, const json_t *model)
{
    const json_t *dropout = json_object_get(model, "dropout");
    const char *type = json_string_value(json_object_get(model, "type"));
    if (!json_is_object(model))
        return loading_corrupt(l, "model", "there is none");
    if (type && strcmp(type, "BPE") != 0)
        return loading_unsupported(l, "the model", type);
    if (!type && !json_object_get(model, "merges"))
        return loading_unsupported(l, "a model", "without type and merges");
    if (dropout && !json_is_null(dropout) && json_number_value(dropout) != 0)
        return loading_unsupported(l, "the model's", "dropout");
    if (!is_empty(json_object_get(model, "continuing_subword_prefix")))
        return loading_unsupported(l, "the model's", "continuing_subword_prefix");
    if (!is_empty(json_object_get(model, "end_of_word_suffix")))
        return loading_unsupported(l, "the model's", "end_of_word_suffix");
    if (!json_is_object(json_object_get(model, "vocab")))
        return loading_corrupt(l, "model", "it has no vocabulary");
    return WEIR_OK;
}

weir_err load_model(struct loading *l)
{
    const json_t *model = json_object_get(l->root, "model");
    struct weir_tokenizer *t = l->t;
    weir_err err = check_model(l, model);
    if (!err)
        err = load_vocab(l, json_object_get(model, "vocab"));
    if (!err)
        err = load_merges(l, json_object_get(model, "merges"));
    if (err)
        return err;
    const json_t *unknown = json_object_get(model, "unk_token");
    size_t n;
    if (json_is_string(unknown) &&
        spell(l, json_string_value(unknown), json_string_length(unknown), &n))
        t->unknown = vocab_find(&t->vocab, l->spelling, n);
    t->ignore_merges = loading_flag(model, "ignore_merges", false);
    t->fuse_unknown = loading_flag(model, "fuse_unk", false);
    t->falls_back = loading_flag(model, "byte_fallback", false);
    return WEIR_OK;
}

/* ---- added tokens ---- */

/* The id is new, or the model's of the same spelling. */
static weir_err note_added(struct loading *l, const json_t *token)
{
    struct vocab *v = &l->t->vocab;
    const json_t *content = json_object_get(token, "content");
    const char *text = json_string_value(content);
    size_t n = json_string_length(content), n_spelling;
    uint32_t id = (uint32_t)json_integer_value(json_object_get(token, "id"));
    uint32_t found = VOCAB_NONE;
    if (spell(l, text, n, &n_spelling))
        found = vocab_find(v, l->spelling, n_spelling);
    if (found != VOCAB_NONE && found != id)
        return loading_corrupt(l, "added_tokens", "one has another id in the vocabulary");
    if (found == VOCAB_NONE && !vocab_set(v, id, text, n, 0))
        return loading_corrupt(l, "added_tokens", "one has the id of another token");
    v->flags[id] |= VOCAB_ADDED;
    if (loading_flag(token, "special", false))
        v->flags[id] |= VOCAB_SPECIAL;
    return WEIR_OK;
}

static weir_err put_added(struct loading *l, const json_t *token, struct added_set *set,
                          struct normer *normer)
{
    const json_t *content = json_object_get(token, "content");
    struct weir_text text = {.bytes = (char *)json_string_value(content),
                             .n = json_string_length(content)};
    struct added_token added = {
        .id = (uint32_t)json_integer_value(json_object_get(token, "id")),
        .special = loading_flag(token, "special", false),
        .left = loading_flag(token, "lstrip", false),
        .right = loading_flag(token, "rstrip", false),
        .single_word = loading_flag(token, "single_word", false),
    };
    if (set == &l->t->added_normalized) {
        weir_err err =
            norm_text(l->t->norm, l->t->n_norms, text.bytes, text.n, true, normer, &text);
        if (err == WEIR_ERR_UNSUPPORTED)
            return loading_unsupported(l, "a normalizer that", "makes text so long");
        if (err)
            return err;
    }
    if (text.n == 0)
        return WEIR_OK;
    if (!added_put(set, added, text.bytes, text.n))
        return loading_unsupported(l, "an added token of", "so many bytes");
    return WEIR_OK;
}

static weir_err fill_set(struct loading *l, const json_t *tokens, bool normalized,
                         struct added_set *set)
{
    struct normer normer = {0};
    size_t n = json_array_size(tokens);
    if (n > MAX_ADDED)
        return loading_unsupported(l, "a list of", "so many added tokens");
    weir_err err = added_start(set, n, n * ADDED_MAX_BYTES); /* what is not used costs nothing */
    for (size_t i = 0; !err && i < n; i++) {
        const json_t *token = json_array_get(tokens, i);
        bool special = loading_flag(token, "special", false);
        if (loading_flag(token, "normalized", !special) == normalized)
            err = put_added(l, token, set, &normer);
    }
    normer_free(&normer);
    if (!err && added_sort(set) != WEIR_OK)
        err = loading_corrupt(l, "added_tokens", "two are alike");
    return err;
}

weir_err load_added(struct loading *l)
{
    const json_t *tokens = json_object_get(l->root, "added_tokens");
    weir_err err = WEIR_OK;
    for (size_t i = 0; !err && i < json_array_size(tokens); i++)
        err = note_added(l, json_array_get(tokens, i));
    if (!err)
        err = fill_set(l, tokens, false, &l->t->added);
    if (!err)
        err = fill_set(l, tokens, true, &l->t->added_normalized);
    return err;
}
