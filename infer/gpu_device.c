#include "gpu_device.h"

#include <stdlib.h>
#include <string.h>

enum {
    MARGIN_BYTES = 256 << 20, /* for code and recorded work, which nobody counts */
    MARGIN_SHARE = 64,        /* and this part of what is free */
};

weir_err weir_device_open(int number, struct weir_device **out, struct weir_diag *diag)
{
    struct weir_device *d = calloc(1, sizeof(*d));
    if (!d)
        return WEIR_ERR_NOMEM;
    struct weir_gpu_usage usage;
    weir_err err = weir_gpu_open(number, &d->gpu, diag);
    if (!err)
        err = weir_gpu_usage(d->gpu, &usage);
    if (err) {
        weir_device_close(d);
        return err;
    }
    const uint64_t margin = MARGIN_BYTES + usage.free_bytes / MARGIN_SHARE;
    weir_device_limit(d, usage.free_bytes > margin ? usage.free_bytes - margin : 0);
    *out = d;
    return WEIR_OK;
}

void weir_device_close(struct weir_device *d)
{
    if (!d)
        return;
    weir_gpu_blas_free(d->blas);
    weir_gpu_close(d->gpu);
    free(d);
}

weir_err weir_device_info(struct weir_device *d, struct weir_device_info *out)
{
    struct weir_gpu_info info;
    struct weir_gpu_usage usage;
    weir_err err = weir_gpu_usage(d->gpu, &usage);
    if (err)
        return err;
    weir_gpu_info(d->gpu, &info);
    *out = (struct weir_device_info){.memory_bytes = info.memory_bytes,
                                     .free_bytes = usage.free_bytes,
                                     .taken_bytes = usage.taken,
                                     .peak_bytes = usage.peak,
                                     .measured_bytes = usage.measured};
    _Static_assert(sizeof(out->name) == sizeof(info.name), "a device's name is the GPU's");
    memcpy(out->name, info.name, sizeof(out->name));
    return WEIR_OK;
}

void weir_device_limit(struct weir_device *d, uint64_t bytes)
{
    d->limit = bytes;
    weir_gpu_limit(d->gpu, bytes);
}

weir_err gpu_device_left(struct weir_device *d, uint64_t *bytes)
{
    struct weir_gpu_usage usage;
    weir_err err = weir_gpu_usage(d->gpu, &usage);
    if (!err)
        *bytes = d->limit > usage.taken ? d->limit - usage.taken : 0;
    return err;
}

uint64_t gpu_device_blas_bytes(const struct weir_device *d)
{
    return d->blas || d->no_blas ? 0 : WEIR_GPU_BLAS_BYTES;
}

weir_err gpu_device_blas(struct weir_device *d, struct weir_gpu_blas **out, struct weir_diag *diag)
{
    weir_err err = WEIR_OK;
    if (!d->blas && !d->no_blas)
        err = weir_gpu_blas_new(d->gpu, &d->blas, diag);
    if (err == WEIR_ERR_NOT_FOUND || err == WEIR_ERR_UNSUPPORTED) {
        d->no_blas = true;
        err = WEIR_OK;
    }
    if (!err)
        *out = d->blas;
    return err;
}
