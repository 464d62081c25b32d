/* multiply_kernel.cuh - y = W x by the tensor cores (mma.m16n8k16), W decoded in registers.
 *
 * A tile is 16 rows, a step 64 columns.  A sum has 16 parts: part p is the sum over steps p, p +
 * 16, ... in this order; the whole is
 *
 *     ((p0 + p8) + (p1 + p9)) + (p2 + p10) + ... + (p7 + p15)
 *
 * whatever the number of vectors, form and blocks.  A block has a warp for each part.  It takes
 * neighbouring tiles, up to TILES side by side (a pass), so that what has come of x serves all of
 * them; each has its slot, which is filled with the tile's next step as soon as this one is done.
 *
 * Bytes per weight: 1.51 (2 for rows) from memory into shared memory and out of it again; of x,
 * for 8 NB vectors, NB out of shared memory and NB over the tiles of a pass through the L2 cache.
 */
#ifndef WEIR_CUDA_MULTIPLY_KERNEL_CUH
#define WEIR_CUDA_MULTIPLY_KERNEL_CUH

#include "gpu_private.h"
#include "multiply_steps.cuh"

enum { PARTS = 16, WARPS = PARTS };

/* How many vectors there may be, in eights (0: one vector), and what is good for so many. */
template <int GROUPS> struct batch {
    static constexpr int NB = GROUPS ? GROUPS : 1;
    static constexpr bool ONE = GROUPS == 0;
    static constexpr int TILES = 4;
    /* That a processor has registers for: other kernels' threads come up beside. */
    static constexpr int BLOCKS = GROUPS <= 1 ? 2 : 1;
    static constexpr bool KEEP_X = GROUPS == 2; /* in registers, for all tiles of a step */
    static constexpr int X_SLOTS = GROUPS == 4 ? 1 : 2;
    static constexpr int OUTS = ONE ? TILE_ROWS : 128 * NB;         /* numbers of a tile */
    static constexpr int ROUND = ONE ? TILES : GROUPS == 1 ? 2 : 1; /* tiles added up at a time */
    static constexpr uint32_t X_BYTES = ONE ? 2 * STEP_COLUMNS : 1024 * NB; /* of a step */
    static constexpr uint32_t SUM_BYTES = WARPS * ROUND * OUTS * 4;
    static constexpr uint32_t FIXED_BYTES = SUM_BYTES + WARPS * X_SLOTS * X_BYTES;
};

static __device__ __forceinline__ void mma(float c[4], const uint32_t a[4], uint32_t b0,
                                           uint32_t b1)
{
    asm volatile("mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 "
                 "{%0,%1,%2,%3},{%4,%5,%6,%7},{%8,%9},{%0,%1,%2,%3};"
                 : "+f"(c[0]), "+f"(c[1]), "+f"(c[2]), "+f"(c[3])
                 : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b0), "r"(b1));
}

/* Where a warp is: neighbouring tiles, and a step of them. */
struct place {
    uint32_t tile, n_tiles, step;
};

static __device__ __forceinline__ struct place
next_place(const struct multiply_job &j, const struct place &p, uint32_t part, uint32_t end)
{
    struct place next = p;
    next.step += PARTS;
    if (next.step >= j.n_steps) {
        next.step = part;
        next.tile += j.pass_tiles;
        next.n_tiles = next.tile < end ? min(j.pass_tiles, end - next.tile) : 0;
    }
    return next;
}

/* A warp's slots, one for each tile of a pass. */
template <class STEP> struct weights {
    uint32_t slots, bars; /* in shared memory */
    uint32_t phase;       /* all slots in use are in the same */

    uint2 high; /* of the resident form; in registers, where constants are far */

    __device__ __forceinline__ void fetch(const struct multiply_job &j, const struct place &p,
                                          uint32_t r, uint32_t lane) const
    {
        STEP::fetch(j, p.tile + r, p.step, lane, slots + r * STEP::SLOT_BYTES, bars + 8 * r);
    }
};

/* Steps of x to come. */
template <class STEP, class B> struct vectors {
    uint32_t slots, bars; /* in shared memory; X_SLOTS of each */
    uint32_t left, step;  /* to be fetched */
    uint32_t n;           /* read so far */

    __device__ __forceinline__ void fetch_into(const struct multiply_job &j, uint32_t slot,
                                               uint32_t part, uint32_t lane)
    {
        if (!left)
            return;
        copying<STEP::ENGINE_FOR_X>::bytes(slots + slot * B::X_BYTES,
                                           j.x + (size_t)step * j.x_stride, B::X_BYTES, lane,
                                           bars + 8 * slot);
        left--;
        step = step + PARTS < j.n_steps ? step + PARTS : part;
    }

    __device__ __forceinline__ uint32_t wait() const
    {
        bar_wait(bars + 8 * (n % B::X_SLOTS), n / B::X_SLOTS % 2);
        return slots + n % B::X_SLOTS * B::X_BYTES;
    }

    __device__ __forceinline__ void pass_on(const struct multiply_job &j, uint32_t part,
                                            uint32_t lane)
    {
        __syncwarp();
        fetch_into(j, n % B::X_SLOTS, part, lane);
        n++;
    }
};

