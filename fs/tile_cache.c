/* One mutex guards everything but the bytes of the tiles: what is done under it is a hash lookup
 * and a few list links, some 100 ns, against tens of microseconds for decoding a tile. */
#include "fs/tile_cache.h"

#include <assert.h>
#include <pthread.h>
#include <stdlib.h>

#include "codec/tile.h"

enum {
    MAX_SLOTS = 1 << 24,
    ALIGN_BYTES = 4096,
    NONE = -1,
};

enum slot_state {
    SLOT_EMPTY,   /* no tile; unpinned, or failed and pinned by those who have yet to see it */
    SLOT_FILLING, /* pinned by the thread that fills and those who wait for it */
    SLOT_READY,
};

enum idle_kind {
    IDLE_USED,
    IDLE_SPENT,
    N_IDLE,
};

struct idle_list {
    int32_t oldest, newest;
    size_t n;
};

struct slot {
    uint64_t tile; /* valid while in the hash table: FILLING or READY */
    enum slot_state state;
    weir_err err;         /* why it is EMPTY, for those who waited */
    uint32_t n_pins;      /* a slot is in an idle list exactly when this is 0 */
    int32_t chain;        /* next in the same hash bucket */
    enum idle_kind list;  /* which */
    int32_t older, newer; /* in it */
    pthread_cond_t done;  /* the state is no longer FILLING */
};

struct weir_tile_cache {
    pthread_mutex_t lock;
    pthread_cond_t idle_again; /* a slot has come back to an idle list */
    size_t n_slots;
    unsigned bucket_bits;
    int32_t *bucket;               /* 1 << bucket_bits heads of chains */
    struct idle_list idle[N_IDLE]; /* empty slots are at the oldest end of IDLE_USED */
    struct slot *slot;
    uint8_t *bytes; /* n_slots * WEIR_TILE_BYTES */
    struct weir_tile_cache_counts counts;
};

/* ---- idle slots ---- */

static void idle_remove(struct weir_tile_cache *c, int32_t i)
{
    struct slot *s = &c->slot[i];
    struct idle_list *list = &c->idle[s->list];
    *(s->older == NONE ? &list->oldest : &c->slot[s->older].newer) = s->newer;
    *(s->newer == NONE ? &list->newest : &c->slot[s->newer].older) = s->older;
    list->n--;
}

static void idle_add_newest(struct weir_tile_cache *c, enum idle_kind which, int32_t i)
{
    struct slot *s = &c->slot[i];
    struct idle_list *list = &c->idle[which];
    s->list = which;
    s->older = list->newest;
    s->newer = NONE;
    *(list->newest == NONE ? &list->oldest : &c->slot[list->newest].newer) = i;
    list->newest = i;
    list->n++;
}

static void idle_add_oldest(struct weir_tile_cache *c, enum idle_kind which, int32_t i)
{
    struct slot *s = &c->slot[i];
    struct idle_list *list = &c->idle[which];
    s->list = which;
    s->newer = list->oldest;
    s->older = NONE;
    *(list->oldest == NONE ? &list->newest : &c->slot[list->oldest].older) = i;
    list->oldest = i;
    list->n++;
}

/* The slot to take next; NONE if all are pinned. */
static int32_t idle_first(const struct weir_tile_cache *c)
{
    const struct idle_list *used = &c->idle[IDLE_USED], *spent = &c->idle[IDLE_SPENT];
    bool has_empty = used->n > 0 && c->slot[used->oldest].state == SLOT_EMPTY;
    if (!has_empty && (used->n == 0 || spent->n > WEIR_TILE_CACHE_SPENT))
        return spent->oldest;
    return used->oldest;
}

/* ---- the hash table ---- */

static int32_t *bucket_of(struct weir_tile_cache *c, uint64_t tile)
{
    /* Multiplied by 2^64 over the golden ratio, neighbours land far apart. */
    return &c->bucket[tile * UINT64_C(0x9e3779b97f4a7c15) >> (64 - c->bucket_bits)];
}

static int32_t table_find(struct weir_tile_cache *c, uint64_t tile)
{
    int32_t i = *bucket_of(c, tile);
    while (i != NONE && c->slot[i].tile != tile)
        i = c->slot[i].chain;
    return i;
}

static void table_add(struct weir_tile_cache *c, int32_t i)
{
    int32_t *head = bucket_of(c, c->slot[i].tile);
    c->slot[i].chain = *head;
    *head = i;
}

static void table_remove(struct weir_tile_cache *c, int32_t i)
{
    int32_t *link = bucket_of(c, c->slot[i].tile);
    while (*link != i)
        link = &c->slot[*link].chain;
    *link = c->slot[i].chain;
}

/* ---- pins; all with the lock held ---- */

static void slot_pin(struct weir_tile_cache *c, int32_t i)
{
    if (c->slot[i].n_pins++ == 0)
        idle_remove(c, i);
}

static void slot_unpin(struct weir_tile_cache *c, int32_t i, enum idle_kind list)
{
    struct slot *s = &c->slot[i];
    assert(s->n_pins > 0);
    if (--s->n_pins > 0)
        return;
    if (s->state == SLOT_READY)
        idle_add_newest(c, list, i);
    else
        idle_add_oldest(c, IDLE_USED, i);
    pthread_cond_broadcast(&c->idle_again); /* who wakes may find its tile and leave the slot */
}

