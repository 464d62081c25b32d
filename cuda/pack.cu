/* Rows into the resident form and back, on the device.  A warp has a unit. */
#include "cuda/matrix.h"

#include <string.h>

#include "form.cuh"
#include "gpu_private.h"

enum {
    LANES = 32,
    WARPS = 4,
    N_HIGH = 128,
    NO_CODE = 0xff,
    UNIT_STEPS = 2 * FORM_STEPS,
    N_OF_A_STEP = 8, /* weights of a lane */
};

struct packing {
    uint8_t *units; /* the first of these rows */
    uint32_t *lines, *counts;
    uint32_t most_lines;
    uint2 high;
    uint16_t *rows; /* read, or written */
    uint32_t n_rows, n_columns, units_per_tile;
    uint32_t n_units;
};

/* Weight j of a lane and step: where it is in the unit. */
static __device__ __forceinline__ uint32_t row_of(uint32_t lane, uint32_t j)
{
    return lane / 4 + 8 * (j / 2 % 2);
}

static __device__ __forceinline__ uint32_t column_of(uint32_t step, uint32_t lane, uint32_t j)
{
    return step / 2 * 32 + 8 * (lane % 4) + 4 * (step % 2) + 2 * (j / 4) + j % 2;
}

/* The unit's own rows and columns begin at (first_row, first_column). */
struct unit_view {
    uint32_t first_row, first_column, lane;
    uint8_t *at;
};

static __device__ __forceinline__ bool view_unit(const struct packing &p, struct unit_view *u)
{
    const uint32_t unit = blockIdx.x * WARPS + threadIdx.x / LANES;
    u->lane = threadIdx.x % LANES;
    u->first_row = unit / p.units_per_tile * WEIR_FORM_ROWS;
    u->first_column = unit % p.units_per_tile * WEIR_FORM_COLUMNS;
    u->at = p.units + (size_t)unit * WEIR_FORM_UNIT_BYTES;
    return unit < p.n_units;
}

/* false: filled up. */
static __device__ __forceinline__ bool weight_at(const struct packing &p, const struct unit_view &u,
                                                 uint32_t step, uint32_t j, uint32_t *w)
{
    const uint32_t row = u.first_row + row_of(u.lane, j);
    const uint32_t column = u.first_column + column_of(step, u.lane, j);
    *w = 0;
    if (row >= p.n_rows || column >= p.n_columns)
        return false;
    *w = p.rows[(size_t)row * p.n_columns + column];
    return true;
}

/* Writes a step; which of its weights are exceptions, a bit each. */
static __device__ uint32_t pack_step(const struct packing &p, const struct unit_view &u,
                                     const uint8_t *code_of, uint32_t step)
{
    uint32_t low[2] = {0, 0}, codes = 0, odd = 0;
#pragma unroll
    for (uint32_t j = 0; j < N_OF_A_STEP; j++) {
        uint32_t w;
        if (!weight_at(p, u, step, j, &w))
            continue;
        uint32_t code = code_of[w >> 8 & (N_HIGH - 1)];
        if (code == NO_CODE) {
            odd |= 1u << j;
            code = 0;
        }
        low[j / 4] |= (w & 0xff) << 8 * (j % 4);
        codes |= code << 4 * j | (w >> 15) << (j < 4 ? 8 * j + 7 : 8 * (j - 4) + 3);
    }
    const uint32_t t = step % FORM_STEPS;
    uint8_t *half = u.at + form_half_at(step / FORM_STEPS);
    *(uint2 *)(half + t / 2 * 512 + u.lane * 16 + t % 2 * 8) = make_uint2(low[0], low[1]);
    *(uint32_t *)(half + 1024 + u.lane * 16 + t * 4) = codes;
    return odd;
}

