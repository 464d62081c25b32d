#include "gpu_parts.h"

#include <stdlib.h>
#include <string.h>

#include "checkpoint_private.h"
#include "cuda/decode.h"

enum {
    DECODED_ALIGN = 16,         /* of tiles, where the device decodes them */
    LEAST_BLOCK_BYTES = 8 << 20 /* of the output matrix */
};

static uint64_t row_bytes(const struct weir_checkpoint_tensor *t)
{
    return t->bytes / t->form.dim[0];
}

uint32_t gpu_tile_bytes(const struct weir_checkpoint_tensor *t, uint64_t tile)
{
    uint64_t left = t->bytes - tile * t->tile_bytes;
    return left < t->tile_bytes ? (uint32_t)left : t->tile_bytes;
}

static uint64_t first_tile(const struct gpu_piece *p)
{
    return p->first_row * row_bytes(p->tensor) / p->tensor->tile_bytes;
}

static uint64_t end_tile(const struct gpu_piece *p)
{
    uint64_t end = (p->first_row + p->n_rows) * row_bytes(p->tensor);
    return (end + p->tensor->tile_bytes - 1) / p->tensor->tile_bytes;
}

/* ---- matrices ---- */

static weir_err check_tensor(const struct weir_checkpoint_tensor *t, struct weir_diag *diag)
{
    if (strcmp(t->form.dtype, "BF16") != 0) {
        weir_diag_set(diag, "%s: %s; a GPU computes with matrices of BF16", t->form.name,
                      t->form.dtype);
        return WEIR_ERR_UNSUPPORTED;
    }
    if (t->tile_bytes % DECODED_ALIGN) {
        weir_diag_set(diag, "%s: stored in elements of a size that is not known here",
                      t->form.name);
        return WEIR_ERR_UNSUPPORTED;
    }
    return WEIR_OK;
}

/* Puts the rows of `m` below those that are there. */
static weir_err stack(struct gpu_part_matrix *to, const struct weir_matrix *m,
                      struct weir_diag *diag)
{
    weir_err err = check_tensor(m->tensor, diag);
    if (err)
        return err;
    struct gpu_piece *last = to->n_pieces ? &to->piece[to->n_pieces - 1] : NULL;
    if (last && last->tensor == m->tensor && last->first_row + last->n_rows == m->first_row) {
        last->n_rows += m->n_rows;
    } else {
        to->piece[to->n_pieces++] =
            (struct gpu_piece){.tensor = m->tensor, .first_row = m->first_row, .n_rows = m->n_rows};
    }
    to->n_rows += m->n_rows;
    to->n_columns = m->n_cols;
    return WEIR_OK;
}

/* Where tiles go: only the first piece may begin inside a tile, only the last may end before its
 * tensor does. */
static weir_err lay_out(struct gpu_part_matrix *m, struct weir_diag *diag)
{
    const struct gpu_piece *first = &m->piece[0];
    uint64_t at = first->first_row * row_bytes(first->tensor) % first->tensor->tile_bytes;
    m->row_at = at;
    for (uint32_t i = 0; i < m->n_pieces; i++) {
        struct gpu_piece *p = &m->piece[i];
        const struct weir_checkpoint_tensor *t = p->tensor;
        bool begins = i == 0 || p->first_row == 0;
        bool ends = i + 1 == m->n_pieces || p->first_row + p->n_rows == t->form.dim[0];
        if (!begins || !ends) {
            weir_diag_set(diag, "%s: a part of it, between other rows, is not known here",
                          t->form.name);
            return WEIR_ERR_UNSUPPORTED;
        }
        p->at = i == 0 ? 0 : at;
        at += p->n_rows * row_bytes(t);
    }
    return WEIR_OK;
}

/* Whole tiles, but for a tensor's last. */
uint64_t gpu_matrix_rows_bytes(const struct gpu_part_matrix *m)
{
    const struct gpu_piece *p = &m->piece[m->n_pieces - 1];
    uint64_t last = end_tile(p) - 1;
    uint64_t end =
        p->at + (last - first_tile(p)) * p->tensor->tile_bytes + gpu_tile_bytes(p->tensor, last);
    return (end + GPU_REGION_ALIGN - 1) / GPU_REGION_ALIGN * GPU_REGION_ALIGN;
}

