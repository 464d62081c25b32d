/* multiply_kernel.cuh - y = W x by the tensor cores (mma.m16n8k16), W decoded in registers.
 *
 * A tile is 16 rows, a step 64 columns.  A block takes neighbouring tiles, up to TILES of them side
 * by side, so that what a warp has loaded of x serves all of them.  A sum has 16 parts: part p is
 * the sum over steps p, p + 16, ... in this order; the whole is
 *
 *     ((p0 + p8) + (p1 + p9)) + (p2 + p10) + ... + (p7 + p15)
 *
 * whatever the number of vectors, form, blocks and warps.  A block has 16 warps, one for each part,
 * or 8, each for p and then p + 8.
 *
 * Weights come through each warp's ring (multiply_ring.cuh), x from the L2 cache into registers, a
 * step ahead of its use: a warp shares neither with another, and meets them only where the parts
 * are added up.  Bytes per weight: 1.51 (2 for rows) from memory into shared memory and again out
 * of it; 8 NB / TILES / 4 of x through the L2 cache. */
#ifndef WEIR_CUDA_MULTIPLY_KERNEL_CUH
#define WEIR_CUDA_MULTIPLY_KERNEL_CUH

#include "gpu_private.h"
#include "multiply_ring.cuh"

enum { PARTS = 16, MOST_SLOTS = 8 };

/* How many vectors there may be, in eights (0: one vector), and what is good for so many. */
template <int GROUPS> struct batch {
    static constexpr int NB = GROUPS ? GROUPS : 1;
    static constexpr bool ONE = GROUPS == 0;
#ifndef V_WARPS
#define V_WARPS (GROUPS <= 2 ? 16 : 8)
#define V_TILES (GROUPS <= 4 ? 4 : 2)
#define V_BLOCKS 1
#endif
    static constexpr int WARPS = V_WARPS;
    static constexpr int TILES = V_TILES;
    static constexpr int BLOCKS = V_BLOCKS;
    static constexpr int OUTS = ONE ? TILE_ROWS : 128 * NB; /* numbers of a tile */
    static constexpr int ROUND = GROUPS <= 1 ? 4 : 1;       /* tiles added up at a time */
    static constexpr int X_WORDS = ONE ? 8 : 64 * NB;       /* of 16 bytes, of a step */
    static constexpr size_t SUM_BYTES = (size_t)WARPS * ROUND * OUTS * 4;
};

static __device__ __forceinline__ void mma(float c[4], const uint32_t a[4], uint32_t b0,
                                           uint32_t b1)
{
    asm volatile("mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 "
                 "{%0,%1,%2,%3},{%4,%5,%6,%7},{%8,%9},{%0,%1,%2,%3};"
                 : "+f"(c[0]), "+f"(c[1]), "+f"(c[2]), "+f"(c[3])
                 : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b0), "r"(b1));
}

/* The step after `step` of a warp; its first again when there is none. */
template <int WARPS>
static __device__ __forceinline__ uint32_t step_after(uint32_t step, uint32_t warp,
                                                      uint32_t n_steps, bool *last)
{
    *last = false;
    if (step + PARTS < n_steps)
        return step + PARTS;
    if (WARPS < PARTS && step % PARTS == warp && warp + WARPS < n_steps)
        return warp + WARPS;
    *last = true;
    return warp;
}

