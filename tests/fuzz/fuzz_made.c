/* Any bytes as a made tile: every variant of the kernels gives the same answer.  Or, with bit 0 of
 * the first byte set, any bytes as floats: whatever they are fitted with, and whatever is made of
 * that, they come back.
 *
 *   0  bit 0: there and back        4  elements - 1 (u16)      12  block rows (u16)
 *   1  what an element is           6  kind of table           14  block columns (u16)
 *   2  number                       8  row elements (u16)      16  first element (u32)
 *   3  item bytes                  10  symbol bits             20  checksum (u64)
 *                                                              28- payload, or elements
 */
#include <stdlib.h>
#include <string.h>

#include "../unit/coding_kit.h"
#include "codec/born.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

enum { HEAD_BYTES = 28 };

static void must(bool holds)
{
    if (!holds)
        abort();
}

/* Made once; reachable to the end. */
static struct variants v;
static struct weir_tile_encoder *encoder[3];
static struct weir_tile_decoder *decoder[3];

static void set_up(void)
{
    if (v.n)
        return;
    v = variants_here();
    for (size_t i = 0; i < v.n; i++) {
        must(weir_tile_encoder_new(v.at[i], &encoder[i]) == WEIR_OK);
        must(weir_tile_decoder_new(v.at[i], &decoder[i]) == WEIR_OK);
    }
}

static uint64_t number(const uint8_t *at, unsigned n)
{
    uint64_t x = 0;
    for (unsigned i = 0; i < n; i++)
        x |= (uint64_t)at[i] << (8 * i);
    return x;
}

/* Always valid. */
static struct weir_coding *coding_of(const uint8_t *head)
{
    uint64_t random = 1;
    struct weir_coding *c = must_alloc(weir_coding_bytes(1));
    memset(c, 0, weir_coding_bytes(1));
    c->n_parts = 1;
    c->transform.kind = WEIR_TRANSFORM_SCALE;
    c->transform.made = head[1] % 3;
    c->transform.number = head[2] % 3;
    c->transform.item_bytes = c->transform.number == WEIR_NUMBER_INT ? 1 + head[3] % 2 : 1;
    c->transform.row_elements = (uint32_t)number(head + 8, 2) + 1;
    c->transform.block_rows = (uint32_t)number(head + 12, 2) + 1;
    c->transform.block_cols = (uint32_t)number(head + 14, 2) % c->transform.row_elements + 1;
    c->elem_bytes = c->transform.made == WEIR_FLOAT_F32 ? 4 : 2;
    struct weir_part *p = &c->part[0];
    const bool signed_first = c->transform.number != WEIR_NUMBER_INT;
    *p = (struct weir_part){
        .count = 1, .item_bytes = c->transform.item_bytes, .sign_first = signed_first};
    const unsigned bits = 8u * p->item_bytes - signed_first;
    p->symbol_bits = (uint8_t)(1 + head[10] % bits);
    part_fill_freq(p, (enum table_kind)(head[6] % N_TABLE_KINDS), &random);
    must(weir_coding_check(c) == WEIR_OK);
    return c;
}

/* By every variant, into exactly plain_bytes; all must agree. */
static weir_err decode_by_all(const struct weir_coding *coding, const struct weir_tile_head *head,
                              const uint8_t *payload, uint8_t *out, size_t plain_bytes)
{
    weir_err wanted = weir_tile_decode(decoder[0], coding, head, payload, out, plain_bytes);
    must(wanted == WEIR_OK || wanted == WEIR_ERR_CORRUPT);
    for (size_t i = 1; i < v.n; i++) {
        uint8_t *other = must_alloc(plain_bytes);
        must(weir_tile_decode(decoder[i], coding, head, payload, other, plain_bytes) == wanted);
        must(wanted || memcmp(other, out, plain_bytes) == 0);
        free(other);
    }
    return wanted;
}