/* Its tiles are stored, and of a coding that the device knows. */
static bool tensor_decodes(const struct weir_store *store, const struct weir_checkpoint_tensor *t)
{
    if (!store)
        return true;
    const struct weir_object *o = weir_store_object(store, t->object);
    return !weir_object_needs_base(o) && (!o->coding || weir_gpu_decodes(o->coding));
}

bool gpu_matrix_decodes(const struct weir_store *store, const struct gpu_part_matrix *m)
{
    for (uint32_t i = 0; i < m->n_pieces; i++)
        if (m->piece[i].at % DECODED_ALIGN || !tensor_decodes(store, m->piece[i].tensor))
            return false;
    return true;
}

/* ---- chunks ---- */

/* How far a piece's first tile lies behind a place where chunks may begin. */
static uint64_t shift(const struct gpu_piece *p, const struct gpu_cut *cut)
{
    uint64_t tile = first_tile(p);
    if (!cut->store)
        return 0;
    return (weir_store_object(cut->store, p->tensor->object)->first_tile + tile) % cut->tiles;
}

static uint64_t n_chunks(const struct gpu_piece *p, const struct gpu_cut *cut)
{
    uint64_t n = shift(p, cut) + end_tile(p) - first_tile(p);
    return (n + cut->tiles - 1) / cut->tiles;
}

static struct gpu_chunk chunk_of(const struct gpu_piece *p, const struct gpu_cut *cut, uint64_t i)
{
    const uint64_t first = first_tile(p), before = shift(p, cut);
    uint64_t from = i == 0 ? first : first + i * cut->tiles - before;
    uint64_t end = first + (i + 1) * cut->tiles - before;
    if (end > end_tile(p))
        end = end_tile(p);
    return (struct gpu_chunk){.tensor = p->tensor,
                              .tile = from,
                              .n_tiles = (uint32_t)(end - from),
                              .at = p->at + (from - first) * p->tensor->tile_bytes};
}

struct gpu_chunk gpu_part_chunk(const struct gpu_part *part, const struct gpu_cut *cut, uint64_t i)
{
    for (uint32_t m = 0; m < part->n_matrices; m++) {
        const struct gpu_part_matrix *matrix = &part->matrix[m];
        for (uint32_t p = 0; p < matrix->n_pieces; p++) {
            uint64_t n = n_chunks(&matrix->piece[p], cut);
            if (i < n) {
                struct gpu_chunk c = chunk_of(&matrix->piece[p], cut, i);
                c.at += matrix->region_at;
                return c;
            }
            i -= n;
        }
    }
    return (struct gpu_chunk){.tensor = NULL}; /* not reached */
}

uint64_t gpu_part_count_chunks(const struct gpu_part *part, const struct gpu_cut *cut)
{
    uint64_t n = 0;
    for (uint32_t m = 0; m < part->n_matrices; m++)
        for (uint32_t p = 0; p < part->matrix[m].n_pieces; p++)
            n += n_chunks(&part->matrix[m].piece[p], cut);
    return n;
}

static void cut_part(struct gpu_part *part, const struct gpu_cut *cut)
{
    part->n_chunks = gpu_part_count_chunks(part, cut);
}

void gpu_parts_cut(struct gpu_parts *p, uint32_t tiles)
{
    p->cut.tiles = tiles;
    for (uint32_t i = 0; i < gpu_parts_n(p); i++)
        cut_part(&p->part[i], &p->cut);
    cut_part(&p->output, &p->cut);
    cut_part(&p->embedding, &p->cut);
}

/* ---- parts ---- */

static weir_err finish(struct gpu_part *part, struct weir_diag *diag)
{
    for (uint32_t m = 0; m < part->n_matrices; m++) {
        struct gpu_part_matrix *matrix = &part->matrix[m];
        weir_err err = lay_out(matrix, diag);
        if (err)
            return err;
        matrix->region_at = part->bytes;
        part->bytes += gpu_matrix_rows_bytes(matrix);
        for (uint32_t p = 0; p < matrix->n_pieces; p++)
            part->n_tiles += end_tile(&matrix->piece[p]) - first_tile(&matrix->piece[p]);
    }
    return WEIR_OK;
}

