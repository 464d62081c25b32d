/* multiply_ring.cuh - how weights come to a warp of the multiplication: a ring of slots in shared
 * memory, a step (16 rows x 64 columns) each, with an mbarrier a slot.  A warp fills and empties
 * its own ring, so warps never wait for each other. */
#ifndef WEIR_CUDA_MULTIPLY_RING_CUH
#define WEIR_CUDA_MULTIPLY_RING_CUH

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

static __device__ __forceinline__ void bar_init(uint64_t *bar, uint32_t n)
{
    asm volatile("mbarrier.init.shared.b64 [%0], %1;" ::"r"(shared_at(bar)), "r"(n) : "memory");
}

static __device__ __forceinline__ void bar_wait(uint64_t *bar, uint32_t phase)
{
#if HAS_BULK_COPY
    asm volatile(
        "{\n.reg .pred p;\nagain:\n"
        "mbarrier.try_wait.parity.shared.b64 p, [%0], %1;\n@!p bra again;\n}" ::"r"(shared_at(bar)),
        "r"(phase)
        : "memory");
#else
    asm volatile("{\n.reg .pred p;\nagain:\n"
                 "mbarrier.test_wait.parity.shared.b64 p, [%0], %1;\n@!p bra again;\n}" ::"r"(
                     shared_at(bar)),
                 "r"(phase)
                 : "memory");
#endif
}

static __device__ __forceinline__ void bar_arrive(uint64_t *bar)
{
    asm volatile("{\n.reg .b64 t;\nmbarrier.arrive.shared.b64 t, [%0];\n}" ::"r"(shared_at(bar))
                 : "memory");
}

/* Arrives when this thread's copies so far are done. */
static __device__ __forceinline__ void bar_arrive_after_copies(uint64_t *bar)
{
    asm volatile("cp.async.mbarrier.arrive.noinc.shared.b64 [%0];" ::"r"(shared_at(bar))
                 : "memory");
}

/* 16 bytes; of which `bytes` are read and the others zero. */
static __device__ __forceinline__ void copy_16(void *to, const void *from, uint32_t bytes)
{
    asm volatile("cp.async.cg.shared.global [%0], [%1], 16, %2;" ::"r"(shared_at(to)), "l"(from),
                 "r"(bytes)
                 : "memory");
}

/* ---- the resident form ---- */

struct packed_ring {
    enum {
        SLOT_BYTES = WEIR_FORM_HALF_BYTES + 16,
        N_ARRIVE = HAS_BULK_COPY ? 1 : LANES,
    };

    /* The exceptions lie between the halves, and come with either. */
    static __device__ __forceinline__ void fetch(const struct multiply_job &j, uint32_t tile,
                                                 uint32_t step, uint32_t lane, uint8_t *slot,
                                                 uint64_t *bar)
    {
        const uint32_t units_per_tile = (j.n_steps + 1) / 2;
        const uint8_t *from = j.weights +
                              ((size_t)tile * units_per_tile + step / 2) * WEIR_FORM_UNIT_BYTES +
                              step % 2 * WEIR_FORM_HALF_BYTES;
#if HAS_BULK_COPY
        if (lane == 0) {
            asm volatile("mbarrier.arrive.expect_tx.shared.b64 _, [%0], %1;" ::"r"(shared_at(bar)),
                         "r"((uint32_t)SLOT_BYTES)
                         : "memory");
            asm volatile("cp.async.bulk.shared::cluster.global.mbarrier::complete_tx::bytes [%0], "
                         "[%1], %2, [%3];" ::"r"(shared_at(slot)),
                         "l"(from), "r"((uint32_t)SLOT_BYTES), "r"(shared_at(bar))
                         : "memory");
        }
#else
        for (uint32_t at = 16 * lane; at < SLOT_BYTES; at += 16 * LANES)
            copy_16(slot + at, from + at, 16);
        bar_arrive_after_copies(bar);
#endif
    }

