/* store.h - a store read: what is in it, and its plain bytes (docs/format.md, 2 to 4).
 *
 * A store holds entries (files, directories, links).  A file is a list of segments; a segment is a
 * tensor or opaque bytes and shows one object; an object is a run of tiles coded one way; 32
 * consecutive tiles make an extent.  Equal tensors share an object.
 *
 * Reads through a weir_source.  Safe on hostile input.  Threads share an open store without
 * locking; each brings its own weir_store_cursor.  Should the source's bytes change, what is read
 * is still what the index names, or an error. */
#ifndef WEIR_CODEC_STORE_H
#define WEIR_CODEC_STORE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "codec/err.h"
#include "codec/source.h"
#include "codec/tile.h"

#ifdef __cplusplus
extern "C" {
#endif

enum {
    WEIR_EXTENT_TILES = 32,
    WEIR_ALIGN = 4096,      /* extents start at multiples of it */
    WEIR_DIGEST_BYTES = 32, /* SHA-256 */
    WEIR_MAX_DIMS = 8,
    WEIR_MAX_PATH_BYTES = 4095,
    WEIR_MAX_INDEX_BYTES = 64 << 20, /* decompressed */
    WEIR_MAX_EXTENT_BYTES = WEIR_EXTENT_TILES * (WEIR_TILE_HEAD_BYTES + WEIR_TILE_BYTES),
};

#define WEIR_NO_OBJECT UINT32_MAX

enum weir_entry_kind {
    WEIR_ENTRY_FILE = 0,
    WEIR_ENTRY_DIR = 1,
    WEIR_ENTRY_LINK = 2,
};

/* A tensor's name and form, as its file gives them; dims outermost first (as in safetensors). */
struct weir_tensor {
    const char *name;  /* NUL-terminated; any other byte may occur */
    const char *dtype; /* "BF16", "F8_E4M3", "Q4_K", ... */
    uint8_t n_dims;
    uint64_t dim[WEIR_MAX_DIMS];
};

struct weir_segment {
    uint64_t file_offset;             /* where it starts in its file, bytes */
    uint64_t bytes;                   /* may be 0: a tensor without elements */
    uint32_t object;                  /* WEIR_NO_OBJECT if and only if bytes is 0 */
    const struct weir_tensor *tensor; /* NULL: opaque bytes */
};

struct weir_entry {
    const char *path; /* relative, '/'-separated, no "." or ".." or empty component, any bytes */
    enum weir_entry_kind kind;
    uint16_t mode; /* permission bits, at most 07777 */
    /* a file's */
    uint64_t size;
    uint8_t sha256[WEIR_DIGEST_BYTES]; /* of the plain bytes */
    uint32_t n_segments;
    const struct weir_segment *segment; /* ascending, without gaps: they cover the file */
    /* a link's */
    const char *target; /* relative, stays inside the tree */
};

/* What a reader must know beyond version 1's first form (docs/format.md, 2.2). */
enum weir_feature {
    WEIR_FEATURE_TRANSFORM = 1, /* a coding has a transform */
    WEIR_FEATURE_NEAR = 2,      /* an object is near what was packed, not what was packed */
    WEIR_FEATURE_BASE = 4,      /* objects that are, or differ from, those of another store */
    WEIR_FEATURES_KNOWN = WEIR_FEATURE_TRANSFORM | WEIR_FEATURE_NEAR | WEIR_FEATURE_BASE,
};

/* How near an object is to what was packed; w: what was packed, e: the difference. */
struct weir_nearness {
    double signal, noise; /* sums of w * w and of e * e over all elements */
    float largest;        /* the largest |e|, in steps of its row */
    float step;           /* of a row, as a share of the root of its mean w * w */
};

struct weir_object {
    uint64_t bytes;                   /* plain, > 0 */
    const struct weir_coding *coding; /* NULL: opaque */
    uint32_t tile_bytes;              /* plain bytes of each tile but the last */
    uint64_t first_tile;              /* numbered through the store */
    uint64_t n_tiles;                 /* in the store: of a reference none */
    struct weir_nearness nearness;    /* all zero unless coding->transform.near */
    /* Of a store that needs a base (weir_store_set_base()). */
    bool is_reference;     /* its plain bytes are the base's */
    uint32_t base_object;  /* if so, or if coding needs a base: where the base's bytes are, */
    uint64_t base_at;      /* from which of its plain bytes on */
    uint64_t first_number; /* first_tile; of a reference, behind all tiles that are stored: so that
                              each tile that can be read has a number */
};

struct weir_extent {
    uint64_t at;    /* offset in the store, a multiple of WEIR_ALIGN */
    uint32_t bytes; /* stored, padding not counted */
    uint8_t n_tiles;
    uint8_t sha256[WEIR_DIGEST_BYTES]; /* of the stored bytes */
};

struct weir_store; /* opaque */

/* Opens a store: reads header, trailer and index, checks all of them.  `src` is borrowed and must
 * outlive the store.  On success *out is freed with weir_store_free(); on error it is untouched.
 *
 * WEIR_ERR_CORRUPT      not a store, truncated, or against docs/format.md
 * WEIR_ERR_UNSUPPORTED  a newer version, or a feature unknown here
 * WEIR_ERR_CHANGED      somebody writes to it
 * WEIR_ERR_NOMEM, and what src->read and src->revision return. */
WEIR_MUST_CHECK weir_err weir_store_open(const struct weir_source *src, struct weir_store **out,
                                         struct weir_diag *diag);
void weir_store_free(struct weir_store *store); /* NULL is fine */

/* Gives a store that needs a base this one: open, borrowed, to outlive the store and its cursors.
 * Once, before the first cursor.  Until then all can be read but what needs the base: that is
 * WEIR_ERR_ABSENT.
 *
 * WEIR_ERR_INVALID      the store needs none, or has one
 * WEIR_ERR_MISMATCH     another store than the one that is needed; *diag has both digests
 * WEIR_ERR_UNSUPPORTED  the base needs a base itself
 * WEIR_ERR_CORRUPT      the store refers to what the base does not have */
WEIR_MUST_CHECK weir_err weir_store_set_base(struct weir_store *store,
                                             const struct weir_store *base, struct weir_diag *diag);

/* The same for all: WEIR_ERR_ABSENT with *diag, which names the digest, if the store needs a base
 * and has none. */
WEIR_MUST_CHECK weir_err weir_store_need_base(const struct weir_store *store,
                                              struct weir_diag *diag);

/* Whether a store with that digest ends so (a part of it, too): only the bytes that say so are
 * looked at. */
enum { WEIR_STORE_END_BYTES = 64 };
bool weir_store_end_names(const uint8_t end[WEIR_STORE_END_BYTES],
                          const uint8_t digest[WEIR_DIGEST_BYTES]);

/* Everything below points into the store and lives as long as it. */

struct weir_store_info {
    uint8_t digest[WEIR_DIGEST_BYTES]; /* SHA-256 of the stored index: the store's identity */
    uint64_t stored_bytes;             /* of the whole store, without a part's appendix */
    uint64_t plain_bytes;              /* of all its files */
    uint32_t n_entries, n_objects, n_extents;
    uint64_t n_tiles;
    uint32_t n_present;     /* extents that are there: all but of a part (docs/format.md, 10) */
    uint64_t present_bytes; /* stored bytes of those */
    unsigned features;      /* of enum weir_feature */
    uint8_t base_digest[WEIR_DIGEST_BYTES]; /* with WEIR_FEATURE_BASE: the store it needs */
    uint64_t n_numbers;                     /* n_tiles, and the tiles of references */
};

const struct weir_store_info *weir_store_info(const struct weir_store *store);

/* Entries are ascending by path (bytewise), directories before what they hold.  i < n_entries. */
const struct weir_entry *weir_store_entry(const struct weir_store *store, uint32_t i);
/* Exact match.  NULL if there is none. */
const struct weir_entry *weir_store_find(const struct weir_store *store, const char *path);
const struct weir_object *weir_store_object(const struct weir_store *store, uint32_t i);
struct weir_extent weir_store_extent(const struct weir_store *store, uint32_t i);

/* Whether only some extents were fetched: the store has an appendix.  All may be there all the
 * same. */
bool weir_store_is_part(const struct weir_store *store);
/* i < n_extents.  Reading what is not there is WEIR_ERR_ABSENT. */
bool weir_store_has_extent(const struct weir_store *store, uint32_t i);

/* Whether it cannot be read without the base. */
bool weir_object_needs_base(const struct weir_object *object);

/* Tiles that can be read: stored ones, or a reference's. */
uint64_t weir_object_tiles(const struct weir_object *object);

/* What a thread needs to read: decoder, scratch, the last extent's tile heads. About 300 KiB; with
 * a base 700. */
struct weir_store_cursor;

WEIR_MUST_CHECK weir_err weir_store_cursor_new(const struct weir_store *store,
                                               const struct weir_kernels *kernels,
                                               struct weir_store_cursor **out);
void weir_store_cursor_free(struct weir_store_cursor *cur); /* NULL is fine */

/* From now on weir_store_read_stored() leaves no copy of what it reads in the system's memory,
 * where the source can do that: a file can for whole blocks of WEIR_ALIGN bytes, into memory
 * aligned so. */
void weir_store_cursor_read_past(struct weir_store_cursor *cur);

/* Plain bytes of tile `tile` (< weir_object_tiles()) of object `object` (< n_objects). */
uint32_t weir_store_tile_bytes(const struct weir_store *store, uint32_t object, uint64_t tile);

/* Reads, decodes and checks one tile into out[0 .. weir_store_tile_bytes()); undefined on error.
 * If the source has changed, a first read of an extent checks all of it by its SHA-256.
 *
 * WEIR_ERR_CORRUPT      its bytes are bad; *diag names extent and tile
 * WEIR_ERR_CHANGED      its extent is no longer the one that the index names
 * WEIR_ERR_ABSENT       its extent was not fetched, or it needs a base that the store has not got
 * What the base's tiles give likewise; *diag says that it is the base's.
 * WEIR_ERR_NOMEM, and what src->read and src->revision return. */
WEIR_MUST_CHECK weir_err weir_store_read_tile(struct weir_store_cursor *cur, uint32_t object,
                                              uint64_t tile, uint8_t *out, struct weir_diag *diag);

/* Reads n bytes of the store itself, from offset `at`: those that the index and the digest, read
 * when the store was opened, stand for, or none; dst is undefined on error.  If the source has
 * changed, header, trailer and padding are compared with what they must be, and a first read of an
 * extent or of the index checks all of it by its SHA-256.  While the source is just changing, waits
 * for the end of that, but 1.5 s at most.
 *
 * WEIR_ERR_IO       also when the range passes the end
 * WEIR_ERR_CHANGED  a byte of the range, or of what it was checked with, is another one now, or
 *                   changing does not end; *diag says which
 * WEIR_ERR_ABSENT   a byte of the range is of an extent that was not fetched
 * WEIR_ERR_NOMEM, and what src->read and src->revision return. */
WEIR_MUST_CHECK weir_err weir_store_read_stored(struct weir_store_cursor *cur, uint64_t at,
                                                uint8_t *dst, size_t n, struct weir_diag *diag);

/* Tiles [tile, tile + n) of object `object` will probably be read soon: whoever has to fetch their
 * extents may begin.  Returns at once, promises nothing; n may pass the end of the object. */
void weir_store_expect_tiles(const struct weir_store *store, uint32_t object, uint64_t tile,
                             uint64_t n);

/* Whether that is of use: reading an extent may mean fetching all of it. */
bool weir_store_fetches(const struct weir_store *store);

/* How a tile is stored, without decoding it: for listings and statistics.  Errors as above. */
WEIR_MUST_CHECK weir_err weir_store_tile_head(struct weir_store_cursor *cur, uint64_t store_tile,
                                              struct weir_tile_head *out);

/* Checks one extent's SHA-256, its tile heads and the zero padding that follows it; an extent that
 * was not fetched is WEIR_ERR_ABSENT.
 * `scratch` holds WEIR_MAX_EXTENT_BYTES + WEIR_ALIGN bytes. */
WEIR_MUST_CHECK weir_err weir_store_check_extent(const struct weir_store *store, uint32_t extent,
                                                 uint8_t *scratch, struct weir_diag *diag);

/* The same of bytes at hand, from wherever: the extent's stored bytes, and, unless it is the last
 * one, the padding up to the next multiple of WEIR_ALIGN. */
WEIR_MUST_CHECK weir_err weir_store_check_extent_bytes(const struct weir_store *store,
                                                       uint32_t extent, const uint8_t *bytes,
                                                       struct weir_diag *diag);

/* Where the tiles of an extent at hand go, one after the other. */
struct weir_tile_sink {
    void *self;
    uint8_t *room; /* WEIR_TILE_BYTES: each tile's plain bytes are put here, checked */
    /* Tile `tile` of object `object` is in `room`, n bytes.  An error ends it. */
    weir_err (*take)(void *self, uint32_t object, uint64_t tile, size_t n);
};

/* Decodes all tiles of an extent whose bytes are at hand, checked by the call above.  The store's
 * source is not read.
 *
 * WEIR_ERR_CORRUPT  a tile's payload is bad, or its checksum
 * WEIR_ERR_NOMEM, and what sink->take returns. */
WEIR_MUST_CHECK weir_err weir_store_decode_extent(struct weir_store_cursor *cur, uint32_t extent,
                                                  const uint8_t *bytes,
                                                  const struct weir_tile_sink *sink,
                                                  struct weir_diag *diag);

/* A tile of an extent whose bytes are at hand. */
struct weir_extent_tile {
    struct weir_tile_head head;
    uint32_t payload_at; /* bytes from the extent's first byte, a multiple of 16 */
    uint32_t object;
    uint64_t tile; /* of the object */
};

/* What the extent's heads say, checked against the format; the payloads are not looked at.  Returns
 * how many tiles there are into *n.  WEIR_ERR_CORRUPT. */
WEIR_MUST_CHECK weir_err weir_store_extent_tiles(const struct weir_store *store, uint32_t extent,
                                                 const uint8_t *bytes,
                                                 struct weir_extent_tile tile[WEIR_EXTENT_TILES],
                                                 size_t *n, struct weir_diag *diag);

#ifdef __cplusplus
}
#endif

#endif
