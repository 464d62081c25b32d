/* Any bytes as a tile: every variant of the kernels gives the same answer, and what all take is the
 * same plain bytes.  Or, with bit 0 of the first byte set, any bytes as plain bytes: coded as their
 * sample suggests and as the input says, they come back.
 *
 *   0  bit 0: there and back            6  symbol bits      11     not used
 *   1  element type (tile_data.h)       7  dropped bits     12-19  checksum
 *   2  mode of the tile                 8  base (u16)       20-    payload, or plain bytes
 *   3  kind of table                   10  plain bytes beyond whole elements
 *   4  elements - 1 (u16)
 */
#include <stdlib.h>
#include <string.h>

#include "../unit/tile_data.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

enum { HEAD_BYTES = 20 };

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

static unsigned get_u16(const uint8_t *at)
{
    return at[0] | (unsigned)at[1] << 8;
}

/* The coding that the input's head describes; always valid. */
static struct weir_coding *coding_of_head(const uint8_t *head, const struct weir_elements *like)
{
    uint64_t random = 1;
    struct weir_coding *coding = must_alloc(weir_coding_bytes(like->n_parts));
    memset(coding, 0, weir_coding_bytes(like->n_parts));
    coding->elem_bytes = like->elem_bytes;
    coding->n_parts = like->n_parts;
    for (unsigned i = 0; i < like->n_parts; i++) {
        struct weir_part *p = &coding->part[i];
        *p = (struct weir_part){.offset = like->part[i].offset,
                                .count = like->part[i].count,
                                .item_bytes = like->part[i].item_bytes,
                                .sign_first = like->part[i].is_float};
        unsigned bits = 8u * p->item_bytes - p->sign_first, most = bits < 16 ? bits : 16;
        p->symbol_bits = (uint8_t)(1 + (head[6] + i) % most);
        p->drop_bits = (uint8_t)(head[7] % (bits - p->symbol_bits + 1));
        p->base = (uint16_t)(get_u16(head + 8) % ((1u << p->symbol_bits) - 1));
        part_fill_freq(p, (enum table_kind)((head[3] + i) % N_TABLE_KINDS), &random);
    }
    must(weir_coding_check(coding) == WEIR_OK);
    return coding;
}

/* By every variant, into exactly plain_bytes; all must agree. */
static weir_err decode_by_all(const struct weir_coding *coding, const struct weir_tile_head *head,
                              const uint8_t *payload, uint8_t *out, size_t plain_bytes)
{
    weir_err wanted = weir_tile_decode(decoder[0], coding, head, payload, out, plain_bytes);
    for (size_t i = 1; i < v.n; i++) {
        uint8_t *other = must_alloc(plain_bytes);
        must(weir_tile_decode(decoder[i], coding, head, payload, other, plain_bytes) == wanted);
        must(wanted || memcmp(other, out, plain_bytes) == 0);
        free(other);
    }
    return wanted;
}

static void decode_input(const uint8_t *data, size_t n, const struct weir_elements *like,
                         const struct weir_coding *coding)
{
    struct weir_tile_head head = {.payload_bytes = (uint32_t)(n - HEAD_BYTES), .mode = data[2]};
    size_t plain_bytes = (get_u16(data + 4) + (size_t)1) * like->elem_bytes;
    if (plain_bytes > weir_coding_tile_bytes(coding))
        plain_bytes = weir_coding_tile_bytes(coding);
    plain_bytes += (size_t)data[10] % like->elem_bytes;
    for (int i = 0; i < 8; i++)
        head.xxh3 |= (uint64_t)data[12 + i] << (8 * i);
    uint8_t *payload = must_alloc(head.payload_bytes), *out = must_alloc(plain_bytes);
    memcpy(payload, data + HEAD_BYTES, head.payload_bytes);
    weir_err err = decode_by_all(coding, &head, payload, out, plain_bytes);
    must(err == WEIR_OK || err == WEIR_ERR_CORRUPT);
    err = decode_by_all(NULL, &head, payload, out, plain_bytes);
    must(err == WEIR_OK || err == WEIR_ERR_CORRUPT);
    free(payload);
    free(out);
}

static void round_trip(const struct weir_coding *coding, const uint8_t *plain, size_t plain_bytes)
{
    uint8_t *out = must_alloc(plain_bytes), *wanted = must_alloc(plain_bytes);
    struct weir_tile_head first;
    must(weir_tile_encode(encoder[0], coding, plain, plain_bytes, wanted, &first) == WEIR_OK);
    must(first.payload_bytes >= 1 && first.payload_bytes <= plain_bytes);
    for (size_t i = 1; i < v.n; i++) {
        struct weir_tile_head head;
        must(weir_tile_encode(encoder[i], coding, plain, plain_bytes, out, &head) == WEIR_OK);
        must(head.payload_bytes == first.payload_bytes && head.mode == first.mode &&
             head.xxh3 == first.xxh3 && memcmp(out, wanted, head.payload_bytes) == 0);
    }
    uint8_t *payload = must_alloc(first.payload_bytes);
    memcpy(payload, wanted, first.payload_bytes);
    must(decode_by_all(coding, &first, payload, out, plain_bytes) == WEIR_OK);
    must(memcmp(out, plain, plain_bytes) == 0);
    free(payload);
    free(wanted);
    free(out);
}

static void round_trips(const uint8_t *plain, size_t plain_bytes, const struct weir_elements *like,
                        const struct weir_coding *coding)
{
    if (plain_bytes > WEIR_TILE_BYTES)
        plain_bytes = WEIR_TILE_BYTES;
    if (plain_bytes == 0)
        return;
    struct weir_coding *chosen = NULL;
    double bits;
    weir_err err = weir_coding_choose(like, plain, plain_bytes, &chosen, &bits);
    must(err == (plain_bytes % like->elem_bytes ? WEIR_ERR_INVALID : WEIR_OK));
    must(!chosen || weir_coding_check(chosen) == WEIR_OK);
    round_trip(coding, plain, plain_bytes);
    round_trip(chosen, plain, plain_bytes);
    if (chosen)
        round_trip(NULL, plain, plain_bytes);
    free(chosen);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    if (n < HEAD_BYTES)
        return 0;
    set_up();
    const struct weir_elements *like = &element_types[data[1] % COUNT_OF(element_types)].like;
    struct weir_coding *coding = coding_of_head(data, like);
    if (data[0] & 1)
        round_trips(data + HEAD_BYTES, n - HEAD_BYTES, like, coding);
    else
        decode_input(data, n, like, coding);
    free(coding);
    return 0;
}
