/* disk_usage.h - how many bytes the extents of a disk cache take, and making room for more.
 *
 * Called by one process at a time: the caller holds the lock of the cache. */
#ifndef WEIR_FETCH_DISK_USAGE_H
#define WEIR_FETCH_DISK_USAGE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "codec/store.h"

enum {
    DISK_NAME_CHARS = 2 * WEIR_DIGEST_BYTES,
    DISK_PART_CHARS = DISK_NAME_CHARS + 5, /* with ".part" */
    DISK_USAGE_BYTES = 16,                 /* the count, and its complement */
};

/* What a file of n bytes takes on the disk. */
uint64_t disk_usage_of(uint64_t n);

/* The count in the bytes of a `usage` file.  false: they are none. */
bool disk_usage_parse(const uint8_t *bytes, size_t n, uint64_t *count);
void disk_usage_write(uint64_t count, uint8_t bytes[DISK_USAGE_BYTES]);

/* Whether `name` is that of an extent's file; part: or of one that is being written. */
bool disk_name_is(const char *name, bool part);

/* Looks through the folder: removes what dead processes have left, and the extents read least
 * lately until the others take `limit` bytes at most.  *left: what they take.  false: the folder
 * cannot be read, or memory is out. */
bool disk_usage_trim(int folder, uint64_t limit, uint64_t *left);

#endif