/* A warp's ring and what it fetches next: the same order as what it computes. */
template <class RING, int WARPS> struct weights {
    uint32_t ring, bars;      /* in shared memory */
    uint32_t warp, lane, end; /* end: the block's last tile and one */
    uint32_t tile, r, step;   /* to be fetched next */
    uint32_t slot, phase;     /* to be read next */

    __device__ __forceinline__ void fetch_into(const struct multiply_job &j, uint32_t to)
    {
        if (tile >= end)
            return;
        RING::fetch(j, tile + r, step, lane, ring + to * RING::SLOT_BYTES, bars + 8 * to);
        if (++r < j.pass_tiles && tile + r < end)
            return;
        bool last;
        r = 0;
        step = step_after<WARPS>(step, warp, j.n_steps, &last);
        if (last)
            tile += j.pass_tiles;
    }

    __device__ __forceinline__ void begin(const struct multiply_job &j, uint32_t first_tile,
                                          uint32_t end_tile)
    {
        end = end_tile;
        tile = warp < j.n_steps ? first_tile : end;
        r = slot = phase = 0;
        step = warp;
        if (lane == 0)
            for (uint32_t i = 0; i < j.n_slots; i++)
                bar_init(bars + 8 * i, RING::N_ARRIVE);
#if HAS_BULK_COPY
        asm volatile("fence.mbarrier_init.release.cluster;" ::: "memory");
        asm volatile("fence.proxy.async.shared::cta;" ::: "memory");
#endif
        __syncwarp();
    }

    __device__ __forceinline__ void fetch_first(const struct multiply_job &j)
    {
#pragma unroll 1
        for (uint32_t i = 0; i < j.n_slots; i++)
            fetch_into(j, i);
    }

    __device__ __forceinline__ void wait() const
    {
        bar_wait(bars + 8 * slot, phase);
    }

    __device__ __forceinline__ uint32_t slot_at() const
    {
        return ring + slot * RING::SLOT_BYTES;
    }

    /* The slot has been read: it is filled again. */
    __device__ __forceinline__ void pass_on(const struct multiply_job &j)
    {
        __syncwarp();
        fetch_into(j, slot);
        if (++slot == j.n_slots) {
            slot = 0;
            phase ^= 1;
        }
    }
};

/* A step's part of x: for each group its two halves. */
template <int GROUPS>
static __device__ __forceinline__ void load_x(const struct multiply_job &j, uint32_t step,
                                              uint32_t lane, uint4 x[2 * batch<GROUPS>::NB])
{
    const uint4 *from = j.x + (size_t)step * batch<GROUPS>::X_WORDS;
#pragma unroll
    for (int i = 0; i < 2 * batch<GROUPS>::NB; i++)
        x[i] = __ldcg(from + (GROUPS ? LANES * i + lane : 4 * i + lane % 4));
}

/* Element `i` of a tile's numbers (in fours: c of mma, of a lane of a group) into y. */
template <int GROUPS>
static __device__ __forceinline__ void store(const struct multiply_job &j, uint32_t tile,
                                             uint32_t i, const float v[4])
{
    const uint32_t lane = i % LANES, vector = i / LANES * 8 + lane % 4 * 2;
#pragma unroll
    for (uint32_t k = 0; k < 4; k++) {
        const uint32_t row = tile * TILE_ROWS + lane / 4 + k / 2 * 8, n = vector + k % 2;
        if (row < j.n_rows && n < j.n)
            j.y[n * j.y_stride + row] = v[k];
    }
}

/* Adds up the parts of `n_tiles` tiles from `first` on. */
template <int GROUPS>
static __device__ void add_parts(const struct multiply_job &j, const float *sums, uint32_t first,
                                 uint32_t n_tiles)
{
    using B = batch<GROUPS>;
    constexpr uint32_t STRIDE = B::ROUND * B::OUTS; /* of warps */
    if (B::ONE) {
        for (uint32_t i = threadIdx.x; i < n_tiles * TILE_ROWS; i += blockDim.x) {
            float v = 0;
#pragma unroll 4
            for (uint32_t p = 0; p < PARTS / 2; p++) {
                const float pair = sums[p * STRIDE + i] + sums[(p + PARTS / 2) * STRIDE + i];
                v = p ? v + pair : pair;
            }
            if (first * TILE_ROWS + i < j.n_rows)
                j.y[first * TILE_ROWS + i] = v;
        }
        return;
    }
    for (uint32_t i = threadIdx.x; i < n_tiles * B::OUTS / 4; i += blockDim.x) {
        float v[4];
#pragma unroll 2
        for (uint32_t p = 0; p < PARTS / 2; p++) {
            float4 a = ((const float4 *)(sums + p * STRIDE))[i];
            if (B::WARPS == PARTS) {
                const float4 b = ((const float4 *)(sums + (p + PARTS / 2) * STRIDE))[i];
                a = make_float4(a.x + b.x, a.y + b.y, a.z + b.z, a.w + b.w);
            }
            v[0] = p ? v[0] + a.x : a.x;
            v[1] = p ? v[1] + a.y : a.y;
            v[2] = p ? v[2] + a.z : a.z;
            v[3] = p ? v[3] + a.w : a.w;
        }
        store<GROUPS>(j, first + i / (B::OUTS / 4), i % (B::OUTS / 4), v);
    }
}

