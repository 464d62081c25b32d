#include "plain_file.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

enum {
    MAX_BAD = 2,    /* times that a file may come wrong */
    MAX_AHEAD = 32, /* parts ahead of the hash: they are still in the page cache then */
};

/* ---- begin ---- */

static weir_err lock(struct plain_file *f, struct weir_diag *diag)
{
    const char *name = f->item->lock;
    if (!name)
        return WEIR_OK;
    weir_err err = checkout_folders(name, diag);
    if (err)
        return err;
    f->lock = open(name, O_RDWR | O_CREAT | O_NOFOLLOW | O_CLOEXEC, 0666);
    if (f->lock < 0)
        return fail_errno(diag, name);
    if (flock(f->lock, LOCK_EX | LOCK_NB) == 0 || errno != EWOULDBLOCK)
        return WEIR_OK; /* where locks do not work, that of the sidecar is left */
    weir_diag_set(diag, "%.400s: another program is fetching it; wait for it, or end it",
                  f->item->target);
    return WEIR_ERR_IO;
}

static weir_err refuse(const struct checkout_item *item, const char *why, struct weir_diag *diag)
{
    weir_diag_set(diag, "%.400s: exists already%s", item->target, why);
    return WEIR_ERR_IO;
}

static const char use_force[] = " with other bytes; use -f to replace it";

weir_err plain_look(const struct checkout_item *item, bool replace, bool *same_size,
                    struct weir_diag *diag)
{
    struct stat st;
    *same_size = false;
    if (lstat(item->target, &st) != 0)
        return errno == ENOENT || errno == ENOTDIR ? WEIR_OK : fail_errno(diag, item->target);
    if (stat(item->target, &st) == 0) {
        *same_size = S_ISREG(st.st_mode) && (uint64_t)st.st_size == item->file->size;
        if (S_ISDIR(st.st_mode))
            return refuse(item, ", a directory", diag);
    }
    return *same_size || replace ? WEIR_OK : refuse(item, use_force, diag);
}

/* Something has the name already: it is looked at where it may be the file. */
static weir_err look_at_target(struct plain_file *f, struct weir_diag *diag)
{
    bool same_size;
    weir_err err = plain_look(f->item, f->replace, &same_size, diag);
    if (err || !same_size)
        return err;
    f->there = open(f->item->target, O_RDONLY | O_CLOEXEC);
    return f->there < 0 ? fail_errno(diag, f->item->target) : WEIR_OK;
}

/* What tells this file from others in a sidecar. */
static void name_digest(const struct weir_hub_file *file, uint8_t digest[WEIR_DIGEST_BYTES])
{
    memset(digest, 0, WEIR_DIGEST_BYTES);
    if (file->has_lfs)
        memcpy(digest, file->sha256, sizeof(file->sha256));
    else
        memcpy(digest, file->sha1, sizeof(file->sha1));
}

static weir_err begin_fetch(struct plain_file *f, struct weir_diag *diag)
{
    const struct weir_hub_file *file = f->item->file;
    uint8_t digest[WEIR_DIGEST_BYTES];
    char etag[FILE_HASH_HEX];
    name_digest(file, digest);
    f->coming = f->n_hashed = f->n_ahead = 0;
    weir_err err = checkout_folders(f->item->target, diag);
    if (!err && !f->remote)
        err = weir_http_file_new(f->client, file->url, file->size, file_hash_hex(file, etag),
                                 &f->remote, diag);
    if (!err)
        err = parts_open(&f->parts, f->item->target, digest, file->size, diag);
    if (err)
        return err;
    f->done = f->resumed = parts_bytes(&f->parts);
    return file_hash_begin(&f->hash, file);
}

weir_err plain_open(struct plain_file *f, struct weir_http *client,
                    const struct checkout_item *item, bool replace, struct weir_diag *diag)
{
    *f = (struct plain_file){.item = item,
                             .client = client,
                             .replace = replace,
                             .lock = -1,
                             .there = -1,
                             .parts.partial = {.data = -1, .marks.fd = -1}};
    f->n = (uint32_t)((item->file->size + PARTS_BYTES - 1) / PARTS_BYTES);
    weir_err err = lock(f, diag);
    if (!err)
        err = look_at_target(f, diag);
    if (err)
        return err;
    return f->there < 0 ? begin_fetch(f, diag) : file_hash_begin(&f->hash, item->file);
}

/* ---- what comes ---- */

static bool is_here(const struct plain_file *f, uint32_t part)
{
    return f->there >= 0 || (f->remote && parts_has(&f->parts, part));
}

