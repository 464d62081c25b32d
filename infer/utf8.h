/* utf8.h - the next character of bytes that may be anything. */
#ifndef WEIR_INFER_UTF8_PRIVATE_H
#define WEIR_INFER_UTF8_PRIVATE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum {
    UTF8_MAX = 4,            /* bytes of a character */
    UTF8_LOWER_ONE = 0x2581, /* U+2581, what SentencePiece writes for a space */
    UTF8_REPLACEMENT = 0xfffd,
};

struct utf8 {
    uint32_t point; /* of a good one */
    uint8_t n;      /* bytes; of a bad one: how many belong together, as U+FFFD stands for them */
    bool good;
    bool cut; /* bad, and it may become good if more bytes follow the n > 0 that are there */
};

/* Strict: no surrogates, nothing longer than needed, at most U+10FFFF.  n > 0. */
struct utf8 utf8_next(const char *text, size_t n);

/* How many bytes from the start are good characters. */
size_t utf8_good(const char *text, size_t n);

/* How many bytes from the start are no character, up to the next good one. */
size_t utf8_bad(const char *text, size_t n);

/* Bytes written to `to`, which has UTF8_MAX. */
size_t utf8_put(char *to, uint32_t point);

/* White_Space of Unicode. */
bool utf8_is_space(uint32_t point);

#endif
