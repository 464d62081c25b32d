#include "cuda/matrix.h"

#include <cuda_bf16.h>
#include <string.h>

#include "fragment.cuh"
#include "pack.cuh"

enum { THREADS = 256, COUNTS_BYTES = WEIR_GPU_ALIGN, SPARE_LINES = 8, SPARE_PART = 8 };

static uint64_t aligned(uint64_t bytes)
{
    return (bytes + WEIR_GPU_ALIGN - 1) / WEIR_GPU_ALIGN * WEIR_GPU_ALIGN;
}

/* ---- the resident forms ---- */

/* Room for an eighth more than was expected. */
static uint64_t most_lines(enum weir_gpu_form form, uint64_t exceptions)
{
    const uint64_t lines =
        form == WEIR_GPU_Q8 ? weir_form_q8_lines(exceptions) : weir_form_lines(exceptions);
    return lines + lines / SPARE_PART + SPARE_LINES;
}

static uint64_t unit_bytes(enum weir_gpu_form form, uint32_t n_rows, uint32_t n_columns)
{
    const uint64_t one =
        form == WEIR_GPU_Q8 ? (uint64_t)WEIR_FORM_Q8_UNIT_BYTES : (uint64_t)WEIR_FORM_UNIT_BYTES;
    return aligned(weir_form_units(n_rows, n_columns) * one);
}

static uint64_t step_bytes(enum weir_gpu_form form, uint32_t n_rows)
{
    return form == WEIR_GPU_Q8 ? aligned(weir_form_q8_step_bytes(n_rows)) : 0;
}

static uint64_t line_bytes(enum weir_gpu_form form, uint64_t exceptions)
{
    return aligned(most_lines(form, exceptions) * WEIR_FORM_LINE * sizeof(uint32_t));
}

uint64_t weir_gpu_matrix_bytes(enum weir_gpu_form form, uint32_t n_rows, uint32_t n_columns,
                               uint64_t exceptions)
{
    if (form == WEIR_GPU_ROWS)
        return aligned((uint64_t)n_rows * n_columns * sizeof(uint16_t));
    return unit_bytes(form, n_rows, n_columns) + step_bytes(form, n_rows) +
           line_bytes(form, exceptions) + COUNTS_BYTES;
}

/* m: form, rows and columns. */
static weir_err begin(struct weir_gpu_stream *s, struct weir_gpu_matrix m, uint8_t *room,
                      uint64_t exceptions, struct weir_gpu_matrix *out)
{
    if (!m.n_rows || !m.n_columns || most_lines(m.form, exceptions) > UINT32_MAX)
        return WEIR_ERR_INVALID;
    m.at = room;
    m.steps = room + unit_bytes(m.form, m.n_rows, m.n_columns);
    m.lines = (uint8_t *)m.steps + step_bytes(m.form, m.n_rows);
    m.counts = (uint32_t *)((uint8_t *)m.lines + line_bytes(m.form, exceptions));
    m.most_lines = (uint32_t)most_lines(m.form, exceptions);
    const weir_err err = gpu_err(cudaMemsetAsync(m.counts, 0, COUNTS_BYTES, s->cuda));
    if (!err)
        *out = m;
    return err;
}

weir_err weir_gpu_matrix_begin(struct weir_gpu_stream *s, void *room, uint32_t n_rows,
                               uint32_t n_columns, uint64_t exceptions,
                               const uint8_t high[WEIR_FORM_CODES], struct weir_gpu_matrix *out)
{
    struct weir_gpu_matrix m = {WEIR_GPU_PACKED, n_rows, n_columns};
    memcpy(m.high, high, sizeof(m.high));
    return begin(s, m, (uint8_t *)room, exceptions, out);
}

weir_err weir_gpu_matrix_begin_q8(struct weir_gpu_stream *s, void *room, uint32_t n_rows,
                                  uint32_t n_columns, uint64_t exceptions,
                                  struct weir_gpu_matrix *out)
{
    const struct weir_gpu_matrix m = {WEIR_GPU_Q8, n_rows, n_columns};
    return begin(s, m, (uint8_t *)room, exceptions, out);
}

weir_err weir_gpu_matrix_check_wait(struct weir_gpu_stream *s, const struct weir_gpu_matrix *m,
                                    bool *fits, uint64_t *exceptions)
{
    uint32_t counts[3];
    weir_err err = weir_gpu_to_host(s, counts, m->counts, sizeof(counts));
    if (!err)
        err = weir_gpu_stream_wait(s);
    if (err)
        return err;
    *fits = counts[0] <= m->most_lines;
    if (exceptions)
        *exceptions = m->form == WEIR_GPU_Q8 ? counts[2] : counts[1];
    return WEIR_OK;
}

/* ---- rows picked out ---- */

struct picking {
    const uint8_t *at;
    const uint32_t *lines, *row;
    uint2 high;
    uint32_t n_rows, n_columns;
    bool packed;
    float scale;
    float *to;
    size_t to_stride;
};

