/* hub_cache.c - files of a repository in the Hub's own cache, as its Python client lays it out:
 *
 *     models--ORG--NAME/blobs/HASH                 the bytes
 *     models--ORG--NAME/snapshots/COMMIT/PATH      a relative link to them
 *     models--ORG--NAME/refs/REVISION              the commit, 40 digits
 *     .locks/models--ORG--NAME/HASH.lock           locked by whoever makes the blob
 *     CACHEDIR.TAG                                 so that backups leave it out
 *
 * Links and refs are made when all blobs are there: offline, a snapshot is whole or not there. */
#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "checkout_items.h"
#include "file_hash.h"
#include "marks.h"

/* Of one repository. */
struct cache {
    char *folder, *locks; /* of the repository, without '/' at the end */
};

static weir_err cache_of(const struct weir_hub_ref *ref, const char *root, struct cache *cache)
{
    static const char *const kinds[] = {
        [WEIR_HUB_MODEL] = "models",
        [WEIR_HUB_DATASET] = "datasets",
        [WEIR_HUB_SPACE] = "spaces",
    };
    const char *slash = strchr(ref->repo, '/');
    int n_org = slash ? (int)(slash - ref->repo) : 0;
    char name[sizeof(ref->repo) + 32];
    snprintf(name, sizeof(name), "%s--%.*s%s%s", kinds[ref->kind], n_org, ref->repo,
             slash ? "--" : "", weir_hub_ref_name(ref));
    cache->folder = checkout_text("%s/%s", root, name);
    cache->locks = checkout_text("%s/.locks/%s", root, name);
    return cache->folder && cache->locks ? WEIR_OK : WEIR_ERR_NOMEM;
}

static void cache_free(struct cache *cache)
{
    free(cache->folder);
    free(cache->locks);
}

/* ---- blobs ---- */

static weir_err name_targets(struct checkout_item *items, size_t n, const struct cache *cache)
{
    for (size_t i = 0; i < n; i++) {
        char hex[FILE_HASH_HEX];
        file_hash_hex(items[i].file, hex);
        items[i].target = checkout_text("%s/blobs/%s", cache->folder, hex);
        items[i].lock = checkout_text("%s/%s.lock", cache->locks, hex);
        if (!items[i].target || !items[i].lock)
            return WEIR_ERR_NOMEM;
    }
    return WEIR_OK;
}

static int by_target(const void *a, const void *b)
{
    const struct checkout_item *ia = a, *ib = b;
    return strcmp(ia->target, ib->target);
}

/* Equal files share a blob: each is kept once.  *n: how many are left; the others are at the end,
 * so that they are freed. */
static weir_err drop_equal(struct checkout_item *items, size_t *n, struct weir_diag *diag)
{
    size_t kept = 0;
    qsort(items, *n, sizeof(items[0]), by_target);
    for (size_t i = 0; i < *n; i++) {
        if (kept && strcmp(items[i].target, items[kept - 1].target) == 0) {
            if (items[i].file->size == items[kept - 1].file->size)
                continue;
            weir_diag_set(diag, "the Hub's listing has two sizes for one hash: '%.200s'",
                          items[i].file->path);
            return WEIR_ERR_CORRUPT;
        }
        struct checkout_item first = items[i];
        items[i] = items[kept];
        items[kept++] = first;
    }
    *n = kept;
    return WEIR_OK;
}

/* ---- links and refs ---- */

/* Gives the file, or link, `temp` the name `name`, whatever had it. */
static weir_err place(const char *temp, const char *name, struct weir_diag *diag)
{
    if (rename(temp, name) == 0)
        return WEIR_OK;
    weir_err err = fail_errno(diag, name);
    (void)unlink(temp);
    return err;
}

static bool is_link_to(const char *name, const char *to)
{
    char text[PATH_MAX];
    ssize_t n = readlink(name, text, sizeof(text));
    return n == (ssize_t)strlen(to) && memcmp(text, to, (size_t)n) == 0;
}

