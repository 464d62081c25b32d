#include "fetch/hub_pack.h"

#include <openssl/evp.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "file_hash.h"
#include "pace.h"
#include "pack_file.h"
#include "remote_files.h"

/* 64 MiB in all, with the program and its libraries: each of two threads' packing takes 8 MiB, and
 * a third time 8 MiB are what finished before its turn. */
enum {
    THREADS = 2,
    CACHE_BYTES = 20 << 20,
    WINDOW_BYTES = 6 << 20,
    FILE_MODE = 0644,
    DIR_MODE = 0755,
};

struct hub_pack {
    const struct weir_hub_pack_options *options;
    struct weir_hub_pack_result *result;
    const struct weir_hub *hub;
    const struct weir_hub_file **file; /* wanted */
    size_t n_files;
    struct hub_entry *self; /* n_files */
    struct weir_pack_entry *entry;
    size_t n_entries;
    char *dirs; /* their paths, one after the other */
    struct remote_files *files;
    struct pack_file to;
    struct pace pace;
    bool is_settled; /* a small file came damaged, again and again; what is packed is fine */
};

/* What an entry's open() needs. */
struct hub_entry {
    struct hub_pack *all;
    size_t number;
};

/* ---- what to pack ---- */

static weir_err open_file(void *self, struct weir_source *out, struct weir_diag *diag)
{
    (void)diag;
    const struct hub_entry *e = self;
    remote_files_source(e->all->files, e->number, out);
    return WEIR_OK;
}

static weir_err choose_files(struct hub_pack *x, struct weir_diag *diag)
{
    size_t n;
    const struct weir_hub_file *file = weir_hub_files(x->hub, &n);
    const struct weir_hub_pack_options *o = x->options;
    x->file = calloc(n + 1, sizeof(struct weir_hub_file *));
    x->self = calloc(n + 1, sizeof(x->self[0]));
    if (!x->file || !x->self)
        return WEIR_ERR_NOMEM;
    for (size_t i = 0; i < n; i++) {
        if (o->wants && !o->wants(o->self, file[i].path))
            continue;
        x->self[x->n_files] = (struct hub_entry){x, x->n_files};
        x->file[x->n_files++] = &file[i];
        x->result->plain_bytes += file[i].size;
    }
    x->result->n_files = x->n_files;
    if (x->n_files)
        return WEIR_OK;
    weir_diag_set(diag, "no file of the repository is wanted");
    return WEIR_ERR_NOT_FOUND;
}

/* Bytes of `path` before the first component that `before` does not begin with, too. */
static size_t shared_dirs(const char *before, const char *path)
{
    size_t n = 0;
    for (size_t i = 0; path[i] && path[i] == before[i]; i++)
        if (path[i] == '/')
            n = i + 1;
    return n;
}

/* Hands every directory that a file lies in to `take`, once: files are ascending by path. */
static void each_dir(const struct hub_pack *x, void *to,
                     void (*take)(void *to, const char *path, size_t n))
{
    const char *before = "";
    for (size_t i = 0; i < x->n_files; before = x->file[i++]->path) {
        const char *path = x->file[i]->path;
        const char *slash = strchr(path + shared_dirs(before, path), '/');
        for (; slash; slash = strchr(slash + 1, '/'))
            take(to, path, (size_t)(slash - path));
    }
}

struct dirs {
    size_t n, n_bytes;
};

static void count_dir(void *to, const char *path, size_t n)
{
    struct dirs *d = to;
    (void)path;
    d->n++;
    d->n_bytes += n + 1;
}

static void add_dir(void *to, const char *path, size_t n)
{
    struct hub_pack *x = to;
    const struct weir_pack_entry *last = x->n_entries ? &x->entry[x->n_entries - 1] : NULL;
    char *at = last ? (char *)(uintptr_t)last->path + strlen(last->path) + 1 : x->dirs;
    memcpy(at, path, n);
    at[n] = 0;
    x->entry[x->n_entries++] =
        (struct weir_pack_entry){.path = at, .kind = WEIR_ENTRY_DIR, .mode = DIR_MODE};
}

