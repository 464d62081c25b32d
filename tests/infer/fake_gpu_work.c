#include "fake_gpu.h"

#include <stdlib.h>
#include <string.h>

#include "codec/grid.h"
#include "cuda/form_q8.h"

/* The rows of a packed matrix. */
struct fake_aside {
    struct fake_aside *next;
    const void *at;
    uint16_t *rows;
    uint64_t most, odd;
};

struct weir_gpu_coding {
    struct weir_coding *coding;
};

struct weir_gpu_batch {
    size_t most, n;
    struct weir_gpu_tile *tile;
    size_t queued; /* times */
    bool done;
    size_t bad;
};

static struct fake_aside *asides;

static struct fake_aside *aside_of(const void *at)
{
    struct fake_aside *a = asides;
    while (a && a->at != at)
        a = a->next;
    return a;
}

static void decode(struct weir_gpu_batch *b)
{
    struct weir_tile_decoder *decoder;
    if (weir_tile_decoder_new(weir_kernels_best(), &decoder) != WEIR_OK)
        fake_fail("no decoder");
    b->bad = b->n;
    for (size_t i = b->n; i-- > 0;) {
        const struct weir_gpu_tile *t = &b->tile[i];
        if (t->head.mode == WEIR_TILE_ZSTD)
            fake_fail("a tile that only the host decodes");
        if (weir_tile_decode(decoder, t->coding ? t->coding->coding : NULL, &t->head, t->payload,
                             t->out, t->plain_bytes) != WEIR_OK)
            b->bad = i;
    }
    weir_tile_decoder_free(decoder);
    b->queued--;
    b->done = true;
}

static bool is_odd(uint16_t weight, const uint8_t high[8])
{
    for (int i = 0; i < 8; i++)
        if ((weight >> 8 & 127) == high[i])
            return false;
    return true;
}

/* All count, though some come along. */
static size_t odd_of_row(const uint16_t *row, size_t n)
{
    const uint16_t step = weir_grid_find(row, n, WEIR_FORM_Q8_MOST);
    return weir_grid_count_odd(step, row, n, WEIR_FORM_Q8_MOST);
}

static void pack(const struct fake_op *op)
{
    struct fake_aside *a = aside_of(op->matrix.at);
    const size_t first = (size_t)op->first_row * op->matrix.n_columns;
    const size_t n = (size_t)op->n_rows * op->matrix.n_columns;
    if (!a || op->first_row % WEIR_FORM_ROWS ||
        (op->n_rows % WEIR_FORM_ROWS && op->first_row + op->n_rows != op->matrix.n_rows))
        fake_fail("packed against the rules");
    memcpy(a->rows + first, op->from, 2 * n);
    for (size_t i = 0; i < n && op->matrix.form == WEIR_GPU_PACKED; i++)
        a->odd += is_odd(a->rows[first + i], op->matrix.high);
    for (size_t r = 0; r < op->n_rows && op->matrix.form == WEIR_GPU_Q8; r++)
        a->odd += odd_of_row(a->rows + first + r * op->matrix.n_columns, op->matrix.n_columns);
}

static void unpack(const struct fake_op *op)
{
    const struct weir_gpu_matrix *m = &op->matrix;
    const size_t first = (size_t)op->first_row * m->n_columns;
    const struct fake_aside *a = aside_of(m->at);
    if (!a && m->form != WEIR_GPU_ROWS)
        fake_fail("unpacked what nobody packed");
    const void *rows = (m->form != WEIR_GPU_ROWS ? a->rows : (const uint16_t *)m->at) + first;
    memcpy(op->to, rows, 2 * (size_t)op->n_rows * m->n_columns);
}

/* Of matrices that were there. */
void fake_drop_asides(const uint8_t *from, const uint8_t *end)
{
    for (struct fake_aside **a = &asides; *a;) {
        struct fake_aside *gone = *a;
        if ((const uint8_t *)gone->at < from || (const uint8_t *)gone->at >= end) {
            a = &gone->next;
            continue;
        }
        *a = gone->next;
        free(gone->rows);
        free(gone);
    }
}

void fake_do(const struct fake_op *op)
{
    if (op->what == DECODE)
        decode(op->batch);
    if (op->what == PACK)
        pack(op);
    if (op->what == UNPACK)
        unpack(op);
}

/* ---- decode.h ---- */

weir_err weir_gpu_coding_new(struct weir_gpu *gpu, const struct weir_coding *coding,
                             struct weir_gpu_coding **out)
{
    (void)gpu;
    *out = fake_must(calloc(1, sizeof(**out)));
    (*out)->coding = fake_must(malloc(weir_coding_bytes(coding->n_parts)));
    memcpy((*out)->coding, coding, weir_coding_bytes(coding->n_parts));
    return WEIR_OK;
}

void weir_gpu_coding_free(struct weir_gpu *gpu, struct weir_gpu_coding *coding)
{
    (void)gpu;
    if (coding)
        free(coding->coding);
    free(coding);
}

weir_err weir_gpu_batch_new(struct weir_gpu *gpu, size_t most, struct weir_gpu_batch **out)
{
    (void)gpu;
    *out = fake_must(calloc(1, sizeof(**out)));
    (*out)->most = most;
    (*out)->tile = fake_must(calloc(most, sizeof(struct weir_gpu_tile)));
    return WEIR_OK;
}

void weir_gpu_batch_free(struct weir_gpu *gpu, struct weir_gpu_batch *batch)
{
    (void)gpu;
    if (batch)
        free(batch->tile);
    free(batch);
}