/* The sums of a warp: for each tile and group of vectors, c of mma. */
template <class B> using sums = float[B::TILES][B::NB][4];

/* Half `h` of a step of x, a lane's share. */
template <class B>
static __device__ __forceinline__ void read_x(uint32_t from, uint32_t lane, int h, uint4 x[B::NB])
{
#pragma unroll
    for (int q = 0; q < B::NB; q++)
        x[q] = read_16(from + (B::ONE ? 64 * h + lane % 4 * 16 : 512 * (2 * q + h) + lane * 16));
}

/* A step of tile r.  All of the slot has been used when it is over. */
template <class STEP, class B>
static __device__ __forceinline__ void
multiply_tile(const struct multiply_job &j, const weights<STEP> &w, int r, uint32_t step,
              uint32_t lane, uint32_t x_at, uint4 x[2][B::NB], float sum[B::NB][4])
{
    const uint32_t slot = w.slots + r * STEP::SLOT_BYTES;
    STEP read;
    bar_wait(w.bars + 8 * r, w.phase);
    read.read(step, lane, slot);
#pragma unroll
    for (int h = 0; h < 2; h++) {
        uint32_t a[2][4];
        if (!B::KEEP_X)
            read_x<B>(x_at, lane, h, x[h]);
        read.decode(j, w.high, step, h, lane, slot, a);
#pragma unroll
        for (int q = 0; q < B::NB; q++)
            mma(sum[q], a[0], x[h][q].x, x[h][q].y);
#pragma unroll
        for (int q = 0; q < B::NB; q++)
            mma(sum[q], a[1], x[h][q].z, x[h][q].w);
    }
    __syncwarp();
}

/* The sums of a pass, over all steps of a warp. */
template <class STEP, class B>
static __device__ __forceinline__ struct place
multiply_pass(const struct multiply_job &j, weights<STEP> &w, vectors<STEP, B> &v, struct place p,
              uint32_t part, uint32_t lane, uint32_t end, sums<B> &sum)
{
    const uint32_t tile = p.tile;
#pragma unroll 1
    while (p.tile == tile) {
        const struct place next = next_place(j, p, part, end);
        const uint32_t x_at = v.wait();
        uint4 x[2][B::NB];
        if (B::KEEP_X) {
            read_x<B>(x_at, lane, 0, x[0]);
            read_x<B>(x_at, lane, 1, x[1]);
        }
#pragma unroll
        for (int r = 0; r < B::TILES; r++) {
            if (r >= p.n_tiles)
                break;
            multiply_tile<STEP, B>(j, w, r, p.step, lane, x_at, x, sum[r]);
            if (r < next.n_tiles)
                w.fetch(j, next, r, lane);
        }
        w.phase ^= 1;
        v.pass_on(j, part, lane);
        p = next;
    }
    return p;
}

/* A warp's numbers of a tile. */
template <class B>
static __device__ __forceinline__ void put_part(float *to, uint32_t lane, const float sum[B::NB][4])
{
    if (B::ONE) { /* all eight columns are the vector: the first is used */
        if (lane % 4 == 0) {
            to[lane / 4] = sum[0][0];
            to[lane / 4 + 8] = sum[0][2];
        }
    } else {
#pragma unroll
        for (int q = 0; q < B::NB; q++)
            ((float4 *)to)[LANES * q + lane] =
                make_float4(sum[q][0], sum[q][1], sum[q][2], sum[q][3]);
    }
}

/* A number, over all parts, which lie `stride` numbers apart. */
static __device__ __forceinline__ float add_parts(const float *parts, uint32_t stride)
{
    float v = 0;
#pragma unroll 4
    for (uint32_t p = 0; p < PARTS / 2; p++) {
        const float pair = parts[p * stride] + parts[(p + PARTS / 2) * stride];
        v = p ? v + pair : pair;
    }
    return v;
}

