/* checkpoint_private.h - a checkpoint from inside. */
#ifndef WEIR_INFER_CHECKPOINT_PRIVATE_H
#define WEIR_INFER_CHECKPOINT_PRIVATE_H

#include "checkpoint.h"

/* One of the two is set. */
struct checkpoint_file {
    char *path; /* owned */
    uint64_t size;
    const struct weir_entry *entry;   /* the store's */
    const struct weir_source *source; /* a plain file's */
    char *strings;                    /* what its tensors' names point into, owned; may be NULL */
};

struct weir_checkpoint {
    const struct weir_store *store; /* NULL: plain files */
    size_t n_files;
    struct checkpoint_file *file;
    size_t n_tensors, room; /* room: of tensor[] */
    struct weir_checkpoint_tensor *tensor;
    const struct checkpoint_file *gguf; /* NULL: not a GGUF file */
    uint64_t gguf_header_bytes;
};

struct checkpoint_file *checkpoint_file(const struct weir_checkpoint *ck, const char *path);

/* n bytes of a file from `at`; the range has been checked. */
WEIR_MUST_CHECK weir_err checkpoint_read(const struct weir_checkpoint *ck,
                                         const struct checkpoint_file *f, uint64_t at, uint8_t *dst,
                                         uint64_t n, struct weir_diag *diag);

/* Finds the files of weights among ck->file and marks them.  marked: n_files flags, zeroed.
 * Errors as weir_checkpoint_from_files(). */
WEIR_MUST_CHECK weir_err checkpoint_choose(const struct weir_checkpoint *ck, const char *weights,
                                           bool *marked, struct weir_diag *diag);

#endif
