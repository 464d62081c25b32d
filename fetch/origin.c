#include "origin.h"

#include <string.h>

enum { MAX_TRIES = 3 }; /* to get bytes that verify */

void origin_init(struct origin *o)
{
    pthread_mutex_init(&o->lock, NULL);
    pthread_cond_init(&o->landed, NULL);
    for (unsigned i = 0; i < WEIR_REMOTE_MAX_EXTENTS; i++)
        o->claim[i] = DISK_NO_CLAIM;
}

void origin_end(struct origin *o)
{
    pthread_mutex_lock(&o->lock);
    while (o->n_flying)
        pthread_cond_wait(&o->landed, &o->lock);
    pthread_mutex_unlock(&o->lock);
    pthread_cond_destroy(&o->landed);
    pthread_mutex_destroy(&o->lock);
}

weir_err origin_remember(struct origin *o, weir_err err, const struct weir_diag *why)
{
    pthread_mutex_lock(&o->lock);
    o->why = *why;
    pthread_mutex_unlock(&o->lock);
    return err;
}

weir_err origin_ask(struct origin *o, uint64_t at, void *dst, size_t n)
{
    struct weir_diag why = {""};
    weir_err err = weir_http_read(o->file, at, dst, n, &why);
    return err ? origin_remember(o, err, &why) : WEIR_OK;
}

uint64_t origin_end_of(const struct weir_store *store, uint32_t i)
{
    if (i + 1 < weir_store_info(store)->n_extents)
        return weir_store_extent(store, i + 1).at;
    struct weir_extent e = weir_store_extent(store, i);
    return e.at + e.bytes;
}

/* ---- who waits ---- */

/* false: it is not there, or was not what it is named after. */
static bool load_kept(const struct origin *o, uint32_t extent, uint8_t *bytes)
{
    struct weir_extent e = weir_store_extent(o->store, extent);
    if (!disk_cache_read(o->disk, &e, bytes))
        return false;
    memset(bytes + e.bytes, 0, (size_t)(origin_end_of(o->store, extent) - e.at - e.bytes));
    struct weir_diag ignored = {""};
    weir_err err = weir_store_check_extent_bytes(o->store, extent, bytes, &ignored);
    if (err)
        disk_cache_drop(o->disk, &e);
    return err == WEIR_OK;
}

static weir_err load_afar(struct origin *o, uint32_t extent, uint8_t *bytes)
{
    uint64_t at = weir_store_extent(o->store, extent).at;
    size_t n = (size_t)(origin_end_of(o->store, extent) - at);
    struct weir_diag why = {""};
    weir_err err = WEIR_OK;
    for (int i = 0; i < MAX_TRIES; i++) {
        err = origin_ask(o, at, bytes, n);
        if (err)
            return err;
        err = weir_store_check_extent_bytes(o->store, extent, bytes, &why);
        if (err != WEIR_ERR_CORRUPT)
            break;
    }
    return err ? origin_remember(o, err, &why) : WEIR_OK;
}

weir_err origin_load(void *self, uint32_t extent, unsigned slot, uint8_t *bytes)
{
    (void)slot;
    struct origin *o = self;
    struct weir_extent e = weir_store_extent(o->store, extent);
    int claim;
    if (load_kept(o, extent, bytes))
        return WEIR_OK;
    (void)disk_cache_claim(o->disk, &e, true, &claim);
    bool kept = load_kept(o, extent, bytes); /* by who had the claim before */
    weir_err err = kept ? WEIR_OK : load_afar(o, extent, bytes);
    if (kept || err)
        disk_cache_let_go(o->disk, &e, claim);
    else
        disk_cache_keep(o->disk, &e, claim, bytes);
    return err;
}

/* ---- what comes ahead: the client's thread, but for beginning and checking ---- */

static weir_err flight_data(void *self, const void *bytes, size_t n)
{
    struct origin_flight *f = self;
    if (n > f->n - f->got)
        return WEIR_ERR_NETWORK; /* judge() lets nothing like that through */
    memcpy(f->bytes + f->got, bytes, n);
    f->got += n;
    return WEIR_OK;
}

static bool flight_urged(void *self)
{
    const struct origin_flight *f = self;
    return extent_cache_urged(f->origin->cache, f->slot);
}

static void flight_done(void *self, weir_err err, const struct weir_diag *diag)
{
    struct origin_flight *f = self;
    struct origin *o = f->origin;
    if (err) {
        origin_drop(o, f->extent, f->slot);
        (void)origin_remember(o, err, diag);
    }
    extent_cache_came(o->cache, f->slot, err); /* the flight is another one's now */
    pthread_mutex_lock(&o->lock);
    o->n_flying--;
    pthread_cond_broadcast(&o->landed);
    pthread_mutex_unlock(&o->lock);
}

bool origin_begin(void *self, uint32_t extent, unsigned slot, uint8_t *bytes)
{
    struct origin *o = self;
    struct weir_extent e = weir_store_extent(o->store, extent);
    struct origin_flight *f = &o->flight[slot];
    if (disk_cache_has(o->disk, &e) || !disk_cache_claim(o->disk, &e, false, &o->claim[slot]))
        return false;
    size_t n = (size_t)(origin_end_of(o->store, extent) - e.at);
    *f =
        (struct origin_flight){.origin = o, .extent = extent, .slot = slot, .bytes = bytes, .n = n};
    const struct weir_http_range range = {e.at, n, f, flight_data, flight_done};
    pthread_mutex_lock(&o->lock);
    o->n_flying++;
    pthread_mutex_unlock(&o->lock);
    if (!weir_http_start_ahead(o->file, &range, flight_urged))
        return true;
    pthread_mutex_lock(&o->lock);
    o->n_flying--;
    pthread_mutex_unlock(&o->lock);
    origin_drop(o, extent, slot);
    return false;
}

weir_err origin_check(void *self, uint32_t extent, unsigned slot, const uint8_t *bytes)
{
    struct origin *o = self;
    struct weir_extent e = weir_store_extent(o->store, extent);
    struct weir_diag why = {""};
    weir_err err = weir_store_check_extent_bytes(o->store, extent, bytes, &why);
    if (err)
        origin_drop(o, extent, slot);
    else
        disk_cache_keep(o->disk, &e, o->claim[slot], bytes);
    o->claim[slot] = DISK_NO_CLAIM;
    return err;
}

void origin_drop(void *self, uint32_t extent, unsigned slot)
{
    struct origin *o = self;
    struct weir_extent e = weir_store_extent(o->store, extent);
    disk_cache_let_go(o->disk, &e, o->claim[slot]);
    o->claim[slot] = DISK_NO_CLAIM;
}
