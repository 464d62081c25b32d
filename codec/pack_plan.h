/* pack_plan.h - what the steps of weir_pack() hand to each other.
 *
 * plan     pack_plan.c   entries checked and sorted, each file cut into segments
 * share    pack_share.c  each segment given its object: a new one, coded as pack_choose.c measures,
 *                        or an earlier one with equal bytes
 * run      pack_run.c    tiles encoded, extents written, files hashed
 * finish   pack.c        index and trailer
 *
 * Memory: the index and about as much again; per thread an encoder and 1.25 slots of 8 MiB (a
 * job's plain and stored bytes); 1 MiB beside.  No allocation per tile. */
#ifndef WEIR_CODEC_PACK_PLAN_PRIVATE_H
#define WEIR_CODEC_PACK_PLAN_PRIVATE_H

#include <pthread.h>

#include "codec/layout.h"
#include "codec/pack.h"
#include "index.h"
#include "ordered.h"

enum {
    PACK_PLAIN_BYTES = WEIR_EXTENT_TILES * WEIR_TILE_BYTES, /* room for them in a slot */
    PACK_BLOCK_BYTES = 1 << 19,                             /* read at once outside of jobs */
    PACK_NO_ENTRY = UINT32_MAX,
};

/* Beside index.entry[i]. */
struct pack_file {
    const struct weir_pack_entry *from;
    struct weir_segment *segment; /* owned; also index.entry[i].segment */
    struct weir_layout *layout;   /* owned; holds the tensors; NULL: one opaque segment */

    struct weir_source src; /* open while it has users; both under pack.lock */
    unsigned n_users;
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
    uint64_t xxh3; /* of all its bytes, when shared and encoded */
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

struct pack {
    const struct weir_kernels *kernels;
    const struct weir_watch *watch; /* NULL: none */
    const struct weir_output *output;

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
    /* The finishing thread's own. */
    struct pack_reader here, there;
    uint8_t *block[2]; /* PACK_BLOCK_BYTES each */

    uint64_t stored_bytes; /* written so far */
};

/* pack_plan.c: fills in ix.entry, file, n_parts and index_bytes.  Opens every file once. */
WEIR_MUST_CHECK weir_err pack_plan(struct pack *p, const struct weir_pack_entry *entries,
                                   size_t n_entries, struct weir_diag *diag);

/* pack_share.c: fills in ix.object, object, ix.coding, ix.n_tiles and every segment's object. */
WEIR_MUST_CHECK weir_err pack_share(struct pack *p, struct weir_diag *diag);

/* pack_run.c: writes all extents; fills in ix.extent and every file's SHA-256. */
WEIR_MUST_CHECK weir_err pack_run(struct pack *p, struct weir_diag *diag);

/* pack.c: hands n bytes to the output and counts them. */
WEIR_MUST_CHECK weir_err pack_write(struct pack *p, const void *bytes, size_t n);
/* pack.c: WEIR_ERR_CANCELLED when the watch says so. */
WEIR_MUST_CHECK weir_err pack_tick(const struct pack *p, uint64_t done_bytes);

/* pack_reader.c: n bytes of entry number `entry` from offset `at`; opens the file when it is not
 * the one of the last call.  *diag names the file.
 * WEIR_ERR_CHANGED when its size is not what it was. */
WEIR_MUST_CHECK weir_err pack_read(struct pack_reader *r, uint32_t entry, uint64_t at, void *dst,
                                   size_t n, struct weir_diag *diag);
/* Lets go of the file of the last call. */
void pack_reader_release(struct pack_reader *r);

/* What one thread needs to choose codings. */
struct pack_chooser;

/* A choice for a segment, made from a sample of it. */
struct pack_choice {
    struct weir_coding *coding; /* owned; NULL: opaque */
    uint64_t sample_xxh3;       /* equal segments have equal samples */
};

/* pack_choose.c */
WEIR_MUST_CHECK weir_err pack_chooser_new(struct pack_chooser **out);
void pack_chooser_free(struct pack_chooser *c); /* NULL is fine */
/* Fills in *out; overwrites the buffers of *slot. */
WEIR_MUST_CHECK weir_err pack_choose(struct pack_chooser *c, struct pack_reader *r, uint32_t entry,
                                     uint32_t segment, const struct pack_slot *slot,
                                     struct pack_choice *out, struct weir_diag *diag);

/* What a coding takes in the index: bytes. */
size_t pack_coding_bytes(const struct weir_coding *coding);
/* The elements of a segment; NULL: no idea. */
const struct weir_elements *pack_elements(const struct pack *p, uint32_t entry, uint32_t segment);

#endif
