/* multiply_steps.cuh - how weights and vectors come to a warp of the multiplication: into slots of
 * shared memory, a step (16 rows x 64 columns) each, with an mbarrier a slot.  A warp fills and
 * empties its own slots, so warps never wait for each other. */
#ifndef WEIR_CUDA_MULTIPLY_STEPS_CUH
#define WEIR_CUDA_MULTIPLY_STEPS_CUH

#include "form.cuh"
#include "multiply.cuh"

enum { STEP_COLUMNS = 64, TILE_ROWS = 16, LANES = 32 };

#if defined(__CUDA_ARCH__) && __CUDA_ARCH__ >= 900
#define HAS_BULK_COPY 1
#else
#define HAS_BULK_COPY 0
#endif

static __device__ __forceinline__ uint32_t shared_at(const void *p)
{
    return (uint32_t)__cvta_generic_to_shared(p);
}

static __device__ __forceinline__ void bar_init(uint32_t bar, uint32_t n)
{
    asm volatile("mbarrier.init.shared.b64 [%0], %1;" ::"r"(bar), "r"(n) : "memory");
}

static __device__ __forceinline__ void bar_wait(uint32_t bar, uint32_t phase)
{
#if HAS_BULK_COPY
    asm volatile("{\n.reg .pred p;\nagain:\n"
                 "mbarrier.try_wait.parity.shared.b64 p, [%0], %1;\n@!p bra again;\n}" ::"r"(bar),
                 "r"(phase)
                 : "memory");
#else
    asm volatile("{\n.reg .pred p;\nagain:\n"
                 "mbarrier.test_wait.parity.shared.b64 p, [%0], %1;\n@!p bra again;\n}" ::"r"(bar),
                 "r"(phase)
                 : "memory");
#endif
}

static __device__ __forceinline__ void bar_arrive(uint32_t bar)
{
    asm volatile("{\n.reg .b64 t;\nmbarrier.arrive.shared.b64 t, [%0];\n}" ::"r"(bar) : "memory");
}

/* Arrives when this thread's copies so far are done. */
static __device__ __forceinline__ void bar_arrive_after_copies(uint32_t bar)
{
    asm volatile("cp.async.mbarrier.arrive.noinc.shared.b64 [%0];" ::"r"(bar) : "memory");
}

/* 16 bytes; of which `bytes` are read and the others zero. */
static __device__ __forceinline__ void copy_16(uint32_t to, const void *from, uint32_t bytes)
{
    asm volatile("cp.async.cg.shared.global [%0], [%1], 16, %2;" ::"r"(to), "l"(from), "r"(bytes)
                 : "memory");
}

static __device__ __forceinline__ uint4 read_16(uint32_t at)
{
    uint4 v;
    asm volatile("ld.shared.v4.u32 {%0, %1, %2, %3}, [%4];"
                 : "=r"(v.x), "=r"(v.y), "=r"(v.z), "=r"(v.w)
                 : "r"(at)
                 : "memory");
    return v;
}

static __device__ __forceinline__ uint2 read_8(uint32_t at)
{
    uint2 v;
    asm volatile("ld.shared.v2.u32 {%0, %1}, [%2];" : "=r"(v.x), "=r"(v.y) : "r"(at) : "memory");
    return v;
}

static __device__ __forceinline__ uint32_t read_4(uint32_t at)
{
    uint32_t v;
    asm volatile("ld.shared.u32 %0, [%1];" : "=r"(v) : "r"(at) : "memory");
    return v;
}

/* Barriers that were made are there for the copy engine too. */
static __device__ __forceinline__ void bars_are_ready(void)
{
#if HAS_BULK_COPY
    asm volatile("fence.mbarrier_init.release.cluster;" ::: "memory");
    asm volatile("fence.proxy.async.shared::cta;" ::: "memory");
#endif
    __syncwarp();
}

/* `bytes` (a multiple of 16) by the copy engine; one thread of the warp does it, and arrives.  They
 * are read once: the L2 cache keeps x rather than them. */
static __device__ __forceinline__ void copy_bulk(uint32_t to, const void *from, uint32_t bytes,
                                                 uint32_t bar)
{
#if HAS_BULK_COPY
    const uint64_t evict_first = 0x12f0000000000000;
    asm volatile("{\n.reg .pred p;\n.reg .b32 t;\nelect.sync t|p, 0xffffffff;\n"
                 "@p mbarrier.arrive.expect_tx.shared.b64 _, [%3], %2;\n"
                 "@p cp.async.bulk.shared::cluster.global.mbarrier::complete_tx::bytes"
                 ".L2::cache_hint [%0], [%1], %2, [%3], %4;\n}" ::"r"(to),
                 "l"(from), "r"(bytes), "r"(bar), "l"(evict_first)
                 : "memory");
#endif
}

