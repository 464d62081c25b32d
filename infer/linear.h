/* linear.h - matrices of the model times vectors: the loop in which nearly all time goes by.
 *
 * Rows are handed out to the threads by the tiles they begin in, some tiles at a time, so that each
 * tile is decoded once for all vectors (but for a row that begins in one unit and ends in the
 * next).  How they are handed out changes no result. */
#ifndef WEIR_INFER_LINEAR_PRIVATE_H
#define WEIR_INFER_LINEAR_PRIVATE_H

#include "keep.h"
#include "kernels.h"
#include "model.h"
#include "pool.h"

enum { LINEAR_MAX_JOBS = 3 }; /* q, k, v */

/* to[v * to_stride + r] = row r of the matrix times vector v, plus its bias. */
struct linear_job {
    const struct weir_matrix *matrix;
    float *to;
    size_t to_stride;
};

struct linear; /* opaque */

/* most_cols: of a matrix.  `pool`, `kernels` and `keep` (NULL: nothing is kept) are borrowed.
 * WEIR_ERR_NOMEM, WEIR_ERR_INVALID. */
WEIR_MUST_CHECK weir_err linear_new(const struct weir_model *model, struct pool *pool,
                                    const struct math_kernels *kernels, struct keep *keep,
                                    size_t most_cols, struct linear **out);
void linear_free(struct linear *l); /* NULL is fine */

/* What each thread of it has, bytes. */
size_t linear_hand_bytes(const struct weir_model *model, size_t most_cols);

/* Up to LINEAR_MAX_JOBS matrices times the same vectors.  What reading ends with. */
WEIR_MUST_CHECK weir_err linear_run(struct linear *l, const struct linear_job *job, size_t n_jobs,
                                    const struct vectors *x, struct weir_diag *diag);

/* Row `row` of a matrix, widened to n_cols numbers, by worker `worker`. */
WEIR_MUST_CHECK weir_err linear_row(struct linear *l, unsigned worker, const struct weir_matrix *m,
                                    uint32_t row, float *to, struct weir_diag *diag);

/* The matrix will be needed soon: what of it is not kept may be fetched. */
void linear_expect(const struct linear *l, const struct weir_matrix *m);

/* Plain bytes of weights used so far, and those of them that were read or decoded. */
uint64_t linear_used_bytes(const struct linear *l);
uint64_t linear_read_bytes(const struct linear *l);

#endif
