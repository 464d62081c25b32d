#include "multiply_launch.cuh"

weir_err multiply_rows(struct weir_gpu_stream *s, const struct multiply_job *job, uint32_t groups)
{
    return launch_for_batch<rows_step>(s, *job, groups);
}

weir_err multiply_rows_around(struct weir_gpu_stream *s, const struct multiply_job *job,
                              const struct multiply_around *around)
{
    return launch_around<struct rows_step>(s, *job, *around);
}
