#include "inode.h"

#include <string.h>

#include "special.h"
#include "tree.h"

enum {
    STAT_BLOCK_BYTES = 512,
    DOT_ENTRIES = 2, /* "." and ".." come before the children */
};

/* The tree's root may be any directory of the store; 1 is the kernel's name for it. */
fuse_ino_t inode_of(const struct mount *m, uint32_t node)
{
    return node == m->tree->root ? FUSE_ROOT_ID : (fuse_ino_t)node + FUSE_ROOT_ID + 1;
}

uint32_t inode_node(const struct mount *m, fuse_ino_t ino)
{
    return ino == FUSE_ROOT_ID ? m->tree->root : (uint32_t)(ino - FUSE_ROOT_ID - 1);
}

/* ---- attributes ---- */

static mode_t mode_of(const struct mount *m, const struct weir_entry *entry)
{
    if (!entry)
        return S_IFDIR | (0555 & ~m->umask);
    if (entry->kind == WEIR_ENTRY_LINK)
        return S_IFLNK | 0777;
    mode_t type = entry->kind == WEIR_ENTRY_DIR ? S_IFDIR : S_IFREG;
    return type | (entry->mode & (mode_t)~0222 & ~m->umask);
}

static off_t size_of(const struct weir_entry *entry)
{
    if (!entry || entry->kind == WEIR_ENTRY_DIR)
        return 0;
    return entry->kind == WEIR_ENTRY_FILE ? (off_t)entry->size : (off_t)strlen(entry->target);
}

static void fill_special(const struct mount *m, enum special which, struct stat *st)
{
    st->st_mode = S_IFREG | (0444 & ~m->umask);
    if (which == SPECIAL_DIR) {
        st->st_mode = S_IFDIR | (0555 & ~m->umask);
        st->st_nlink = 2;
    } else if (which == SPECIAL_STORE) {
        st->st_mode = S_IFREG | (m->store_mode & ~m->umask);
        st->st_size = (off_t)weir_store_info(m->store)->stored_bytes;
        st->st_blocks = (st->st_size + STAT_BLOCK_BYTES - 1) / STAT_BLOCK_BYTES;
    } else {
        st->st_size = STATUS_BYTES;
        clock_gettime(CLOCK_REALTIME, &st->st_mtim); /* the kernel forgets what it has of it */
        st->st_ctim = st->st_mtim;
    }
}

struct stat inode_stat(const struct mount *m, uint32_t node)
{
    struct stat st = {
        .st_ino = inode_of(m, node),
        .st_nlink = 1,
        .st_uid = m->uid,
        .st_gid = m->gid,
        .st_blksize = WEIR_TILE_BYTES,
        .st_atim = m->mtime,
        .st_mtim = m->mtime,
        .st_ctim = m->mtime,
    };
    if (is_special(m, node)) {
        fill_special(m, special_of(m, node), &st);
        return st;
    }
    const struct tree_node *n = &m->tree->node[node];
    st.st_mode = mode_of(m, n->entry);
    st.st_size = size_of(n->entry);
    st.st_blocks = (blkcnt_t)((n->stored_bytes + STAT_BLOCK_BYTES - 1) / STAT_BLOCK_BYTES);
    if (S_ISDIR(st.st_mode))
        st.st_nlink = n->n_dirs + 2;
    return st;
}

double inode_attr_seconds(const struct mount *m, uint32_t node)
{
    return node == special_node(m, SPECIAL_STATUS) ? 0 : FOREVER_SECONDS;
}

struct fuse_entry_param inode_entry(const struct mount *m, uint32_t node)
{
    return (struct fuse_entry_param){
        .ino = inode_of(m, node),
        .attr = inode_stat(m, node),
        .attr_timeout = inode_attr_seconds(m, node),
        .entry_timeout = FOREVER_SECONDS,
    };
}

/* ---- directories ---- */

/* What the store has goes first: a tree that was packed comes back as it was. */
bool inode_find(const struct mount *m, uint32_t dir, const char *name, uint32_t *out)
{
    if (!is_special(m, dir)) {
        *out = tree_find(m->tree, dir, name);
        if (*out != TREE_NONE)
            return true;
    }
    return special_find(m, dir, name, out);
}

/* The children of `.weir`. */
static bool special_line(const struct mount *m, uint64_t k, uint32_t *node, const char **name)
{
    for (enum special which = SPECIAL_STORE; which < N_SPECIAL; which++) {
        if (!special_is_there(m, which) || k-- > 0)
            continue;
        *node = special_node(m, which);
        *name = special_name[which];
        return true;
    }
    return false;
}

bool inode_line(const struct mount *m, uint32_t dir, uint64_t k, uint32_t *node, const char **name)
{
    bool special = is_special(m, dir);
    const struct tree_node *n = special ? NULL : &m->tree->node[dir];
    if (k < DOT_ENTRIES) {
        uint32_t parent = special || dir == m->tree->root ? m->tree->root : n->parent;
        *node = k == 0 ? dir : parent;
        *name = k == 0 ? "." : "..";
        return true;
    }
    k -= DOT_ENTRIES;
    if (special)
        return special_line(m, k, node, name);
    if (k >= n->n_children)
        return false;
    *node = m->tree->child[n->first_child + k];
    *name = m->tree->node[*node].name;
    return true;
}
