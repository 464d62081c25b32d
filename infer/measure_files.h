/* measure_files.h - weights that come from a file each time, as infer/reader.c has them: in plain
 * tiles, and in those of a store.  The page cache has the file. */
#ifndef WEIR_INFER_MEASURE_FILES_PRIVATE_H
#define WEIR_INFER_MEASURE_FILES_PRIVATE_H

#include "codec/tile.h"
#include "kernels.h"
#include "pool.h"

enum { MEASURE_COLS = 4096, MEASURE_TILE_ROWS = WEIR_TILE_BYTES / (2 * MEASURE_COLS) };

struct measure_files; /* opaque */

/* fd: an empty file for both, borrowed; -1: one in memory, which some systems read more slowly.
 * n_tiles: of weights, that follow each other.  x (MEASURE_COLS of them), kernels and weights are
 * borrowed, the weights only until it returns.  For at most n_workers.
 * WEIR_ERR_NOMEM, WEIR_ERR_IO. */
WEIR_MUST_CHECK weir_err measure_files_new(int fd, const uint16_t *weights, size_t n_tiles,
                                           unsigned n_workers, const struct math_kernels *kernels,
                                           const float *x, struct measure_files **out);
void measure_files_free(struct measure_files *m); /* NULL is fine */

/* A pool's work: tile `unit`, times x.  `self` is a struct measure_files. */
WEIR_MUST_CHECK weir_err measure_store_unit(void *self, size_t unit, unsigned worker,
                                            struct weir_diag *diag);
WEIR_MUST_CHECK weir_err measure_plain_unit(void *self, size_t unit, unsigned worker,
                                            struct weir_diag *diag);

#endif
