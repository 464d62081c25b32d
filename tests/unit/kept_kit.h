/* kept_kit.h - what a pack that ended early leaves, in memory: the journal, and the store in its
 * tree. */
#ifndef WEIR_TESTS_KEPT_KIT_H
#define WEIR_TESTS_KEPT_KIT_H

#include "tree_kit.h"

struct kept {
    struct tree *tree;
    struct weir_pack_journal how;
    uint8_t *journal; /* room bytes */
    size_t n, room;
    size_t left_bytes;  /* of the store, by an earlier run */
    size_t synced_from; /* what sync() says: true from so many extents on ... */
    size_t n_synced, n_extents;
    long fail_call; /* the number of the call that fails, or TREE_NEVER */
    long n_calls;
    size_t resumed_journal, resumed_store;
};

static inline bool kept_fails(struct kept *k)
{
    return k->n_calls++ == k->fail_call;
}

static inline weir_err kept_read(void *self, uint64_t at, void *dst, size_t n)
{
    const struct kept *k = self;
    size_t there = k->tree->store_bytes > k->left_bytes ? k->tree->store_bytes : k->left_bytes;
    if (at > there || n > there - at)
        return WEIR_ERR_IO;
    memcpy(dst, k->tree->store + at, n);
    return WEIR_OK;
}

static inline weir_err kept_resume(void *self, uint64_t journal_bytes, uint64_t store_bytes)
{
    struct kept *k = self;
    cr_expect_leq(journal_bytes, k->n);
    cr_expect_leq(store_bytes, k->left_bytes);
    cr_expect_eq(k->tree->store_bytes, 0);
    if (kept_fails(k))
        return WEIR_ERR_NETWORK;
    k->n = k->resumed_journal = (size_t)journal_bytes;
    k->tree->store_bytes = k->left_bytes = k->resumed_store = (size_t)store_bytes;
    return WEIR_OK;
}

static inline weir_err kept_append(void *self, const void *bytes, size_t n)
{
    struct kept *k = self;
    if (kept_fails(k))
        return WEIR_ERR_NETWORK;
    if (n > k->room - k->n)
        abort();
    memcpy(k->journal + k->n, bytes, n);
    k->n += n;
    return WEIR_OK;
}

static inline weir_err kept_sync(void *self, bool *synced)
{
    struct kept *k = self;
    if (kept_fails(k))
        return WEIR_ERR_NETWORK;
    *synced = k->n_extents++ >= k->synced_from;
    k->n_synced += *synced;
    return WEIR_OK;
}

static inline void kept_init(struct kept *k, struct tree *t)
{
    *k = (struct kept){.tree = t, .room = 1 << 20, .fail_call = TREE_NEVER};
    k->journal = malloc(k->room);
    if (!k->journal)
        abort();
    k->synced_from = SIZE_MAX;
    k->how = (struct weir_pack_journal){.self = k,
                                        .input = {1, 2, 3},
                                        .read = kept_read,
                                        .resume = kept_resume,
                                        .append = kept_append,
                                        .sync = kept_sync};
    t->journal = &k->how;
}

static inline void kept_free(struct kept *k)
{
    k->tree->journal = NULL;
    free(k->journal);
}

/* Packs, going on from what is there. */
static inline weir_err kept_pack(struct kept *k)
{
    uint8_t *left = malloc(k->n + 1); /* exactly as long: a sanitizer sees what is read behind it */
    if (!left)
        abort();
    memcpy(left, k->journal, k->n);
    weir_source_from_memory(left, k->n, &k->how.left);
    k->n_calls = 0;
    k->n_extents = 0;
    weir_err err = tree_pack(k->tree);
    if (k->tree->store_bytes > k->left_bytes)
        k->left_bytes = k->tree->store_bytes;
    free(left);
    return err;
}

/* As if nothing had been packed. */
static inline void kept_forget(struct kept *k)
{
    k->n = k->left_bytes = 0;
}

#endif
