/* arena.h - memory that is freed all at once, under a ceiling set when it is made.
 *
 * What is parsed from hostile bytes is made of many small pieces; here they cost neither a free()
 * each nor more than the ceiling.  For one thread at a time. */
#ifndef WEIR_CODEC_ARENA_PRIVATE_H
#define WEIR_CODEC_ARENA_PRIVATE_H

#include <stddef.h>
#include <stdint.h>

#include "codec/err.h"

struct arena;

/* `ceiling`: bytes that the arena may take from malloc.  NULL: out of memory. */
struct arena *arena_new(uint64_t ceiling);
void arena_free(struct arena *arena); /* NULL is fine */

/* n zeroed items of item_bytes bytes, aligned to 8; n may be 0.  NULL: see arena_error(). */
void *arena_items(struct arena *arena, size_t n, size_t item_bytes);

/* A copy of n bytes with a NUL behind them.  NULL: see arena_error(). */
char *arena_string(struct arena *arena, const uint8_t *bytes, size_t n);

/* Why the last request gave NULL: WEIR_ERR_NOMEM, or WEIR_ERR_CORRUPT for the ceiling. */
weir_err arena_error(const struct arena *arena);

#endif
