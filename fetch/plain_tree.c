#include "plain_tree.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "codec/beneath.h"
#include "extent_file.h"
#include "marks.h"
#include "plain_hash.h"

enum { MAX_OPEN = 256 }; /* files kept open; the others are opened for each write */

char *plain_tree_shown(const struct plain_tree *t, uint32_t entry, char buf[PLAIN_SHOWN_BYTES])
{
    snprintf(buf, PLAIN_SHOWN_BYTES, "%s/%s", t->name, weir_store_entry(t->store, entry)->path);
    return buf;
}

/* errno as an error of `entry`. */
static weir_err complain(const struct plain_tree *t, uint32_t entry, struct weir_diag *diag)
{
    char name[PLAIN_SHOWN_BYTES];
    int why = errno;
    plain_tree_shown(t, entry, name);
    errno = why;
    if (why == EEXIST)
        weir_diag_set(diag, "%s: exists already; use -f to replace it", name);
    else if (why == ELOOP || why == ENOTDIR || why == EISDIR)
        weir_diag_set(diag, "%s: something else is where it belongs; move it out of the way", name);
    else
        return fail_errno(diag, name);
    return WEIR_ERR_IO;
}

static weir_err complain_of_folder(const struct plain_tree *t, struct weir_diag *diag)
{
    return fail_errno(diag, t->name);
}

static void close_quietly(int fd)
{
    int why = errno;
    (void)close(fd);
    errno = why;
}

static char *staged_name(uint32_t entry, char buf[PLAIN_NAME_BYTES])
{
    snprintf(buf, PLAIN_NAME_BYTES, "%u", entry);
    return buf;
}

static bool is_missing_file(const struct plain_tree *t, uint32_t entry)
{
    return weir_store_entry(t->store, entry)->kind == WEIR_ENTRY_FILE && !t->file[entry].there;
}

/* ---- opening ---- */

