/* device.h in a build without CUDA. */
#include "device.h"

static weir_err refuse(struct weir_diag *diag)
{
    weir_diag_set(diag, "this program was built without CUDA (WEIR_CUDA=ON, which needs nvcc)");
    return WEIR_ERR_UNSUPPORTED;
}

weir_err weir_device_open(int number, struct weir_device **out, struct weir_diag *diag)
{
    (void)number;
    (void)out;
    return refuse(diag);
}

void weir_device_close(struct weir_device *d)
{
    (void)d;
}

weir_err weir_device_info(struct weir_device *d, struct weir_device_info *out)
{
    (void)d;
    (void)out;
    return WEIR_ERR_UNSUPPORTED;
}

void weir_device_limit(struct weir_device *d, uint64_t bytes)
{
    (void)d;
    (void)bytes;
}

weir_err weir_device_graph_new(struct weir_device *d, const struct weir_model *model,
                               const struct weir_graph_options *options,
                               const struct weir_device_rules *rules, struct weir_graph **out,
                               struct weir_diag *diag)
{
    (void)d;
    (void)model;
    (void)options;
    (void)rules;
    (void)out;
    return refuse(diag);
}

weir_err weir_device_graph_needs(const struct weir_model *model,
                                 const struct weir_graph_options *options,
                                 const struct weir_device_rules *rules,
                                 struct weir_device_needs *out, struct weir_diag *diag)
{
    (void)model;
    (void)options;
    (void)rules;
    (void)out;
    return refuse(diag);
}

struct weir_device_counts weir_device_graph_counts(const struct weir_graph *g)
{
    (void)g;
    return (struct weir_device_counts){.n_layers = 0};
}
