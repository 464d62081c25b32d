/* A laboratory for the fused matmul: y = W x, W in BF16 as the tensor cores want it, raw or in 12
 * bits a weight, against cublasGemmEx in the same run.  Seventh attempt; docs/benchmarks.md has
 * what all of them gave.  Long because kernel, check and comparison are thrown away together.
 *
 *     fused_lab [BATCH|0 [BLOCKS_PER_SM]]      a table on stdout; 0: all batches
 *
 * A unit is 16 rows x 64 columns.  12 bits: a lane's low bytes, and four bits each: three that pick
 * one of 8 high bytes (PRMT does four at once), and a sign.  What has another high byte comes along
 * as an exception, four in the unit itself, more in a line of 32.  A lane's 8 weights of 16 columns
 * decode in 11 instructions; a column goes to the same place of the same fragment in both forms, so
 * the sums are the same bit for bit ("differ").
 *
 * Each warp has a ring in shared memory that the copy engine fills, a unit at a time
 * (cp.async.bulk, an mbarrier a slot): what is on its way takes no registers and no scoreboards, of
 * which a warp has six.  Warps share out the columns of R tiles that are done side by side.  The
 * next launch comes up beside this one and fetches its first weights (programmatic dependent
 * launch).
 *
 * -D N_WARPS, STAGES, MIN_BLOCKS, PDL=0 make other variants. */
#include <algorithm>
#include <cublas_v2.h>
#include <cuda_bf16.h>
#include <cuda_runtime.h>
#include <math.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <vector>

#define CK(e)                                                                                      \
    do {                                                                                           \
        cudaError_t r_ = (e);                                                                      \
        if (r_ != cudaSuccess) {                                                                   \
            printf("%s:%d %s\n", __FILE__, __LINE__, cudaGetErrorString(r_));                      \
            exit(1);                                                                               \
        }                                                                                          \
    } while (0)
#define CB(e)                                                                                      \
    do {                                                                                           \
        cublasStatus_t r_ = (e);                                                                   \
        if (r_ != CUBLAS_STATUS_SUCCESS) {                                                         \
            printf("%s:%d cublas %d\n", __FILE__, __LINE__, (int)r_);                              \
            exit(1);                                                                               \
        }                                                                                          \
    } while (0)

#ifndef N_WARPS
#define N_WARPS 16
#endif
enum { WARPS = N_WARPS, THREADS = 32 * WARPS };

struct matrix {
    const uint4 *units;    // tile-major, unit after unit
    const uint32_t *lines; // 32 to a line
    uint32_t table[2];     // 8 high bytes
    int tiles, units_per_tile;
};

struct job {
    struct matrix m;
    const uint4 *x; // fragment order: [unit][nb][half][lane] (batch 1: [unit][half][4])
    float *y;       // [n][rows]
    int n;
};

__device__ __forceinline__ uint4 load_stream(const uint4 *p)
{
    uint4 v;
    asm volatile("ld.global.nc.L1::no_allocate.L2::128B.v4.u32 {%0,%1,%2,%3}, [%4];"
                 : "=r"(v.x), "=r"(v.y), "=r"(v.z), "=r"(v.w)
                 : "l"(p));
    return v;
}
__device__ __forceinline__ void mma(float *c, const uint32_t *a, uint32_t b0, uint32_t b1)
{
    asm volatile("mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 "
                 "{%0,%1,%2,%3},{%4,%5,%6,%7},{%8,%9},{%0,%1,%2,%3};"
                 : "+f"(c[0]), "+f"(c[1]), "+f"(c[2]), "+f"(c[3])
                 : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b0), "r"(b1));
}
__device__ __forceinline__ void copy_async(uint4 *to, const uint4 *from)
{
    asm volatile(
        "cp.async.cg.shared.global [%0], [%1], 16;" ::"r"((uint32_t)__cvta_generic_to_shared(to)),
        "l"(from)
        : "memory");
}
#define COMMIT() asm volatile("cp.async.commit_group;" ::: "memory")
#define WAIT(n)  asm volatile("cp.async.wait_group %0;" ::"n"(n) : "memory")

