#include "codec/tile.h"

#include <stdlib.h>
#include <string.h>

#include <zstd_errors.h>

#include "tile_private.h"

enum { ZSTD_LEVEL = 3 };

/* An element is one item: no gathering or scattering. */
static bool is_plain_array(const struct weir_coding *coding)
{
    return coding->n_parts == 1 && coding->part[0].count == 1;
}

/* Copies a part's items between the elements and a plain array of items. */
static void gather_items(const struct weir_coding *coding, const struct weir_part *part,
                         const uint8_t *elements, size_t n_elements, uint8_t *items)
{
    const size_t run = (size_t)part->count * part->item_bytes, stride = coding_item_bytes(coding);
    const uint8_t *from = elements + part->offset;
    for (size_t i = 0; i < n_elements; i++, from += stride, items += run)
        memcpy(items, from, run);
}

static void scatter_items(const struct weir_coding *coding, const struct weir_part *part,
                          const uint8_t *items, size_t n_elements, uint8_t *elements)
{
    const size_t run = (size_t)part->count * part->item_bytes, stride = coding_item_bytes(coding);
    uint8_t *to = elements + part->offset;
    for (size_t i = 0; i < n_elements; i++, to += stride, items += run)
        memcpy(to, items, run);
}

static bool copy_is_of(const struct coding_copy *copy, const struct weir_coding *coding)
{
    size_t n = weir_coding_bytes(coding->n_parts);
    return copy->bytes == n && memcmp(copy->coding, coding, n) == 0;
}

static void copy_take(struct coding_copy *copy, const struct weir_coding *coding)
{
    copy->bytes = weir_coding_bytes(coding->n_parts);
    memcpy(copy->coding, coding, copy->bytes);
}

/* ---- encoding ---- */

weir_err weir_tile_encoder_new(const struct weir_kernels *kernels, struct weir_tile_encoder **out)
{
    struct weir_tile_encoder *enc = calloc(1, sizeof(*enc));
    if (!enc)
        return WEIR_ERR_NOMEM;
    enc->stream.kernels = kernels;
    enc->zstd = ZSTD_createCCtx();
    if (!enc->zstd) {
        weir_tile_encoder_free(enc);
        return WEIR_ERR_NOMEM;
    }
    *out = enc;
    return WEIR_OK;
}

void weir_tile_encoder_free(struct weir_tile_encoder *enc)
{
    if (!enc)
        return;
    ZSTD_freeCCtx(enc->zstd);
    free(enc->made);
    free(enc);
}

static void encoder_use(struct weir_tile_encoder *enc, const struct weir_coding *coding)
{
    if (copy_is_of(&enc->used, coding))
        return;
    for (int i = 0; i < coding->n_parts; i++) {
        item_code_make(&coding->part[i], &enc->code[i]);
        rans_encode_table_make(&coding->part[i], &enc->table[i]);
    }
    copy_take(&enc->used, coding);
}

size_t tile_encode_streams(struct weir_tile_encoder *enc, const struct weir_coding *coding,
                           const uint8_t *elements, size_t n, uint8_t *out, size_t room)
{
    size_t at = 0;
    encoder_use(enc, coding);
    for (int i = 0; i < coding->n_parts; i++) {
        const struct weir_part *part = &coding->part[i];
        const uint8_t *items = elements;
        if (!is_plain_array(coding)) {
            gather_items(coding, part, elements, n, enc->items);
            items = enc->items;
        }
        size_t start = tile_padded(at);
        if (start >= room)
            return 0;
        size_t bytes = stream_encode(&enc->stream, &enc->code[i], &enc->table[i], items,
                                     n * part->count, out + start, room - start);
        if (bytes == 0)
            return 0;
        memset(out + at, 0, start - at);
        at = start + bytes;
    }
    return at;
}

static bool is_constant(const uint8_t *plain, size_t plain_bytes, size_t elem_bytes)
{
    return plain_bytes % elem_bytes == 0 &&
           memcmp(plain, plain + elem_bytes, plain_bytes - elem_bytes) == 0;
}

/* As encode_split; *err is set when zstd has no memory. */
static size_t encode_zstd(struct weir_tile_encoder *enc, const uint8_t *plain, size_t plain_bytes,
                          uint8_t *payload, weir_err *err)
{
    size_t n = ZSTD_compressCCtx(enc->zstd, payload, plain_bytes, plain, plain_bytes, ZSTD_LEVEL);
    if (!ZSTD_isError(n))
        return n < plain_bytes ? n : 0;
    if (ZSTD_getErrorCode(n) != ZSTD_error_dstSize_tooSmall)
        *err = WEIR_ERR_NOMEM;
    return 0;
}

