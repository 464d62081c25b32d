/* Rows into the resident form and back, on the device.  A warp has a unit. */
#include "cuda/matrix.h"

#include "pack.cuh"

enum { N_HIGH = 128, NO_CODE = 0xff };

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
    if (!view_unit<WEIR_FORM_UNIT_BYTES>(p, &u))
        return;
    uint64_t odd = 0;
#pragma unroll 1
    for (uint32_t step = 0; step < UNIT_STEPS; step++)
        odd |= (uint64_t)pack_step(p, u, code_of, step) << 8 * step;
    put_unit_exceptions<WEIR_FORM_INLINE>(p, u, odd, (uint32_t *)(u.at + FORM_EXCEPTIONS_AT));
}

/* ---- the way back ---- */

static __global__ void unpack_units(const struct packing p)
{
    struct unit_view u;
    if (!view_unit<WEIR_FORM_UNIT_BYTES>(p, &u))
        return;
    const uint32_t *head = (const uint32_t *)(u.at + FORM_EXCEPTIONS_AT);
    const bool odd = head[0] != WEIR_FORM_NONE;
#pragma unroll
    for (uint32_t quarter = 0; quarter < 4; quarter++) { /* 32 columns */
        const uint32_t t = quarter % 2;
        const uint4 *from = (const uint4 *)(u.at + form_half_at(quarter / 2)) + u.lane;
        const uint4 codes = from[2 * PACK_LANES];
        uint32_t a[2][4];
        form_decode(from[t * PACK_LANES], t ? codes.z : codes.x, t ? codes.w : codes.y, p.high, a);
        if (odd)
            form_put_exceptions([&](uint32_t i) { return head[i]; }, p.lines, quarter, u.lane, a);
#pragma unroll
        for (uint32_t below = 0; below < 2; below++)
            put_eight(p, u.first_row + u.lane / 4 + 8 * below,
                      u.first_column + 32 * quarter + 8 * (u.lane % 4),
                      make_uint4(a[0][below], a[0][2 + below], a[1][below], a[1][2 + below]));
    }
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
    if (m->form == WEIR_GPU_ROWS || !whole(m, first_row, n_rows))
        return WEIR_ERR_INVALID;
    if (m->form == WEIR_GPU_Q8)
        return q8_pack(s, m, first_row, n_rows, (void *)rows);
    return pack_launch(s, packing_of(m, first_row, n_rows, (void *)rows, WEIR_FORM_UNIT_BYTES),
                       pack_units);
}

weir_err weir_gpu_matrix_unpack(struct weir_gpu_stream *s, const struct weir_gpu_matrix *m,
                                uint32_t first_row, uint32_t n_rows, void *rows)
{
    if (!whole(m, first_row, n_rows))
        return WEIR_ERR_INVALID;
    if (m->form == WEIR_GPU_ROWS)
        return weir_gpu_copy(s, rows, (const uint16_t *)m->at + (size_t)first_row * m->n_columns,
                             (size_t)n_rows * m->n_columns * sizeof(uint16_t));
    if (m->form == WEIR_GPU_Q8)
        return q8_unpack(s, m, first_row, n_rows, rows);
    return pack_launch(s, packing_of(m, first_row, n_rows, rows, WEIR_FORM_UNIT_BYTES),
                       unpack_units);
}