#ifndef PDL
#define PDL 1
#endif
#ifndef STAGES
#define STAGES 4
#endif
#ifndef MIN_BLOCKS
#define MIN_BLOCKS 2
#endif
// Decodes step s of a lane's unit.
template <bool RAW>
__device__ __forceinline__ void fragment(const uint4 *w, int s, uint32_t t0, uint32_t t1,
                                         uint32_t *a)
{
    if (RAW) {
        a[0] = w[s].x;
        a[1] = w[s].y;
        a[2] = w[s].z;
        a[3] = w[s].w;
        return;
    }
    const uint4 low = w[s >> 1];
    const uint32_t l0 = s & 1 ? low.z : low.x, l1 = s & 1 ? low.w : low.y;
    const uint32_t c = s == 0 ? w[2].x : s == 1 ? w[2].y : s == 2 ? w[2].z : w[2].w;
    const uint32_t m = c & 0x77777777u;
    const uint32_t h0 = __byte_perm(t0, t1, m) | (c & 0x80808080u);
    const uint32_t h1 = __byte_perm(t0, t1, m >> 16) | ((c << 4) & 0x80808080u);
    a[0] = __byte_perm(l0, h0, 0x5140);
    a[1] = __byte_perm(l0, h0, 0x7362);
    a[2] = __byte_perm(l1, h1, 0x5140);
    a[3] = __byte_perm(l1, h1, 0x7362);
}

__device__ __forceinline__ void put(uint32_t v, int s, int lane, uint32_t *a)
{
    if ((int)(v >> 24) != s || (int)((v >> 19) & 31) != lane)
        return;
    const int j = (v >> 16) & 7;
#pragma unroll
    for (int r = 0; r < 4; r++)
        if (j >> 1 == r)
            a[r] = j & 1 ? (a[r] & 0xffffu) | v << 16 : (a[r] & 0xffff0000u) | (v & 0xffffu);
}

__device__ __forceinline__ uint32_t at(const void *p)
{
    return (uint32_t)__cvta_generic_to_shared(p);
}
__device__ __forceinline__ void bar_init(uint64_t *b)
{
    asm volatile("mbarrier.init.shared.b64 [%0], 1;" ::"r"(at(b)) : "memory");
}
__device__ __forceinline__ void bar_wait(uint64_t *b, uint32_t phase)
{
    asm volatile(
        "{.reg .pred p; L: mbarrier.try_wait.parity.shared.b64 p, [%0], %1; @!p bra L; }" ::"r"(
            at(b)),
        "r"(phase)
        : "memory");
}
__device__ __forceinline__ void fetch(void *to, const void *from, uint32_t bytes, uint64_t *b)
{
    asm volatile("mbarrier.arrive.expect_tx.shared.b64 _, [%0], %1;" ::"r"(at(b)), "r"(bytes)
                 : "memory");
    asm volatile(
        "cp.async.bulk.shared::cluster.global.mbarrier::complete_tx::bytes [%0], [%1], %2, [%3];" ::
            "r"(at(to)),
        "l"(from), "r"(bytes), "r"(at(b))
        : "memory");
}

template <bool RAW> struct unit {
    static constexpr int words = RAW ? 4 : 3, bytes = RAW ? 2048 : 1552;
};

