/* json.h - JSON read piece by piece, in place: what a safetensors header needs, and no tree.
 *
 * Strict RFC 8259 in UTF-8.  Allocates nothing, so a hostile text costs its own bytes and no more
 * (16 MiB of "{}" made a tree of 1.2 GiB), and running out of memory cannot look like a syntax
 * error. Strings are unescaped where they stand: the text is overwritten, and what
 * json_read_string() returned lives as long as it.
 *
 * Once something is wrong, `bad` stays set and every call fails. */
#ifndef WEIR_CODEC_JSON_PRIVATE_H
#define WEIR_CODEC_JSON_PRIVATE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct json {
    char *at, *end; /* what is left of the text, which need not end with a NUL */
    bool first;     /* no item of the innermost open array or object has been read yet */
    bool bad;
};

struct json json_read_start(char *text, size_t n);

/* Passes the opening bracket ('{' or '['), which must be next. */
bool json_read_open(struct json *j, char bracket);

/* True: another item follows, its comma passed.  False: the closing bracket ('}' or ']') was
 * passed, or the text is bad.  Every item must be read before the next call. */
bool json_read_item(struct json *j, char bracket);

/* A string, NUL-terminated; one that holds U+0000 is bad.  NULL if bad. */
char *json_read_string(struct json *j);

/* The name of an object's next item, and its colon. */
char *json_read_key(struct json *j);

/* A number that is a plain decimal integer of 64 bits.  (The fraction of one that is not is left
 * for the next call, which fails on it.) */
bool json_read_u64(struct json *j, uint64_t *out);

/* Any value, nested at most 32 deep. */
bool json_read_skip(struct json *j);

/* Nothing but white space is left. */
bool json_read_done(struct json *j);

#endif
