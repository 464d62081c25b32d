/* xattr.h - the extended attributes that fs/mount.h names. */
#ifndef WEIR_FS_XATTR_PRIVATE_H
#define WEIR_FS_XATTR_PRIVATE_H

#include <stddef.h>
#include <stdint.h>

enum { XATTR_MAX_BYTES = 128 };

struct mount;

/* The value (without a NUL) and its length; 0: the node has no such attribute. */
size_t xattr_get(const struct mount *m, uint32_t node, const char *name, char out[XATTR_MAX_BYTES]);

/* The names, each with its NUL, and their length together. */
size_t xattr_list(const struct mount *m, uint32_t node, char out[XATTR_MAX_BYTES]);

#endif
