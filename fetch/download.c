#include "fetch/download.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "extent_file.h"
#include "extents.h"
#include "fetch/remote.h"
#include "outside.h"
#include "partial.h"
#include "seed.h"

struct download {
    const struct weir_download_options *options;
    struct weir_http *http;
    struct weir_remote *remote;
    const struct weir_store *store; /* the remote's */
    struct partial partial;
    uint8_t *want;                    /* a bitmap of extents */
    uint8_t *scratch;                 /* an extent and its padding */
    uint64_t done_bytes, total_bytes; /* of extents that are wanted */
};

static weir_err tick(const struct download *d)
{
    const struct weir_watch *w = d->options->watch;
    return !w || w->tick(w->self, d->done_bytes, d->total_bytes) ? WEIR_OK : WEIR_ERR_CANCELLED;
}

static void mark(struct download *d, uint32_t extent)
{
    partial_mark(&d->partial, extent);
    if (sidecar_has(d->want, extent))
        d->done_bytes += weir_store_extent(d->store, extent).bytes;
}

/* ---- the target ---- */

enum target { NOTHING, ANOTHER, PART, WHOLE };

/* What `target` is of the store.  Its extents are not read: it had its name, or its mark, only when
 * they were right. */
static enum target look_at(const struct weir_store *store, const char *target)
{
    struct weir_source src = {0};
    struct weir_store *have = NULL;
    bool same = weir_source_open_file(target, &src, NULL) == WEIR_OK &&
                weir_store_open(&src, &have, NULL) == WEIR_OK &&
                memcmp(weir_store_info(have)->digest, weir_store_info(store)->digest,
                       WEIR_DIGEST_BYTES) == 0;
    enum target is = !same ? ANOTHER : weir_store_is_part(have) ? PART : WHOLE;
    weir_store_free(have);
    weir_source_close(&src);
    return is;
}

static weir_err check_target(const struct download *d, const char *target, enum target *is,
                             struct weir_diag *diag)
{
    struct stat st;
    *is = NOTHING;
    if (lstat(target, &st) != 0)
        return WEIR_OK; /* what else is wrong shows when it is made */
    *is = look_at(d->store, target);
    if (*is != ANOTHER || (d->options->replace && !S_ISDIR(st.st_mode)))
        return WEIR_OK;
    weir_diag_set(diag, "%.400s: exists already%s", target,
                  d->options->replace ? ", a directory" : "; use -f to replace it");
    return WEIR_ERR_IO;
}

/* ---- extents that need not be fetched ---- */

/* Whether the file has any bytes there: what was never written is a hole. */
static bool has_data(const struct download *d, uint32_t extent)
{
    struct weir_extent e = weir_store_extent(d->store, extent);
    off_t at = lseek(d->partial.data, (off_t)e.at, SEEK_DATA);
    return at < 0 ? errno != ENXIO : (uint64_t)at < e.at + e.bytes;
}

static bool is_missing(const struct download *d, uint32_t extent)
{
    return sidecar_has(d->want, extent) && !sidecar_has(d->partial.marks.map, extent);
}

/* What came whole before an earlier run ended, but was not marked: fdatasync() is not asked for
 * after each extent. */
static weir_err look_for_unmarked(struct download *d)
{
    weir_err err = WEIR_OK;
    for (uint32_t i = 0; !err && i < weir_store_info(d->store)->n_extents; i++) {
        if (!is_missing(d, i) || !has_data(d, i))
            continue;
        if (extents_check(d->store, i, d->partial.data, d->scratch, NULL) == WEIR_OK)
            mark(d, i);
        err = tick(d);
    }
    return err;
}

static weir_err copy_from_seed(struct download *d, const struct seed *seed, struct weir_diag *diag)
{
    weir_err err = WEIR_OK;
    for (uint32_t i = 0; !err && i < weir_store_info(d->store)->n_extents; i++) {
        struct weir_extent e = weir_store_extent(d->store, i);
        if (!is_missing(d, i) || !seed_read(seed, &e, d->scratch))
            continue;
        size_t span = extents_span(d->store, i);
        memset(d->scratch + e.bytes, 0, span - e.bytes);
        if (weir_store_check_extent_bytes(d->store, i, d->scratch, NULL) != WEIR_OK)
            continue;
        if (!extents_write(d->partial.data, e.at, d->scratch, span)) {
            return fail_errno(diag, d->partial.data_name);
        }
        mark(d, i);
        err = partial_sync(&d->partial, false, diag);
        if (!err)
            err = tick(d);
    }
    return err;
}

static weir_err use_seed(struct download *d, struct weir_diag *diag)
{
    if (!d->options->seed)
        return WEIR_OK;
    struct seed seed;
    weir_err err = seed_open(&seed, d->options->seed, diag);
    if (!err)
        err = copy_from_seed(d, &seed, diag);
    seed_close(&seed);
    return err;
}

/* ---- the rest ---- */

static void got(void *self, uint32_t extent)
{
    struct download *d = self;
    struct weir_extent e = weir_store_extent(d->store, extent);
    mark(d, extent);
    /* The disk begins at once; nobody waits, and partial_sync() finds less to do. */
    (void)sync_file_range(d->partial.data, (off_t)e.at, (off_t)e.bytes, SYNC_FILE_RANGE_WRITE);
}

