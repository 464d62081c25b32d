/* measure_device.h - how fast a GPU copies, decodes and multiplies: for plans. */
#ifndef WEIR_INFER_MEASURE_DEVICE_H
#define WEIR_INFER_MEASURE_DEVICE_H

#include <stddef.h>
#include <stdint.h>

#include "codec/err.h"

#ifdef __cplusplus
extern "C" {
#endif

enum {
    WEIR_MOST_CROSSINGS = 16,
    WEIR_MOST_CROSSING = 64, /* vectors of one multiplication */
};

/* A matrix in 12 bits a weight, and from how many vectors on it is faster to unpack it and to
 * multiply by a library. */
struct weir_device_crossing {
    uint32_t n_rows, n_columns;
    uint32_t vectors;    /* 0: not up to what one multiplication takes, or there is no library */
    double packed, rows; /* plain bytes of weights a second times one vector: in 12 bits, as BF16 */
    double most_odd;     /* the share of exceptions up to which 12 bits take at most a tenth more
                            time than BF16 does; < 0: not measured */
};

/* Bytes a second. */
struct weir_device_measured {
    char name[128];
    uint64_t memory_bytes;
    double copy;               /* within device memory: read plus written */
    double to_device, to_host; /* of pinned memory */
    double decode;             /* plain, out of tiles of a store */
    size_t n_crossings;
    struct weir_device_crossing crossing[WEIR_MOST_CROSSINGS];
};

/* GPU number `number`; takes 1.2 GB of its memory, and a second or two.
 *
 * WEIR_ERR_NOT_FOUND, WEIR_ERR_UNSUPPORTED   as weir_device_open()
 * WEIR_ERR_NOMEM, WEIR_ERR_IO */
WEIR_MUST_CHECK weir_err weir_device_measure(int number, struct weir_device_measured *out,
                                             struct weir_diag *diag);

#ifdef __cplusplus
}
#endif

#endif
