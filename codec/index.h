/* index.h - the index of a store as a structure: parsed from bytes, or built by pack and written.
 *
 * The plain (decompressed) bytes of docs/format.md section 3 and back; compression, digest and
 * trailer are store.c's and pack.c's.  Parsing is safe on hostile input and checks every rule of
 * section 3 but those that need the store's size. */
#ifndef WEIR_CODEC_INDEX_PRIVATE_H
#define WEIR_CODEC_INDEX_PRIVATE_H

#include "codec/store.h"

struct index_extent {
    uint32_t bytes; /* stored */
    uint8_t sha256[WEIR_DIGEST_BYTES];
};

struct index {
    uint32_t n_codings, n_objects, n_extents, n_entries;
    struct weir_coding **coding;
    struct weir_object *object; /* first_tile, n_tiles and tile_bytes filled in by both sides */
    struct index_extent *extent;
    struct weir_entry *entry;
    uint64_t n_tiles;
    uint64_t n_numbers;                     /* and the tiles of references */
    uint64_t plain_bytes;                   /* of all files */
    uint64_t own_bytes;                     /* of their segments that are no references */
    uint8_t base_digest[WEIR_DIGEST_BYTES]; /* with WEIR_FEATURE_BASE */
    unsigned features;                      /* that it needs; index_features() */
    void *memory; /* what the strings, segments and tensors of a parsed index live in */
};

/* features: those of the trailer, which must be those that the index needs.
 * WEIR_ERR_CORRUPT with the rule named in *diag; WEIR_ERR_NOMEM.  `bytes` is not kept. */
WEIR_MUST_CHECK weir_err index_parse(const uint8_t *bytes, size_t n_bytes, unsigned features,
                                     struct index **out, struct weir_diag *diag);
void index_free(struct index *ix); /* one that index_parse() made; NULL is fine */

/* The enum weir_feature that the codings and objects need. */
unsigned index_features(const struct index *ix);

/* Fills in the objects' first_number. */
void index_number(struct index *ix);

/* Serialises; *out is freed by the caller with free().  The codings of the objects must be among
 * ix->coding (compared by address).  Does not check the rules.
 * WEIR_ERR_NOMEM; WEIR_ERR_INVALID when it would pass WEIR_MAX_INDEX_BYTES. */
WEIR_MUST_CHECK weir_err index_write(const struct index *ix, uint8_t **out, size_t *out_bytes);

/* One coding, as it stands in an index (docs/format.md, 3.1): n_bytes of it and nothing else; *out
 * is freed by the caller with free().  WEIR_ERR_CORRUPT; WEIR_ERR_NOMEM. */
WEIR_MUST_CHECK weir_err index_coding_parse(const uint8_t *bytes, size_t n_bytes,
                                            struct weir_coding **out);
enum { INDEX_MAX_CODING_BYTES = 4 + WEIR_MAX_PARTS * (12 + 2 * 256) + 16 };
/* At most INDEX_MAX_CODING_BYTES to `out`; returns how many. */
size_t index_coding_write(const struct weir_coding *coding, uint8_t *out);

#endif