/* The exceptions in ascending order; to[] has room for all. */
static __device__ void write_exceptions(const struct packing &p, const struct unit_view &u,
                                        uint64_t odd, uint32_t *to)
{
    uint32_t base = 0;
#pragma unroll 1
    for (uint32_t step = 0; step < UNIT_STEPS; step++) {
        const uint32_t mine = odd >> 8 * step & 0xff;
        uint32_t upto = __popc(mine);
        for (uint32_t d = 1; d < LANES; d *= 2) {
            const uint32_t below = __shfl_up_sync(~0u, upto, d);
            if (u.lane >= d)
                upto += below;
        }
        uint32_t at = base + upto - __popc(mine);
        for (uint32_t j = 0; j < N_OF_A_STEP; j++) {
            uint32_t w;
            if (mine >> j & 1 && weight_at(p, u, step, j, &w))
                to[at++] = (step << 8 | u.lane << 3 | j) << 16 | w;
        }
        base += __shfl_sync(~0u, upto, LANES - 1);
    }
}

static __global__ void pack_units(const struct packing p)
{
    __shared__ uint8_t code_of[N_HIGH];
    for (uint32_t i = threadIdx.x; i < N_HIGH; i += blockDim.x)
        code_of[i] = NO_CODE;
    __syncthreads();
    if (threadIdx.x < WEIR_FORM_CODES) {
        const uint32_t word = threadIdx.x < 4 ? p.high.x : p.high.y;
        code_of[word >> 8 * (threadIdx.x % 4) & (N_HIGH - 1)] = (uint8_t)threadIdx.x;
    }
    __syncthreads();
    struct unit_view u;
    if (!view_unit(p, &u))
        return;
    uint64_t odd = 0;
#pragma unroll 1
    for (uint32_t step = 0; step < UNIT_STEPS; step++)
        odd |= (uint64_t)pack_step(p, u, code_of, step) << 8 * step;
    uint32_t n = __reduce_add_sync(~0u, __popcll(odd));
    uint32_t *head = (uint32_t *)(u.at + FORM_EXCEPTIONS_AT);
    if (u.lane < WEIR_FORM_INLINE)
        head[u.lane] = WEIR_FORM_NONE;
    if (n == 0)
        return;
    __syncwarp();
    const uint32_t n_lines = n > WEIR_FORM_INLINE ? (n + WEIR_FORM_LINE - 1) / WEIR_FORM_LINE : 0;
    uint32_t first = 0;
    if (u.lane == 0) {
        (void)atomicAdd(p.counts + 1, n);
        if (n_lines)
            first = atomicAdd(p.counts, n_lines);
    }
    first = __shfl_sync(~0u, first, 0);
    if (!n_lines) {
        write_exceptions(p, u, odd, head);
        return;
    }
    if ((uint64_t)first + n_lines > p.most_lines)
        return; /* counted: the matrix is of no use */
    if (u.lane == 0) {
        head[0] = WEIR_FORM_LIST;
        head[1] = first;
        head[2] = n;
    }
    uint32_t *to = p.lines + (size_t)first * WEIR_FORM_LINE;
    for (uint32_t i = n + u.lane; i < n_lines * WEIR_FORM_LINE; i += LANES)
        to[i] = WEIR_FORM_NONE;
    write_exceptions(p, u, odd, to);
}

/* ---- the way back ---- */

/* Eight neighbours in a row. */
static __device__ void put_eight(const struct packing &p, uint32_t row, uint32_t column, uint4 v)
{
    if (row >= p.n_rows || column >= p.n_columns)
        return;
    uint16_t *to = p.rows + (size_t)row * p.n_columns + column;
    if (p.n_columns % 8 == 0) {
        *(uint4 *)to = v;
        return;
    }
    const uint32_t w[4] = {v.x, v.y, v.z, v.w};
#pragma unroll
    for (uint32_t k = 0; k < 8; k++)
        if (column + k < p.n_columns)
            to[k] = (uint16_t)(w[k / 2] >> 16 * (k % 2));
}