template <int GROUPS>
static __device__ __forceinline__ void put_part(float *to, uint32_t lane,
                                                const float acc[batch<GROUPS>::NB][4])
{
    if (batch<GROUPS>::ONE) { /* all eight columns are the vector: the first is used */
        if (lane % 4 == 0) {
            to[lane / 4] = acc[0][0];
            to[lane / 4 + 8] = acc[0][2];
        }
        return;
    }
#pragma unroll
    for (int q = 0; q < batch<GROUPS>::NB; q++)
        ((float4 *)to)[LANES * q + lane] = make_float4(acc[q][0], acc[q][1], acc[q][2], acc[q][3]);
}

/* The sums of a warp: for each tile and group of vectors, c of mma. */
template <int GROUPS> using sums = float[batch<GROUPS>::TILES][batch<GROUPS>::NB][4];

template <class RING, int GROUPS>
static __device__ __forceinline__ void
multiply_step(const struct multiply_job &j, weights<RING, batch<GROUPS>::WARPS> &w, uint32_t step,
              uint32_t n_tiles, const uint4 x[2 * batch<GROUPS>::NB], sums<GROUPS> &sum)
{
#pragma unroll
    for (int r = 0; r < batch<GROUPS>::TILES; r++) {
        if (r >= n_tiles)
            break;
        RING read;
        w.wait();
        read.read(step, w.lane, w.slot_at());
#pragma unroll
        for (int h = 0; h < 2; h++) {
            uint32_t a[2][4];
            read.decode(j, step, h, w.lane, w.slot_at(), a);
            if (h == 1)
                w.pass_on(j);
#pragma unroll
            for (int q = 0; q < batch<GROUPS>::NB; q++)
                mma(sum[r][q], a[0], x[2 * q + h].x, x[2 * q + h].y);
#pragma unroll
            for (int q = 0; q < batch<GROUPS>::NB; q++)
                mma(sum[r][q], a[1], x[2 * q + h].z, x[2 * q + h].w);
        }
    }
}

/* The sums over all steps of a warp. */
template <class RING, int GROUPS>
static __device__ __forceinline__ void
multiply_tiles(const struct multiply_job &j, weights<RING, batch<GROUPS>::WARPS> &w,
               uint32_t n_tiles, sums<GROUPS> &sum)
{
    constexpr int NB = batch<GROUPS>::NB, WARPS = batch<GROUPS>::WARPS;
    sums<GROUPS> first = {}; /* of two parts */
    bool last = w.warp >= j.n_steps;
#pragma unroll 1
    for (uint32_t step = w.warp; !last;) {
        uint4 x[2 * NB];
        load_x<GROUPS>(j, step, w.lane, x);
        const uint32_t next = step_after<WARPS>(step, w.warp, j.n_steps, &last);
        multiply_step<RING, GROUPS>(j, w, step, n_tiles, x, sum);
        if (WARPS < PARTS && next == w.warp + WARPS) {
#pragma unroll
            for (int k = 0; k < sizeof(sum) / sizeof(float); k++) {
                (&first[0][0][0])[k] = (&sum[0][0][0])[k];
                (&sum[0][0][0])[k] = 0;
            }
        }
        step = next;
    }
    if (WARPS < PARTS) {
#pragma unroll
        for (int k = 0; k < sizeof(sum) / sizeof(float); k++)
            (&sum[0][0][0])[k] += (&first[0][0][0])[k];
    }
}

/* Adds up what the warps have of `n_tiles` tiles from `tile` on. */
template <int GROUPS>
static __device__ __forceinline__ void add_warps(const struct multiply_job &j, float *room,
                                                 uint32_t tile, uint32_t n_tiles,
                                                 const sums<GROUPS> &sum)
{
    using B = batch<GROUPS>;
    const uint32_t warp = threadIdx.x / LANES, lane = threadIdx.x % LANES;
#pragma unroll
    for (int r0 = 0; r0 < B::TILES; r0 += B::ROUND) {
        if (r0 >= n_tiles)
            break;
#pragma unroll
        for (int r = r0; r < r0 + B::ROUND; r++)
            put_part<GROUPS>(room + (warp * B::ROUND + r - r0) * B::OUTS, lane, sum[r]);
        __syncthreads();
        add_parts<GROUPS>(j, room, tile + r0, min(n_tiles - r0, (uint32_t)B::ROUND));
        __syncthreads();
    }
}

