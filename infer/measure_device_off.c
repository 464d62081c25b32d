/* measure_device.h in a build without CUDA. */
#include "measure_device.h"

weir_err weir_device_measure(int number, struct weir_device_measured *out, struct weir_diag *diag)
{
    (void)number;
    (void)out;
    weir_diag_set(diag, "this weir was built without CUDA");
    return WEIR_ERR_UNSUPPORTED;
}
