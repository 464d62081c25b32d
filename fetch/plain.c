#include "fetch/plain.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "extent_file.h"
#include "extents.h"
#include "fetch/remote.h"
#include "marks.h"
#include "outside.h"
#include "plain_keeper.h"
#include "plain_shown.h"
#include "plain_tree.h"

enum { MAX_TRIES = 3 };

/* What a thread needs to decode an extent. */
struct decoder {
    struct plain *plain;
    struct weir_store_cursor *cursor;
    uint8_t *tile;          /* WEIR_TILE_BYTES */
    struct weir_diag *diag; /* of the extent that it is at */
};

/* What its files are takes another store, which is not here. */
static weir_err refuse_difference(const struct weir_store *store, struct weir_diag *diag)
{
    struct weir_diag why = {""};
    if (weir_store_need_base(store, &why) == WEIR_OK)
        return WEIR_OK;
    weir_diag_set(diag, "%s; fetch the store as it is, and 'weir unpack' it with --base", why.text);
    return WEIR_ERR_ABSENT;
}

struct plain {
    const struct weir_plain_options *options;
    struct weir_http *http;
    struct weir_remote *remote;
    const struct weir_store *store; /* the remote's */
    struct plain_tree tree;
    struct sidecar about;
    struct marks marks;
    bool taken_up;          /* what an earlier run had left, if it is of use */
    int since_boot, coming; /* files of the staging folder; -1: none */
    uint8_t *want;          /* a bitmap of extents: of files that are not there */
    uint8_t *have;          /* ... of those, what is written */
    struct plain_shown shown;
    struct decoder decoder[EXTENTS_MAX_WORKERS];
    unsigned n_decoders;
    struct plain_keeper keeper;
};

/* ---- what an earlier run has left ---- */

static weir_err drop(void *self, struct weir_diag *diag)
{
    struct plain *p = self;
    return plain_tree_drop(&p->tree, diag);
}

/* 8 bytes of the boot's name; 0: it has none. */
static uint64_t boot_number(void)
{
    char text[64];
    int fd = open("/proc/sys/kernel/random/boot_id", O_RDONLY | O_CLOEXEC);
    ssize_t n = fd >= 0 ? read(fd, text, sizeof(text)) : -1;
    if (fd >= 0)
        (void)close(fd);
    uint64_t number = 0;
    for (ssize_t i = 0; i < n; i++) { /* FNV-1a */
        number = (number ^ (uint8_t)text[i]) * UINT64_C(0x100000001b3);
    }
    return number;
}

/* Marks that were not waited for: what the kernel was told before we were killed, it still knows,
 * unless it was started anew since. */
static weir_err take_up_since_boot(struct plain *p)
{
    struct sidecar about = p->about;
    about.boot = boot_number();
    if (!about.boot)
        return WEIR_OK;
    size_t n = SIDECAR_HEAD_BYTES + p->marks.n_map;
    uint8_t *bytes = malloc(n + 1);
    if (!bytes)
        return WEIR_ERR_NOMEM;
    p->since_boot =
        openat(p->tree.staging, "since-boot", O_RDWR | O_CREAT | O_NOFOLLOW | O_CLOEXEC, 0600);
    ssize_t got = p->since_boot >= 0 ? pread(p->since_boot, bytes, n + 1, 0) : -1;
    bool fits = got == (ssize_t)n && sidecar_fits(&about, bytes, n);
    for (size_t i = 0; fits && i < p->marks.n_map; i++) {
        uint8_t more = (uint8_t)(bytes[SIDECAR_HEAD_BYTES + i] & ~p->marks.map[i]);
        p->marks.n_unsynced += more != 0;
        p->marks.map[i] |= more;
    }
    if (!fits && p->since_boot >= 0) {
        memset(bytes, 0, n);
        sidecar_write_head(&about, bytes);
        memcpy(bytes + SIDECAR_HEAD_BYTES, p->marks.map, p->marks.n_map);
        /* Without it a kill costs some seconds' worth of extents; nothing else. */
        if (ftruncate(p->since_boot, 0) != 0 || !extents_write(p->since_boot, 0, bytes, n))
            (void)!ftruncate(p->since_boot, 0);
    }
    free(bytes);
    return WEIR_OK;
}

