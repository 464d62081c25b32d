/* One form only: rows.  What the library gives depends on how many vectors there are. */
#include <stdlib.h>

#include "cuda/matrix.h"
#include "fake.h"

enum { BYTES = 2 };

size_t weir_gpu_vectors_bytes(enum weir_gpu_layout layout, uint32_t n_columns, uint32_t n)
{
    (void)layout;
    return (size_t)n_columns * n * BYTES;
}

struct unpacking {
    struct weir_gpu_matrix m;
    uint32_t first, n;
    void *rows;
};

static void do_unpack(const void *what)
{
    const struct unpacking *u = what;
    const size_t row = (size_t)u->m.n_columns * BYTES;
    memcpy(u->rows, (char *)u->m.at + u->first * row, u->n * row);
}

weir_err weir_gpu_matrix_unpack(struct weir_gpu_stream *s, const struct weir_gpu_matrix *m,
                                uint32_t first_row, uint32_t n_rows, void *rows)
{
    return fake_queue(s, do_unpack, &(struct unpacking){*m, first_row, n_rows, rows},
                      sizeof(struct unpacking));
}

struct picking {
    struct weir_gpu_matrix m;
    const uint32_t *row;
    uint32_t n;
    float scale, *to;
    size_t to_stride;
};

static void do_pick(const void *what)
{
    const struct picking *p = what;
    const uint16_t *at = p->m.at;
    for (uint32_t i = 0; i < p->n; i++)
        for (uint32_t j = 0; j < p->m.n_columns; j++)
            p->to[i * p->to_stride + j] =
                p->scale * fake_widen(at[(size_t)p->row[i] * p->m.n_columns + j]);
}

weir_err weir_gpu_matrix_pick(struct weir_gpu_stream *s, const struct weir_gpu_matrix *m,
                              const uint32_t *row, uint32_t n, float scale, float *to,
                              size_t to_stride)
{
    return fake_queue(s, do_pick, &(struct picking){*m, row, n, scale, to, to_stride},
                      sizeof(struct picking));
}

/* ---- products ---- */

struct multiplying {
    struct weir_gpu_matrix m;
    const uint16_t *vectors;
    uint32_t n;
    float *to;
    size_t to_stride;
    float off; /* by this part of it */
};

static float dot(const uint16_t *a, const uint16_t *b, uint32_t n)
{
    float sum = 0;
    for (uint32_t j = 0; j < n; j++)
        sum += fake_widen(a[j]) * fake_widen(b[j]);
    return sum;
}

static void do_multiply(const void *what)
{
    const struct multiplying *p = what;
    const size_t columns = p->m.n_columns;
    for (uint32_t i = 0; i < p->n; i++)
        for (uint32_t r = 0; r < p->m.n_rows; r++)
            p->to[i * p->to_stride + r] =
                dot((uint16_t *)p->m.at + r * columns, p->vectors + i * columns, p->m.n_columns) *
                (1 + p->off);
}

static weir_err multiply(struct weir_gpu_stream *s, const struct weir_gpu_product *p, float off)
{
    const struct multiplying m = {*p->matrix, p->vectors, p->n, p->to, p->to_stride, off};
    return fake_queue(s, do_multiply, &m, sizeof(m));
}

weir_err weir_gpu_multiply(struct weir_gpu_stream *s, const struct weir_gpu_product *product)
{
    if (product->n == 0 || product->n > WEIR_GPU_MOST_VECTORS)
        return WEIR_ERR_INVALID;
    return multiply(s, product, 0);
}

struct weir_gpu_blas {
    struct weir_gpu *gpu;
};

weir_err weir_gpu_blas_new(struct weir_gpu *gpu, struct weir_gpu_blas **out, struct weir_diag *diag)
{
    if (getenv("FAKE_GPU_NO_BLAS")) {
        weir_diag_set(diag, "no library");
        return WEIR_ERR_NOT_FOUND;
    }
    *out = calloc(1, sizeof(**out));
    if (!*out)
        return WEIR_ERR_NOMEM;
    (*out)->gpu = gpu;
    weir_gpu_count_foreign(gpu, WEIR_GPU_BLAS_BYTES);
    return WEIR_OK;
}

void weir_gpu_blas_free(struct weir_gpu_blas *blas)
{
    if (blas)
        weir_gpu_count_foreign(blas->gpu, -(int64_t)WEIR_GPU_BLAS_BYTES);
    free(blas);
}

weir_err weir_gpu_multiply_many(struct weir_gpu_blas *blas, struct weir_gpu_stream *s,
                                const struct weir_gpu_product *product)
{
    (void)blas;
    return multiply(s, product, (float)product->n * 1e-6F);
}
