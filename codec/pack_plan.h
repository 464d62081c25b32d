/* pack_plan.h - what the steps of weir_pack() hand to each other.
 *
 * plan     pack_plan.c   entries checked and sorted, each file cut into segments
 * share    pack_share.c  each segment given its object: a new one, coded as pack_choose.c
 *                        and pack_born.c measure, or an earlier one with equal bytes
 *                        (pack_equal.c)
 *                        or the base's, or a difference from it (pack_base.c)
 * run      pack_run.c    tiles encoded (pack_encode.c), extents written, files hashed (pack_hash.c)
 * finish   pack.c        index and trailer
 *
 * share and run take turns when there is a window: neither of their threads runs beside the
 * other's.  With a journal (pack_journal.c), share and run tell it what they have done, and
 * after plan it tells them what an earlier run had done.
 *
 * Near-lossless tensors (pack_near.c) are read twice: for their rows' steps when they are shared,
 * and when they are encoded.  What is hashed is then what will be decoded.
 *
 * Memory: the index and about as much again; a float for each near row; per thread an encoder
 * and 1.25 slots of 8 MiB (a job's plain and stored bytes); 1 MiB beside.  No allocation per tile.
 */
#ifndef WEIR_CODEC_PACK_PLAN_PRIVATE_H
#define WEIR_CODEC_PACK_PLAN_PRIVATE_H

#include <pthread.h>
#include <xxhash.h>

#include "codec/layout.h"
#include "codec/pack.h"
#include "codec/quantise.h"
#include "index.h"
#include "ordered.h"
#include "sha256.h"
#include "store_private.h"

enum {
    PACK_PLAIN_BYTES = WEIR_EXTENT_TILES * WEIR_TILE_BYTES, /* room for them in a slot */
    PACK_BLOCK_BYTES = 1 << 19,                             /* read at once outside of jobs */
    PACK_NO_ENTRY = UINT32_MAX,
    PACK_LEAST_TILE_BYTES = 32, /* a head and a payload of one byte, padded */
};

/* Beside index.entry[i]. */
struct pack_file {
    const struct weir_pack_entry *from;
    struct weir_segment *segment; /* owned; also index.entry[i].segment */
    struct weir_layout *layout;   /* owned; holds the tensors; NULL: one opaque segment */

    struct weir_source src; /* open while it has users; both under pack.lock */
    unsigned n_users;
};

/* What pack_near.c knows of a tensor that becomes near. */
struct pack_near {
    struct weir_step step;
    float *rms; /* root of the mean square, by row; owned */
    struct weir_nearness nearness;
};

/* Beside index.object[o]. */
struct pack_object {
    uint32_t entry; /* where it shows first */
    uint32_t segment;
    uint64_t sample_xxh3;
    uint32_t next; /* in its chain of the table of pack_share.c, or WEIR_NO_OBJECT */
    bool shared;   /* shown more than once: run then keeps its checksum */
    bool measured; /* least_bytes is known */
    bool dull;     /* packs to so little that sharing it is not worth the ratio rule's credit */
    uint64_t least_bytes;
    uint64_t xxh3;          /* of all its bytes, when shared and encoded; of a reference always */
    struct pack_near *near; /* owned; NULL: lossless.  It is never shared: bytes that are equal
                               need not become equal ones, in rows of another length. */
};

struct pack_slot {
    uint8_t *plain;  /* PACK_PLAIN_BYTES */
    uint8_t *stored; /* WEIR_MAX_EXTENT_BYTES */
};

/* One thread's view of the input: the file that it read last stays open. */
struct pack_reader {
    struct pack *pack;
    uint32_t entry; /* PACK_NO_ENTRY: none */
    struct weir_source src;
};

struct pack_base; /* pack_base.c */
struct share;     /* pack_share.c */
struct run;       /* pack_run.c */

struct pack {
    const struct weir_kernels *kernels;
    const struct weir_watch *watch; /* NULL: none */
    const struct weir_output *output;
    const struct weir_pack_journal *journal; /* NULL: none */
    const struct weir_near *near;            /* NULL: lossless */
    bool near_embeddings;
    uint64_t window_bytes; /* 0: none */

    struct index ix;
    struct pack_file *file;     /* ix.n_entries */
    struct pack_object *object; /* ix.n_objects */
    uint64_t n_parts;           /* segments that have bytes */
    uint64_t index_bytes;       /* an upper bound of what ix takes */
    pthread_mutex_t lock;
    bool read_failed; /* under lock */

