/* quantise.h - weights that become near: each a multiple of a step of its row, to within half a
 * step of what it was (docs/format.md, 5.1; "q8").
 *
 * A row is row_elements neighbours.  Its nominal step is a share, S, of the root of its mean
 * square; the grid that weights are multiples of, the row's scale in the store, is a little
 * narrower, so that rounding the product to the tensor's type seldom takes it out of half a
 * nominal step.  What is out all the same, and what is no number or a negative zero, is kept as it
 * was: an exception.
 *
 * The same results for every kernel, machine and number of threads: sums in a fixed order, no libm
 * but sqrt.  Knows nothing of files.  Its functions are pure; any bytes are fine as weights. */
#ifndef WEIR_CODEC_QUANTISE_H
#define WEIR_CODEC_QUANTISE_H

#include <stddef.h>
#include <stdint.h>

#include "codec/err.h"
#include "codec/store.h"
#include "codec/tile.h"

#ifdef __cplusplus
extern "C" {
#endif

enum {
    WEIR_QUANTISE_MIN_ROW = 64,        /* elements: a scale costs 32 bits */
    WEIR_QUANTISE_MIN_BYTES = 1 << 16, /* of a tensor: less is not worth an error */
};

/* How near: exactly one of the three is above 0, or none, which stands for the default step. */
struct weir_near {
    float step;   /* S, 0.0005 to 1 */
    double snr;   /* decibels that every tensor reaches at least, 0 to 60 */
    double ratio; /* plain bytes per stored byte that a sample of each tensor reaches, 1 to 16 */
};

#define WEIR_QUANTISE_STEP 0.0808F /* by default: 33.5 dB of normally distributed weights */

/* What a tensor's elements are and how long its rows.  The fewest innermost dimensions that have
 * WEIR_QUANTISE_MIN_ROW elements together make a row, the first dimension left out: [out, in],
 * [experts, out, in], and [out, in, height, width] come out right.
 * false: not to be quantised, for its type, its shape or its size. */
struct weir_rows {
    enum weir_float type;
    uint32_t n_elements; /* in a row */
    uint64_t n_rows;
};
bool weir_quantise_rows(const struct weir_tensor *tensor, struct weir_rows *out);

/* Whether a tensor is one to become near, going by type, shape and name: floats in two or more
 * dimensions, linear layers and convolutions, that is, the one that gives the logits among them; no
 * norms, no biases, and embeddings (tokens, positions) only on demand.  A tied embedding is one. */
bool weir_near_wants(const struct weir_tensor *tensor, bool embeddings);

/* 2 or 4 bytes. */
size_t weir_float_bytes(enum weir_float type);

/* The root of the mean square of a row of n elements, and adds the squares to *signal.  What is not
 * finite counts as 0. */
float weir_quantise_rms(const struct weir_kernels *kernels, enum weir_float type,
                        const uint8_t *row, size_t n, double *signal);

/* What the steps of a tensor's rows are. */
struct weir_step {
    float share; /* S: the nominal step, as a share of the root of the row's mean square */
    float grid;  /* what weights are multiples of, as a share of the nominal step; below 1 */
};

/* Chooses coding and steps for a tensor, judged on some of its rows.
 *
 * shape            type and n_elements of a row, and how many rows are given
 * rows             so many whole rows
 * near             checked by weir_near_check()
 * *out             a new coding, freed by the caller with free(); NULL if nothing is to be gained,
 *                  or if `near` is beyond what 16-bit items reach
 * *bits_per_byte   what it stores per plain byte on the sample
 * WEIR_ERR_NOMEM. */
WEIR_MUST_CHECK weir_err weir_quantise_choose(const struct weir_kernels *kernels,
                                              const struct weir_rows *shape, const uint8_t *rows,
                                              const struct weir_near *near,
                                              struct weir_coding **out, struct weir_step *step,
                                              double *bits_per_byte);

/* WEIR_ERR_INVALID against the rules above. */
WEIR_MUST_CHECK weir_err weir_near_check(const struct weir_near *near);

/* Whether noise is low enough against signal for `near`: always, unless it asks for an SNR.  If it
 * is not, the steps become what will probably do, going by both. */
bool weir_near_reached(const struct weir_near *near, double signal, double noise,
                       struct weir_step *step);

/* n elements of a tensor with that coding, from `column` of a row on.
 *
 * rms       of that row and the following ones, as many as the elements touch
 * items     2 bytes for each element
 * made      what will be decoded: as long as `elements`
 * scales    one for each row that is touched
 * nearness  NULL, or what noise and largest are added to */
struct weir_quantise_job {
    const struct weir_coding *coding;
    struct weir_step step;
    uint32_t column;
    const float *rms;
    struct weir_nearness *nearness;
};
void weir_quantise(const struct weir_kernels *kernels, const struct weir_quantise_job *job,
                   const uint8_t *elements, size_t n, uint8_t *items, uint8_t *made, float *scales);

/* Adds b to a: the sums, and the larger of the rest. */
void weir_nearness_add(struct weir_nearness *a, const struct weir_nearness *b);
/* Decibels; INFINITY without noise. */
double weir_nearness_snr(const struct weir_nearness *nearness);

/* Holds n elements that a store gives against those that were packed; both are of one row, whose
 * nominal step is given.  Adds to signal, noise and largest.  Returns which is the first that is
 * out of its bound, n for none. */
size_t weir_nearness_measure(const struct weir_kernels *kernels, const struct weir_coding *coding,
                             float step, const uint8_t *packed, const uint8_t *given, size_t n,
                             struct weir_nearness *nearness);

#ifdef __cplusplus
}
#endif

#endif