template <class RING, int GROUPS>
static __global__ void __launch_bounds__(LANES *batch<GROUPS>::WARPS, batch<GROUPS>::BLOCKS)
    multiply(const struct multiply_job j)
{
    using B = batch<GROUPS>;
    extern __shared__ __align__(128) uint8_t room[]; /* sums, then rings */
    __shared__ uint64_t bars[B::WARPS * MOST_SLOTS];
    const uint32_t warp = threadIdx.x / LANES;
    const uint32_t first = (uint32_t)((uint64_t)j.n_tiles * blockIdx.x / gridDim.x);
    const uint32_t end = (uint32_t)((uint64_t)j.n_tiles * (blockIdx.x + 1) / gridDim.x);
    weights<RING, B::WARPS> w;
    w.warp = warp;
    w.lane = threadIdx.x % LANES;
    w.ring = shared_at(room) + B::SUM_BYTES + warp * j.n_slots * RING::SLOT_BYTES;
    w.bars = shared_at(bars + warp * MOST_SLOTS);
    gpu_let_next_begin();
    w.begin(j, first, end);
    if (j.fresh)
        gpu_wait_for_previous();
    w.fetch_first(j);
    if (!j.fresh)
        gpu_wait_for_previous();
#pragma unroll 1
    for (uint32_t tile = first; tile < end; tile += j.pass_tiles) {
        const uint32_t n_tiles = min(j.pass_tiles, end - tile);
        sums<GROUPS> sum = {};
        multiply_tiles<RING, GROUPS>(j, w, n_tiles, sum);
        add_warps<GROUPS>(j, (float *)room, tile, n_tiles, sum);
    }
}

/* As many slots as there is room for. */
template <class RING, int GROUPS>
static weir_err launch_multiply(struct weir_gpu_stream *s, struct multiply_job *job)
{
    using B = batch<GROUPS>;
    int per_block = 0, per_processor = 0, reserved = 0;
    const int device = s->gpu->device;
    cudaError_t e =
        cudaDeviceGetAttribute(&per_block, cudaDevAttrMaxSharedMemoryPerBlockOptin, device);
    if (e == cudaSuccess)
        e = cudaDeviceGetAttribute(&per_processor, cudaDevAttrMaxSharedMemoryPerMultiprocessor,
                                   device);
    if (e == cudaSuccess)
        e = cudaDeviceGetAttribute(&reserved, cudaDevAttrReservedSharedMemoryPerBlock, device);
    if (e != cudaSuccess)
        return gpu_err(e);
    const size_t fixed = (size_t)B::WARPS * MOST_SLOTS * sizeof(uint64_t);
    const size_t ring = (size_t)B::WARPS * RING::SLOT_BYTES; /* a slot of each warp */
    size_t bytes = (size_t)(per_processor / B::BLOCKS - reserved);
    if (bytes > (size_t)per_block || bytes < fixed + B::SUM_BYTES + 2 * ring)
        bytes = (size_t)per_block;
    bytes -= fixed;
    const size_t slots = (bytes - B::SUM_BYTES) / ring;
    job->n_slots = slots < MOST_SLOTS ? (uint32_t)slots : MOST_SLOTS;
    bytes = B::SUM_BYTES + job->n_slots * ring;
    e = cudaFuncSetAttribute(multiply<RING, GROUPS>, cudaFuncAttributeMaxDynamicSharedMemorySize,
                             (int)bytes);
    if (e != cudaSuccess)
        return gpu_err(e);
    const uint32_t most = s->gpu->info.n_processors;
    const uint32_t n_blocks = job->n_tiles < most ? job->n_tiles : most;
    const uint32_t of_a_block = (job->n_tiles + n_blocks - 1) / n_blocks;
    const uint32_t passes = (of_a_block + B::TILES - 1) / B::TILES;
    job->pass_tiles = (of_a_block + passes - 1) / passes;
    const struct gpu_grid grid = {dim3(n_blocks), dim3(LANES * B::WARPS), bytes, true};
    return gpu_launch(s, grid, multiply<RING, GROUPS>, *job);
}

template <class RING>
static weir_err launch_for_batch(struct weir_gpu_stream *s, struct multiply_job *job)
{
    if (job->n == 1)
        return launch_multiply<RING, 0>(s, job);
    if (job->n <= 8)
        return launch_multiply<RING, 1>(s, job);
    if (job->n <= 16)
        return launch_multiply<RING, 2>(s, job);
    if (job->n <= 32)
        return launch_multiply<RING, 4>(s, job);
    return launch_multiply<RING, 8>(s, job);
}

#endif
