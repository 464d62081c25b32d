/* Nothing here ever changes, so the kernel may keep all it has learnt for as long as it likes.
 * What fuse_reply_*() returns says that the asker has gone: there is nobody left to tell. */
#define FUSE_USE_VERSION 312
#include "ops.h"

#include <errno.h>
#include <fcntl.h>
#include <fuse_lowlevel.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statvfs.h>

#include "reader.h"
#include "tree.h"

#define FOREVER_SECONDS 1e9

enum {
    BLOCK_BYTES = 4096, /* of statfs */
    STAT_BLOCK_BYTES = 512,
    DOT_ENTRIES = 2,             /* "." and ".." come before the children */
    MAX_LISTING_BYTES = 1 << 17, /* of one readdir reply; the kernel asks for 4 KiB to 128 KiB */
};

/* ---- replies ---- */

/* The one place where a weir_err becomes an errno. */
static int errno_of(weir_err err)
{
    switch (err) {
    case WEIR_OK:
        return 0;
    case WEIR_ERR_INVALID:
        return EINVAL;
    case WEIR_ERR_NOT_FOUND:
        return ENOENT;
    case WEIR_ERR_UNSUPPORTED:
        return EOPNOTSUPP;
    case WEIR_ERR_NOMEM:
        return ENOMEM;
    case WEIR_ERR_CANCELLED:
        return EINTR;
    case WEIR_ERR_IO:
    case WEIR_ERR_CHANGED:
    case WEIR_ERR_CORRUPT:
    case WEIR_ERR_MISMATCH:
    case WEIR_ERR_NETWORK:
        break;
    }
    return EIO;
}

static void reply_err(fuse_req_t req, weir_err err)
{
    (void)fuse_reply_err(req, errno_of(err));
}

/* ---- nodes and inodes ---- */

static fuse_ino_t ino_of(uint32_t node)
{
    return (fuse_ino_t)node + FUSE_ROOT_ID;
}

static const struct mount *mount_of(fuse_req_t req)
{
    return fuse_req_userdata(req);
}

/* The kernel only sends inode numbers that it got from us. */
static uint32_t node_of(fuse_ino_t ino)
{
    return (uint32_t)(ino - FUSE_ROOT_ID);
}

static const struct tree_node *tree_node_of(fuse_req_t req, fuse_ino_t ino)
{
    return &mount_of(req)->tree->node[node_of(ino)];
}

static mode_t mode_of(const struct weir_entry *entry)
{
    if (!entry)
        return S_IFDIR | 0555;
    if (entry->kind == WEIR_ENTRY_LINK)
        return S_IFLNK | 0777;
    mode_t type = entry->kind == WEIR_ENTRY_DIR ? S_IFDIR : S_IFREG;
    return type | (entry->mode & (mode_t)~0222);
}

static off_t size_of(const struct weir_entry *entry)
{
    if (!entry || entry->kind == WEIR_ENTRY_DIR)
        return 0;
    return entry->kind == WEIR_ENTRY_FILE ? (off_t)entry->size : (off_t)strlen(entry->target);
}

static struct stat stat_of(const struct mount *m, uint32_t i)
{
    const struct tree_node *node = &m->tree->node[i];
    mode_t mode = mode_of(node->entry) & ~m->umask;
    return (struct stat){
        .st_ino = ino_of(i),
        .st_mode = mode,
        .st_nlink = S_ISDIR(mode) ? node->n_dirs + 2 : 1,
        .st_uid = m->uid,
        .st_gid = m->gid,
        .st_size = size_of(node->entry),
        .st_blocks = (blkcnt_t)((node->stored_bytes + STAT_BLOCK_BYTES - 1) / STAT_BLOCK_BYTES),
        .st_blksize = WEIR_TILE_BYTES,
        .st_atim = m->mtime,
        .st_mtim = m->mtime,
        .st_ctim = m->mtime,
    };
}

static struct fuse_entry_param entry_of(const struct mount *m, uint32_t node)
{
    return (struct fuse_entry_param){
        .ino = ino_of(node),
        .attr = stat_of(m, node),
        .attr_timeout = FOREVER_SECONDS,
        .entry_timeout = FOREVER_SECONDS,
    };
}

/* ---- requests ---- */

static void op_init(void *userdata, struct fuse_conn_info *conn)
{
    const struct mount *m = userdata;
    conn->want |= conn->capable & FUSE_CAP_CACHE_SYMLINKS;
    conn->max_read = READER_MAX_BYTES; /* libfuse wants it here and as a mount option */
    if (m->events.ready)
        m->events.ready(m->events.self);
}

static void op_lookup(fuse_req_t req, fuse_ino_t parent, const char *name)
{
    const struct mount *m = mount_of(req);
    uint32_t node = tree_find(m->tree, node_of(parent), name);
    struct fuse_entry_param entry = {.entry_timeout = FOREVER_SECONDS}; /* inode 0: there is none */
    if (node != TREE_ROOT)
        entry = entry_of(m, node);
    (void)fuse_reply_entry(req, &entry);
}

static void op_getattr(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi)
{
    (void)fi;
    struct stat st = stat_of(mount_of(req), node_of(ino));
    (void)fuse_reply_attr(req, &st, FOREVER_SECONDS);
}

