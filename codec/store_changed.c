/* A tile's checksum lies beside it, so an extent that was overwritten by one of another store
 * agrees with itself.  Only the index, read when the store was opened, has the SHA-256 that tells.
 */
#include <inttypes.h>
#include <string.h>

#include "store_private.h"

weir_err store_revision(const struct weir_store *store, uint64_t *out, struct weir_diag *diag)
{
    uint64_t revision;
    weir_err err = weir_source_revision(&store->src, &revision);
    if (err)
        weir_diag_set(diag, "the store cannot be examined for changes");
    else
        *out = revision & ~EXTENT_BAD;
    return err;
}

static bool is_index(const struct weir_store *store, uint32_t unit)
{
    return unit == store->index->n_extents;
}

uint32_t store_unit_bytes(const struct weir_store *store, uint32_t unit)
{
    return is_index(store, unit) ? store->trailer.stored_bytes : store->index->extent[unit].bytes;
}

static const uint8_t *sha256_wanted(const struct weir_store *store, uint32_t unit)
{
    return is_index(store, unit) ? store->trailer.digest : store->index->extent[unit].sha256;
}

/* Relaxed: no memory comes with the number; the bytes that it speaks of are the source's. */
static uint64_t hashed_at(const struct weir_store *store, uint32_t unit)
{
    return atomic_load_explicit(&store->hashed[unit], memory_order_relaxed);
}

bool store_trusts(const struct weir_store *store, uint32_t unit, uint64_t revision)
{
    return revision != 0 && (revision == store->revision || revision == hashed_at(store, unit));
}

static weir_err unit_error(const struct weir_store *store, uint32_t unit, const char *what,
                           weir_err err, struct weir_diag *diag)
{
    static const char since[] = "the store was changed after it was opened";
    if (is_index(store, unit))
        weir_diag_set(diag, "index: %s, and the index %s", since, what);
    else
        weir_diag_set(diag, "extent %" PRIu32 ": %s, and this extent %s", unit, since, what);
    return err;
}

static weir_err changed(const struct weir_store *store, uint32_t unit, struct weir_diag *diag)
{
    return unit_error(store, unit, "with it", WEIR_ERR_CHANGED, diag);
}

/* n bytes of the unit, from `from` on, through cur->payload; up to WEIR_TILE_BYTES stay there. */
static weir_err hash_bytes(struct weir_store_cursor *cur, uint32_t unit, uint32_t from, uint32_t n,
                           struct weir_diag *diag)
{
    while (n) {
        uint32_t some = n < WEIR_TILE_BYTES ? n : (uint32_t)WEIR_TILE_BYTES;
        uint64_t at = cur->store->extent_at[unit] + from;
        weir_err err = weir_source_read(&cur->store->src, at, cur->payload, some);
        if (err)
            return unit_error(cur->store, unit, "cannot be read", err, diag);
        err = sha256_add(&cur->hash, cur->payload, some);
        if (err)
            return err;
        from += some;
        n -= some;
    }
    return WEIR_OK;
}

/* From `*from` to the end of the tile's payload, and the tile decoded. */
static weir_err hash_tile(struct weir_store_cursor *cur, const struct tile_wanted *wanted,
                          uint32_t *from, weir_err *verdict, struct weir_diag *diag)
{
    uint32_t at = cur->heads.payload_at[wanted->slot];
    uint32_t n = cur->heads.tile[wanted->slot].payload_bytes;
    weir_err err = hash_bytes(cur, wanted->extent, *from, at - *from, diag);
    if (!err)
        err = hash_bytes(cur, wanted->extent, at, n, diag);
    if (err)
        return err;
    *verdict = store_decode(cur, wanted, cur->payload, diag);
    *from = at + n;
    return WEIR_OK;
}

/* *verdict: what its heads and the tile are like, should the extent turn out to be the right one.
 * cur->extent: whether they are heads at all. */
static weir_err hash_extent(struct weir_store_cursor *cur, const struct tile_wanted *wanted,
                            uint8_t sha256[WEIR_DIGEST_BYTES], weir_err *verdict,
                            struct weir_diag *diag)
{
    uint32_t extent = wanted->extent;
    size_t n_heads = 0;
    weir_err err = extent_heads_bytes(cur->store, extent, &n_heads, diag);
    if (!err)
        err = sha256_begin(&cur->hash);
    uint32_t done = (uint32_t)n_heads;
    if (!err)
        err = hash_bytes(cur, extent, 0, done, diag);
    if (err)
        return err;
    *verdict = extent_heads_parse(cur->store, extent, cur->payload, &cur->heads, diag);
    if (!*verdict) {
        cur->extent = extent;
        if (wanted->out)
            err = hash_tile(cur, wanted, &done, verdict, diag);
    }
    if (!err)
        err = hash_bytes(cur, extent, done, cur->store->index->extent[extent].bytes - done, diag);
    return err ? err : sha256_end(&cur->hash, sha256);
}

static bool is_known_bad(const struct weir_store_cursor *cur, uint32_t unit)
{
    return hashed_at(cur->store, unit) == (cur->revision | EXTENT_BAD);
}

/* What the unit is, by the SHA-256 of what was read of it since cur->revision was the answer. */
static weir_err judge(struct weir_store_cursor *cur, uint32_t unit,
                      const uint8_t sha256[WEIR_DIGEST_BYTES], struct weir_diag *diag)
{
    const struct weir_store *store = cur->store;
    uint64_t now = 0;
    weir_err err = store_revision(store, &now, diag);
    if (err)
        return err;
    bool good = memcmp(sha256, sha256_wanted(store, unit), WEIR_DIGEST_BYTES) == 0;
    if (now != 0 && now == cur->revision)
        atomic_store_explicit(&store->hashed[unit], good ? now : now | EXTENT_BAD,
                              memory_order_relaxed);
    cur->revision = now;
    return good ? WEIR_OK : changed(store, unit, diag);
}

weir_err store_verify(struct weir_store_cursor *cur, uint32_t unit, struct weir_diag *diag)
{
    const struct weir_store *store = cur->store;
    if (store_trusts(store, unit, cur->revision))
        return WEIR_OK;
    if (is_known_bad(cur, unit))
        return changed(store, unit, diag);
    uint8_t sha256[WEIR_DIGEST_BYTES];
    weir_err err = sha256_begin(&cur->hash);
    if (!err)
        err = hash_bytes(cur, unit, 0, store_unit_bytes(store, unit), diag);
    if (!err)
        err = sha256_end(&cur->hash, sha256);
    return err ? err : judge(cur, unit, sha256, diag);
}

weir_err store_read_changed(struct weir_store_cursor *cur, const struct tile_wanted *wanted,
                            struct weir_diag *diag)
{
    if (is_known_bad(cur, wanted->extent))
        return changed(cur->store, wanted->extent, diag);
    uint8_t sha256[WEIR_DIGEST_BYTES];
    weir_err verdict = WEIR_OK;
    weir_err err = hash_extent(cur, wanted, sha256, &verdict, diag);
    if (!err)
        err = judge(cur, wanted->extent, sha256, diag);
    if (!err)
        return verdict;
    cur->extent = NO_EXTENT;
    return err;
}
