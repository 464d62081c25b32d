/* multiply_launch.cuh - which kernel a multiplication takes, and how it is launched. */
#ifndef WEIR_CUDA_MULTIPLY_LAUNCH_CUH
#define WEIR_CUDA_MULTIPLY_LAUNCH_CUH

#include "multiply_kernel.cuh"

enum { MOST_GROUPS = 4 /* of one launch */ };

/* Slots for each ring, and shared bytes of a block; no slots: it does not fit this device. */
struct multiply_room {
    uint32_t n_slots;
    size_t bytes;
};

/* `blocks` of them on a processor, or one if that is too many. */
static cudaError_t measure_room(int device, size_t fixed_bytes, size_t static_bytes,
                                size_t slot_bytes, int blocks, struct multiply_room *out)
{
    int most = 0, of_processor = 0, reserved = 0;
    cudaError_t e = cudaDeviceGetAttribute(&most, cudaDevAttrMaxSharedMemoryPerBlockOptin, device);
    if (e == cudaSuccess)
        e = cudaDeviceGetAttribute(&of_processor, cudaDevAttrMaxSharedMemoryPerMultiprocessor,
                                   device);
    if (e == cudaSuccess)
        e = cudaDeviceGetAttribute(&reserved, cudaDevAttrReservedSharedMemoryPerBlock, device);
    if (e != cudaSuccess)
        return e;
    size_t bytes = (size_t)(of_processor / blocks - reserved);
    if (bytes > (size_t)most || bytes < static_bytes + fixed_bytes + 2 * slot_bytes)
        bytes = (size_t)most;
    const size_t taken = static_bytes + fixed_bytes;
    const size_t slots = bytes > taken ? (bytes - taken) / slot_bytes : 0;
    out->n_slots = slots < MOST_SLOTS ? (uint32_t)slots : MOST_SLOTS;
    out->bytes = fixed_bytes + out->n_slots * slot_bytes;
    return cudaSuccess;
}

template <class RING, int GROUPS>
static weir_err launch_multiply(struct weir_gpu_stream *s, struct multiply_job job, bool *fits)
{
    using B = batch<GROUPS>;
    struct multiply_room room = {};
    const size_t static_bytes = (B::WARPS * MOST_SLOTS + B::K * 2 * X_SLOTS) * sizeof(uint64_t);
    cudaError_t e = measure_room(s->gpu->device, B::FIXED_BYTES, static_bytes,
                                 (size_t)B::WARPS * RING::SLOT_BYTES, B::BLOCKS, &room);
    *fits = e != cudaSuccess || room.n_slots > 0;
    if (!*fits)
        return WEIR_OK;
    if (e == cudaSuccess)
        e = cudaFuncSetAttribute(multiply<RING, GROUPS>,
                                 cudaFuncAttributeMaxDynamicSharedMemorySize, (int)room.bytes);
    if (e != cudaSuccess)
        return gpu_err(e);
    job.n_slots = room.n_slots;
    const uint32_t most = s->gpu->info.n_processors, at_once = B::TILES * B::SIDES;
    const uint32_t n_blocks = job.n_tiles < most ? job.n_tiles : most;
    const uint32_t of_a_block = (job.n_tiles + n_blocks - 1) / n_blocks;
    const uint32_t passes = (of_a_block + at_once - 1) / at_once;
    job.pass_tiles = (of_a_block + passes - 1) / passes;
    const struct gpu_grid grid = {dim3(n_blocks), dim3(LANES * B::WARPS), room.bytes, true};
    return gpu_launch(s, grid, multiply<RING, GROUPS>, job);
}

template <class RING>
static weir_err launch_groups(struct weir_gpu_stream *s, const struct multiply_job &job,
                              uint32_t groups, bool *fits)
{
    if (groups == 4)
        return launch_multiply<RING, 4>(s, job, fits);
    if (groups == 2)
        return launch_multiply<RING, 2>(s, job, fits);
    return launch_multiply<RING, 1>(s, job, fits);
}

/* As many vectors at once as a kernel is good for and the device has shared memory for. */
template <class RING>
static weir_err launch_for_batch(struct weir_gpu_stream *s, struct multiply_job job,
                                 uint32_t groups)
{
    bool fits;
    if (job.n == 1)
        return launch_multiply<RING, 0>(s, job, &fits);
    uint32_t at_once = groups < MOST_GROUPS ? groups : MOST_GROUPS;
    for (uint32_t done = 0; done < groups;) {
        const weir_err err = launch_groups<RING>(s, job, at_once, &fits);
        if (err)
            return err;
        if (!fits && at_once == 1)
            return WEIR_ERR_UNSUPPORTED;
        if (!fits) {
            at_once /= 2;
            continue;
        }
        done += at_once;
        if (job.n <= 8 * at_once)
            return WEIR_OK;
        job.n -= 8 * at_once;
        job.x += (size_t)at_once * (1024 / sizeof(*job.x));
        job.y += 8 * at_once * job.y_stride;
    }
    return WEIR_OK;
}

#endif
