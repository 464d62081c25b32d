/* merges.h - which two tokens join to which, and how early. */
#ifndef WEIR_INFER_MERGES_PRIVATE_H
#define WEIR_INFER_MERGES_PRIVATE_H

#include <stddef.h>
#include <stdint.h>

#include "codec/err.h"

struct merge {
    uint64_t pair; /* left << 32 | right; UINT64_MAX: a free slot */
    uint32_t rank; /* smaller is earlier */
    uint32_t id;   /* what the two become */
};

struct merges {
    struct merge *slot; /* mask + 1; at least a third of them are free */
    size_t mask;
    size_t n, most;
    uint64_t seed;
};

/* For `most` pairs; `seed`: any random number.  WEIR_ERR_NOMEM. */
WEIR_MUST_CHECK weir_err merges_start(struct merges *m, size_t most, uint64_t seed);

/* At most `most` times.  A pair that comes again has its last rank. */
void merges_add(struct merges *m, uint32_t left, uint32_t right, uint32_t rank, uint32_t id);

void merges_free(struct merges *m); /* a zeroed one is fine */

static inline size_t merges_place(const struct merges *m, uint64_t pair)
{
    uint64_t h = (pair ^ m->seed) * 0x9e3779b97f4a7c15u;
    h ^= h >> 32;
    h *= 0xd6e8feb86659fd93u;
    return (size_t)(h >> 32) & m->mask;
}

/* NULL: they do not join.  In the header, because encoding is little else. */
static inline const struct merge *merges_find(const struct merges *m, uint32_t left, uint32_t right)
{
    uint64_t pair = (uint64_t)left << 32 | right;
    for (size_t i = merges_place(m, pair);; i = (i + 1) & m->mask) {
        if (m->slot[i].pair == pair)
            return &m->slot[i];
        if (m->slot[i].pair == UINT64_MAX)
            return NULL;
    }
}

#endif
