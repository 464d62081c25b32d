/* multiply_kernel.cuh - y = W x by the tensor cores (mma.m16n8k16), W decoded in registers.
 *
 * A tile is 16 rows, a step 64 columns.  A sum has 16 parts: part p is the sum over steps p, p +
 * 16, ... in this order; the whole is
 *
 *     ((p0 + p8) + (p1 + p9)) + (p2 + p10) + ... + (p7 + p15)
 *
 * whatever the number of vectors, form, blocks and warps.  A block has 16 warps: 16 that have a
 * part each, or twice 8 that have parts p and then p + 8.  It takes neighbouring tiles, some of
 * them side by side (a pass), so that what has come of x serves all of them.
 *
 * Weights come through each warp's ring (multiply_ring.cuh), x through a smaller one, which the two
 * warps of the same parts share.  Warps meet only there, and where the parts are added up.  Bytes
 * per weight: 1.51 (2 for rows) from memory into shared memory and out of it again; of x, for 8 NB
 * vectors, NB out of shared memory and NB over the tiles of a pass through the L2 cache. */
#ifndef WEIR_CUDA_MULTIPLY_KERNEL_CUH
#define WEIR_CUDA_MULTIPLY_KERNEL_CUH

#include "gpu_private.h"
#include "multiply_ring.cuh"

#ifndef V_SLOTS
#define V_SLOTS 8
#endif
enum { PARTS = 16, MOST_SLOTS = V_SLOTS, X_SLOTS = 2 };

/* How many vectors there may be, in eights (0: one vector), and what is good for so many. */
template <int GROUPS> struct batch {
    static constexpr int NB = GROUPS ? GROUPS : 1;
    static constexpr bool ONE = GROUPS == 0;
#ifndef V_PARTS
#define V_PARTS  (GROUPS <= 1 ? 16 : 8)
#define V_ROWS   (GROUPS <= 1 ? 1 : 2)
#define V_TILES  (GROUPS <= 2 ? 4 : 2)
#define V_BLOCKS (GROUPS <= 1 ? 2 : 1)
#define V_KEEP   (GROUPS >= 2)
#endif
    static constexpr bool KEEP_X = V_KEEP;  /* in registers, for all tiles of a step */
    static constexpr int K = V_PARTS;       /* warps that share out the parts */
    static constexpr int SIDES = V_ROWS;    /* ... the tiles */
    static constexpr int TILES = V_TILES;   /* of a warp side by side */
    static constexpr int BLOCKS = V_BLOCKS; /* that a processor has room for */
    static constexpr int WARPS = K * SIDES;
    static constexpr int OUTS = ONE ? TILE_ROWS : 128 * NB; /* numbers of a tile */
    static constexpr int ROUND = ONE                         ? TILES
                                 : GROUPS == 1 && TILES >= 2 ? 2
                                                             : 1; /* tiles added up at a time */
    static constexpr uint32_t X_BYTES = ONE ? 2 * STEP_COLUMNS : 1024 * NB; /* of a step */
    static constexpr uint32_t SUM_BYTES = WARPS * ROUND * OUTS * 4;
    static constexpr uint32_t FIXED_BYTES = SUM_BYTES + K * X_SLOTS * X_BYTES;
};

static __device__ __forceinline__ void mma(float c[4], const uint32_t a[4], uint32_t b0,
                                           uint32_t b1)
{
    asm volatile("mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 "
                 "{%0,%1,%2,%3},{%4,%5,%6,%7},{%8,%9},{%0,%1,%2,%3};"
                 : "+f"(c[0]), "+f"(c[1]), "+f"(c[2]), "+f"(c[3])
                 : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b0), "r"(b1));
}

/* The step after `step` of a warp whose first part is `part`; its first again after the last. */
template <int K>
static __device__ __forceinline__ uint32_t step_after(uint32_t step, uint32_t part,
                                                      uint32_t n_steps, bool *last)
{
    *last = false;
    if (step + PARTS < n_steps)
        return step + PARTS;
    if (K < PARTS && step % PARTS == part && part + K < n_steps)
        return part + K;
    *last = true;
    return part;
}

