#include "arena.h"

#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

enum {
    ALIGN = 8,
    CHUNK_BYTES = 64 << 10,
    ALONE_BYTES = 16 << 10, /* bigger requests get a chunk of their own: little is left unused */
};

/* Items grow from the front, strings, which need no alignment, from the back. */
struct chunk {
    struct chunk *next;
    size_t front, back; /* the free bytes are bytes[front .. back) */
    _Alignas(ALIGN) uint8_t bytes[];
};

struct arena {
    struct chunk *chunks; /* small requests are served by the first */
    uint64_t left;        /* of the ceiling, bytes */
    weir_err error;
};

struct arena *arena_new(uint64_t ceiling)
{
    struct arena *arena = calloc(1, sizeof(*arena));
    if (arena)
        arena->left = ceiling;
    return arena;
}

void arena_free(struct arena *arena)
{
    if (!arena)
        return;
    while (arena->chunks) {
        struct chunk *next = arena->chunks->next;
        free(arena->chunks);
        arena->chunks = next;
    }
    free(arena);
}

weir_err arena_error(const struct arena *arena)
{
    return arena->error;
}

/* A new chunk with `bytes` free bytes, first in the list or, when one request fills it, second:
 * what is first may still have room. */
static struct chunk *add_chunk(struct arena *arena, size_t bytes, bool alone)
{
    size_t cost = sizeof(struct chunk) + bytes;
    if (cost > arena->left) {
        arena->error = WEIR_ERR_CORRUPT;
        return NULL;
    }
    struct chunk *chunk = calloc(1, cost);
    if (!chunk) {
        arena->error = WEIR_ERR_NOMEM;
        return NULL;
    }
    arena->left -= cost;
    chunk->back = bytes;
    struct chunk **place = alone && arena->chunks ? &arena->chunks->next : &arena->chunks;
    chunk->next = *place;
    *place = chunk;
    return chunk;
}

static struct chunk *chunk_with(struct arena *arena, size_t n)
{
    if (n > ALONE_BYTES)
        return add_chunk(arena, n, true);
    if (arena->chunks && n <= arena->chunks->back - arena->chunks->front)
        return arena->chunks;
    return add_chunk(arena, CHUNK_BYTES, false);
}

void *arena_items(struct arena *arena, size_t n, size_t item_bytes)
{
    size_t most = SIZE_MAX / 2;
    if (item_bytes && n > most / item_bytes) {
        arena->error = WEIR_ERR_CORRUPT;
        return NULL;
    }
    size_t bytes = (n * item_bytes + ALIGN - 1) / ALIGN * ALIGN;
    struct chunk *chunk = chunk_with(arena, bytes);
    if (!chunk)
        return NULL;
    void *items = chunk->bytes + chunk->front;
    chunk->front += bytes;
    return items;
}

char *arena_string(struct arena *arena, const uint8_t *bytes, size_t n)
{
    struct chunk *chunk = chunk_with(arena, n + 1);
    if (!chunk)
        return NULL;
    chunk->back -= n + 1;
    char *string = (char *)(chunk->bytes + chunk->back);
    memcpy(string, bytes, n);
    string[n] = '\0';
    return string;
}
