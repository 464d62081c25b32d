/* How fast a GPU multiplies, and from how many vectors on a library is better. */
#include <stdlib.h>
#include <string.h>

#include "cuda/form.h"
#include "gpu_bench.h"

/* 12 bits for 16 are worth so much of time. */
static const double MOST_SLOWER = 1.1;

enum {
    N_PRODUCTS = 20, /* at once */
    MOST_MATRICES = 16,
    ALL_HIGH = 128,  /* values of a weight's high byte without its sign */
    LINES_STEP = 64, /* vectors of the library are padded to a multiple of */
    SIGN_AND_LOW = 0x80ff,
    FIRST_ODD = 8, /* high bytes of exceptions: far below any weight's */
    N_ODD = 16,
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

/* Weights that have `odd` exceptions besides those that made ones have. */
struct weights {
    const uint16_t *at; /* N_MADE tiles */
    uint64_t odd;
};

/* The same weights as rows at the beginning of area 1, and packed from the beginning of area 0. */
static weir_err pack(struct gpu_bench *b, const struct weir_device_crossing *c,
                     const struct weights *from, struct weir_gpu_matrix *m, size_t *n)
{
    const size_t plain = (size_t)c->n_rows * c->n_columns * 2;
    const size_t made = (size_t)N_MADE * WEIR_TILE_BYTES;
    uint64_t count[ALL_HIGH] = {0};
    uint8_t high[8] = {0};
    weir_err err = WEIR_OK;
    for (size_t i = 0; i < made / 2; i++)
        count[b->made[i] >> 8 & (ALL_HIGH - 1)]++;
    uint64_t exceptions = (weir_form_choose(count, high) + from->odd) * (plain / made + 1);
    for (size_t at = 0; at < plain && !err; at += made)
        err = weir_gpu_to_device(b->s, b->area[1] + at, from->at,
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

/* ---- exceptions ---- */

/* Gives a share of the weights high bytes that others hardly have; how many. */
static uint64_t spoil(uint16_t *at, size_t n, double share)
{
    uint64_t state = 1, odd = 0;
    for (size_t i = 0; i < n; i++) {
        state = state * 6364136223846793005U + 1442695040888963407U;
        if ((double)(state >> 11) >= share * 9007199254740992.0)
            continue;
        at[i] = (uint16_t)((at[i] & SIGN_AND_LOW) | (FIRST_ODD + odd % N_ODD) << 8);
        odd++;
    }
    return odd;
}

/* Shares are tried until 12 bits take too long; between the last two, time is taken for a line. */
static weir_err find_most_odd(struct gpu_bench *b, struct weir_device_crossing *c, double limit,
                              struct product *p)
{
    static const double share[] = {0.002, 0.005, 0.01, 0.02, 0.04, 0.08, 0.12};
    const size_t n = (size_t)N_MADE * WEIR_TILE_BYTES / 2;
    double time = 0, before = 2.0 * c->n_rows * c->n_columns * N_PRODUCTS / c->packed;
    uint16_t *spoilt = malloc(2 * n);
    weir_err err = spoilt ? WEIR_OK : WEIR_ERR_NOMEM;
    c->most_odd = 0;
    if (before > limit) /* also without any */
        before = limit;
    for (size_t i = 0; i < sizeof(share) / sizeof(share[0]) && !err && time <= limit; i++) {
        memcpy(spoilt, b->made, 2 * n);
        const struct weights from = {spoilt, spoil(spoilt, n, share[i])};
        err = pack(b, c, &from, p->at, &p->n);
        if (!err)
            err = time_products(b, p, &time);
        if (!err && time > limit)
            c->most_odd += (share[i] - c->most_odd) * (limit - before) / (time - before);
        else
            c->most_odd = share[i];
        before = time;
    }
    free(spoilt);
    return err;
}

weir_err gpu_bench_shape(struct gpu_bench *b, struct weir_device_crossing *c)
{
    struct weir_gpu_matrix packed[MOST_MATRICES] = {0}, rows[MOST_MATRICES] = {0};
    const double plain = 2.0 * c->n_rows * c->n_columns * N_PRODUCTS;
    struct product p = {.at = packed, .n_vectors = 1}, q = {.at = rows, .n_vectors = 1};
    double time = 1;
    const struct weights made = {b->made, 0};
    weir_err err = pack(b, c, &made, packed, &p.n);
    if (!err)
        err = time_products(b, &p, &time);
    c->packed = plain / time;
    q.n = rows_of(b, c, rows);
    if (!err)
        err = time_products(b, &q, &time);
    c->rows = plain / time;
    if (!err && b->blas)
        err = find_crossing(b, c, &p);
    return err ? err : find_most_odd(b, c, time * MOST_SLOWER, &p);
}