static weir_err open_folders(struct plain_tree *t, struct weir_diag *diag)
{
    t->made_root = mkdir(t->name, 0777) == 0;
    if (t->made_root || errno == EEXIST)
        t->root = open(t->name, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (t->root < 0)
        return complain_of_folder(t, diag);
    t->made_staging = mkdirat(t->root, PLAIN_STAGING, 0700) == 0;
    if (t->made_staging || errno == EEXIST)
        t->staging =
            openat(t->root, PLAIN_STAGING, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    if (t->staging >= 0)
        return WEIR_OK;
    char name[PLAIN_SHOWN_BYTES];
    int why = errno;
    snprintf(name, sizeof(name), "%s/" PLAIN_STAGING, t->name);
    errno = why;
    (void)fail_errno(diag, name);
    if (t->made_root)
        (void)rmdir(t->name);
    return WEIR_ERR_IO;
}

weir_err plain_tree_open(struct plain_tree *t, const struct weir_store *store, const char *folder,
                         bool replace, struct weir_diag *diag)
{
    *t = (struct plain_tree){
        .store = store, .name = folder, .root = -1, .staging = -1, .replace = replace};
    pthread_mutex_init(&t->lock, NULL);
    size_t n = weir_store_info(store)->n_entries;
    t->file = calloc(n + 1, sizeof(t->file[0]));
    if (!t->file)
        return WEIR_ERR_NOMEM;
    for (size_t i = 0; i < n; i++)
        t->file[i].fd = -1;
    return open_folders(t, diag);
}

void plain_tree_close(struct plain_tree *t)
{
    if (!t->store)
        return;
    for (uint32_t i = 0; t->file && i < weir_store_info(t->store)->n_entries; i++)
        if (t->file[i].fd >= 0)
            (void)close(t->file[i].fd);
    free(t->file);
    if (t->staging >= 0)
        (void)close(t->staging);
    if (t->root >= 0)
        (void)close(t->root);
    pthread_mutex_destroy(&t->lock);
    *t = (struct plain_tree){.root = -1, .staging = -1};
}

/* ---- what is there ---- */

static weir_err look_at_file(const struct plain_tree *t, int parent, const char *leaf,
                             const struct weir_entry *e, bool *same)
{
    int fd = openat(parent, leaf, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
    if (fd < 0)
        return WEIR_OK; /* one that we may not read is another one */
    weir_err err = plain_hash_file(fd, e->size, e->sha256, t->watch, same);
    close_quietly(fd);
    return err;
}

static bool same_link(int parent, const char *leaf, const struct weir_entry *e)
{
    char target[WEIR_MAX_PATH_BYTES + 1];
    ssize_t n = readlinkat(parent, leaf, target, sizeof(target));
    return n >= 0 && (size_t)n == strlen(e->target) && memcmp(target, e->target, (size_t)n) == 0;
}

static weir_err look_at(struct plain_tree *t, uint32_t i, struct weir_diag *diag)
{
    const struct weir_entry *e = weir_store_entry(t->store, i);
    struct plain_file *file = &t->file[i];
    const char *leaf;
    int parent = weir_beneath_parent(t->root, e->path, &leaf);
    if (parent < 0)
        return errno == ENOENT ? WEIR_OK : complain(t, i, diag);
    struct stat st;
    bool found = fstatat(parent, leaf, &st, AT_SYMLINK_NOFOLLOW) == 0;
    bool failed = !found && errno != ENOENT;
    weir_err err = failed ? complain(t, i, diag) : WEIR_OK;
    if (found && e->kind == WEIR_ENTRY_DIR)
        file->there = S_ISDIR(st.st_mode);
    else if (found && e->kind == WEIR_ENTRY_LINK)
        file->there = S_ISLNK(st.st_mode) && same_link(parent, leaf, e);
    else if (found && S_ISREG(st.st_mode) && (uint64_t)st.st_size == e->size)
        err = look_at_file(t, parent, leaf, e, &file->there);
    close_quietly(parent);
    if (err || !found || file->there)
        return err;
    file->replaces = t->replace && e->kind != WEIR_ENTRY_DIR && !S_ISDIR(st.st_mode);
    errno = e->kind == WEIR_ENTRY_DIR ? ENOTDIR : S_ISDIR(st.st_mode) ? EISDIR : EEXIST;
    return file->replaces ? WEIR_OK : complain(t, i, diag);
}

weir_err plain_tree_look(struct plain_tree *t, const struct weir_watch *watch,
                         struct weir_diag *diag)
{
    weir_err err = WEIR_OK;
    t->watch = watch;
    for (uint32_t i = 0; i < weir_store_info(t->store)->n_entries && !err && !t->made_root; i++)
        err = look_at(t, i, diag);
    return err;
}

/* ---- staging ---- */

weir_err plain_tree_drop(struct plain_tree *t, struct weir_diag *diag)
{
    int fd = openat(t->staging, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    DIR *dir = fd >= 0 ? fdopendir(fd) : NULL;
    if (!dir) {
        if (fd >= 0)
            close_quietly(fd);
        return complain_of_folder(t, diag);
    }
    bool fine = true;
    for (struct dirent *d = readdir(dir); d && fine; d = readdir(dir))
        fine = d->d_name[0] == '.' || strcmp(d->d_name, "marks") == 0 ||
               unlinkat(t->staging, d->d_name, 0) == 0;
    weir_err err = fine ? WEIR_OK : complain_of_folder(t, diag);
    (void)closedir(dir);
    return err;
}

bool plain_tree_is_staged(const struct plain_tree *t, uint32_t entry)
{
    char name[PLAIN_NAME_BYTES];
    struct stat st;
    return fstatat(t->staging, staged_name(entry, name), &st, AT_SYMLINK_NOFOLLOW) == 0 &&
           S_ISREG(st.st_mode) && (uint64_t)st.st_size == weir_store_entry(t->store, entry)->size;
}

static weir_err make_dir(struct plain_tree *t, uint32_t i, struct weir_diag *diag)
{
    const char *leaf;
    int parent = weir_beneath_parent(t->root, weir_store_entry(t->store, i)->path, &leaf);
    if (parent < 0)
        return complain(t, i, diag);
    int bad = mkdirat(parent, leaf, 0700);
    close_quietly(parent);
    return bad ? complain(t, i, diag) : WEIR_OK;
}

/* A full disk shows now and not after an hour.  File systems that cannot: no matter. */
static weir_err make_room(struct plain_tree *t, uint32_t i, struct weir_diag *diag)
{
    uint64_t size = weir_store_entry(t->store, i)->size;
    char name[PLAIN_NAME_BYTES];
    int fd =
        openat(t->staging, staged_name(i, name), O_RDWR | O_CREAT | O_NOFOLLOW | O_CLOEXEC, 0600);
    if (fd < 0)
        return complain(t, i, diag);
    bool fine = ftruncate(fd, (off_t)size) == 0 &&
                (!size || fallocate(fd, 0, 0, (off_t)size) == 0 || errno != ENOSPC);
    weir_err err = fine ? WEIR_OK : complain(t, i, diag);
    close_quietly(fd);
    t->file[i].unsynced = true;
    return err;
}

weir_err plain_tree_prepare(struct plain_tree *t, struct weir_diag *diag)
{
    uint32_t n = weir_store_info(t->store)->n_entries;
    weir_err err = WEIR_OK;
    for (uint32_t i = 0; i < n && !err; i++) {
        if (weir_store_entry(t->store, i)->kind == WEIR_ENTRY_DIR && !t->file[i].there)
            err = make_dir(t, i, diag);
        else if (is_missing_file(t, i))
            err = make_room(t, i, diag);
    }
    if (!err && fsync(t->staging) != 0 && errno != EINVAL)
        err = complain_of_folder(t, diag);
    return err;
}

/* ---- bytes ---- */

/* The entry's file, for let_go().  -1 and errno. */
static int take_file(struct plain_tree *t, uint32_t entry)
{
    struct plain_file *f = &t->file[entry];
    char name[PLAIN_NAME_BYTES];
    pthread_mutex_lock(&t->lock);
    int fd = f->fd;
    if (fd < 0) {
        fd = openat(t->staging, staged_name(entry, name), O_RDWR | O_NOFOLLOW | O_CLOEXEC);
        if (fd >= 0 && t->n_open < MAX_OPEN) {
            f->fd = fd;
            t->n_open++;
        }
    }
    pthread_mutex_unlock(&t->lock);
    return fd;
}

/* wrote: plain_tree_sync() has work to do, from now on and not from before the write. */
static void let_go(struct plain_tree *t, uint32_t entry, int fd, bool wrote)
{
    pthread_mutex_lock(&t->lock);
    bool kept = t->file[entry].fd == fd;
    t->file[entry].unsynced = t->file[entry].unsynced || wrote;
    pthread_mutex_unlock(&t->lock);
    if (!kept)
        close_quietly(fd);
}

weir_err plain_tree_write(struct plain_tree *t, uint32_t entry, uint64_t at, const void *bytes,
                          size_t n, struct weir_diag *diag)
{
    int fd = take_file(t, entry);
    if (fd < 0)
        return complain(t, entry, diag);
    weir_err err = extents_write(fd, at, bytes, n) ? WEIR_OK : complain(t, entry, diag);
    let_go(t, entry, fd, true);
    return err;
}

weir_err plain_tree_read(struct plain_tree *t, uint32_t entry, uint64_t at, void *bytes, size_t n,
                         struct weir_diag *diag)
{
    int fd = take_file(t, entry);
    if (fd < 0)
        return complain(t, entry, diag);
    uint8_t *to = bytes;
    weir_err err = WEIR_OK;
    while (n && !err) {
        ssize_t got = pread(fd, to, n, (off_t)at);
        if (got < 0 && errno == EINTR)
            continue;
        if (got == 0)
            errno = EIO;
        if (got <= 0) {
            err = complain(t, entry, diag);
            break;
        }
        to += got;
        at += (uint64_t)got;
        n -= (size_t)got;
    }
    let_go(t, entry, fd, false);
    return err;
}

weir_err plain_tree_sync(struct plain_tree *t, struct weir_diag *diag)
{
    weir_err err = WEIR_OK;
    for (uint32_t i = 0; i < weir_store_info(t->store)->n_entries && !err; i++) {
        if (!is_missing_file(t, i))
            continue;
        pthread_mutex_lock(&t->lock);
        bool unsynced = t->file[i].unsynced;
        t->file[i].unsynced = false;
        pthread_mutex_unlock(&t->lock);
        if (!unsynced)
            continue;
        int fd = take_file(t, i);
        if (fd < 0)
            return complain(t, i, diag);
        err = fdatasync(fd) == 0 ? WEIR_OK : complain(t, i, diag);
        let_go(t, i, fd, false);
    }
    return err;
}

/* ---- names ---- */

weir_err plain_tree_place(struct plain_tree *t, uint32_t entry, struct weir_diag *diag)
{
    const struct weir_entry *e = weir_store_entry(t->store, entry);
    struct plain_file *f = &t->file[entry];
    char staged[PLAIN_NAME_BYTES];
    const char *leaf;
    int fd = take_file(t, entry);
    if (fd < 0)
        return complain(t, entry, diag);
    bool fine = fchmod(fd, e->mode) == 0 && fsync(fd) == 0;
    int why = errno;
    pthread_mutex_lock(&t->lock);
    t->n_open -= f->fd >= 0;
    f->fd = -1;
    pthread_mutex_unlock(&t->lock);
    (void)close(fd);
    errno = why;
    if (!fine)
        return complain(t, entry, diag);
    int parent = weir_beneath_parent(t->root, e->path, &leaf);
    if (parent < 0)
        return complain(t, entry, diag);
    f->there =
        weir_beneath_place(t->staging, staged_name(entry, staged), parent, leaf, f->replaces) == 0;
    close_quietly(parent);
    return f->there ? WEIR_OK : complain(t, entry, diag);
}

static weir_err make_link(struct plain_tree *t, uint32_t i, struct weir_diag *diag)
{
    const struct weir_entry *e = weir_store_entry(t->store, i);
    char temp[PLAIN_NAME_BYTES];
    const char *leaf;
    staged_name(i, temp);
    int parent = weir_beneath_parent(t->root, e->path, &leaf);
    if (parent < 0)
        return complain(t, i, diag);
    (void)unlinkat(t->staging, temp, 0);
    int bad = symlinkat(e->target, t->staging, temp);
    if (!bad)
        bad = weir_beneath_place(t->staging, temp, parent, leaf, t->file[i].replaces);
    close_quietly(parent);
    t->file[i].there = !bad;
    return bad ? complain(t, i, diag) : WEIR_OK;
}

static weir_err end_dir(struct plain_tree *t, uint32_t i, struct weir_diag *diag)
{
    const struct weir_entry *e = weir_store_entry(t->store, i);
    const char *leaf;
    int parent = weir_beneath_parent(t->root, e->path, &leaf);
    if (parent < 0)
        return complain(t, i, diag);
    int dir = openat(parent, leaf, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    close_quietly(parent);
    if (dir < 0)
        return complain(t, i, diag);
    bool fine = fchmod(dir, e->mode) == 0 && (fsync(dir) == 0 || errno == EINVAL);
    close_quietly(dir);
    return fine ? WEIR_OK : complain(t, i, diag);
}

static void remove_staging(struct plain_tree *t)
{
    struct weir_diag ignored;
    weir_err err = plain_tree_drop(t, &ignored);
    (void)err; /* what cannot be removed stays */
    (void)unlinkat(t->staging, "marks", 0);
    (void)unlinkat(t->root, PLAIN_STAGING, AT_REMOVEDIR);
}

weir_err plain_tree_finish(struct plain_tree *t, struct weir_diag *diag)
{
    uint32_t n = weir_store_info(t->store)->n_entries;
    weir_err err = WEIR_OK;
    for (uint32_t i = 0; i < n && !err; i++)
        if (weir_store_entry(t->store, i)->kind == WEIR_ENTRY_LINK && !t->file[i].there)
            err = make_link(t, i, diag);
    /* From the deepest up: a folder that may not be entered any more stays reachable till then. */
    for (uint32_t i = n; i-- > 0 && !err;)
        if (weir_store_entry(t->store, i)->kind == WEIR_ENTRY_DIR)
            err = end_dir(t, i, diag);
    if (!err && fsync(t->root) != 0 && errno != EINVAL)
        err = complain_of_folder(t, diag);
    if (!err)
        remove_staging(t);
    return err;
}

void plain_tree_take_back(struct plain_tree *t)
{
    remove_staging(t);
    if (t->made_root)
        (void)rmdir(t->name);
}
