/* gguf_vocab.h - the tokenizer.ggml.* keys of a GGUF file that is trusted, for tests. */
#ifndef WEIR_TESTS_GGUF_VOCAB_H
#define WEIR_TESTS_GGUF_VOCAB_H

#include <criterion/criterion.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "infer/tokenizer.h"

enum { /* types of values */
       GGUF_STRING = 8,
       GGUF_ARRAY = 9,
};

struct gguf {
    const char *at, *end;
    struct weir_gguf_vocab vocab;
    char model[32], pre[32];
};

static inline uint64_t gguf_number(struct gguf *g, size_t n)
{
    uint64_t value = 0;
    cr_assert_leq(n, (size_t)(g->end - g->at));
    memcpy(&value, g->at, n);
    g->at += n;
    return value;
}

static inline struct weir_gguf_string gguf_string(struct gguf *g)
{
    size_t n = gguf_number(g, 8);
    struct weir_gguf_string s = {g->at, n};
    cr_assert_leq(n, (size_t)(g->end - g->at));
    g->at += n;
    return s;
}

static inline size_t gguf_size(uint32_t type)
{
    static const size_t sizes[] = {1, 1, 2, 2, 4, 4, 4, 1, 0, 0, 8, 8, 8};
    cr_assert_lt(type, sizeof(sizes) / sizeof(sizes[0]));
    return sizes[type];
}

static inline bool gguf_is(struct weir_gguf_string key, const char *name)
{
    static const char prefix[] = "tokenizer.ggml.";
    size_t n = strlen(prefix);
    return key.n == n + strlen(name) && memcmp(key.bytes, prefix, n) == 0 &&
           memcmp(key.bytes + n, name, strlen(name)) == 0;
}

static inline void *gguf_copy(const void *bytes, size_t n)
{
    void *copy = malloc(n ? n : 1);
    cr_assert_not_null(copy);
    memcpy(copy, bytes, n);
    return copy;
}

static inline void gguf_array(struct gguf *g, struct weir_gguf_string key)
{
    uint32_t type = (uint32_t)gguf_number(g, 4);
    size_t n = gguf_number(g, 8);
    if (type != GGUF_STRING) {
        cr_assert_leq(n, (size_t)(g->end - g->at) / gguf_size(type));
        if (gguf_is(key, "scores"))
            g->vocab.scores = gguf_copy(g->at, n * sizeof(float));
        if (gguf_is(key, "token_type"))
            g->vocab.types = gguf_copy(g->at, n * sizeof(int32_t));
        g->at += n * gguf_size(type);
        return;
    }
    cr_assert_leq(n, (size_t)(g->end - g->at) / 8);
    struct weir_gguf_string *strings = calloc(n + 1, sizeof(*strings));
    cr_assert_not_null(strings);
    for (size_t i = 0; i < n; i++)
        strings[i] = gguf_string(g);
    if (gguf_is(key, "tokens")) {
        g->vocab.tokens = strings;
        g->vocab.n_tokens = n;
    } else if (gguf_is(key, "merges")) {
        g->vocab.merges = strings;
        g->vocab.n_merges = n;
    } else {
        free(strings);
    }
}

static inline void gguf_name(struct weir_gguf_string s, char to[32])
{
    cr_assert_lt(s.n, 32);
    memcpy(to, s.bytes, s.n);
    to[s.n] = '\0';
}

static inline void gguf_value(struct gguf *g, struct weir_gguf_string key, uint32_t type)
{
    if (type == GGUF_ARRAY) {
        gguf_array(g, key);
        return;
    }
    if (type == GGUF_STRING) {
        struct weir_gguf_string s = gguf_string(g);
        if (gguf_is(key, "model"))
            gguf_name(s, g->model);
        if (gguf_is(key, "pre"))
            gguf_name(s, g->pre);
        return;
    }
    int64_t value = (int64_t)gguf_number(g, gguf_size(type));
    if (gguf_is(key, "bos_token_id"))
        g->vocab.bos = value;
    if (gguf_is(key, "eos_token_id"))
        g->vocab.eos = value;
    if (gguf_is(key, "unknown_token_id"))
        g->vocab.unk = value;
    if (gguf_is(key, "add_bos_token"))
        g->vocab.add_bos = value != 0;
    if (gguf_is(key, "add_eos_token"))
        g->vocab.add_eos = value != 0;
    if (gguf_is(key, "add_space_prefix"))
        g->vocab.add_space_prefix = value != 0;
}

/* `bytes` must outlive `g`, which is freed with gguf_vocab_free(). */
static inline void gguf_vocab_read(const char *bytes, size_t n, struct gguf *g)
{
    *g = (struct gguf){.at = bytes, .end = bytes + n};
    g->vocab.bos = g->vocab.eos = g->vocab.unk = -1;
    g->vocab.add_space_prefix = g->vocab.add_bos = true; /* where a file says nothing */
    cr_assert_eq(gguf_number(g, 4), 0x46554747);
    cr_assert_geq(gguf_number(g, 4), 2);
    gguf_number(g, 8);
    for (uint64_t left = gguf_number(g, 8); left > 0; left--) {
        struct weir_gguf_string key = gguf_string(g);
        gguf_value(g, key, (uint32_t)gguf_number(g, 4));
    }
    g->vocab.model = g->model;
    g->vocab.pre = g->pre[0] ? g->pre : NULL;
}

static inline void gguf_vocab_free(struct gguf *g)
{
    free((void *)g->vocab.tokens);
    free((void *)g->vocab.merges);
    free((void *)g->vocab.scores);
    free((void *)g->vocab.types);
}

#endif
