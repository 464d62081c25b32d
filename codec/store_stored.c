#include "codec/store.h"

#include <string.h>
#include <time.h>

#include "store_private.h"

enum {
    MAX_TRIES = 8,
    PAUSE_NS = 25000000,
    MAX_PAUSES = 60, /* a file's revision is 0 for a second after a change */
};

/* A range of the store that is read into dst. */
struct range {
    uint64_t at, end;
    uint8_t *dst;
};

/* ---- what has a SHA-256 ---- */

static uint64_t unit_end(const struct weir_store *store, uint32_t unit)
{
    return store->extent_at[unit] + store_unit_bytes(store, unit);
}

/* The first unit that ends behind `at`; n_extents + 1: none.  O(log n). */
static uint32_t first_unit(const struct weir_store *store, uint64_t at)
{
    uint32_t low = 0;
    uint32_t high = store->index->n_extents + 1; /* the answer is in [low, high] */
    while (low < high) {
        uint32_t middle = low + (high - low) / 2;
        if (unit_end(store, middle) <= at)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

static weir_err need_units(const struct weir_store *store, const struct range *range,
                           struct weir_diag *diag)
{
    weir_err err = WEIR_OK;
    for (uint32_t i = first_unit(store, range->at); i < store->index->n_extents && !err; i++) {
        if (store->extent_at[i] >= range->end)
            break;
        err = store_need(store, i, diag);
    }
    return err;
}

/* Each unit of the range, until one is bad or cur->revision turns out to be another. */
static weir_err verify_units(struct weir_store_cursor *cur, const struct range *range,
                             struct weir_diag *diag)
{
    const struct weir_store *store = cur->store;
    uint64_t revision = cur->revision;
    for (uint32_t i = first_unit(store, range->at); i <= store->index->n_extents; i++) {
        if (store->extent_at[i] >= range->end)
            break;
        weir_err err = store_verify(cur, i, diag);
        if (cur->revision != revision)
            return WEIR_OK;
        if (err)
            return err;
    }
    return WEIR_OK;
}

/* ---- what has none: gap i lies before unit i, the last one behind the index ---- */

static uint64_t gap_at(const struct weir_store *store, uint32_t gap)
{
    return gap ? unit_end(store, gap - 1) : 0;
}

static uint64_t gap_end(const struct weir_store *store, uint32_t gap)
{
    return gap <= store->index->n_extents ? store->extent_at[gap] : store->info.stored_bytes;
}

static const char *gap_name(const struct weir_store *store, uint32_t gap)
{
    if (!gap)
        return "header";
    return gap <= store->index->n_extents ? "padding" : "trailer";
}

/* Whether those bytes of the range that lie in the gap are what they must be. */
static bool gap_is_right(const struct weir_store *store, uint32_t gap, const struct range *range)
{
    uint64_t start = gap_at(store, gap), end = gap_end(store, gap);
    uint64_t from = start > range->at ? start : range->at;
    uint64_t to = end < range->end ? end : range->end;
    if (from >= to)
        return true;
    uint8_t must[WEIR_ALIGN] = {0}; /* no gap is longer */
    if (!gap)
        header_write(must);
    else if (gap > store->index->n_extents)
        trailer_write(&store->trailer, must);
    return memcmp(range->dst + (from - range->at), must + (from - start), (size_t)(to - from)) == 0;
}

static weir_err check_gaps(const struct weir_store *store, const struct range *range,
                           struct weir_diag *diag)
{
    uint32_t n_gaps = store->index->n_extents + 2;
    /* A range that begins in a gap begins before the unit behind it. */
    for (uint32_t i = first_unit(store, range->at); i < n_gaps; i++) {
        if (gap_at(store, i) >= range->end)
            break;
        if (!gap_is_right(store, i, range)) {
            weir_diag_set(diag, "%s: the store was changed after it was opened, and its %s with it",
                          gap_name(store, i), gap_name(store, i));
            return WEIR_ERR_CHANGED;
        }
    }
    return WEIR_OK;
}

/* ---- when ---- */

static weir_err still_changing(struct weir_diag *diag)
{
    weir_diag_set(diag, "the store is being written to");
    return WEIR_ERR_CHANGED;
}

/* Until cur->revision is one that can be remembered. */
static weir_err settle(struct weir_store_cursor *cur, int *n_pauses, struct weir_diag *diag)
{
    const struct timespec pause = {.tv_nsec = PAUSE_NS};
    while (cur->revision == 0) {
        if (++*n_pauses > MAX_PAUSES)
            return still_changing(diag);
        (void)nanosleep(&pause, NULL); /* one that a signal cuts short counts, too */
        weir_err err = store_revision(cur->store, &cur->revision, diag);
        if (err)
            return err;
    }
    return WEIR_OK;
}

static weir_err read_range(struct weir_store_cursor *cur, const struct range *range,
                           struct weir_diag *diag)
{
    const struct weir_source *src = &cur->store->src;
    const size_t n = (size_t)(range->end - range->at);
    weir_err err = cur->past ? weir_source_read_past(src, range->at, range->dst, n)
                             : weir_source_read(src, range->at, range->dst, n);
    if (err) {
        weir_diag_set(diag, "the store cannot be read");
        return err;
    }
    return store_revision(cur->store, &cur->revision, diag);
}

/* The bytes are good if the revision was the same when they had been read as before, and all along
 * while they, or what they are a part of, were found right. */
weir_err weir_store_read_stored(struct weir_store_cursor *cur, uint64_t at, uint8_t *dst, size_t n,
                                struct weir_diag *diag)
{
    const struct weir_store *store = cur->store;
    if (at > store->info.stored_bytes || n > store->info.stored_bytes - at) {
        weir_diag_set(diag, "the store has no such bytes");
        return WEIR_ERR_IO;
    }
    if (n == 0)
        return WEIR_OK;
    const struct range range = {at, at + n, dst};
    weir_err absent = need_units(store, &range, diag);
    if (absent)
        return absent;
    int n_pauses = 0;
    for (int i = 0; i < MAX_TRIES; i++) {
        uint64_t before = cur->revision;
        weir_err err = read_range(cur, &range, diag);
        if (err || cur->revision == store->revision)
            return err;
        err = settle(cur, &n_pauses, diag);
        if (err)
            return err;
        uint64_t now = cur->revision;
        err = verify_units(cur, &range, diag);
        if (err)
            return err;
        if (cur->revision == now && now == before)
            return check_gaps(store, &range, diag);
    }
    return still_changing(diag);
}