// R tiles side by side.
template <int NB, bool ONE, bool RAW, int R>
__global__ void __launch_bounds__(THREADS, MIN_BLOCKS) fused(const struct job j)
{
    constexpr int WORDS = unit<RAW>::words, BYTES = unit<RAW>::bytes;
    constexpr int OUTS = ONE ? 16 : 128 * NB; // of a tile
    constexpr int XW = ONE ? 8 : 64 * NB;     // uint4 of x per unit
    constexpr int XU = NB == 1 ? 2 : 1;       // units of x for each warp that come at once
    extern __shared__ __align__(128) uint8_t room[];
    const int warp = threadIdx.x / 32, lane = threadIdx.x % 32;
    const int U = j.m.units_per_tile, chunks = (U + WARPS - 1) / WARPS;
    const int t0 = (int)((unsigned)j.m.tiles * blockIdx.x / gridDim.x),
              t1 = (int)((unsigned)j.m.tiles * (blockIdx.x + 1) / gridDim.x);
    uint8_t *ring = room + (size_t)warp * STAGES * BYTES;
    uint4 *xs_all = (uint4 *)(room + (size_t)WARPS * STAGES * BYTES);
    float *sums = (float *)(xs_all + (ONE ? U * XW : 2 * XU * WARPS * XW)); // [WARPS][R][OUTS]
    __shared__ uint64_t bars[WARPS * STAGES];
    uint64_t *bar = bars + warp * STAGES;
    asm volatile("griddepcontrol.launch_dependents;");

    // What is fetched next: the same order as what is computed.
    int f_tile = t0, f_chunk = 0, f_r = 0, f_slot = 0;
    auto fetch_next = [&]() {
        const int u = f_chunk * WARPS + warp;
        if (f_tile >= t1)
            return;
        if (u < U && lane == 0)
            fetch(ring + f_slot * BYTES,
                  (const uint8_t *)j.m.units + ((size_t)(f_tile + f_r) * U + u) * BYTES, BYTES,
                  bar + f_slot);
        if (u < U && ++f_slot == STAGES)
            f_slot = 0;
        if (++f_r == R || f_tile + f_r >= t1) {
            f_r = 0;
            if (++f_chunk == chunks || f_chunk * WARPS + warp >= U) {
                f_chunk = 0;
                f_tile += R;
            }
        }
    };
    if (lane == 0)
        for (int i = 0; i < STAGES; i++)
            bar_init(bar + i);
    asm volatile("fence.mbarrier_init.release.cluster;" ::: "memory");
    asm volatile("fence.proxy.async.shared::cta;" ::: "memory");
    __syncwarp();
    if (warp < U) {
#pragma unroll 1
        for (int i = 0; i < STAGES; i++)
            fetch_next();
    } else
        f_tile = t1;
    asm volatile("griddepcontrol.wait;" ::: "memory");

    auto bring = [&](int group) { // x of XU * WARPS units
        uint4 *to = xs_all + group % 2 * (XU * WARPS * XW);
        const uint4 *from = j.x + (size_t)group * (XU * WARPS * XW);
        const int n = min(XU * WARPS, U - group * XU * WARPS) * XW;
        for (int q = threadIdx.x; q < n; q += THREADS)
            copy_async(to + q, from + q);
        COMMIT();
    };
    if (ONE) {
        for (int q = threadIdx.x; q < U * XW; q += THREADS)
            copy_async(xs_all + q, j.x + q);
        COMMIT();
        WAIT(0);
        __syncthreads();
    }

    int slot = 0;
    uint32_t phase = 0;
    for (int tile = t0; tile < t1; tile += R) {
        float acc[R][NB][4] = {};
        if (!ONE)
            bring(0);
#pragma unroll 1
        for (int c = 0; c < chunks; c++) {
            if (!ONE && c % XU == 0) {
                WAIT(0);
                __syncthreads();
                if (c + XU < chunks)
                    bring(c / XU + 1);
            }
            const int u = c * WARPS + warp;
            if (u >= U)
                continue;
            const uint4 *xs = xs_all + (ONE ? u : (c / XU % 2 * XU + c % XU) * WARPS + warp) * XW;
            uint4 bx[2];
            if (ONE) {
                bx[0] = xs[lane & 3]; // all eight columns are x: the first is used
                bx[1] = xs[4 + (lane & 3)];
            }
#pragma unroll
            for (int r = 0; r < R; r++) {
                if (tile + r >= t1)
                    break;
                bar_wait(bar + slot, phase);
                const uint4 *from = (const uint4 *)(ring + slot * BYTES);
                uint4 w[WORDS], odd = make_uint4(~0u, ~0u, ~0u, ~0u);
#pragma unroll
                for (int q = 0; q < WORDS; q++)
                    w[q] = from[32 * q + lane];
                if (!RAW)
                    odd = from[96];
                if (++slot == STAGES) {
                    slot = 0;
                    phase ^= 1;
                }
                const bool any = !RAW && odd.x != ~0u;
                if (any) {
                    uint32_t e = ~0u;
                    const bool many = odd.x >> 28 == 15;
                    if (many)
                        e = __ldg(j.m.lines + 32 * (size_t)(odd.x & 0xfffffff) + lane);
                    else
                        e = lane == 0   ? odd.x
                            : lane == 1 ? odd.y
                            : lane == 2 ? odd.z
                            : lane == 3 ? odd.w
                                        : ~0u;
                    __syncwarp();
                    fetch_next();
#pragma unroll
                    for (int h = 0; h < 2; h++) {
                        uint32_t a[2][4];
#pragma unroll
                        for (int s = 0; s < 2; s++) {
                            fragment<RAW>(w, 2 * h + s, j.m.table[0], j.m.table[1], a[s]);
                            for (unsigned mask = __ballot_sync(~0u, (int)(e >> 24) == 2 * h + s);
                                 mask; mask &= mask - 1)
                                put(__shfl_sync(~0u, e, __ffs(mask) - 1), 2 * h + s, lane, a[s]);
                        }
#pragma unroll
                        for (int q = 0; q < NB; q++) {
                            const uint4 x = ONE ? bx[h] : xs[(2 * q + h) * 32 + lane];
                            mma(acc[r][q], a[0], x.x, x.y);
                            mma(acc[r][q], a[1], x.z, x.w);
                        }
                    }
                } else {
                    __syncwarp();
                    fetch_next();
#pragma unroll
                    for (int h = 0; h < 2; h++) {
                        uint32_t a[2][4];
#pragma unroll
                        for (int s = 0; s < 2; s++)
                            fragment<RAW>(w, 2 * h + s, j.m.table[0], j.m.table[1], a[s]);
#pragma unroll
                        for (int q = 0; q < NB; q++) {
                            const uint4 x = ONE ? bx[h] : xs[(2 * q + h) * 32 + lane];
                            mma(acc[r][q], a[0], x.x, x.y);
                            mma(acc[r][q], a[1], x.z, x.w);
                        }
                    }
                }
            }
        }
#pragma unroll
        for (int r = 0; r < R; r++) {
            float *to = sums + (warp * R + r) * OUTS;
            if (ONE) {
                if (lane % 4 == 0) {
                    to[lane / 4] = acc[r][0][0];
                    to[lane / 4 + 8] = acc[r][0][2];
                }
            } else {
#pragma unroll
                for (int q = 0; q < NB; q++)
                    *(float4 *)(to + 128 * q + 4 * lane) =
                        make_float4(acc[r][q][0], acc[r][q][1], acc[r][q][2], acc[r][q][3]);
            }
        }
        __syncthreads();
        const int outs = min(R, t1 - tile) * OUTS;
        for (int o = threadIdx.x; o < outs; o += THREADS) {
            float s = sums[o];
#pragma unroll
            for (int v = 1; v < WARPS; v++)
                s += sums[v * R * OUTS + o];
            const int r = o / OUTS, i = o % OUTS;
            if (ONE)
                j.y[16 * (tile + r) + i] = s;
            else {
                const int l = i % 128 / 4, row = 16 * (tile + r) + l / 4 + (i & 2 ? 8 : 0),
                          n = i / 128 * 8 + l % 4 * 2 + (i & 1);
                if (n < j.n)
                    j.y[(size_t)n * 16 * j.m.tiles + row] = s;
            }
        }
        __syncthreads();
    }
}

