/* measure.h - how fast this machine multiplies weights that lie in its memory: for plans. */
#ifndef WEIR_INFER_MEASURE_H
#define WEIR_INFER_MEASURE_H

#include <stddef.h>

#include "codec/err.h"

#ifdef __cplusplus
extern "C" {
#endif

/* Plain bytes of BF16 weights a second, times one vector, by all threads. */
struct weir_measured {
    double plain;    /* that lie there as they are */
    double resident; /* in 12 bits a weight (codec/resident.h) */
    unsigned threads;
    const char *kernels; /* static */
};

/* n_threads: 0 is one per processor.  bytes: of weights, plain; more than the caches hold.
 * WEIR_ERR_NOMEM, WEIR_ERR_INVALID. */
WEIR_MUST_CHECK weir_err weir_measure(unsigned n_threads, size_t bytes, struct weir_measured *out);

#ifdef __cplusplus
}
#endif

#endif