static weir_err make_entries(struct hub_pack *x)
{
    struct dirs dirs = {0};
    each_dir(x, &dirs, count_dir);
    x->dirs = malloc(dirs.n_bytes + 1);
    x->entry = calloc(dirs.n + x->n_files, sizeof(x->entry[0]));
    if (!x->dirs || !x->entry)
        return WEIR_ERR_NOMEM;
    each_dir(x, x, add_dir);
    for (size_t i = 0; i < x->n_files; i++)
        x->entry[x->n_entries++] = (struct weir_pack_entry){.path = x->file[i]->path,
                                                            .kind = WEIR_ENTRY_FILE,
                                                            .mode = FILE_MODE,
                                                            .self = &x->self[i],
                                                            .open = open_file};
    return WEIR_OK;
}

/* Commit, and path, size and hash of each file: the plain bytes are no others. */
static weir_err hash_input(const struct hub_pack *x, uint8_t out[WEIR_DIGEST_BYTES])
{
    EVP_MD_CTX *ctx = EVP_MD_CTX_new();
    const char *commit = weir_hub_commit(x->hub);
    bool fine = ctx && EVP_DigestInit_ex(ctx, EVP_sha256(), NULL) == 1 &&
                EVP_DigestUpdate(ctx, commit, strlen(commit)) == 1;
    for (size_t i = 0; fine && i < x->n_files; i++) {
        char hex[FILE_HASH_HEX];
        const char *hash = file_hash_hex(x->file[i], hex);
        fine = EVP_DigestUpdate(ctx, x->file[i]->path, strlen(x->file[i]->path) + 1) == 1 &&
               EVP_DigestUpdate(ctx, hash, strlen(hash) + 1) == 1;
    }
    fine = fine && EVP_DigestFinal_ex(ctx, out, NULL) == 1;
    EVP_MD_CTX_free(ctx);
    return fine ? WEIR_OK : WEIR_ERR_NOMEM;
}

/* ---- what came of it ---- */

static weir_err not_promised(const struct weir_hub_file *file, struct weir_diag *diag)
{
    weir_diag_set(diag, "%.300s: its %s is not what the Hub promises", file->path,
                  file_hash_name(file));
    return WEIR_ERR_MISMATCH;
}

static weir_err hash_segment(const struct weir_store *store, struct weir_store_cursor *cursor,
                             const struct weir_segment *s, struct file_hash *hash,
                             struct weir_diag *diag)
{
    uint8_t *plain = malloc(WEIR_TILE_BYTES);
    if (!plain)
        return WEIR_ERR_NOMEM;
    uint64_t n_tiles = s->bytes ? weir_store_object(store, s->object)->n_tiles : 0;
    weir_err err = WEIR_OK;
    for (uint64_t tile = 0; !err && tile < n_tiles; tile++) {
        err = weir_store_read_tile(cursor, s->object, tile, plain, diag);
        if (!err)
            err = file_hash_add(hash, plain, weir_store_tile_bytes(store, s->object, tile));
    }
    free(plain);
    return err;
}

/* Of a small file the index has no hash that git would know. */
static weir_err check_git(const struct weir_store *store, const struct weir_entry *e,
                          const struct weir_hub_file *file, struct weir_diag *diag)
{
    struct weir_store_cursor *cursor = NULL;
    struct file_hash hash = {0};
    bool same = false;
    weir_err err = weir_store_cursor_new(store, weir_kernels_best(), &cursor);
    if (!err)
        err = file_hash_begin(&hash, file);
    for (uint32_t i = 0; !err && i < e->n_segments; i++)
        err = hash_segment(store, cursor, &e->segment[i], &hash, diag);
    if (!err)
        err = file_hash_end(&hash, file, &same);
    file_hash_free(&hash);
    weir_store_cursor_free(cursor);
    return err || same ? err : not_promised(file, diag);
}

static weir_err check_file(const struct weir_store *store, const struct weir_hub_file *file,
                           struct weir_diag *diag)
{
    const struct weir_entry *e = weir_store_find(store, file->path);
    if (!e || e->kind != WEIR_ENTRY_FILE || e->size != file->size)
        return not_promised(file, diag);
    if (!file->has_lfs)
        return check_git(store, e, file, diag);
    return memcmp(e->sha256, file->sha256, sizeof(e->sha256)) == 0 ? WEIR_OK
                                                                   : not_promised(file, diag);
}

static weir_err check_store(struct hub_pack *x, struct weir_diag *diag)
{
    struct weir_source src;
    struct weir_store *store = NULL;
    pack_file_source(&x->to, &src);
    weir_err err = weir_store_open(&src, &store, diag);
    for (size_t i = 0; !err && i < x->n_files; i++)
        err = check_file(store, x->file[i], diag);
    weir_store_free(store);
    return err == WEIR_ERR_CORRUPT ? WEIR_ERR_MISMATCH : err;
}