// ---- the host's side ----

static uint64_t rng = 88172645463325252ull;
static double uniform()
{
    rng ^= rng << 13;
    rng ^= rng >> 7;
    rng ^= rng << 17;
    return (double)(rng >> 11) / 9007199254740992.0;
}
static uint16_t bf16_of(float f)
{
    uint32_t u;
    memcpy(&u, &f, 4);
    u += 0x7fff + (u >> 16 & 1);
    return (uint16_t)(u >> 16);
}
static float float_of(uint16_t b)
{
    uint32_t u = (uint32_t)b << 16;
    float f;
    memcpy(&f, &u, 4);
    return f;
}

static int col_of(int s, int lane, int j)
{
    return 16 * s + 2 * (lane % 4) + (j & 1) + 8 * (j >> 2);
}
static int row_of(int lane, int j)
{
    return lane / 4 + 8 * (j >> 1 & 1);
}

struct packed {
    std::vector<uint32_t> raw, form, lines;
    uint8_t table[8];
    size_t n_exceptions;
};

static packed pack(const std::vector<uint16_t> &w, int rows, int cols)
{
    packed p;
    const int T = rows / 16, U = cols / 64;
    std::vector<size_t> count(128);
    for (uint16_t v : w)
        count[v >> 8 & 127]++;
    std::vector<int> order(128);
    for (int i = 0; i < 128; i++)
        order[i] = i;
    std::stable_sort(order.begin(), order.end(), [&](int a, int b) { return count[a] > count[b]; });
    int index[128];
    for (int i = 0; i < 128; i++)
        index[i] = -1;
    for (int i = 0; i < 8; i++) {
        p.table[i] = (uint8_t)order[i];
        index[order[i]] = i;
    }
    p.raw.resize((size_t)T * U * 512);
    p.form.resize((size_t)T * U * 388);
    p.n_exceptions = 0;
    p.lines.assign(32, ~0u);
    for (size_t unit = 0; unit < (size_t)T * U; unit++) {
        const int t = (int)(unit / U), u = (int)(unit % U);
        uint32_t *raw = &p.raw[unit * 512], *form = &p.form[unit * 388];
        std::vector<uint32_t> ex;
        for (int lane = 0; lane < 32; lane++)
            for (int s = 0; s < 4; s++) {
                uint32_t l[2] = {0, 0}, c = 0, a[4] = {0, 0, 0, 0};
                for (int j = 0; j < 8; j++) {
                    const uint16_t v =
                        w[(size_t)(16 * t + row_of(lane, j)) * cols + 64 * u + col_of(s, lane, j)];
                    a[j >> 1] |= (uint32_t)v << 16 * (j & 1);
                    l[j >> 2] |= (uint32_t)(v & 255) << 8 * (j & 3);
                    int id = index[v >> 8 & 127];
                    if (id < 0) {
                        id = 0;
                        ex.push_back((uint32_t)(s << 8 | lane << 3 | j) << 16 | v);
                    }
                    c |= (uint32_t)id << 4 * j;
                    if (v >> 15)
                        c |= j < 4 ? 1u << (8 * j + 7) : 1u << (8 * (j - 4) + 3);
                }
                memcpy(raw + s * 128 + lane * 4, a, 16);
                uint32_t *low = form + (s >> 1) * 128 + lane * 4 + (s & 1) * 2;
                low[0] = l[0];
                low[1] = l[1];
                form[256 + lane * 4 + s] = c;
            }
        p.n_exceptions += ex.size();
        if (ex.size() > 32) {
            printf("too many exceptions\n");
            exit(1);
        }
        for (size_t q = 0; q < 4; q++)
            form[384 + q] = q < ex.size() ? ex[q] : ~0u;
        if (ex.size() > 4) {
            form[384] = 0xf0000000u | (uint32_t)(p.lines.size() / 32);
            ex.resize(32, ~0u);
            p.lines.insert(p.lines.end(), ex.begin(), ex.end());
        }
    }
    return p;
}

