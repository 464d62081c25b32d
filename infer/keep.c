#include "keep.h"

#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include "codec/grid.h"
#include "codec/huge.h"

enum {
    SAMPLE_PLACES = 4,
    MAX_ODD_PER_MILLE = 20,  /* exceptions of the sample; with more, plain is as good */
    SPARE_EXCEPTIONS = 1024, /* beyond twice what the sample lets expect, ... */
    SPARE_WEIGHTS = 1 << 14, /* ... and one in so many weights */
    HIGH_BYTES = 256,
    HOPELESS_PART = 8, /* so much of a row that is no whole steps is exceptions, at least */
    LAYER_MATRICES = 7,
};

struct kept {
    const struct weir_checkpoint_tensor *tensor;
    uint64_t n_rows, row_bytes, bytes;
    uint8_t *plain;
    struct weir_resident *resident; /* one of the two */
    uint8_t *there;                 /* by row: it has been put */
    atomic_bool failed;             /* more exceptions than there is room for */
};

struct keep {
    const struct weir_model *model;
    bool plain;
    size_t n, room;
    struct kept *kept;
    struct kept **of; /* by number of the tensor in the checkpoint; NULL: not kept */
    uint64_t bytes, most_bytes;
};

/* ---- choosing ---- */

static size_t number_of(const struct keep *k, const struct weir_checkpoint_tensor *t)
{
    return (size_t)(t - weir_checkpoint_tensor(k->model->checkpoint, 0));
}

static bool is_bf16(const struct weir_checkpoint_tensor *t)
{
    return strcmp(t->form.dtype, "BF16") == 0;
}

/* What rows from all over the tensor say of it. */
struct sample {
    uint64_t count[HIGH_BYTES], n; /* high bytes; weights */
    bool no_steps;                 /* rows are no whole steps; else so many are exceptions: */
    uint64_t n_stepless, n_looked_at;
};

static void look_for_steps(const uint16_t *rows, uint64_t n_rows, size_t n_columns,
                           struct sample *s)
{
    for (uint64_t i = 0; i < n_rows && !s->no_steps; i++, rows += n_columns) {
        const uint16_t step = weir_grid_find(rows, n_columns, WEIR_GRID_MOST);
        const size_t odd = weir_grid_count_odd(step, rows, n_columns, WEIR_GRID_MOST);
        s->n_stepless += odd;
        s->n_looked_at += n_columns;
        s->no_steps = s->n_stepless > s->n_looked_at / HOPELESS_PART;
    }
}

static weir_err sample(const struct kept *kept, struct weir_reader *reader, struct sample *s,
                       struct weir_diag *diag)
{
    for (uint64_t i = 0; i < SAMPLE_PLACES; i++) {
        const uint8_t *rows;
        uint64_t n, first = kept->n_rows * i / SAMPLE_PLACES;
        weir_err err =
            weir_reader_rows(reader, kept->tensor, first, kept->n_rows - first, &rows, &n, diag);
        if (err)
            return err;
        look_for_steps((const uint16_t *)(const void *)rows, n, (size_t)(kept->row_bytes / 2), s);
        for (uint64_t b = 1; b < n * kept->row_bytes; b += 2)
            s->count[rows[b]]++;
        s->n += n * kept->row_bytes / 2;
    }
    return WEIR_OK;
}

/* Room for exceptions; UINT32_MAX: too many for the resident form. */
static uint32_t room_for(uint64_t n_odd, uint64_t n_sample, uint64_t n_weights)
{
    if (n_odd * 1000 > n_sample * MAX_ODD_PER_MILLE)
        return UINT32_MAX;
    double expected = (double)n_odd / (double)n_sample * (double)n_weights;
    double room = 2 * expected + SPARE_EXCEPTIONS + (double)n_weights / SPARE_WEIGHTS;
    if (room > (double)n_weights)
        room = (double)n_weights;
    return room < UINT32_MAX ? (uint32_t)room : UINT32_MAX;
}

static weir_err choose_resident(struct keep *k, struct kept *kept, struct weir_reader *reader,
                                struct weir_diag *diag)
{
    struct sample s = {.n = 0};
    struct weir_resident_code code;
    const size_t n_rows = (size_t)kept->n_rows, n_cols = (size_t)(kept->row_bytes / 2);
    const uint64_t n_weights = kept->tensor->bytes / 2;
    weir_err err = sample(kept, reader, &s, diag);
    if (err)
        return err;
    uint32_t room = s.no_steps ? UINT32_MAX : room_for(s.n_stepless, s.n, n_weights);
    const bool steps = room != UINT32_MAX;
    if (!steps)
        room = room_for(weir_resident_choose(s.count, &code), s.n, n_weights);
    if (room == UINT32_MAX)
        return WEIR_OK;
    const uint64_t bytes = steps ? weir_resident_step_bytes(n_rows, n_cols, room)
                                 : weir_resident_bytes(n_rows, n_cols, room);
    if (bytes >= kept->tensor->bytes || bytes > k->most_bytes - k->bytes)
        return WEIR_OK;
    kept->bytes = bytes;
    return weir_resident_new(n_rows, n_cols, steps ? NULL : &code, room, &kept->resident);
}

static void let_go(struct kept *kept)
{
    weir_resident_free(kept->resident);
    free(kept->plain);
    free(kept->there);
    kept->resident = NULL;
    kept->plain = kept->there = NULL;
}