/* Adds up what the warps have of the pass's `n_tiles` tiles from `tile` on. */
template <class B>
static __device__ __forceinline__ void add_warps(const struct multiply_job &j, float *room,
                                                 uint32_t tile, uint32_t n_tiles, uint32_t part,
                                                 uint32_t lane, const sums<B> &sum)
{
#pragma unroll
    for (int r0 = 0; r0 < B::TILES; r0 += B::ROUND) {
        if (r0 >= n_tiles)
            break;
#pragma unroll
        for (int r = r0; r < r0 + B::ROUND && r < B::TILES; r++)
            put_part<B>(room + (part * B::ROUND + r - r0) * B::OUTS, lane, sum[r]);
        __syncthreads();
        const uint32_t n = min(n_tiles - r0, (uint32_t)B::ROUND) * B::OUTS;
        for (uint32_t i = threadIdx.x; i < n; i += LANES * WARPS) {
            const float v = add_parts(room + i, B::ROUND * B::OUTS);
            const uint32_t k = i % B::OUTS, of_lane = k / 4 % LANES;
            const uint32_t row =
                (tile + r0 + i / B::OUTS) * TILE_ROWS + (B::ONE ? k : of_lane / 4 + k % 4 / 2 * 8);
            const uint32_t vector = B::ONE ? 0 : k / 128 * 8 + of_lane % 4 * 2 + k % 2;
            if (row < j.n_rows && vector < j.n)
                j.y[vector * j.y_stride + row] = v;
        }
        __syncthreads();
    }
}

/* Makes the barriers of a warp; how many steps of x it will want. */
template <class STEP, class B>
static __device__ __forceinline__ void begin(const struct multiply_job &j, weights<STEP> &w,
                                             vectors<STEP, B> &v, uint32_t part, uint32_t lane,
                                             uint32_t n_tiles)
{
    if (lane == 0) {
        for (uint32_t r = 0; r < B::TILES; r++)
            bar_init(w.bars + 8 * r, STEP::ARRIVALS);
        for (uint32_t i = 0; i < B::X_SLOTS; i++)
            bar_init(v.bars + 8 * i, copying<STEP::ENGINE_FOR_X>::ARRIVALS);
    }
    bars_are_ready();
    const uint32_t n_passes = (n_tiles + j.pass_tiles - 1) / j.pass_tiles;
    w.phase = v.n = 0;
    asm volatile("mov.b32 %0, %2;\nmov.b32 %1, %3;"
                 : "=r"(w.high.x), "=r"(w.high.y)
                 : "r"(j.high.x), "r"(j.high.y));
    v.step = part;
    v.left = part < j.n_steps ? n_passes * ((j.n_steps - part + PARTS - 1) / PARTS) : 0;
}

template <class STEP, int GROUPS>
static __global__ void __launch_bounds__(LANES *WARPS, batch<GROUPS>::BLOCKS)
    multiply(const __grid_constant__ struct multiply_job j)
{
    using B = batch<GROUPS>;
    extern __shared__ __align__(128) uint8_t room[]; /* sums, slots of x, slots of weights */
    __shared__ uint64_t bars[WARPS][B::TILES + B::X_SLOTS];
    const uint32_t part = __shfl_sync(~0u, threadIdx.x / LANES, 0); /* known to be uniform */
    const uint32_t lane = threadIdx.x % LANES;
    const uint32_t first = (uint32_t)((uint64_t)j.n_tiles * blockIdx.x / gridDim.x);
    const uint32_t end = (uint32_t)((uint64_t)j.n_tiles * (blockIdx.x + 1) / gridDim.x);
    weights<STEP> w;
    vectors<STEP, B> v;
    v.slots = shared_at(room) + B::SUM_BYTES + part * B::X_SLOTS * B::X_BYTES;
    w.slots = shared_at(room) + B::FIXED_BYTES + part * j.pass_tiles * STEP::SLOT_BYTES;
    w.bars = shared_at(bars[part]);
    v.bars = w.bars + 8 * B::TILES;
    struct place p = {first, min(j.pass_tiles, end - first), part};
    const bool idle = part >= j.n_steps;
    gpu_let_next_begin();
    begin<STEP, B>(j, w, v, part, lane, end - first);
    if (j.fresh)
        gpu_wait_for_previous();
    if (!idle)
        for (uint32_t r = 0; r < p.n_tiles; r++)
            w.fetch(j, p, r, lane);
    if (!j.fresh)
        gpu_wait_for_previous();
    for (uint32_t i = 0; i < B::X_SLOTS; i++)
        v.fetch_into(j, i, part, lane);
#pragma unroll 1
    for (uint32_t tile = first; tile < end; tile += j.pass_tiles) {
        sums<B> sum = {};
        if (!idle)
            p = multiply_pass<STEP, B>(j, w, v, p, part, lane, end, sum);
        add_warps<B>(j, (float *)room, tile, min(j.pass_tiles, end - tile), part, lane, sum);
    }
}

#endif
