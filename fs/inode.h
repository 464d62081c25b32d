/* inode.h - nodes as the kernel sees them: numbers, attributes, names in directories. */
#ifndef WEIR_FS_INODE_PRIVATE_H
#define WEIR_FS_INODE_PRIVATE_H

#define FUSE_USE_VERSION 312
#include <fuse_lowlevel.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/stat.h>

#include "mounted.h"

#define FOREVER_SECONDS 1e9 /* nothing here ever changes but status.json */

fuse_ino_t inode_of(const struct mount *m, uint32_t node);
uint32_t inode_node(const struct mount *m, fuse_ino_t ino); /* `ino` came from inode_of() */

struct stat inode_stat(const struct mount *m, uint32_t node);
double inode_attr_seconds(const struct mount *m, uint32_t node); /* how long the stat is good */
struct fuse_entry_param inode_entry(const struct mount *m, uint32_t node);

/* The node called `name` in `dir`.  False: there is none. */
bool inode_find(const struct mount *m, uint32_t dir, const char *name, uint32_t *out);

/* Line k of the listing of `dir`: ".", "..", and the children in order of name.  False: past the
 * end. */
bool inode_line(const struct mount *m, uint32_t dir, uint64_t k, uint32_t *node, const char **name);

#endif