    /* `fetch_next` is called as soon as the slot has been read. */
    template <class F>
    static __device__ __forceinline__ void take(const struct multiply_job &j, uint32_t step,
                                                uint32_t lane, const uint8_t *slot,
                                                uint32_t a[FORM_STEPS][4], F fetch_next)
    {
        const uint32_t half = step % 2;
        const uint4 *from = (const uint4 *)(slot + 16 * half) + lane;
        const uint4 w[3] = {from[0], from[LANES], from[2 * LANES]};
        const uint32_t *head = (const uint32_t *)(slot + (half ? 0 : FORM_EXCEPTIONS_AT));
        const uint32_t first = head[0];
        if (first == WEIR_FORM_NONE) {
            __syncwarp();
            fetch_next();
            form_decode(w, j.high, a);
        } else {
            form_decode(w, j.high, a);
            form_put_exceptions(head, j.lines, half, lane, a);
            __syncwarp();
            fetch_next();
        }
    }
};

/* ---- rows ---- */

struct rows_ring {
    enum { SLOT_BYTES = TILE_ROWS * STEP_COLUMNS * 2, N_ARRIVE = LANES };

    /* Rows that do not begin at multiples of 16 bytes: weight by weight. */
    static __device__ __noinline__ void fetch_odd(const uint16_t *row, uint32_t column,
                                                  uint32_t n_columns, uint4 *to)
    {
        uint32_t w[4] = {0, 0, 0, 0};
#pragma unroll
        for (uint32_t k = 0; k < 8; k++)
            if (row && column + k < n_columns)
                w[k / 2] |= (uint32_t)row[column + k] << 16 * (k % 2);
        *to = make_uint4(w[0], w[1], w[2], w[3]);
    }

    /* Each lane brings what it will read itself: of rows l / 4 and l / 4 + 8, in each 32 columns,
     * the 8 from 8 (l % 4) on. */
    static __device__ __forceinline__ void fetch(const struct multiply_job &j, uint32_t tile,
                                                 uint32_t step, uint32_t lane, uint8_t *slot,
                                                 uint64_t *bar)
    {
        const bool odd = j.n_columns % 8;
#pragma unroll
        for (uint32_t k = 0; k < 4; k++) {
            const uint32_t row = tile * TILE_ROWS + lane / 4 + k % 2 * 8;
            const uint32_t column = step * STEP_COLUMNS + k / 2 * 32 + lane % 4 * 8;
            const uint16_t *from = (const uint16_t *)j.weights + (size_t)row * j.n_columns;
            uint4 *to = (uint4 *)slot + k * LANES + lane;
            if (odd) {
                fetch_odd(row < j.n_rows ? from : NULL, column, j.n_columns, to);
            } else {
                const bool there = row < j.n_rows && column < j.n_columns;
                copy_16(to, there ? (const void *)(from + column) : j.weights, there ? 16 : 0);
            }
        }
        if (odd)
            bar_arrive(bar);
        else
            bar_arrive_after_copies(bar);
    }

    template <class F>
    static __device__ __forceinline__ void take(const struct multiply_job &j, uint32_t step,
                                                uint32_t lane, const uint8_t *slot,
                                                uint32_t a[FORM_STEPS][4], F fetch_next)
    {
        (void)j;
        (void)step;
        const uint4 *from = (const uint4 *)slot + lane;
#pragma unroll
        for (uint32_t h = 0; h < 2; h++) {
            const uint4 v = from[2 * h * LANES], w = from[(2 * h + 1) * LANES];
            a[2 * h][0] = v.x;
            a[2 * h][1] = w.x;
            a[2 * h][2] = v.y;
            a[2 * h][3] = w.y;
            a[2 * h + 1][0] = v.z;
            a[2 * h + 1][1] = w.z;
            a[2 * h + 1][2] = v.w;
            a[2 * h + 1][3] = w.w;
        }
        __syncwarp();
        fetch_next();
    }
};

#endif