static std::vector<uint32_t> pack_x(const std::vector<uint16_t> &x, int n, int cols, bool one,
                                    int nb)
{
    const int U = cols / 64;
    std::vector<uint32_t> out((size_t)U * (one ? 32 : 256 * nb));
    for (int u = 0; u < U; u++)
        for (int q = 0; q < nb; q++)
            for (int h = 0; h < 2; h++)
                for (int lane = 0; lane < (one ? 4 : 32); lane++)
                    for (int r = 0; r < 4; r++) {
                        const int s = 2 * h + (r >> 1),
                                  k = 64 * u + 16 * s + 2 * (lane % 4) + 8 * (r & 1),
                                  col = 8 * q + lane / 4;
                        uint32_t v = 0;
                        if (col < n)
                            v = x[(size_t)col * cols + k] | (uint32_t)x[(size_t)col * cols + k + 1]
                                                                << 16;
                        out[one ? (size_t)u * 32 + h * 16 + lane * 4 + r
                                : (((size_t)u * nb + q) * 2 + h) * 128 + lane * 4 + r] = v;
                    }
    return out;
}

template <class T> static T *to_device(const std::vector<T> &v)
{
    T *p;
    CK(cudaMalloc(&p, v.size() * sizeof(T)));
    CK(cudaMemcpy(p, v.data(), v.size() * sizeof(T), cudaMemcpyHostToDevice));
    return p;
}

