/* bytes.h - a growing run of bytes for tests that write a format by hand, little-endian. */
#ifndef WEIR_TESTS_BYTES_H
#define WEIR_TESTS_BYTES_H

#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

struct bytes {
    uint8_t *at;
    size_t n, room;
};

static inline void bytes_put(struct bytes *b, const void *from, size_t n)
{
    if (n > b->room - b->n) {
        b->room = 2 * b->room + n + 64;
        uint8_t *bigger = realloc(b->at, b->room);
        if (!bigger)
            abort();
        b->at = bigger;
    }
    if (n)
        memcpy(b->at + b->n, from, n);
    b->n += n;
}

/* Overwrites n bytes at `at` with `value`. */
static inline void bytes_set(uint8_t *at, uint64_t value, size_t n)
{
    for (size_t i = 0; i < n; i++)
        at[i] = (uint8_t)(value >> (8 * i));
}

static inline void bytes_number(struct bytes *b, uint64_t value, size_t n)
{
    uint8_t raw[8];
    bytes_set(raw, value, n);
    bytes_put(b, raw, n);
}

static inline void bytes_zeros(struct bytes *b, size_t n)
{
    static const uint8_t zeros[4096];
    for (; n > sizeof(zeros); n -= sizeof(zeros))
        bytes_put(b, zeros, sizeof(zeros));
    bytes_put(b, zeros, n);
}

/* Text behind its length of length_bytes bytes. */
static inline void bytes_text(struct bytes *b, const char *text, size_t length_bytes)
{
    bytes_number(b, strlen(text), length_bytes);
    bytes_put(b, text, strlen(text));
}

/* A copy of n bytes that ends where its allocation ends, so that ASan sees a read past it.
 * Freed with free(). */
static inline uint8_t *bytes_exact(const void *from, size_t n)
{
    uint8_t *copy = malloc(n ? n : 1);
    if (!copy)
        abort();
    if (n)
        memcpy(copy, from, n);
    return copy;
}

static inline void bytes_free(struct bytes *b)
{
    free(b->at);
    *b = (struct bytes){0};
}

#endif
