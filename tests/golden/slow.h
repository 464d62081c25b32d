/* slow.h - a slow, plain decoder of .weir stores, for tests.
 *
 * Written from docs/format.md alone and sharing no code with codec/, so that the two check each
 * other.  It checks everything that section 8 lists.  The whole store is mapped; the first breach
 * is printed and ends the program, which is why nothing here returns an error.  Nothing is freed:
 * all memory hangs on the store until the program ends.  One thread. */
#ifndef WEIR_TESTS_SLOW_H
#define WEIR_TESTS_SLOW_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { /* how the program ends */
       SLOW_IO = 2,
       SLOW_CORRUPT = 3,
       SLOW_UNSUPPORTED = 4,
};

enum {
    MAX_TILE = 131072,      /* plain bytes of a tile: section 1 */
    EXTENT_TILES = 32,      /* section 1 */
    ALIGNMENT = 4096,       /* of an extent: section 2 */
    HEADER_BYTES = 64,      /* section 2.1 */
    TRAILER_BYTES = 64,     /* section 2.2 */
    SHA256_BYTES = 32,      /* section 3.3 */
    TILE_HEAD_BYTES = 16,   /* section 4 */
    APPENDIX_END_BYTES = 64 /* section 10 */
};

enum { FEATURE_TRANSFORM = 1, FEATURE_NEAR = 2, FEATURE_BASE = 4, ALL_FEATURES = 7 };

#define NO_NUMBER UINT32_MAX       /* "no object" of a segment, "no coding" of an object */
#define REFERENCE (UINT32_MAX - 1) /* for the coding of an object: it has the bytes below */

struct cursor {
    const uint8_t *at;
    const uint8_t *end;
};

struct part { /* section 3.1; sizes and offsets in bytes, widths in bits */
    unsigned offset, count, item_bytes, drop, symbol_bits, base;
    unsigned width, raw_bits; /* W and R */
    bool sign_first;
    unsigned freq[256];
};

enum { KIND_NONE, KIND_SCALE, KIND_DIFFERENCE, KIND_XOR }; /* of a transform */

struct transform { /* section 3.1 */
    unsigned kind;
    unsigned number, made, item_bytes;
    bool near;
    uint64_t row_elements, block_rows, block_columns;
};

struct coding {
    unsigned element_bytes;
    unsigned n_parts;
    struct transform transform;
    struct part *parts;
};

struct object {
    uint64_t plain_bytes;
    const struct coding *coding;  /* NULL: opaque bytes */
    uint64_t tile_bytes;          /* of every tile but the last */
    uint64_t first_tile, n_tiles; /* a reference's tiles have no numbers */
    bool reference;
    bool needs_base;
    uint32_t base_object; /* where the bytes below are, if it needs the base */
    uint64_t base_offset;
};

struct extent {
    uint64_t at; /* in the store */
    uint32_t stored_bytes;
    const uint8_t *sha256;
};

struct segment {
    uint64_t bytes;
    uint32_t object; /* NO_NUMBER if it has no bytes */
};

enum { KIND_FILE, KIND_DIRECTORY, KIND_LINK };

struct entry {
    unsigned kind;
    unsigned mode;
    const uint8_t *path;
    size_t path_bytes;
    uint64_t size;
    const uint8_t *sha256;
    uint32_t n_segments;
    struct segment *segments;
    const uint8_t *target;
    size_t target_bytes;
};

struct store {
    const uint8_t *at;      /* the whole store, mapped */
    uint64_t size;          /* without the appendix of a part */
    const uint8_t *present; /* a bitmap of the extents that are there; NULL: all */
    uint64_t index_at;      /* where the index begins */
    uint8_t *index;         /* decompressed; paths, targets and hashes point into it */
    uint32_t n_codings, n_objects, n_extents, n_entries;
    struct coding *codings;
    struct object *objects;
    struct extent *extents;
    struct entry *entries;
    uint64_t n_tiles;
    uint64_t total;    /* the sizes of all files */
    unsigned features; /* of the trailer: section 2.3 */
    const uint8_t *digest;
    const uint8_t *base_digest; /* of the base, if it needs one */
    const struct store *base;   /* NULL: none is there */
};

/* Prints `why` and ends the program with `code`. */
_Noreturn void fail(int code, const char *why);

/* Ends the program with SLOW_CORRUPT and `rule` unless `ok`. */
void require(bool ok, const char *rule);

/* All `n` bytes are zero, or the program ends. */
void require_zeros(const uint8_t *bytes, uint64_t n, const char *rule);

/* `n` zeroed elements, never NULL. */
void *allocate(size_t n, size_t bytes);

/* The next `n` bytes, in place. */
const uint8_t *take_bytes(struct cursor *c, uint64_t n);

/* The next `n` bytes, 1 to 8, as a little-endian number. */
uint64_t take(struct cursor *c, unsigned n);

static inline size_t left(const struct cursor *c)
{
    return (size_t)(c->end - c->at);
}

/* One zstd frame of `n` bytes gives exactly `plain_bytes`. */
void unzstd(const uint8_t *frame, size_t n, uint8_t *plain, size_t plain_bytes);

/* Section 3: fills the store from its decompressed index of `n` bytes. */
void parse_index(struct store *s, size_t n);

/* Tile `k` of an object, which has `plain_bytes`; of a reference, what would be its tile. */
void decode_tile(const struct store *s, const struct object *o, uint64_t k, uint8_t *plain,
                 size_t plain_bytes);

/* The plain bytes of tile `k` of an object. */
size_t bytes_of_tile(const struct object *o, uint64_t k);

bool is_there(const struct store *s, uint64_t extent);

/* Gives the store its base, which is open, and checks what the two say of each other:
 * section 8.9. */
void set_base(struct store *s, const struct store *base);

/* The `n` bytes below that belong to tile `k` of an object that needs the base. */
void bytes_below(const struct store *s, const struct object *o, uint64_t k, uint8_t *below,
                 size_t n);

/* Section 5.1: the payload of a made tile.  below: as many bytes of the base; NULL if the kind of
 * its transform needs none. */
void decode_made(const struct coding *coding, struct cursor payload, const uint8_t *below,
                 uint8_t *plain, size_t plain_bytes);

/* Sections 6 and 7: streams that fill the rest of a payload, over `n` elements (or items of a
 * transform) of element_bytes each. */
void decode_streams(const struct coding *coding, struct cursor c, uint8_t *elements,
                    size_t element_bytes, size_t n);

/* Sections 5 to 7: a tile's payload gives exactly `plain_bytes`.  `coding` is NULL for opaque;
 * below: as decode_made() says. */
void decode_payload(const struct coding *coding, unsigned mode, struct cursor payload,
                    const uint8_t *below, uint8_t *plain, size_t plain_bytes);

#endif
