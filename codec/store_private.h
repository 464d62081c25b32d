/* store_private.h - an open store and a cursor from inside, the heads of an extent's tiles, and
 * what is done about a source whose bytes have changed since the store was opened. */
#ifndef WEIR_CODEC_STORE_PRIVATE_H
#define WEIR_CODEC_STORE_PRIVATE_H

#include <stdatomic.h>
#include <stdbool.h>

#include "ends.h"
#include "index.h"
#include "sha256.h"

#define NO_EXTENT  UINT32_MAX
#define EXTENT_BAD (UINT64_C(1) << 63) /* no revision has this bit: store_revision() */

struct weir_store {
    struct weir_source src; /* borrowed: never closed */
    uint64_t revision;      /* of src when header and index were read; not 0 */
    struct index *index;
    struct trailer trailer;
    const struct weir_store *base; /* borrowed; NULL: none, or not yet */
    uint8_t *present;              /* a bitmap of the extents that are there; NULL: all */
    uint64_t *extent_at;           /* offset of each unit: see below */
    /* Of each unit: the last revision of src at which it was hashed, 0: never.  With EXTENT_BAD if
     * its SHA-256 was not the one in the index. */
    _Atomic uint64_t *hashed;
    struct weir_store_info info;
};

/* What an extent's heads say, and where that puts the payloads. */
struct extent_heads {
    struct weir_tile_head tile[WEIR_EXTENT_TILES];
    uint32_t payload_at[WEIR_EXTENT_TILES]; /* from the start of the extent */
};

/* What a cursor reads the base with. */
struct base_reader {
    struct weir_store_cursor *cursor;
    uint32_t object; /* whose tile is in `room`, or WEIR_NO_OBJECT */
    uint64_t tile;
    uint8_t room[WEIR_TILE_BYTES]; /* of tiles that are needed in part */
};

struct weir_store_cursor {
    const struct weir_store *store; /* borrowed */
    struct weir_tile_decoder *decoder;
    bool past;         /* weir_store_cursor_read_past() */
    uint64_t revision; /* of the store's source, the last one heard of */
    uint32_t extent; /* whose heads are in `heads`, or NO_EXTENT.  Between two calls they are right:
                        read at a revision at which the extent is trusted, or hashed */
    struct extent_heads heads;
    struct sha256 hash;       /* empty until an extent must be hashed */
    struct base_reader *base; /* NULL: the store has no base */
    uint8_t payload[WEIR_TILE_BYTES];
};

/* What a cursor is asked for. */
struct tile_wanted {
    uint32_t extent, slot; /* slot: of its tiles */
    uint32_t object;       /* used with `out` only, as is `tile` */
    uint64_t tile;         /* of the object */
    uint8_t *out;          /* where its plain bytes go; NULL: the extent's heads will do */
};

/* The object that shows tile `store_tile` (< n_tiles); O(log n). */
uint32_t store_object_of(const struct weir_store *store, uint64_t store_tile);

/* The object of `store_tile` (< n_tiles), which *object, the one of the tile before, is set to. */
const struct weir_object *store_step(const struct weir_store *store, uint64_t store_tile,
                                     uint32_t *object);

/* Bytes of the heads at the start of extent `extent`.  WEIR_ERR_CORRUPT with *diag if the extent
 * is shorter than that. */
WEIR_MUST_CHECK weir_err extent_heads_bytes(const struct weir_store *store, uint32_t extent,
                                            size_t *out, struct weir_diag *diag);

/* Takes the extent_heads_bytes() at `bytes` apart and checks that heads and padded payloads fill
 * the extent exactly.  WEIR_ERR_CORRUPT with *diag; *out is undefined then. */
WEIR_MUST_CHECK weir_err extent_heads_parse(const struct weir_store *store, uint32_t extent,
                                            const uint8_t *bytes, struct extent_heads *out,
                                            struct weir_diag *diag);

/* Extents [extent, extent + n), as many of them as there are, will probably be read soon. */
void store_expect_extents(const struct weir_store *store, uint32_t extent, uint32_t n);
bool store_is_told(const struct weir_store *store); /* whether that is of any use */

/* Decodes the tile, whose head is in cur->heads. */
WEIR_MUST_CHECK weir_err store_decode(struct weir_store_cursor *cur,
                                      const struct tile_wanted *wanted, const uint8_t *payload,
                                      struct weir_diag *diag);

/* WEIR_ERR_ABSENT with *diag where the extent was not fetched. */
WEIR_MUST_CHECK weir_err store_need(const struct weir_store *store, uint32_t extent,
                                    struct weir_diag *diag);

/* ---- a base: store_base.c ---- */

WEIR_MUST_CHECK weir_err base_reader_new(const struct weir_store *base,
                                         const struct weir_kernels *kernels,
                                         struct base_reader **out);
void base_reader_free(struct base_reader *reader); /* NULL is fine */

/* weir_store_expect_tiles() of what the base has of them. */
void store_expect_base(const struct weir_store *store, const struct weir_object *object,
                       uint64_t tile, uint64_t n);

/* The base's plain bytes that tile `tile` of `object` is, or is made from. */
WEIR_MUST_CHECK weir_err store_read_base(struct weir_store_cursor *cur, uint32_t object,
                                         uint64_t tile, uint8_t *out, struct weir_diag *diag);

/* n plain bytes of an object from `at`, which it has. */
WEIR_MUST_CHECK weir_err base_reader_read(struct base_reader *reader, uint32_t object, uint64_t at,
                                          uint8_t *out, size_t n, struct weir_diag *diag);

/* The most plain bytes that so many stored bytes may stand for (docs/format.md, 3.4). */
uint64_t store_most_plain(uint64_t stored_bytes);

/* ---- a source that changes: store_changed.c ----
 *
 * A unit is what has a SHA-256: an extent has its number, and the stored index, whose is the
 * digest, that behind them: n_extents. */

/* The source's revision now, without the bit EXTENT_BAD. */
WEIR_MUST_CHECK weir_err store_revision(const struct weir_store *store, uint64_t *out,
                                        struct weir_diag *diag);

uint32_t store_unit_bytes(const struct weir_store *store, uint32_t unit);

/* Whether the unit's bytes at `revision` are those that the SHA-256 names: nothing has changed
 * since the store was opened, or the unit was hashed at that revision. */
bool store_trusts(const struct weir_store *store, uint32_t unit, uint64_t revision);

/* Hashes the unit, unless it is known what it is at cur->revision, which the source has just
 * given.  It is up to date afterwards: if it is another one, the answer says nothing.
 *
 * WEIR_ERR_CHANGED  the unit is not the one that the SHA-256 names */
WEIR_MUST_CHECK weir_err store_verify(struct weir_store_cursor *cur, uint32_t unit,
                                      struct weir_diag *diag);

/* Hashes the whole extent and decodes the tile on the way, so that it is right whatever happens to
 * the source meanwhile.  cur->revision is up to date.  If it is the same afterwards, it is known to
 * all cursors of the store what the extent is at that revision.
 *
 * WEIR_ERR_CHANGED  the extent is not the one that the index names */
WEIR_MUST_CHECK weir_err store_read_changed(struct weir_store_cursor *cur,
                                            const struct tile_wanted *wanted,
                                            struct weir_diag *diag);

#endif