static weir_err make_link(const char *name, const char *to, struct weir_diag *diag)
{
    if (is_link_to(name, to))
        return WEIR_OK;
    char *temp = checkout_text("%s.weir-link", name);
    if (!temp)
        return WEIR_ERR_NOMEM;
    weir_err err = checkout_folders(name, diag);
    (void)unlink(temp); /* that of an earlier run */
    if (!err && symlink(to, temp) != 0)
        err = fail_errno(diag, temp);
    if (!err)
        err = place(temp, name, diag);
    free(temp);
    return err;
}

/* "../" n times.  NULL: out of memory. */
static char *way_up(size_t n)
{
    char *text = calloc(n + 1, 3);
    for (size_t i = 0; text && i < n; i++)
        snprintf(text + 3 * i, 4, "../");
    return text;
}

/* The link to the blob of `file`, from its place in the snapshot. */
static weir_err link_file(const char *snapshot, const struct weir_hub_file *file,
                          struct weir_diag *diag)
{
    char hex[FILE_HASH_HEX];
    size_t n_up = 2;
    for (const char *c = file->path; *c; c++)
        n_up += *c == '/';
    char *name = checkout_text("%s/%s", snapshot, file->path);
    char *up = way_up(n_up);
    char *to = up ? checkout_text("%sblobs/%s", up, file_hash_hex(file, hex)) : NULL;
    weir_err err = name && to ? make_link(name, to, diag) : WEIR_ERR_NOMEM;
    free(name);
    free(up);
    free(to);
    return err;
}

/* A small file of exactly this text. */
static weir_err write_text(const char *name, const char *text, struct weir_diag *diag)
{
    char *temp = checkout_text("%s.weir-temp", name);
    if (!temp)
        return WEIR_ERR_NOMEM;
    weir_err err = checkout_folders(name, diag);
    int fd = err ? -1 : open(temp, O_WRONLY | O_CREAT | O_TRUNC | O_NOFOLLOW | O_CLOEXEC, 0666);
    size_t n = strlen(text);
    if (!err && (fd < 0 || write(fd, text, n) != (ssize_t)n || fsync(fd) != 0))
        err = fail_errno(diag, temp);
    if (fd >= 0)
        (void)close(fd);
    if (!err)
        err = place(temp, name, diag);
    free(temp);
    return err;
}

static weir_err write_ref(const struct cache *cache, const char *revision, const char *commit,
                          struct weir_diag *diag)
{
    if (strcmp(revision, commit) == 0)
        return WEIR_OK;
    char *name = checkout_text("%s/refs/%s", cache->folder, revision);
    weir_err err = name ? write_text(name, commit, diag) : WEIR_ERR_NOMEM;
    free(name);
    return err;
}

static weir_err tag_cache(const char *root, struct weir_diag *diag)
{
    static const char text[] = "Signature: 8a477f597d28d172789f06886806bc55\n"
                               "# This is a cache of the Hugging Face Hub, made by weir.\n"
                               "# What this file means: https://bford.info/cachedir/\n";
    char *name = checkout_text("%s/CACHEDIR.TAG", root);
    weir_err err = name ? WEIR_OK : WEIR_ERR_NOMEM;
    if (!err && access(name, F_OK) != 0)
        err = write_text(name, text, diag);
    free(name);
    return err;
}

static weir_err link_all(const struct weir_hub *hub, const char *snapshot,
                         const struct weir_checkout_options *options, struct weir_diag *diag)
{
    size_t n;
    const struct weir_hub_file *file = weir_hub_files(hub, &n);
    weir_err err = WEIR_OK;
    for (size_t i = 0; !err && i < n; i++)
        if (!options->wants || options->wants(options->self, file[i].path))
            err = link_file(snapshot, &file[i], diag);
    return err;
}

/* ---- all of it ---- */

static weir_err fetch_blobs(struct weir_http *http, const struct weir_hub *hub,
                            const struct cache *cache, const struct weir_checkout_options *options,
                            struct weir_checkout_result *result, struct weir_diag *diag)
{
    struct checkout_item *items = NULL;
    struct weir_checkout_options how = *options;
    size_t n_all = 0, n = 0;
    how.replace = true; /* a blob whose bytes are not its name's is of no use to anybody */
    weir_err err = checkout_items_new(hub, options, &items, &n_all, diag);
    if (!err)
        err = name_targets(items, n_all, cache);
    n = n_all;
    if (!err)
        err = drop_equal(items, &n, diag);
    if (!err)
        err = checkout_items_fetch(http, items, n, &how, result, diag);
    checkout_items_free(items, n_all);
    return err;
}