/* Where a warp is. */
struct warp_place {
    uint32_t lane, part, side;
    uint32_t first, end; /* the block's tiles */
};

/* A warp's ring and what it fetches next: the same order as what it computes. */
template <class RING, class B> struct weights {
    uint32_t ring, bars; /* in shared memory */
    const uint8_t *from; /* to be fetched next; NULL: nothing is left */
    uint32_t base, tile; /* the first tile of its pass; its own */
    uint32_t step;
    uint32_t slot, phase; /* to be read next */

    /* To the warp's next step, or next pass. */
    __device__ __forceinline__ void go_on(const struct multiply_job &j, const struct warp_place &at)
    {
        bool last;
        step = step_after<B::K>(step, at.part, j.n_steps, &last);
        if (last)
            base += j.pass_tiles;
        tile = base + at.side;
        from = tile < at.end ? RING::at(j, tile, step) : NULL;
    }

    __device__ __forceinline__ void fetch_into(const struct multiply_job &j,
                                               const struct warp_place &at, uint32_t to)
    {
        if (!from)
            return;
        RING::fetch(j, from, tile, step, at.lane, ring + to * RING::SLOT_BYTES, bars + 8 * to);
        tile += B::SIDES;
        from += B::SIDES * RING::tile_bytes(j);
        if (tile >= base + j.pass_tiles || tile >= at.end)
            go_on(j, at);
    }

    __device__ __forceinline__ void begin(const struct multiply_job &j, const struct warp_place &at)
    {
        base = at.first;
        tile = base + at.side;
        step = at.part;
        const bool any = step < j.n_steps && tile < at.end && at.side < j.pass_tiles;
        from = any ? RING::at(j, tile, step) : NULL;
        slot = phase = 0;
        if (at.lane == 0)
            for (uint32_t i = 0; i < j.n_slots; i++)
                bar_init(bars + 8 * i, RING::ARRIVALS);
    }

    __device__ __forceinline__ void fetch_first(const struct multiply_job &j,
                                                const struct warp_place &at)
    {
#pragma unroll 1
        for (uint32_t i = 0; i < j.n_slots; i++)
            fetch_into(j, at, i);
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
    __device__ __forceinline__ void pass_on(const struct multiply_job &j,
                                            const struct warp_place &at)
    {
        __syncwarp();
        fetch_into(j, at, slot);
        if (++slot == j.n_slots) {
            slot = 0;
            phase ^= 1;
        }
    }
};

/* x of the steps to come, for the SIDES warps of the same parts; the first of them fetches. */
template <class RING, class B> struct vectors {
    uint32_t ring, full, empty; /* in shared memory; `full` and `empty`: X_SLOTS barriers each */
    uint32_t left, step;        /* to be fetched */
    uint32_t n;                 /* read so far */

    __device__ __forceinline__ void fetch_into(const struct multiply_job &j,
                                               const struct warp_place &at, uint32_t slot)
    {
        if (!left)
            return;
        fetch<RING::ENGINE_FOR_X>::bytes(ring + slot * B::X_BYTES, j.x + (size_t)step * j.x_stride,
                                         B::X_BYTES, at.lane, full + 8 * slot);
        bool last;
        step = step_after<B::K>(step, at.part, j.n_steps, &last);
        left--;
    }

    __device__ __forceinline__ void begin(const struct multiply_job &j, const struct warp_place &at)
    {
        const uint32_t passes = (at.end - at.first + j.pass_tiles - 1) / j.pass_tiles;
        uint32_t steps = 0;
        for (uint32_t p = at.part; p < PARTS && p < j.n_steps; p += B::K)
            steps += (j.n_steps - p + PARTS - 1) / PARTS;
        left = at.side == 0 ? passes * steps : 0;
        step = at.part;
        n = 0;
        if (at.lane == 0 && at.side == 0)
            for (uint32_t i = 0; i < X_SLOTS; i++) {
                bar_init(full + 8 * i, fetch<RING::ENGINE_FOR_X>::ARRIVALS);
                bar_init(empty + 8 * i, B::SIDES);
            }
    }

    __device__ __forceinline__ void fetch_first(const struct multiply_job &j,
                                                const struct warp_place &at)
    {
        for (uint32_t i = 0; i < X_SLOTS; i++)
            fetch_into(j, at, i);
    }

    __device__ __forceinline__ uint32_t wait() const
    {
        bar_wait(full + 8 * (n % X_SLOTS), n / X_SLOTS % 2);
        return ring + n % X_SLOTS * B::X_BYTES;
    }

    /* The step is done: when all have said so, the slot is filled again. */
    __device__ __forceinline__ void pass_on(const struct multiply_job &j,
                                            const struct warp_place &at)
    {
        const uint32_t slot = n % X_SLOTS;
        __syncwarp();
        if (B::SIDES > 1) {
            if (at.lane == 0)
                bar_arrive(empty + 8 * slot);
            if (left)
                bar_wait(empty + 8 * slot, n / X_SLOTS % 2);
        }
        fetch_into(j, at, slot);
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

template <class RING, class B>
static __device__ __forceinline__ void
multiply_step(const struct multiply_job &j, const struct warp_place &at, weights<RING, B> &w,
              vectors<RING, B> &v, uint32_t step, uint32_t n_tiles, sums<B> &sum)
{
    const uint32_t x_at = v.wait();
    uint4 x[2][B::NB];
    if (B::KEEP_X) {
        read_x<B>(x_at, at.lane, 0, x[0]);
        read_x<B>(x_at, at.lane, 1, x[1]);
    }
#pragma unroll
    for (int r = 0; r < B::TILES; r++) {
        if (r >= n_tiles)
            break;
        RING read;
        w.wait();
        read.read(step, at.lane, w.slot_at());
#pragma unroll
        for (int h = 0; h < 2; h++) {
            uint32_t a[2][4];
            if (!B::KEEP_X)
                read_x<B>(x_at, at.lane, h, x[h]);
            read.decode(j, step, h, at.lane, w.slot_at(), a);
#pragma unroll
            for (int q = 0; q < B::NB; q++)
                mma(sum[r][q], a[0], x[h][q].x, x[h][q].y);
#pragma unroll
            for (int q = 0; q < B::NB; q++)
                mma(sum[r][q], a[1], x[h][q].z, x[h][q].w);
        }
        w.pass_on(j, at);
    }
    v.pass_on(j, at);
}

/* The sums over all steps of a warp. */
template <class RING, class B>
static __device__ __forceinline__ void
multiply_tiles(const struct multiply_job &j, const struct warp_place &at, weights<RING, B> &w,
               vectors<RING, B> &x, uint32_t n_tiles, sums<B> &sum)
{
    sums<B> first = {}; /* of two parts */
    bool last = at.part >= j.n_steps;
#pragma unroll 1
    for (uint32_t step = at.part; !last;) {
        const uint32_t next = step_after<B::K>(step, at.part, j.n_steps, &last);
        multiply_step<RING, B>(j, at, w, x, step, n_tiles, sum);
        if (B::K < PARTS && next == at.part + B::K) {
#pragma unroll
            for (int k = 0; k < sizeof(sum) / sizeof(float); k++) {
                (&first[0][0][0])[k] = (&sum[0][0][0])[k];
                (&sum[0][0][0])[k] = 0;
            }
        }
        step = next;
    }
    if (B::K < PARTS) {
#pragma unroll
        for (int k = 0; k < sizeof(sum) / sizeof(float); k++)
            (&sum[0][0][0])[k] += (&first[0][0][0])[k];
    }
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
        return;
    }
#pragma unroll
    for (int q = 0; q < B::NB; q++)
        ((float4 *)to)[LANES * q + lane] = make_float4(sum[q][0], sum[q][1], sum[q][2], sum[q][3]);
}

/* Number `i` of a tile, over all parts; parts lie `stride` numbers apart. */
template <class B>
static __device__ __forceinline__ float add_parts(const float *parts, uint32_t i, uint32_t stride)
{
    float v = 0;
#pragma unroll 4
    for (uint32_t p = 0; p < PARTS / 2; p++) {
        float pair = parts[p * stride + i];
        if (B::K == PARTS)
            pair += parts[(p + PARTS / 2) * stride + i];
        v = p ? v + pair : pair;
    }
    return v;
}

/* Adds up what the warps have of the pass's `n_tiles` tiles from `tile` on. */
template <class B>
static __device__ __forceinline__ void
add_warps(const struct multiply_job &j, const struct warp_place &at, float *room, uint32_t tile,
          uint32_t n_tiles, const sums<B> &sum)
{
    constexpr uint32_t AT_ONCE = B::SIDES * B::ROUND; /* tiles */
#pragma unroll
    for (int r0 = 0; r0 < B::TILES; r0 += B::ROUND) {
        const uint32_t first = B::SIDES * r0;
        if (first >= n_tiles)
            break;
#pragma unroll
        for (int r = 0; r < B::ROUND; r++)
            if (r0 + r < B::TILES)
                put_part<B>(room + (at.part * AT_ONCE + B::SIDES * r + at.side) * B::OUTS, at.lane,
                            sum[r0 + r]);
        __syncthreads();
        const uint32_t n = min(n_tiles - first, AT_ONCE) * B::OUTS;
        for (uint32_t i = threadIdx.x; i < n; i += LANES * B::WARPS) {
            const float v = add_parts<B>(room, i, AT_ONCE * B::OUTS);
            const uint32_t k = i % B::OUTS, lane = k / 4 % LANES;
            const uint32_t row =
                (tile + first + i / B::OUTS) * TILE_ROWS + (B::ONE ? k : lane / 4 + k % 4 / 2 * 8);
            const uint32_t vector = B::ONE ? 0 : k / 128 * 8 + lane % 4 * 2 + k % 2;
            if (row < j.n_rows && vector < j.n)
                j.y[vector * j.y_stride + row] = v;
        }
        __syncthreads();
    }
}

template <class RING, int GROUPS>
static __global__ void __launch_bounds__(LANES *batch<GROUPS>::WARPS, batch<GROUPS>::BLOCKS)
    multiply(const __grid_constant__ struct multiply_job j)
{
    using B = batch<GROUPS>;
    extern __shared__ __align__(128) uint8_t room[]; /* sums, rings of x, rings of weights */
    __shared__ uint64_t bars[B::WARPS * MOST_SLOTS], x_bars[B::K * 2 * X_SLOTS];
    const uint32_t warp = __shfl_sync(~0u, threadIdx.x / LANES, 0); /* known to be uniform */
    const struct warp_place at = {threadIdx.x % LANES, warp / B::SIDES, warp % B::SIDES,
                                  (uint32_t)((uint64_t)j.n_tiles * blockIdx.x / gridDim.x),
                                  (uint32_t)((uint64_t)j.n_tiles * (blockIdx.x + 1) / gridDim.x)};
    weights<RING, B> w;
    w.ring = shared_at(room) + B::FIXED_BYTES + warp * j.n_slots * RING::SLOT_BYTES;
    w.bars = shared_at(bars + warp * MOST_SLOTS);
    vectors<RING, B> x;
    x.ring = shared_at(room) + B::SUM_BYTES + at.part * X_SLOTS * B::X_BYTES;
    x.full = shared_at(x_bars + at.part * 2 * X_SLOTS);
    x.empty = x.full + 8 * X_SLOTS;
    gpu_let_next_begin();
    w.begin(j, at);
    x.begin(j, at);
    bars_are_ready();
    if (B::SIDES > 1)
        __syncthreads();
    if (j.fresh)
        gpu_wait_for_previous();
    w.fetch_first(j, at);
    if (!j.fresh)
        gpu_wait_for_previous();
    x.fetch_first(j, at);
#pragma unroll 1
    for (uint32_t tile = at.first; tile < at.end; tile += j.pass_tiles) {
        const uint32_t n_tiles = min(j.pass_tiles, at.end - tile);
        const uint32_t mine = (n_tiles + B::SIDES - 1 - at.side) / B::SIDES;
        sums<B> sum = {};
        multiply_tiles<RING, B>(j, at, w, x, mine, sum);
        add_warps<B>(j, at, (float *)room, tile, n_tiles, sum);
    }
}

#endif
