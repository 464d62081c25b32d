/* Rows into the resident form of whole steps and back, on the device. */
#include "form_q8.cuh"
#include "grid.cuh"
#include "pack.cuh"

enum {
    HALF_ROWS = WEIR_FORM_ROWS / 2,
    MOST = WEIR_FORM_Q8_MOST,
    MAGNITUDE_BITS = 6,
    SIGN_WORD = 6,
};

/* A warp has two rows, of one word. */
static __global__ void find_steps(const struct packing p)
{
    const uint32_t lane = threadIdx.x % PACK_LANES;
    const uint32_t i = blockIdx.x * PACK_WARPS + threadIdx.x / PACK_LANES;
    const uint32_t row = i / HALF_ROWS * WEIR_FORM_ROWS + i % HALF_ROWS;
    uint32_t word = 0;
    for (uint32_t k = 0; k < 2; k++) {
        const uint32_t r = row + k * HALF_ROWS;
        if (r >= p.n_rows)
            break;
        const uint32_t step = grid_find(p.rows + (size_t)r * p.n_columns, p.n_columns, MOST, lane);
        word |= (step ? step + WEIR_FORM_Q8_SCALED : 0) << 16 * k;
    }
    if (lane == 0 && row < (p.n_rows + WEIR_FORM_ROWS - 1) / WEIR_FORM_ROWS * WEIR_FORM_ROWS)
        p.steps[i] = word;
}

static __device__ __forceinline__ uint32_t step_of(const uint32_t *steps, uint32_t row)
{
    const uint32_t r = row % WEIR_FORM_ROWS;
    const uint32_t word = steps[row / WEIR_FORM_ROWS * WEIR_FORM_Q8_STEP_WORDS + r % HALF_ROWS] >>
                          16 * (r / HALF_ROWS);
    return word & 0xffff ? (word & 0xffff) - WEIR_FORM_Q8_SCALED : 0;
}

/* Adds number and sign of weight `second` of pair `pair`. */
static __device__ __forceinline__ void put_code(uint32_t word[WEIR_FORM_Q8_WORDS], uint32_t pair,
                                                uint32_t second, uint32_t number, uint32_t sign)
{
    const uint32_t half = 16 * second;
    if (pair >= FORM_Q8_SPREAD) {
        const uint32_t bit = half + 8 * (pair - FORM_Q8_SPREAD);
#pragma unroll
        for (uint32_t b = 0; b < MAGNITUDE_BITS; b++)
            word[b] |= (number >> b & 1) << bit;
        word[SIGN_WORD] |= sign << bit;
    } else if (pair % 2 == 0) {
        word[pair / 2] |= number << (half + 1) | sign << (half + 15);
    } else {
        word[pair / 2] |= number << (half + 9) | sign << (second ? 7 : 23);
    }
}

/* Writes half a unit; which of its weights are exceptions, a bit each. */
static __device__ __forceinline__ uint32_t pack_half(const struct packing &p,
                                                     const struct unit_view &u, uint32_t half,
                                                     const uint32_t step[2])
{
    uint32_t word[WEIR_FORM_Q8_WORDS] = {}, odd = 0;
#pragma unroll
    for (uint32_t i = 0; i < FORM_STEPS * N_OF_A_STEP; i++) {
        const uint32_t t = i / N_OF_A_STEP, j = i % N_OF_A_STEP;
        uint32_t w;
        if (!weight_at(p, u, half * FORM_STEPS + t, j, &w))
            continue;
        const uint32_t number = grid_number(step[j / 2 % 2], w, MOST);
        if (number == WEIR_GRID_NONE)
            odd |= 1u << i;
        else
            put_code(word, 4 * t + j / 2, j % 2, number, w >> 15);
    }
    uint8_t *to = u.at + form_q8_half_at(half);
    ((uint4 *)to)[u.lane] = make_uint4(word[0], word[1], word[2], word[3]);
    ((uint2 *)(to + FORM_Q8_PAIRS_OF_WORDS_AT))[u.lane] = make_uint2(word[4], word[5]);
    ((uint32_t *)(to + FORM_Q8_LAST_WORDS_AT))[u.lane] = word[6];
    return odd;
}

static __global__ void pack_q8_units(const struct packing p)
{
    struct unit_view u;
    if (!view_unit<WEIR_FORM_Q8_UNIT_BYTES>(p, &u))
        return;
    const uint32_t row = u.first_row + u.lane / 4;
    const uint32_t step[2] = {step_of(p.steps, row), step_of(p.steps, row + HALF_ROWS)};
    uint64_t odd = pack_half(p, u, 0, step);
    odd |= (uint64_t)pack_half(p, u, 1, step) << 32;
    put_unit_exceptions<WEIR_FORM_Q8_INLINE>(p, u, odd, (uint32_t *)(u.at + FORM_Q8_EXCEPTIONS_AT));
}

weir_err q8_pack(struct weir_gpu_stream *s, const struct weir_gpu_matrix *m, uint32_t first_row,
                 uint32_t n_rows, void *rows)
{
    const struct packing p = packing_of(m, first_row, n_rows, rows, WEIR_FORM_Q8_UNIT_BYTES);
    const uint32_t n_words =
        (n_rows + WEIR_FORM_ROWS - 1) / WEIR_FORM_ROWS * WEIR_FORM_Q8_STEP_WORDS;
    const gpu_grid grid = {dim3(n_words / PACK_WARPS), dim3(PACK_LANES * PACK_WARPS), 0, false};
    const weir_err err = gpu_launch(s, grid, find_steps, p);
    return err ? err : pack_launch(s, p, pack_q8_units);
}

