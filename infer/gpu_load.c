/* Loading of what stays in device memory: chunk by chunk through the ring; what is packed comes as
 * rows into a scratch first. */
#include <stdlib.h>

#include "gpu_weights_private.h"

/* A chunk, and what becomes of it. */
struct step {
    struct gpu_chunk chunk;
    uint8_t *to;
    const struct weir_gpu_matrix *pack; /* NULL: it is where it belongs */
    uint32_t first_row, n_rows;
    const uint8_t *rows;
};

struct load {
    struct gpu_weights *w;
    struct step *step;
    size_t n_steps, room;
};

static weir_err add_step(struct load *l, const struct step *s)
{
    if (l->n_steps == l->room) {
        size_t room = l->room ? 2 * l->room : 256;
        struct step *step = realloc(l->step, room * sizeof(*step));
        if (!step)
            return WEIR_ERR_NOMEM;
        l->step = step;
        l->room = room;
    }
    l->step[l->n_steps++] = *s;
    return WEIR_OK;
}

/* ---- what is to be done ---- */

/* Rows of a piece that lie in no more tiles than a chunk has: begun inside a tile, they may end
 * inside another. */
static uint64_t rows_at_once(const struct gpu_weights *w, const struct weir_checkpoint_tensor *t)
{
    uint64_t row_bytes = t->bytes / t->form.dim[0];
    uint64_t tiles = w->plan.ring_bytes / WEIR_TILE_BYTES;
    uint64_t n = (tiles - 1) * t->tile_bytes / row_bytes;
    return n / GPU_FORM_ROWS * GPU_FORM_ROWS;
}

static weir_err pack_piece(struct load *l, const struct gpu_piece *p, uint32_t row_above,
                           const struct weir_gpu_matrix *to)
{
    const struct weir_checkpoint_tensor *t = p->tensor;
    const uint64_t row_bytes = t->bytes / t->form.dim[0], most = rows_at_once(l->w, t);
    weir_err err = most ? WEIR_OK : WEIR_ERR_UNSUPPORTED; /* rows longer than a chunk */
    for (uint64_t row = 0; row < p->n_rows && !err; row += most) {
        uint64_t n = p->n_rows - row < most ? p->n_rows - row : most;
        uint64_t at = (p->first_row + row) * row_bytes, tile = at / t->tile_bytes;
        uint64_t end = (at + n * row_bytes + t->tile_bytes - 1) / t->tile_bytes;
        struct step s = {.chunk = {t, tile, (uint32_t)(end - tile), 0},
                         .to = l->w->work,
                         .pack = to,
                         .first_row = row_above + (uint32_t)row,
                         .n_rows = (uint32_t)n,
                         .rows = l->w->work + at % t->tile_bytes};
        err = add_step(l, &s);
    }
    return err;
}

static weir_err pack_matrix(struct load *l, const struct gpu_part_matrix *m, uint8_t *at,
                            struct weir_gpu_matrix *out)
{
    weir_err err = m->is_q8 ? weir_gpu_matrix_begin_q8(l->w->done, at, m->n_rows, m->n_columns,
                                                       m->exceptions, out)
                            : weir_gpu_matrix_begin(l->w->done, at, m->n_rows, m->n_columns,
                                                    m->exceptions, m->high, out);
    uint32_t row = 0;
    for (uint32_t i = 0; i < m->n_pieces && !err; i++) {
        err = pack_piece(l, &m->piece[i], row, out);
        row += (uint32_t)m->piece[i].n_rows;
    }
    return err;
}

/* Matrix `m` of a part alone, as rows: its chunks are those of a part of one matrix. */
static weir_err copy_matrix(struct load *l, const struct gpu_part_matrix *m, uint8_t *at)
{
    struct gpu_part alone = {.n_matrices = 1, .matrix = {*m}};
    weir_err err = WEIR_OK;
    alone.matrix[0].region_at = 0;
    uint64_t n = gpu_part_count_chunks(&alone, &l->w->parts.cut);
    for (uint64_t i = 0; i < n && !err; i++) {
        struct step s = {.chunk = gpu_part_chunk(&alone, &l->w->parts.cut, i)};
        s.to = at + s.chunk.at;
        err = add_step(l, &s);
    }
    return err;
}

/* *at moves on by what the part takes. */
static weir_err add_part(struct load *l, const struct gpu_part *part, enum gpu_place place,
                         uint8_t **at, struct gpu_laid *out)
{
    weir_err err = WEIR_OK;
    for (uint32_t i = 0; i < part->n_matrices && !err; i++) {
        const struct gpu_part_matrix *m = &part->matrix[i];
        if (place == GPU_PLACE_PACKED && m->packs) {
            err = pack_matrix(l, m, *at, &out->matrix[i]);
        } else {
            out->matrix[i] = gpu_matrix_of_rows(m, *at);
            err = copy_matrix(l, m, *at);
        }
        *at += gpu_matrix_stay_bytes(m, place);
    }
    return err;
}