static weir_err find_layer(const struct weir_model *model, uint32_t i, struct gpu_part *part,
                           struct weir_diag *diag)
{
    const struct weir_layer *l = &model->layer[i];
    const struct weir_matrix *from[GPU_MOST_MATRICES][GPU_MOST_PIECES] = {
        {&l->q, &l->k, &l->v}, {&l->o}, {&l->gate, &l->up}, {&l->down}};
    *part = (struct gpu_part){.n_matrices = GPU_MOST_MATRICES};
    for (uint32_t m = 0; m < GPU_MOST_MATRICES; m++) {
        for (uint32_t p = 0; p < GPU_MOST_PIECES && from[m][p]; p++) {
            weir_err err = stack(&part->matrix[m], from[m][p], diag);
            if (err)
                return err;
        }
    }
    return finish(part, diag);
}

static weir_err find_rows(const struct weir_matrix *m, struct gpu_part *part,
                          struct weir_diag *diag)
{
    *part = (struct gpu_part){.n_matrices = 1};
    weir_err err = stack(&part->matrix[0], m, diag);
    return err ? err : finish(part, diag);
}

/* So many rows that a block takes no more than the largest layer does. */
static uint32_t block_rows(const struct gpu_parts *p, const struct weir_matrix *output)
{
    uint64_t most = LEAST_BLOCK_BYTES, bytes = row_bytes(output->tensor);
    for (uint32_t i = 0; i < p->n_layers; i++)
        if (p->part[i].bytes > most)
            most = p->part[i].bytes;
    const uint64_t inside = UINT64_C(2) * WEIR_TILE_BYTES; /* its first and its last tile */
    uint64_t rows = most > inside ? (most - inside) / bytes : 0;
    rows = rows / GPU_FORM_ROWS * GPU_FORM_ROWS;
    if (rows < GPU_FORM_ROWS)
        rows = GPU_FORM_ROWS;
    return rows > output->n_rows ? output->n_rows : (uint32_t)rows;
}

static weir_err find_output(const struct weir_model *model, struct gpu_parts *p,
                            struct weir_diag *diag)
{
    weir_err err = find_rows(&model->output, &p->output, diag);
    for (uint32_t i = 0; i < p->n_blocks && !err; i++) {
        struct weir_matrix m = model->output;
        uint32_t first = i * p->block_rows;
        m.first_row += first;
        m.n_rows = m.n_rows - first < p->block_rows ? m.n_rows - first : p->block_rows;
        err = find_rows(&m, &p->part[p->n_layers + i], diag);
    }
    return err ? err : find_rows(&model->embedding, &p->embedding, diag);
}

static weir_err find_all(const struct weir_model *model, struct gpu_parts *p,
                         struct weir_diag *diag)
{
    struct gpu_part *part;
    weir_err err = WEIR_OK;
    p->part = calloc(p->n_layers, sizeof(*p->part));
    if (!p->part)
        return WEIR_ERR_NOMEM;
    for (uint32_t i = 0; i < p->n_layers && !err; i++)
        err = find_layer(model, i, &p->part[i], diag);
    if (err)
        return err;
    p->block_rows = block_rows(p, &model->output);
    p->n_blocks = (model->output.n_rows + p->block_rows - 1) / p->block_rows;
    part = realloc(p->part, gpu_parts_n(p) * sizeof(*part));
    if (!part)
        return WEIR_ERR_NOMEM;
    p->part = part;
    return find_output(model, p, diag);
}

weir_err gpu_parts_find(const struct weir_model *model, struct gpu_parts *out,
                        struct weir_diag *diag)
{
    struct gpu_parts p = {.cut = {model->checkpoint->store, GPU_CHUNK_TILES},
                          .n_layers = model->config.n_layers,
                          .tied = model->embedding.tensor == model->output.tensor};
    weir_err err = find_all(model, &p, diag);
    if (err)
        gpu_parts_free(&p);
    else
        *out = p;
    if (!err)
        gpu_parts_cut(out, GPU_CHUNK_TILES);
    return err;
}

void gpu_parts_free(struct gpu_parts *p)
{
    free(p->part);
    p->part = NULL;
}
