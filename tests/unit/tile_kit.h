/* tile_kit.h - tiles encoded and decoded in blocks of exactly their size, by all kernels. */
#ifndef WEIR_TESTS_TILE_KIT_H
#define WEIR_TESTS_TILE_KIT_H

#include <criterion/criterion.h>

#include "tile_data.h"

/* One encoder and one decoder for each variant that runs here. */
struct bench {
    struct variants v;
    struct weir_tile_encoder *enc[3];
    struct weir_tile_decoder *dec[3];
};

static inline struct bench bench_new(void)
{
    struct bench b = {.v = variants_here()};
    for (size_t i = 0; i < b.v.n; i++) {
        cr_assert_eq(weir_tile_encoder_new(b.v.at[i], &b.enc[i]), WEIR_OK);
        cr_assert_eq(weir_tile_decoder_new(b.v.at[i], &b.dec[i]), WEIR_OK);
    }
    return b;
}

static inline void bench_free(struct bench *b)
{
    for (size_t i = 0; i < b->v.n; i++) {
        weir_tile_encoder_free(b->enc[i]);
        weir_tile_decoder_free(b->dec[i]);
    }
}

struct tile {
    const struct weir_coding *coding;
    size_t plain_bytes;
    struct weir_tile_head head;
    uint8_t *payload; /* head.payload_bytes of them */
};

static inline struct tile tile_encode(struct weir_tile_encoder *enc,
                                      const struct weir_coding *coding, const uint8_t *plain,
                                      size_t plain_bytes)
{
    struct tile t = {.coding = coding, .plain_bytes = plain_bytes};
    uint8_t *room = must_alloc(plain_bytes);
    memset(room, 0xa5, plain_bytes);
    cr_assert_eq(weir_tile_encode(enc, coding, plain, plain_bytes, room, &t.head), WEIR_OK);
    cr_assert(t.head.payload_bytes >= 1 && t.head.payload_bytes <= plain_bytes,
              "%u bytes of %zu, mode %d", t.head.payload_bytes, plain_bytes, t.head.mode);
    t.payload = must_alloc(t.head.payload_bytes);
    memcpy(t.payload, room, t.head.payload_bytes);
    free(room);
    return t;
}

/* The error, and in *same whether the plain bytes are `plain`. */
static inline weir_err tile_decode(struct weir_tile_decoder *dec, const struct tile *t,
                                   const uint8_t *plain, bool *same)
{
    uint8_t *out = must_alloc(t->plain_bytes);
    memset(out, 0x5a, t->plain_bytes);
    weir_err err = weir_tile_decode(dec, t->coding, &t->head, t->payload, out, t->plain_bytes);
    *same = plain && memcmp(out, plain, t->plain_bytes) == 0;
    free(out);
    return err;
}

/* Every variant makes the same tile, and every variant takes it back to `plain`. */
static inline struct tile expect_round_trip(struct bench *b, const struct weir_coding *coding,
                                            const uint8_t *plain, size_t plain_bytes,
                                            const char *what)
{
    struct tile wanted = tile_encode(b->enc[0], coding, plain, plain_bytes);
    for (size_t i = 0; i < b->v.n; i++) {
        const char *name = weir_kernels_name(b->v.at[i]);
        struct tile t = tile_encode(b->enc[i], coding, plain, plain_bytes);
        bool same = t.head.xxh3 == wanted.head.xxh3 && t.head.mode == wanted.head.mode &&
                    t.head.payload_bytes == wanted.head.payload_bytes &&
                    memcmp(t.payload, wanted.payload, t.head.payload_bytes) == 0;
        free(t.payload);
        cr_assert(same, "%s: %s, %zu bytes: another tile", name, what, plain_bytes);
        weir_err err = tile_decode(b->dec[i], &wanted, plain, &same);
        cr_assert(!err && same, "%s: %s, %zu bytes, mode %d: error %d", name, what, plain_bytes,
                  wanted.head.mode, err);
    }
    return wanted;
}

/* The error that all variants give; it is an error of the test if they differ. */
static inline weir_err decode_by_all(struct bench *b, const struct tile *t)
{
    bool same;
    weir_err wanted = tile_decode(b->dec[0], t, NULL, &same);
    for (size_t i = 1; i < b->v.n; i++) {
        weir_err err = tile_decode(b->dec[i], t, NULL, &same);
        cr_assert_eq(err, wanted, "%s: error %d, not %d", weir_kernels_name(b->v.at[i]), err,
                     wanted);
    }
    return wanted;
}

static inline struct weir_coding *choose(const struct weir_elements *like, const uint8_t *sample,
                                         size_t sample_bytes)
{
    struct weir_coding *coding = NULL;
    double bits = -1;
    cr_assert_eq(weir_coding_choose(like, sample, sample_bytes, &coding, &bits), WEIR_OK);
    cr_assert(!coding || weir_coding_check(coding) == WEIR_OK);
    cr_assert(bits > 0 && bits <= 8 && (coding != NULL) == (bits < 8), "%g bits per byte", bits);
    return coding;
}

/* A coding for normal data of a type, which any other data may then try. */
static inline struct weir_coding *choose_for_normal(const struct weir_elements *like)
{
    uint64_t random = 77;
    size_t n = WEIR_TILE_BYTES / like->elem_bytes;
    uint8_t *plain = make_elements(like, DATA_NORMAL, n, &random);
    struct weir_coding *coding = choose(like, plain, n * like->elem_bytes);
    free(plain);
    return coding;
}

#endif
