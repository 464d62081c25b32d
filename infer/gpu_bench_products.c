/* How fast a GPU multiplies, and from how many vectors on a library is better. */
#include "cuda/form.h"
#include "gpu_bench.h"

enum {
    N_PRODUCTS = 20, /* at once */
    MOST_MATRICES = 16,
    ALL_HIGH = 128,  /* values of a weight's high byte without its sign */
    LINES_STEP = 64, /* vectors of the library are padded to a multiple of */
};

struct product {
    struct weir_gpu_matrix *at; /* n of them, one after the other: no cache has them */
    size_t n;
    uint32_t n_vectors;
    void *rows; /* what a packed matrix is unpacked into; NULL: it is multiplied with as it lies */
};

static weir_err queue_products(struct gpu_bench *b, void *what)
{
    const struct product *p = what;
    weir_err err = WEIR_OK;
    for (int i = 0; i < N_PRODUCTS && !err; i++) {
        const struct weir_gpu_matrix *m = &p->at[(size_t)i % p->n];
        struct weir_gpu_matrix rows = {
            .form = WEIR_GPU_ROWS, .n_rows = m->n_rows, .n_columns = m->n_columns, .at = p->rows};
        struct weir_gpu_product product = {.matrix = p->rows ? &rows : m,
                                           .vectors = b->vectors,
                                           .n = p->n_vectors,
                                           .to = b->product,
                                           .to_stride = m->n_rows};
        if (!p->rows) {
            err = weir_gpu_multiply(b->s, &product);
            continue;
        }
        product.n = (p->n_vectors + LINES_STEP - 1) / LINES_STEP * LINES_STEP;
        err = weir_gpu_matrix_unpack(b->s, m, 0, m->n_rows, p->rows);
        if (!err)
            err = weir_gpu_multiply_many(b->blas, b->s, &product);
    }
    return err;
}

static weir_err time_products(struct gpu_bench *b, struct product *p, double *out)
{
    const enum weir_gpu_layout layout = p->rows ? WEIR_GPU_LINES : WEIR_GPU_FRAGMENTS;
    const uint32_t n = p->rows ? LINES_STEP : p->n_vectors;
    weir_err err =
        weir_gpu_vectors_make(b->s, layout, b->x, MOST_COLUMNS, p->at[0].n_columns, n, b->vectors);
    return err ? err : gpu_bench_time(b, queue_products, p, out);
}

/* How large is what each of the many lies in. */
static size_t steps_of(size_t bytes)
{
    return (bytes + WEIR_GPU_ALIGN - 1) / WEIR_GPU_ALIGN * WEIR_GPU_ALIGN;
}

/* The same weights as rows at the beginning of area 1, and packed from the beginning of area 0. */
static weir_err pack(struct gpu_bench *b, struct weir_device_crossing *c, struct weir_gpu_matrix *m,
                     size_t *n)
{
    const size_t plain = (size_t)c->n_rows * c->n_columns * 2;
    const size_t made = (size_t)N_MADE * WEIR_TILE_BYTES;
    uint64_t count[ALL_HIGH] = {0};
    uint8_t high[8] = {0};
    weir_err err = WEIR_OK;
    for (size_t i = 0; i < made / 2; i++)
        count[b->made[i] >> 8 & (ALL_HIGH - 1)]++;
    uint64_t exceptions = weir_form_choose(count, high) * (plain / made + 1);
    for (size_t at = 0; at < plain && !err; at += made)
        err = weir_gpu_to_device(b->s, b->area[1] + at, b->made,
                                 plain - at < made ? plain - at : made);
    const size_t each =
        steps_of(weir_gpu_matrix_bytes(WEIR_GPU_PACKED, c->n_rows, c->n_columns, exceptions));
    for (*n = 0; *n < MOST_MATRICES && (*n + 1) * each <= AREA_BYTES && !err; ++*n) {
        err = weir_gpu_matrix_begin(b->s, b->area[0] + *n * each, c->n_rows, c->n_columns,
                                    exceptions, high, &m[*n]);
        if (!err)
            err = weir_gpu_matrix_pack(b->s, &m[*n], 0, c->n_rows, b->area[1]);
    }
    return err;
}

/* The same as BF16, in area 1; their number. */
static size_t rows_of(struct gpu_bench *b, const struct weir_device_crossing *c,
                      struct weir_gpu_matrix *m)
{
    const size_t each = steps_of((size_t)c->n_rows * c->n_columns * 2);
    size_t n = 0;
    for (; n < MOST_MATRICES && (n + 1) * each <= AREA_BYTES; n++)
        m[n] = (struct weir_gpu_matrix){.form = WEIR_GPU_ROWS,
                                        .n_rows = c->n_rows,
                                        .n_columns = c->n_columns,
                                        .at = b->area[1] + n * each};
    return n;
}

static weir_err find_crossing(struct gpu_bench *b, struct weir_device_crossing *c,
                              struct product *p)
{
    double as_it_lies = 0, unpacked = 0;
    p->rows = b->area[1];
    p->n_vectors = LINES_STEP;
    weir_err err = time_products(b, p, &unpacked); /* the same for all up to LINES_STEP */
    p->rows = NULL;
    for (uint32_t n = 1; n <= WEIR_GPU_MOST_VECTORS && !err && !c->vectors; n *= 2) {
        p->n_vectors = n;
        err = time_products(b, p, &as_it_lies);
        if (as_it_lies > unpacked)
            c->vectors = n;
    }
    return err;
}

weir_err gpu_bench_shape(struct gpu_bench *b, struct weir_device_crossing *c)
{
    struct weir_gpu_matrix packed[MOST_MATRICES] = {0}, rows[MOST_MATRICES] = {0};
    const double plain = 2.0 * c->n_rows * c->n_columns * N_PRODUCTS;
    struct product p = {.at = packed, .n_vectors = 1}, q = {.at = rows, .n_vectors = 1};
    double time = 1;
    weir_err err = pack(b, c, packed, &p.n);
    if (!err)
        err = time_products(b, &p, &time);
    c->packed = plain / time;
    q.n = rows_of(b, c, rows);
    if (!err)
        err = time_products(b, &q, &time);
    c->rows = plain / time;
    return err || !b->blas ? err : find_crossing(b, c, &p);
}
