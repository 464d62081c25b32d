#include "extent_cache.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

enum slot_state {
    SLOT_EMPTY,
    SLOT_LOADING, /* by one of its users */
    SLOT_COMING,  /* on its own; nobody else may have the slot */
    SLOT_CAME,    /* and nobody has verified it yet */
    SLOT_NOT,     /* it was to come, and does not; as good as EMPTY, but for those who wait */
    SLOT_READY,
    SLOT_FAILED,
};

/* What has come and is not wanted while so many loads times slots begin is no longer waited for. */
enum { STALE_LOADS = 2 };

struct slot {
    enum slot_state state;
    uint32_t extent;    /* unless it is empty */
    unsigned n_users;   /* who load, wait or copy: nobody else may have the slot */
    uint64_t last_used; /* by the cache's count of uses */
    uint64_t begun;     /* by its count of loads */
    weir_err err;       /* FAILED */
    uint8_t *bytes;     /* NULL: not needed yet */
    _Atomic bool urged;
};

struct extent_cache {
    struct extent_cache_options options;
    pthread_mutex_t lock;
    pthread_cond_t changed;
    uint64_t n_uses, n_begun; /* under lock, as is all of the slots but the bytes of one in use */
    uint32_t pending[EXTENT_CACHE_PENDING]; /* oldest first */
    unsigned n_pending;
    struct slot slot[];
};

weir_err extent_cache_new(const struct extent_cache_options *options, struct extent_cache **out)
{
    struct extent_cache *cache =
        calloc(1, sizeof(*cache) + options->n_slots * sizeof(cache->slot[0]));
    if (!cache)
        return WEIR_ERR_NOMEM;
    cache->options = *options;
    pthread_mutex_init(&cache->lock, NULL);
    pthread_cond_init(&cache->changed, NULL);
    *out = cache;
    return WEIR_OK;
}

static unsigned number(const struct extent_cache *cache, const struct slot *s)
{
    return (unsigned)(s - cache->slot);
}

static void make_empty(struct extent_cache *cache, struct slot *s)
{
    const struct extent_cache_options *o = &cache->options;
    if (s->state == SLOT_CAME)
        o->drop(o->self, s->extent, number(cache, s));
    s->state = SLOT_EMPTY;
}

void extent_cache_free(struct extent_cache *cache)
{
    if (!cache)
        return;
    for (unsigned i = 0; i < cache->options.n_slots; i++) {
        make_empty(cache, &cache->slot[i]);
        free(cache->slot[i].bytes);
    }
    pthread_cond_destroy(&cache->changed);
    pthread_mutex_destroy(&cache->lock);
    free(cache);
}

/* ---- slots; all with the lock held ---- */

static struct slot *find(struct extent_cache *cache, uint32_t extent)
{
    for (unsigned i = 0; i < cache->options.n_slots; i++) {
        struct slot *s = &cache->slot[i];
        /* A failure that nobody waits for any more is over: the next one tries anew. */
        bool is_over = s->state == SLOT_FAILED || s->state == SLOT_NOT;
        if (s->state != SLOT_EMPTY && s->extent == extent && (!is_over || s->n_users))
            return s;
    }
    return NULL;
}

static bool is_stale(const struct extent_cache *cache, const struct slot *s)
{
    return cache->n_begun - s->begun > (uint64_t)STALE_LOADS * cache->options.n_slots;
}

/* The one to take next: what was used least lately, and what has come unwanted last of all. */
static struct slot *spare(struct extent_cache *cache, bool for_reader)
{
    struct slot *least = NULL, *unwanted = NULL;
    for (unsigned i = 0; i < cache->options.n_slots; i++) {
        struct slot *s = &cache->slot[i];
        if (s->n_users || s->state == SLOT_COMING)
            continue;
        struct slot **best = s->state == SLOT_CAME ? &unwanted : &least;
        if (s->state == SLOT_CAME && !for_reader && !is_stale(cache, s))
            continue;
        if (!*best || s->last_used < (*best)->last_used)
            *best = s;
    }
    struct slot *s = least ? least : unwanted;
    if (s)
        make_empty(cache, s);
    return s;
}

static void occupy(struct extent_cache *cache, struct slot *s, enum slot_state state,
                   uint32_t extent)
{
    s->state = state;
    s->extent = extent;
    s->last_used = ++cache->n_uses;
    s->begun = ++cache->n_begun;
    atomic_store(&s->urged, false);
}

/* Lets go of the lock meanwhile. */
static void load(struct extent_cache *cache, struct slot *s)
{
    const struct extent_cache_options *o = &cache->options;
    bool has_come = s->state == SLOT_CAME;
    unsigned i = number(cache, s);
    s->state = SLOT_LOADING;
    pthread_mutex_unlock(&cache->lock);
    weir_err err = WEIR_ERR_CORRUPT;
    if (!s->bytes)
        s->bytes = malloc(o->slot_bytes);
    if (has_come)
        err = o->check(o->self, s->extent, i, s->bytes);
    if (err)
        err = s->bytes ? o->load(o->self, s->extent, i, s->bytes) : WEIR_ERR_NOMEM;
    pthread_mutex_lock(&cache->lock);
    s->state = err ? SLOT_FAILED : SLOT_READY;
    s->err = err;
    pthread_cond_broadcast(&cache->changed);
}

