#include "stream.h"

#include <assert.h>
#include <string.h>

static uint32_t load_u32(const uint8_t *p)
{
    return (uint32_t)p[0] | (uint32_t)p[1] << 8 | (uint32_t)p[2] << 16 | (uint32_t)p[3] << 24;
}

static void store_u32(uint8_t *p, uint32_t v)
{
    for (int i = 0; i < 4; i++)
        p[i] = (uint8_t)(v >> (8 * i));
}

static size_t n_rows_of(size_t n_items)
{
    return (n_items + WEIR_LANES - 1) / WEIR_LANES;
}

size_t stream_raw_bytes(const struct item_code *code, size_t n_items)
{
    size_t width = 8 * (size_t)code->item_bytes;
    size_t n_words = (n_rows_of(n_items) * code->raw_bits + width - 1) / width;
    return n_words * WEIR_LANES * code->item_bytes;
}

/* ---- tables ---- */

void item_code_make(const struct weir_part *part, struct item_code *out)
{
    *out = (struct item_code){
        .item_bytes = part->item_bytes,
        .drop_bits = part->drop_bits,
        .raw_bits = (uint8_t)(8 * part->item_bytes - part->drop_bits - part->symbol_bits),
        .sign_first = part->sign_first,
        .base = part->base,
    };
    for (int j = 0; j < 256; j++) {
        out->present[j] = part->freq[j] > 0;
        if (part->freq[j] > part->freq[out->filler])
            out->filler = (uint8_t)j;
    }
}

void rans_decode_table_make(const struct weir_part *part, struct rans_decode_table *out)
{
    uint32_t slot = 0;
    for (uint32_t j = 0; j < 256; j++)
        for (uint32_t i = 0; i < part->freq[j]; i++)
            out->entry[slot++] = j << 24 | (uint32_t)part->freq[j] << 12 | i;
}

void rans_encode_table_make(const struct weir_part *part, struct rans_encode_table *out)
{
    uint32_t first = 0;
    for (int j = 0; j < 256; j++) {
        out->entry[j] = part->freq[j] ? part->freq[j] | first << 16 : 0;
        first += part->freq[j];
    }
}

/* ---- encoding ---- */

bool item_is_coded(const struct item_code *code, const uint8_t *item)
{
    unsigned width = 8u * code->item_bytes;
    uint64_t v = 0;
    assert(width >= 8); /* the shifts below rely on it */
    for (unsigned i = 0; i < code->item_bytes; i++)
        v |= (uint64_t)item[i] << (8 * i);
    if (v & (((uint64_t)1 << code->drop_bits) - 1))
        return false;
    if (code->sign_first)
        v = (v & (((uint64_t)1 << (width - 1)) - 1)) >> code->drop_bits << 1 | v >> (width - 1);
    else
        v >>= code->drop_bits;
    uint64_t symbol = v >> code->raw_bits;
    if (symbol == 0)
        return code->present[0];
    return symbol > code->base && symbol - code->base <= 255 && code->present[symbol - code->base];
}

/* Lists the items that cut() gave the filler because they need a patch.  false: too many. */
static bool find_patches(const struct item_code *code, const uint8_t *items, size_t n_items,
                         struct stream_encoder *s, size_t *n_patches)
{
    size_t n = 0;
    for (size_t row = 0; row < n_rows_of(n_items); row++) {
        if (!s->bad[row])
            continue;
        for (size_t i = row * WEIR_LANES; i < (row + 1) * WEIR_LANES && i < n_items; i++) {
            if (item_is_coded(code, items + i * code->item_bytes))
                continue;
            if (n == STREAM_MAX_PATCHES)
                return false;
            s->patch[n++] = (uint32_t)i;
        }
    }
    *n_patches = n;
    return true;
}

/* Cuts all items; the last row, if it is not whole, by way of a padded copy. */
static void cut_items(struct stream_encoder *s, const struct item_code *code, const uint8_t *items,
                      size_t n_items, uint8_t *raw)
{
    size_t n_whole = n_items / WEIR_LANES, left = n_items % WEIR_LANES;
    s->kernels->cut(code, items, 0, n_whole, s->index, raw, s->bad);
    if (!left)
        return;
    memset(s->row, 0, sizeof(s->row));
    memcpy(s->row, items + n_whole * WEIR_LANES * code->item_bytes, left * code->item_bytes);
    s->kernels->cut(code, s->row, n_whole, 1, s->index + n_whole * WEIR_LANES, raw,
                    s->bad + n_whole);
    memset(s->index + n_whole * WEIR_LANES + left, code->filler, WEIR_LANES - left);
}

static uint8_t *put_patches(const struct item_code *code, const uint8_t *items,
                            const uint32_t *patch, size_t n_patches, uint8_t *at)
{
    for (size_t i = 0; i < n_patches; i++, at += 4)
        store_u32(at, patch[i]);
    for (size_t i = 0; i < n_patches; i++, at += code->item_bytes)
        memcpy(at, items + (size_t)patch[i] * code->item_bytes, code->item_bytes);
    return at;
}

