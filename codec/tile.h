/* tile.h - one tile: up to 128 KiB of plain bytes to a payload and back (docs/format.md, 5 to 7).
 *
 * The mechanism, for every element type: an element is cut into parts, a part into items of 1, 2,
 * 4 or 8 bytes, and an item into a symbol (its top bits, entropy-coded with 64-lane rANS over one
 * table per tensor) and raw bits (stored as they are).  A float's sign is moved below its mantissa
 * first, so that the exponent is on top; low bits that are zero in a whole tensor are dropped.
 * Items whose symbol the table lacks are patches: stored whole, put back after decoding.
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

/* How a tensor's elements are cut and coded.  Opaque bytes have no coding (NULL). */
struct weir_coding {
    uint16_t elem_bytes; /* 1 to WEIR_MAX_ELEM_BYTES; the parts cover it without gap or overlap */
    uint8_t n_parts;     /* 1 to WEIR_MAX_PARTS */
    struct weir_part part[]; /* ascending by offset */
};

enum weir_tile_mode {
    WEIR_TILE_RAW = 0,   /* the plain bytes */
    WEIR_TILE_CONST = 1, /* one element, repeated */
    WEIR_TILE_ZSTD = 2,  /* one zstd frame */
    WEIR_TILE_SPLIT = 3, /* symbols and raw bits, as the coding says */
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
 * drop_bits is what the sample shows: a tile that breaks it falls back to raw by itself.
 * WEIR_ERR_INVALID for a sample that is not whole elements; WEIR_ERR_NOMEM. */
WEIR_MUST_CHECK weir_err weir_coding_choose(const struct weir_elements *like, const uint8_t *sample,
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
 * coding       valid (weir_coding_check), or NULL for opaque bytes
 * plain        plain_bytes of host memory, 1 to WEIR_TILE_BYTES
 * payload      room for plain_bytes bytes
 * head         filled in
 * WEIR_ERR_NOMEM (zstd). */
WEIR_MUST_CHECK weir_err weir_tile_encode(struct weir_tile_encoder *enc,
                                          const struct weir_coding *coding, const uint8_t *plain,
                                          size_t plain_bytes, uint8_t *payload,
                                          struct weir_tile_head *head);

WEIR_MUST_CHECK weir_err weir_tile_decoder_new(const struct weir_kernels *kernels,
                                               struct weir_tile_decoder **out);
void weir_tile_decoder_free(struct weir_tile_decoder *dec); /* NULL is fine */

/* Decodes one tile and checks its checksum.
 *
 * coding       as for encoding
 * payload      exactly head->payload_bytes bytes; nothing past them is read
 * out          exactly plain_bytes bytes; undefined on error: never hand them on
 *
 * WEIR_ERR_CORRUPT     the payload breaks the format, or the checksum differs
 * WEIR_ERR_NOMEM */
WEIR_MUST_CHECK weir_err weir_tile_decode(struct weir_tile_decoder *dec,
                                          const struct weir_coding *coding,
                                          const struct weir_tile_head *head, const uint8_t *payload,
                                          uint8_t *out, size_t plain_bytes);

#ifdef __cplusplus
}
#endif

#endif
