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
 * A tile that is alone and wide has two, for two steps.  More on its way at a time is slower: all
 * slots filled, 159 instead of 87 us at 28672x8192 (1).
 *
 * Four warps share what issues instructions: one that each warp has to do once costs 2 ns of a
 * launch that takes 4 us.  So little is worked out before the first bytes are asked for.
 *
 * Bytes per weight: 1.51 (2 for rows) from memory into shared memory and out of it again; of x,
 * for 8 NB vectors, NB out of shared memory and NB over the tiles of a pass through the L2 cache.
 */
#ifndef WEIR_CUDA_MULTIPLY_KERNEL_CUH
#define WEIR_CUDA_MULTIPLY_KERNEL_CUH

#include "gpu_private.h"
#include "multiply_ends.cuh"

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
    uint32_t tile, n_tiles, step; /* n_tiles 0: behind the last */

    __device__ __forceinline__ void move(const struct multiply_job &j, uint32_t part, uint32_t end)
    {
        step += PARTS;
        if (step >= j.n_steps) {
            step = part;
            tile += j.pass_tiles;
            n_tiles = tile < end ? min(j.pass_tiles, end - tile) : 0;
        }
    }
};

/* A warp's slots: one for each tile of a pass, or two for the only one, which take turns. */
template <class STEP, class B> struct weights {
    uint32_t slots, bars;           /* in shared memory: of the step that is next */
    uint32_t both_slots, both_bars; /* sums of both's */
    uint32_t second, phase;         /* all slots in use are in the same phase */
    struct place to_fetch;

    uint2 high; /* of the resident form; in registers, where constants are far */

    __device__ __forceinline__ void fetch(const struct multiply_job &j, uint32_t r,
                                          uint32_t lane) const
    {
        STEP::fetch(j, tile_at<B>(j, to_fetch.tile + r), to_fetch.step, lane,
                    slots + r * STEP::SLOT_BYTES, bars + 8 * r);
    }

    __device__ __forceinline__ void turn(const struct multiply_job &j)
    {
        slots = both_slots - slots;
        bars = both_bars - bars;
        phase ^= second;
        second ^= j.two_steps;
    }

    /* Fills them for the first time. */
    __device__ __forceinline__ void fill(const struct multiply_job &j, uint32_t part, uint32_t lane,
                                         uint32_t end)
    {
        for (uint32_t r = 0; r < to_fetch.n_tiles; r++)
            fetch(j, r, lane);
        to_fetch.move(j, part, end);
        if (!j.two_steps)
            return;
        turn(j);
        if (to_fetch.n_tiles)
            fetch(j, 0, lane);
        to_fetch.move(j, part, end);
        turn(j);
        phase = 0;
    }
};