/* Keeps t if it fits. */
static weir_err choose(struct keep *k, const struct weir_checkpoint_tensor *t,
                       struct weir_reader *reader, struct weir_diag *diag)
{
    if (k->of[number_of(k, t)])
        return WEIR_OK;
    struct kept *kept = &k->kept[k->n];
    *kept = (struct kept){.tensor = t, .n_rows = t->form.dim[0]};
    kept->row_bytes = t->bytes / kept->n_rows;
    weir_err err = WEIR_OK;
    if (is_bf16(t) && !k->plain)
        err = choose_resident(k, kept, reader, diag);
    if (!err && !kept->resident) {
        if (t->bytes > k->most_bytes - k->bytes)
            return WEIR_OK;
        kept->bytes = t->bytes;
        kept->plain = huge_alloc((size_t)t->bytes);
    }
    kept->there = calloc((size_t)kept->n_rows, 1);
    if (!err && (!kept->there || (!kept->resident && !kept->plain)))
        err = WEIR_ERR_NOMEM;
    if (err) {
        let_go(kept);
        return err;
    }
    k->of[number_of(k, t)] = kept;
    k->bytes += kept->bytes;
    k->n++;
    return WEIR_OK;
}

static weir_err choose_all(struct keep *k, struct weir_reader *reader, struct weir_diag *diag)
{
    const struct weir_model *m = k->model;
    weir_err err = WEIR_OK;
    for (uint32_t i = 0; i < m->config.n_layers; i++) {
        const struct weir_layer *l = &m->layer[i];
        const struct weir_matrix all[LAYER_MATRICES] = {l->q,    l->k,  l->v,   l->o,
                                                        l->gate, l->up, l->down};
        for (size_t j = 0; j < LAYER_MATRICES && !err; j++)
            err = choose(k, all[j].tensor, reader, diag);
    }
    if (!err)
        err = choose(k, m->output.tensor, reader, diag);
    return err ? err : choose(k, m->embedding.tensor, reader, diag);
}

static weir_err fill(struct keep *k, struct weir_diag *diag)
{
    size_t n_tensors = weir_checkpoint_n_tensors(k->model->checkpoint);
    struct weir_reader *reader = NULL;
    k->kept = calloc(n_tensors + 1, sizeof(*k->kept));
    k->of = calloc(n_tensors + 1, sizeof(struct kept *));
    if (!k->kept || !k->of)
        return WEIR_ERR_NOMEM;
    weir_err err = weir_reader_new(k->model->checkpoint, k->model->row_bytes, &reader);
    if (!err)
        err = choose_all(k, reader, diag);
    weir_reader_free(reader);
    return err;
}

weir_err keep_new(const struct weir_model *model, uint64_t bytes, bool plain, struct keep **out,
                  struct weir_diag *diag)
{
    struct keep *k = calloc(1, sizeof(*k));
    if (!k)
        return WEIR_ERR_NOMEM;
    *k = (struct keep){.model = model, .most_bytes = bytes, .plain = plain};
    weir_err err = fill(k, diag);
    if (err)
        keep_free(k);
    else
        *out = k;
    return err;
}

void keep_free(struct keep *k)
{
    if (!k)
        return;
    for (size_t i = 0; i < k->n; i++)
        let_go(&k->kept[i]);
    free(k->kept);
    free(k->of);
    free(k);
}

uint64_t keep_bytes(const struct keep *k)
{
    return k->bytes;
}

enum keep_form keep_form_of(const struct keep *k, const struct weir_checkpoint_tensor *t,
                            uint64_t *bytes)
{
    const struct kept *kept = k->of[number_of(k, t)];
    *bytes = kept ? kept->bytes : 0;
    return !kept ? KEEP_NOTHING : kept->resident ? KEEP_RESIDENT : KEEP_PLAIN;
}

/* ---- a pass ---- */

bool keep_look(const struct keep *k, const struct weir_checkpoint_tensor *t, uint64_t first,
               uint64_t *n, struct kept_rows *out)
{
    const struct kept *kept = k->of[number_of(k, t)];
    if (!kept || !kept->there)
        return false;
    uint64_t run = 1;
    while (run < *n && kept->there[first + run] == kept->there[first])
        run++;
    *n = run;
    if (!kept->there[first])
        return false;
    *out = (struct kept_rows){.resident = kept->resident};
    if (kept->plain)
        out->plain = kept->plain + first * kept->row_bytes;
    return true;
}

void keep_put(struct keep *k, const struct weir_checkpoint_tensor *t, uint64_t first, uint64_t n,
              const uint8_t *rows)
{
    struct kept *kept = k->of[number_of(k, t)];
    if (!kept || !kept->there || atomic_load(&kept->failed))
        return;
    for (uint64_t i = 0; i < n; i++) {
        const uint8_t *row = rows + i * kept->row_bytes;
        if (kept->there[first + i])
            continue;
        if (kept->plain)
            memcpy(kept->plain + (first + i) * kept->row_bytes, row, (size_t)kept->row_bytes);
        else if (weir_resident_put(kept->resident, (size_t)(first + i),
                                   (const uint16_t *)(const void *)row) != WEIR_OK) {
            atomic_store(&kept->failed, true);
            return;
        }
        kept->there[first + i] = 1;
    }
}

void keep_settle(struct keep *k)
{
    for (size_t i = 0; i < k->n; i++) {
        struct kept *kept = &k->kept[i];
        if (atomic_load(&kept->failed) && kept->there) {
            let_go(kept);
            k->bytes -= kept->bytes;
            kept->bytes = 0;
            k->of[number_of(k, kept->tensor)] = NULL;
        }
    }
}

struct resident_row keep_resident_row(const struct weir_resident *r, uint64_t row, size_t n_cols)
{
    const struct weir_resident_code *code = weir_resident_code(r);
    struct resident_row out = {.high = code ? code->high : NULL, .n_cols = n_cols};
    if (!code)
        out.step = weir_resident_step(r, (size_t)row);
    out.blocks = weir_resident_row(r, (size_t)row, &out.exception, &out.n_exceptions);
    return out;
}
