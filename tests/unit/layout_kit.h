/* layout_kit.h - hand-made safetensors and GGUF files, and what was found in them as a line of
 * text.
 *
 * For the tests of weir_layout_find() only. */
#ifndef WEIR_TESTS_LAYOUT_KIT_H
#define WEIR_TESTS_LAYOUT_KIT_H

#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../fuzz/layout_cover.h"

/* ---- files, byte by byte ---- */

struct bytes {
    uint8_t at[1 << 18];
    size_t n;
};

static inline void put(struct bytes *b, const void *from, size_t n)
{
    cr_assert_leq(n, sizeof(b->at) - b->n, "the test's buffer is too small");
    if (n)
        memcpy(b->at + b->n, from, n);
    b->n += n;
}

static inline void put_uint(struct bytes *b, uint64_t v, size_t n)
{
    for (size_t i = 0; i < n; i++, v >>= 8)
        put(b, &(uint8_t){(uint8_t)v}, 1);
}

static inline void put_zeros(struct bytes *b, size_t n)
{
    while (n-- > 0)
        put_uint(b, 0, 1);
}

/* GGUF's form of a string. */
static inline void put_string(struct bytes *b, const char *text)
{
    put_uint(b, strlen(text), 8);
    put(b, text, strlen(text));
}

static inline struct bytes *new_bytes(void)
{
    struct bytes *b = calloc(1, sizeof(*b));
    cr_assert_not_null(b);
    return b;
}

/* A header in the tests' shorthand: ' stands for ", <a BF16 2,3 0 12> for the entry of tensor a. */
static inline void put_json(struct bytes *b, const char *text)
{
    static const char *const between[] = {
        "\"", "\":{\"dtype\":\"", "\",\"shape\":[", "],\"data_offsets\":[", ",", "]}"};
    size_t field = 0; /* of an entry, from 1 on; 0: outside */
    for (; *text; text++) {
        bool next = *text == '<' || *text == '>' || (*text == ' ' && field);
        if (next) {
            put(b, between[field], strlen(between[field]));
            field = *text == '>' ? 0 : field + 1;
        } else if (*text != '-' || !field) {
            put(b, *text == '\'' ? "\"" : text, 1);
        }
    }
}

/* Returns the bytes of the header. */
static inline size_t make_safetensors(struct bytes *b, const char *json, size_t n_data)
{
    b->n = 0;
    put_uint(b, 0, 8);
    put_json(b, json);
    size_t n_header = b->n;
    for (size_t i = 0; i < 8; i++)
        b->at[i] = (uint8_t)((n_header - 8) >> 8 * i);
    put_zeros(b, n_data);
    return n_header;
}

/* ---- GGUF ---- */

enum {
    F32 = 0,
    Q4_0 = 2,
    Q8_0 = 8,
    BF16 = 30,
};

struct gguf_tensor {
    const char *name;
    uint64_t dim[5]; /* innermost first, as in the file */
    uint32_t n_dims;
    uint32_t type;
    uint64_t offset;
};

struct gguf_case {
    const char *label;
    uint32_t version;
    uint32_t alignment; /* 0: not said */
    struct gguf_tensor tensor[3];
    size_t n_tensors;
    size_t n_data;
    const char *parts; /* after "gguf: N", N the bytes before the data; NULL: opaque */
};

static inline void put_gguf_start(struct bytes *b, uint32_t version, uint64_t n_tensors,
                                  uint64_t n_pairs)
{
    b->n = 0;
    put(b, "GGUF", 4);
    put_uint(b, version, 4);
    put_uint(b, n_tensors, 8);
    put_uint(b, n_pairs, 8);
}

static inline void put_tensor(struct bytes *b, const struct gguf_tensor *t)
{
    put_string(b, t->name);
    put_uint(b, t->n_dims, 4);
    for (uint32_t i = 0; i < t->n_dims; i++)
        put_uint(b, t->dim[i], 8);
    put_uint(b, t->type, 4);
    put_uint(b, t->offset, 8);
}

/* Returns the bytes before the data. */
static inline size_t make_gguf(struct bytes *b, const struct gguf_case *c)
{
    put_gguf_start(b, c->version, c->n_tensors, c->alignment ? 1 : 0);
    if (c->alignment) {
        put_string(b, "general.alignment");
        put_uint(b, 4, 4);
        put_uint(b, c->alignment, 4);
    }
    for (size_t i = 0; i < c->n_tensors; i++)
        put_tensor(b, &c->tensor[i]);
    size_t alignment = c->alignment ? c->alignment : 32;
    while (c->n_tensors && b->n % alignment)
        put_uint(b, 0, 1);
    size_t n_header = b->n;
    put_zeros(b, c->n_data);
    return n_header;
}