    unsigned n_threads, n_slots;
    struct pack_slot slot[ORDERED_MAX_SLOTS];
    struct pack_reader reader[ORDERED_MAX_THREADS];
    struct pack_reader announcer; /* the thread's that is in `next` of a line */
    /* The finishing thread's own. */
    struct pack_reader here, there;
    uint8_t *block[2]; /* PACK_BLOCK_BYTES each */

    struct pack_base *base; /* NULL: none */
    struct share *share;
    struct run *run;
    bool all_shared; /* every segment has its object */

    uint64_t max_extents; /* room of ix.extent and extent_at, at least 1 */
    uint64_t *extent_at;
    uint32_t n_written;    /* extents, the restored ones among them */
    uint32_t n_restored;   /* extents that an earlier run has written */
    uint64_t stored_bytes; /* written so far, by earlier runs too */
    uint64_t done_bytes;   /* plain, hashed so far */

    /* What is written, as a store without an end, to read from with a journal.  Never closed. */
    struct weir_store view;
    struct weir_store_cursor *cursor; /* the finishing thread's; NULL without a journal */
    uint64_t journal_xxh3;            /* of the last record */
};

/* pack_plan.c: fills in ix.entry, file, n_parts and index_bytes.  Opens every file once. */
WEIR_MUST_CHECK weir_err pack_plan(struct pack *p, const struct weir_pack_entry *entries,
                                   size_t n_entries, struct weir_diag *diag);

/* pack_share.c: ix.object, object, ix.coding, ix.n_tiles and every segment's object, for segments
 * of the window; all_shared when there are none left. */
WEIR_MUST_CHECK weir_err pack_share_new(struct pack *p);
WEIR_MUST_CHECK weir_err pack_share(struct pack *p, struct weir_diag *diag);
void pack_share_free(struct pack *p);

/* Tells the sources of the samples of the coming segments, as many as the window allows. */
void pack_share_announce(struct pack *p);

/* What a segment is in the base. */
struct pack_place {
    uint32_t object; /* of the base; WEIR_NO_OBJECT: nothing */
    bool is_same;    /* it is that object, and xxh3 its checksum; else, with a coding that needs a
                        base, it differs from it */
    uint64_t xxh3;
};

/* How a segment got its object. */
enum { PACK_MAX_MEASURED = 4 }; /* per segment; equal samples of unequal segments are rare */
struct pack_sharing {
    uint32_t object; /* ix.n_objects: a new one */
    uint64_t sample_xxh3;
    struct weir_coding *coding; /* a new one's; owned; NULL: opaque */
    struct pack_near *near;     /* a new one's; owned; NULL: lossless */
    struct pack_place place;    /* a new one's */
    unsigned n_measured;        /* objects that were measured on the way */
    struct {
        uint32_t object;
        bool dull;
        uint64_t least_bytes;
    } measured[PACK_MAX_MEASURED];
};

/* Gives the next segment its object as an earlier run did.  false: that makes no sense, and nothing
 * was done.  Takes s->coding over, or leaves it. */
bool pack_share_again(struct pack *p, struct pack_sharing *s);

/* pack_encode.c: what a thread encodes tiles with.  pack_encode(): tile number `tile` of an object
 * that is neither near nor a difference; otherwise as weir_tile_encode(). */
struct pack_encoder;
WEIR_MUST_CHECK weir_err pack_encoder_new(const struct weir_kernels *kernels,
                                          struct pack_encoder **out);
void pack_encoder_free(struct pack_encoder *enc);                          /* NULL is fine */
struct weir_tile_encoder *pack_encoder_of_tiles(struct pack_encoder *enc); /* its own; borrowed */
WEIR_MUST_CHECK weir_err pack_encode(struct pack_encoder *enc, const struct weir_object *o,
                                     uint64_t tile, const uint8_t *plain, size_t n_bytes,
                                     uint8_t *payload, struct weir_tile_head *head);

/* pack_equal.c: *out is the earlier object with the same bytes as the segment, or WEIR_NO_OBJECT.
 * Fills in s->measured.  `first` is the first one to look at, then object.next; the segments
 * before this one have done_bytes, and their objects take at least least_bytes in the store. */