static weir_err now_and_then(void *self, struct weir_diag *diag)
{
    struct download *d = self;
    return partial_sync(&d->partial, false, diag);
}

static weir_err fetch_rest(struct download *d, struct weir_download_result *result,
                           struct weir_diag *diag)
{
    const struct weir_download_options *o = d->options;
    const struct extents_order order = {
        .http = d->http,
        .file = weir_remote_file(d->remote),
        .store = d->store,
        .fd = d->partial.data,
        .fd_name = d->partial.data_name,
        .n_connections = o->n_connections ? o->n_connections : WEIR_HTTP_MAX_CONNECTIONS,
        .want = d->want,
        .have = d->partial.marks.map,
        .watch = o->watch,
        .self = d,
        .got = got,
        .now_and_then = now_and_then,
    };
    return extents_fetch(&order, &result->n_refetched, diag);
}

static uint64_t bytes_there(const struct download *d)
{
    return extents_bytes_wanted(d->store, d->want, d->partial.marks.map);
}

static weir_err fill_partial(struct download *d, struct weir_download_result *result,
                             struct weir_diag *diag)
{
    weir_err err = WEIR_OK;
    if (!d->partial.in_place)
        err = outside_write(d->remote, d->partial.data, diag);
    if (err == WEIR_ERR_IO)
        (void)fail_errno(diag, d->partial.data_name);
    d->done_bytes = bytes_there(d);
    if (!err && d->partial.resumed)
        err = look_for_unmarked(d);
    result->resumed_bytes = bytes_there(d);
    if (!err)
        err = use_seed(d, diag);
    result->seeded_bytes = bytes_there(d) - result->resumed_bytes;
    return err ? err : fetch_rest(d, result, diag);
}

static weir_err fetch_to(struct download *d, const char *target, bool is_part,
                         struct weir_download_result *result, struct weir_diag *diag)
{
    weir_err err =
        (is_part ? partial_open_part : partial_open)(&d->partial, target, d->store, diag);
    if (!err)
        err = fill_partial(d, result, diag);
    if (!err)
        err = partial_commit(&d->partial, d->store, d->options->replace, diag);
    for (uint32_t i = 0; !err && i < result->n_extents; i++)
        result->n_present += sidecar_has(d->partial.marks.map, i);
    if (!err)
        return WEIR_OK;
    if (!d->partial.marks.map || d->partial.data < 0)
        return err;
    /* Bytes that no sync could bring to disk are not kept; what is marked there already is. */
    struct weir_diag ignored;
    if (partial_sync(&d->partial, true, &ignored) == WEIR_OK)
        result->kept_bytes = bytes_there(d);
    return err;
}

static weir_err find_wanted(struct download *d, struct weir_diag *diag)
{
    uint32_t n = weir_store_info(d->store)->n_extents;
    weir_err err = outside_check(d->remote, diag);
    if (err)
        return err;
    d->want = calloc(weir_part_map_bytes(d->store) + 1, 1);
    if (!d->want)
        return WEIR_ERR_NOMEM;
    for (uint32_t i = 0; !d->options->part && i < n; i++)
        sidecar_set(d->want, i);
    if (d->options->part)
        err = weir_part_select(d->store, d->options->part, d->want, diag);
    d->total_bytes = extents_bytes(d->store, d->want);
    return err;
}

static weir_err run(struct download *d, const char *url, const char *target,
                    struct weir_download_result *result, struct weir_diag *diag)
{
    const struct weir_remote_options one = {.n_extents = 1};
    weir_err err = weir_remote_open(d->http, url, &one, &d->remote, diag);
    if (err)
        return err;
    d->store = weir_remote_store(d->remote);
    const struct weir_store_info *info = weir_store_info(d->store);
    memcpy(result->digest, info->digest, sizeof(result->digest));
    result->stored_bytes = info->stored_bytes;
    result->n_extents = info->n_extents;
    enum target is;
    err = find_wanted(d, diag);
    if (!err)
        err = check_target(d, target, &is, diag);
    if (err)
        return err;
    result->was_there = is == WHOLE;
    if (is == PART || is == WHOLE)
        partial_forget(target);
    if (is == WHOLE) {
        result->n_present = info->n_extents;
        return WEIR_OK;
    }
    d->scratch = extents_scratch();
    return d->scratch ? fetch_to(d, target, is == PART, result, diag) : WEIR_ERR_NOMEM;
}

weir_err weir_download(struct weir_http *http, const char *url, const char *target,
                       const struct weir_download_options *options,
                       struct weir_download_result *result, struct weir_diag *diag)
{
    struct download d = {
        .options = options, .http = http, .partial = {.data = -1, .marks = {.fd = -1}}};
    memset(result, 0, sizeof(*result));
    weir_err err = run(&d, url, target, result, diag);
    result->body_bytes = weir_http_counts(http).n_bytes;
    partial_close(&d.partial);
    weir_remote_free(d.remote);
    free(d.scratch);
    free(d.want);
    return err;
}