bool tile_encode_const(const uint8_t *plain, size_t plain_bytes, size_t elem_bytes,
                       uint8_t *payload, struct weir_tile_head *head)
{
    if (!is_constant(plain, plain_bytes, elem_bytes))
        return false;
    head->mode = WEIR_TILE_CONST;
    head->payload_bytes = (uint32_t)elem_bytes;
    memcpy(payload, plain, elem_bytes);
    return true;
}

weir_err tile_encode_opaque(struct weir_tile_encoder *enc, const uint8_t *plain, size_t plain_bytes,
                            uint8_t *payload, struct weir_tile_head *head)
{
    weir_err err = WEIR_OK;
    size_t n = encode_zstd(enc, plain, plain_bytes, payload, &err);
    head->mode = WEIR_TILE_ZSTD;
    if (!err && n == 0) {
        head->mode = WEIR_TILE_RAW;
        n = plain_bytes;
        memcpy(payload, plain, n);
    }
    head->payload_bytes = (uint32_t)n;
    return err;
}

weir_err weir_tile_encode(struct weir_tile_encoder *enc, const struct weir_coding *coding,
                          const uint8_t *plain, size_t plain_bytes, uint8_t *payload,
                          struct weir_tile_head *head)
{
    const size_t elem_bytes = coding ? coding->elem_bytes : 1;
    size_t n = 0;
    head->xxh3 = enc->stream.kernels->xxh3(plain, plain_bytes);
    if (tile_encode_const(plain, plain_bytes, elem_bytes, payload, head))
        return WEIR_OK;
    if (coding && !coding->transform.kind && plain_bytes % elem_bytes == 0)
        n = tile_encode_streams(enc, coding, plain, plain_bytes / elem_bytes, payload,
                                plain_bytes - 1);
    if (n == 0) /* opaque, or not what the coding was chosen for */
        return tile_encode_opaque(enc, plain, plain_bytes, payload, head);
    head->mode = WEIR_TILE_SPLIT;
    head->payload_bytes = (uint32_t)n;
    return WEIR_OK;
}

/* ---- decoding ---- */

weir_err weir_tile_decoder_new(const struct weir_kernels *kernels, struct weir_tile_decoder **out)
{
    struct weir_tile_decoder *dec = calloc(1, sizeof(*dec));
    if (!dec)
        return WEIR_ERR_NOMEM;
    dec->kernels = kernels;
    dec->zstd = ZSTD_createDCtx();
    if (!dec->zstd) {
        weir_tile_decoder_free(dec);
        return WEIR_ERR_NOMEM;
    }
    *out = dec;
    return WEIR_OK;
}

void weir_tile_decoder_free(struct weir_tile_decoder *dec)
{
    if (!dec)
        return;
    ZSTD_freeDCtx(dec->zstd);
    free(dec->table);
    free(dec->made);
    free(dec);
}

static weir_err decoder_use(struct weir_tile_decoder *dec, const struct weir_coding *coding)
{
    if (copy_is_of(&dec->used, coding))
        return WEIR_OK;
    dec->used.bytes = 0;
    if (dec->n_tables < coding->n_parts) {
        struct rans_decode_table *more = malloc(coding->n_parts * sizeof(*more));
        if (!more)
            return WEIR_ERR_NOMEM;
        free(dec->table);
        dec->table = more;
        dec->n_tables = coding->n_parts;
    }
    for (int i = 0; i < coding->n_parts; i++) {
        item_code_make(&coding->part[i], &dec->code[i]);
        rans_decode_table_make(&coding->part[i], &dec->table[i]);
    }
    copy_take(&dec->used, coding);
    return WEIR_OK;
}

weir_err tile_decode_streams(struct weir_tile_decoder *dec, const struct weir_coding *coding,
                             const uint8_t *bytes, size_t n_bytes, uint8_t *elements, size_t n)
{
    weir_err err = decoder_use(dec, coding);
    if (err)
        return err;
    size_t at = 0;
    for (int i = 0; i < coding->n_parts; i++) {
        const struct weir_part *part = &coding->part[i];
        size_t start = tile_padded(at);
        if (start > n_bytes)
            return WEIR_ERR_CORRUPT;
        for (; at < start; at++)
            if (bytes[at])
                return WEIR_ERR_CORRUPT;
        bool direct = is_plain_array(coding);
        size_t used =
            stream_decode(dec->kernels, &dec->code[i], &dec->table[i], bytes + start,
                          n_bytes - start, n * part->count, direct ? elements : dec->items);
        if (used == 0)
            return WEIR_ERR_CORRUPT;
        if (!direct)
            scatter_items(coding, part, dec->items, n, elements);
        at = start + used;
    }
    return at == n_bytes ? WEIR_OK : WEIR_ERR_CORRUPT;
}

