/* coding_kit.h - the same random numbers every time, and parts and tables made from them, for the
 * tests of the tile codec. */
#ifndef WEIR_TESTS_CODING_KIT_H
#define WEIR_TESTS_CODING_KIT_H

#include <stdlib.h>
#include <string.h>

#include "codec/tile.h"

#define COUNT_OF(array) (sizeof(array) / sizeof((array)[0]))

enum { KERNEL_TEST_ROWS = 70 }; /* at a time, at most */

/* The kernels that run here. */
struct variants {
    const struct weir_kernels *at[3];
    size_t n; /* at[0] is scalar */
};

static inline struct variants variants_here(void)
{
    static const char *const more[] = {"avx2", "avx512"};
    struct variants v = {.at = {weir_kernels_named("scalar")}, .n = 1};
    if (!v.at[0])
        abort();
    for (size_t i = 0; i < COUNT_OF(more); i++) {
        const struct weir_kernels *k = weir_kernels_named(more[i]);
        if (k)
            v.at[v.n++] = k;
    }
    return v;
}

static inline uint64_t random_u64(uint64_t *state)
{
    *state ^= *state << 13;
    *state ^= *state >> 7;
    *state ^= *state << 17;
    return *state * 0x2545f4914f6cdd1du;
}

static inline uint32_t random_below(uint64_t *state, uint32_t n)
{
    return (uint32_t)((random_u64(state) >> 32) * n >> 32);
}

static inline void random_bytes(uint64_t *state, void *to, size_t n)
{
    uint8_t *at = to;
    for (; n >= 8; n -= 8, at += 8) {
        uint64_t v = random_u64(state);
        memcpy(at, &v, 8);
    }
    uint64_t v = random_u64(state);
    memcpy(at, &v, n);
}

/* Bytes of words between none and more than n_rows rows can take; odd ones too. */
static inline size_t some_word_bytes(uint64_t *random, size_t n_rows)
{
    size_t most = (size_t)2 * WEIR_LANES * n_rows;
    return random_below(random, 2) ? most : random_below(random, (uint32_t)most + 200);
}

static inline void *must_alloc(size_t n)
{
    void *p = malloc(n ? n : 1);
    if (!p)
        abort();
    return p;
}

enum table_kind {
    TABLE_SKEWED, /* geometric, the middle most often */
    TABLE_FLAT,
    TABLE_HOLES, /* a third of the indices, index 0 not among them */
    TABLE_TWO,   /* 4095 of index 0, 1 of the last */
    TABLE_LAST,  /* 4095 of the last index, 1 of index 0 */
    N_TABLE_KINDS,
};

/* The highest index that base and symbol_bits leave room for. */
static inline uint32_t part_last_index(const struct weir_part *p)
{
    uint32_t last = (1u << p->symbol_bits) - 1 - p->base;
    return last < 255 ? last : 255;
}

/* Frequencies for a part whose symbol_bits and base are set (base + 1 fits). */
static inline void part_fill_freq(struct weir_part *p, enum table_kind kind, uint64_t *random)
{
    uint32_t last = part_last_index(p), left = 4096;
    memset(p->freq, 0, sizeof(p->freq));
    if (kind == TABLE_TWO || kind == TABLE_LAST) {
        p->freq[0] = kind == TABLE_TWO ? 4095 : 1;
        p->freq[last] = kind == TABLE_TWO ? 1 : 4095;
        return;
    }
    for (uint32_t j = 0; j <= last; j++) {
        bool take = kind != TABLE_HOLES || last < 4 || (j > 0 && random_below(random, 3) == 0);
        if (take || (kind == TABLE_HOLES && j + 2 > last)) {
            p->freq[j] = 1;
            left--;
        }
    }
    uint32_t share = kind == TABLE_SKEWED ? 3 : 300;
    for (uint32_t step = 0; left > 0; step++) {
        uint32_t j = kind == TABLE_SKEWED ? (last / 2 + step * 7) % (last + 1) : step % (last + 1);
        uint32_t n = 1 + left / share;
        if (p->freq[j] == 0 || p->freq[j] + n > 4095)
            continue;
        p->freq[j] = (uint16_t)(p->freq[j] + n);
        left -= n;
    }
}

/* One part with one item per element; room for the coding is the caller's to free(). */
static inline struct weir_coding *coding_of_one(const struct weir_part *part)
{
    struct weir_coding *coding = must_alloc(weir_coding_bytes(1));
    coding->elem_bytes = (uint16_t)(part->count * part->item_bytes);
    coding->n_parts = 1;
    coding->transform = (struct weir_transform){0};
    coding->part[0] = *part;
    return coding;
}

/* Walks through parts of every item width, every number of raw bits, symbol bits and dropped bits,
 * with the sign first or not.  A part_walk of zeros starts; false after the last. */
struct part_walk {
    unsigned width_log2, sign, symbol_bits, drop;
    unsigned n; /* parts so far */
};

static inline bool part_walk_next(struct part_walk *w, struct weir_part *p, uint64_t *random)
{
    for (; w->width_log2 < 4; w->width_log2++, w->sign = 0)
        for (; w->sign < 2; w->sign++, w->symbol_bits = 0)
            for (; w->symbol_bits < 16; w->symbol_bits++, w->drop = 0) {
                unsigned width = 8u << w->width_log2, s = w->symbol_bits + 1;
                if (w->drop + s + w->sign > width)
                    continue;
                uint32_t last_base = (1u << s) - 2;
                *p = (struct weir_part){.count = 1,
                                        .item_bytes = (uint8_t)(width / 8),
                                        .sign_first = w->sign,
                                        .drop_bits = (uint8_t)w->drop,
                                        .symbol_bits = (uint8_t)s};
                if (w->n % 3)
                    p->base = (uint16_t)(w->n % 3 == 1 ? random_below(random, last_base + 1)
                                                       : last_base - last_base / 4);
                part_fill_freq(p, (enum table_kind)(w->n % N_TABLE_KINDS), random);
                w->n++;
                w->drop++;
                return true;
            }
    return false;
}

#endif
