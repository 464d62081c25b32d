#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "cursor.h"
#include "tile_private.h"

enum { HEAD_BYTES = 16 }; /* of the payload: row, column, how many scales and exceptions */

/* ---- encoding ---- */

static bool items_are_sane(const struct weir_transform *t, const struct weir_tile_items *items,
                           size_t n)
{
    uint64_t n_scales = weir_transform_scales(t, items->row, items->column, n);
    if (n_scales == 0 || items->n_scales != n_scales)
        return false;
    for (size_t i = 0; i < items->n_scales; i++)
        if (!isfinite(items->scale[i]))
            return false;
    return true;
}

static struct transform_scales scales_of(const struct weir_tile_items *items)
{
    return (struct transform_scales){items->row, items->column, (const uint8_t *)items->scale};
}

weir_err weir_tile_make(struct weir_tile_encoder *enc, const struct weir_transform *t,
                        const struct weir_tile_items *items, size_t n, uint8_t *out)
{
    if (!items_are_sane(t, items, n))
        return WEIR_ERR_INVALID;
    const struct transform_scales by = scales_of(items);
    transform_make(enc->stream.kernels, t, &by, items->item, n, out);
    return WEIR_OK;
}

/* Lists the elements that are not what was made, behind `at`: positions, then elements.
 * NULL: no room. */
static uint8_t *put_exceptions(const uint8_t *plain, const uint8_t *made, size_t n,
                               size_t elem_bytes, uint8_t *at, const uint8_t *end,
                               uint32_t *n_found)
{
    enum { TOGETHER = 64 }; /* elements: most differ nowhere */
    uint32_t n_exceptions = 0;
    for (size_t i = 0; i < n; i++) {
        if (i % TOGETHER == 0 && n - i >= TOGETHER &&
            memcmp(plain + i * elem_bytes, made + i * elem_bytes, TOGETHER * elem_bytes) == 0) {
            i += TOGETHER - 1;
            continue;
        }
        if (memcmp(plain + i * elem_bytes, made + i * elem_bytes, elem_bytes) == 0)
            continue;
        if ((size_t)(end - at) < (n_exceptions + 1) * (4 + elem_bytes))
            return NULL;
        put_number(at + (size_t)4 * n_exceptions++, i, 4);
    }
    const uint8_t *position = at;
    at += (size_t)4 * n_exceptions;
    for (uint32_t k = 0; k < n_exceptions; k++, position += 4, at += elem_bytes) {
        struct cursor c = {position, 4, false};
        memcpy(at, plain + cursor_u32(&c) * elem_bytes, elem_bytes);
    }
    *n_found = n_exceptions;
    return at;
}

/* Returns the payload's bytes; 0 when that is not fewer than the plain bytes. */
static size_t encode_made(struct weir_tile_encoder *enc, const struct weir_coding *coding,
                          const struct weir_tile_items *items, const uint8_t *plain,
                          size_t plain_bytes, uint8_t *payload)
{
    const size_t n = plain_bytes / coding->elem_bytes;
    const uint64_t scale_bytes = 4 * (uint64_t)items->n_scales;
    if (HEAD_BYTES + scale_bytes >= plain_bytes)
        return 0;
    const struct transform_scales by = scales_of(items);
    transform_make(enc->stream.kernels, &coding->transform, &by, items->item, n, enc->items);
    uint8_t *at = payload + HEAD_BYTES + scale_bytes;
    uint32_t n_exceptions = 0;
    at = put_exceptions(plain, enc->items, n, coding->elem_bytes, at, payload + plain_bytes - 1,
                        &n_exceptions);
    if (!at)
        return 0;
    put_number(payload, items->column, 4);
    put_number(payload + 4, items->row, 4);
    put_number(payload + 8, items->n_scales, 4);
    put_number(payload + 12, n_exceptions, 4);
    memcpy(payload + HEAD_BYTES, items->scale, scale_bytes); /* little-endian hosts only */
    size_t used = (size_t)(at - payload), start = tile_padded(used);
    if (start >= plain_bytes)
        return 0;
    memset(at, 0, start - used);
    size_t streams =
        tile_encode_streams(enc, coding, items->item, n, payload + start, plain_bytes - 1 - start);
    return streams ? start + streams : 0;
}

