#include "multiply_kernel.cuh"

weir_err multiply_packed(struct weir_gpu_stream *s, struct multiply_job *job)
{
    return launch_for_batch<packed_ring>(s, job);
}
