/* gpu_private.h - what the .cu files share: the objects of gpu.h from inside, errors, launches. */
#ifndef WEIR_CUDA_GPU_PRIVATE_H
#define WEIR_CUDA_GPU_PRIVATE_H

#include <cuda_runtime.h>

#include "cuda/gpu.h"

struct weir_gpu {
    int device;
    struct weir_gpu_info info;
    uint64_t limit, taken, peak;
    uint64_t free_at_start;
    struct gpu_block *blocks; /* device memory that is out */
    struct gpu_block *pinned; /* large pieces of pinned memory that are out */
};

struct weir_gpu_stream {
    struct weir_gpu *gpu;
    cudaStream_t cuda;
};

struct weir_gpu_event {
    cudaEvent_t cuda;
};

static inline weir_err gpu_err(cudaError_t e)
{
    if (e == cudaSuccess)
        return WEIR_OK;
    return e == cudaErrorMemoryAllocation ? WEIR_ERR_NOMEM : WEIR_ERR_IO;
}

#ifdef __CUDACC__
/* Programmatic dependent launch: a kernel that was launched as `early` may start while the one
 * before it in the stream still runs.  Every kernel that may be launched so calls
 * gpu_let_next_begin() early and gpu_wait_for_previous() before it reads or writes anything that
 * other work of the stream touches.  Without the attribute, or before sm_90, both do nothing. */
static __device__ __forceinline__ void gpu_let_next_begin(void)
{
#if __CUDA_ARCH__ >= 900
    asm volatile("griddepcontrol.launch_dependents;");
#endif
}

static __device__ __forceinline__ void gpu_wait_for_previous(void)
{
#if __CUDA_ARCH__ >= 900
    asm volatile("griddepcontrol.wait;" ::: "memory");
#endif
}

struct gpu_grid {
    dim3 blocks, threads;
    size_t shared_bytes;
    bool early;
};

template <class... P, class... A>
static weir_err gpu_launch(struct weir_gpu_stream *s, const struct gpu_grid &grid,
                           void (*kernel)(P...), A... args)
{
    cudaLaunchConfig_t config = {};
    cudaLaunchAttribute attribute = {};
    config.gridDim = grid.blocks;
    config.blockDim = grid.threads;
    config.dynamicSmemBytes = grid.shared_bytes;
    config.stream = s->cuda;
    attribute.id = cudaLaunchAttributeProgrammaticStreamSerialization;
    attribute.val.programmaticStreamSerializationAllowed = 1;
    config.attrs = &attribute;
    config.numAttrs = grid.early && s->gpu->info.major >= 9 ? 1 : 0;
    cudaError_t e = cudaLaunchKernelEx(&config, kernel, static_cast<P>(args)...);
    if (e == cudaSuccess)
        e = cudaGetLastError();
    return gpu_err(e);
}
#endif

#endif
