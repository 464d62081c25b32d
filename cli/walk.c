#include "walk.h"

#include <dirent.h>
#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "interrupt.h"

enum {
    MAX_ENTRIES = 1 << 20, /* more does not fit the 64 MiB of an index anyway */
};

/* The folders from the root to where we are; on the stack of the recursion. */
struct above {
    const struct above *up;
    dev_t dev;
    ino_t ino;
};

struct walker {
    const struct walk_options *options;
    struct walk *walk;
    size_t prefix_bytes; /* of `from` before the path in the store */
    struct weir_diag *diag;
};

void walk_free(struct walk *walk)
{
    if (!walk)
        return;
    for (size_t i = 0; i < walk->n; i++) {
        free(walk->item[i].from);
        free(walk->item[i].target);
    }
    free(walk->item);
    free(walk);
}

static weir_err no_access(struct walker *w, const char *from)
{
    weir_diag_set(w->diag, "%s: %s", from, strerror(errno));
    return errno == ENOENT || errno == ENOTDIR ? WEIR_ERR_NOT_FOUND : WEIR_ERR_IO;
}

/* Takes `from` and `target` over, on error too. */
static weir_err add(struct walker *w, char *from, char *target, enum weir_entry_kind kind,
                    const struct stat *seen)
{
    struct walk *walk = w->walk;
    weir_err err = WEIR_OK;
    if (walk->n == MAX_ENTRIES) {
        weir_diag_set(w->diag, "%s: more than %d entries; pack a smaller tree", from, MAX_ENTRIES);
        err = WEIR_ERR_UNSUPPORTED;
    } else if (walk->n == walk->capacity) {
        size_t capacity = walk->capacity ? 2 * walk->capacity : 64;
        struct walk_item *more = realloc(walk->item, capacity * sizeof(*more));
        err = more ? WEIR_OK : WEIR_ERR_NOMEM;
        walk->item = more ? more : walk->item;
        walk->capacity = more ? capacity : walk->capacity;
    }
    if (err) {
        free(from);
        free(target);
        return err;
    }
    walk->item[walk->n++] = (struct walk_item){from + w->prefix_bytes, from, target, kind, *seen};
    walk->n_files += kind == WEIR_ENTRY_FILE;
    walk->n_dirs += kind == WEIR_ENTRY_DIR;
    walk->n_links += kind == WEIR_ENTRY_LINK;
    return WEIR_OK;
}

/* docs/format.md 3.4: ".." only before the first name, and no more of them than there are folders
 * above the link. */
static bool may_be_kept(const char *path, const char *target)
{
    if (target[0] == '/')
        return false;
    size_t depth = 0;
    for (const char *c = path; *c; c++)
        depth += *c == '/';
    for (bool named = false; *target;) {
        size_t n = strcspn(target, "/");
        if (n == 2 && memcmp(target, "..", 2) == 0) {
            if (named || depth == 0)
                return false;
            depth--;
        } else if (n > 1 || (n == 1 && target[0] != '.')) {
            named = true;
        }
        target += n + (target[n] == '/');
    }
    return true;
}

/* --keep-links: the link at `from` (owned by us now) as an entry. */
static weir_err add_link(struct walker *w, char *from, const struct stat *seen)
{
    char target[PATH_MAX];
    ssize_t n = readlink(from, target, sizeof(target) - 1);
    weir_err err = n < 0 ? no_access(w, from) : WEIR_OK;
    target[n < 0 ? 0 : n] = 0;
    if (!err && !may_be_kept(from + w->prefix_bytes, target)) {
        weir_diag_set(w->diag,
                      "%s: the link leaves the tree, or may (to %s); without --keep-links what it "
                      "shows is packed",
                      from, target);
        err = WEIR_ERR_IO;
    }
    char *copy = err ? NULL : strdup(target);
    if (!copy) {
        free(from);
        return err ? err : WEIR_ERR_NOMEM;
    }
    return add(w, from, copy, WEIR_ENTRY_LINK, seen);
}

