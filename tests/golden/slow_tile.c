#include "slow.h"

#include <string.h>

enum { LANES = 64 };

struct stream {
    const struct part *part;
    size_t n_items, n_rows;
    uint32_t n_words, n_patches;
    const uint8_t *raw; /* the lanes' numbers, in turns */
    size_t n_numbers;   /* of each lane: q in section 7 */
    uint32_t state[LANES];
    struct cursor words;
};

/* Where items go: the tile's plain bytes, or the items of a transform. */
struct elements {
    uint8_t *at;
    size_t bytes; /* of one */
};

/* Item `i` of `part`. */
static uint8_t *item_at(const struct elements *to, const struct part *part, size_t i)
{
    size_t element = i / part->count;
    size_t k = i % part->count;
    return to->at + element * to->bytes + part->offset + k * part->item_bytes;
}

static void put_item(uint8_t *to, uint64_t v, unsigned item_bytes)
{
    for (unsigned i = 0; i < item_bytes; i++)
        to[i] = (uint8_t)(v >> (8 * i));
}

/* Section 7.1: bit `k` of the lane's string. */
static unsigned raw_bit(const struct stream *s, unsigned lane, size_t k)
{
    size_t number = k / s->part->width;
    size_t bit = k % s->part->width;
    size_t at = (LANES * number + lane) * s->part->item_bytes;
    return (s->raw[at + bit / 8] >> (bit % 8)) & 1;
}

/* The raw bits of the item in that row and lane. */
static uint64_t raw_bits(const struct stream *s, unsigned lane, size_t row)
{
    uint64_t v = 0;
    for (unsigned k = 0; k < s->part->raw_bits; k++)
        v |= (uint64_t)raw_bit(s, lane, row * s->part->raw_bits + k) << k;
    return v;
}

static void check_raw_padding(const struct stream *s)
{
    for (unsigned lane = 0; lane < LANES; lane++) {
        for (size_t k = s->n_rows * s->part->raw_bits; k < s->n_numbers * s->part->width; k++)
            require(raw_bit(s, lane, k) == 0, "raw bits are filled up with zeros (7.1)");
        if ((s->n_rows - 1) * LANES + lane >= s->n_items)
            require(raw_bits(s, lane, s->n_rows - 1) == 0,
                    "the raw bits of padding items are zero (7.1)");
    }
}

/* Section 7.2: one step of a lane; the symbol's table index. */
static unsigned next_index(struct stream *s, unsigned lane)
{
    uint32_t x = s->state[lane];
    uint32_t in_table = x % 4096;
    uint32_t below = 0;
    unsigned j = 0;
    while (in_table >= below + s->part->freq[j]) /* the frequencies add up to 4096 */
        below += s->part->freq[j++];
    x = s->part->freq[j] * (x >> 12) + in_table - below;
    if (x < 65536)
        x = x * 65536 + (uint32_t)take(&s->words, 2);
    s->state[lane] = x;
    return j;
}

/* Section 6, backwards. */
static uint64_t item_of(const struct part *p, unsigned index, uint64_t raw)
{
    uint64_t symbol = index == 0 ? 0 : p->base + index;
    uint64_t code = raw | symbol << p->raw_bits;
    if (!p->sign_first)
        return code << p->drop;
    return (code >> 1) << p->drop | (code & 1) << (p->width - 1);
}

static void decode_rows(struct stream *s, const struct elements *to)
{
    for (size_t row = 0; row < s->n_rows; row++) {
        for (unsigned lane = 0; lane < LANES; lane++) {
            size_t i = row * LANES + lane;
            unsigned index = next_index(s, lane);
            if (i >= s->n_items)
                continue;
            uint64_t v = item_of(s->part, index, raw_bits(s, lane, row));
            put_item(item_at(to, s->part, i), v, s->part->item_bytes);
        }
    }
    for (unsigned lane = 0; lane < LANES; lane++)
        require(s->state[lane] == 65536, "every state ends at 65536 (7.2)");
    require(left(&s->words) == 0, "all words are used (7.2)");
}

