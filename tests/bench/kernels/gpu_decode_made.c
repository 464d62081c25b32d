/* Tiles whose elements are made of items and scales: all numbers, all elements, blocks of every
 * kind, exceptions, and what is broken in front of the streams. */
#include "gpu_decode_lab.h"

static const struct {
    uint8_t number, item_bytes, made;
    uint32_t row_elements, block_rows, block_cols;
    size_t n;
} kinds[] = {
    {WEIR_NUMBER_INT, 2, WEIR_FLOAT_BF16, 2048, 1, 2048, 65536},
    {WEIR_NUMBER_INT, 2, WEIR_FLOAT_BF16, 5000, 1, 5000, 65536},
    {WEIR_NUMBER_INT, 2, WEIR_FLOAT_BF16, 100, 1, 100, 999},
    {WEIR_NUMBER_INT, 2, WEIR_FLOAT_F16, 300, 2, 128, 65535},
    {WEIR_NUMBER_INT, 2, WEIR_FLOAT_F32, 300, 1, 7, 32768},
    {WEIR_NUMBER_INT, 1, WEIR_FLOAT_BF16, 4096, 1, 4096, 65536},
    {WEIR_NUMBER_INT, 1, WEIR_FLOAT_F32, 0xffffffff, 0xffffffff, 0xffffffff, 32768},
    {WEIR_NUMBER_E4M3, 1, WEIR_FLOAT_BF16, 1000, 128, 128, 65536},
    {WEIR_NUMBER_E4M3, 1, WEIR_FLOAT_F32, 1000, 128, 128, 32767},
    {WEIR_NUMBER_E4M3, 1, WEIR_FLOAT_F16, 64, 3, 5, 65},
    {WEIR_NUMBER_E5M2, 1, WEIR_FLOAT_BF16, 1000, 128, 128, 65536},
    {WEIR_NUMBER_E5M2, 1, WEIR_FLOAT_F16, 64, 64, 64, 700},
};

/* Mostly near the middle of their range, as whole steps are; some are anything. */
static void make_items(struct lab *lab, size_t kind, uint8_t *items)
{
    const uint32_t middle = kinds[kind].item_bytes == 1 ? 128 : 32768;
    for (size_t i = 0; i < kinds[kind].n; i++) {
        uint32_t v = middle - 30 + random_below(&lab->random, 32) + random_below(&lab->random, 30);
        if (i % 300 == 0 || kinds[kind].number != WEIR_NUMBER_INT)
            v = (uint32_t)random_u64(&lab->random);
        put_item(items + i * kinds[kind].item_bytes, v, kinds[kind].item_bytes);
    }
}

/* Some of them so small or large that products are denormal, infinite, or no numbers. */
static float *make_scales(struct lab *lab, size_t n)
{
    static const float odd[] = {0, -0.0F, 0x1p-149F, 0x1p-130F, 0x1p127F, -0x1.8p120F, 0x1p-30F};
    float *scale = must_alloc(n * sizeof(*scale));
    for (size_t i = 0; i < n; i++) {
        scale[i] = (float)(random_below(&lab->random, 1 << 24) + 1) * 0x1p-34F;
        if (random_below(&lab->random, 8) == 0)
            scale[i] = odd[random_below(&lab->random, COUNT_OF(odd))];
    }
    return scale;
}

/* Bytes as they are, every one as likely; of two bytes the upper one is mostly one of two, and what
 * it is else is a patch. */
static struct weir_coding *make_coding(size_t kind)
{
    struct weir_part part = {.count = 1, .item_bytes = kinds[kind].item_bytes, .symbol_bits = 8};
    for (int i = 0; i < 256 && part.item_bytes == 1; i++)
        part.freq[i] = 16;
    if (part.item_bytes == 2)
        part.freq[0x7f] = part.freq[0x80] = 2048;
    struct weir_coding *c = coding_of_one(&part);
    c->elem_bytes = kinds[kind].made == WEIR_FLOAT_F32 ? 4 : 2;
    c->transform = (struct weir_transform){.kind = WEIR_TRANSFORM_SCALE,
                                           .number = kinds[kind].number,
                                           .made = kinds[kind].made,
                                           .item_bytes = kinds[kind].item_bytes,
                                           .row_elements = kinds[kind].row_elements,
                                           .block_rows = kinds[kind].block_rows,
                                           .block_cols = kinds[kind].block_cols};
    must(weir_coding_check(c), "coding");
    return c;
}