/* A tile that is there or on its way. */
static weir_err join(struct weir_tile_cache *c, int32_t i)
{
    struct slot *s = &c->slot[i];
    slot_pin(c, i);
    while (s->state == SLOT_FILLING)
        pthread_cond_wait(&s->done, &c->lock);
    if (s->state == SLOT_READY)
        return WEIR_OK;
    weir_err err = s->err;
    slot_unpin(c, i, IDLE_USED);
    return err;
}

/* Makes an idle slot, which exists, the one that `tile` is filled into. */
static int32_t claim(struct weir_tile_cache *c, uint64_t tile)
{
    int32_t i = idle_first(c);
    struct slot *s = &c->slot[i];
    if (s->state == SLOT_READY)
        table_remove(c, i);
    slot_pin(c, i);
    s->state = SLOT_FILLING;
    s->tile = tile;
    table_add(c, i);
    return i;
}

static weir_err pin_locked(struct weir_tile_cache *c, uint64_t tile, struct weir_tile_pin *out)
{
    int32_t i = table_find(c, tile);
    while (i == NONE && idle_first(c) == NONE) {
        pthread_cond_wait(&c->idle_again, &c->lock);
        i = table_find(c, tile);
    }
    bool must_fill = i == NONE;
    if (must_fill) {
        c->counts.misses++;
        i = claim(c, tile);
    } else {
        c->counts.hits++;
        weir_err err = join(c, i);
        if (err)
            return err;
    }
    *out = (struct weir_tile_pin){.bytes = c->bytes + (size_t)i * WEIR_TILE_BYTES,
                                  .slot = (uint32_t)i,
                                  .must_fill = must_fill};
    return WEIR_OK;
}

weir_err weir_tile_cache_pin(struct weir_tile_cache *cache, uint64_t tile,
                             struct weir_tile_pin *out)
{
    pthread_mutex_lock(&cache->lock);
    weir_err err = pin_locked(cache, tile, out);
    pthread_mutex_unlock(&cache->lock);
    return err;
}

void weir_tile_cache_filled(struct weir_tile_cache *cache, struct weir_tile_pin *pin, weir_err err)
{
    int32_t i = (int32_t)pin->slot;
    pthread_mutex_lock(&cache->lock);
    struct slot *s = &cache->slot[i];
    assert(pin->must_fill && s->state == SLOT_FILLING);
    pin->must_fill = false;
    s->err = err;
    s->state = err ? SLOT_EMPTY : SLOT_READY;
    pthread_cond_broadcast(&s->done);
    if (err) {
        table_remove(cache, i);
        slot_unpin(cache, i, IDLE_USED);
    }
    pthread_mutex_unlock(&cache->lock);
}

void weir_tile_cache_unpin(struct weir_tile_cache *cache, const struct weir_tile_pin *pin,
                           bool spent)
{
    pthread_mutex_lock(&cache->lock);
    assert(!pin->must_fill);
    slot_unpin(cache, (int32_t)pin->slot, spent ? IDLE_SPENT : IDLE_USED);
    pthread_mutex_unlock(&cache->lock);
}

struct weir_tile_cache_counts weir_tile_cache_counts(struct weir_tile_cache *cache)
{
    pthread_mutex_lock(&cache->lock);
    struct weir_tile_cache_counts counts = cache->counts;
    pthread_mutex_unlock(&cache->lock);
    return counts;
}

/* ---- birth and death ---- */

static weir_err fill(struct weir_tile_cache *c, size_t n_slots)
{
    c->bucket_bits = 1;
    while ((size_t)1 << c->bucket_bits < 2 * n_slots)
        c->bucket_bits++;
    size_t n_buckets = (size_t)1 << c->bucket_bits;

    c->bucket = malloc(n_buckets * sizeof(c->bucket[0]));
    c->slot = calloc(n_slots, sizeof(c->slot[0]));
    c->bytes = aligned_alloc(ALIGN_BYTES, n_slots * WEIR_TILE_BYTES);
    if (!c->bucket || !c->slot || !c->bytes)
        return WEIR_ERR_NOMEM;

    for (size_t i = 0; i < n_buckets; i++)
        c->bucket[i] = NONE;
    for (int k = 0; k < N_IDLE; k++)
        c->idle[k].oldest = c->idle[k].newest = NONE;
    /* In order, so that memory is touched only as far as a small store needs it. */
    for (size_t i = 0; i < n_slots; i++) {
        pthread_cond_init(&c->slot[i].done, NULL);
        idle_add_newest(c, IDLE_USED, (int32_t)i);
    }
    c->n_slots = n_slots;
    return WEIR_OK;
}

weir_err weir_tile_cache_new(size_t n_slots, struct weir_tile_cache **out)
{
    if (n_slots < 1 || n_slots > MAX_SLOTS)
        return WEIR_ERR_INVALID;
    struct weir_tile_cache *c = calloc(1, sizeof(*c));
    if (!c)
        return WEIR_ERR_NOMEM;
    pthread_mutex_init(&c->lock, NULL);
    pthread_cond_init(&c->idle_again, NULL);
    weir_err err = fill(c, n_slots);
    if (err) {
        weir_tile_cache_free(c);
        return err;
    }
    *out = c;
    return WEIR_OK;
}

void weir_tile_cache_free(struct weir_tile_cache *cache)
{
    if (!cache)
        return;
    for (size_t i = 0; i < cache->n_slots; i++)
        pthread_cond_destroy(&cache->slot[i].done);
    pthread_cond_destroy(&cache->idle_again);
    pthread_mutex_destroy(&cache->lock);
    free(cache->bytes);
    free(cache->slot);
    free(cache->bucket);
    free(cache);
}