static __global__ void unpack_units(const struct packing p)
{
    struct unit_view u;
    if (!view_unit(p, &u))
        return;
    const uint32_t *head = (const uint32_t *)(u.at + FORM_EXCEPTIONS_AT);
    const bool odd = head[0] != WEIR_FORM_NONE;
#pragma unroll
    for (uint32_t quarter = 0; quarter < 4; quarter++) { /* 32 columns */
        const uint32_t t = quarter % 2;
        const uint4 *from = (const uint4 *)(u.at + form_half_at(quarter / 2)) + u.lane;
        const uint4 codes = from[2 * LANES];
        uint32_t a[2][4];
        form_decode(from[t * LANES], t ? codes.z : codes.x, t ? codes.w : codes.y, p.high, a);
        if (odd)
            form_put_exceptions([&](uint32_t i) { return head[i]; }, p.lines, quarter, u.lane, a);
#pragma unroll
        for (uint32_t below = 0; below < 2; below++)
            put_eight(p, u.first_row + u.lane / 4 + 8 * below,
                      u.first_column + 32 * quarter + 8 * (u.lane % 4),
                      make_uint4(a[0][below], a[0][2 + below], a[1][below], a[1][2 + below]));
    }
}

static struct packing packing_of(const struct weir_gpu_matrix *m, uint32_t first_row,
                                 uint32_t n_rows, void *rows)
{
    struct packing p = {};
    p.units_per_tile = (m->n_columns + WEIR_FORM_COLUMNS - 1) / WEIR_FORM_COLUMNS;
    p.units = (uint8_t *)m->at +
              (size_t)(first_row / WEIR_FORM_ROWS) * p.units_per_tile * WEIR_FORM_UNIT_BYTES;
    p.lines = (uint32_t *)m->lines;
    p.counts = m->counts;
    p.most_lines = m->most_lines;
    memcpy(&p.high, m->high, sizeof(p.high));
    p.rows = (uint16_t *)rows;
    p.n_rows = n_rows;
    p.n_columns = m->n_columns;
    p.n_units = (n_rows + WEIR_FORM_ROWS - 1) / WEIR_FORM_ROWS * p.units_per_tile;
    return p;
}

static weir_err launch(struct weir_gpu_stream *s, const struct packing &p,
                       void (*kernel)(struct packing))
{
    const uint32_t n_blocks = (p.n_units + WARPS - 1) / WARPS;
    return gpu_launch(s, gpu_grid{dim3(n_blocks), dim3(LANES * WARPS), 0, false}, kernel, p);
}

/* Whole tiles, unless they are the last rows. */
static bool whole(const struct weir_gpu_matrix *m, uint32_t first_row, uint32_t n_rows)
{
    return first_row % WEIR_FORM_ROWS == 0 && first_row < m->n_rows &&
           n_rows <= m->n_rows - first_row && n_rows > 0 &&
           (n_rows % WEIR_FORM_ROWS == 0 || first_row + n_rows == m->n_rows);
}

weir_err weir_gpu_matrix_pack(struct weir_gpu_stream *s, const struct weir_gpu_matrix *m,
                              uint32_t first_row, uint32_t n_rows, const void *rows)
{
    if (m->form != WEIR_GPU_PACKED || !whole(m, first_row, n_rows))
        return WEIR_ERR_INVALID;
    return launch(s, packing_of(m, first_row, n_rows, (void *)rows), pack_units);
}

weir_err weir_gpu_matrix_unpack(struct weir_gpu_stream *s, const struct weir_gpu_matrix *m,
                                uint32_t first_row, uint32_t n_rows, void *rows)
{
    if (!whole(m, first_row, n_rows))
        return WEIR_ERR_INVALID;
    if (m->form == WEIR_GPU_ROWS)
        return weir_gpu_copy(s, rows, (const uint16_t *)m->at + (size_t)first_row * m->n_columns,
                             (size_t)n_rows * m->n_columns * sizeof(uint16_t));
    return launch(s, packing_of(m, first_row, n_rows, rows), unpack_units);
}