/* ---- the run ---- */

static bool tick(void *self, uint64_t done_bytes, uint64_t total_bytes)
{
    struct hub_pack *x = self;
    const struct weir_watch *w = x->options->watch;
    (void)total_bytes; /* not known yet while files are looked at */
    x->result->kept_bytes = done_bytes;
    pace_look(&x->pace);
    return !w || w->tick(w->self, done_bytes, x->result->plain_bytes);
}

static weir_err pack(struct hub_pack *x, struct weir_diag *diag)
{
    struct weir_pack_journal journal;
    struct weir_output output;
    struct weir_pack_result packed = {0};
    const struct weir_watch watch = {x, tick};
    const struct weir_pack_options how = {
        .n_threads = THREADS, .watch = &watch, .window_bytes = WINDOW_BYTES, .journal = &journal};
    pack_file_journal(&x->to, &journal);
    pack_file_output(&x->to, &output);
    weir_err err = hash_input(x, journal.input);
    if (!err)
        err = weir_pack(x->entry, x->n_entries, &output, &how, &packed, diag);
    if (err && x->to.diag.text[0])
        *diag = x->to.diag;
    else if (err == remote_files_why(x->files, diag) && err == WEIR_ERR_MISMATCH)
        x->is_settled = true;
    if (err)
        return err == WEIR_ERR_INVALID   ? WEIR_ERR_UNSUPPORTED
               : err == WEIR_ERR_CORRUPT ? WEIR_ERR_MISMATCH
                                         : err;
    x->result->stored_bytes = packed.stored_bytes;
    x->result->resumed_bytes = packed.resumed_bytes;
    memcpy(x->result->digest, packed.digest, sizeof(packed.digest));
    return check_store(x, diag);
}

/* Once more from the begin if what came, or what an earlier run has left, is damaged. */
static weir_err pack_twice(struct hub_pack *x, struct weir_diag *diag)
{
    weir_err err = pack(x, diag);
    for (int i = 0; i < 2 && err == WEIR_ERR_MISMATCH && !x->is_settled; i++) {
        struct weir_diag ignored;
        x->result->kept_bytes = 0;
        if (pack_file_begin_anew(&x->to, &ignored) != WEIR_OK || i == 1)
            return err;
        x->result->was_refetched = true;
        remote_files_forget(x->files);
        err = pack(x, diag);
    }
    return err;
}

static weir_err check_target(const struct hub_pack *x, const char *target, struct weir_diag *diag)
{
    struct stat st;
    if (lstat(target, &st) != 0 || (x->options->replace && !S_ISDIR(st.st_mode)))
        return WEIR_OK; /* what else is wrong shows when it is made */
    weir_diag_set(diag, "%.400s: exists already%s", target,
                  S_ISDIR(st.st_mode) ? ", a directory" : "; use -f to replace it");
    return WEIR_ERR_IO;
}

static weir_err run(struct hub_pack *x, struct weir_http *http, const char *target,
                    struct weir_diag *diag)
{
    weir_err err = choose_files(x, diag);
    if (!err)
        err = make_entries(x);
    if (!err)
        err = check_target(x, target, diag);
    if (!err)
        err = remote_files_new(http, x->file, x->n_files, CACHE_BYTES, &x->files, diag);
    if (!err)
        err = pack_file_open(&x->to, target, diag);
    if (err)
        return err;
    pace_begin(&x->pace, http, x->options->n_connections);
    err = pack_twice(x, diag);
    if (!err)
        err = pack_file_commit(&x->to, x->options->replace, diag);
    if (err)
        pack_file_keep(&x->to);
    return err;
}

weir_err weir_hub_pack(struct weir_http *http, const struct weir_hub *hub, const char *target,
                       const struct weir_hub_pack_options *options,
                       struct weir_hub_pack_result *result, struct weir_diag *diag)
{
    struct hub_pack x = {
        .options = options, .result = result, .hub = hub, .to = {.data = -1, .side.fd = -1}};
    memset(result, 0, sizeof(*result));
    weir_err err = run(&x, http, target, diag);
    weir_http_cancel(http);
    remote_files_free(x.files);
    result->body_bytes = weir_http_counts(http).n_bytes;
    pack_file_close(&x.to);
    free(x.entry);
    free(x.dirs);
    free(x.self);
    free(x.file);
    return err;
}