static weir_err refuse_kind(struct walker *w, const char *from, mode_t mode)
{
    const char *kind = S_ISSOCK(mode)   ? "a socket"
                       : S_ISFIFO(mode) ? "a FIFO"
                       : S_ISCHR(mode)  ? "a character device"
                       : S_ISBLK(mode)  ? "a block device"
                                        : "neither a file nor a directory";
    weir_diag_set(w->diag, "%s: %s cannot be packed; remove it or move it elsewhere", from, kind);
    return WEIR_ERR_UNSUPPORTED;
}

static int compare_names(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

struct names {
    size_t n, capacity;
    char **name;
};

static void names_free(struct names *names)
{
    for (size_t i = 0; i < names->n; i++)
        free(names->name[i]);
    free(names->name);
}

static weir_err names_add(struct names *names, const char *name)
{
    if (names->n == names->capacity) {
        size_t capacity = names->capacity ? 2 * names->capacity : 32;
        char **more =
            capacity <= MAX_ENTRIES ? realloc(names->name, capacity * sizeof(*more)) : NULL;
        if (!more)
            return WEIR_ERR_NOMEM;
        names->name = more;
        names->capacity = capacity;
    }
    names->name[names->n] = strdup(name);
    if (!names->name[names->n])
        return WEIR_ERR_NOMEM;
    names->n++;
    return WEIR_OK;
}

/* Closed again before anybody goes deeper: a deep tree must not run out of descriptors. */
static weir_err names_read(struct walker *w, const char *from, struct names *names)
{
    DIR *dir = opendir(from);
    if (!dir)
        return no_access(w, from);
    weir_err err = WEIR_OK;
    while (!err) {
        errno = 0;
        const struct dirent *d = readdir(dir);
        if (!d) {
            err = errno ? no_access(w, from) : WEIR_OK;
            break;
        }
        if (strcmp(d->d_name, ".") != 0 && strcmp(d->d_name, "..") != 0)
            err = names_add(names, d->d_name);
    }
    (void)closedir(dir); /* read only: nothing to lose */
    if (!err && names->n)
        qsort(names->name, names->n, sizeof(names->name[0]), compare_names);
    return err;
}

static weir_err walk_dir(struct walker *w, const char *from, const struct stat *st,
                         const struct above *above);

/* A file, directory or link below the root.  Takes `from` over. */
static weir_err visit(struct walker *w, char *from, const struct above *above)
{
    struct stat link, st;
    weir_err err = interrupted() ? WEIR_ERR_CANCELLED : WEIR_OK;
    if (!err && lstat(from, &link) != 0)
        err = no_access(w, from);
    else if (!err && stat(from, &st) != 0) {
        bool broken = S_ISLNK(link.st_mode) && (errno == ENOENT || errno == ELOOP);
        err = no_access(w, from);
        if (broken)
            weir_diag_set(w->diag, "%s: a dangling link; restore what it shows or remove it", from);
    } else if (!err && !S_ISREG(st.st_mode) && !S_ISDIR(st.st_mode))
        err = refuse_kind(w, from, st.st_mode);
    if (err) {
        free(from);
        return err;
    }
    const struct stat *skip = w->options->skip;
    if (skip && skip->st_dev == st.st_dev && skip->st_ino == st.st_ino) {
        free(from);
        return WEIR_OK;
    }
    if (w->options->keep_links && S_ISLNK(link.st_mode))
        return add_link(w, from, &link);
    if (S_ISREG(st.st_mode))
        return add(w, from, NULL, WEIR_ENTRY_FILE, &st);
    err = add(w, from, NULL, WEIR_ENTRY_DIR, &st);
    return err ? err : walk_dir(w, from, &st, above);
}

static weir_err walk_dir(struct walker *w, const char *from, const struct stat *st,
                         const struct above *above)
{
    for (const struct above *a = above; a; a = a->up)
        if (a->dev == st->st_dev && a->ino == st->st_ino) {
            weir_diag_set(w->diag, "%s: the link leads back to a folder it lies in; remove it%s",
                          from, w->options->keep_links ? "" : " or use --keep-links");
            return WEIR_ERR_IO;
        }
    struct above here = {above, st->st_dev, st->st_ino};
    struct names names = {0};
    weir_err err = names_read(w, from, &names);
    for (size_t i = 0; i < names.n && !err; i++) {
        size_t bytes = strlen(from) + 1 + strlen(names.name[i]) + 1;
        char *child = malloc(bytes);
        if (!child) {
            err = WEIR_ERR_NOMEM;
            break;
        }
        bool slash = from[0] && from[strlen(from) - 1] == '/';
        snprintf(child, bytes, "%s%s%s", from, slash ? "" : "/", names.name[i]);
        err = visit(w, child, &here);
    }
    names_free(&names);
    return err;
}

static weir_err walk_root(struct walker *w, const char *from)
{
    struct stat st;
    if (stat(from, &st) != 0)
        return no_access(w, from);
    if (S_ISDIR(st.st_mode)) {
        size_t n = strlen(from);
        w->prefix_bytes = n + (from[n - 1] != '/');
        return walk_dir(w, from, &st, NULL);
    }
    if (!S_ISREG(st.st_mode))
        return refuse_kind(w, from, st.st_mode);
    const char *slash = strrchr(from, '/');
    w->prefix_bytes = slash ? (size_t)(slash + 1 - from) : 0;
    char *copy = strdup(from);
    return copy ? add(w, copy, NULL, WEIR_ENTRY_FILE, &st) : WEIR_ERR_NOMEM;
}

weir_err walk_tree(const char *from, const struct walk_options *options, struct walk **out,
                   struct weir_diag *diag)
{
    if (!from[0]) {
        weir_diag_set(diag, "the name is empty; name a directory or a file");
        return WEIR_ERR_INVALID;
    }
    struct walk *walk = calloc(1, sizeof(*walk));
    if (!walk)
        return WEIR_ERR_NOMEM;
    struct walker w = {options, walk, 0, diag};
    weir_err err = walk_root(&w, from);
    if (err) {
        walk_free(walk);
        return err;
    }
    *out = walk;
    return WEIR_OK;
}

/* ---- what weir_pack() asks of an entry ---- */

static weir_err item_open(void *self, struct weir_source *out, struct weir_diag *diag)
{
    const struct walk_item *item = self;
    weir_err err = weir_source_open_file(item->from, out, diag);
    if (!err && out->size != (uint64_t)item->seen.st_size) {
        weir_source_close(out);
        weir_diag_set(diag, "%s: its size changed while it was packed", item->from);
        return WEIR_ERR_CHANGED;
    }
    /* It was a regular file a moment ago. */
    return err == WEIR_ERR_INVALID ? WEIR_ERR_CHANGED : err;
}

static bool same_time(struct timespec a, struct timespec b)
{
    return a.tv_sec == b.tv_sec && a.tv_nsec == b.tv_nsec;
}

static bool item_unchanged(void *self)
{
    const struct walk_item *item = self;
    const struct stat *was = &item->seen;
    struct stat is;
    return stat(item->from, &is) == 0 && is.st_dev == was->st_dev && is.st_ino == was->st_ino &&
           is.st_size == was->st_size && same_time(is.st_mtim, was->st_mtim) &&
           same_time(is.st_ctim, was->st_ctim);
}

struct weir_pack_entry *walk_entries(const struct walk *walk)
{
    struct weir_pack_entry *entry = calloc(walk->n + 1, sizeof(*entry));
    for (size_t i = 0; entry && i < walk->n; i++) {
        struct walk_item *item = &walk->item[i];
        bool file = item->kind == WEIR_ENTRY_FILE;
        entry[i] = (struct weir_pack_entry){
            .path = item->path,
            .kind = item->kind,
            .mode = item->kind == WEIR_ENTRY_LINK ? 0777 : (uint16_t)(item->seen.st_mode & 07777),
            .target = item->target,
            .self = item,
            .open = file ? item_open : NULL,
            .unchanged = file ? item_unchanged : NULL,
        };
    }
    return entry;
}
