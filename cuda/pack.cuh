/* pack.cuh - what packing rows into a resident form is made of, whichever form: units, the weights
 * in them, exceptions.  A warp has a unit. */
#ifndef WEIR_CUDA_PACK_CUH
#define WEIR_CUDA_PACK_CUH

#include <string.h>

#include "cuda/form_q8.h"
#include "cuda/matrix.h"
#include "form.cuh"
#include "gpu_private.h"

enum {
    PACK_LANES = 32,
    PACK_WARPS = 4,
    UNIT_STEPS = 2 * FORM_STEPS,
    N_OF_A_STEP = 8, /* weights of a lane */
};

struct packing {
    uint8_t *units; /* the first of these rows */
    uint32_t *lines, *counts;
    uint32_t most_lines;
    uint2 high;      /* WEIR_GPU_PACKED */
    uint32_t *steps; /* WEIR_GPU_Q8: of these rows */
    uint16_t *rows;  /* read, or written */
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

template <uint32_t UNIT_BYTES>
static __device__ __forceinline__ bool view_unit(const struct packing &p, struct unit_view *u)
{
    const uint32_t unit = blockIdx.x * PACK_WARPS + threadIdx.x / PACK_LANES;
    u->lane = threadIdx.x % PACK_LANES;
    u->first_row = unit / p.units_per_tile * WEIR_FORM_ROWS;
    u->first_column = unit % p.units_per_tile * WEIR_FORM_COLUMNS;
    u->at = p.units + (size_t)unit * UNIT_BYTES;
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

/* The exceptions in ascending order; to[] has room for all. */
static __device__ void write_exceptions(const struct packing &p, const struct unit_view &u,
                                        uint64_t odd, uint32_t *to)
{
    uint32_t base = 0;
#pragma unroll 1
    for (uint32_t step = 0; step < UNIT_STEPS; step++) {
        const uint32_t mine = odd >> 8 * step & 0xff;
        uint32_t upto = __popc(mine);
        for (uint32_t d = 1; d < PACK_LANES; d *= 2) {
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
        base += __shfl_sync(~0u, upto, PACK_LANES - 1);
    }
}

/* Counts the unit's exceptions, and puts them into its MOST words `head` or, if they are more, into
 * lines. */
template <uint32_t MOST>
static __device__ void put_unit_exceptions(const struct packing &p, const struct unit_view &u,
                                           uint64_t odd, uint32_t *head)
{
    const uint32_t n = __reduce_add_sync(~0u, __popcll(odd));
    if (u.lane < MOST)
        head[u.lane] = WEIR_FORM_NONE;
    if (n == 0)
        return;
    __syncwarp();
    const uint32_t n_lines = n > MOST ? (n + WEIR_FORM_LINE - 1) / WEIR_FORM_LINE : 0;
    uint32_t first = 0;
    if (u.lane == 0) {
        (void)atomicAdd(p.counts + 1, n);
        if (n_lines) {
            first = atomicAdd(p.counts, n_lines);
            (void)atomicAdd(p.counts + 2, n);
        }
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
    for (uint32_t i = n + u.lane; i < n_lines * WEIR_FORM_LINE; i += PACK_LANES)
        to[i] = WEIR_FORM_NONE;
    write_exceptions(p, u, odd, to);
}

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

static struct packing packing_of(const struct weir_gpu_matrix *m, uint32_t first_row,
                                 uint32_t n_rows, void *rows, uint32_t unit_bytes)
{
    struct packing p = {};
    p.units_per_tile = (m->n_columns + WEIR_FORM_COLUMNS - 1) / WEIR_FORM_COLUMNS;
    p.units =
        (uint8_t *)m->at + (size_t)(first_row / WEIR_FORM_ROWS) * p.units_per_tile * unit_bytes;
    p.lines = (uint32_t *)m->lines;
    p.counts = m->counts;
    p.most_lines = m->most_lines;
    if (m->form == WEIR_GPU_Q8)
        p.steps =
            (uint32_t *)m->steps + (size_t)first_row / WEIR_FORM_ROWS * WEIR_FORM_Q8_STEP_WORDS;
    memcpy(&p.high, m->high, sizeof(p.high));
    p.rows = (uint16_t *)rows;
    p.n_rows = n_rows;
    p.n_columns = m->n_columns;
    p.n_units = (n_rows + WEIR_FORM_ROWS - 1) / WEIR_FORM_ROWS * p.units_per_tile;
    return p;
}

static weir_err pack_launch(struct weir_gpu_stream *s, const struct packing &p,
                            void (*kernel)(struct packing))
{
    const uint32_t n_blocks = (p.n_units + PACK_WARPS - 1) / PACK_WARPS;
    return gpu_launch(s, gpu_grid{dim3(n_blocks), dim3(PACK_LANES * PACK_WARPS), 0, false}, kernel,
                      p);
}

/* ---- pack_q8.cu ---- */

weir_err q8_pack(struct weir_gpu_stream *s, const struct weir_gpu_matrix *m, uint32_t first_row,
                 uint32_t n_rows, void *rows);
weir_err q8_unpack(struct weir_gpu_stream *s, const struct weir_gpu_matrix *m, uint32_t first_row,
                   uint32_t n_rows, void *rows);
weir_err q8_pick(struct weir_gpu_stream *s, const struct weir_gpu_matrix *m, const uint32_t *row,
                 uint32_t n, float scale, float *to, size_t to_stride);

#endif