/* One pair of every kind, arrays of each, and arrays in arrays; then a tensor. */
static inline void make_gguf_with_pairs(struct bytes *b, unsigned depth)
{
    static const uint8_t bytes[13] = {1, 1, 2, 2, 4, 4, 4, 1, 0, 0, 8, 8, 8};
    put_gguf_start(b, 3, 1, 13 + 13 + 1);
    for (uint32_t type = 0; type < 13; type++) {
        put_string(b, "a.single.value.18"); /* as long as general.alignment */
        put_uint(b, type == 9 ? 8 : type, 4);
        if (bytes[type])
            put_zeros(b, bytes[type]);
        else
            put_string(b, "text");
        put_string(b, "several");
        put_uint(b, 9, 4);
        put_uint(b, type == 9 ? 8 : type, 4);
        put_uint(b, 3, 8);
        for (int i = 0; i < 3; i++) {
            if (bytes[type])
                put_zeros(b, bytes[type]);
            else
                put_string(b, "");
        }
    }
    put_string(b, "deep");
    put_uint(b, 9, 4);
    for (unsigned i = 1; i < depth; i++) {
        put_uint(b, 9, 4);
        put_uint(b, 1, 8);
    }
    put_uint(b, 0, 4);
    put_uint(b, 2, 8);
    put_zeros(b, 2);
    put_tensor(b, &(struct gguf_tensor){"a", {8}, 1, F32, 0});
    while (b->n % 32)
        put_uint(b, 0, 1);
    put_zeros(b, 32);
}

/* ---- looking at what was found ---- */

/* The file lies in a heap block of its exact size, so that ASan sees the first byte read past it.
 */
static inline struct weir_layout *find(const void *bytes, size_t n, const char *path)
{
    struct weir_source src;
    struct weir_layout *layout = NULL;
    uint8_t *copy = malloc(n ? n : 1);
    cr_assert_not_null(copy);
    if (n)
        memcpy(copy, bytes, n);
    weir_source_from_memory(copy, n, &src);
    cr_assert_eq(weir_layout_find(&src, path, &layout), WEIR_OK);
    free(copy);
    const char *broken = layout_broken_rule(layout, n);
    cr_assert_null(broken, "%s of %zu bytes: %s", path, n, broken ? broken : "");
    return layout;
}

/* One line: "gguf: 96 | a BF16 [2,3] 12 | ...".  Opaque runs are their bytes only. */
static inline void describe(const struct weir_layout *layout, char *out, size_t room)
{
    FILE *f = fmemopen(out, room, "w");
    cr_assert_not_null(f);
    fprintf(f, "%s:", layout->format);
    for (size_t i = 0; i < layout->n_parts; i++) {
        const struct weir_layout_part *part = &layout->part[i];
        fputs(i ? " | " : " ", f);
        if (part->is_tensor) {
            fprintf(f, "%s %s [", part->tensor.name, part->tensor.dtype);
            for (uint8_t d = 0; d < part->tensor.n_dims; d++)
                fprintf(f, "%s%ju", d ? "," : "", (uintmax_t)part->tensor.dim[d]);
            fputs("] ", f);
        }
        fprintf(f, "%ju", (uintmax_t)part->bytes);
    }
    fclose(f);
}

/* "1x2e5 16x1": items x bytes, e and the exponent's bits of a float. */
static inline void describe_elements(const struct weir_elements *e, char *out, size_t room)
{
    FILE *f = fmemopen(out, room, "w");
    cr_assert_not_null(f);
    for (uint8_t i = 0; i < e->n_parts; i++) {
        fprintf(f, "%s%ux%u", i ? " " : "", e->part[i].count, e->part[i].item_bytes);
        if (e->part[i].is_float)
            fprintf(f, "e%u", e->part[i].exponent_bits);
    }
    fclose(f);
}

static inline void expect(const struct bytes *b, const char *path, const char *wanted,
                          const char *label)
{
    char text[1024];
    struct weir_layout *layout = find(b->at, b->n, path);
    describe(layout, text, sizeof(text));
    cr_expect_str_eq(text, wanted, "%s:\n     got %s\n  wanted %s", label, text, wanted);
    weir_layout_free(layout);
}

#endif
