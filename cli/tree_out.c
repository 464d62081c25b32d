#include "tree_out.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include "codec/beneath.h"
#include "interrupt.h"
#include "place.h"

enum { TEMP_BYTES = 64 };

static char *temp_name(const struct tree_out *t, uint32_t entry, char buf[TEMP_BYTES])
{
    snprintf(buf, TEMP_BYTES, ".weir-%016llx-%u.partial", (unsigned long long)t->nonce, entry);
    return buf;
}

/* errno as an error of `entry`; the first one is kept. */
static weir_err complain(struct tree_out *t, uint32_t entry)
{
    int why = errno;
    char name[sizeof(t->diag.text)];
    snprintf(name, sizeof(name), "%s/%s", t->name, weir_store_entry(t->store, entry)->path);
    pthread_mutex_lock(&t->lock);
    errno = why;
    if (t->diag.text[0])
        ;
    else if (why == EEXIST)
        weir_diag_set(&t->diag, "%s: exists already; use -f to replace it", name);
    else if (why == ELOOP || why == ENOTDIR)
        weir_diag_set(&t->diag,
                      "%s: a link or a file is where a folder belongs; move it out of the way",
                      name);
    else
        diag_errno(&t->diag, name);
    pthread_mutex_unlock(&t->lock);
    return why == ENOMEM ? WEIR_ERR_NOMEM : WEIR_ERR_IO;
}

static int open_parent(const struct tree_out *t, const char *path, const char **leaf)
{
    return weir_beneath_parent(t->root, path, leaf);
}

static void close_quietly(int fd)
{
    int why = errno;
    (void)close(fd);
    errno = why;
}

/* ---- before ---- */

/* Looks at what has the entry's name already. */
static weir_err check_free(struct tree_out *t, uint32_t i)
{
    const struct weir_entry *e = weir_store_entry(t->store, i);
    const char *leaf;
    int parent = open_parent(t, e->path, &leaf);
    if (parent < 0)
        return errno == ENOENT ? WEIR_OK : complain(t, i);
    struct stat st;
    int found = fstatat(parent, leaf, &st, AT_SYMLINK_NOFOLLOW);
    close_quietly(parent);
    if (found != 0)
        return errno == ENOENT ? WEIR_OK : complain(t, i);
    t->there[i] = true;
    bool dir = e->kind == WEIR_ENTRY_DIR;
    if (dir && S_ISDIR(st.st_mode))
        return WEIR_OK;
    errno = dir ? ENOTDIR : S_ISDIR(st.st_mode) ? EISDIR : EEXIST;
    return errno == EEXIST && t->replace ? WEIR_OK : complain(t, i);
}

static weir_err make_dir(struct tree_out *t, uint32_t i)
{
    const struct weir_entry *e = weir_store_entry(t->store, i);
    if (e->kind != WEIR_ENTRY_DIR || t->there[i])
        return WEIR_OK;
    const char *leaf;
    int parent = open_parent(t, e->path, &leaf);
    if (parent < 0)
        return complain(t, i);
    t->made[i] = mkdirat(parent, leaf, 0700) == 0;
    close_quietly(parent);
    return t->made[i] ? WEIR_OK : complain(t, i);
}