template <int NB, bool ONE, bool RAW, int R>
static void launch(const job &j, int grid, cudaStream_t s)
{
    const int x = ONE ? j.m.units_per_tile * 8 : 2 * (NB == 1 ? 2 : 1) * WARPS * 64 * NB;
    const size_t bytes = (size_t)WARPS * STAGES * unit<RAW>::bytes + (size_t)x * 16 +
                         WARPS * R * (ONE ? 16 : 128 * NB) * 4;
    static size_t set = 0;
    if (bytes > 227 * 1024)
        return;
    if (bytes > set) {
        CK(cudaFuncSetAttribute(fused<NB, ONE, RAW, R>, cudaFuncAttributeMaxDynamicSharedMemorySize,
                                (int)bytes));
        set = bytes;
    }
    cudaLaunchConfig_t c = {};
    c.gridDim = dim3(std::min(grid, j.m.tiles));
    c.blockDim = dim3(THREADS);
    c.dynamicSmemBytes = bytes;
    c.stream = s;
    cudaLaunchAttribute a;
    a.id = cudaLaunchAttributeProgrammaticStreamSerialization;
    a.val.programmaticStreamSerializationAllowed = PDL;
    c.attrs = &a;
    c.numAttrs = 1;
    CK(cudaLaunchKernelEx(&c, fused<NB, ONE, RAW, R>, j));
}
template <int NB, bool ONE, bool RAW> static void launch_r(const job &j, int grid, cudaStream_t s)
{
    const int tb = (j.m.tiles + grid - 1) / grid; // tiles of a block
    const int most = NB <= 2 ? 4 : NB == 4 ? 2 : 1;
    const int passes = (tb + most - 1) / most, r = (tb + passes - 1) / passes;
    if (r >= 4 && NB <= 2)
        launch<NB, ONE, RAW, NB <= 2 ? 4 : 1>(j, grid, s);
    else if (r == 3 && NB <= 2)
        launch<NB, ONE, RAW, NB <= 2 ? 3 : 1>(j, grid, s);
    else if (r == 2 && NB <= 4)
        launch<NB, ONE, RAW, NB <= 4 ? 2 : 1>(j, grid, s);
    else
        launch<NB, ONE, RAW, 1>(j, grid, s);
}
template <bool RAW> static void launch_n(const job &j, int n, int grid, cudaStream_t s)
{
    if (n == 1)
        launch_r<1, true, RAW>(j, grid, s);
    else if (n <= 8)
        launch_r<1, false, RAW>(j, grid, s);
    else if (n <= 16)
        launch_r<2, false, RAW>(j, grid, s);
    else if (n <= 32)
        launch_r<4, false, RAW>(j, grid, s);
    else
        launch_r<8, false, RAW>(j, grid, s);
}