static void op_readlink(fuse_req_t req, fuse_ino_t ino)
{
    (void)fuse_reply_readlink(req, tree_node_of(req, ino)->entry->target);
}

static void op_open(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi)
{
    (void)ino;
    if ((fi->flags & O_ACCMODE) != O_RDONLY) {
        (void)fuse_reply_err(req, EROFS);
        return;
    }
    fi->keep_cache = 1;
    fi->noflush = 1;
    (void)fuse_reply_open(req, fi);
}

static void op_read(fuse_req_t req, fuse_ino_t ino, size_t size, off_t off,
                    struct fuse_file_info *fi)
{
    (void)fi;
    const struct mount *m = mount_of(req);
    const struct weir_entry *file = tree_node_of(req, ino)->entry;
    uint64_t at = (uint64_t)off;
    if (off < 0 || at >= file->size || size == 0) {
        (void)fuse_reply_buf(req, NULL, 0);
        return;
    }
    /* The mount option max_read keeps size below the buffer's: a short reply would be the end of
     * the file to the kernel, so a request that is too long can only be refused. */
    size_t n = size < file->size - at ? size : (size_t)(file->size - at);
    if (n > READER_MAX_BYTES) {
        reply_err(req, WEIR_ERR_IO);
        return;
    }
    struct reader_worker *worker = reader_borrow(m->reader);
    weir_err err = reader_read(m->reader, worker, file, at, n);
    if (err)
        reply_err(req, err);
    else
        (void)fuse_reply_buf(req, (const char *)worker->buffer, n);
    reader_return(m->reader, worker);
}

static void op_opendir(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi)
{
    (void)ino;
    fi->cache_readdir = 1;
    fi->keep_cache = 1;
    (void)fuse_reply_open(req, fi);
}

/* ---- listings ---- */

struct listing {
    fuse_req_t req;
    bool plus;
    char *buffer;
    size_t n_bytes, limit;
};

/* False: it does not fit any more. */
static bool list_one(struct listing *l, const char *name, uint32_t node, off_t next)
{
    struct fuse_entry_param entry = entry_of(mount_of(l->req), node);
    char *to = l->buffer + l->n_bytes;
    size_t left = l->limit - l->n_bytes;
    size_t takes = l->plus ? fuse_add_direntry_plus(l->req, to, left, name, &entry, next)
                           : fuse_add_direntry(l->req, to, left, name, &entry.attr, next);
    if (takes > left)
        return false;
    l->n_bytes += takes;
    return true;
}

/* Offset k is that of the k-th line: ".", "..", and the children in order of name. */
static void list_from(struct listing *l, uint32_t dir, uint64_t from)
{
    const struct tree *t = mount_of(l->req)->tree;
    const struct tree_node *node = &t->node[dir];
    for (uint64_t k = from; k < DOT_ENTRIES + (uint64_t)node->n_children; k++) {
        uint32_t who = k == 0 ? dir : node->parent;
        const char *name = k == 0 ? "." : "..";
        if (k >= DOT_ENTRIES) {
            who = t->child[node->first_child + (k - DOT_ENTRIES)];
            name = t->node[who].name;
        }
        if (!list_one(l, name, who, (off_t)k + 1))
            return;
    }
}

static void reply_listing(fuse_req_t req, fuse_ino_t ino, size_t size, off_t off, bool plus)
{
    struct listing l = {.req = req, .plus = plus};
    l.limit = size < MAX_LISTING_BYTES ? size : MAX_LISTING_BYTES;
    l.buffer = malloc(l.limit);
    if (!l.buffer) {
        reply_err(req, WEIR_ERR_NOMEM);
        return;
    }
    list_from(&l, node_of(ino), (uint64_t)off);
    (void)fuse_reply_buf(req, l.buffer, l.n_bytes);
    free(l.buffer);
}

static void op_readdir(fuse_req_t req, fuse_ino_t ino, size_t size, off_t off,
                       struct fuse_file_info *fi)
{
    (void)fi;
    reply_listing(req, ino, size, off, false);
}

static void op_readdirplus(fuse_req_t req, fuse_ino_t ino, size_t size, off_t off,
                           struct fuse_file_info *fi)
{
    (void)fi;
    reply_listing(req, ino, size, off, true);
}

static void op_statfs(fuse_req_t req, fuse_ino_t ino)
{
    (void)ino;
    const struct weir_store_info *info = weir_store_info(mount_of(req)->store);
    struct statvfs st = {
        .f_bsize = WEIR_TILE_BYTES,
        .f_frsize = BLOCK_BYTES,
        .f_blocks = (info->plain_bytes + BLOCK_BYTES - 1) / BLOCK_BYTES,
        .f_files = (fsfilcnt_t)info->n_entries + 1,
        .f_namemax = NAME_MAX,
    };
    (void)fuse_reply_statfs(req, &st);
}

/* No forget: the tree is whole from the start and goes with the mount.  No release: an open file
 * has no state. */
const struct fuse_lowlevel_ops mount_ops = {
    .init = op_init,
    .lookup = op_lookup,
    .getattr = op_getattr,
    .readlink = op_readlink,
    .open = op_open,
    .read = op_read,
    .opendir = op_opendir,
    .readdir = op_readdir,
    .readdirplus = op_readdirplus,
    .statfs = op_statfs,
};
