/* checkpoint.h - the tensors and files of a model, wherever they lie: the runner's one way to
 * bytes.
 *
 * A checkpoint is a directory of a store, or plain files that somebody has opened.  In both,
 * tensors have names, and rows of them come as plain bytes, 128 KiB tiles at a time: of a store a
 * tile is decoded, of a plain file it is read.  Nobody who reads through here knows which of the
 * two it is.
 *
 * Which files hold the weights: those that model.safetensors.index.json names, if there is one;
 * else model.safetensors; else the only file that ends in .safetensors or .gguf.
 *
 * Safe on hostile input.  Threads share an open checkpoint; each brings its own weir_reader. */
#ifndef WEIR_INFER_CHECKPOINT_H
#define WEIR_INFER_CHECKPOINT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "codec/err.h"
#include "codec/source.h"
#include "codec/store.h"

#ifdef __cplusplus
extern "C" {
#endif

enum {
    WEIR_MAX_CHECKPOINT_FILES = 4096,
    WEIR_MAX_ROW_BYTES = 64 << 20, /* of a tensor; longer ones have no reader */
};

struct weir_checkpoint; /* opaque */

struct weir_checkpoint_file {
    const char *path;                 /* in the directory of the model: "config.json" */
    const struct weir_source *source; /* borrowed; outlives the checkpoint */
};

struct weir_checkpoint_tensor {
    struct weir_tensor form; /* a matrix's dim[0] counts its rows, also of a GGUF file's */
    uint64_t bytes;
    uint32_t file; /* private, as what follows: where it lies */
    uint32_t object;
    uint64_t offset;
    uint32_t tile_bytes; /* plain, of all tiles but the last */
};

/* Plain files.  Their list may go afterwards, the sources not.
 *
 * weights   the file that holds the weights, or NULL for the rule above
 * WEIR_ERR_NOT_FOUND    no weights, or several files that could be them; *diag says which
 * WEIR_ERR_CORRUPT      a file of weights is not well formed, two tensors have one name
 * WEIR_ERR_NOMEM, and what the sources return. */
WEIR_MUST_CHECK weir_err weir_checkpoint_from_files(const struct weir_checkpoint_file *file,
                                                    size_t n, const char *weights,
                                                    struct weir_checkpoint **out,
                                                    struct weir_diag *diag);

/* The directory `dir` ("" for the root) of an open store, which is borrowed.  Errors as above. */
WEIR_MUST_CHECK weir_err weir_checkpoint_from_store(const struct weir_store *store, const char *dir,
                                                    const char *weights,
                                                    struct weir_checkpoint **out,
                                                    struct weir_diag *diag);
void weir_checkpoint_free(struct weir_checkpoint *ck); /* NULL is fine */

/* Ascending by name (bytewise).  i < weir_checkpoint_n_tensors(). */
size_t weir_checkpoint_n_tensors(const struct weir_checkpoint *ck);
const struct weir_checkpoint_tensor *weir_checkpoint_tensor(const struct weir_checkpoint *ck,
                                                            size_t i);
/* NULL if there is none. */
const struct weir_checkpoint_tensor *weir_checkpoint_find(const struct weir_checkpoint *ck,
                                                          const char *name);

/* The file of weights if it is a GGUF file, NULL if not: its header says what config.json would. */
const char *weir_checkpoint_gguf(const struct weir_checkpoint *ck);

/* Bytes before the first tensor of the GGUF file. */
uint64_t weir_checkpoint_gguf_header_bytes(const struct weir_checkpoint *ck);

/* The first n bytes of a file, or all of it where n is UINT64_MAX, with a NUL behind them (not
 * counted in *n_out); freed by the caller with free().
 *
 * WEIR_ERR_NOT_FOUND     no such file
 * WEIR_ERR_UNSUPPORTED   it would be more than `ceiling` bytes
 * WEIR_ERR_NOMEM, and what reading ends with. */
WEIR_MUST_CHECK weir_err weir_checkpoint_read_file(const struct weir_checkpoint *ck,
                                                   const char *path, uint64_t n, size_t ceiling,
                                                   char **out, size_t *n_out,
                                                   struct weir_diag *diag);

/* What a thread needs to read: of a store a cursor; a tile, and room for a row between two tiles.
 */
struct weir_reader;

/* row_bytes   the longest row that will be asked for, at most WEIR_MAX_ROW_BYTES
 * WEIR_ERR_NOMEM. */
WEIR_MUST_CHECK weir_err weir_reader_new(const struct weir_checkpoint *ck, size_t row_bytes,
                                         struct weir_reader **out);
/* What it takes, bytes. */
size_t weir_reader_room(const struct weir_checkpoint *ck, size_t row_bytes);
void weir_reader_free(struct weir_reader *r); /* NULL is fine */

/* Rows first .. first + *n_out - 1 (1 <= *n_out <= n_rows) of `t`, each t->bytes / t->form.dim[0]
 * bytes, one behind the other at *rows: as many as lie together.  They stay until the next call
 * with this reader; undefined on error.  first + n_rows <= dim[0].
 *
 * WEIR_ERR_CORRUPT, WEIR_ERR_IO, ...   what reading ended with; *diag names the tensor */
WEIR_MUST_CHECK weir_err weir_reader_rows(struct weir_reader *r,
                                          const struct weir_checkpoint_tensor *t, uint64_t first,
                                          uint64_t n_rows, const uint8_t **rows, uint64_t *n_out,
                                          struct weir_diag *diag);

/* Rows first .. first + n_rows - 1 of `t` will be read soon: of a store that has to be fetched,
 * fetching may begin.  Returns at once. */
void weir_checkpoint_expect(const struct weir_checkpoint *ck,
                            const struct weir_checkpoint_tensor *t, uint64_t first,
                            uint64_t n_rows);

/* All bytes of a tensor into dst. */
WEIR_MUST_CHECK weir_err weir_reader_copy(struct weir_reader *r,
                                          const struct weir_checkpoint_tensor *t, uint8_t *dst,
                                          struct weir_diag *diag);

/* Plain bytes that this reader has read or decoded so far. */
uint64_t weir_reader_bytes(const struct weir_reader *r);

#ifdef __cplusplus
}
#endif

#endif
