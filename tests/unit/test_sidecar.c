#include "sidecar.h"

#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>

static struct sidecar sample(uint32_t n_extents)
{
    struct sidecar s = {.store_bytes = 0x1122334455667788, .n_extents = n_extents};
    for (size_t i = 0; i < sizeof(s.digest); i++)
        s.digest[i] = (uint8_t)(i + 1);
    return s;
}

/* In a block of exactly its bytes. */
static uint8_t *file_of(const struct sidecar *s, size_t *n)
{
    *n = SIDECAR_HEAD_BYTES + sidecar_map_bytes(s);
    uint8_t *bytes = calloc(1, *n);
    cr_assert_not_null(bytes);
    sidecar_write_head(s, bytes);
    return bytes;
}

Test(sidecar, is_what_the_document_says)
{
    static const uint8_t want[SIDECAR_HEAD_BYTES] = {
        0x89, 'w', 'e',  'i',  'r',  'p',  '\r', '\n', 1,    0,    0,  0,  21, 0,
        0,    0,   0x88, 0x77, 0x66, 0x55, 0x44, 0x33, 0x22, 0x11, 1,  2,  3,  4,
        5,    6,   7,    8,    9,    10,   11,   12,   13,   14,   15, 16, 17, 18,
        19,   20,  21,   22,   23,   24,   25,   26,   27,   28,   29, 30, 31, 32,
    };
    struct sidecar s = sample(21);
    size_t n;
    uint8_t *bytes = file_of(&s, &n);
    cr_expect_eq(n, SIDECAR_HEAD_BYTES + 3);
    cr_expect_arr_eq(bytes, want, sizeof(want));
    free(bytes);
}

Test(sidecar, knows_its_store)
{
    static const uint32_t counts[] = {0, 1, 7, 8, 9, 21};
    for (size_t i = 0; i < sizeof(counts) / sizeof(counts[0]); i++) {
        struct sidecar s = sample(counts[i]);
        size_t n;
        uint8_t *bytes = file_of(&s, &n);
        cr_expect(sidecar_fits(&s, bytes, n));
        for (uint32_t e = 0; e < counts[i]; e++)
            sidecar_set(bytes + SIDECAR_HEAD_BYTES, e);
        cr_expect(sidecar_fits(&s, bytes, n));
        struct sidecar other = s;
        other.digest[31]++;
        cr_expect_not(sidecar_fits(&other, bytes, n));
        other = s;
        other.store_bytes++;
        cr_expect_not(sidecar_fits(&other, bytes, n));
        other = s;
        other.n_extents++;
        cr_expect_not(sidecar_fits(&other, bytes, n));
        free(bytes);
    }
}

Test(sidecar, refuses_every_cut_and_every_flip)
{
    struct sidecar s = sample(21);
    size_t n;
    uint8_t *bytes = file_of(&s, &n);
    for (size_t i = 0; i < n; i++) {
        uint8_t *cut = malloc(i ? i : 1);
        cr_assert_not_null(cut);
        memcpy(cut, bytes, i);
        cr_expect_not(sidecar_fits(&s, cut, i), "%zu bytes", i);
        free(cut);
    }
    uint8_t *longer = calloc(1, n + 1);
    cr_assert_not_null(longer);
    memcpy(longer, bytes, n);
    cr_expect_not(sidecar_fits(&s, longer, n + 1));
    free(longer);
    size_t head_bits = 8 * (size_t)SIDECAR_HEAD_BYTES;
    for (size_t bit = 0; bit < 8 * n; bit++) {
        bytes[bit / 8] ^= (uint8_t)(1U << bit % 8);
        /* Only the bits of extents may be either. */
        bool of_extent = bit >= head_bits && bit < head_bits + s.n_extents;
        cr_expect_eq(sidecar_fits(&s, bytes, n), of_extent, "bit %zu", bit);
        bytes[bit / 8] ^= (uint8_t)(1U << bit % 8);
    }
    free(bytes);
}

Test(sidecar, sets_one_bit_each)
{
    uint8_t map[3] = {0};
    for (uint32_t e = 0; e < 24; e += 5)
        sidecar_set(map, e);
    for (uint32_t e = 0; e < 24; e++)
        cr_expect_eq(sidecar_has(map, e), e % 5 == 0, "%u", e);
}
