#include "linear.h"

#include <stdlib.h>
#include <string.h>

enum {
    WIDE_ELEMENTS = 1 << 16, /* rows widened at once: they stay in the L2 cache */
    MIN_WIDE_ROWS = 4,
    MOST_UNIT_TILES = 8,
    UNITS_PER_THREAD = 4, /* so that threads end at about the same time */
};

struct hand { /* what a worker has of its own */
    struct weir_reader *reader;
    float *wide;         /* WIDE_ELEMENTS, or MIN_WIDE_ROWS of the longest rows */
    uint64_t kept_bytes; /* plain bytes of rows that were taken from memory */
};

struct linear {
    const struct weir_checkpoint *checkpoint;
    struct pool *pool;
    const struct math_kernels *kernels;
    struct keep *keep; /* NULL: none */
    unsigned n_hands;
    struct hand *hand;
};

/* How a job's rows are cut into units: those that begin in unit_tiles tiles. */
struct cut {
    uint64_t row_bytes;
    uint64_t first_unit, n_units; /* of the tensor */
    uint64_t unit_bytes;
};

struct run {
    struct linear *l;
    const struct linear_job *job;
    size_t n_jobs;
    const struct vectors *x;
    struct cut cut[LINEAR_MAX_JOBS];
};

/* From a widened row to the next: what a kernel may write of a row. */
static size_t wide_stride(size_t n_cols)
{
    return (n_cols + WEIR_RESIDENT_BLOCK - 1) / WEIR_RESIDENT_BLOCK * WEIR_RESIDENT_BLOCK;
}

static size_t wide_elements(size_t most_cols)
{
    size_t n = MIN_WIDE_ROWS * wide_stride(most_cols);
    return n < WIDE_ELEMENTS ? WIDE_ELEMENTS : n;
}

size_t linear_hand_bytes(const struct weir_model *model, size_t most_cols)
{
    return wide_elements(most_cols) * sizeof(float) +
           weir_reader_room(model->checkpoint, model->row_bytes);
}

static weir_err fill(struct linear *l, const struct weir_model *model, size_t most_cols)
{
    const size_t n = wide_elements(most_cols);
    for (unsigned i = 0; i < l->n_hands; i++) {
        l->hand[i].wide = aligned_alloc(64, n * sizeof(float));
        if (!l->hand[i].wide)
            return WEIR_ERR_NOMEM;
        weir_err err = weir_reader_new(model->checkpoint, model->row_bytes, &l->hand[i].reader);
        if (err)
            return err;
    }
    return WEIR_OK;
}

weir_err linear_new(const struct weir_model *model, struct pool *pool,
                    const struct math_kernels *kernels, struct keep *keep, size_t most_cols,
                    struct linear **out)
{
    struct linear *l = calloc(1, sizeof(*l));
    if (!l)
        return WEIR_ERR_NOMEM;
    *l = (struct linear){.checkpoint = model->checkpoint,
                         .pool = pool,
                         .kernels = kernels,
                         .keep = keep,
                         .n_hands = pool_threads(pool)};
    l->hand = calloc(l->n_hands, sizeof(*l->hand));
    weir_err err = l->hand ? fill(l, model, most_cols) : WEIR_ERR_NOMEM;
    if (err)
        linear_free(l);
    else
        *out = l;
    return err;
}

void linear_free(struct linear *l)
{
    if (!l)
        return;
    for (unsigned i = 0; l->hand && i < l->n_hands; i++) {
        weir_reader_free(l->hand[i].reader);
        free(l->hand[i].wide);
    }
    free(l->hand);
    free(l);
}

static struct cut cut_rows(const struct linear *l, const struct weir_matrix *m)
{
    const struct weir_checkpoint_tensor *t = m->tensor;
    struct cut c = {.row_bytes = t->bytes / t->form.dim[0]};
    uint64_t begin = m->first_row * c.row_bytes, end = begin + m->n_rows * c.row_bytes;
    uint64_t tiles = (end - begin) / t->tile_bytes / (UNITS_PER_THREAD * (uint64_t)l->n_hands);
    tiles = tiles < 1 ? 1 : tiles > MOST_UNIT_TILES ? MOST_UNIT_TILES : tiles;
    c.unit_bytes = tiles * t->tile_bytes;
    c.first_unit = begin / c.unit_bytes;
    c.n_units = (end + c.unit_bytes - 1) / c.unit_bytes - c.first_unit;
    return c;
}