weir_err weir_gpu_batch_set(struct weir_gpu_batch *batch, const struct weir_gpu_tile *tiles,
                            size_t n_tiles)
{
    pthread_mutex_lock(&fake_lock);
    if (batch->queued)
        fake_fail("a batch is set while it is queued");
    pthread_mutex_unlock(&fake_lock);
    if (n_tiles > batch->most)
        return WEIR_ERR_INVALID;
    for (size_t i = 0; i < n_tiles; i++)
        if ((uintptr_t)tiles[i].payload % 16 || (uintptr_t)tiles[i].out % 16)
            return WEIR_ERR_INVALID;
    memcpy(batch->tile, tiles, n_tiles * sizeof(*tiles));
    batch->n = n_tiles;
    batch->done = false;
    return WEIR_OK;
}

weir_err weir_gpu_batch_upload(struct weir_gpu_stream *s, struct weir_gpu_batch *batch)
{
    (void)s, (void)batch;
    return WEIR_OK;
}

weir_err weir_gpu_decode(struct weir_gpu_stream *s, struct weir_gpu_batch *batch)
{
    pthread_mutex_lock(&fake_lock);
    batch->queued++;
    pthread_mutex_unlock(&fake_lock);
    fake_queue(s, &(struct fake_op){.what = DECODE, .batch = batch});
    return WEIR_OK;
}

weir_err weir_gpu_batch_result(const struct weir_gpu_batch *batch, size_t *bad_tile)
{
    pthread_mutex_lock(&fake_lock);
    if (!batch->done)
        fake_fail("a batch is looked at before it is done");
    *bad_tile = batch->bad;
    weir_err err = batch->bad < batch->n ? WEIR_ERR_CORRUPT : WEIR_OK;
    pthread_mutex_unlock(&fake_lock);
    return err;
}

/* ---- matrix.h ---- */

static uint64_t units_bytes(enum weir_gpu_form form, uint32_t n_rows, uint32_t n_columns)
{
    return weir_form_units(n_rows, n_columns) * (form == WEIR_GPU_Q8
                                                     ? (uint64_t)WEIR_FORM_Q8_UNIT_BYTES
                                                     : (uint64_t)WEIR_FORM_UNIT_BYTES);
}

uint64_t weir_gpu_matrix_bytes(enum weir_gpu_form form, uint32_t n_rows, uint32_t n_columns,
                               uint64_t exceptions)
{
    if (form == WEIR_GPU_ROWS)
        return (uint64_t)n_rows * n_columns * 2;
    return units_bytes(form, n_rows, n_columns) + exceptions * 8;
}

static weir_err begin(struct weir_gpu_stream *s, const struct weir_gpu_matrix *m,
                      uint64_t exceptions)
{
    pthread_mutex_lock(&fake_lock);
    struct fake_aside *a = aside_of(m->at);
    if (a)
        fake_fail("two matrices in one place");
    a = fake_must(calloc(1, sizeof(*a)));
    *a = (struct fake_aside){asides, m->at, fake_must(calloc((size_t)m->n_rows * m->n_columns, 2)),
                             exceptions, 0};
    asides = a;
    pthread_mutex_unlock(&fake_lock);
    return weir_gpu_fill(
        s, m->at, 0, (size_t)weir_gpu_matrix_bytes(m->form, m->n_rows, m->n_columns, exceptions));
}

weir_err weir_gpu_matrix_begin(struct weir_gpu_stream *s, void *room, uint32_t n_rows,
                               uint32_t n_columns, uint64_t exceptions, const uint8_t high[8],
                               struct weir_gpu_matrix *out)
{
    *out = (struct weir_gpu_matrix){
        .form = WEIR_GPU_PACKED, .n_rows = n_rows, .n_columns = n_columns, .at = room};
    memcpy(out->high, high, 8);
    return begin(s, out, exceptions);
}

weir_err weir_gpu_matrix_begin_q8(struct weir_gpu_stream *s, void *room, uint32_t n_rows,
                                  uint32_t n_columns, uint64_t exceptions,
                                  struct weir_gpu_matrix *out)
{
    *out = (struct weir_gpu_matrix){
        .form = WEIR_GPU_Q8, .n_rows = n_rows, .n_columns = n_columns, .at = room};
    return begin(s, out, exceptions);
}

weir_err weir_gpu_matrix_pack(struct weir_gpu_stream *s, const struct weir_gpu_matrix *m,
                              uint32_t first_row, uint32_t n_rows, const void *rows)
{
    if ((uintptr_t)rows % 16)
        return WEIR_ERR_INVALID;
    fake_queue(
        s, &(struct fake_op){
               .what = PACK, .matrix = *m, .first_row = first_row, .n_rows = n_rows, .from = rows});
    return WEIR_OK;
}

weir_err weir_gpu_matrix_check_wait(struct weir_gpu_stream *s, const struct weir_gpu_matrix *m,
                                    bool *fits, uint64_t *exceptions)
{
    pthread_mutex_lock(&fake_lock);
    fake_run(s);
    const struct fake_aside *a = aside_of(m->at);
    *fits = a->odd <= a->most; /* the real one has some room more */
    *exceptions = a->odd;
    pthread_mutex_unlock(&fake_lock);
    return WEIR_OK;
}

weir_err weir_gpu_matrix_unpack(struct weir_gpu_stream *s, const struct weir_gpu_matrix *m,
                                uint32_t first_row, uint32_t n_rows, void *rows)
{
    fake_queue(
        s, &(struct fake_op){
               .what = UNPACK, .matrix = *m, .first_row = first_row, .n_rows = n_rows, .to = rows});
    return WEIR_OK;
}
