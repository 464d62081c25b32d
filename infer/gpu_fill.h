/* gpu_fill.h - threads that bring tiles of a checkpoint into memory for a GPU: as plain bytes, or
 * as a store has them.  Knows no GPU; the memory is anybody's. */
#ifndef WEIR_INFER_GPU_FILL_PRIVATE_H
#define WEIR_INFER_GPU_FILL_PRIVATE_H

#include "gpu_parts.h"

enum fill_kind {
    FILL_ROWS, /* plain bytes, one tile behind the other */
    FILL_WIRE, /* payloads; a tile that only the host decodes is plain */
};

/* What is told about a tile of FILL_WIRE: its payload is at to + at, aligned to 16 bytes. */
struct fill_tile {
    struct weir_tile_head head;
    uint32_t at;
};

struct fill_run {
    uint32_t at, bytes;
};

/* A chunk to be brought.  Whoever begins it sets `chunk`, `kind` and `to`, and leaves it alone
 * until it has been waited for. */
struct fill_job {
    struct gpu_chunk chunk;
    enum fill_kind kind;
    uint8_t *to; /* room for WEIR_TILE_BYTES a tile; FILL_ROWS: for its bytes */
    /* what came of it */
    struct fill_tile tile[GPU_CHUNK_TILES]; /* of FILL_WIRE */
    struct fill_run run[GPU_CHUNK_TILES];   /* bytes at `to` that are of use, ascending */
    uint32_t n_runs;
    /* private */
    struct fill_job *behind;
    uint32_t n_begun, n_done;
    weir_err err;
    struct weir_diag diag;
};

struct fill; /* opaque: the threads */

/* n_threads: 0 is one per processor.  WEIR_ERR_NOMEM. */
WEIR_MUST_CHECK weir_err fill_new(const struct weir_checkpoint *ck, unsigned n_threads,
                                  struct fill **out);
/* What was begun is brought to an end first.  NULL is fine. */
void fill_free(struct fill *f);

/* From now on what is read of a store as it is stored leaves no copy in the system's memory: where
 * more is read again and again than would stay there.  Nothing is begun and not waited for. */
void fill_read_past(struct fill *f);

/* Jobs are begun in the order of these calls.  From one thread. */
void fill_begin(struct fill *f, struct fill_job *job);

/* What reading or decoding ended with; *diag names the tensor. */
WEIR_MUST_CHECK weir_err fill_wait(struct fill *f, struct fill_job *job, struct weir_diag *diag);

#endif