static void encode_made(struct lab *lab, size_t kind, struct sample *s, const uint8_t *items,
                        uint32_t exceptions)
{
    const struct weir_transform *t = &s->coding->transform;
    const size_t elem_bytes = s->coding->elem_bytes, n = kinds[kind].n;
    struct weir_tile_items made = {.item = items,
                                   .row = random_below(&lab->random, t->block_rows),
                                   .column = random_below(&lab->random, t->row_elements)};
    made.n_scales = (size_t)weir_transform_scales(t, made.row, made.column, n);
    float *scale = make_scales(lab, made.n_scales);
    made.scale = scale;
    weir_err err = weir_tile_make(lab->enc, t, &made, n, s->plain);
    for (uint32_t i = 0; i < exceptions; i++)
        random_bytes(&lab->random, s->plain + random_below(&lab->random, (uint32_t)n) * elem_bytes,
                     elem_bytes);
    if (!err)
        err = weir_tile_encode_made(lab->enc, s->coding, &made, s->plain, s->plain_bytes,
                                    s->payload, &s->head);
    free(scale);
    must(err, "encode");
}

/* A bit of the head, of scales, positions, exceptions; and lengths. */
static void break_made(struct lab *lab, struct sample *s)
{
    const struct weir_tile_head good = s->head;
    for (uint32_t i = 0; i < 300; i++) {
        const uint32_t most = i % 3 ? good.payload_bytes : 96;
        const uint32_t at = i < 64 ? i : random_below(&lab->random, most);
        if (at >= good.payload_bytes || !is_due(lab))
            continue;
        const uint8_t before = s->payload[at];
        s->payload[at] ^= (uint8_t)(1u << random_below(&lab->random, 8));
        (void)compare(lab, s);
        s->payload[at] = before;
    }
    for (uint32_t n = 0; n < 200 && n < good.payload_bytes; n += 3) {
        s->head.payload_bytes = n;
        if (is_due(lab))
            (void)compare(lab, s);
    }
    s->head = good;
    s->head.mode = WEIR_TILE_SPLIT;
    (void)compare(lab, s);
    s->head = good;
    s->head.xxh3 ^= 1;
    (void)compare(lab, s);
    s->head = good;
}

void check_made(struct lab *lab)
{
    static const uint32_t exceptions[] = {0, 1, 50, 3000};
    for (size_t kind = 0; kind < COUNT_OF(kinds); kind++) {
        uint8_t *items = must_alloc(kinds[kind].n * kinds[kind].item_bytes);
        make_items(lab, kind, items);
        struct weir_coding *coding = make_coding(kind);
        struct sample s = {.what = "made", .coding = coding};
        s.plain_bytes = kinds[kind].n * s.coding->elem_bytes;
        s.plain = must_alloc(s.plain_bytes);
        s.payload = must_alloc(s.plain_bytes);
        s.on_gpu = upload(lab, s.coding);
        for (size_t i = 0; i < COUNT_OF(exceptions); i++) {
            encode_made(lab, kind, &s, items, exceptions[i]);
            compare_good(lab, &s);
            if (s.head.mode == WEIR_TILE_MADE)
                lab->n_made++;
            if (s.head.mode == WEIR_TILE_MADE && i == 2)
                break_made(lab, &s);
        }
        weir_gpu_coding_free(lab->gpu, s.on_gpu);
        free_sample(&s);
        free(coding);
        free(items);
    }
    if (lab->n_made < COUNT_OF(kinds))
        wrong(lab, &(struct sample){.what = "made"}, "too few of them were made");
}