static weir_err add_all(struct load *l)
{
    struct gpu_weights *w = l->w;
    const uint32_t n = w->parts.n_layers;
    uint8_t *at = w->stay;
    weir_err err = WEIR_OK;
    for (uint32_t i = 0; i < n && !err; i++)
        if (gpu_place_stays(w->plan.layer[i]))
            err = add_part(l, &w->parts.part[i], w->plan.layer[i], &at, &w->laid[i]);
    if (!err && gpu_place_stays(w->plan.output))
        err = add_part(l, &w->parts.output, w->plan.output, &at, &w->laid[n]);
    if (!err && w->plan.embedding == GPU_PLACE_SHARED)
        w->laid[n + 1] = w->laid[n];
    else if (!err && gpu_place_stays(w->plan.embedding))
        err = add_part(l, &w->parts.embedding, w->plan.embedding, &at, &w->laid[n + 1]);
    return err;
}

static uint64_t part_bytes(const struct gpu_part *part, enum gpu_place place)
{
    uint64_t bytes = 0;
    for (uint32_t i = 0; gpu_place_stays(place) && i < part->n_matrices; i++)
        bytes += gpu_matrix_stay_bytes(&part->matrix[i], place);
    return bytes;
}

uint64_t gpu_load_bytes(const struct gpu_weights *w)
{
    uint64_t bytes = part_bytes(&w->parts.output, w->plan.output);
    for (uint32_t i = 0; i < w->parts.n_layers; i++)
        bytes += part_bytes(&w->parts.part[i], w->plan.layer[i]);
    if (w->plan.embedding != GPU_PLACE_SHARED)
        bytes += part_bytes(&w->parts.embedding, w->plan.embedding);
    return bytes;
}

/* ---- doing it ---- */

static struct gpu_ring_item item_of(const struct gpu_weights *w, const struct step *s)
{
    const struct weir_gpu_coding *coding;
    return (struct gpu_ring_item){
        .chunk = s->chunk, .kind = gpu_fill_kind(w, s->chunk.tensor, &coding), .coding = coding};
}

/* Then the scratch is free. */
static weir_err pack(struct gpu_weights *w, const struct step *s)
{
    weir_err err = weir_gpu_matrix_pack(w->done, s->pack, s->first_row, s->n_rows, s->rows);
    return err ? err : weir_gpu_event_record(w->packed, w->done);
}

static weir_err run_steps(const struct load *l, struct weir_diag *diag)
{
    struct gpu_ring *ring = &l->w->ring;
    size_t announced = 0;
    weir_err err = WEIR_OK;
    for (size_t i = 0; i < l->n_steps && !err; i++) {
        bool room = true;
        while (announced < l->n_steps && room && !err) {
            err = gpu_ring_room(ring, announced == i, &room);
            if (err || !room)
                break;
            struct gpu_ring_item item = item_of(l->w, &l->step[announced++]);
            gpu_ring_announce(ring, &item);
        }
        const struct step *s = &l->step[i];
        if (!err)
            err = gpu_ring_issue(ring, s->to, s->pack ? l->w->packed : NULL, diag);
        if (!err && s->pack)
            err = pack(l->w, s);
    }
    return err ? err : gpu_ring_verify_wait(ring, UINT64_MAX, diag);
}

/* Looks whether what was packed found room. */
static weir_err check_part(struct gpu_weights *w, struct gpu_part *part,
                           const struct gpu_laid *laid, bool *fits)
{
    for (uint32_t i = 0; i < part->n_matrices; i++) {
        bool one_fits;
        uint64_t exceptions;
        if (laid->matrix[i].form == WEIR_GPU_ROWS)
            continue;
        weir_err err =
            weir_gpu_matrix_check_wait(w->done, &laid->matrix[i], &one_fits, &exceptions);
        if (err)
            return err;
        if (one_fits)
            continue;
        *fits = false;
        gpu_matrix_weigh(&part->matrix[i], &w->rules, exceptions);
    }
    return WEIR_OK;
}

static weir_err check_all(struct gpu_weights *w, bool *fits)
{
    const uint32_t n = w->parts.n_layers;
    weir_err err = WEIR_OK;
    *fits = true;
    for (uint32_t i = 0; i < n && !err; i++)
        err = check_part(w, &w->parts.part[i], &w->laid[i], fits);
    if (!err)
        err = check_part(w, &w->parts.output, &w->laid[n], fits);
    if (!err && w->plan.embedding != GPU_PLACE_SHARED)
        err = check_part(w, &w->parts.embedding, &w->laid[n + 1], fits);
    return err ? err : weir_gpu_stream_wait(w->done);
}

weir_err gpu_load(struct gpu_weights *w, bool *fits, struct weir_diag *diag)
{
    struct load l = {.w = w};
    weir_err err = add_all(&l);
    if (!err)
        err = run_steps(&l, diag);
    free(l.step);
    return err ? err : check_all(w, fits);
}