struct pack_twin {
    struct pack_encoder *encoder;
    const struct pack_slot *slot; /* its buffers are overwritten */
    uint64_t done_bytes, least_bytes;
    uint32_t entry, segment, first;
};
WEIR_MUST_CHECK weir_err pack_find_equal(struct pack *p, const struct pack_twin *twin,
                                         struct pack_sharing *s, uint32_t *out,
                                         struct weir_diag *diag);

/* pack_run.c: writes the extents that are complete, or all when all_shared; fills in ix.extent and,
 * in the end, every file's SHA-256. */
WEIR_MUST_CHECK weir_err pack_run_new(struct pack *p);
WEIR_MUST_CHECK weir_err pack_run(struct pack *p, struct weir_diag *diag);
void pack_run_free(struct pack *p);

/* pack_hash.c: the files' SHA-256, in order, from what comes out of the extents. */
struct pack_hash {
    uint32_t entry, segment; /* what is hashed */
    uint64_t offset;         /* in the segment */
    bool in_file;            /* sha256 has begun with this entry */
    struct sha256 sha256;
    XXH3_state_t *xxh3; /* of an object that is shared */
};
WEIR_MUST_CHECK weir_err pack_hash_new(struct pack_hash *h);
void pack_hash_free(struct pack_hash *h);
/* The next n plain bytes of the extents.  end: there are no more; goes on to the end of all
 * entries. */
WEIR_MUST_CHECK weir_err pack_hash_add(struct pack *p, struct pack_hash *h, const uint8_t *plain,
                                       size_t n, struct weir_diag *diag);
WEIR_MUST_CHECK weir_err pack_hash_end(struct pack *p, struct pack_hash *h, struct weir_diag *diag);

/* pack_journal.c.  begin: after plan, before share: takes up what an earlier run has left.  The
 * others: what was done; nothing without a journal. */
WEIR_MUST_CHECK weir_err pack_journal_begin(struct pack *p, struct weir_diag *diag);
WEIR_MUST_CHECK weir_err pack_journal_sharing(struct pack *p, const struct pack_sharing *s,
                                              struct weir_diag *diag);
WEIR_MUST_CHECK weir_err pack_journal_extent(struct pack *p, const struct index_extent *extent,
                                             struct weir_diag *diag);

/* pack_stored.c: reading what is written.  All but open only with a journal. */
WEIR_MUST_CHECK weir_err pack_stored_open(struct pack *p);
void pack_stored_close(struct pack *p);
/* Whether all tiles of the object are written. */
bool pack_stored_has(const struct pack *p, uint32_t object);
/* Reads extent i, and the padding before it, into `stored` (WEIR_MAX_EXTENT_BYTES).
 * WEIR_ERR_MISMATCH if they are not what ix.extent says. */
WEIR_MUST_CHECK weir_err pack_stored_check(const struct pack *p, uint32_t i, uint8_t *stored);

/* pack.c: hands n bytes to the output and counts them. */
WEIR_MUST_CHECK weir_err pack_write(struct pack *p, const void *bytes, size_t n);
/* pack.c: WEIR_ERR_CANCELLED when the watch says so. */
WEIR_MUST_CHECK weir_err pack_tick(const struct pack *p, uint64_t done_bytes);

/* pack_reader.c: n bytes of entry number `entry` from offset `at`; opens the file when it is not
 * the one of the last call.  *diag names the file.
 * WEIR_ERR_CHANGED when its size is not what it was. */
WEIR_MUST_CHECK weir_err pack_read(struct pack_reader *r, uint32_t entry, uint64_t at, void *dst,
                                   size_t n, struct weir_diag *diag);
/* Tells the source that these bytes will be read.  What is wrong shows when they are. */
void pack_expect(struct pack_reader *r, uint32_t entry, uint64_t at, uint64_t n);
/* Lets go of the file of the last call. */
void pack_reader_release(struct pack_reader *r);

/* What one thread needs to choose codings. */
struct pack_chooser;

/* A choice for a segment, made from a sample of it. */
struct pack_choice {
    struct weir_coding *coding; /* owned; NULL: opaque */
    struct pack_near *near;     /* owned; NULL: lossless */
    uint64_t sample_xxh3;       /* equal segments have equal samples */
    struct pack_place place;
};

/* Pieces of a segment, evenly spread. */
struct pack_sample {
    size_t n, piece;   /* how many, and bytes of each */
    uint64_t n_pieces; /* of the whole segment */
};
enum {
    PACK_SAMPLE_BYTES = 1 << 20
}; /* at most; 4 MiB gave 0.0001 % on 10 MiB tensors, for half the
      time of packing */