static void decode_input(const struct weir_coding *coding, const uint8_t *data, size_t n)
{
    const struct weir_tile_head head = {.xxh3 = number(data + 20, 8),
                                        .payload_bytes = (uint32_t)(n - HEAD_BYTES),
                                        .mode = WEIR_TILE_MADE};
    size_t plain_bytes = (size_t)(number(data + 4, 2) + 1) * coding->elem_bytes;
    if (plain_bytes > WEIR_TILE_BYTES)
        plain_bytes = WEIR_TILE_BYTES;
    uint8_t *payload = must_alloc(head.payload_bytes), *out = must_alloc(plain_bytes);
    memcpy(payload, data + HEAD_BYTES, head.payload_bytes);
    (void)decode_by_all(coding, &head, payload, out, plain_bytes);
    free(payload);
    free(out);
}

static void there_and_back(const struct weir_coding *coding, const struct weir_tile_items *items,
                           const uint8_t *plain, size_t plain_bytes)
{
    uint8_t *payload = must_alloc(plain_bytes), *other = must_alloc(plain_bytes);
    struct weir_tile_head head, same;
    must(weir_tile_encode_made(encoder[0], coding, items, plain, plain_bytes, payload, &head) ==
         WEIR_OK);
    must(head.payload_bytes >= 1 && head.payload_bytes <= plain_bytes);
    for (size_t i = 1; i < v.n; i++) {
        must(weir_tile_encode_made(encoder[i], coding, items, plain, plain_bytes, other, &same) ==
             WEIR_OK);
        must(same.payload_bytes == head.payload_bytes && same.mode == head.mode &&
             memcmp(payload, other, head.payload_bytes) == 0);
    }
    uint8_t *exact = must_alloc(head.payload_bytes);
    memcpy(exact, payload, head.payload_bytes);
    must(decode_by_all(coding, &head, exact, other, plain_bytes) == WEIR_OK);
    must(memcmp(other, plain, plain_bytes) == 0);
    free(exact);
    free(payload);
    free(other);
}

static void fit_input(const struct weir_coding *coding, const uint8_t *data, size_t n)
{
    static float scale[BORN_MAX_SCALES];
    const struct weir_transform *t = &coding->transform;
    const uint64_t first = number(data + 16, 4);
    size_t n_elements = (n - HEAD_BYTES) / coding->elem_bytes;
    if (n_elements > WEIR_TILE_BYTES / coding->elem_bytes)
        n_elements = WEIR_TILE_BYTES / coding->elem_bytes;
    struct weir_tile_items items = {
        .row = (uint32_t)(first / t->row_elements % t->block_rows),
        .column = (uint32_t)(first % t->row_elements),
        .scale = scale,
    };
    items.n_scales = born_scales(t, items.row, items.column, n_elements);
    if (n_elements == 0 || items.n_scales == 0 || t->item_bytes != 1)
        return;
    uint8_t *item = must_alloc(n_elements), *plain = must_alloc(n_elements * coding->elem_bytes);
    uint8_t *made = must_alloc(n_elements * coding->elem_bytes);
    memcpy(plain, data + HEAD_BYTES, n_elements * coding->elem_bytes);
    const size_t misfits = born_fit(t, plain, n_elements, items.row, items.column, item, scale);
    items.item = item;
    must(weir_tile_make(encoder[0], t, &items, n_elements, made) == WEIR_OK);
    size_t differ = 0;
    for (size_t i = 0; i < n_elements; i++)
        differ += memcmp(made + i * coding->elem_bytes, plain + i * coding->elem_bytes,
                         coding->elem_bytes) != 0;
    must(differ == misfits);
    there_and_back(coding, &items, plain, n_elements * coding->elem_bytes);
    const struct born_piece piece = {plain, n_elements, first};
    const struct born_tensor tensor = {(enum weir_float)t->made, first + n_elements,
                                       t->row_elements, t->block_cols};
    (void)born_glance(&tensor, &piece, 1, (enum weir_number)t->number);
    free(item);
    free(plain);
    free(made);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    if (n < HEAD_BYTES)
        return 0;
    set_up();
    struct weir_coding *coding = coding_of(data);
    if (data[0] & 1)
        fit_input(coding, data, n);
    else
        decode_input(coding, data, n);
    free(coding);
    return 0;
}