template <class F> static double time_us(F run, int n_runs, cudaStream_t s)
{
    cudaGraph_t g;
    cudaGraphExec_t x;
    cudaEvent_t a, b;
    std::vector<float> t;
    for (int i = 0; i < 3; i++)
        run(i);
    CK(cudaStreamSynchronize(s));
    CK(cudaStreamBeginCapture(s, cudaStreamCaptureModeThreadLocal));
    for (int i = 0; i < n_runs; i++)
        run(i);
    CK(cudaStreamEndCapture(s, &g));
    CK(cudaGraphInstantiate(&x, g, 0));
    CK(cudaEventCreate(&a));
    CK(cudaEventCreate(&b));
    for (int r = 0; r < 9; r++) {
        CK(cudaEventRecord(a, s));
        CK(cudaGraphLaunch(x, s));
        CK(cudaEventRecord(b, s));
        CK(cudaEventSynchronize(b));
        float ms;
        CK(cudaEventElapsedTime(&ms, a, b));
        if (r >= 2)
            t.push_back(ms * 1000 / n_runs);
    }
    std::sort(t.begin(), t.end());
    CK(cudaGraphExecDestroy(x));
    CK(cudaGraphDestroy(g));
    return t[t.size() / 2];
}

int main(int argc, char **argv)
{
    cudaDeviceProp prop;
    CK(cudaGetDeviceProperties(&prop, 0));
    const int sms = prop.multiProcessorCount * (argc > 2 ? atoi(argv[2]) : 1);
    cudaStream_t s;
    CK(cudaStreamCreate(&s));
    cublasHandle_t h;
    CB(cublasCreate(&h));
    CB(cublasSetStream(h, s));
    void *ws;
    CK(cudaMalloc(&ws, 64 << 20));
    CB(cublasSetWorkspace(h, ws, 64 << 20));
    { // the copy bandwidth
        char *a, *b;
        const size_t n = (size_t)1 << 30;
        CK(cudaMalloc(&a, n));
        CK(cudaMalloc(&b, n));
        CK(cudaMemset(a, 1, n));
        const double us =
            time_us([&](int) { CK(cudaMemcpyAsync(b, a, n, cudaMemcpyDeviceToDevice, s)); }, 5, s);
        printf("# %s, %d SMs, copy %.2f TB/s, pdl %d\n", prop.name, sms, 2.0 * n / us / 1e6, PDL);
        CK(cudaFree(a));
        CK(cudaFree(b));
    }
    const int shapes[][2] = {{14336, 4096}, {4096, 14336}, {28672, 8192}, {4096, 4096},
                             {5632, 2048},  {2048, 5632},  {2048, 2048}};
    const int batches[] = {1, 8, 16, 32, 64};
    printf("rows,columns,batch,cublas_us,raw_us,form_us,raw_ratio,form_ratio,form_tb_s,bits,differ,"
           "max_error\n");
    for (auto &sh : shapes) {
        const int rows = sh[0], cols = sh[1];
        const size_t n = (size_t)rows * cols;
        std::vector<uint16_t> w(n);
        static std::vector<uint16_t> base;
        if (base.empty())
            for (base.resize(1 << 22); base.back() == 0;)
                for (size_t i = 0; i < base.size(); i += 2) {
                    const double r = 0.02 * sqrt(-2 * log(1 - uniform())),
                                 a = 6.283185307179586 * uniform();
                    base[i] = bf16_of((float)(r * cos(a)));
                    base[i + 1] = bf16_of((float)(r * sin(a)));
                }
        for (size_t i = 0; i < n; i++)
            w[i] = base[(i + (i >> 22) * 977) & ((1 << 22) - 1)];
        const packed p = pack(w, rows, cols);
        const int copies = (int)std::max<size_t>(2, 400000000 / (2 * n) + 1);
        std::vector<uint16_t *> dw;
        std::vector<uint32_t *> draw, dform;
        for (int c = 0; c < copies; c++) {
            dw.push_back(to_device(w));
            draw.push_back(to_device(p.raw));
            dform.push_back(to_device(p.form));
        }
        uint32_t *dlines = to_device(p.lines);
        for (int b : batches) {
            if (argc > 1 && atoi(argv[1]) && b != atoi(argv[1]))
                continue;
            std::vector<uint16_t> x((size_t)b * cols);
            for (auto &v : x)
                v = bf16_of((float)(2 * uniform() - 1));
            const bool one = b == 1;
            const int nb = one ? 1 : b <= 8 ? 1 : b <= 16 ? 2 : b <= 32 ? 4 : 8;
            uint16_t *dx = to_device(x);
            uint32_t *dxp = to_device(pack_x(x, b, cols, one, nb));
            float *y[2];
            uint16_t *yc;
            for (auto &q : y) {
                CK(cudaMalloc(&q, 4ull * rows * b));
                CK(cudaMemset(q, 0xff, 4ull * rows * b));
            }
            CK(cudaMalloc(&yc, 2ull * rows * b));
            job j = {};
            j.m.lines = dlines;
            memcpy(j.m.table, p.table, 8);
            j.m.tiles = rows / 16;
            j.m.units_per_tile = cols / 64;
            j.x = (const uint4 *)dxp;
            j.n = b;
            const float one_f = 1, zero = 0;
            const int runs = std::max(copies, 20);
            const double tc = time_us(
                [&](int i) {
                    CB(cublasGemmEx(h, CUBLAS_OP_T, CUBLAS_OP_N, rows, b, cols, &one_f,
                                    dw[i % copies], CUDA_R_16BF, cols, dx, CUDA_R_16BF, cols, &zero,
                                    yc, CUDA_R_16BF, rows, CUBLAS_COMPUTE_32F,
                                    CUBLAS_GEMM_DEFAULT));
                },
                runs, s);
            const double tr = time_us(
                [&](int i) {
                    job q = j;
                    q.m.units = (const uint4 *)draw[i % copies];
                    q.y = y[0];
                    launch_n<true>(q, b, sms, s);
                },
                runs, s);
            const double tf = time_us(
                [&](int i) {
                    job q = j;
                    q.m.units = (const uint4 *)dform[i % copies];
                    q.y = y[1];
                    launch_n<false>(q, b, sms, s);
                },
                runs, s);
            std::vector<float> r0((size_t)rows * b), r1((size_t)rows * b);
            CK(cudaMemcpy(r0.data(), y[0], r0.size() * 4, cudaMemcpyDeviceToHost));
            CK(cudaMemcpy(r1.data(), y[1], r1.size() * 4, cudaMemcpyDeviceToHost));
            size_t differ = 0;
            for (size_t i = 0; i < r0.size(); i++)
                differ += memcmp(&r0[i], &r1[i], 4) != 0;
            double worst = 0;
            for (int q = 0; q < 200; q++) {
                const int row = q < 32 ? q : (int)(uniform() * rows), c = (int)(uniform() * b);
                double sum = 0;
                for (int i = 0; i < cols; i++)
                    sum += (double)float_of(w[(size_t)row * cols + i]) *
                           float_of(x[(size_t)c * cols + i]);
                worst = std::max(worst, fabs(sum - r0[(size_t)c * rows + row]));
            }
            const double bytes = p.form.size() * 4.0 + p.lines.size() * 4.0;
            printf("%d,%d,%d,%.2f,%.2f,%.2f,%.3f,%.3f,%.2f,%.3f,%zu,%.2g\n", rows, cols, b, tc, tr,
                   tf, tc / tr, tc / tf, bytes / tf / 1e6, 8 * bytes / n, differ, worst);
            fflush(stdout);
            CK(cudaFree(dx));
            CK(cudaFree(dxp));
            CK(cudaFree(y[0]));
            CK(cudaFree(y[1]));
            CK(cudaFree(yc));
        }
        for (int c = 0; c < copies; c++) {
            CK(cudaFree(dw[c]));
            CK(cudaFree(draw[c]));
            CK(cudaFree(dform[c]));
        }
        CK(cudaFree(dlines));
    }
    return 0;
}