weir_err weir_tile_encode_made(struct weir_tile_encoder *enc, const struct weir_coding *coding,
                               const struct weir_tile_items *items, const uint8_t *plain,
                               size_t plain_bytes, uint8_t *payload, struct weir_tile_head *head)
{
    if (!coding->transform.kind || plain_bytes == 0 || plain_bytes % coding->elem_bytes ||
        !items_are_sane(&coding->transform, items, plain_bytes / coding->elem_bytes))
        return WEIR_ERR_INVALID;
    head->xxh3 = enc->stream.kernels->xxh3(plain, plain_bytes);
    if (tile_encode_const(plain, plain_bytes, coding->elem_bytes, payload, head))
        return WEIR_OK;
    size_t n = encode_made(enc, coding, items, plain, plain_bytes, payload);
    if (n == 0)
        return tile_encode_opaque(enc, plain, plain_bytes, payload, head);
    head->mode = WEIR_TILE_MADE;
    head->payload_bytes = (uint32_t)n;
    return WEIR_OK;
}

/* As encode_made().  Nothing stands before the streams but zeros. */
static size_t encode_delta(struct weir_tile_encoder *enc, const struct weir_coding *coding,
                           const uint8_t *base, const uint8_t *plain, size_t plain_bytes,
                           uint8_t *payload)
{
    if (plain_bytes <= HEAD_BYTES)
        return 0;
    const size_t n = plain_bytes / coding->elem_bytes;
    memcpy(enc->made, plain, plain_bytes);
    enc->stream.kernels->take_delta(&coding->transform, base, n, enc->made);
    memset(payload, 0, HEAD_BYTES);
    size_t streams = tile_encode_streams(enc, coding, enc->made, n, payload + HEAD_BYTES,
                                         plain_bytes - 1 - HEAD_BYTES);
    return streams ? HEAD_BYTES + streams : 0;
}

weir_err weir_tile_encode_delta(struct weir_tile_encoder *enc, const struct weir_coding *coding,
                                const uint8_t *base, const uint8_t *plain, size_t plain_bytes,
                                uint8_t *payload, struct weir_tile_head *head)
{
    if (!weir_coding_needs_base(coding) || plain_bytes == 0 || plain_bytes % coding->elem_bytes)
        return WEIR_ERR_INVALID;
    head->xxh3 = enc->stream.kernels->xxh3(plain, plain_bytes);
    if (tile_encode_const(plain, plain_bytes, coding->elem_bytes, payload, head))
        return WEIR_OK;
    if (!enc->made)
        enc->made = malloc(WEIR_TILE_BYTES);
    if (!enc->made)
        return WEIR_ERR_NOMEM;
    size_t n = encode_delta(enc, coding, base, plain, plain_bytes, payload);
    if (n == 0)
        return tile_encode_opaque(enc, plain, plain_bytes, payload, head);
    head->mode = WEIR_TILE_MADE;
    head->payload_bytes = (uint32_t)n;
    return WEIR_OK;
}

/* ---- decoding ---- */

static bool scales_are_finite(const uint8_t *scales, uint32_t n)
{
    for (uint32_t i = 0; i < n; i++) {
        float scale;
        memcpy(&scale, scales + (size_t)4 * i, 4);
        if (!isfinite(scale))
            return false;
    }
    return true;
}

static bool positions_ascend(const uint8_t *positions, uint32_t n, size_t n_elements)
{
    uint64_t lowest = 0; /* that the next one may be */
    struct cursor c = {positions, (size_t)4 * n, false};
    for (uint32_t i = 0; i < n; i++) {
        uint32_t position = cursor_u32(&c);
        if (position < lowest || position >= n_elements)
            return false;
        lowest = (uint64_t)position + 1;
    }
    return true;
}