static enum number type_of(const struct weir_matrix *m)
{
    const char *dtype = m->tensor->form.dtype;
    return strcmp(dtype, "F32") == 0 ? NUMBER_F32 : *dtype == 'F' ? NUMBER_F16 : NUMBER_BF16;
}

/* Rows first .. first + n - 1, of a resident matrix or as they are stored. */
struct run_of_rows {
    struct rows rows;
    const struct weir_resident *resident; /* NULL: rows.at */
    uint64_t first;
};

static struct rows widen_rows(const struct linear *l, const struct run_of_rows *w, size_t from,
                              size_t n, float *to)
{
    const size_t n_cols = w->rows.n_cols, stride = wide_stride(n_cols);
    for (size_t i = 0; i < n; i++) {
        if (w->resident) {
            struct resident_row row = keep_resident_row(w->resident, w->first + from + i, n_cols);
            l->kernels->widen_resident(&row, to + i * stride);
        } else {
            l->kernels->widen(w->rows.type, w->rows.at + (from + i) * w->rows.stride, n_cols,
                              to + i * stride);
        }
    }
    return (struct rows){(const uint8_t *)to, stride * sizeof(*to), n, n_cols, NUMBER_F32};
}

static void multiply_one(const struct linear *l, const struct run_of_rows *w,
                         const struct vectors *x, float *to, size_t to_stride)
{
    if (!w->resident) {
        l->kernels->dot(&w->rows, x, to, to_stride);
        return;
    }
    for (size_t i = 0; i < w->rows.n_rows; i++) {
        struct resident_row row = keep_resident_row(w->resident, w->first + i, w->rows.n_cols);
        to[i] = l->kernels->dot_resident(&row, x->at);
    }
}

/* BF16 rows, for kernels that have them as they are. */
static struct rows unpack_rows(const struct linear *l, const struct run_of_rows *w, size_t from,
                               size_t n, uint16_t *to)
{
    const size_t n_cols = w->rows.n_cols, stride = wide_stride(n_cols);
    for (size_t i = 0; i < n; i++) {
        struct resident_row row = keep_resident_row(w->resident, w->first + from + i, n_cols);
        l->kernels->unpack_resident(&row, to + i * stride);
    }
    return (struct rows){(const uint8_t *)to, stride * sizeof(*to), n, n_cols, NUMBER_BF16};
}

/* Whether rows are multiplied as they lie there. */
static bool is_ready(const struct linear *l, const struct run_of_rows *w, const struct vectors *x)
{
    const bool narrow = l->kernels->unpack_resident && w->rows.type == NUMBER_BF16;
    return x->n == 1 || (!w->resident && (w->rows.type == NUMBER_F32 || narrow));
}

/* With several vectors rows are widened once, some at a time. */
static void multiply(const struct linear *l, const struct run_of_rows *w, const struct vectors *x,
                     const struct hand *hand, float *to, size_t to_stride)
{
    const struct rows *rows = &w->rows;
    if (is_ready(l, w, x)) {
        multiply_one(l, w, x, to, to_stride);
        return;
    }
    const size_t stride = wide_stride(rows->n_cols);
    size_t at_once = WIDE_ELEMENTS / stride;
    if (at_once < MIN_WIDE_ROWS)
        at_once = MIN_WIDE_ROWS;
    for (size_t r = 0; r < rows->n_rows; r += at_once) {
        size_t n = rows->n_rows - r < at_once ? rows->n_rows - r : at_once;
        struct rows some = l->kernels->unpack_resident && w->resident
                               ? unpack_rows(l, w, r, n, (uint16_t *)(void *)hand->wide)
                               : widen_rows(l, w, r, n, hand->wide);
        l->kernels->dot(&some, x, to + r, to_stride);
    }
}

static void add_bias(const struct linear_job *job, size_t row, size_t n, size_t n_vectors)
{
    const float *bias = job->matrix->bias;
    for (size_t v = 0; bias && v < n_vectors; v++)
        for (size_t i = row; i < row + n; i++)
            job->to[v * job->to_stride + i] += bias[i];
}

/* Row `first` of the tensor and those behind it that lie together, at most *n; *n: how many.  From
 * memory if they are kept, else from the checkpoint, and then they are put there. */