/* Where piece i begins in the segment. */
uint64_t pack_piece_at(const struct pack_sample *s, size_t i);

/* What a segment is that has been looked at: its sample lies in slot->plain. */
struct pack_seen {
    struct pack_reader *reader;
    unsigned worker;
    uint32_t entry, segment;
    const struct pack_slot *slot; /* the rest of its buffers may be overwritten */
    struct pack_sample sample;
};

/* pack_base.c: what the base has.  new: *out NULL without a base.
 * WEIR_ERR_UNSUPPORTED; WEIR_ERR_NOMEM; what reading the base ends with; all with *diag. */
WEIR_MUST_CHECK weir_err pack_base_new(struct pack *p, const struct weir_store *base,
                                       struct weir_diag *diag);
void pack_base_free(struct pack *p);
/* Looks for the segment among the base's objects, by name, then by content. */
WEIR_MUST_CHECK weir_err pack_base_find_same(struct pack_base *b, const struct pack_seen *seen,
                                             struct pack_place *out, struct weir_diag *diag);
/* Replaces choice->coding, which takes `bytes` in the store, where a difference takes less. */
WEIR_MUST_CHECK weir_err pack_base_find_near(struct pack_base *b, const struct pack_seen *seen,
                                             double bytes, struct pack_choice *choice,
                                             struct weir_diag *diag);
/* Whether so many more bytes may be references; if so, they are counted. */
bool pack_base_allows(struct pack_base *b, uint64_t bytes);
uint64_t pack_base_same_bytes(const struct pack_base *b);
/* The base's n bytes that an object's from `at` are made from; the worker's until its next call. */
WEIR_MUST_CHECK weir_err pack_base_read(struct pack_base *b, unsigned worker,
                                        const struct weir_object *o, uint64_t at, size_t n,
                                        const uint8_t **out, struct weir_diag *diag);

/* pack_choose.c */
WEIR_MUST_CHECK weir_err pack_chooser_new(struct pack_chooser **out);
void pack_chooser_free(struct pack_chooser *c); /* NULL is fine */
/* Fills in *out and seen->sample; overwrites the buffers of *seen->slot. */
WEIR_MUST_CHECK weir_err pack_choose(struct pack_chooser *c, struct pack_seen *seen,
                                     struct pack_choice *out, struct weir_diag *diag);

/* pack_near.c: puts a near coding in the place of choice->coding, which takes lossless_bytes in the
 * store, if the segment is one to become near and smaller by it.  Overwrites the buffers of
 * *seen->slot. */
WEIR_MUST_CHECK weir_err pack_near_choose(const struct pack_seen *seen, double lossless_bytes,
                                          struct pack_choice *choice, struct weir_diag *diag);
void pack_near_free(struct pack_near *near); /* NULL is fine */

/* Encodes tile `number` of a near object, and makes `plain` what will be decoded.  Of one thread:
 * the encoder and the room. */
struct pack_near_room;
struct pack_near_room *pack_near_room_new(void); /* NULL: no memory */
void pack_near_room_free(struct pack_near_room *room);
struct pack_near_tile {
    struct weir_tile_encoder *encoder;
    struct pack_near_room *room;
    const struct weir_object *object;
    const struct pack_near *near;
    uint64_t number;
};
WEIR_MUST_CHECK weir_err pack_near_encode(const struct pack *p, const struct pack_near_tile *tile,
                                          uint8_t *plain, size_t n_bytes, uint8_t *payload,
                                          struct weir_tile_head *head);

/* pack_born.c: replaces *best, which takes *best_bytes, by a coding with a transform where that is
 * smaller.  The sample stays in seen->slot->plain; what is behind it there, and the other buffer,
 * are overwritten. */
WEIR_MUST_CHECK weir_err pack_born_choose(const struct pack_seen *seen, double *best_bytes,
                                          struct weir_coding **best, struct weir_diag *diag);

/* Tells the source what pack_choose() will read. */
void pack_choose_announce(struct pack_reader *r, uint32_t entry, uint32_t segment);

/* What a coding takes in the index: bytes. */
size_t pack_coding_bytes(const struct weir_coding *coding);
/* The elements of a segment; NULL: no idea. */
const struct weir_elements *pack_elements(const struct pack *p, uint32_t entry, uint32_t segment);

#endif