/* Steps of x to come. */
template <class STEP, class B> struct vectors {
    uint32_t slots, bars; /* in shared memory; X_SLOTS of each */
    uint32_t left, step;  /* to be fetched */
    uint32_t n;           /* read so far */
    uint32_t whole;       /* where all of it lies in shared memory, if it was made here */

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

    __device__ __forceinline__ uint32_t wait(uint32_t of_step) const
    {
        if (B::IS_NORMED)
            return whole + of_step * B::X_BYTES;
        bar_wait(bars + 8 * (n % B::X_SLOTS), n / B::X_SLOTS % 2);
        return slots + n % B::X_SLOTS * B::X_BYTES;
    }

    __device__ __forceinline__ void pass_on(const struct multiply_job &j, uint32_t part,
                                            uint32_t lane)
    {
        if (B::IS_NORMED)
            return;
        __syncwarp();
        fetch_into(j, n % B::X_SLOTS, part, lane);
        n++;
    }
};

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
multiply_tile(const struct multiply_job &j, const weights<STEP, B> &w, int r, uint32_t step,
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
static __device__ __forceinline__ void
multiply_pass(const struct multiply_job &j, weights<STEP, B> &w, vectors<STEP, B> &v,
              uint32_t n_tiles, uint32_t part, uint32_t lane, uint32_t end, sums<B> &sum)
{
#pragma unroll 1
    for (uint32_t step = part; step < j.n_steps; step += PARTS) {
        const uint32_t x_at = v.wait(step);
        uint4 x[2][B::NB];
        if (B::KEEP_X) {
            read_x<B>(x_at, lane, 0, x[0]);
            read_x<B>(x_at, lane, 1, x[1]);
        }
#pragma unroll
        for (int r = 0; r < B::TILES; r++) {
            if (r >= n_tiles)
                break;
            multiply_tile<STEP, B>(j, w, r, step, lane, x_at, x, sum[r]);
            if (r < w.to_fetch.n_tiles)
                w.fetch(j, r, lane);
        }
        w.to_fetch.move(j, part, end);
        w.turn(j);
        v.pass_on(j, part, lane);
    }
}

/* Makes the barriers of a warp, each a lane's; how many steps of x it will want. */
template <class STEP, class B>
static __device__ __forceinline__ void begin(const struct multiply_job &j, weights<STEP, B> &w,
                                             vectors<STEP, B> &v, uint32_t part, uint32_t lane,
                                             uint32_t n_tiles)
{
    if (lane < B::TILES + B::X_SLOTS)
        bar_init(w.bars + 8 * lane,
                 lane < B::TILES ? STEP::ARRIVALS : copying<STEP::ENGINE_FOR_X>::ARRIVALS);
    bars_are_ready();
    w.both_slots = 2 * w.slots + j.two_steps * STEP::SLOT_BYTES;
    w.both_bars = 2 * w.bars + j.two_steps * 8;
    w.second = !j.two_steps;
    w.phase = v.n = 0;
    asm volatile("mov.b32 %0, %2;\nmov.b32 %1, %3;"
                 : "=r"(w.high.x), "=r"(w.high.y)
                 : "r"(j.high.x), "r"(j.high.y));
    if (B::IS_NORMED)
        return;
    const uint32_t n_passes = (n_tiles + j.pass_tiles - 1) / j.pass_tiles;
    v.step = part;
    v.left = part < j.n_steps ? n_passes * ((j.n_steps - part + PARTS - 1) / PARTS) : 0;
}

template <class STEP, int GROUPS, int WAY>
static __global__ void __launch_bounds__(LANES *WARPS, batch<GROUPS, WAY>::BLOCKS)
    multiply(const __grid_constant__ struct multiply_job j,
             const __grid_constant__ typename batch<GROUPS, WAY>::around a)
{
    using B = batch<GROUPS, WAY>;
    extern __shared__ __align__(128) uint8_t room[]; /* sums, slots of x, slots of weights */
    __shared__ uint64_t bars[WARPS][B::TILES + B::X_SLOTS];
    const uint32_t part = __shfl_sync(~0u, threadIdx.x / LANES, 0); /* known to be uniform */
    const uint32_t lane = threadIdx.x % LANES, unit = B::IS_GATED ? 2 : 1;
    const uint32_t first = unit * (blockIdx.x * j.least + min(blockIdx.x, j.n_more));
    const uint32_t end = first + unit * (j.least + (blockIdx.x < j.n_more));
    weights<STEP, B> w;
    vectors<STEP, B> v;
    v.whole = shared_at(room) + B::SUM_BYTES;
    v.slots = v.whole + part * B::X_SLOTS * B::X_BYTES;
    w.slots = shared_at(room) + B::FIXED_BYTES +
              part * (j.two_steps ? 2 : j.pass_tiles) * STEP::SLOT_BYTES;
    w.bars = shared_at(bars[part]);
    v.bars = w.bars + 8 * B::TILES;
    w.to_fetch = place{first, min(j.pass_tiles, end - first), part};
    const bool idle = part >= j.n_steps;
    gpu_let_next_begin();
    begin<STEP, B>(j, w, v, part, lane, end - first);
    if (j.fresh)
        gpu_wait_for_previous();
    if (!idle)
        w.fill(j, part, lane, end);
    const auto wait = [&] {
        if (!j.fresh)
            gpu_wait_for_previous();
    };
    if constexpr (B::IS_NORMED) {
        make_vector(a.norm, (float *)room, room + B::SUM_BYTES, wait);
    } else {
        wait();
        for (uint32_t i = 0; i < B::X_SLOTS; i++)
            v.fetch_into(j, i, part, lane);
    }
#pragma unroll 1
    for (uint32_t tile = first; tile < end; tile += j.pass_tiles) {
        sums<B> sum = {};
        const uint32_t n_tiles = min(j.pass_tiles, end - tile);
        if (!idle)
            multiply_pass<STEP, B>(j, w, v, n_tiles, part, lane, end, sum);
        add_warps<B>(j, a, (float *)room, tile, n_tiles, part, lane, sum);
    }
}

#endif