static void apply_patches(struct stream *s, struct cursor *c, const struct elements *to)
{
    unsigned item_bytes = s->part->item_bytes;
    struct cursor positions = {0};
    positions.at = take_bytes(c, 4 * (uint64_t)s->n_patches);
    positions.end = c->at;
    uint64_t lowest = 0; /* that the next position may be */
    for (uint32_t k = 0; k < s->n_patches; k++) {
        uint64_t i = take(&positions, 4);
        require(i >= lowest && i < s->n_items, "positions ascend, below the number of items (7)");
        lowest = i + 1;
        memcpy(item_at(to, s->part, i), take_bytes(c, item_bytes), item_bytes);
    }
}

static void decode_stream(const struct coding *coding, const struct part *part, struct cursor *c,
                          const struct elements *to, size_t n_elements)
{
    struct stream s = {.part = part, .n_items = n_elements * part->count};
    const uint8_t *start = c->at;
    s.n_rows = (s.n_items + LANES - 1) / LANES;
    s.n_words = (uint32_t)take(c, 4);
    s.n_patches = (uint32_t)take(c, 4);
    require(s.n_patches <= s.n_items, "no more patches than items (7)");
    require(take(c, 8) == 0, "a stream's u64 is zero (7)");
    for (unsigned lane = 0; lane < LANES; lane++)
        s.state[lane] = (uint32_t)take(c, 4);

    s.n_numbers = (s.n_rows * part->raw_bits + part->width - 1) / part->width;
    s.raw = take_bytes(c, s.n_numbers * LANES * part->item_bytes);
    check_raw_padding(&s);

    s.words.at = take_bytes(c, 2 * (uint64_t)s.n_words);
    s.words.end = c->at;
    if ((c->at - start) % 4 != 0)
        require(take(c, 2) == 0, "zeros after the words (7)");
    decode_rows(&s, to);
    apply_patches(&s, c, to);

    if (part == &coding->parts[coding->n_parts - 1])
        return;
    while ((c->at - start) % 16 != 0)
        require(take(c, 1) == 0, "zeros after the patches (7)");
}

void decode_streams(const struct coding *coding, struct cursor c, uint8_t *elements,
                    size_t element_bytes, size_t n)
{
    struct elements to = {elements, element_bytes};
    for (unsigned i = 0; i < coding->n_parts; i++)
        decode_stream(coding, &coding->parts[i], &c, &to, n);
    require(left(&c) == 0, "the streams fill the payload (5)");
}

static void decode_split(const struct coding *coding, struct cursor c, uint8_t *plain,
                         size_t plain_bytes)
{
    require(plain_bytes % coding->element_bytes == 0, "a split tile has whole elements (5)");
    decode_streams(coding, c, plain, coding->element_bytes, plain_bytes / coding->element_bytes);
}

static void decode_constant(const struct coding *coding, struct cursor c, uint8_t *plain,
                            size_t plain_bytes)
{
    size_t element_bytes = coding ? coding->element_bytes : 1;
    require(left(&c) == element_bytes, "a constant tile's payload is one element (5)");
    require(plain_bytes % element_bytes == 0, "a constant tile has whole elements (5)");
    for (size_t i = 0; i < plain_bytes; i++)
        plain[i] = c.at[i % element_bytes];
}

void decode_payload(const struct coding *coding, unsigned mode, struct cursor payload,
                    const uint8_t *below, uint8_t *plain, size_t plain_bytes)
{
    switch (mode) {
    case 0:
        require(left(&payload) == plain_bytes, "a raw tile's payload is its plain bytes (5)");
        memcpy(plain, payload.at, plain_bytes);
        break;
    case 1:
        decode_constant(coding, payload, plain, plain_bytes);
        break;
    case 2:
        unzstd(payload.at, left(&payload), plain, plain_bytes);
        break;
    case 3:
        if (!coding || coding->transform.kind != KIND_NONE)
            fail(SLOW_CORRUPT, "a split tile's object has a coding without a transform (5)");
        decode_split(coding, payload, plain, plain_bytes);
        break;
    case 4:
        if (!coding || coding->transform.kind == KIND_NONE)
            fail(SLOW_CORRUPT, "a made tile's object has a coding with a transform (5)");
        decode_made(coding, payload, below, plain, plain_bytes);
        break;
    default:
        require(false, "a tile's mode is 0 to 4 (4)");
    }
}