bool plain_start(struct plain_file *f, uint32_t *part)
{
    if (f->there >= 0 || f->finished || f->n_ahead >= MAX_AHEAD)
        return false;
    while (f->coming < f->n && is_here(f, f->coming))
        f->coming++;
    if (f->coming == f->n)
        return false;
    *part = f->coming++;
    return true;
}

void plain_landed(struct plain_file *f, uint32_t part)
{
    size_t n = parts_bytes_of(f->item->file->size, part);
    parts_mark(&f->parts, part);
    f->done += n;
    f->n_ahead++;
    /* The disk begins at once; nobody waits, and parts_sync() finds less to do. */
    (void)sync_file_range(f->parts.partial.data, (off_t)part * PARTS_BYTES, (off_t)n,
                          SYNC_FILE_RANGE_WRITE);
}

weir_err plain_sync(struct plain_file *f, bool now, struct weir_diag *diag)
{
    return f->remote && f->parts.partial.data >= 0 && !f->finished
               ? parts_sync(&f->parts, now, diag)
               : WEIR_OK;
}

/* ---- the hash, and the end ---- */

bool plain_has_work(const struct plain_file *f)
{
    return !f->finished && (f->n_hashed == f->n || is_here(f, f->n_hashed));
}

static const char *read_name(const struct plain_file *f)
{
    return f->there >= 0 ? f->item->target : f->parts.partial.data_name;
}

static weir_err hash_part(struct plain_file *f, uint8_t *buffer, struct weir_diag *diag)
{
    int fd = f->there >= 0 ? f->there : f->parts.partial.data;
    off_t at = (off_t)f->n_hashed * PARTS_BYTES;
    size_t left = parts_bytes_of(f->item->file->size, f->n_hashed);
    while (left) {
        ssize_t got = pread(fd, buffer, left < PLAIN_BUFFER ? left : PLAIN_BUFFER, at);
        if (got < 0 && errno == EINTR)
            continue;
        if (got < 0)
            return fail_errno(diag, read_name(f));
        if (got == 0) {
            weir_diag_set(diag, "%.400s: somebody cut it short; run it again", read_name(f));
            return WEIR_ERR_IO;
        }
        weir_err err = file_hash_add(&f->hash, buffer, (size_t)got);
        if (err)
            return err;
        at += got;
        left -= (size_t)got;
    }
    if (f->there >= 0)
        f->done += parts_bytes_of(f->item->file->size, f->n_hashed);
    f->n_hashed++;
    f->n_ahead -= f->n_ahead > 0;
    return WEIR_OK;
}

/* What has the name is not the file: it is fetched in its place, if that may be. */
static weir_err end_look(struct plain_file *f, bool same, struct weir_diag *diag)
{
    (void)close(f->there);
    f->there = -1;
    f->finished = f->was_there = same;
    if (same) {
        partial_forget(f->item->target);
        return WEIR_OK;
    }
    f->done = 0;
    return f->replace ? begin_fetch(f, diag) : refuse(f->item, use_force, diag);
}

/* None of it is any use. */
static weir_err begin_again(struct plain_file *f, struct weir_diag *diag)
{
    parts_close(&f->parts);
    partial_forget(f->item->target);
    f->done = f->resumed = 0;
    if (++f->n_bad < MAX_BAD)
        return begin_fetch(f, diag);
    weir_diag_set(diag,
                  "%.250s: its %s is not what the Hub promises, twice over; what was fetched is "
                  "thrown away: the server, or somebody on the way, has other bytes",
                  f->item->target, file_hash_name(f->item->file));
    return WEIR_ERR_MISMATCH;
}

weir_err plain_work(struct plain_file *f, uint8_t *buffer, struct weir_diag *diag)
{
    bool same;
    if (f->n_hashed < f->n)
        return hash_part(f, buffer, diag);
    weir_err err = file_hash_end(&f->hash, f->item->file, &same);
    if (err)
        return err;
    if (f->there >= 0)
        return end_look(f, same, diag);
    if (!same)
        return begin_again(f, diag);
    err = partial_commit(&f->parts.partial, NULL, f->replace, diag);
    f->finished = !err;
    return err;
}

void plain_close(struct plain_file *f)
{
    if (f->there >= 0)
        (void)close(f->there);
    if (f->lock >= 0)
        (void)close(f->lock);
    f->there = f->lock = -1;
    parts_close(&f->parts);
    file_hash_free(&f->hash);
    weir_http_file_free(f->remote);
    f->remote = NULL;
}
