/* How fast a GPU decodes tiles. */
#include <stdlib.h>

#include "gpu_bench.h"

enum {
    N_TILES = AREA_BYTES / WEIR_TILE_BYTES,
    PAYLOAD_STEP = 16, /* payloads are aligned to */
};

static weir_err encode(struct gpu_bench *b, const struct weir_coding *coding,
                       struct weir_gpu_tile *tile, size_t *step)
{
    struct weir_tile_encoder *enc;
    uint8_t *to = b->host;
    weir_err err = weir_tile_encoder_new(weir_kernels_best(), &enc);
    if (err)
        return err;
    for (size_t i = 0; i < N_MADE && !err; i++) {
        tile[i].payload = (void *)(uintptr_t)*step; /* for now: where it is in a group */
        err = weir_tile_encode(enc, coding, (const uint8_t *)b->made + i * (size_t)WEIR_TILE_BYTES,
                               WEIR_TILE_BYTES, to + *step, &tile[i].head);
        *step +=
            ((size_t)tile[i].head.payload_bytes + PAYLOAD_STEP - 1) / PAYLOAD_STEP * PAYLOAD_STEP;
    }
    weir_tile_encoder_free(enc);
    return err;
}

/* Groups of N_MADE tiles, each with payloads of its own; all into one area. */
static weir_err lay_out(struct gpu_bench *b, struct weir_gpu_tile *tile, size_t step)
{
    weir_err err = WEIR_OK;
    for (size_t i = 0; i < N_TILES && !err; i++) {
        struct weir_gpu_tile *t = &tile[i];
        const size_t group = i / N_MADE * step;
        if (i % N_MADE == 0)
            err = weir_gpu_to_device(b->s, b->area[0] + group, b->host, step);
        t->head = tile[i % N_MADE].head;
        t->coding = b->coding;
        t->plain_bytes = WEIR_TILE_BYTES;
        t->out = b->area[1] + i * WEIR_TILE_BYTES;
        if (i >= N_MADE)
            t->payload = (const char *)tile[i % N_MADE].payload + group;
    }
    for (size_t i = 0; i < N_MADE; i++)
        tile[i].payload = b->area[0] + (uintptr_t)tile[i].payload;
    for (size_t i = N_MADE; i < N_TILES; i++)
        tile[i].payload = b->area[0] + (uintptr_t)tile[i].payload;
    return err;
}

static weir_err queue_decode(struct gpu_bench *b, void *what)
{
    (void)what;
    return weir_gpu_decode(b->s, b->batch);
}

static weir_err decode_tiles(struct gpu_bench *b, struct weir_gpu_tile *tile,
                             struct weir_device_measured *out)
{
    double time = 1;
    size_t bad;
    weir_err err = weir_gpu_batch_set(b->batch, tile, N_TILES);
    if (!err)
        err = gpu_bench_time(b, queue_decode, NULL, &time);
    if (!err)
        err = weir_gpu_batch_result(b->batch, &bad);
    out->decode = 1.0 * AREA_BYTES / time;
    return err;
}

weir_err gpu_bench_decode(struct gpu_bench *b, struct weir_device_measured *out)
{
    const struct weir_elements bf16 = {
        .elem_bytes = 2,
        .n_parts = 1,
        .part = {{.count = 1, .item_bytes = 2, .is_float = true, .exponent_bits = 8}}};
    struct weir_gpu_tile *tile = calloc(N_TILES, sizeof(*tile));
    struct weir_coding *coding = NULL;
    size_t step = 0;
    double bits;
    weir_err err = tile ? weir_coding_choose(&bf16, (const uint8_t *)b->made,
                                             (size_t)N_MADE * WEIR_TILE_BYTES, &coding, &bits)
                        : WEIR_ERR_NOMEM;
    if (!err)
        err = weir_gpu_coding_new(b->gpu, coding, &b->coding);
    if (!err)
        err = weir_gpu_batch_new(b->gpu, N_TILES, &b->batch);
    if (!err)
        err = encode(b, coding, tile, &step);
    if (!err)
        err = lay_out(b, tile, step);
    if (!err)
        err = decode_tiles(b, tile, out);
    free(tile);
    free(coding);
    return err;
}
