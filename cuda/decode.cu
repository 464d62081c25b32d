#include "cuda/decode.h"

#include <stdlib.h>
#include <string.h>

#include "decode_kernel.cuh"
#include "gpu_private.h"

struct weir_gpu_coding {
    struct device_coding host; /* as it is on the device: its pointers are the device's */
    struct device_coding *device;
    uint32_t *tables; /* device: N_SLOTS a part */
    uint8_t way;      /* of decoding split tiles */
};

struct weir_gpu_batch {
    size_t most;                 /* tiles, and blocks */
    uint32_t n_tiles, n_blocks;  /* as set */
    uint32_t n_written;          /* blocks of `pinned` that may have n_tiles > 0 */
    bool uploaded;               /* the device has what is in `pinned`, or is getting it */
    struct device_block *pinned; /* [most] */
    struct device_block *blocks; /* device, the same */
    struct device_state *state;  /* device */
    uint32_t *first_bad;         /* pinned: NONE_BAD, NOT_DONE or a tile */
};

/* Copies to new device memory and waits; NULL on any error. */
static void *place(struct weir_gpu *gpu, const void *host, size_t bytes)
{
    void *p = weir_gpu_alloc(gpu, bytes);
    if (p && cudaMemcpy(p, host, bytes, cudaMemcpyHostToDevice) != cudaSuccess) {
        weir_gpu_free(gpu, p);
        return NULL;
    }
    return p;
}

/* ---- codings ---- */

static void make_table(const struct weir_part *part, uint32_t *entry)
{
    uint32_t slot = 0;
    for (uint32_t j = 0; j < 256; j++)
        for (uint32_t i = 0; i < part->freq[j]; i++)
            entry[slot++] = (uint32_t)part->freq[j] << ENTRY_FREQUENCY | j << ENTRY_INDEX | i;
}

static uint8_t way_of(const struct weir_coding *coding)
{
    const struct weir_part *p = &coding->part[0];
    const int raw_bits = 8 * p->item_bytes - p->drop_bits - p->symbol_bits;
    if (coding->transform.kind || coding->n_parts != 1 || p->count != 1 || p->item_bytes != 2 ||
        !p->sign_first || p->drop_bits || raw_bits < FAST_LOW || raw_bits > FAST_HIGH)
        return 0;
    return (uint8_t)(1 + 2 * (raw_bits - FAST_LOW) + (p->freq[0] > 0));
}

static void describe(const struct weir_coding *coding, const uint32_t *tables,
                     struct device_coding *out)
{
    out->elem_bytes = coding->elem_bytes;
    out->n_parts = coding->n_parts;
    const struct weir_transform *t = &coding->transform;
    out->transform.kind = t->kind;
    out->transform.number = t->number;
    out->transform.made = t->made;
    out->transform.item_bytes = t->item_bytes;
    out->transform.row_elements = t->row_elements;
    out->transform.block_rows = t->block_rows;
    out->transform.block_cols = t->block_cols;
    out->transform.blocks_in_row = t->kind ? (t->row_elements - 1) / t->block_cols + 1 : 0;
    for (int i = 0; i < coding->n_parts; i++) {
        const struct weir_part *p = &coding->part[i];
        out->part[i] = {tables + i * N_SLOTS,
                        p->base,
                        p->offset,
                        p->count,
                        p->item_bytes,
                        (uint8_t)(8 * p->item_bytes - p->drop_bits - p->symbol_bits),
                        p->drop_bits,
                        p->sign_first};
    }
}

static weir_err upload_coding(struct weir_gpu *gpu, const struct weir_coding *coding,
                              struct weir_gpu_coding *c)
{
    const size_t bytes = coding->n_parts * N_SLOTS * sizeof(uint32_t);
    uint32_t *tables = (uint32_t *)malloc(bytes);
    if (!tables)
        return WEIR_ERR_NOMEM;
    for (int i = 0; i < coding->n_parts; i++)
        make_table(&coding->part[i], tables + (size_t)i * N_SLOTS);
    c->tables = (uint32_t *)place(gpu, tables, bytes);
    free(tables);
    if (!c->tables)
        return WEIR_ERR_NOMEM;
    describe(coding, c->tables, &c->host);
    c->device = (struct device_coding *)place(gpu, &c->host, sizeof(c->host));
    c->way = way_of(coding);
    return c->device ? WEIR_OK : WEIR_ERR_NOMEM;
}

