/* measure.h - how fast this machine multiplies a vector with weights that lie in its memory or come
 * from a file that its page cache holds: for plans. */
#ifndef WEIR_INFER_MEASURE_H
#define WEIR_INFER_MEASURE_H

#include <stddef.h>

#include "codec/err.h"

#ifdef __cplusplus
extern "C" {
#endif

/* Plain bytes of BF16 weights a second. */
struct weir_rate {
    double one; /* by one thread */
    double all; /* by all of them together */
};

struct weir_measured {
    struct weir_rate plain;    /* in memory as they are */
    struct weir_rate resident; /* in memory, 12 bits a weight (codec/resident.h) */
    struct weir_rate store;    /* tiles of a store: read, decoded, multiplied */
    struct weir_rate files;    /* of plain files: read, multiplied */
    double round_seconds;      /* to hand work out to all threads and wait for them */
    double row_seconds;        /* of one thread for a row, beside what its weights take */
    unsigned threads;
    const char *kernels; /* static */
};

/* n_threads: 0 is one per processor.  bytes: of weights, plain; more than the caches hold.  fd: an
 * empty file that may be written to, borrowed, 110 MB at most; -1: one in memory, which some
 * systems read more slowly.
 * WEIR_ERR_NOMEM, WEIR_ERR_INVALID; WEIR_ERR_IO: the file could not be made or written to. */
WEIR_MUST_CHECK weir_err weir_measure(unsigned n_threads, size_t bytes, int fd,
                                      struct weir_measured *out);

#ifdef __cplusplus
}
#endif

#endif
