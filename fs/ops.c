/* Nothing here ever changes but status.json, so the kernel may keep all it has learnt for as long
 * as it likes.  What fuse_reply_*() returns says that the asker has gone: there is nobody left to
 * tell.
 *
 * All of this runs on the one thread that hears requests; reads it leaves to others. */
#define FUSE_USE_VERSION 312
#include <errno.h>
#include <fcntl.h>
#include <fuse_lowlevel.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statvfs.h>

#include "ahead.h"
#include "answer.h"
#include "inode.h"
#include "mounted.h"
#include "reader.h"
#include "special.h"
#include "tree.h"
#include "xattr.h"

enum {
    BLOCK_BYTES = 4096,          /* of statfs */
    MAX_BACKGROUND = 64,         /* reads ahead that the kernel may have going at once */
    MAX_LISTING_BYTES = 1 << 17, /* of one readdir reply; the kernel asks for 4 KiB to 128 KiB */
};

/* Every request comes by here. */
static struct mount *heard(fuse_req_t req, fuse_ino_t ino, uint32_t *node)
{
    struct mount *m = fuse_req_userdata(req);
    *node = inode_node(m, ino);
    atomic_fetch_add(&m->n_heard, 1);
    if (!is_special(m, *node))
        atomic_fetch_add(&m->n_requests, 1);
    return m;
}

static void op_init(void *userdata, struct fuse_conn_info *conn)
{
    struct mount *m = userdata;
    conn->want |= conn->capable & FUSE_CAP_CACHE_SYMLINKS;
    conn->max_read = READER_MAX_BYTES; /* libfuse wants it here and as a mount option */
    conn->max_background = MAX_BACKGROUND;
    conn->congestion_threshold = MAX_BACKGROUND * 3 / 4;
    if (!(conn->capable & FUSE_CAP_NO_OPEN_SUPPORT))
        m->hears_opens = true;
    m->is_up = true;
}

static void op_lookup(fuse_req_t req, fuse_ino_t parent, const char *name)
{
    uint32_t dir, node;
    struct mount *m = heard(req, parent, &dir);
    struct fuse_entry_param entry = {.entry_timeout = FOREVER_SECONDS}; /* inode 0: there is none */
    if (inode_find(m, dir, name, &node))
        entry = inode_entry(m, node);
    (void)fuse_reply_entry(req, &entry);
}

static void op_getattr(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi)
{
    (void)fi;
    uint32_t node;
    struct mount *m = heard(req, ino, &node);
    struct stat st = inode_stat(m, node);
    (void)fuse_reply_attr(req, &st, inode_attr_seconds(m, node));
}

static void op_readlink(fuse_req_t req, fuse_ino_t ino)
{
    uint32_t node;
    const struct mount *m = heard(req, ino, &node);
    if (tree_link_leaves(m->tree, node))
        (void)fuse_reply_err(req, EXDEV);
    else
        (void)fuse_reply_readlink(req, m->tree->node[node].entry->target);
}

static void op_open(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi)
{
    uint32_t node;
    const struct mount *m = heard(req, ino, &node);
    if ((fi->flags & O_ACCMODE) != O_RDONLY) {
        (void)fuse_reply_err(req, EROFS);
        return;
    }
    if (!m->hears_opens) { /* the kernel opens by itself from now on, and keeps its pages */
        (void)fuse_reply_err(req, ENOSYS);
        return;
    }
    fi->keep_cache = 1;
    fi->noflush = 1;
    (void)fuse_reply_open(req, fi);
}

static void op_read(fuse_req_t req, fuse_ino_t ino, size_t size, off_t off,
                    struct fuse_file_info *fi)
{
    uint32_t node;
    struct mount *m = heard(req, ino, &node);
    uint64_t at = (uint64_t)off, file_bytes = (uint64_t)inode_stat(m, node).st_size;
    if (off < 0 || at >= file_bytes || size == 0) {
        (void)fuse_reply_buf(req, NULL, 0);
        return;
    }
    /* The mount option max_read keeps size below the buffer's: a short reply would be the end of
     * the file to the kernel, so a request that is too long can only be refused. */
    size_t n = size < file_bytes - at ? size : (size_t)(file_bytes - at);
    if (n > READER_MAX_BYTES) {
        (void)fuse_reply_err(req, EIO);
        return;
    }
    const struct answer_job job = {.request = req, .node = node, .at = at, .n = n};
    answer_later(m->answer, &job); /* first, so that nothing is stored into its pages */
    if (!is_special(m, node))
        ahead_saw(m->ahead, node, at, n, fi->flags & O_DIRECT);
}

static void op_opendir(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi)
{
    uint32_t node;
    (void)heard(req, ino, &node);
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
static bool list_one(const struct mount *m, struct listing *l, const char *name, uint32_t node,
                     off_t next)
{
    struct fuse_entry_param entry = inode_entry(m, node);
    char *to = l->buffer + l->n_bytes;
    size_t left = l->limit - l->n_bytes;
    size_t takes = l->plus ? fuse_add_direntry_plus(l->req, to, left, name, &entry, next)
                           : fuse_add_direntry(l->req, to, left, name, &entry.attr, next);
    if (takes > left)
        return false;
    l->n_bytes += takes;
    return true;
}

static void reply_listing(fuse_req_t req, fuse_ino_t ino, size_t size, off_t off, bool plus)
{
    uint32_t dir;
    const struct mount *m = heard(req, ino, &dir);
    struct listing l = {.req = req, .plus = plus};
    l.limit = size < MAX_LISTING_BYTES ? size : MAX_LISTING_BYTES;
    l.buffer = malloc(l.limit);
    if (!l.buffer) {
        (void)fuse_reply_err(req, ENOMEM);
        return;
    }
    uint32_t node;
    const char *name;
    for (uint64_t k = (uint64_t)off; inode_line(m, dir, k, &node, &name); k++)
        if (!list_one(m, &l, name, node, (off_t)k + 1))
            break;
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
    uint32_t node;
    const struct mount *m = heard(req, ino, &node);
    struct statvfs st = {
        .f_bsize = WEIR_TILE_BYTES,
        .f_frsize = BLOCK_BYTES,
        .f_blocks = (m->tree->plain_bytes + BLOCK_BYTES - 1) / BLOCK_BYTES,
        .f_files = (fsfilcnt_t)m->tree->n_shown,
        .f_namemax = NAME_MAX,
    };
    (void)fuse_reply_statfs(req, &st);
}

/* ---- attributes of ours ---- */

static void op_getxattr(fuse_req_t req, fuse_ino_t ino, const char *name, size_t size)
{
    uint32_t node;
    const struct mount *m = heard(req, ino, &node);
    char value[XATTR_MAX_BYTES];
    size_t n = xattr_get(m, node, name, value);
    if (xattr_is_ratio(m, node, name)) {
        const struct answer_job job = {.request = req, .node = node, .room = size};
        answer_later(m->slow, &job);
    } else if (n == 0) {
        (void)fuse_reply_err(req, ENODATA);
    } else {
        xattr_reply(req, size, value, n);
    }
}

static void op_listxattr(fuse_req_t req, fuse_ino_t ino, size_t size)
{
    uint32_t node;
    const struct mount *m = heard(req, ino, &node);
    char names[XATTR_MAX_BYTES];
    xattr_reply(req, size, names, xattr_list(m, node, names));
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
    .getxattr = op_getxattr,
    .listxattr = op_listxattr,
};
