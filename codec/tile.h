/* tile.h - one tile: up to 128 KiB of plain bytes to a payload and back (docs/format.md, 5 to 7).
 *
 * The mechanism, for every element type: an element is cut into parts, a part into items of 1, 2,
 * 4 or 8 bytes, and an item into a symbol (its top bits, entropy-coded with 64-lane rANS over one
 * table per tensor) and raw bits (stored as they are).  A float's sign is moved below its mantissa
 * first, so that the exponent is on top; low bits that are zero in a whole tensor are dropped.
 * Items whose symbol the table lacks are patches: stored whole, put back after decoding.
 *
 * A coding may have a transform: then the streams hold not the elements but items from which they
 * are computed (an integer or an 8-bit float and a scale, say), and a tile that is coded so is
 * "made".  What comes out is the same bytes on every machine.
 *
 * Knows nothing of files or stores.  Decoding is safe on hostile input.  A decoder or encoder is
 * for one thread at a time; codings and kernels never change and may be shared. */
#ifndef WEIR_CODEC_TILE_H
#define WEIR_CODEC_TILE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "codec/err.h"

#ifdef __cplusplus
extern "C" {
#endif

enum {
    WEIR_TILE_BYTES = 131072, /* plain bytes of a full tile of 1-, 2-, 4- or 8-byte elements */
    WEIR_MAX_PARTS = 8,       /* of one coding */
    WEIR_MAX_ELEM_BYTES = 4096,
    WEIR_PROB_BITS = 12,       /* frequencies of a table add up to 4096 */
    WEIR_LANES = 64,           /* rANS states of one stream */
    WEIR_TILE_HEAD_BYTES = 16, /* a weir_tile_head in a store */
};

/* One run of equal items inside an element, and how its items are coded.
 * With W = 8 * item_bytes, an item is symbol_bits of symbol above W - drop_bits - symbol_bits raw
 * bits.  Symbol value v has table index 0 if v is 0, else v - base; index 1 to 255. */
struct weir_part {
    uint16_t offset;     /* of the first item, bytes from the start of the element */
    uint16_t count;      /* items per element, consecutive */
    uint8_t item_bytes;  /* 1, 2, 4 or 8 */
    bool sign_first;     /* a float: the top bit is a sign */
    uint8_t drop_bits;   /* low bits (of the magnitude) that are zero throughout, not stored */
    uint8_t symbol_bits; /* 1 to 16 */
    uint16_t base;       /* added to table indices 1 to 255 */
    uint16_t freq[256];  /* by table index, of 4096; each <= 4095; sum exactly 4096 */
};

enum weir_transform_kind {
    WEIR_TRANSFORM_NONE = 0,
    WEIR_TRANSFORM_SCALE = 1, /* element = number of its item x scale of its block, rounded */
    WEIR_TRANSFORM_DIFF = 2,  /* element = the base's, so many places further as its item says */
    WEIR_TRANSFORM_XOR = 3,   /* element = the base's, exclusive-or its item */
    WEIR_TRANSFORM_Q8_0 = 4,  /* element = 32 of the first kind, as GGML's Q8_0 block has them */
};

/* What the item of a scaled element is. */
enum weir_number {
    WEIR_NUMBER_INT = 0, /* 1 or 2 bytes: unsigned, less half its range */
    WEIR_NUMBER_E4M3 = 1,
    WEIR_NUMBER_E5M2 = 2,
};

/* What a scaled element is. */
enum weir_float {
    WEIR_FLOAT_BF16 = 0,
    WEIR_FLOAT_F16 = 1,
    WEIR_FLOAT_F32 = 2,
};

enum { WEIR_Q8_WEIGHTS = 32, WEIR_Q8_BYTES = 34 }; /* of a Q8_0 block: an F16, 32 integers */

/* How elements follow from items (docs/format.md, 5.1).  All zero: they are the items.
 * Blocks are block_rows x block_cols elements of a matrix with rows of row_elements; those at the
 * right and lower edge may be smaller.  With Q8_0 these three, and the rows and columns of a tile,
 * count weights, of which an element has 32, each with an item of a byte. */
struct weir_transform {
    uint8_t kind;       /* enum weir_transform_kind */
    uint8_t number;     /* enum weir_number */
    uint8_t made;       /* enum weir_float; with Q8_0, of the weights before they were Q8_0 */
    uint8_t near;       /* 1: the elements are near what was packed, not what was packed */
    uint8_t item_bytes; /* of an element's item; the parts cover it */
    uint32_t row_elements, block_rows, block_cols;
};

/* How a tensor's elements are cut and coded.  Opaque bytes have no coding (NULL). */
struct weir_coding {
    uint16_t elem_bytes; /* 1 to WEIR_MAX_ELEM_BYTES */
    uint8_t n_parts;     /* 1 to WEIR_MAX_PARTS */
    struct weir_transform transform;
    /* Ascending by offset; they cover the element, or the item of a transform, without gap or
     * overlap. */
    struct weir_part part[];
};

enum weir_tile_mode {
    WEIR_TILE_RAW = 0,   /* the plain bytes */
    WEIR_TILE_CONST = 1, /* one element, repeated */
    WEIR_TILE_ZSTD = 2,  /* one zstd frame */
    WEIR_TILE_SPLIT = 3, /* symbols and raw bits, as the coding says */
    WEIR_TILE_MADE = 4,  /* the same of items, from which the coding's transform makes elements */
};

/* What a store keeps of a tile beside its payload. */
struct weir_tile_head {
    uint64_t xxh3;          /* XXH3-64 (seed 0) of the plain bytes */
    uint32_t payload_bytes; /* 1 to the plain bytes */
    uint8_t mode;           /* enum weir_tile_mode */
};

/* ---- kernels: one truth, several speeds ---- */

struct weir_kernels; /* opaque; static storage */

/* The fastest that this processor runs; bit-equal to every other. */
const struct weir_kernels *weir_kernels_best(void);

/* "scalar", "avx2" or "avx512"; NULL if unknown or if this processor cannot run it. */
const struct weir_kernels *weir_kernels_named(const char *name);
const char *weir_kernels_name(const struct weir_kernels *kernels);

/* ---- codings ---- */

/* Checks every rule that tile.h and docs/format.md state of a coding.
 * WEIR_ERR_CORRUPT if one is broken. */
WEIR_MUST_CHECK weir_err weir_coding_check(const struct weir_coding *coding);

/* Bytes of a weir_coding with n_parts. */
size_t weir_coding_bytes(size_t n_parts);

/* Plain bytes of every tile but an object's last: WEIR_TILE_BYTES rounded down to whole elements.
 * NULL (opaque): WEIR_TILE_BYTES. */
uint32_t weir_coding_tile_bytes(const struct weir_coding *coding);

/* What the elements of a tensor look like, before any byte of it has been seen. */
struct weir_elements {
    uint16_t elem_bytes;
    uint8_t n_parts;
    struct {
        uint16_t offset, count;
        uint8_t item_bytes;
        bool is_float;         /* sign on top, then the exponent */
        uint8_t exponent_bits; /* of a float */
    } part[WEIR_MAX_PARTS];
};

/* Chooses the smallest coding for elements like `like`, judged on `sample`: whole elements, taken
 * from all over the tensor (up to a few MiB; more costs time only).
 *
 * *out             a new coding, freed by the caller with free(); NULL if nothing beats raw bytes
 * *bits_per_byte   what it stores per plain byte on the sample (8 when *out is NULL)
 *
 * drop_bits is what the sample shows, or pays in it: items that break it are patches, and a tile
 * of too many of them falls back to raw by itself.
 * WEIR_ERR_INVALID for a sample that is not whole elements; WEIR_ERR_NOMEM. */
WEIR_MUST_CHECK weir_err weir_coding_choose(const struct weir_elements *like, const uint8_t *sample,
                                            size_t sample_bytes, struct weir_coding **out,
                                            double *bits_per_byte);

/* The same for numbers of 1, 2, 4 or 8 bytes of which small ones are the most frequent, such as the
 * items of a difference: as a whole or, where that is much smaller, byte by byte.  The coding has
 * no transform. */
WEIR_MUST_CHECK weir_err weir_coding_choose_near_zero(uint8_t item_bytes, const uint8_t *sample,
                                                      size_t sample_bytes, struct weir_coding **out,
                                                      double *bits_per_byte);

/* ---- tiles ---- */

struct weir_tile_encoder;
struct weir_tile_decoder;

WEIR_MUST_CHECK weir_err weir_tile_encoder_new(const struct weir_kernels *kernels,
                                               struct weir_tile_encoder **out);
void weir_tile_encoder_free(struct weir_tile_encoder *enc); /* NULL is fine */

/* Encodes one tile as the first of constant, split (with a coding), zstd and raw that makes it
 * smaller, so payload_bytes <= plain_bytes.
 *
 * coding       valid (weir_coding_check), or NULL for opaque bytes; one with a transform counts as
 *              NULL, but for constant elements: weir_tile_encode_made() knows it
 * plain        plain_bytes of host memory, 1 to WEIR_TILE_BYTES
 * payload      room for plain_bytes bytes
 * head         filled in
 * WEIR_ERR_NOMEM (zstd). */
WEIR_MUST_CHECK weir_err weir_tile_encode(struct weir_tile_encoder *enc,
                                          const struct weir_coding *coding, const uint8_t *plain,
                                          size_t plain_bytes, uint8_t *payload,
                                          struct weir_tile_head *head);

/* What the elements of one tile are made of, with a coding that has a transform. */
struct weir_tile_items {
    const uint8_t *item;  /* transform.item_bytes for each element */
    uint32_t row, column; /* of the first element: row mod block_rows, column < row_elements */
    const float *scale;   /* by band of blocks, then from left to right; finite */
    size_t n_scales;      /* weir_transform_scales() of them */
};

/* How many scales n_elements elements from there on need: those of every block in the bands that
 * they touch.  0 when row or column is out of range. */
uint64_t weir_transform_scales(const struct weir_transform *transform, uint32_t row,
                               uint32_t column, size_t n_elements);

/* Encodes one tile as made of items; as constant, zstd or raw where that is smaller.  Elements of
 * `plain` that do not follow from their items are kept whole, so whatever the items, `plain` is
 * what will be decoded.
 *
 * coding       valid, with a transform
 * others       as for weir_tile_encode(); plain is whole elements
 * WEIR_ERR_INVALID for items that break a rule above; WEIR_ERR_NOMEM (zstd). */
WEIR_MUST_CHECK weir_err weir_tile_encode_made(struct weir_tile_encoder *enc,
                                               const struct weir_coding *coding,
                                               const struct weir_tile_items *items,
                                               const uint8_t *plain, size_t plain_bytes,
                                               uint8_t *payload, struct weir_tile_head *head);

/* Whether elements are made from a base's: DIFF and XOR. */
bool weir_coding_needs_base(const struct weir_coding *coding); /* NULL: false */

/* Encodes one tile as the difference from `base`, plain_bytes of whole elements; as constant, zstd
 * or raw where that is smaller.
 *
 * coding       valid, weir_coding_needs_base()
 * others       as for weir_tile_encode()
 * WEIR_ERR_INVALID for parts of elements; WEIR_ERR_NOMEM (zstd). */
WEIR_MUST_CHECK weir_err weir_tile_encode_delta(struct weir_tile_encoder *enc,
                                                const struct weir_coding *coding,
                                                const uint8_t *base, const uint8_t *plain,
                                                size_t plain_bytes, uint8_t *payload,
                                                struct weir_tile_head *head);

/* The elements that n_elements items make, exceptions apart; by the kernels of the encoder.
 * WEIR_ERR_INVALID as above. */
WEIR_MUST_CHECK weir_err weir_tile_make(struct weir_tile_encoder *enc,
                                        const struct weir_transform *transform,
                                        const struct weir_tile_items *items, size_t n_elements,
                                        uint8_t *out);

WEIR_MUST_CHECK weir_err weir_tile_decoder_new(const struct weir_kernels *kernels,
                                               struct weir_tile_decoder **out);
void weir_tile_decoder_free(struct weir_tile_decoder *dec); /* NULL is fine */

/* Decodes one tile and checks its checksum.
 *
 * coding       as for encoding
 * payload      exactly head->payload_bytes bytes; nothing past them is read
 * out          exactly plain_bytes bytes; undefined on error: never hand them on.  Of a made tile
 *              with a coding that needs a base they are the base's bytes before
 *
 * WEIR_ERR_CORRUPT     the payload breaks the format, or the checksum differs
 * WEIR_ERR_NOMEM */
WEIR_MUST_CHECK weir_err weir_tile_decode(struct weir_tile_decoder *dec,
                                          const struct weir_coding *coding,
                                          const struct weir_tile_head *head, const uint8_t *payload,
                                          uint8_t *out, size_t plain_bytes);

/* Where the pieces of a made tile's payload lie; borrowed from it. */
struct weir_made_view {
    uint32_t row, column;
    uint32_t n_scales, n_exceptions;
    const uint8_t *scales;     /* F32, little-endian, any alignment */
    const uint8_t *positions;  /* u32 each: element numbers in the tile, ascending */
    const uint8_t *exceptions; /* elem_bytes each */
    const uint8_t *streams;
    size_t streams_bytes;
};

/* Finds and checks all but the streams.  payload as for weir_tile_decode(), mode made.
 * WEIR_ERR_CORRUPT. */
WEIR_MUST_CHECK weir_err weir_tile_view_made(const struct weir_coding *coding,
                                             const uint8_t *payload, size_t payload_bytes,
                                             size_t plain_bytes, struct weir_made_view *out);

/* Decodes the items of a made tile: transform.item_bytes for each element into `items`, whose
 * checksum nobody knows: what they make has to be checked.  For whoever keeps items, not elements.
 * Errors as weir_tile_decode(). */
WEIR_MUST_CHECK weir_err weir_tile_decode_items(struct weir_tile_decoder *dec,
                                                const struct weir_coding *coding,
                                                const struct weir_made_view *view, uint8_t *items,
                                                size_t plain_bytes);

#ifdef __cplusplus
}
#endif

#endif
