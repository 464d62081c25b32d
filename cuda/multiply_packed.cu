#include "multiply_launch.cuh"

weir_err multiply_packed(struct weir_gpu_stream *s, const struct multiply_job *job, uint32_t groups)
{
    return launch_for_batch<packed_step>(s, *job, groups);
}

weir_err multiply_packed_around(struct weir_gpu_stream *s, const struct multiply_job *job,
                                const struct multiply_around *around)
{
    return launch_around<struct packed_step>(s, *job, *around);
}
