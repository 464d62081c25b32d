#include "gguf.h"

#include <stdlib.h>
#include <string.h>

enum {
    MAX_DEPTH = 4, /* of arrays of arrays */
    N_TYPES = 13,
};

static const uint8_t type_bytes[N_TYPES] = {1, 1, 2, 2, 4, 4, 4, 1, 0, 0, 8, 8, 8};

/* What is left of the bytes; once `bad`, everything reads as nothing. */
struct rest {
    const uint8_t *at;
    size_t left;
    bool bad;
};

static const uint8_t *take(struct rest *r, uint64_t n)
{
    const uint8_t *at = r->at;
    if (r->bad || n > r->left) {
        r->bad = true;
        return NULL;
    }
    r->at += n;
    r->left -= (size_t)n;
    return at;
}

static uint64_t number(const uint8_t *at, size_t n)
{
    uint64_t v = 0;
    while (n-- > 0)
        v = v << 8 | at[n];
    return v;
}

static uint64_t take_number(struct rest *r, size_t n)
{
    const uint8_t *at = take(r, n);
    return at ? number(at, n) : 0;
}

static void skip_items(struct rest *r, uint64_t type, uint64_t n, int depth)
{
    if (type >= N_TYPES || depth > MAX_DEPTH) {
        r->bad = true;
        return;
    }
    if (type_bytes[type]) {
        if (n > r->left / type_bytes[type])
            r->bad = true;
        else
            (void)take(r, n * type_bytes[type]);
        return;
    }
    /* Each of them takes bytes, so a huge n ends where the bytes do. */
    for (uint64_t i = 0; i < n && !r->bad; i++) {
        if (type == GGUF_STRING) {
            (void)take(r, take_number(r, 8));
        } else {
            uint64_t inner = take_number(r, 4);
            skip_items(r, inner, take_number(r, 8), depth + 1);
        }
    }
}

static bool read_pair(struct rest *r, struct gguf_pair *p)
{
    uint64_t n_key = take_number(r, 8);
    p->key = (const char *)take(r, n_key);
    uint64_t type = take_number(r, 4);
    uint64_t items = type;
    p->n_key = (size_t)n_key;
    p->n = 1;
    if (type == GGUF_ARRAY)
        items = take_number(r, 4);
    if (type == GGUF_ARRAY || type == GGUF_STRING)
        p->n = take_number(r, 8);
    if (r->bad || type >= N_TYPES || items >= N_TYPES)
        return false;
    p->type = (enum gguf_type)type;
    p->items = (enum gguf_type)items;
    p->at = r->at;
    if (type == GGUF_STRING)
        (void)take(r, p->n);
    else
        skip_items(r, items, p->n, 1);
    if (r->bad)
        return false;
    p->bytes = (size_t)(r->at - p->at);
    return true;
}

static bool same_key(const struct gguf_pair *p, const char *key, size_t n)
{
    return p->n_key == n && memcmp(p->key, key, n) == 0;
}

static weir_err read_pairs(struct rest *r, struct gguf *g, size_t n, struct weir_diag *diag)
{
    for (; g->n_pairs < n; g->n_pairs++) {
        struct gguf_pair *p = &g->pair[g->n_pairs];
        if (!read_pair(r, p)) {
            weir_diag_set(diag, "GGUF: pair %zu of %zu is damaged", g->n_pairs, n);
            return WEIR_ERR_CORRUPT;
        }
        for (size_t i = 0; i < g->n_pairs; i++) {
            if (same_key(&g->pair[i], p->key, p->n_key)) {
                weir_diag_set(diag, "GGUF: two values of %.*s", (int)(p->n_key & 255), p->key);
                return WEIR_ERR_CORRUPT;
            }
        }
    }
    return WEIR_OK;
}

weir_err gguf_read(const uint8_t *bytes, size_t n, struct gguf *out, struct weir_diag *diag)
{
    struct rest r = {bytes, n, false};
    const uint8_t *magic = take(&r, 4);
    uint64_t version = take_number(&r, 4);
    (void)take_number(&r, 8); /* tensors */
    uint64_t n_pairs = take_number(&r, 8);
    if (r.bad || memcmp(magic, "GGUF", 4) != 0) {
        weir_diag_set(diag, "not a GGUF file");
        return WEIR_ERR_CORRUPT;
    }
    if ((version != 2 && version != 3) || n_pairs > GGUF_MAX_PAIRS) {
        weir_diag_set(diag, "GGUF version %llu with %llu pairs", (unsigned long long)version,
                      (unsigned long long)n_pairs);
        return WEIR_ERR_UNSUPPORTED;
    }
    struct gguf g = {0, calloc(n_pairs ? (size_t)n_pairs : 1, sizeof(*g.pair))};
    if (!g.pair)
        return WEIR_ERR_NOMEM;
    weir_err err = read_pairs(&r, &g, (size_t)n_pairs, diag);
    if (err)
        gguf_free(&g);
    else
        *out = g;
    return err;
}

void gguf_free(struct gguf *g)
{
    free(g->pair);
    *g = (struct gguf){0};
}

const struct gguf_pair *gguf_find(const struct gguf *g, const char *key)
{
    for (size_t i = 0; i < g->n_pairs; i++)
        if (same_key(&g->pair[i], key, strlen(key)))
            return &g->pair[i];
    return NULL;
}

static bool is_signed(enum gguf_type type)
{
    return type == GGUF_INT8 || type == GGUF_INT16 || type == GGUF_INT32 || type == GGUF_INT64;
}

bool gguf_count(const struct gguf_pair *p, uint64_t *out)
{
    if (!p || p->type == GGUF_FLOAT32 || p->type == GGUF_FLOAT64 || p->type == GGUF_STRING ||
        p->type == GGUF_ARRAY)
        return false;
    uint64_t value = number(p->at, p->bytes);
    if (p->bytes == 0 || (is_signed(p->type) && value >> (8 * p->bytes - 1)))
        return false;
    *out = value;
    return true;
}

bool gguf_real(const struct gguf_pair *p, double *out)
{
    uint64_t count;
    if (gguf_count(p, &count)) {
        *out = (double)count;
        return true;
    }
    if (p && p->type == GGUF_FLOAT32) {
        uint32_t bits = (uint32_t)number(p->at, 4);
        float f;
        memcpy(&f, &bits, sizeof(f));
        *out = (double)f;
        return true;
    }
    if (p && p->type == GGUF_FLOAT64) {
        uint64_t bits = number(p->at, 8);
        memcpy(out, &bits, sizeof(*out));
        return true;
    }
    return false;
}

bool gguf_is(const struct gguf_pair *p, const char *text)
{
    return p && p->type == GGUF_STRING && p->n == strlen(text) && memcmp(p->at, text, p->n) == 0;
}
