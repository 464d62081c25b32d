/* quantise_row.h - elements of one row to items: what quantise.c and quantise_choose.c share. */
#ifndef WEIR_CODEC_QUANTISE_ROW_PRIVATE_H
#define WEIR_CODEC_QUANTISE_ROW_PRIVATE_H

#include "codec/quantise.h"
#include "kernels.h"

struct quantiser {
    const struct weir_kernels *kernels;
    const struct weir_transform *transform; /* made is step.type */
    struct quantise_step step;              /* first and last are the caller's */
    bool measure;                           /* what follows is wanted */
    double noise[SUM_LANES];
    float largest; /* error, in nominal steps */
    uint64_t n_exceptions;
};

/* The steps of a row with that root of the mean square. */
void quantiser_use(struct quantiser *q, const struct weir_step *step, float rms);

/* n elements of that row. */
void quantiser_run(struct quantiser *q, const uint8_t *elements, size_t n, uint8_t *items,
                   uint8_t *made);

/* The columns of a sum, always in one order. */
double quantiser_sum(const double lane[SUM_LANES]);

#endif