/* ---- the way back ---- */

static __global__ void unpack_q8_units(const struct packing p)
{
    struct unit_view u;
    if (!view_unit<WEIR_FORM_Q8_UNIT_BYTES>(p, &u))
        return;
    const uint32_t exception =
        ((const uint32_t *)(u.at + FORM_Q8_EXCEPTIONS_AT))[u.lane % WEIR_FORM_Q8_INLINE];
    const uint2 steps =
        form_q8_steps(p.steps[u.first_row / WEIR_FORM_ROWS * WEIR_FORM_Q8_STEP_WORDS + u.lane / 4]);
#pragma unroll
    for (uint32_t quarter = 0; quarter < 4; quarter++) { /* 32 columns */
        const uint8_t *half = u.at + form_q8_half_at(quarter / 2);
        const struct form_q8_words words = {
            ((const uint4 *)half)[u.lane],
            ((const uint2 *)(half + FORM_Q8_PAIRS_OF_WORDS_AT))[u.lane],
            ((const uint32_t *)(half + FORM_Q8_LAST_WORDS_AT))[u.lane]};
        uint32_t a[2][4];
        form_q8_decode(words, (int)(quarter % 2), steps, a);
        form_q8_put_exceptions(exception, p.lines, quarter, u.lane, a);
#pragma unroll
        for (uint32_t below = 0; below < 2; below++)
            put_eight(p, u.first_row + u.lane / 4 + 8 * below,
                      u.first_column + 32 * quarter + 8 * (u.lane % 4),
                      make_uint4(a[0][below], a[0][2 + below], a[1][below], a[1][2 + below]));
    }
}

weir_err q8_unpack(struct weir_gpu_stream *s, const struct weir_gpu_matrix *m, uint32_t first_row,
                   uint32_t n_rows, void *rows)
{
    return pack_launch(s, packing_of(m, first_row, n_rows, rows, WEIR_FORM_Q8_UNIT_BYTES),
                       unpack_q8_units);
}

/* ---- rows picked out ---- */

/* A warp picks 128 columns of a row: a unit is decoded, and four lanes have that row. */
static __global__ void pick_q8(const struct packing p, const uint32_t *rows, float scale, float *to,
                               size_t to_stride)
{
    const uint32_t lane = threadIdx.x % PACK_LANES;
    const uint32_t unit = blockIdx.x * PACK_WARPS + threadIdx.x / PACK_LANES;
    if (unit >= p.units_per_tile)
        return;
    uint32_t row = rows[blockIdx.y];
    if (row >= p.n_rows)
        row = 0;
    const uint32_t tile = row / WEIR_FORM_ROWS, r = row % WEIR_FORM_ROWS;
    const uint8_t *at =
        p.units + ((size_t)tile * p.units_per_tile + unit) * WEIR_FORM_Q8_UNIT_BYTES;
    const uint32_t exception =
        ((const uint32_t *)(at + FORM_Q8_EXCEPTIONS_AT))[lane % WEIR_FORM_Q8_INLINE];
    const uint2 steps = form_q8_steps(p.steps[tile * WEIR_FORM_Q8_STEP_WORDS + lane / 4]);
#pragma unroll
    for (uint32_t quarter = 0; quarter < 4; quarter++) {
        const uint8_t *half = at + form_q8_half_at(quarter / 2);
        const struct form_q8_words words = {
            ((const uint4 *)half)[lane], ((const uint2 *)(half + FORM_Q8_PAIRS_OF_WORDS_AT))[lane],
            ((const uint32_t *)(half + FORM_Q8_LAST_WORDS_AT))[lane]};
        uint32_t a[2][4];
        form_q8_decode(words, (int)(quarter % 2), steps, a);
        form_q8_put_exceptions(exception, p.lines, quarter, lane, a);
        if (lane / 4 != r % HALF_ROWS)
            continue;
        const uint32_t first = unit * WEIR_FORM_COLUMNS + 32 * quarter + 8 * (lane % 4);
#pragma unroll
        for (uint32_t k = 0; k < N_OF_A_STEP; k++) {
            const uint32_t *b = a[k / 4];
            const uint32_t pair = r / HALF_ROWS ? b[2 * (k / 2 % 2) + 1] : b[2 * (k / 2 % 2)];
            if (first + k < p.n_columns)
                to[blockIdx.y * to_stride + first + k] =
                    grid_widen(pair >> 16 * (k % 2) & 0xffff) * scale;
        }
    }
}

weir_err q8_pick(struct weir_gpu_stream *s, const struct weir_gpu_matrix *m, const uint32_t *row,
                 uint32_t n, float scale, float *to, size_t to_stride)
{
    const struct packing p = packing_of(m, 0, m->n_rows, NULL, WEIR_FORM_Q8_UNIT_BYTES);
    const dim3 blocks((p.units_per_tile + PACK_WARPS - 1) / PACK_WARPS, n);
    return gpu_launch(s, gpu_grid{blocks, dim3(PACK_LANES * PACK_WARPS), 0, false}, pick_q8, p, row,
                      scale, to, to_stride);
}
