#include "pack_plan.h"

#include <stdlib.h>

#include "born.h"
#include "born_q8.h"

struct pack_encoder {
    struct weir_tile_encoder *tile;
    float scale[BORN_MAX_SCALES];
    uint8_t item[WEIR_TILE_BYTES]; /* a byte for each weight */
};

weir_err pack_encoder_new(const struct weir_kernels *kernels, struct pack_encoder **out)
{
    struct pack_encoder *enc = calloc(1, sizeof(*enc));
    if (!enc)
        return WEIR_ERR_NOMEM;
    weir_err err = weir_tile_encoder_new(kernels, &enc->tile);
    if (err)
        pack_encoder_free(enc);
    else
        *out = enc;
    return err;
}

void pack_encoder_free(struct pack_encoder *enc)
{
    if (!enc)
        return;
    weir_tile_encoder_free(enc->tile);
    free(enc);
}

struct weir_tile_encoder *pack_encoder_of_tiles(struct pack_encoder *enc)
{
    return enc->tile;
}

/* As made of what it was born as; what does not follow from that is kept by the encoder. */
static weir_err encode_born(struct pack_encoder *enc, const struct weir_object *o, uint64_t tile,
                            const uint8_t *plain, size_t n_bytes, uint8_t *payload,
                            struct weir_tile_head *head)
{
    const struct weir_transform *t = &o->coding->transform;
    const size_t n = n_bytes / o->coding->elem_bytes;
    const bool q8 = t->kind == WEIR_TRANSFORM_Q8_0;
    const uint64_t first =
        tile * (o->tile_bytes / o->coding->elem_bytes) * (q8 ? WEIR_Q8_WEIGHTS : 1);
    struct weir_tile_items items = {
        .item = enc->item,
        .row = (uint32_t)(first / t->row_elements % t->block_rows),
        .column = (uint32_t)(first % t->row_elements),
        .scale = enc->scale,
    };
    items.n_scales = born_scales(t, items.row, items.column, n);
    if (items.n_scales == 0)
        return weir_tile_encode(enc->tile, NULL, plain, n_bytes, payload, head);
    if (q8)
        (void)born_q8_fit(t, plain, n, items.row, items.column, enc->item, enc->scale);
    else
        (void)born_fit(t, plain, n, items.row, items.column, enc->item, enc->scale);
    return weir_tile_encode_made(enc->tile, o->coding, &items, plain, n_bytes, payload, head);
}

weir_err pack_encode(struct pack_encoder *enc, const struct weir_object *o, uint64_t tile,
                     const uint8_t *plain, size_t n_bytes, uint8_t *payload,
                     struct weir_tile_head *head)
{
    const struct weir_transform *t = o->coding ? &o->coding->transform : NULL;
    if (t && (t->kind == WEIR_TRANSFORM_SCALE || t->kind == WEIR_TRANSFORM_Q8_0) &&
        n_bytes % o->coding->elem_bytes == 0)
        return encode_born(enc, o, tile, plain, n_bytes, payload, head);
    return weir_tile_encode(enc->tile, o->coding, plain, n_bytes, payload, head);
}