weir_err weir_checkout_cache(struct weir_http *http, const struct weir_hub *hub, const char *root,
                             const struct weir_checkout_options *options, char **snapshot,
                             struct weir_checkout_result *result, struct weir_diag *diag)
{
    struct cache cache = {0};
    const struct weir_hub_ref *ref = weir_hub_named(hub);
    *result = (struct weir_checkout_result){0};
    weir_err err = cache_of(ref, root, &cache);
    char *made = err ? NULL : checkout_text("%s/snapshots/%s", cache.folder, weir_hub_commit(hub));
    if (!made)
        err = WEIR_ERR_NOMEM;
    if (!err)
        err = fetch_blobs(http, hub, &cache, options, result, diag);
    if (!err)
        err = tag_cache(root, diag);
    if (!err)
        err = link_all(hub, made, options, diag);
    if (!err)
        err = write_ref(&cache, ref->revision, weir_hub_commit(hub), diag);
    cache_free(&cache);
    if (err)
        free(made);
    else
        *snapshot = made;
    return err;
}

/* ---- without the Hub ---- */

static bool is_commit(const char *text)
{
    return strlen(text) == WEIR_HUB_COMMIT_DIGITS && text[strspn(text, "0123456789abcdef")] == 0;
}

/* The commit that refs/REVISION names, or that the revision itself is. */
static bool cached_commit(const struct cache *cache, const char *revision,
                          char commit[WEIR_HUB_COMMIT_DIGITS + 1])
{
    char text[WEIR_HUB_COMMIT_DIGITS + 8] = "";
    char *name = checkout_text("%s/refs/%s", cache->folder, revision);
    int fd = name ? open(name, O_RDONLY | O_CLOEXEC) : -1;
    ssize_t n = fd < 0 ? -1 : read(fd, text, sizeof(text) - 1);
    if (fd >= 0)
        (void)close(fd);
    free(name);
    text[n < 0 ? 0 : n] = 0;
    text[strcspn(text, " \r\n")] = 0;
    const char *found = n > 0 ? text : revision;
    if (!is_commit(found))
        return false;
    memcpy(commit, found, WEIR_HUB_COMMIT_DIGITS + 1);
    return true;
}

/* nftw() stops at a link to nowhere. */
static int stop_at_nowhere(const char *name, const struct stat *st, int kind, struct FTW *ftw)
{
    (void)name;
    (void)st;
    (void)ftw;
    return kind == FTW_SLN || kind == FTW_NS || kind == FTW_DNR;
}

static weir_err look_at_snapshot(const char *snapshot, struct weir_diag *diag)
{
    enum { MAX_FDS = 16 };
    if (access(snapshot, R_OK | X_OK) == 0 && nftw(snapshot, stop_at_nowhere, MAX_FDS, 0) == 0)
        return WEIR_OK;
    weir_diag_set(diag, "the cache has not all of it: %.300s", snapshot);
    return WEIR_ERR_NOT_FOUND;
}

weir_err weir_checkout_cached(const struct weir_hub_ref *ref, const char *root, char **snapshot,
                              struct weir_diag *diag)
{
    struct cache cache = {0};
    char commit[WEIR_HUB_COMMIT_DIGITS + 1];
    weir_err err = cache_of(ref, root, &cache);
    if (!err && !cached_commit(&cache, ref->revision, commit)) {
        weir_diag_set(diag, "the cache has nothing of this revision: %.300s", cache.folder);
        err = WEIR_ERR_NOT_FOUND;
    }
    char *made = err ? NULL : checkout_text("%s/snapshots/%s", cache.folder, commit);
    if (!err)
        err = made ? look_at_snapshot(made, diag) : WEIR_ERR_NOMEM;
    cache_free(&cache);
    if (err)
        free(made);
    else
        *snapshot = made;
    return err;
}