/* Takes the marks back of files whose staged bytes are gone.  Whether there are any. */
static bool unmark_what_is_gone(struct plain *p)
{
    bool any = false;
    for (uint32_t i = 0; i < weir_store_info(p->store)->n_entries; i++) {
        if (weir_store_entry(p->store, i)->kind != WEIR_ENTRY_FILE || p->tree.file[i].there ||
            plain_tree_is_staged(&p->tree, i))
            continue;
        plain_unmark(p->store, i, p->marks.map);
        any = true;
    }
    return any;
}

/* Marks of both kinds, but for those of files that are gone: the disk hears of these before they
 * are made anew, and before marks that it does not have yet are added. */
static weir_err take_up_marks(struct plain *p, struct weir_diag *diag)
{
    const struct marks_anew anew = {&p->about, true, p, drop};
    bool fits;
    weir_err err = marks_take_up(&p->marks, &anew, &fits, diag);
    p->taken_up = !err;
    if (!err && unmark_what_is_gone(p))
        err = marks_write(&p->marks, p->marks.map, diag);
    if (!err)
        err = take_up_since_boot(p);
    if (!err && unmark_what_is_gone(p) && p->since_boot >= 0 &&
        !extents_write(p->since_boot, SIDECAR_HEAD_BYTES, p->marks.map, p->marks.n_map))
        (void)!ftruncate(p->since_boot, 0);
    return err;
}

static weir_err open_marks(struct plain *p, struct weir_diag *diag)
{
    char name[PLAIN_SHOWN_BYTES];
    const struct weir_store_info *info = weir_store_info(p->store);
    p->about = (struct sidecar){.store_bytes = info->stored_bytes, .n_extents = info->n_extents};
    memcpy(p->about.digest, info->digest, sizeof(p->about.digest));
    snprintf(name, sizeof(name), "%.300s/" PLAIN_STAGING "/marks", p->tree.name);
    weir_err err = marks_init(&p->marks, name, info->n_extents);
    return err ? err : marks_lock(&p->marks, p->tree.staging, "marks", p->tree.name, diag);
}

/* The folder, locked.  Whoever had the lock may have removed the staging folder while we opened it:
 * then we try again. */
static weir_err open_tree(struct plain *p, const char *folder, struct weir_diag *diag)
{
    for (int i = 1;; i++) {
        weir_err err = plain_tree_open(&p->tree, p->store, folder, p->options->replace, diag);
        if (err)
            return err;
        errno = 0;
        err = open_marks(p, diag);
        if (!err || errno != ENOENT || i == MAX_TRIES)
            return err;
        marks_close(&p->marks);
        plain_tree_close(&p->tree);
    }
}

/* ---- extents ---- */

static weir_err take_tile(void *self, uint32_t object, uint64_t tile, size_t n)
{
    struct decoder *d = self;
    struct plain *p = d->plain;
    uint64_t at = tile * weir_store_object(p->store, object)->tile_bytes;
    weir_err err = WEIR_OK;
    for (size_t i = p->shown.first[object]; i < p->shown.first[object + 1] && !err; i++) {
        const struct plain_showing *s = &p->shown.showing[i];
        const struct weir_segment *segment =
            &weir_store_entry(p->store, s->entry)->segment[s->segment];
        err = plain_tree_write(&p->tree, s->entry, segment->file_offset + at, d->tile, n, d->diag);
    }
    return err;
}

static weir_err take(void *self, unsigned worker, uint32_t extent, const uint8_t *bytes,
                     struct weir_diag *diag)
{
    struct plain *p = self;
    struct decoder *d = &p->decoder[worker];
    const struct weir_tile_sink sink = {d, d->tile, take_tile};
    d->diag = diag;
    return weir_store_decode_extent(d->cursor, extent, bytes, &sink, diag);
}