/* As copy_bulk, of two pieces; the second goes behind the first.  All warps read the second again
 * and again: it may stay in the L2 cache. */
static __device__ __forceinline__ void copy_bulk_two(uint32_t to, const void *from, uint32_t bytes,
                                                     const void *more, uint32_t more_bytes,
                                                     uint32_t bar)
{
#if HAS_BULK_COPY
    const uint64_t evict_first = 0x12f0000000000000;
    asm volatile("{\n.reg .pred p;\n.reg .b32 t;\nelect.sync t|p, 0xffffffff;\n"
                 "@p mbarrier.arrive.expect_tx.shared.b64 _, [%3], %7;\n"
                 "@p cp.async.bulk.shared::cluster.global.mbarrier::complete_tx::bytes"
                 ".L2::cache_hint [%0], [%1], %2, [%3], %8;\n"
                 "@p cp.async.bulk.shared::cluster.global.mbarrier::complete_tx::bytes"
                 " [%4], [%5], %6, [%3];\n}" ::"r"(to),
                 "l"(from), "r"(bytes), "r"(bar), "r"(to + bytes), "l"(more), "r"(more_bytes),
                 "r"(bytes + more_bytes), "l"(evict_first)
                 : "memory");
#endif
}

/* Copies by the engine, or by the threads of a warp: where there is no engine, and what must not
 * wait in its queue.  The barrier has ARRIVALS.
 *
 * The engine takes no notice of reads that are under way: what lies at `to` must have been used, on
 * the far side of a branch, when it is told to. */
template <bool ENGINE> struct copying {
    static constexpr bool BULK = ENGINE && HAS_BULK_COPY;
    static constexpr uint32_t ARRIVALS = BULK ? 1 : LANES;

    static __device__ __forceinline__ void bytes(uint32_t to, const void *from, uint32_t n,
                                                 uint32_t lane, uint32_t bar)
    {
        if (BULK) {
            copy_bulk(to, from, n, bar);
        } else {
            for (uint32_t i = 16 * lane; i < n; i += 16 * LANES)
                copy_16(to + i, (const uint8_t *)from + i, 16);
            bar_arrive_after_copies(bar);
        }
    }

    /* Two pieces, one behind the other. */
    static __device__ __forceinline__ void two(uint32_t to, const void *from, uint32_t n,
                                               const void *more, uint32_t more_n, uint32_t lane,
                                               uint32_t bar)
    {
        if (BULK) {
            copy_bulk_two(to, from, n, more, more_n, bar);
        } else {
            for (uint32_t i = 16 * lane; i < n + more_n; i += 16 * LANES)
                copy_16(to + i, i < n ? (const uint8_t *)from + i : (const uint8_t *)more + i - n,
                        16);
            bar_arrive_after_copies(bar);
        }
    }
};

/* ---- the resident form ---- */

struct packed_step {
    static constexpr uint32_t SLOT_BYTES = WEIR_FORM_HALF_BYTES + 16;
    static constexpr uint32_t ARRIVALS = copying<true>::ARRIVALS;
    static constexpr bool ENGINE_FOR_X = false; /* x would queue behind weights */

    /* Where a step of a tile is, and from a tile to the next; the exceptions lie between the
     * halves, and come with either. */
    static __device__ __forceinline__ const uint8_t *at(const struct multiply_job &j, uint32_t tile,
                                                        uint32_t step)
    {
        const uint32_t unit = tile * ((j.n_steps + 1) / 2) + step / 2; /* they are < 2^32 */
        return j.weights + (size_t)unit * WEIR_FORM_UNIT_BYTES + step % 2 * WEIR_FORM_HALF_BYTES;
    }

    static __device__ __forceinline__ void fetch(const struct multiply_job &j, uint32_t tile,
                                                 uint32_t step, uint32_t lane, uint32_t slot,
                                                 uint32_t bar)
    {
        copying<true>::bytes(slot, at(j, tile, step), SLOT_BYTES, lane, bar);
    }

    uint4 low[2], codes;
    bool odd; /* has exceptions in this half */

    __device__ __forceinline__ void read(uint32_t step, uint32_t lane, uint32_t slot)
    {
        const uint32_t from = slot + step % 2 * 16 + 16 * lane;
        const uint4 head = read_16(head_at(step, slot));
        low[0] = read_16(from);
        low[1] = read_16(from + 16 * LANES);
        codes = read_16(from + 2 * 16 * LANES);
        odd = head.x != WEIR_FORM_NONE;
        if (odd) {
            const uint32_t half = step % 2;
            odd = head.x == WEIR_FORM_LIST || head.x >> 26 == half || head.y >> 26 == half ||
                  head.z >> 26 == half || head.w >> 26 == half;
        }
    }

