/* multiply_launch.cuh - which kernel a multiplication takes, and how it is launched. */
#ifndef WEIR_CUDA_MULTIPLY_LAUNCH_CUH
#define WEIR_CUDA_MULTIPLY_LAUNCH_CUH

#include "multiply_kernel.cuh"

enum { MOST_GROUPS = 4 /* of one launch */ };

/* Shared memory, in bytes: what a block can have; what one needs to be alone on a processor, with
 * small kernels at most.  Were there room for two, the blocks of the launch after next would come
 * up wherever two have ended, and some processors would get two of them while others had none. */
struct multiply_room {
    size_t most, alone;
};

static cudaError_t measure_room(int device, struct multiply_room *out)
{
    int most = 0, of_processor = 0;
    cudaError_t e = cudaDeviceGetAttribute(&most, cudaDevAttrMaxSharedMemoryPerBlockOptin, device);
    if (e == cudaSuccess)
        e = cudaDeviceGetAttribute(&of_processor, cudaDevAttrMaxSharedMemoryPerMultiprocessor,
                                   device);
    out->most = (size_t)most;
    out->alone = (size_t)of_processor / 2;
    return e;
}

static uint32_t least(size_t a, size_t b)
{
    return (uint32_t)(a < b ? a : b);
}

/* Deals tiles to blocks; returns bytes of slots of weights, of `most_slots` there is room for. */
template <class STEP, class B>
static size_t deal(struct multiply_job *job, uint32_t most_blocks, size_t most_slots,
                   uint32_t *n_blocks)
{
    const uint32_t unit = B::IS_GATED ? 2 : 1, n = job->n_tiles / unit;
    const uint32_t at_once = least(most_slots, B::TILES) / unit;
    *n_blocks = least(n, most_blocks);
    job->least = n / *n_blocks;
    job->n_more = n % *n_blocks;
    const uint32_t most = job->least + (job->n_more != 0);
    const uint32_t passes = (most + at_once - 1) / at_once;
    job->pass_tiles = (most + passes - 1) / passes * unit;
    job->two_steps = job->pass_tiles == 1 && job->n_steps > 2 * PARTS && most_slots > 1;
    return (job->two_steps ? 2 : job->pass_tiles) * WARPS * STEP::SLOT_BYTES;
}

/* *fits false: this device has too little shared memory for it. */
template <class STEP, int GROUPS, int WAY>
static weir_err launch_multiply(struct weir_gpu_stream *s, struct multiply_job job,
                                const typename batch<GROUPS, WAY>::around &around, bool *fits)
{
    using B = batch<GROUPS, WAY>;
    const size_t slot_bytes = (size_t)WARPS * STEP::SLOT_BYTES;
    const size_t bar_bytes = WARPS * (B::TILES + B::X_SLOTS) * sizeof(uint64_t);
    const size_t other_bytes = bar_bytes + B::FIXED_BYTES;
    struct multiply_room room = {};
    cudaError_t e = measure_room(s->gpu->device, &room);
    *fits = e != cudaSuccess || room.most >= other_bytes + (B::IS_GATED ? 2 : 1) * slot_bytes;
    if (e != cudaSuccess || !*fits)
        return gpu_err(e);
    uint32_t n_blocks = 0;
    const size_t needed =
        B::FIXED_BYTES + deal<STEP, B>(&job, s->gpu->info.n_processors,
                                       (room.most - other_bytes) / slot_bytes, &n_blocks);
    const size_t bytes = needed > room.alone ? needed : room.alone;
    e = cudaFuncSetAttribute(multiply<STEP, GROUPS, WAY>,
                             cudaFuncAttributeMaxDynamicSharedMemorySize, (int)bytes);
    if (e != cudaSuccess)
        return gpu_err(e);
    const struct gpu_grid grid = {dim3(n_blocks), dim3(LANES * WARPS), bytes, true};
    return gpu_launch(s, grid, multiply<STEP, GROUPS, WAY>, job, around);
}

template <class STEP>
static weir_err launch_around(struct weir_gpu_stream *s, const struct multiply_job &job,
                              const struct multiply_around &around)
{
    bool fits = false;
    const weir_err err = around.gate.out
                             ? launch_multiply<STEP, 0, NORMED_AND_GATED>(s, job, around, &fits)
                             : launch_multiply<STEP, 0, NORMED>(s, job, around, &fits);
    return err || fits ? err : WEIR_ERR_UNSUPPORTED;
}

template <class STEP>
static weir_err launch_groups(struct weir_gpu_stream *s, const struct multiply_job &job,
                              uint32_t groups, bool *fits)
{
    if (groups == 4)
        return launch_multiply<STEP, 4, PLAIN>(s, job, {}, fits);
    if (groups == 2)
        return launch_multiply<STEP, 2, PLAIN>(s, job, {}, fits);
    return launch_multiply<STEP, 1, PLAIN>(s, job, {}, fits);
}

/* As many vectors at once as a kernel is good for and the device has shared memory for. */
template <class STEP>
static weir_err launch_for_batch(struct weir_gpu_stream *s, struct multiply_job job,
                                 uint32_t groups)
{
    bool fits = false;
    if (job.n == 1) {
        const weir_err err = launch_multiply<STEP, 0, PLAIN>(s, job, {}, &fits);
        return err || fits ? err : WEIR_ERR_UNSUPPORTED;
    }
    uint32_t at_once = groups < MOST_GROUPS ? groups : MOST_GROUPS;
    for (uint32_t done = 0; done < groups;) {
        const weir_err err = launch_groups<STEP>(s, job, at_once, &fits);
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
