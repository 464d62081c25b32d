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

/* Exceptions among the weights as they are made. */
static uint64_t made_odd(const struct gpu_bench *b, size_t n, uint8_t high[8])
{
    uint64_t count[ALL_HIGH] = {0};
    for (size_t i = 0; i < n; i++)
        count[b->made[i] >> 8 & (ALL_HIGH - 1)]++;
    return weir_form_choose(count, high);
}

/* The same weights as rows at the beginning of area 1, and packed from the beginning of area 0.
 * `from`: N_MADE tiles, with `odd` exceptions besides those that are made. */
static weir_err pack(struct gpu_bench *b, const struct weir_device_crossing *c,
                     const uint16_t *from, uint64_t odd, struct product *p)
{
    const size_t plain = (size_t)c->n_rows * c->n_columns * 2;
    const size_t made = (size_t)N_MADE * WEIR_TILE_BYTES;
    uint8_t high[8] = {0};
    weir_err err = WEIR_OK;
    const uint64_t exceptions = (made_odd(b, made / 2, high) + odd) * (plain / made + 1);
    for (size_t at = 0; at < plain && !err; at += made)
        err =
            weir_gpu_to_device(b->s, b->area[1] + at, from, plain - at < made ? plain - at : made);
    const size_t each =
        steps_of(weir_gpu_matrix_bytes(WEIR_GPU_PACKED, c->n_rows, c->n_columns, exceptions));
    for (p->n = 0; p->n < MOST_MATRICES && (p->n + 1) * each <= AREA_BYTES && !err; ++p->n) {
        struct weir_gpu_matrix *m = &p->at[p->n];
        err = weir_gpu_matrix_begin(b->s, b->area[0] + p->n * each, c->n_rows, c->n_columns,
                                    exceptions, high, m);
        if (!err)
            err = weir_gpu_matrix_pack(b->s, m, 0, c->n_rows, b->area[1]);
    }
    return err;
}

/* Shares are tried until 12 bits take too long, `limit` seconds; between the last two, time is
 * taken for a line.  What fits into the units costs little, lines do: so the steps are small at
 * first. */
static weir_err find_most_odd(struct gpu_bench *b, struct weir_device_crossing *c, double limit,
                              struct product *p)
{
    static const double share[] = {0, 0.001, 0.002, 0.004, 0.008, 0.016, 0.03, 0.06, 0.1};
    const size_t n = (size_t)N_MADE * WEIR_TILE_BYTES / 2;
    uint8_t high[8];
    double time = 0, before = 0, made = (double)made_odd(b, n, high) / (double)n;
    uint16_t *spoilt = malloc(2 * n);
    weir_err err = spoilt ? WEIR_OK : WEIR_ERR_NOMEM;
    c->most_odd = 0;
    p->n_vectors = 1;
    for (size_t i = 0; i < sizeof(share) / sizeof(share[0]) && !err && time <= limit; i++) {
        memcpy(spoilt, b->made, 2 * n);
        before = time;
        err = pack(b, c, spoilt, spoil(spoilt, n, share[i]), p);
        if (!err)
            err = time_products(b, p, &time);
        if (time <= limit)
            c->most_odd = made + share[i];
        else if (i > 0)
            c->most_odd += (share[i] - share[i - 1]) * (limit - before) / (time - before);
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
    weir_err err = pack(b, c, b->made, 0, &p);
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
