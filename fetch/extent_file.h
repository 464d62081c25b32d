/* extent_file.h - the extents of a store in a file that may not be one yet. */
#ifndef WEIR_FETCH_EXTENT_FILE_H
#define WEIR_FETCH_EXTENT_FILE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "codec/store.h"

/* Stored bytes of the extents in `have`. */
uint64_t extents_bytes(const struct weir_store *store, const uint8_t *have);

/* ... of those that are in `want` too. */
uint64_t extents_bytes_wanted(const struct weir_store *store, const uint8_t *want,
                              const uint8_t *have);

/* Bytes of extent `extent` and the padding behind it. */
size_t extents_span(const struct weir_store *store, uint32_t extent);

/* Memory for an extent and its padding; freed with free().  NULL: no memory. */
uint8_t *extents_scratch(void);

/* Reads extent `extent` of `store` and its padding from the file `fd` and checks it.  `scratch` as
 * of weir_store_check_extent().  WEIR_ERR_CORRUPT also where the file is too short. */
WEIR_MUST_CHECK weir_err extents_check(const struct weir_store *store, uint32_t extent, int fd,
                                       uint8_t *scratch, struct weir_diag *diag);

/* The same where the extent lies at `at` of the file. */
WEIR_MUST_CHECK weir_err extents_check_at(const struct weir_store *store, uint32_t extent, int fd,
                                          uint64_t at, uint8_t *scratch, struct weir_diag *diag);

/* Writes n bytes at `at`; false and errno. */
bool extents_write(int fd, uint64_t at, const void *bytes, size_t n);

#endif
