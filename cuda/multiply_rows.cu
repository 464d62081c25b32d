#include "multiply_kernel.cuh"

weir_err multiply_rows(struct weir_gpu_stream *s, struct multiply_job *job)
{
    return launch_for_batch<rows_ring>(s, job);
}
