#include "extent_cache.h"

#include <pthread.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

enum slot_state { SLOT_EMPTY, SLOT_LOADING, SLOT_READY, SLOT_FAILED };

struct slot {
    enum slot_state state;
    uint32_t extent;    /* unless it is empty */
    unsigned n_users;   /* who load, wait or copy: nobody else may have the slot */
    uint64_t last_used; /* by the cache's count of uses */
    weir_err err;       /* FAILED */
    uint8_t *bytes;     /* NULL: not needed yet */
};

struct extent_cache {
    struct extent_cache_options options;
    pthread_mutex_t lock;
    pthread_cond_t changed;
    uint64_t n_uses; /* under lock, as is all of the slots but the bytes of one in use */
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

void extent_cache_free(struct extent_cache *cache)
{
    if (!cache)
        return;
    for (unsigned i = 0; i < cache->options.n_slots; i++)
        free(cache->slot[i].bytes);
    pthread_cond_destroy(&cache->changed);
    pthread_mutex_destroy(&cache->lock);
    free(cache);
}

static struct slot *find(struct extent_cache *cache, uint32_t extent)
{
    for (unsigned i = 0; i < cache->options.n_slots; i++) {
        struct slot *s = &cache->slot[i];
        /* A failure that nobody waits for any more is over: the next one tries anew. */
        if (s->state != SLOT_EMPTY && s->extent == extent &&
            (s->state != SLOT_FAILED || s->n_users))
            return s;
    }
    return NULL;
}

static struct slot *least_used(struct extent_cache *cache)
{
    struct slot *least = NULL;
    for (unsigned i = 0; i < cache->options.n_slots; i++) {
        struct slot *s = &cache->slot[i];
        if (s->n_users == 0 && (!least || s->last_used < least->last_used))
            least = s;
    }
    return least;
}

/* Under lock, which it lets go of meanwhile. */
static void load(struct extent_cache *cache, struct slot *s, uint32_t extent)
{
    const struct extent_cache_options *o = &cache->options;
    s->state = SLOT_LOADING;
    s->extent = extent;
    pthread_mutex_unlock(&cache->lock);
    if (!s->bytes)
        s->bytes = malloc(o->slot_bytes);
    weir_err err = s->bytes ? o->load(o->self, extent, s->bytes) : WEIR_ERR_NOMEM;
    pthread_mutex_lock(&cache->lock);
    s->state = err ? SLOT_FAILED : SLOT_READY;
    s->err = err;
    pthread_cond_broadcast(&cache->changed);
}

/* The extent's slot, loading, loaded or failed, with us among its users.  Under lock. */
static struct slot *enter(struct extent_cache *cache, uint32_t extent)
{
    for (;;) {
        struct slot *s = find(cache, extent);
        bool fresh = !s;
        if (fresh)
            s = least_used(cache);
        if (s) {
            s->n_users++;
            s->last_used = ++cache->n_uses;
            if (fresh)
                load(cache, s, extent);
            return s;
        }
        pthread_cond_wait(&cache->changed, &cache->lock);
    }
}

weir_err extent_cache_read(struct extent_cache *cache, uint32_t extent, size_t at, void *dst,
                           size_t n)
{
    pthread_mutex_lock(&cache->lock);
    struct slot *s = enter(cache, extent);
    while (s->state == SLOT_LOADING)
        pthread_cond_wait(&cache->changed, &cache->lock);
    weir_err err = s->state == SLOT_FAILED ? s->err : WEIR_OK;
    pthread_mutex_unlock(&cache->lock);
    if (!err)
        memcpy(dst, s->bytes + at, n);
    pthread_mutex_lock(&cache->lock);
    if (--s->n_users == 0)
        pthread_cond_broadcast(&cache->changed);
    pthread_mutex_unlock(&cache->lock);
    return err;
}