static weir_err open_root(struct tree_out *t)
{
    t->made_root = mkdir(t->name, 0777) == 0;
    if (t->made_root || errno == EEXIST)
        t->root = open(t->name, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (t->root >= 0)
        return WEIR_OK;
    diag_errno(&t->diag, t->name);
    return WEIR_ERR_IO;
}

/* Small files are many at a time in the decoder's hands. */
static void raise_descriptor_limit(void)
{
    struct rlimit limit;
    if (getrlimit(RLIMIT_NOFILE, &limit) != 0)
        return;
    limit.rlim_cur = limit.rlim_max;
    (void)setrlimit(RLIMIT_NOFILE, &limit); /* if not, open() will say so */
}

weir_err tree_out_open(struct tree_out *t, const struct weir_store *store, const char *folder,
                       bool replace, struct weir_diag *diag)
{
    *t = (struct tree_out){.store = store, .name = folder, .root = -1, .replace = replace};
    pthread_mutex_init(&t->lock, NULL);
    size_t n = weir_store_info(store)->n_entries;
    t->fd = malloc((n + 1) * sizeof(t->fd[0]));
    t->made = calloc(n + 1, sizeof(t->made[0]));
    t->there = calloc(n + 1, sizeof(t->there[0]));
    if (!t->fd || !t->made || !t->there)
        return WEIR_ERR_NOMEM;
    for (size_t i = 0; i < n; i++)
        t->fd[i] = -1;
    if (getrandom(&t->nonce, sizeof(t->nonce), 0) != (ssize_t)sizeof(t->nonce))
        t->nonce = (uint64_t)getpid();
    raise_descriptor_limit();
    weir_err err = open_root(t);
    for (uint32_t i = 0; i < n && !err && !t->made_root; i++)
        err = check_free(t, i);
    for (uint32_t i = 0; i < n && !err; i++)
        err = make_dir(t, i);
    if (err && t->diag.text[0])
        *diag = t->diag;
    return err;
}

/* ---- the sink ---- */

static weir_err begin(void *self, uint32_t entry)
{
    struct tree_out *t = self;
    const struct weir_entry *e = weir_store_entry(t->store, entry);
    if (e->kind != WEIR_ENTRY_FILE)
        return WEIR_OK;
    const char *leaf;
    int parent = open_parent(t, e->path, &leaf);
    if (parent < 0)
        return complain(t, entry);
    char temp[TEMP_BYTES];
    int fd = openat(parent, temp_name(t, entry, temp),
                    O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
    close_quietly(parent);
    if (fd < 0)
        return complain(t, entry);
    t->fd[entry] = fd;
    /* A full disk shows now and not after an hour.  File systems that cannot: no matter. */
    if (e->size && fallocate(fd, 0, 0, (off_t)e->size) != 0 && errno == ENOSPC)
        return complain(t, entry);
    return WEIR_OK;
}

static weir_err write_at(void *self, uint32_t entry, uint64_t at, const void *bytes, size_t n)
{
    struct tree_out *t = self;
    const uint8_t *from = bytes;
    while (n) {
        ssize_t put = pwrite(t->fd[entry], from, n, (off_t)at);
        if (put < 0 && errno == EINTR && !interrupted())
            continue;
        if (put < 0)
            return errno == EINTR ? WEIR_ERR_CANCELLED : complain(t, entry);
        from += put;
        at += (uint64_t)put;
        n -= (size_t)put;
    }
    return WEIR_OK;
}

/* Gives the temporary file of `entry` its name. */
static weir_err settle(struct tree_out *t, uint32_t entry)
{
    const char *leaf;
    int parent = open_parent(t, weir_store_entry(t->store, entry)->path, &leaf);
    if (parent < 0)
        return complain(t, entry);
    char temp[TEMP_BYTES];
    int bad = weir_beneath_place(parent, temp_name(t, entry, temp), parent, leaf, t->replace);
    if (bad) {
        int why = errno;
        (void)unlinkat(parent, temp, 0);
        errno = why;
    }
    close_quietly(parent);
    t->made[entry] = !bad && !t->there[entry];
    return bad ? complain(t, entry) : WEIR_OK;
}

static void drop_temp(struct tree_out *t, uint32_t entry);

static weir_err end(void *self, uint32_t entry)
{
    struct tree_out *t = self;
    const struct weir_entry *e = weir_store_entry(t->store, entry);
    if (e->kind != WEIR_ENTRY_FILE)
        return WEIR_OK;
    int bad = fchmod(t->fd[entry], e->mode);
    weir_err err = bad ? complain(t, entry) : WEIR_OK;
    if (err)
        return err; /* tree_out_close() closes and removes it */
    int fd = t->fd[entry];
    t->fd[entry] = -1;
    if (close(fd) != 0) {
        err = complain(t, entry);
        drop_temp(t, entry);
        return err;
    }
    return settle(t, entry);
}

struct weir_sink tree_out_sink(struct tree_out *t)
{
    return (struct weir_sink){t, begin, write_at, end};
}

/* ---- after ---- */

static weir_err make_link(struct tree_out *t, uint32_t i)
{
    const struct weir_entry *e = weir_store_entry(t->store, i);
    const char *leaf;
    int parent = open_parent(t, e->path, &leaf);
    if (parent < 0)
        return complain(t, i);
    char temp[TEMP_BYTES];
    int bad = symlinkat(e->target, parent, temp_name(t, i, temp));
    close_quietly(parent);
    return bad ? complain(t, i) : settle(t, i);
}

static weir_err set_dir_mode(struct tree_out *t, uint32_t i)
{
    const struct weir_entry *e = weir_store_entry(t->store, i);
    const char *leaf;
    int parent = open_parent(t, e->path, &leaf);
    if (parent < 0)
        return complain(t, i);
    int dir = openat(parent, leaf, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    close_quietly(parent);
    if (dir < 0)
        return complain(t, i);
    int bad = fchmod(dir, e->mode);
    close_quietly(dir);
    return bad ? complain(t, i) : WEIR_OK;
}

weir_err tree_out_finish(struct tree_out *t, struct weir_diag *diag)
{
    uint32_t n = weir_store_info(t->store)->n_entries;
    weir_err err = WEIR_OK;
    for (uint32_t i = 0; i < n && !err; i++)
        if (weir_store_entry(t->store, i)->kind == WEIR_ENTRY_LINK)
            err = interrupted() ? WEIR_ERR_CANCELLED : make_link(t, i);
    /* From the deepest up: a folder that may not be entered any more stays reachable till then. */
    for (uint32_t i = n; i-- > 0 && !err;)
        if (weir_store_entry(t->store, i)->kind == WEIR_ENTRY_DIR)
            err = set_dir_mode(t, i);
    t->finished = !err;
    if (err && t->diag.text[0])
        *diag = t->diag;
    return err;
}

static void drop_temp(struct tree_out *t, uint32_t entry)
{
    const char *leaf;
    int parent = open_parent(t, weir_store_entry(t->store, entry)->path, &leaf);
    if (parent < 0)
        return;
    char temp[TEMP_BYTES];
    (void)unlinkat(parent, temp_name(t, entry, temp), 0);
    (void)close(parent);
}

/* Errors do not count here: there is one already, and what cannot be removed stays. */
static void take_back(struct tree_out *t)
{
    for (uint32_t i = weir_store_info(t->store)->n_entries; i-- > 0;) {
        const struct weir_entry *e = weir_store_entry(t->store, i);
        if (t->fd[i] >= 0)
            drop_temp(t, i);
        const char *leaf;
        int parent = t->made[i] ? open_parent(t, e->path, &leaf) : -1;
        if (parent < 0)
            continue;
        (void)unlinkat(parent, leaf, e->kind == WEIR_ENTRY_DIR ? AT_REMOVEDIR : 0);
        (void)close(parent);
    }
    if (t->made_root)
        (void)rmdir(t->name);
}

void tree_out_close(struct tree_out *t)
{
    if (!t->store)
        return;
    bool half_built = !t->fd || !t->made || !t->there;
    if (!t->finished && !half_built && t->root >= 0)
        take_back(t);
    for (uint32_t i = 0; !half_built && i < weir_store_info(t->store)->n_entries; i++)
        if (t->fd[i] >= 0)
            (void)close(t->fd[i]);
    if (t->root >= 0)
        (void)close(t->root);
    free(t->fd);
    free(t->made);
    free(t->there);
    pthread_mutex_destroy(&t->lock);
    *t = (struct tree_out){.root = -1};
}
