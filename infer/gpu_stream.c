/* Parts that do not stay: brought again for each pass. */
#include "gpu_weights_private.h"

weir_err gpu_stream_take(struct gpu_weights *w, uint32_t part, struct weir_gpu_stream *s,
                         struct gpu_laid *out, struct weir_diag *diag)
{
    (void)w, (void)part, (void)s, (void)out;
    weir_diag_set(diag, "weights that stream are not there yet");
    return WEIR_ERR_UNSUPPORTED;
}

weir_err gpu_stream_give(struct gpu_weights *w, uint32_t part, struct weir_gpu_stream *s)
{
    (void)w, (void)part, (void)s;
    return WEIR_OK;
}

weir_err gpu_stream_verify_wait(struct gpu_weights *w, struct weir_diag *diag)
{
    (void)w, (void)diag;
    return WEIR_OK;
}

void gpu_stream_counts(const struct gpu_weights *w, struct weir_device_counts *out)
{
    (void)w, (void)out;
}
