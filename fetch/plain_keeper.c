#include "plain_keeper.h"

#include <errno.h>
#include <openssl/evp.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "plain_shown.h"

enum { PART_BYTES = 1 << 20, WAIT_MS = 100 };

/* ---- what is there ---- */

/* Bytes of the entry from k->at on that are there without a gap, PART_BYTES at most and a tile
 * more. Under lock. */
static size_t bytes_there(struct plain_keeper *k, const struct weir_entry *e)
{
    const struct weir_store *store = k->tree->store;
    uint64_t at = k->at;
    while (k->segment < e->n_segments && at - k->at < PART_BYTES) {
        const struct weir_segment *s = &e->segment[k->segment];
        if (at == s->file_offset + s->bytes) {
            k->segment++;
            continue;
        }
        const struct weir_object *o = weir_store_object(store, s->object);
        uint64_t tile = (at - s->file_offset) / o->tile_bytes;
        if (!sidecar_has(k->marks->map, (uint32_t)((o->first_tile + tile) / WEIR_EXTENT_TILES)))
            break;
        at = s->file_offset + tile * o->tile_bytes + weir_store_tile_bytes(store, s->object, tile);
    }
    return (size_t)(at - k->at);
}

void plain_unmark(const struct weir_store *store, uint32_t entry, uint8_t *map)
{
    const struct weir_entry *e = weir_store_entry(store, entry);
    for (uint32_t i = 0; i < e->n_segments; i++)
        if (e->segment[i].object != WEIR_NO_OBJECT)
            plain_unwant(store, e->segment[i].object, map);
}

/* ---- hashing: the thread ---- */

static void go_on(struct plain_keeper *k)
{
    k->entry++;
    k->segment = 0;
    k->at = 0;
    k->begun = false;
}

/* What is marked of a file with another SHA-256 will be fetched again by the next run; this one
 * goes on with the others. */
static void note_bad(struct plain_keeper *k)
{
    char name[PLAIN_SHOWN_BYTES];
    if (k->n_bad++ == 0)
        weir_diag_set(
            &k->bad,
            "%s: its SHA-256 is not the one in the index; run it again to fetch this file "
            "anew",
            plain_tree_shown(k->tree, k->entry, name));
    pthread_mutex_lock(&k->lock);
    plain_unmark(k->tree->store, k->entry, k->marks->map);
    k->marks->n_unsynced++;
    pthread_mutex_unlock(&k->lock);
    if (k->since_boot >= 0)
        (void)!ftruncate(k->since_boot, 0);
}

static weir_err end_file(struct plain_keeper *k, const struct weir_entry *e, struct weir_diag *diag)
{
    uint8_t sha256[WEIR_DIGEST_BYTES];
    if (EVP_DigestFinal_ex(k->hash, sha256, NULL) != 1)
        return WEIR_ERR_NOMEM;
    weir_err err = WEIR_OK;
    if (memcmp(sha256, e->sha256, sizeof(sha256)) == 0)
        err = plain_tree_place(k->tree, k->entry, diag);
    else
        note_bad(k);
    go_on(k);
    return err;
}

/* Hashes some of what is there.  *idle: there was nothing to do. */
static weir_err hash_some(struct plain_keeper *k, bool *idle, struct weir_diag *diag)
{
    const struct weir_store *store = k->tree->store;
    uint32_t n_entries = weir_store_info(store)->n_entries;
    while (k->entry < n_entries && (weir_store_entry(store, k->entry)->kind != WEIR_ENTRY_FILE ||
                                    k->tree->file[k->entry].there))
        go_on(k);
    *idle = k->entry == n_entries;
    if (*idle)
        return WEIR_OK;
    const struct weir_entry *e = weir_store_entry(store, k->entry);
    if (!k->begun && EVP_DigestInit_ex(k->hash, EVP_sha256(), NULL) != 1)
        return WEIR_ERR_NOMEM;
    k->begun = true;
    pthread_mutex_lock(&k->lock);
    size_t n = bytes_there(k, e);
    pthread_mutex_unlock(&k->lock);
    *idle = n == 0 && k->at < e->size;
    weir_err err = n ? plain_tree_read(k->tree, k->entry, k->at, k->part, n, diag) : WEIR_OK;
    if (!err && EVP_DigestUpdate(k->hash, k->part, n) != 1)
        err = WEIR_ERR_NOMEM;
    k->at += n;
    return !err && k->at == e->size ? end_file(k, e, diag) : err;
}

/* ---- to disk: the thread ---- */

/* The kernel tells of bytes that it lost only once: nothing is marked any more, and the next run
 * does not take its word for what it still has. */
static void give_up_marks(struct plain_keeper *k)
{
    k->marks->broken = EIO;
    if (k->since_boot >= 0)
        (void)!ftruncate(k->since_boot, 0);
}