static void got(void *self, uint32_t extent)
{
    struct plain *p = self;
    sidecar_set(p->have, extent);
    plain_keeper_mark(&p->keeper, extent);
}

static weir_err now_and_then(void *self, struct weir_diag *diag)
{
    struct plain *p = self;
    return plain_keeper_error(&p->keeper, diag);
}

static weir_err make_decoders(struct plain *p)
{
    long n = sysconf(_SC_NPROCESSORS_ONLN);
    p->n_decoders = n < 1 ? 1 : n > EXTENTS_MAX_WORKERS ? EXTENTS_MAX_WORKERS : (unsigned)n;
    for (unsigned i = 0; i < p->n_decoders; i++) {
        struct decoder *d = &p->decoder[i];
        d->plain = p;
        d->tile = malloc(WEIR_TILE_BYTES);
        weir_err err = d->tile ? weir_store_cursor_new(p->store, weir_kernels_best(), &d->cursor)
                               : WEIR_ERR_NOMEM;
        if (err)
            return err;
    }
    return WEIR_OK;
}

static void find_wanted(struct plain *p)
{
    for (uint32_t i = 0; i < weir_store_info(p->store)->n_entries; i++) {
        const struct weir_entry *e = weir_store_entry(p->store, i);
        if (e->kind != WEIR_ENTRY_FILE || p->tree.file[i].there)
            continue;
        for (uint32_t k = 0; k < e->n_segments; k++)
            if (e->segment[k].object != WEIR_NO_OBJECT)
                plain_want(p->store, e->segment[k].object, p->want);
    }
    for (size_t i = 0; i < p->marks.n_map; i++)
        p->have[i] = p->want[i] & p->marks.map[i];
}

static weir_err fetch_wanted(struct plain *p, struct weir_plain_result *result,
                             struct weir_diag *diag)
{
    p->coming = openat(p->tree.staging, "coming",
                       O_RDWR | O_CREAT | O_TRUNC | O_NOFOLLOW | O_CLOEXEC, 0600);
    if (p->coming < 0)
        return fail_errno(diag, p->tree.name);
    const struct weir_plain_options *o = p->options;
    const struct extents_order order = {
        .http = p->http,
        .file = weir_remote_file(p->remote),
        .store = p->store,
        .fd = p->coming,
        .in_slots = true,
        .fd_name = p->tree.name,
        .n_connections = o->n_connections ? o->n_connections : WEIR_HTTP_MAX_CONNECTIONS,
        .want = p->want,
        .have = p->have,
        .watch = o->watch,
        .self = p,
        .n_workers = p->n_decoders,
        .take = take,
        .got = got,
        .now_and_then = now_and_then,
    };
    weir_err err = plain_keeper_begin(&p->keeper, &p->tree, &p->marks, p->since_boot);
    if (!err)
        err = extents_fetch(&order, &result->n_refetched, diag);
    const struct weir_watch *w = o->watch;
    while (!plain_keeper_wait(&p->keeper, err != WEIR_OK)) {
        if (!err && w && !w->tick(w->self, result->stored_bytes, result->stored_bytes))
            err = WEIR_ERR_CANCELLED;
    }
    struct weir_diag kept = {""};
    weir_err ended = plain_keeper_end(&p->keeper, &kept);
    if (!err && ended)
        *diag = kept;
    return err ? err : ended;
}

/* ---- all of it ---- */

static weir_err check_names(const struct plain *p, struct weir_diag *diag)
{
    if (!weir_store_find(p->store, PLAIN_STAGING))
        return WEIR_OK;
    weir_diag_set(diag, "the store has an entry " PLAIN_STAGING
                        ", where a fetch keeps what is not whole; fetch the store and unpack it");
    return WEIR_ERR_UNSUPPORTED;
}