/* ---- what comes ahead; with the lock held ---- */

static void forget_pending(struct extent_cache *cache, unsigned i)
{
    cache->n_pending--;
    memmove(&cache->pending[i], &cache->pending[i + 1],
            (cache->n_pending - i) * sizeof(cache->pending[0]));
}

static void remove_pending(struct extent_cache *cache, uint32_t extent)
{
    for (unsigned i = 0; i < cache->n_pending; i++)
        if (cache->pending[i] == extent)
            forget_pending(cache, i--);
}

static unsigned count_ahead(const struct extent_cache *cache)
{
    unsigned n = 0;
    for (unsigned i = 0; i < cache->options.n_slots; i++) {
        const struct slot *s = &cache->slot[i];
        n += !s->n_users &&
             (s->state == SLOT_COMING || (s->state == SLOT_CAME && !is_stale(cache, s)));
    }
    return n;
}

/* Lets go of the lock meanwhile. */
static void begin(struct extent_cache *cache, struct slot *s, uint32_t extent)
{
    const struct extent_cache_options *o = &cache->options;
    occupy(cache, s, SLOT_COMING, extent);
    pthread_mutex_unlock(&cache->lock);
    if (!s->bytes)
        s->bytes = malloc(o->slot_bytes);
    bool comes = s->bytes && o->begin(o->self, extent, number(cache, s), s->bytes);
    pthread_mutex_lock(&cache->lock);
    if (comes)
        return;
    s->state = SLOT_NOT;
    s->last_used = 0; /* the next one that does not come costs no other slot */
    pthread_cond_broadcast(&cache->changed);
}

static void begin_some(struct extent_cache *cache)
{
    while (cache->n_pending && count_ahead(cache) < cache->options.n_ahead) {
        uint32_t extent = cache->pending[0];
        struct slot *s = find(cache, extent) ? NULL : spare(cache, false);
        if (!s && !find(cache, extent))
            return;
        forget_pending(cache, 0);
        if (s)
            begin(cache, s, extent);
    }
}

void extent_cache_expect(struct extent_cache *cache, uint32_t extent)
{
    if (!cache->options.begin)
        return;
    pthread_mutex_lock(&cache->lock);
    if (!find(cache, extent)) {
        remove_pending(cache, extent);
        if (cache->n_pending == EXTENT_CACHE_PENDING)
            forget_pending(cache, 0);
        cache->pending[cache->n_pending++] = extent;
        begin_some(cache);
    }
    pthread_mutex_unlock(&cache->lock);
}

void extent_cache_came(struct extent_cache *cache, unsigned slot, weir_err err)
{
    pthread_mutex_lock(&cache->lock);
    struct slot *s = &cache->slot[slot];
    s->err = err;
    s->state = !err ? SLOT_CAME : SLOT_FAILED;
    pthread_cond_broadcast(&cache->changed);
    pthread_mutex_unlock(&cache->lock);
}

bool extent_cache_urged(struct extent_cache *cache, unsigned slot)
{
    return atomic_exchange(&cache->slot[slot].urged, false);
}

/* ---- reading ---- */

/* The extent's slot, in whatever state, with us among its users.  Under lock. */
static struct slot *enter(struct extent_cache *cache, uint32_t extent)
{
    struct slot *s;
    for (;;) {
        s = find(cache, extent);
        if (s)
            break;
        s = spare(cache, true);
        if (s) {
            remove_pending(cache, extent);
            occupy(cache, s, SLOT_NOT, extent);
            break;
        }
        pthread_cond_wait(&cache->changed, &cache->lock);
    }
    if (s->n_users++ == 0 && s->state == SLOT_COMING)
        atomic_store(&s->urged, true);
    s->last_used = ++cache->n_uses;
    return s;
}

/* Until it is there, or an error is.  Under lock. */
static weir_err settle(struct extent_cache *cache, struct slot *s)
{
    for (;;) {
        switch (s->state) {
        case SLOT_CAME:
        case SLOT_NOT:
        case SLOT_EMPTY:
            load(cache, s);
            break;
        case SLOT_LOADING:
        case SLOT_COMING:
            pthread_cond_wait(&cache->changed, &cache->lock);
            break;
        case SLOT_READY:
            return WEIR_OK;
        case SLOT_FAILED:
            return s->err;
        }
    }
}

weir_err extent_cache_read(struct extent_cache *cache, uint32_t extent, size_t at, void *dst,
                           size_t n)
{
    pthread_mutex_lock(&cache->lock);
    struct slot *s = enter(cache, extent);
    weir_err err = settle(cache, s);
    begin_some(cache);
    pthread_mutex_unlock(&cache->lock);
    if (!err)
        memcpy(dst, s->bytes + at, n);
    pthread_mutex_lock(&cache->lock);
    if (--s->n_users == 0)
        pthread_cond_broadcast(&cache->changed);
    pthread_mutex_unlock(&cache->lock);
    return err;
}
