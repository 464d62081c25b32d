#include "tokenizer_read.h"

#include <stdlib.h>
#include <string.h>

#include "gguf.h"

enum {
    MAX_GGUF_HEADER = 32 << 20,
    MAX_NAME = 64,
};

/* A GGUF vocabulary and what it is made of. */
struct vocab {
    struct weir_gguf_vocab v;
    char model[MAX_NAME], pre[MAX_NAME];
    struct weir_gguf_string *tokens, *merges;
    float *scores;
    int32_t *types;
};

static weir_err bad(struct weir_diag *diag, const char *key)
{
    weir_diag_set(diag, "GGUF: %s is not what it should be", key);
    return WEIR_ERR_CORRUPT;
}

/* Absent: the empty text. */
static weir_err read_name(const struct gguf *g, const char *key, char to[MAX_NAME],
                          struct weir_diag *diag)
{
    const struct gguf_pair *p = gguf_find(g, key);
    if (p && (p->type != GGUF_STRING || p->n >= MAX_NAME || memchr(p->at, 0, p->n)))
        return bad(diag, key);
    if (p)
        memcpy(to, p->at, p->n);
    return WEIR_OK;
}

/* Absent: NULL and 0.  Each string has its length in front of it. */
static weir_err read_strings(const struct gguf *g, const char *key, struct weir_gguf_string **out,
                             size_t *n, struct weir_diag *diag)
{
    const struct gguf_pair *p = gguf_find(g, key);
    if (!p)
        return WEIR_OK;
    if (p->type != GGUF_ARRAY || p->items != GGUF_STRING)
        return bad(diag, key);
    *out = calloc(p->n ? (size_t)p->n : 1, sizeof(**out)); /* p->n strings have been seen */
    if (!*out)
        return WEIR_ERR_NOMEM;
    const uint8_t *at = p->at;
    for (*n = 0; *n < p->n; ++*n) {
        uint64_t length;
        memcpy(&length, at, sizeof(length));
        at += sizeof(length);
        (*out)[*n] = (struct weir_gguf_string){(const char *)at, (size_t)length};
        at += length;
    }
    return WEIR_OK;
}

/* An array of n numbers of 4 bytes; absent: NULL. */
static weir_err read_numbers(const struct gguf *g, const char *key, enum gguf_type items, size_t n,
                             void **out, struct weir_diag *diag)
{
    const struct gguf_pair *p = gguf_find(g, key);
    if (!p)
        return WEIR_OK;
    if (p->type != GGUF_ARRAY || p->items != items || p->n != n)
        return bad(diag, key);
    *out = malloc(p->bytes ? p->bytes : 1);
    if (!*out)
        return WEIR_ERR_NOMEM;
    memcpy(*out, p->at, p->bytes);
    return WEIR_OK;
}

static int64_t id_of(const struct gguf *g, const char *key, size_t n_tokens)
{
    uint64_t id;
    return gguf_count(gguf_find(g, key), &id) && id < n_tokens ? (int64_t)id : -1;
}

static bool flag_of(const struct gguf *g, const char *key, bool otherwise)
{
    uint64_t v;
    return gguf_count(gguf_find(g, key), &v) ? v != 0 : otherwise;
}

static weir_err fill(const struct gguf *g, struct vocab *o, struct weir_diag *diag)
{
    void *scores = NULL, *types = NULL;
    weir_err err = read_name(g, "tokenizer.ggml.model", o->model, diag);
    if (!err)
        err = read_name(g, "tokenizer.ggml.pre", o->pre, diag);
    if (!err)
        err = read_strings(g, "tokenizer.ggml.tokens", &o->tokens, &o->v.n_tokens, diag);
    if (!err)
        err = read_strings(g, "tokenizer.ggml.merges", &o->merges, &o->v.n_merges, diag);
    if (!err)
        err = read_numbers(g, "tokenizer.ggml.scores", GGUF_FLOAT32, o->v.n_tokens, &scores, diag);
    o->scores = scores;
    if (!err)
        err = read_numbers(g, "tokenizer.ggml.token_type", GGUF_INT32, o->v.n_tokens, &types, diag);
    o->types = types;
    const bool llama = strcmp(o->model, "llama") == 0;
    o->v.model = o->model;
    o->v.pre = o->pre[0] ? o->pre : NULL;
    o->v.tokens = o->tokens;
    o->v.merges = o->merges;
    o->v.scores = llama ? o->scores : NULL;
    o->v.types = o->types;
    o->v.bos = id_of(g, "tokenizer.ggml.bos_token_id", o->v.n_tokens);
    o->v.eos = id_of(g, "tokenizer.ggml.eos_token_id", o->v.n_tokens);
    o->v.unk = id_of(g, "tokenizer.ggml.unknown_token_id", o->v.n_tokens);
    o->v.add_bos = flag_of(g, "tokenizer.ggml.add_bos_token", llama);
    o->v.add_eos = flag_of(g, "tokenizer.ggml.add_eos_token", false);
    o->v.add_space_prefix = flag_of(g, "tokenizer.ggml.add_space_prefix", llama);
    return err;
}

static weir_err from_header(const uint8_t *header, size_t n, struct weir_tokenizer **out,
                            struct weir_diag *diag)
{
    struct gguf g;
    struct vocab vocab = {.v = {.bos = -1}};
    weir_err err = gguf_read(header, n, &g, diag);
    if (err)
        return err;
    err = fill(&g, &vocab, diag);
    if (!err && !vocab.tokens) {
        weir_diag_set(diag, "the GGUF file has no vocabulary");
        err = WEIR_ERR_NOT_FOUND;
    }
    if (!err)
        err = weir_tokenizer_from_gguf(&vocab.v, out, diag);
    free(vocab.tokens);
    free(vocab.merges);
    free(vocab.scores);
    free(vocab.types);
    gguf_free(&g);
    return err;
}

weir_err weir_tokenizer_read(const struct weir_checkpoint *ck, struct weir_tokenizer **out,
                             struct weir_diag *diag)
{
    const char *gguf = weir_checkpoint_gguf(ck);
    const uint64_t wanted = gguf ? weir_checkpoint_gguf_header_bytes(ck) : UINT64_MAX;
    const size_t most = gguf ? MAX_GGUF_HEADER : WEIR_TOKENIZER_MAX_JSON;
    char *bytes;
    size_t n;
    weir_err err = weir_checkpoint_read_file(ck, gguf ? gguf : "tokenizer.json", wanted, most,
                                             &bytes, &n, diag);
    if (err)
        return err;
    err = gguf ? from_header((const uint8_t *)bytes, n, out, diag)
               : weir_tokenizer_from_json(bytes, n, out, diag);
    free(bytes);
    return err;
}
