/* kernels.h - the arithmetic over weights, pure functions over the caller's buffers.
 *
 * One struct of function pointers per instruction set.  All of them give the same bits, because the
 * order of the sum is fixed: column j of a row belongs to lane j mod 16; each lane starts at +0 and
 * takes its products in ascending order, each with one fused multiply-add; the tail is filled up
 * with zeros; then lane i takes lane i + 8, then i + 4, i + 2, i + 1.  So a result depends on the
 * row and the vector alone, never on how many of either were handled at once, on threads or on
 * where a row's bytes came from.  NaNs stay NaNs, with whatever payload.
 *
 * One is apart and is never chosen by itself: "avx512bf16".  Of BF16 rows, resident ones included,
 * its sums are other bits: the vector is rounded to BF16 (to nearest, ties to even), columns 2i and
 * 2i + 1 of each 32 belong to lane i, which takes 2i + 1 first, each with one fused multiply-add;
 * the lanes are added as above; numbers below 2^-126 count as zeros, before and after.  So the
 * processor's vdpbf16ps does it (as Intel describes the instruction).  It depends on nothing else,
 * either.
 *
 * Knows nothing of tensors, files or models. */
#ifndef WEIR_INFER_KERNELS_PRIVATE_H
#define WEIR_INFER_KERNELS_PRIVATE_H

#include <stddef.h>
#include <stdint.h>

#include "codec/resident.h"

enum { SUM_LANES = 16 };

enum number {
    NUMBER_F32 = 0,
    NUMBER_F16 = 1,
    NUMBER_BF16 = 2,
};

/* Rows of numbers, at any alignment. */
struct rows {
    const uint8_t *at;
    size_t stride; /* bytes from a row to the next */
    size_t n_rows, n_cols;
    enum number type;
};

/* Vectors of as many numbers as a row has columns, and zeros up to a multiple of SUM_LANES. */
struct vectors {
    const float *at;
    size_t stride; /* elements from a vector to the next, a multiple of SUM_LANES */
    size_t n;
};

/* A row in the resident form (codec/resident.h). */
struct resident_row {
    const uint8_t *blocks;
    const uint8_t *high; /* 16 high bytes by code; NULL: whole steps */
    float step;
    const struct weir_resident_exception *exception;
    size_t n_exceptions, n_cols;
};

struct math_kernels {
    const char *name;

    /* to[v * to_stride + r] = row r times vector v.  With several vectors F32 is fastest by far:
     * widen the rows once. */
    void (*dot)(const struct rows *w, const struct vectors *x, float *to, size_t to_stride);

    /* to[j] = sum over rows r, ascending, of weight[r] * row r's column j, with one fused
     * multiply-add each, from +0. */
    void (*blend)(const struct rows *w, const float *weight, float *to);

    /* n numbers, exactly.  F32 is copied. */
    void (*widen)(enum number type, const uint8_t *from, size_t n, float *to);

    /* The row times x, which has zeros up to a multiple of SUM_LANES: decoded in registers.  What
     * dot() would give for the row's plain numbers. */
    float (*dot_resident)(const struct resident_row *row, const float *x);

    /* The row's numbers, and whatever up to a multiple of WEIR_RESIDENT_BLOCK. */
    void (*widen_resident)(const struct resident_row *row, float *to);

    /* NULL but where BF16 rows are best left as they are, also with several vectors: the row's
     * weights, and zeros up to a multiple of WEIR_RESIDENT_BLOCK. */
    void (*unpack_resident)(const struct resident_row *row, uint16_t *to);
};

extern const struct math_kernels math_kernels_scalar;
#ifdef WEIR_X86_KERNELS
extern const struct math_kernels math_kernels_avx2;
extern const struct math_kernels math_kernels_avx512, math_kernels_avx512bf16;
#endif

/* The fastest that this processor runs, of those with the same bits. */
const struct math_kernels *math_kernels_best(void);

/* "scalar", "avx2", "avx512" or "avx512bf16"; NULL if unknown or if this processor cannot run it.
 */
const struct math_kernels *math_kernels_named(const char *name);

/* k, or of those with the usual bits what is like k. */
const struct math_kernels *math_kernels_exact(const struct math_kernels *k);

static inline size_t number_bytes(enum number type)
{
    return type == NUMBER_F32 ? 4 : 2;
}

/* n rounded up to whole lanes. */
static inline size_t whole_lanes(size_t n)
{
    return (n + SUM_LANES - 1) / SUM_LANES * SUM_LANES;
}

#endif