weir_err weir_gpu_coding_new(struct weir_gpu *gpu, const struct weir_coding *coding,
                             struct weir_gpu_coding **out)
{
    weir_err err = weir_coding_check(coding);
    if (!err && !weir_gpu_decodes(coding))
        err = WEIR_ERR_UNSUPPORTED;
    if (err)
        return err;
    struct weir_gpu_coding *c = (struct weir_gpu_coding *)calloc(1, sizeof(*c));
    if (!c)
        return WEIR_ERR_NOMEM;
    err = upload_coding(gpu, coding, c);
    if (err)
        weir_gpu_coding_free(gpu, c);
    else
        *out = c;
    return err;
}

void weir_gpu_coding_free(struct weir_gpu *gpu, struct weir_gpu_coding *coding)
{
    if (!coding)
        return;
    weir_gpu_free(gpu, coding->device);
    weir_gpu_free(gpu, coding->tables);
    free(coding);
}

/* ---- batches ---- */

weir_err weir_gpu_batch_new(struct weir_gpu *gpu, size_t most, struct weir_gpu_batch **out)
{
    static const struct device_state none_yet = {NONE_BAD, 0};
    if (most >= NOT_DONE)
        return WEIR_ERR_INVALID;
    struct weir_gpu_batch *b = (struct weir_gpu_batch *)calloc(1, sizeof(*b));
    if (!b)
        return WEIR_ERR_NOMEM;
    b->most = most ? most : 1;
    const size_t bytes = b->most * sizeof(*b->pinned);
    b->pinned = (struct device_block *)weir_gpu_alloc_host(gpu, bytes);
    b->first_bad = (uint32_t *)weir_gpu_alloc_host(gpu, sizeof(*b->first_bad));
    b->blocks = (struct device_block *)weir_gpu_alloc(gpu, bytes);
    b->state = (struct device_state *)place(gpu, &none_yet, sizeof(none_yet));
    if (!b->pinned || !b->first_bad || !b->blocks || !b->state) {
        weir_gpu_batch_free(gpu, b);
        return WEIR_ERR_NOMEM;
    }
    memset(b->pinned, 0, bytes);
    *b->first_bad = NONE_BAD;
    *out = b;
    return WEIR_OK;
}

void weir_gpu_batch_free(struct weir_gpu *gpu, struct weir_gpu_batch *batch)
{
    if (!batch)
        return;
    weir_gpu_free_host(gpu, batch->pinned);
    weir_gpu_free_host(gpu, batch->first_bad);
    weir_gpu_free(gpu, batch->blocks);
    weir_gpu_free(gpu, batch->state);
    free(batch);
}

static bool tile_is_fine(const struct weir_gpu_tile *t)
{
    return t->payload && t->out && (uintptr_t)t->payload % STREAM_ALIGN == 0 &&
           (uintptr_t)t->out % STREAM_ALIGN == 0 && t->plain_bytes &&
           t->plain_bytes <= WEIR_TILE_BYTES && t->head.payload_bytes <= WEIR_TILE_BYTES &&
           (t->head.mode == WEIR_TILE_RAW || t->head.mode == WEIR_TILE_CONST ||
            ((t->head.mode == WEIR_TILE_SPLIT || t->head.mode == WEIR_TILE_MADE) && t->coding));
}

