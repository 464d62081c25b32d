/* output.h - values as people and programs read them. */
#ifndef WEIR_CLI_OUTPUT_H
#define WEIR_CLI_OUTPUT_H

#include <jansson.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include "codec/store.h"

struct cli;

/* "1.23 GB": decimal units, three digits.  Returns buf. */
enum { HUMAN_BYTES = 24 };
char *human_bytes(char buf[HUMAN_BYTES], double bytes);

/* "1:23:45", "1:23".  Returns buf. */
char *human_time(char buf[HUMAN_BYTES], double seconds);

enum { HEX_DIGEST = 2 * WEIR_DIGEST_BYTES + 1 };
char *hex_digest(char buf[HEX_DIGEST], const uint8_t digest[WEIR_DIGEST_BYTES]);

/* Names come from strangers: control characters and bytes that are not UTF-8 become \xNN, a
 * backslash "\\". */
void print_escaped(FILE *to, const char *text);

/* The same on a terminal; the very bytes elsewhere, for the next program in a pipe. */
void print_name(FILE *to, const char *name);

/* A JSON string; what is not UTF-8 becomes U+FFFD.  NULL: out of memory. */
json_t *json_text(const char *text);

/* plain / stored; 0 when nothing is stored. */
double ratio_of(uint64_t plain, uint64_t stored);

/* Prints *o on cli->out and releases it; NULL counts as out of memory.  Returns an exit code. */
int print_json(const struct cli *cli, json_t *o);

/* Seconds of a clock that never goes back. */
double now_seconds(void);

#endif
