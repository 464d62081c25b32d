/* Many vectors times a matrix: by the library, which wants rows.
 *
 * It gets a matrix in blocks of rows, and as many vectors as make whole steps: what it computes
 * depends on both, so both depend on shapes alone.  A packed block is unpacked on a stream of its
 * own into one of two rooms, while the block before it is multiplied, and what else a layer does
 * goes on. */
#include "gpu_graph.h"

enum { BF16_BYTES = 2 };

weir_err gpu_large_init(struct graph_gpu *g)
{
    struct gpu_large *a = &g->large;
    weir_err err = weir_gpu_stream_new(g->gpu, &a->stream);
    if (!err)
        err = weir_gpu_event_new(g->gpu, false, &a->given);
    for (size_t i = 0; i < GPU_ROOMS && !err; i++) {
        err = weir_gpu_event_new(g->gpu, false, &a->unpacked[i]);
        if (!err)
            err = weir_gpu_event_new(g->gpu, false, &a->used[i]);
    }
    return err;
}

void gpu_large_free(struct gpu_large *a)
{
    weir_gpu_stream_free(a->stream); /* waits */
    weir_gpu_event_free(a->given);
    for (size_t i = 0; i < GPU_ROOMS; i++) {
        weir_gpu_event_free(a->unpacked[i]);
        weir_gpu_event_free(a->used[i]);
    }
}

weir_err gpu_large_wait(struct gpu_large *a)
{
    weir_err err = a->stream ? weir_gpu_event_record(a->given, a->stream) : WEIR_OK;
    return err || !a->stream ? err : weir_gpu_event_wait(a->given);
}

/* Weights that have just come are there for the graph's stream only: the other one follows it. */
static weir_err follow(struct graph_gpu *g)
{
    weir_err err = weir_gpu_event_record(g->large.given, g->stream);
    return err ? err : weir_gpu_event_before(g->large.given, g->large.stream);
}

/* A block, unpacked: the graph's stream goes on when it is. */
static weir_err unpack(struct graph_gpu *g, const struct weir_gpu_matrix *m, uint32_t row,
                       uint32_t room, struct weir_gpu_matrix *block)
{
    struct gpu_large *a = &g->large;
    block->at = (char *)g->room.rows + (size_t)(room * g->sizes.rows_bytes);
    weir_err err = weir_gpu_event_before(a->used[room], a->stream);
    if (!err)
        err = weir_gpu_matrix_unpack(a->stream, m, row, block->n_rows, block->at);
    if (!err)
        err = weir_gpu_event_record(a->unpacked[room], a->stream);
    return err ? err : weir_gpu_event_before(a->unpacked[room], g->stream);
}

static weir_err multiply_block(struct graph_gpu *g, const struct weir_gpu_product *product,
                               struct weir_gpu_matrix block, uint32_t row)
{
    const struct weir_gpu_matrix *m = product->matrix;
    struct weir_gpu_product part = *product;
    const bool packed = m->form != WEIR_GPU_ROWS;
    const uint32_t room = packed ? g->large.n_blocks++ % GPU_ROOMS : 0;
    weir_err err = WEIR_OK;
    if (packed)
        err = unpack(g, m, row, room, &block);
    else
        block.at = (char *)m->at + (size_t)row * m->n_columns * BF16_BYTES;
    part.matrix = &block;
    part.to += row;
    if (!err)
        err = weir_gpu_multiply_many(g->blas, g->stream, &part);
    return err || !packed ? err : weir_gpu_event_record(g->large.used[room], g->stream);
}

weir_err gpu_large_multiply(struct graph_gpu *g, const struct weir_gpu_product *product)
{
    const struct weir_gpu_matrix *m = product->matrix;
    const size_t row_bytes = (size_t)m->n_columns * BF16_BYTES;
    const uint32_t most = (uint32_t)(GPU_ROWS_BYTES / row_bytes / GPU_ROWS_STEP * GPU_ROWS_STEP);
    struct weir_gpu_product whole = *product;
    weir_err err = product->fresh && m->form != WEIR_GPU_ROWS ? follow(g) : WEIR_OK;
    whole.n = (product->n + GPU_LARGE_STEP - 1) / GPU_LARGE_STEP * GPU_LARGE_STEP;
    for (uint32_t row = 0; row < m->n_rows && !err; row += most) {
        const struct weir_gpu_matrix block = {.form = WEIR_GPU_ROWS,
                                              .n_rows =
                                                  m->n_rows - row < most ? m->n_rows - row : most,
                                              .n_columns = m->n_columns};
        err = multiply_block(g, &whole, block, row);
    }
    return err;
}