/* Puts the tile into the last block, or begins a new one. */
static void add_tile(struct weir_gpu_batch *b, const struct weir_gpu_tile *t,
                     const struct weir_gpu_tile *before)
{
    const uint8_t way = t->head.mode == WEIR_TILE_SPLIT ? t->coding->way : 0;
    struct device_block *block = b->n_blocks ? &b->pinned[b->n_blocks - 1] : NULL;
    if (!block || before->coding != t->coding || block->way != way ||
        block->n_tiles == TILES_PER_BLOCK) {
        block = &b->pinned[b->n_blocks++];
        block->coding = t->coding ? t->coding->device : NULL;
        block->table = t->coding ? t->coding->host.part[0].table : NULL;
        block->base = t->coding ? t->coding->host.part[0].base : 0;
        block->first_tile = b->n_tiles;
        block->n_tiles = 0;
        block->way = way;
    }
    block->tile[block->n_tiles++] = {(const uint8_t *)t->payload, (uint8_t *)t->out, t->head.xxh3,
                                     t->head.payload_bytes,       t->plain_bytes,    t->head.mode};
    b->n_tiles++;
}

weir_err weir_gpu_batch_set(struct weir_gpu_batch *batch, const struct weir_gpu_tile *tiles,
                            size_t n_tiles)
{
    if (n_tiles > batch->most)
        return WEIR_ERR_INVALID;
    for (size_t i = 0; i < n_tiles; i++)
        if (!tile_is_fine(&tiles[i]))
            return WEIR_ERR_INVALID;
    batch->n_tiles = batch->n_blocks = 0;
    for (size_t i = 0; i < n_tiles; i++)
        add_tile(batch, &tiles[i], i ? &tiles[i - 1] : NULL);
    for (uint32_t i = batch->n_blocks; i < batch->n_written; i++)
        batch->pinned[i].n_tiles = 0; /* for a recorded launch, which is of all blocks */
    batch->n_written = batch->n_blocks;
    batch->uploaded = false;
    *batch->first_bad = n_tiles ? NOT_DONE : NONE_BAD;
    return WEIR_OK;
}

static cudaError_t upload(struct weir_gpu_stream *s, struct weir_gpu_batch *b, size_t n_blocks)
{
    return cudaMemcpyAsync(b->blocks, b->pinned, n_blocks * sizeof(*b->blocks),
                           cudaMemcpyHostToDevice, s->cuda);
}

weir_err weir_gpu_batch_upload(struct weir_gpu_stream *s, struct weir_gpu_batch *batch)
{
    if (batch->n_blocks == 0)
        return WEIR_OK;
    batch->uploaded = true;
    return gpu_err(upload(s, batch, batch->n_blocks));
}

weir_err weir_gpu_decode(struct weir_gpu_stream *s, struct weir_gpu_batch *batch)
{
    cudaStreamCaptureStatus capture;
    cudaError_t e = cudaStreamIsCapturing(s->cuda, &capture);
    if (e != cudaSuccess)
        return gpu_err(e);
    /* Recorded, it is for whatever the batch is set to by then. */
    const bool recorded = capture != cudaStreamCaptureStatusNone;
    const size_t n_blocks = recorded ? batch->most : batch->n_blocks;
    if (n_blocks == 0)
        return WEIR_OK; /* an empty grid is a launch error */
    if (recorded || !batch->uploaded)
        e = upload(s, batch, n_blocks);
    if (e != cudaSuccess)
        return gpu_err(e);
    if (!recorded) {
        batch->uploaded = true;
        *batch->first_bad = NOT_DONE;
    }
    const struct gpu_grid grid = {dim3((unsigned)n_blocks), dim3(32 * TILES_PER_BLOCK), 0, false};
    return gpu_launch(s, grid, decode_tiles, (const struct device_block *)batch->blocks,
                      batch->state, batch->first_bad);
}

weir_err weir_gpu_batch_result(const struct weir_gpu_batch *batch, size_t *bad_tile)
{
    const uint32_t bad = *(const volatile uint32_t *)batch->first_bad;
    if (bad == NONE_BAD)
        return WEIR_OK;
    if (bad == NOT_DONE)
        return WEIR_ERR_IO;
    *bad_tile = bad;
    return WEIR_ERR_CORRUPT;
}
