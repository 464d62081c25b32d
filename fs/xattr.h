/* xattr.h - the extended attributes that fs/mount.h names. */
#ifndef WEIR_FS_XATTR_PRIVATE_H
#define WEIR_FS_XATTR_PRIVATE_H

#define FUSE_USE_VERSION 312
#include <fuse_lowlevel.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { XATTR_MAX_BYTES = 128 };

struct mount;

/* The value (without a NUL) and its length; 0: the node has no such attribute, or it is the ratio.
 */
size_t xattr_get(const struct mount *m, uint32_t node, const char *name, char out[XATTR_MAX_BYTES]);

/* Whether it is the ratio of a file, which takes reading and is the answering threads' work. */
bool xattr_is_ratio(const struct mount *m, uint32_t node, const char *name);

/* The names, each with its NUL, and their length together. */
size_t xattr_list(const struct mount *m, uint32_t node, char out[XATTR_MAX_BYTES]);

/* Answers getxattr or listxattr; `size` 0 asks how long the value is. */
void xattr_reply(fuse_req_t req, size_t size, const char *value, size_t n);

#endif
