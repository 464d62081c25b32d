/* gpu_parts.h - a model's matrices as a GPU takes them: parts (layers, blocks of the output matrix,
 * the embeddings), their matrices, and the tiles of tensors that these are made of.  Knows no GPU.
 *
 * As BF16 rows a part has a fixed layout: each matrix has a region, into which whole tiles go one
 * behind the other; where its first row lies in the middle of a tile, what is before it in that
 * tile comes along. */
#ifndef WEIR_INFER_GPU_PARTS_PRIVATE_H
#define WEIR_INFER_GPU_PARTS_PRIVATE_H

#include <stdbool.h>

#include "model.h"

enum {
    GPU_MOST_MATRICES = 4, /* of a part */
    GPU_MOST_PIECES = 3,   /* of a matrix: q, k, v */
    GPU_CHUNK_TILES = 128, /* of a chunk, at most */
    GPU_REGION_ALIGN = 256,
    GPU_FORM_ROWS = 16, /* the resident form takes so many rows at once */
};

/* Whole rows of a tensor. */
struct gpu_piece {
    const struct weir_checkpoint_tensor *tensor;
    uint64_t first_row, n_rows;
    uint64_t at; /* bytes from the region's start to its first tile */
};

struct gpu_part_matrix {
    uint32_t n_rows, n_columns;
    uint64_t region_at; /* bytes from the part's start */
    uint64_t row_at;    /* bytes from the region's start to the first row */
    uint32_t n_pieces;
    struct gpu_piece piece[GPU_MOST_PIECES];
    /* the resident form: filled in by who has taken a sample */
    bool packs;
    bool is_q8; /* rows are whole steps; else `high` */
    uint8_t high[8];
    uint64_t exceptions, packed_bytes;
};

struct gpu_part {
    uint32_t n_matrices;
    struct gpu_part_matrix matrix[GPU_MOST_MATRICES];
    uint64_t bytes; /* as rows */
    uint64_t n_tiles, n_chunks;
    uint64_t image_bytes; /* as stored, at most: gpu_parts_weigh_images(); 0: the device decodes not
                             all */
};

/* How tensors are cut into chunks. */
struct gpu_cut {
    const struct weir_store *store; /* chunks of its tensors end where extents end; NULL: none */
    uint32_t tiles;                 /* at most GPU_CHUNK_TILES, a multiple of WEIR_EXTENT_TILES */
};

struct gpu_parts {
    struct gpu_cut cut;
    uint32_t n_layers, n_blocks;
    struct gpu_part *part;     /* layers, blocks */
    struct gpu_part output;    /* all blocks in one */
    struct gpu_part embedding; /* the same tensor as the output matrix's where it is tied */
    bool tied;
    uint32_t block_rows; /* of each block but the last */
};

/* Consecutive tiles of one tensor. */
struct gpu_chunk {
    const struct weir_checkpoint_tensor *tensor;
    uint64_t tile;
    uint32_t n_tiles;
    uint64_t at; /* bytes from the part's start to where the first goes */
};

/* Finds the parts of a model.  On success gpu_parts_free() frees what is in *out.
 * WEIR_ERR_UNSUPPORTED: a matrix is not BF16, or too wide; *diag names it.  WEIR_ERR_NOMEM. */
WEIR_MUST_CHECK weir_err gpu_parts_find(const struct weir_model *model, struct gpu_parts *out,
                                        struct weir_diag *diag);
void gpu_parts_free(struct gpu_parts *p);

/* Bytes of its region. */
uint64_t gpu_matrix_rows_bytes(const struct gpu_part_matrix *m);

/* Whether the device may decode its tiles to where they go; not those that need a base, which the
 * host makes plain.  store: NULL: plain files. */
bool gpu_matrix_decodes(const struct weir_store *store, const struct gpu_part_matrix *m);

static inline uint32_t gpu_parts_n(const struct gpu_parts *p)
{
    return p->n_layers + p->n_blocks;
}

/* Cuts them anew: cut.tiles and the parts' n_chunks change. */
void gpu_parts_cut(struct gpu_parts *p, uint32_t tiles);

/* Chunk `i` (< gpu_part_count_chunks()) of a part. */
struct gpu_chunk gpu_part_chunk(const struct gpu_part *part, const struct gpu_cut *cut, uint64_t i);
uint64_t gpu_part_count_chunks(const struct gpu_part *part, const struct gpu_cut *cut);

/* Plain bytes of tile `tile` of a tensor. */
uint32_t gpu_tile_bytes(const struct weir_checkpoint_tensor *t, uint64_t tile);

#endif
