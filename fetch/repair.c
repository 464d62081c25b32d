/* repair.c - a damaged store made whole, in its place. */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "codec/part.h"
#include "extent_file.h"
#include "extents.h"
#include "fetch/download.h"
#include "fetch/remote.h"
#include "outside.h"
#include "partial.h"
#include "sidecar.h"

struct repair {
    const struct weir_download_options *options;
    struct weir_http *http;
    struct weir_remote *remote;
    const struct weir_store *store; /* the remote's */
    const char *name;               /* of the local one */
    int fd;
    uint8_t *want; /* a bitmap of its extents: all, or those that a part has */
    uint8_t *fine; /* ... those that verify */
    uint32_t n_fine;
    uint64_t index_at; /* where its extents end */
    uint8_t *scratch;
};

static weir_err fail(const struct repair *r, struct weir_diag *diag)
{
    return fail_errno(diag, r->name);
}

/* false: it is as long as neither the store nor a part of it. */
static bool find_wanted(struct repair *r, uint64_t size)
{
    const struct weir_store_info *info = weir_store_info(r->store);
    size_t n = weir_part_bytes(r->store);
    if (size == info->stored_bytes) {
        for (uint32_t i = 0; i < info->n_extents; i++)
            sidecar_set(r->want, i);
        return true;
    }
    return size - info->stored_bytes == n &&
           pread(r->fd, r->want, n, (off_t)info->stored_bytes) == (ssize_t)n &&
           weir_part_fits(r->store, r->want, n);
}

static weir_err open_local(struct repair *r, struct weir_diag *diag)
{
    struct stat st;
    r->fd = open(r->name, O_RDWR | O_CLOEXEC);
    if (r->fd < 0 || fstat(r->fd, &st) != 0) {
        weir_err err = errno == ENOENT ? WEIR_ERR_NOT_FOUND : WEIR_ERR_IO;
        (void)fail(r, diag);
        return err;
    }
    if (flock(r->fd, LOCK_EX | LOCK_NB) != 0) {
        if (errno != EWOULDBLOCK)
            return fail(r, diag);
        weir_diag_set(diag, "%.400s: another 'weir fetch' is repairing it; wait for it", r->name);
        return WEIR_ERR_IO;
    }
    if (find_wanted(r, (uint64_t)st.st_size))
        return WEIR_OK;
    weir_diag_set(diag,
                  "%.300s: not as long as the store at the URL, or a part of it; fetch that to "
                  "another name, with --seed",
                  r->name);
    return WEIR_ERR_MISMATCH;
}

static void got(void *self, uint32_t extent)
{
    struct repair *r = self;
    sidecar_set(r->fine, extent);
}

static weir_err now_and_then(void *self, struct weir_diag *diag)
{
    (void)self;
    (void)diag;
    return WEIR_OK;
}

/* A store of its own, with an index that is right: not a damaged one. */
static bool is_another(const struct repair *r)
{
    struct weir_source src = {0};
    struct weir_store *have = NULL;
    bool opens = weir_source_open_file(r->name, &src, NULL) == WEIR_OK &&
                 weir_store_open(&src, &have, NULL) == WEIR_OK;
    weir_store_free(have);
    weir_source_close(&src);
    return opens;
}

static weir_err find_damage(struct repair *r, bool *same_index, struct weir_diag *diag)
{
    uint32_t n = weir_store_info(r->store)->n_extents;
    weir_err err = outside_compare(r->remote, r->fd, same_index, diag);
    for (uint32_t i = 0; !err && i < n; i++) {
        struct weir_diag what;
        if (!sidecar_has(r->want, i))
            continue;
        weir_err damage = extents_check(r->store, i, r->fd, r->scratch, &what);
        if (damage == WEIR_ERR_IO)
            return fail(r, diag);
        if (damage && damage != WEIR_ERR_CORRUPT)
            return damage;
        if (!damage) {
            sidecar_set(r->fine, i);
            r->n_fine++;
        }
        const struct weir_watch *w = r->options->watch;
        if (w && !w->tick(w->self, weir_store_extent(r->store, i).at, r->index_at))
            err = WEIR_ERR_CANCELLED;
    }
    if (!err && !*same_index && (r->n_fine == 0 || is_another(r))) {
        weir_diag_set(diag, "%.300s: not the store at the URL", r->name);
        return WEIR_ERR_MISMATCH;
    }
    return err;
}

static weir_err mend(struct repair *r, struct weir_download_result *result, struct weir_diag *diag)
{
    const struct weir_download_options *o = r->options;
    const struct extents_order order = {
        .http = r->http,
        .file = weir_remote_file(r->remote),
        .store = r->store,
        .fd = r->fd,
        .fd_name = r->name,
        .n_connections = o->n_connections ? o->n_connections : WEIR_HTTP_MAX_CONNECTIONS,
        .want = r->want,
        .have = r->fine,
        .watch = o->watch,
        .self = r,
        .got = got,
        .now_and_then = now_and_then,
    };
    weir_err err = extents_fetch(&order, &result->n_refetched, diag);
    if (err)
        return err;
    return fsync(r->fd) == 0 ? WEIR_OK : fail(r, diag);
}

static weir_err run(struct repair *r, const char *url, struct weir_download_result *result,
                    struct weir_diag *diag)
{
    const struct weir_remote_options one = {.n_extents = 1};
    weir_err err = weir_remote_open(r->http, url, &one, &r->remote, diag);
    if (err)
        return err;
    r->store = weir_remote_store(r->remote);
    const struct weir_store_info *info = weir_store_info(r->store);
    memcpy(result->digest, info->digest, sizeof(result->digest));
    result->stored_bytes = info->stored_bytes;
    result->n_extents = info->n_extents;
    if (info->n_extents) {
        struct weir_extent last = weir_store_extent(r->store, info->n_extents - 1);
        r->index_at = last.at + last.bytes;
    }
    err = outside_check(r->remote, diag);
    if (err)
        return err;
    r->want = calloc(weir_part_bytes(r->store), 1);
    r->fine = calloc((size_t)info->n_extents / 8 + 1, 1);
    r->scratch = extents_scratch();
    err = r->want && r->fine && r->scratch ? open_local(r, diag) : WEIR_ERR_NOMEM;
    bool same_index = false;
    if (!err)
        err = find_damage(r, &same_index, diag);
    if (err)
        return err;
    result->resumed_bytes = extents_bytes(r->store, r->fine);
    if (!same_index)
        err = outside_write(r->remote, r->fd, diag);
    if (err == WEIR_ERR_IO)
        return fail(r, diag);
    if (!err)
        err = mend(r, result, diag);
    result->kept_bytes = extents_bytes(r->store, r->fine);
    for (uint32_t i = 0; i < info->n_extents; i++)
        result->n_present += sidecar_has(r->fine, i);
    return err;
}

weir_err weir_repair(struct weir_http *http, const char *url, const char *store,
                     const struct weir_download_options *options,
                     struct weir_download_result *result, struct weir_diag *diag)
{
    struct repair r = {.options = options, .http = http, .name = store, .fd = -1};
    memset(result, 0, sizeof(*result));
    weir_err err = run(&r, url, result, diag);
    result->body_bytes = weir_http_counts(http).n_bytes;
    if (r.fd >= 0)
        (void)close(r.fd);
    weir_remote_free(r.remote);
    free(r.want);
    free(r.fine);
    free(r.scratch);
    return err;
}