static weir_err take_rows(const struct linear *l, struct hand *hand, const struct weir_matrix *m,
                          uint64_t first, uint64_t *n, struct run_of_rows *out,
                          struct weir_diag *diag)
{
    const struct weir_checkpoint_tensor *t = m->tensor;
    const size_t row_bytes = (size_t)(t->bytes / t->form.dim[0]);
    struct kept_rows kept = {NULL, NULL};
    *out = (struct run_of_rows){
        .rows = {.stride = row_bytes, .n_cols = m->n_cols, .type = type_of(m)}, .first = first};
    if (l->keep && keep_look(l->keep, t, first, n, &kept)) {
        out->rows.at = kept.plain;
        out->resident = kept.plain ? NULL : kept.resident;
        hand->kept_bytes += *n * row_bytes;
    } else {
        weir_err err = weir_reader_rows(hand->reader, t, first, *n, &out->rows.at, n, diag);
        if (err)
            return err;
        if (l->keep)
            keep_put(l->keep, t, first, *n, out->rows.at);
    }
    out->rows.n_rows = (size_t)*n;
    return WEIR_OK;
}

/* Rows first .. end - 1 of the tensor. */
static weir_err do_rows(const struct run *run, const struct linear_job *job, struct hand *hand,
                        uint64_t first, uint64_t end, struct weir_diag *diag)
{
    while (first < end) {
        struct run_of_rows w;
        uint64_t n = end - first;
        weir_err err = take_rows(run->l, hand, job->matrix, first, &n, &w, diag);
        if (err)
            return err;
        size_t row = (size_t)(first - job->matrix->first_row);
        multiply(run->l, &w, run->x, hand, job->to + row, job->to_stride);
        add_bias(job, row, w.rows.n_rows, run->x->n);
        first += n;
    }
    return WEIR_OK;
}

/* The first row that begins at byte `at` or behind. */
static uint64_t row_from(const struct cut *c, uint64_t at)
{
    return (at + c->row_bytes - 1) / c->row_bytes;
}

static weir_err do_unit(void *self, size_t unit, unsigned worker, struct weir_diag *diag)
{
    const struct run *run = self;
    size_t j = 0;
    uint64_t u = unit;
    for (; u >= run->cut[j].n_units; j++)
        u -= run->cut[j].n_units;
    const struct cut *c = &run->cut[j];
    const struct weir_matrix *m = run->job[j].matrix;
    uint64_t first = row_from(c, (c->first_unit + u) * c->unit_bytes);
    uint64_t end = row_from(c, (c->first_unit + u + 1) * c->unit_bytes);
    if (first < m->first_row)
        first = m->first_row;
    if (end > (uint64_t)m->first_row + m->n_rows)
        end = (uint64_t)m->first_row + m->n_rows;
    return do_rows(run, &run->job[j], &run->l->hand[worker], first, end, diag);
}

weir_err linear_run(struct linear *l, const struct linear_job *job, size_t n_jobs,
                    const struct vectors *x, struct weir_diag *diag)
{
    struct run run = {.l = l, .job = job, .n_jobs = n_jobs, .x = x};
    uint64_t n_units = 0;
    for (size_t j = 0; j < n_jobs; j++) {
        run.cut[j] = cut_rows(l, job[j].matrix);
        n_units += run.cut[j].n_units;
    }
    return pool_run(l->pool, do_unit, &run, (size_t)n_units, diag);
}

weir_err linear_row(struct linear *l, unsigned worker, const struct weir_matrix *m, uint32_t row,
                    float *to, struct weir_diag *diag)
{
    struct hand *hand = &l->hand[worker];
    struct run_of_rows w;
    uint64_t n = 1;
    weir_err err = take_rows(l, hand, m, (uint64_t)m->first_row + row, &n, &w, diag);
    if (err)
        return err;
    (void)widen_rows(l, &w, 0, 1, hand->wide);
    memcpy(to, hand->wide, m->n_cols * sizeof(float));
    return WEIR_OK;
}

void linear_expect(const struct linear *l, const struct weir_matrix *m)
{
    struct kept_rows kept;
    uint64_t n = m->n_rows;
    if (!l->keep || !keep_look(l->keep, m->tensor, m->first_row, &n, &kept))
        weir_checkpoint_expect(l->checkpoint, m->tensor, m->first_row, m->n_rows);
}

uint64_t linear_read_bytes(const struct linear *l)
{
    uint64_t sum = 0;
    for (unsigned i = 0; i < l->n_hands; i++)
        sum += weir_reader_bytes(l->hand[i].reader);
    return sum;
}

uint64_t linear_used_bytes(const struct linear *l)
{
    uint64_t sum = linear_read_bytes(l);
    for (unsigned i = 0; i < l->n_hands; i++)
        sum += l->hand[i].kept_bytes;
    return sum;
}