static weir_err decode_split(struct weir_tile_decoder *dec, const struct weir_coding *coding,
                             const uint8_t *payload, size_t payload_bytes, uint8_t *out,
                             size_t plain_bytes)
{
    if (!coding || coding->transform.kind || plain_bytes % coding->elem_bytes)
        return WEIR_ERR_CORRUPT;
    return tile_decode_streams(dec, coding, payload, payload_bytes, out,
                               plain_bytes / coding->elem_bytes);
}

static weir_err decode_zstd(struct weir_tile_decoder *dec, const uint8_t *payload,
                            size_t payload_bytes, uint8_t *out, size_t plain_bytes)
{
    static const uint8_t magic[] = {0x28, 0xb5, 0x2f, 0xfd}; /* libzstd also reads older formats */
    if (payload_bytes < sizeof(magic) || memcmp(payload, magic, sizeof(magic)) != 0 ||
        ZSTD_getDictID_fromFrame(payload, payload_bytes) != 0 ||
        ZSTD_findFrameCompressedSize(payload, payload_bytes) != payload_bytes)
        return WEIR_ERR_CORRUPT;
    size_t n = ZSTD_decompressDCtx(dec->zstd, out, plain_bytes, payload, payload_bytes);
    if (ZSTD_isError(n) && ZSTD_getErrorCode(n) == ZSTD_error_memory_allocation)
        return WEIR_ERR_NOMEM;
    return n == plain_bytes ? WEIR_OK : WEIR_ERR_CORRUPT;
}

static weir_err decode_const(const struct weir_coding *coding, const uint8_t *payload,
                             size_t payload_bytes, uint8_t *out, size_t plain_bytes)
{
    size_t elem_bytes = coding ? coding->elem_bytes : 1;
    if (payload_bytes != elem_bytes || plain_bytes % elem_bytes)
        return WEIR_ERR_CORRUPT;
    if (elem_bytes == 1) {
        memset(out, payload[0], plain_bytes);
        return WEIR_OK;
    }
    memcpy(out, payload, elem_bytes);
    for (size_t have = elem_bytes; have < plain_bytes;) { /* what is there, doubled */
        size_t n = have < plain_bytes - have ? have : plain_bytes - have;
        memcpy(out + have, out, n);
        have += n;
    }
    return WEIR_OK;
}

static weir_err decode_mode(struct weir_tile_decoder *dec, const struct weir_coding *coding,
                            const struct weir_tile_head *head, const uint8_t *payload, uint8_t *out,
                            size_t plain_bytes)
{
    size_t n = head->payload_bytes;
    if (plain_bytes == 0 || plain_bytes > WEIR_TILE_BYTES || n == 0 || n > plain_bytes)
        return WEIR_ERR_CORRUPT;
    switch (head->mode) {
    case WEIR_TILE_RAW:
        if (n != plain_bytes)
            return WEIR_ERR_CORRUPT;
        memcpy(out, payload, n);
        return WEIR_OK;
    case WEIR_TILE_CONST:
        return decode_const(coding, payload, n, out, plain_bytes);
    case WEIR_TILE_ZSTD:
        return decode_zstd(dec, payload, n, out, plain_bytes);
    case WEIR_TILE_SPLIT:
        return decode_split(dec, coding, payload, n, out, plain_bytes);
    case WEIR_TILE_MADE:
        return tile_decode_made(dec, coding, payload, n, out, plain_bytes);
    default:
        return WEIR_ERR_CORRUPT;
    }
}

weir_err weir_tile_decode(struct weir_tile_decoder *dec, const struct weir_coding *coding,
                          const struct weir_tile_head *head, const uint8_t *payload, uint8_t *out,
                          size_t plain_bytes)
{
    weir_err err = decode_mode(dec, coding, head, payload, out, plain_bytes);
    if (err)
        return err;
    return dec->kernels->xxh3(out, plain_bytes) == head->xxh3 ? WEIR_OK : WEIR_ERR_CORRUPT;
}
