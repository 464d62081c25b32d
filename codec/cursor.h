/* cursor.h - little-endian numbers and runs of bytes read in order, never past the end.
 *
 * What is missing reads as zero (bytes: NULL) and sets `bad`, which stays set: a parser reads a
 * whole record and then looks at `bad` once.  And a number written. */
#ifndef WEIR_CODEC_CURSOR_PRIVATE_H
#define WEIR_CODEC_CURSOR_PRIVATE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct cursor {
    const uint8_t *bytes;
    size_t left; /* bytes not read yet */
    bool bad;
};

/* The next n bytes where they are; NULL if there are fewer. */
static inline const uint8_t *cursor_take(struct cursor *c, size_t n)
{
    if (c->bad || n > c->left) {
        c->bad = true;
        return NULL;
    }
    const uint8_t *taken = c->bytes;
    c->bytes += n;
    c->left -= n;
    return taken;
}

static inline uint64_t cursor_number(struct cursor *c, size_t n)
{
    const uint8_t *b = cursor_take(c, n);
    uint64_t value = 0;
    while (b && n)
        value = value << 8 | b[--n];
    return value;
}

static inline uint8_t cursor_u8(struct cursor *c)
{
    return (uint8_t)cursor_number(c, 1);
}

static inline uint16_t cursor_u16(struct cursor *c)
{
    return (uint16_t)cursor_number(c, 2);
}

static inline uint32_t cursor_u32(struct cursor *c)
{
    return (uint32_t)cursor_number(c, 4);
}

static inline uint64_t cursor_u64(struct cursor *c)
{
    return cursor_number(c, 8);
}

/* The low n bytes of it. */
static inline void put_number(uint8_t *to, uint64_t value, size_t n)
{
    for (size_t i = 0; i < n; i++, value >>= 8)
        to[i] = (uint8_t)value;
}

#endif
