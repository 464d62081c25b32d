#include "codec/tile.h"

#include <stdlib.h>
#include <string.h>

#include <zstd.h>
#include <zstd_errors.h>

#include "stream.h"

enum {
    ZSTD_LEVEL = 3,
    PAD = 16, /* streams of one tile start at multiples of it */
};

static size_t padded(size_t n)
{
    return (n + PAD - 1) / PAD * PAD;
}

/* An element is one item: no gathering or scattering. */
static bool is_plain_array(const struct weir_coding *coding)
{
    return coding->n_parts == 1 && coding->part[0].count == 1;
}

/* Copies a part's items between the elements and a plain array of items. */
static void gather_items(const struct weir_coding *coding, const struct weir_part *part,
                         const uint8_t *elements, size_t n_elements, uint8_t *items)
{
    size_t run = (size_t)part->count * part->item_bytes;
    const uint8_t *from = elements + part->offset;
    for (size_t i = 0; i < n_elements; i++, from += coding->elem_bytes, items += run)
        memcpy(items, from, run);
}

static void scatter_items(const struct weir_coding *coding, const struct weir_part *part,
                          const uint8_t *items, size_t n_elements, uint8_t *elements)
{
    size_t run = (size_t)part->count * part->item_bytes;
    uint8_t *to = elements + part->offset;
    for (size_t i = 0; i < n_elements; i++, to += coding->elem_bytes, items += run)
        memcpy(to, items, run);
}

/* Tables are kept for the next tile, which mostly has the same coding.  Compared by value: a coding
 * that is freed and another that is made at its address must not pass for each other. */
struct coding_copy {
    size_t bytes; /* 0: none yet */
    uint8_t coding[sizeof(struct weir_coding) + WEIR_MAX_PARTS * sizeof(struct weir_part)];
};

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

struct weir_tile_encoder {
    struct coding_copy used; /* whose tables these are */
    struct item_code code[WEIR_MAX_PARTS];
    struct rans_encode_table table[WEIR_MAX_PARTS];
    ZSTD_CCtx *zstd;
    struct stream_encoder stream;
    uint8_t items[WEIR_TILE_BYTES];
};

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

/* Returns the payload's bytes; 0 when that is not fewer than the plain bytes. */
static size_t encode_split(struct weir_tile_encoder *enc, const struct weir_coding *coding,
                           const uint8_t *plain, size_t plain_bytes, uint8_t *payload)
{
    size_t n_elements = plain_bytes / coding->elem_bytes, at = 0;
    encoder_use(enc, coding);
    for (int i = 0; i < coding->n_parts; i++) {
        const struct weir_part *part = &coding->part[i];
        const uint8_t *items = plain;
        if (!is_plain_array(coding)) {
            gather_items(coding, part, plain, n_elements, enc->items);
            items = enc->items;
        }
        size_t start = padded(at);
        if (start >= plain_bytes)
            return 0;
        size_t n =
            stream_encode(&enc->stream, &enc->code[i], &enc->table[i], items,
                          n_elements * part->count, payload + start, plain_bytes - 1 - start);
        if (n == 0)
            return 0;
        memset(payload + at, 0, start - at);
        at = start + n;
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

weir_err weir_tile_encode(struct weir_tile_encoder *enc, const struct weir_coding *coding,
                          const uint8_t *plain, size_t plain_bytes, uint8_t *payload,
                          struct weir_tile_head *head)
{
    size_t elem_bytes = coding ? coding->elem_bytes : 1, n = 0;
    weir_err err = WEIR_OK;
    head->xxh3 = enc->stream.kernels->xxh3(plain, plain_bytes);
    if (is_constant(plain, plain_bytes, elem_bytes)) {
        head->mode = WEIR_TILE_CONST;
        n = elem_bytes;
        memcpy(payload, plain, n);
    } else if (coding && plain_bytes % elem_bytes == 0) {
        head->mode = WEIR_TILE_SPLIT;
        n = encode_split(enc, coding, plain, plain_bytes, payload);
    }
    if (n == 0) { /* opaque, or not what the coding was chosen for */
        head->mode = WEIR_TILE_ZSTD;
        n = encode_zstd(enc, plain, plain_bytes, payload, &err);
    }
    if (err)
        return err;
    if (n == 0) {
        head->mode = WEIR_TILE_RAW;
        n = plain_bytes;
        memcpy(payload, plain, n);
    }
    head->payload_bytes = (uint32_t)n;
    return WEIR_OK;
}

/* ---- decoding ---- */

struct weir_tile_decoder {
    const struct weir_kernels *kernels;
    struct coding_copy used; /* whose tables these are */
    int n_tables;
    struct rans_decode_table *table; /* n_tables of them */
    struct item_code code[WEIR_MAX_PARTS];
    ZSTD_DCtx *zstd;
    uint8_t items[WEIR_TILE_BYTES];
};

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

static weir_err decode_split(struct weir_tile_decoder *dec, const struct weir_coding *coding,
                             const uint8_t *payload, size_t payload_bytes, uint8_t *out,
                             size_t plain_bytes)
{
    if (!coding || plain_bytes % coding->elem_bytes)
        return WEIR_ERR_CORRUPT;
    weir_err err = decoder_use(dec, coding);
    if (err)
        return err;
    size_t n_elements = plain_bytes / coding->elem_bytes, at = 0;
    for (int i = 0; i < coding->n_parts; i++) {
        const struct weir_part *part = &coding->part[i];
        size_t start = padded(at);
        if (start > payload_bytes)
            return WEIR_ERR_CORRUPT;
        for (; at < start; at++)
            if (payload[at])
                return WEIR_ERR_CORRUPT;
        bool direct = is_plain_array(coding);
        size_t n = stream_decode(dec->kernels, &dec->code[i], &dec->table[i], payload + start,
                                 payload_bytes - start, n_elements * part->count,
                                 direct ? out : dec->items);
        if (n == 0)
            return WEIR_ERR_CORRUPT;
        if (!direct)
            scatter_items(coding, part, dec->items, n_elements, out);
        at = start + n;
    }
    return at == payload_bytes ? WEIR_OK : WEIR_ERR_CORRUPT;
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
