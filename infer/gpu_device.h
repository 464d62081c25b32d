/* gpu_device.h - a device from inside. */
#ifndef WEIR_INFER_GPU_DEVICE_PRIVATE_H
#define WEIR_INFER_GPU_DEVICE_PRIVATE_H

#include "cuda/matrix.h"
#include "device.h"

struct weir_device {
    struct weir_gpu *gpu;
    uint64_t limit;
    struct weir_gpu_blas *blas; /* NULL: not asked for yet, or there is none */
    bool no_blas;               /* it was asked for */
};

/* Device memory that may still be taken. */
WEIR_MUST_CHECK weir_err gpu_device_left(struct weir_device *d, uint64_t *bytes);

/* What the library may still take, at most; 0: it is there, or there is none. */
uint64_t gpu_device_blas_bytes(const struct weir_device *d);

/* The library for many vectors; *out is NULL where there is none.  It stays the device's.
 * WEIR_ERR_NOMEM. */
WEIR_MUST_CHECK weir_err gpu_device_blas(struct weir_device *d, struct weir_gpu_blas **out,
                                         struct weir_diag *diag);

#endif