/* The weight at `at` (as in exceptions) of a unit. */
static __device__ uint32_t weight_of(const struct picking &p, const uint8_t *unit, uint32_t at)
{
    const uint32_t *head = (const uint32_t *)(unit + FORM_EXCEPTIONS_AT), *list = head;
    uint32_t n = WEIR_FORM_INLINE;
    if (head[0] == WEIR_FORM_LIST) {
        list = p.lines + (size_t)head[1] * WEIR_FORM_LINE;
        n = head[2];
    }
    for (uint32_t i = 0; i < n; i++)
        if (list[i] >> 16 == at)
            return list[i] & 0xffff;
    const uint32_t step = at >> 8, lane = at >> 3 & 31, j = at & 7, t = step % FORM_STEPS;
    const uint8_t *half = unit + form_half_at(step / FORM_STEPS);
    const uint32_t low = half[t / 2 * 512 + lane * 16 + t % 2 * 8 + j];
    const uint32_t codes = *(const uint32_t *)(half + 1024 + lane * 16 + t * 4);
    const uint32_t code = codes >> 4 * j & 7;
    const uint32_t high = (code < 4 ? p.high.x : p.high.y) >> 8 * (code % 4) & 0xff;
    return low | high << 8 | (codes >> (j < 4 ? 8 * j + 7 : 8 * (j - 4) + 3) & 1) << 15;
}

static __device__ uint32_t packed_at(const struct picking &p, uint32_t row, uint32_t column)
{
    const uint32_t units_per_tile = (p.n_columns + WEIR_FORM_COLUMNS - 1) / WEIR_FORM_COLUMNS;
    const uint8_t *unit =
        p.at + ((size_t)(row / WEIR_FORM_ROWS) * units_per_tile + column / WEIR_FORM_COLUMNS) *
                   WEIR_FORM_UNIT_BYTES;
    const uint32_t r = row % WEIR_FORM_ROWS, c = column % WEIR_FORM_COLUMNS;
    const uint32_t step = c / 32 * 2 + c % 8 / 4, lane = r % 8 * 4 + c % 32 / 8;
    const uint32_t j = c % 4 / 2 * 4 + r / 8 * 2 + c % 2;
    return weight_of(p, unit, step << 8 | lane << 3 | j);
}

static __global__ void pick(const struct picking p)
{
    const uint32_t column = blockIdx.x * THREADS + threadIdx.x;
    if (column >= p.n_columns)
        return;
    uint32_t row = p.row[blockIdx.y];
    if (row >= p.n_rows)
        row = 0;
    const uint32_t w = p.packed ? packed_at(p, row, column)
                                : ((const uint16_t *)p.at)[(size_t)row * p.n_columns + column];
    p.to[blockIdx.y * p.to_stride + column] = __uint_as_float(w << 16) * p.scale;
}

weir_err weir_gpu_matrix_pick(struct weir_gpu_stream *s, const struct weir_gpu_matrix *m,
                              const uint32_t *row, uint32_t n, float scale, float *to,
                              size_t to_stride)
{
    if (m->form == WEIR_GPU_Q8)
        return q8_pick(s, m, row, n, scale, to, to_stride);
    struct picking p = {};
    p.at = (const uint8_t *)m->at;
    p.lines = (const uint32_t *)m->lines;
    p.row = row;
    memcpy(&p.high, m->high, sizeof(p.high));
    p.n_rows = m->n_rows;
    p.n_columns = m->n_columns;
    p.packed = m->form == WEIR_GPU_PACKED;
    p.scale = scale;
    p.to = to;
    p.to_stride = to_stride;
    const dim3 blocks((m->n_columns + THREADS - 1) / THREADS, n);
    return gpu_launch(s, gpu_grid{blocks, dim3(THREADS), 0, false}, pick, p);
}

/* ---- vectors ---- */

size_t weir_gpu_vectors_bytes(enum weir_gpu_layout layout, uint32_t n_columns, uint32_t n)
{
    if (layout == WEIR_GPU_LINES)
        return (size_t)n_columns * n * sizeof(uint16_t);
    return (size_t)fragment_columns(n_columns) * fragment_vectors(n) * sizeof(uint16_t);
}

struct vectors {
    const float *from;
    size_t from_stride;
    uint32_t n_columns, n;
    bool lines;
    uint16_t *to;
};

static __global__ void make_vectors(const struct vectors v)
{
    const uint32_t column = blockIdx.x * THREADS + threadIdx.x, i = blockIdx.y;
    if (column >= (v.lines ? v.n_columns : fragment_columns(v.n_columns)))
        return;
    const float f = i < v.n && column < v.n_columns ? v.from[i * v.from_stride + column] : 0;
    const size_t at = v.lines ? (size_t)i * v.n_columns + column : fragment_at(column, i, v.n);
    v.to[at] = __bfloat16_as_ushort(__float2bfloat16_rn(f));
}

weir_err weir_gpu_vectors_make(struct weir_gpu_stream *s, enum weir_gpu_layout layout,
                               const float *from, size_t from_stride, uint32_t n_columns,
                               uint32_t n, void *to)
{
    const bool lines = layout == WEIR_GPU_LINES;
    if (!n || (!lines && n > WEIR_GPU_MOST_VECTORS))
        return WEIR_ERR_INVALID;
    const struct vectors v = {from, from_stride, n_columns, n, lines, (uint16_t *)to};
    const uint32_t columns = lines ? n_columns : fragment_columns(n_columns);
    const dim3 blocks((columns + THREADS - 1) / THREADS, lines ? n : fragment_vectors(n));
    return gpu_launch(s, gpu_grid{blocks, dim3(THREADS), 0, false}, make_vectors, v);
}