    /* Columns 32 h to 32 h + 31 of the step; the slot is as it was. */
    __device__ __forceinline__ void decode(const struct multiply_job &j, uint2 high, uint32_t step,
                                           int h, uint32_t lane, uint32_t slot,
                                           uint32_t a[2][4]) const
    {
        form_decode(low[h], h ? codes.z : codes.x, h ? codes.w : codes.y, high, a);
        if (odd) {
            const uint32_t head = head_at(step, slot);
            form_put_exceptions([&](uint32_t i) { return read_4(head + 4 * i); }, j.lines,
                                step % 2 * 2 + h, lane, a);
        }
    }

    static __device__ __forceinline__ uint32_t head_at(uint32_t step, uint32_t slot)
    {
        return slot + (step % 2 ? 0 : FORM_EXCEPTIONS_AT);
    }
};

/* ---- rows ---- */

struct rows_step {
    static constexpr uint32_t SLOT_BYTES = TILE_ROWS * STEP_COLUMNS * 2;
    static constexpr uint32_t ARRIVALS = LANES;
    static constexpr bool ENGINE_FOR_X = true;

    /* Where weights are missing, or rows do not begin at multiples of 16 bytes. */
    static __device__ __noinline__ void fetch_odd(const struct multiply_job &j, uint32_t row,
                                                  uint32_t column, uint32_t to)
    {
#pragma unroll 1
        for (uint32_t k = 0; k < 4; k++) {
            const uint32_t r = row + k % 2 * 8, c = column + k / 2 * 32;
            const uint16_t *from = (const uint16_t *)j.weights + (size_t)r * j.n_columns + c;
            uint32_t w[4] = {0, 0, 0, 0};
#pragma unroll
            for (uint32_t i = 0; i < 8; i++)
                if (r < j.n_rows && c + i < j.n_columns)
                    w[i / 2] |= (uint32_t)from[i] << 16 * (i % 2);
            asm volatile("st.shared.v4.u32 [%0], {%1, %2, %3, %4};" ::"r"(to + 16 * LANES * k),
                         "r"(w[0]), "r"(w[1]), "r"(w[2]), "r"(w[3])
                         : "memory");
        }
    }

    static __device__ __forceinline__ const uint8_t *at(const struct multiply_job &j, uint32_t tile,
                                                        uint32_t step)
    {
        return j.weights + ((size_t)tile * TILE_ROWS * j.n_columns + step * STEP_COLUMNS) * 2;
    }

    /* Each lane brings what it will read itself: of rows l / 4 and l / 4 + 8, in each 32 columns,
     * the 8 from 8 (l % 4) on. */
    static __device__ __forceinline__ void fetch(const struct multiply_job &j, uint32_t tile,
                                                 uint32_t step, uint32_t lane, uint32_t slot,
                                                 uint32_t bar)
    {
        const uint32_t row = tile * TILE_ROWS, column = step * STEP_COLUMNS, to = slot + 16 * lane;
        if (j.n_columns % 8 || row + TILE_ROWS > j.n_rows || column + STEP_COLUMNS > j.n_columns) {
            fetch_odd(j, row + lane / 4, column + lane % 4 * 8, to);
            bar_arrive(bar);
            return;
        }
        const uint8_t *from =
            at(j, tile, step) + ((size_t)(lane / 4) * j.n_columns + lane % 4 * 8) * 2;
        const uint8_t *below = from + (size_t)16 * j.n_columns;
        copy_16(to, from, 16);
        copy_16(to + 16 * LANES, below, 16);
        copy_16(to + 2 * 16 * LANES, from + 64, 16);
        copy_16(to + 3 * 16 * LANES, below + 64, 16);
        bar_arrive_after_copies(bar);
    }

    uint4 v[4];

    __device__ __forceinline__ void read(uint32_t step, uint32_t lane, uint32_t slot)
    {
        (void)step;
#pragma unroll
        for (uint32_t k = 0; k < 4; k++)
            v[k] = read_16(slot + 16 * (k * LANES + lane));
    }

    __device__ __forceinline__ void decode(const struct multiply_job &j, uint2 high, uint32_t step,
                                           int h, uint32_t lane, uint32_t slot,
                                           uint32_t a[2][4]) const
    {
        (void)j;
        (void)high;
        (void)step;
        (void)lane;
        (void)slot;
        const uint4 above = v[2 * h], below = v[2 * h + 1];
        a[0][0] = above.x;
        a[0][1] = below.x;
        a[0][2] = above.y;
        a[0][3] = below.y;
        a[1][0] = above.z;
        a[1][1] = below.z;
        a[1][2] = above.w;
        a[1][3] = below.w;
    }
};

#endif