size_t stream_encode(struct stream_encoder *enc, const struct item_code *code,
                     const struct rans_encode_table *table, const uint8_t *items, size_t n_items,
                     uint8_t *out, size_t room)
{
    size_t raw_bytes = stream_raw_bytes(code, n_items), n_patches = 0;
    if (room < STREAM_HEAD_BYTES + raw_bytes)
        return 0;
    cut_items(enc, code, items, n_items, out + STREAM_HEAD_BYTES);
    if (!find_patches(code, items, n_items, enc, &n_patches))
        return 0;

    uint32_t x[WEIR_LANES];
    for (size_t l = 0; l < WEIR_LANES; l++)
        x[l] = RANS_LOW;
    uint8_t *end = enc->words + sizeof(enc->words);
    uint8_t *first = enc->kernels->encode_rows(table, x, enc->index, n_rows_of(n_items), end);
    size_t word_bytes = (size_t)(end - first), gap = word_bytes % 4;
    size_t need = STREAM_HEAD_BYTES + raw_bytes + word_bytes + gap +
                  n_patches * (4 + (size_t)code->item_bytes);
    if (need > room)
        return 0;

    memset(out, 0, 16);
    store_u32(out, (uint32_t)(word_bytes / 2));
    store_u32(out + 4, (uint32_t)n_patches);
    for (size_t l = 0; l < WEIR_LANES; l++)
        store_u32(out + 16 + 4 * l, x[l]);
    uint8_t *at = out + STREAM_HEAD_BYTES + raw_bytes;
    memcpy(at, first, word_bytes);
    memset(at + word_bytes, 0, gap);
    at = put_patches(code, items, enc->patch, n_patches, at + word_bytes + gap);
    return (size_t)(at - out);
}

/* ---- decoding ---- */

/* Where the pieces of a stream lie; every size checked. */
struct stream_view {
    const uint8_t *raw, *words, *words_end, *positions, *patches;
    size_t n_patches, bytes;
};

static bool view_stream(const struct item_code *code, const uint8_t *bytes, size_t n_bytes,
                        size_t n_items, struct stream_view *v)
{
    size_t raw_bytes = stream_raw_bytes(code, n_items), head = STREAM_HEAD_BYTES + raw_bytes;
    if (n_bytes < head)
        return false;
    uint64_t word_bytes = 2 * (uint64_t)load_u32(bytes), gap = word_bytes % 4;
    uint64_t n_patches = load_u32(bytes + 4);
    if (load_u32(bytes + 8) || load_u32(bytes + 12) || n_patches > n_items)
        return false;
    uint64_t whole = head + word_bytes + gap + n_patches * (4u + code->item_bytes);
    if (whole > n_bytes)
        return false;
    v->raw = bytes + STREAM_HEAD_BYTES;
    v->words = v->raw + raw_bytes;
    v->words_end = v->words + word_bytes;
    v->positions = v->words_end + gap;
    v->patches = v->positions + 4 * n_patches;
    v->n_patches = (size_t)n_patches;
    v->bytes = (size_t)whole;
    return !gap || (v->words_end[0] == 0 && v->words_end[1] == 0);
}

/* The raw bits that are of no item: those of padding, and those that fill up a lane's last number.
 */
static bool padding_is_zero(const struct item_code *code, const uint8_t *raw, size_t n_items)
{
    size_t width = 8 * (size_t)code->item_bytes, number_bytes = width / 8;
    size_t n_numbers = stream_raw_bytes(code, n_items) / (WEIR_LANES * number_bytes);
    for (size_t lane = 0; lane < WEIR_LANES; lane++) {
        size_t used = (n_items + WEIR_LANES - 1 - lane) / WEIR_LANES * code->raw_bits;
        for (size_t j = used / width; j < n_numbers; j++) {
            uint64_t number = 0;
            for (size_t i = 0; i < number_bytes; i++)
                number |= (uint64_t)raw[(WEIR_LANES * j + lane) * number_bytes + i] << (8 * i);
            if (j == used / width)
                number >>= used % width;
            if (number)
                return false;
        }
    }
    return true;
}

static bool apply_patches(const struct stream_view *v, const struct item_code *code, size_t n_items,
                          uint8_t *items)
{
    uint64_t before = 0; /* one more than the last position */
    for (size_t i = 0; i < v->n_patches; i++) {
        uint32_t position = load_u32(v->positions + 4 * i);
        if (position < before || position >= n_items)
            return false;
        before = (uint64_t)position + 1;
        memcpy(items + (size_t)position * code->item_bytes, v->patches + i * code->item_bytes,
               code->item_bytes);
    }
    return true;
}

size_t stream_decode(const struct weir_kernels *kernels, const struct item_code *code,
                     const struct rans_decode_table *table, const uint8_t *bytes, size_t n_bytes,
                     size_t n_items, uint8_t *items)
{
    struct stream_view v;
    if (!view_stream(code, bytes, n_bytes, n_items, &v) || !padding_is_zero(code, v.raw, n_items))
        return 0;
    struct rans_reader r = {.at = v.words, .end = v.words_end, .raw = v.raw};
    for (size_t l = 0; l < WEIR_LANES; l++)
        r.x[l] = load_u32(bytes + 16 + 4 * l);

    uint8_t last[8 * WEIR_LANES];
    size_t n_whole = n_items / WEIR_LANES, left = n_items % WEIR_LANES;
    if (!kernels->decode_items(table, code, &r, 0, n_whole, items))
        return 0;
    if (left) { /* the last row, by way of a whole one */
        if (!kernels->decode_items(table, code, &r, n_whole, 1, last))
            return 0;
        memcpy(items + n_whole * WEIR_LANES * code->item_bytes, last, left * code->item_bytes);
    }
    if (r.at != r.end)
        return 0;
    for (size_t l = 0; l < WEIR_LANES; l++)
        if (r.x[l] != RANS_LOW)
            return 0;
    return apply_patches(&v, code, n_items, items) ? v.bytes : 0;
}