static void count_files(const struct plain *p, struct weir_plain_result *result)
{
    for (uint32_t i = 0; i < weir_store_info(p->store)->n_entries; i++) {
        bool is_file = weir_store_entry(p->store, i)->kind == WEIR_ENTRY_FILE;
        result->n_files += is_file;
        result->n_there += is_file && p->tree.file[i].there;
    }
}

static weir_err fill(struct plain *p, struct weir_plain_result *result, struct weir_diag *diag)
{
    weir_err err = plain_tree_look(&p->tree, p->options->watch, diag);
    if (err)
        return err;
    count_files(p, result);
    err = take_up_marks(p, diag);
    if (!err)
        err = plain_tree_prepare(&p->tree, diag);
    if (!err)
        err = plain_shown_new(&p->shown, &p->tree);
    p->want = calloc(p->marks.n_map + 1, 1);
    p->have = calloc(p->marks.n_map + 1, 1);
    if (!err)
        err = p->want && p->have ? make_decoders(p) : WEIR_ERR_NOMEM;
    if (err)
        return err;
    find_wanted(p);
    result->stored_bytes = extents_bytes(p->store, p->want);
    result->resumed_bytes = extents_bytes(p->store, p->have);
    err = fetch_wanted(p, result, diag);
    return err ? err : plain_tree_finish(&p->tree, diag);
}

/* What is marked is kept.  If that is nothing, nothing is left. */
static void keep(struct plain *p, struct weir_plain_result *result)
{
    for (size_t i = 0; p->want && p->have && i < p->marks.n_map; i++)
        p->have[i] = p->want[i] & p->marks.map[i];
    result->kept_bytes = p->have ? extents_bytes(p->store, p->have) : 0;
    bool any = !p->taken_up && !p->tree.made_staging;
    for (size_t i = 0; i < p->marks.n_map; i++)
        any = any || p->marks.map[i];
    if (!any)
        plain_tree_take_back(&p->tree);
}

static weir_err run(struct plain *p, const char *url, const char *folder,
                    struct weir_plain_result *result, struct weir_diag *diag)
{
    const struct weir_remote_options one = {.n_extents = 1};
    weir_err err = weir_remote_open(p->http, url, &one, &p->remote, diag);
    if (!err)
        err = refuse_difference(weir_remote_store(p->remote), diag);
    if (err)
        return err;
    p->store = weir_remote_store(p->remote);
    const struct weir_store_info *info = weir_store_info(p->store);
    memcpy(result->digest, info->digest, sizeof(result->digest));
    result->plain_bytes = info->plain_bytes;
    err = outside_check(p->remote, diag);
    if (!err)
        err = check_names(p, diag);
    if (!err)
        err = open_tree(p, folder, diag);
    if (err)
        return err;
    err = fill(p, result, diag);
    if (err)
        keep(p, result);
    return err;
}

weir_err weir_fetch_plain(struct weir_http *http, const char *url, const char *folder,
                          const struct weir_plain_options *options,
                          struct weir_plain_result *result, struct weir_diag *diag)
{
    struct plain p = {.options = options,
                      .http = http,
                      .tree = {.root = -1, .staging = -1},
                      .marks = {.fd = -1},
                      .since_boot = -1,
                      .coming = -1};
    memset(result, 0, sizeof(*result));
    weir_err err = run(&p, url, folder, result, diag);
    result->body_bytes = weir_http_counts(http).n_bytes;
    if (p.coming >= 0)
        (void)close(p.coming);
    if (p.since_boot >= 0)
        (void)close(p.since_boot);
    for (unsigned i = 0; i < EXTENTS_MAX_WORKERS; i++) {
        weir_store_cursor_free(p.decoder[i].cursor);
        free(p.decoder[i].tile);
    }
    plain_shown_free(&p.shown);
    free(p.want);
    free(p.have);
    marks_close(&p.marks);
    plain_tree_close(&p.tree);
    weir_remote_free(p.remote);
    return err;
}