/* How many scales stand before the streams is right; a difference has neither scales nor
 * exceptions, nor a place in a matrix. */
static bool counts_are_right(const struct weir_transform *t, const struct weir_made_view *v,
                             size_t n)
{
    if (transform_needs_base(t))
        return !v->row && !v->column && !v->n_scales && !v->n_exceptions;
    uint64_t n_scales = weir_transform_scales(t, v->row, v->column, n);
    return n_scales && v->n_scales == n_scales && v->n_exceptions <= n;
}

weir_err weir_tile_view_made(const struct weir_coding *coding, const uint8_t *payload,
                             size_t payload_bytes, size_t plain_bytes, struct weir_made_view *out)
{
    if (!coding || !coding->transform.kind || plain_bytes == 0 || plain_bytes % coding->elem_bytes)
        return WEIR_ERR_CORRUPT;
    const size_t n = plain_bytes / coding->elem_bytes;
    struct cursor c = {payload, payload_bytes, false};
    struct weir_made_view v = {0};
    v.column = cursor_u32(&c);
    v.row = cursor_u32(&c);
    v.n_scales = cursor_u32(&c);
    v.n_exceptions = cursor_u32(&c);
    if (c.bad || !counts_are_right(&coding->transform, &v, n))
        return WEIR_ERR_CORRUPT;
    v.scales = cursor_take(&c, 4 * (size_t)v.n_scales);
    v.positions = cursor_take(&c, 4 * (size_t)v.n_exceptions);
    v.exceptions = cursor_take(&c, (size_t)coding->elem_bytes * v.n_exceptions);
    while (!c.bad && (payload_bytes - c.left) % TILE_PAD)
        if (cursor_u8(&c))
            return WEIR_ERR_CORRUPT;
    if (c.bad || !scales_are_finite(v.scales, v.n_scales) ||
        !positions_ascend(v.positions, v.n_exceptions, n))
        return WEIR_ERR_CORRUPT;
    v.streams = c.bytes;
    v.streams_bytes = c.left;
    *out = v;
    return WEIR_OK;
}

weir_err weir_tile_decode_items(struct weir_tile_decoder *dec, const struct weir_coding *coding,
                                const struct weir_made_view *view, uint8_t *items,
                                size_t plain_bytes)
{
    return tile_decode_streams(dec, coding, view->streams, view->streams_bytes, items,
                               plain_bytes / coding->elem_bytes);
}

weir_err tile_decode_made(struct weir_tile_decoder *dec, const struct weir_coding *coding,
                          const uint8_t *payload, size_t payload_bytes, uint8_t *out,
                          size_t plain_bytes)
{
    struct weir_made_view v;
    weir_err err = weir_tile_view_made(coding, payload, payload_bytes, plain_bytes, &v);
    if (err)
        return err;
    if (!dec->made)
        dec->made = malloc(WEIR_TILE_BYTES);
    if (!dec->made)
        return WEIR_ERR_NOMEM;
    err = weir_tile_decode_items(dec, coding, &v, dec->made, plain_bytes);
    if (err)
        return err;
    const size_t elem_bytes = coding->elem_bytes;
    if (transform_needs_base(&coding->transform)) {
        dec->kernels->put_delta(&coding->transform, dec->made, plain_bytes / elem_bytes, out);
        return WEIR_OK;
    }
    const struct transform_scales by = {v.row, v.column, v.scales};
    transform_make(dec->kernels, &coding->transform, &by, dec->made, plain_bytes / elem_bytes, out);
    struct cursor positions = {v.positions, (size_t)4 * v.n_exceptions, false};
    for (uint32_t i = 0; i < v.n_exceptions; i++)
        memcpy(out + cursor_u32(&positions) * elem_bytes, v.exceptions + i * elem_bytes,
               elem_bytes);
    return WEIR_OK;
}
