/* matrix.h - BF16 matrices in device memory, and vectors times them: the multiplication in which a
 * token's time goes by.
 *
 * A matrix lies there in one of three forms:
 *
 *   WEIR_GPU_ROWS    BF16, row by row, as tensors of checkpoints are
 *   WEIR_GPU_PACKED  the resident form: 12.07 bits a weight, decoded in registers.  It is made from
 *                    rows on the device; `form.h` is the same on the CPU and describes it
 *   WEIR_GPU_Q8      the resident form of weights that are whole steps of their row: 7.13 bits and
 *                    exceptions; `form_q8.h`
 *
 * The multiplication of a vector adds up its products in one order, which depends on the number of
 * columns alone: the same bits from any form, whichever other vectors are multiplied with in the
 * same launch, whatever the place among them, on every device of one compute capability.  Sums are
 * F32 in the tensor cores, products exact. */
#ifndef WEIR_CUDA_MATRIX_H
#define WEIR_CUDA_MATRIX_H

#include "cuda/gpu.h"

#ifdef __cplusplus
extern "C" {
#endif

enum {
    WEIR_GPU_MOST_VECTORS = 64, /* of one weir_gpu_multiply() */
};

enum weir_gpu_form { WEIR_GPU_ROWS, WEIR_GPU_PACKED, WEIR_GPU_Q8 };

/* A matrix in device memory of the caller's.  Plain data: may be copied, and points into it. */
struct weir_gpu_matrix {
    enum weir_gpu_form form;
    uint32_t n_rows, n_columns;
    /* the first weight of the first row (aligned to 16 bytes), or the first unit */
    void *at;
    /* WEIR_GPU_PACKED, WEIR_GPU_Q8 */
    void *lines;      /* lists of exceptions, WEIR_FORM_LINE words a line */
    uint32_t *counts; /* [0]: lines in use, [1]: exceptions, [2]: of them in lines; on the device */
    uint32_t most_lines;
    uint8_t high[8]; /* WEIR_GPU_PACKED: the high bytes without sign that have codes */
    void *steps;     /* WEIR_GPU_Q8: scaled, of each 16 rows */
};

/* ---- the resident form ---- */

/* What a matrix of that form takes, all counted: bytes.  `exceptions` expected of it (not
 * in WEIR_GPU_ROWS; there is room for some more). */
uint64_t weir_gpu_matrix_bytes(enum weir_gpu_form form, uint32_t n_rows, uint32_t n_columns,
                               uint64_t exceptions);

/* Lays a packed matrix out in weir_gpu_matrix_bytes() of device memory at `room` (aligned to
 * WEIR_GPU_ALIGN) and queues what makes it empty.  `high` comes from weir_form_choose(); any table
 * is right, a bad one has more exceptions.  WEIR_ERR_INVALID: no rows or columns. */
WEIR_MUST_CHECK weir_err weir_gpu_matrix_begin(struct weir_gpu_stream *s, void *room,
                                               uint32_t n_rows, uint32_t n_columns,
                                               uint64_t exceptions, const uint8_t high[8],
                                               struct weir_gpu_matrix *out);

/* The same of WEIR_GPU_Q8.  Any matrix is right; one whose rows are no whole steps has nothing but
 * exceptions.  Here, and in weir_gpu_matrix_bytes() and _check_wait(), `exceptions` are those in
 * units that have more than WEIR_FORM_Q8_INLINE: others come along. */
WEIR_MUST_CHECK weir_err weir_gpu_matrix_begin_q8(struct weir_gpu_stream *s, void *room,
                                                  uint32_t n_rows, uint32_t n_columns,
                                                  uint64_t exceptions, struct weir_gpu_matrix *out);

/* Queues the packing of rows first_row .. first_row + n_rows - 1, which lie one behind the other at
 * `rows` (device memory, aligned to 16 bytes).  Each row once; first_row a multiple of 16, and
 * n_rows too unless they are the last, else WEIR_ERR_INVALID.  More exceptions than there is room
 * for are counted, and nothing else is touched. */
WEIR_MUST_CHECK weir_err weir_gpu_matrix_pack(struct weir_gpu_stream *s,
                                              const struct weir_gpu_matrix *m, uint32_t first_row,
                                              uint32_t n_rows, const void *rows);

/* Waits; whether all exceptions found room.  *fits false: the matrix is of no use.  *exceptions may
 * be NULL. */
WEIR_MUST_CHECK weir_err weir_gpu_matrix_check_wait(struct weir_gpu_stream *s,
                                                    const struct weir_gpu_matrix *m, bool *fits,
                                                    uint64_t *exceptions);

/* Queues the way back, of either form: rows first_row .. into rows[n_rows][n_columns] of BF16
 * (aligned to 16 bytes), the very bits.  The same multiples of 16. */
WEIR_MUST_CHECK weir_err weir_gpu_matrix_unpack(struct weir_gpu_stream *s,
                                                const struct weir_gpu_matrix *m, uint32_t first_row,
                                                uint32_t n_rows, void *rows);

/* Rows row[0 .. n) (device memory; a row too large is taken for 0), widened to F32 and times
 * `scale`, into to[i * to_stride]. */
WEIR_MUST_CHECK weir_err weir_gpu_matrix_pick(struct weir_gpu_stream *s,
                                              const struct weir_gpu_matrix *m, const uint32_t *row,
                                              uint32_t n, float scale, float *to, size_t to_stride);

/* ---- vectors ---- */

/* How BF16 vectors lie for a multiplication. */
enum weir_gpu_layout {
    WEIR_GPU_FRAGMENTS, /* as the tensor cores take them (fragment.cuh); for weir_gpu_multiply() */
    WEIR_GPU_LINES,     /* one behind the other, n_columns each; for weir_gpu_multiply_many() */
};

/* Bytes of n vectors (FRAGMENTS: n <= WEIR_GPU_MOST_VECTORS), padding counted.  Whoever makes
 * vectors writes all of it, zeros as padding. */
size_t weir_gpu_vectors_bytes(enum weir_gpu_layout layout, uint32_t n_columns, uint32_t n);

/* Rounds n F32 vectors (from[i * from_stride], device memory) into a layout: for tests, and for who
 * has nothing better to do it in. */
WEIR_MUST_CHECK weir_err weir_gpu_vectors_make(struct weir_gpu_stream *s,
                                               enum weir_gpu_layout layout, const float *from,
                                               size_t from_stride, uint32_t n_columns, uint32_t n,
                                               void *to);

/* ---- products ---- */

/* to[i * to_stride + r] = row r of the matrix times vector i. */
struct weir_gpu_product {
    const struct weir_gpu_matrix *matrix;
    const void *vectors;
    uint32_t n;
    float *to;
    size_t to_stride;
    bool fresh; /* the weights may be written by what is still queued ahead: their fetching waits
                   for that.  Otherwise it begins while kernels ahead still run */
};

/* 1 <= n <= WEIR_GPU_MOST_VECTORS, else WEIR_ERR_INVALID; vectors as WEIR_GPU_FRAGMENTS.  Any
 * numbers of rows and columns.  WEIR_GPU_ROWS: a pitch of n_columns elements; rows that are no
 * multiple of 8 of them are slow. */
WEIR_MUST_CHECK weir_err weir_gpu_multiply(struct weir_gpu_stream *s,
                                           const struct weir_gpu_product *product);

struct weir_gpu_blas; /* a library's matrix multiplication, loaded when first asked for */

/* What counts as taken for it while it lives: its workspace, and what its handle may take (97 MiB
 * together on an H200).  Not by how much free memory falls meanwhile: that of other programs, which
 * begin at the same time, falls there, too, and what fits would change from run to run. */
enum { WEIR_GPU_BLAS_BYTES = 112 << 20 };

/* Loads cuBLAS, which is no part of this program.  WEIR_ERR_NOT_FOUND: *diag says what is missing.
 * WEIR_ERR_NOMEM: it does not fit within the limit; that is looked at before the library takes
 * anything. */
WEIR_MUST_CHECK weir_err weir_gpu_blas_new(struct weir_gpu *gpu, struct weir_gpu_blas **out,
                                           struct weir_diag *diag);
void weir_gpu_blas_free(struct weir_gpu_blas *blas); /* NULL is fine */

/* Many vectors (WEIR_GPU_LINES), a matrix of WEIR_GPU_ROWS, else WEIR_ERR_INVALID; F32 out.  The
 * result depends on n.  Streams take turns: one after the other is done. */
WEIR_MUST_CHECK weir_err weir_gpu_multiply_many(struct weir_gpu_blas *blas,
                                                struct weir_gpu_stream *s,
                                                const struct weir_gpu_product *product);

#ifdef __cplusplus
}
#endif

#endif
