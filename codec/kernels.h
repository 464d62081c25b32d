/* kernels.h - the hot loops of the tile codec, pure functions over the caller's buffers.
 *
 * One struct of function pointers per instruction set; kernels_scalar.c is the truth that the
 * others equal bit for bit.  A row is 64 items, one per lane (docs/format.md, 7).  Nothing here
 * allocates, checks a format rule or knows a tile; stream.c does. */
#ifndef WEIR_CODEC_KERNELS_PRIVATE_H
#define WEIR_CODEC_KERNELS_PRIVATE_H

#include "codec/tile.h"

enum {
    RANS_SLOTS = 1 << WEIR_PROB_BITS,
    RANS_LOW = 1 << 16, /* a state below it takes in a word */

    QUANTISE_CHUNK = 512,  /* elements that the kernels of quantise.c take at once, at most */
    QUANTISE_ZERO = 32768, /* the item of 0 */
    SUM_LANES = 16,        /* columns of a sum: it is the same for every instruction set */
};

/* ---- rANS ---- */

/* By slot (state mod 4096): table index << 24 | frequency << 12 | slot - first slot of the index.
 */
struct rans_decode_table {
    uint32_t entry[RANS_SLOTS];
};

/* By table index: frequency | first slot << 16; 0 where the frequency is 0. */
struct rans_encode_table {
    uint32_t entry[256];
};

struct rans_reader {
    uint32_t x[WEIR_LANES];
    const uint8_t *at; /* the next word, any alignment */
    const uint8_t *end;
    const uint8_t *raw; /* the stream's raw bits; decode_rows() has no use for them */
};

/* ---- items: symbol and raw bits of a weir_part, with what follows from it worked out ---- */

struct item_code {
    uint8_t item_bytes;
    uint8_t drop_bits;
    uint8_t raw_bits;
    bool sign_first;
    uint16_t base;
    uint8_t filler;    /* the most frequent index: stands in for patches and padding */
    bool present[256]; /* the index has a frequency */
};

/* ---- quantising: how the elements of a row become 16-bit items ---- */

struct quantise_step {
    enum weir_float type;
    float scale, inverse; /* an item more is worth it, and 1 / it; both 0: only zeros fit */
    float half;           /* errors are below it */
    float first, last;    /* of the items that the coding has, less QUANTISE_ZERO */
};

struct weir_kernels {
    const char *name;

    /* Decodes n_rows rows, 64 indices each, into index[].  Reads words below r->end only.
     * false: the words ran out (r and index are then undefined). */
    bool (*decode_rows)(const struct rans_decode_table *table, struct rans_reader *r,
                        uint8_t *index, size_t n_rows);

    /* Encodes n_rows rows, the last first, updating the 64 states.  Words are put in front of
     * `words` (which points behind the last one; room for 2 * 64 * n_rows + 64 bytes before it).
     * Every index has a frequency.  Returns the first word. */
    uint8_t *(*encode_rows)(const struct rans_encode_table *table, uint32_t *x,
                            const uint8_t *index, size_t n_rows, uint8_t *words);

    /* Puts rows first_row .. first_row + n_rows - 1 together: index[] starts at first_row, raw at
     * row 0 of the stream, items[] gets 64 * n_rows items. */
    void (*join)(const struct item_code *code, const uint8_t *index, const uint8_t *raw,
                 size_t first_row, size_t n_rows, uint8_t *items);

    /* decode_rows() and join() in one, for rows first_row .. first_row + n_rows - 1. */
    bool (*decode_items)(const struct rans_decode_table *table, const struct item_code *code,
                         struct rans_reader *r, size_t first_row, size_t n_rows, uint8_t *items);

    /* Takes rows first_row .. first_row + n_rows - 1 apart: items[], index[] and bad[] start at
     * first_row, raw at row 0 of the stream, whose earlier rows have been cut already.  bad[]
     * counts the row's items without an index or with dropped bits set: they must be patches, and
     * get the filler. */
    void (*cut)(const struct item_code *code, const uint8_t *items, size_t first_row, size_t n_rows,
                uint8_t *index, uint8_t *raw, uint8_t *bad);

    /* n elements of n items and their one scale, as the transform (kind SCALE) says; any
     * alignment. */
    void (*scale)(const struct weir_transform *transform, const uint8_t *items, size_t n,
                  float scale, uint8_t *out);

    /* Adds the squares of n elements to `sum`; those that are not finite count as 0. */
    void (*squares)(enum weir_float type, const uint8_t *elements, size_t n, double sum[SUM_LANES]);

    /* The item next to each of n elements; n is at most QUANTISE_CHUNK in this and what follows. */
    void (*quantise)(const struct quantise_step *step, const uint8_t *elements, size_t n,
                     uint8_t *items);

    /* Which of n made elements are no stand-in for the original: out[i] is 1; returns how many. */
    size_t (*misfits)(const struct quantise_step *step, const uint8_t *elements,
                      const uint8_t *made, size_t n, uint8_t *out);

    /* Adds the squares of the differences to `sum`; returns the largest one. */
    float (*add_errors)(enum weir_float type, const uint8_t *elements, const uint8_t *made,
                        size_t n, double sum[SUM_LANES]);
    /* n elements become the items that lead to them from the base's, as the transform (DIFF or
     * XOR) says; and the base's elements become those that n items lead to.  Any alignment. */
    void (*take_delta)(const struct weir_transform *transform, const uint8_t *base, size_t n,
                       uint8_t *elements);
    void (*put_delta)(const struct weir_transform *transform, const uint8_t *items, size_t n,
                      uint8_t *elements);

    /* XXH3-64, seed 0. */
    uint64_t (*xxh3)(const uint8_t *bytes, size_t n);
};

extern const struct weir_kernels weir_kernels_scalar;
#ifdef WEIR_X86_KERNELS
extern const struct weir_kernels weir_kernels_avx2;
extern const struct weir_kernels weir_kernels_avx512;
#endif

/* decode_items() by way of k->decode_rows() and k->join(), as many rows at a time as keep their
 * indices in the L1 cache: for item widths that have nothing better. */
bool decode_items_in_chunks(const struct weir_kernels *k, const struct rans_decode_table *table,
                            const struct item_code *code, struct rans_reader *r, size_t first_row,
                            size_t n_rows, uint8_t *items);

/* Whether this one item is coded by its index; if not, it is a patch.  `item` little-endian. */
bool item_is_coded(const struct item_code *code, const uint8_t *item);

#endif