static weir_err sync_marks(struct plain_keeper *k, struct weir_diag *diag)
{
    if (k->marks->broken)
        return marks_still_broken(k->marks, k->tree->name, diag);
    pthread_mutex_lock(&k->lock);
    memcpy(k->map, k->marks->map, k->marks->n_map);
    uint32_t n = k->marks->n_unsynced;
    pthread_mutex_unlock(&k->lock);
    if (n == 0)
        return WEIR_OK;
    weir_err err = plain_tree_sync(k->tree, diag);
    if (err)
        give_up_marks(k);
    else
        err = marks_write(k->marks, k->map, diag);
    if (err)
        return err;
    pthread_mutex_lock(&k->lock);
    k->marks->n_unsynced -= n;
    pthread_mutex_unlock(&k->lock);
    return WEIR_OK;
}

static void wait_a_little(pthread_cond_t *changed, pthread_mutex_t *lock)
{
    struct timespec until;
    clock_gettime(CLOCK_REALTIME, &until);
    until.tv_nsec += WAIT_MS * 1000000L;
    until.tv_sec += until.tv_nsec / 1000000000L;
    until.tv_nsec %= 1000000000L;
    (void)pthread_cond_timedwait(changed, lock, &until);
}

static weir_err keep(struct plain_keeper *k, struct weir_diag *diag)
{
    bool over = false;
    weir_err err = WEIR_OK;
    while (!err && !over) {
        bool idle;
        pthread_mutex_lock(&k->lock);
        bool ending = k->ending, giving_up = k->giving_up;
        bool due = marks_are_due(k->marks);
        pthread_mutex_unlock(&k->lock);
        if (giving_up)
            break;
        err = hash_some(k, &idle, diag);
        if (!err && due)
            err = sync_marks(k, diag);
        over = idle && ending;
        if (err || over || !idle)
            continue;
        pthread_mutex_lock(&k->lock);
        if (!k->ending)
            wait_a_little(&k->changed, &k->lock);
        pthread_mutex_unlock(&k->lock);
    }
    /* Bytes that no sync could bring to disk are not kept; what is marked there already is. */
    weir_err synced = sync_marks(k, err ? NULL : diag);
    return err ? err : synced;
}

static void *keeper_main(void *arg)
{
    struct plain_keeper *k = arg;
    struct weir_diag diag = {""};
    weir_err err = keep(k, &diag);
    pthread_mutex_lock(&k->lock);
    k->err = err;
    k->diag = diag;
    k->ended = true;
    pthread_cond_broadcast(&k->changed);
    pthread_mutex_unlock(&k->lock);
    return NULL;
}

/* ---- from outside ---- */

weir_err plain_keeper_begin(struct plain_keeper *k, struct plain_tree *tree, struct marks *marks,
                            int since_boot)
{
    *k = (struct plain_keeper){.tree = tree, .marks = marks, .since_boot = since_boot};
    pthread_mutex_init(&k->lock, NULL);
    pthread_cond_init(&k->changed, NULL);
    k->hash = EVP_MD_CTX_new();
    k->part = malloc(PART_BYTES + WEIR_TILE_BYTES);
    k->map = malloc(marks->n_map + 1);
    k->runs = k->hash && k->part && k->map && pthread_create(&k->thread, NULL, keeper_main, k) == 0;
    return k->runs ? WEIR_OK : WEIR_ERR_NOMEM;
}

void plain_keeper_mark(struct plain_keeper *k, uint32_t extent)
{
    pthread_mutex_lock(&k->lock);
    marks_set(k->marks, extent);
    uint8_t byte = k->marks->map[extent / 8];
    pthread_cond_broadcast(&k->changed);
    pthread_mutex_unlock(&k->lock);
    /* If it cannot be written, a kill costs some seconds' worth of extents; nothing else. */
    if (k->since_boot >= 0)
        (void)!pwrite(k->since_boot, &byte, 1, SIDECAR_HEAD_BYTES + (off_t)(extent / 8));
}

weir_err plain_keeper_error(struct plain_keeper *k, struct weir_diag *diag)
{
    pthread_mutex_lock(&k->lock);
    weir_err err = k->err;
    if (err)
        *diag = k->diag;
    pthread_mutex_unlock(&k->lock);
    return err;
}

bool plain_keeper_wait(struct plain_keeper *k, bool give_up)
{
    pthread_mutex_lock(&k->lock);
    if (!k->ending || (give_up && !k->giving_up))
        pthread_cond_broadcast(&k->changed);
    k->ending = true;
    k->giving_up = k->giving_up || give_up;
    if (!k->ended && k->runs)
        wait_a_little(&k->changed, &k->lock);
    bool ended = k->ended || !k->runs;
    pthread_mutex_unlock(&k->lock);
    return ended;
}

weir_err plain_keeper_end(struct plain_keeper *k, struct weir_diag *diag)
{
    if (!k->tree)
        return WEIR_OK;
    while (!plain_keeper_wait(k, false))
        ;
    if (k->runs)
        (void)pthread_join(k->thread, NULL);
    weir_err err = k->err;
    if (err)
        *diag = k->diag;
    if (!err && k->n_bad) {
        err = WEIR_ERR_MISMATCH;
        *diag = k->bad;
    }
    EVP_MD_CTX_free(k->hash);
    free(k->part);
    free(k->map);
    pthread_cond_destroy(&k->changed);
    pthread_mutex_destroy(&k->lock);
    k->tree = NULL;
    return err;
}
