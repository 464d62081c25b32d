/* keep.h - weights that stay in memory from one pass to the next.
 *
 * What is kept is chosen once, in the order in which a pass needs it, as much as there may be; the
 * embeddings, of which a pass needs a few rows, come last.  BF16 goes into the resident form
 * (codec/resident.h), 12 bits a weight or, where rows are whole steps, 8, unless too much of it
 * would be exceptions; all else stays as it is.  Memory is filled by the first pass that goes
 * through a tensor, which has its rows at hand anyhow: nothing is read twice.  Where a row is taken
 * from changes no result.
 *
 * During a pass several threads look at and put rows, each row put by one of them at most. */
#ifndef WEIR_INFER_KEEP_PRIVATE_H
#define WEIR_INFER_KEEP_PRIVATE_H

#include <stdbool.h>

#include "kernels.h"
#include "model.h"

struct keep; /* opaque */

/* bytes   that all of it may take
 * plain   BF16 stays as it is, too: what the resident form is compared with
 * `model` is borrowed.  Reads a sample of each tensor.
 * WEIR_ERR_NOMEM, and what reading ends with. */
WEIR_MUST_CHECK weir_err keep_new(const struct weir_model *model, uint64_t bytes, bool plain,
                                  struct keep **out, struct weir_diag *diag);
void keep_free(struct keep *k); /* NULL is fine */

/* Memory that it takes when it is full, at most. */
uint64_t keep_bytes(const struct keep *k);

enum keep_form { KEEP_NOTHING, KEEP_PLAIN, KEEP_RESIDENT };

/* How a tensor is kept, and the bytes of memory that takes. */
enum keep_form keep_form_of(const struct keep *k, const struct weir_checkpoint_tensor *t,
                            uint64_t *bytes);

/* Rows that are kept, from `first` on. */
struct kept_rows {
    const uint8_t *plain; /* one behind the other; NULL: they are in `resident` */
    const struct weir_resident *resident;
};

/* Whether row `first` is there; *n (>= 1) becomes how many rows from there on, at most as many as
 * it was, are like it. */
bool keep_look(const struct keep *k, const struct weir_checkpoint_tensor *t, uint64_t first,
               uint64_t *n, struct kept_rows *out);

/* Keeps n rows, of as many bytes as the tensor's rows have, one behind the other, if they are to be
 * kept. */
void keep_put(struct keep *k, const struct weir_checkpoint_tensor *t, uint64_t first, uint64_t n,
              const uint8_t *rows);

/* Between passes: lets go of tensors that turned out to have too many exceptions. */
void keep_settle(struct keep *k);

/* Row `row` of a resident matrix with n_cols columns, as kernels take it. */
struct resident_row keep_resident_row(const struct weir_resident *r, uint64_t row, size_t n_cols);

#endif
