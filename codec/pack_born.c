/* Is a tensor of floats or Q8_0 blocks made of something narrower, and is that the smaller way to
 * store it? */
#include "pack_plan.h"

#include <stdlib.h>
#include <string.h>

#include "born.h"
#include "born_q8.h"

enum {
    LEAST_ELEMENTS = 2048, /* a table and the scales of fewer take what is gained */
    N_TILES = 8,           /* that are fitted; a sample that shows nothing costs less */
    MAX_PIECES = 64,
};

/* What a coding with a transform must save: it is slower to undo. */
static const double worthwhile = 0.97;

_Static_assert(N_TILES *WEIR_TILE_BYTES <= PACK_PLAIN_BYTES, "whole tiles fit a slot");

/* What is looked at. */
struct view {
    struct born_tensor tensor;
    size_t width;   /* bytes of an element */
    size_t weights; /* of an element */
    size_t n_pieces;
    struct born_piece piece[MAX_PIECES];
};

/* false: no floats that this is about. */
static bool float_of(const struct weir_elements *like, enum weir_float *out)
{
    if (like->n_parts != 1 || like->part[0].count != 1 || !like->part[0].is_float)
        return false;
    const unsigned bytes = like->elem_bytes, exponent = like->part[0].exponent_bits;
    if (bytes == 2 && exponent == 8)
        *out = WEIR_FLOAT_BF16;
    else if (bytes == 2 && exponent == 5)
        *out = WEIR_FLOAT_F16;
    else if (bytes == 4 && exponent == 8)
        *out = WEIR_FLOAT_F32;
    else
        return false;
    return true;
}

/* Rows as the dimensions say, if they agree with the bytes; else one row. */
static void set_shape(const struct weir_segment *segment, struct born_tensor *t)
{
    const struct weir_tensor *tensor = segment->tensor;
    uint64_t n = 1;
    t->row_elements = t->slab_elements = t->n_elements;
    for (uint8_t i = 0; tensor && i < tensor->n_dims; i++) {
        if (tensor->dim[i] == 0 || n > t->n_elements / tensor->dim[i])
            return;
        n *= tensor->dim[i];
    }
    if (!tensor || n != t->n_elements || tensor->n_dims < 2)
        return;
    t->row_elements = tensor->dim[tensor->n_dims - 1];
    t->slab_elements = n / tensor->dim[0];
}

static void add_piece(struct view *v, const uint8_t *bytes, size_t n_bytes, uint64_t first)
{
    if (v->n_pieces < MAX_PIECES)
        v->piece[v->n_pieces++] = (struct born_piece){bytes, n_bytes / v->width, first};
}

static bool is_q8(const struct weir_elements *like, const struct weir_segment *s)
{
    return like->elem_bytes == WEIR_Q8_BYTES && s->tensor && strcmp(s->tensor->dtype, "Q8_0") == 0;
}

/* The pieces of the sample.  false: nothing that this is about. */
static bool view_of(const struct pack_seen *seen, const struct weir_segment *s, struct view *v)
{
    const struct pack *p = seen->reader->pack;
    const struct weir_elements *like = pack_elements(p, seen->entry, seen->segment);
    *v = (struct view){.width = like->elem_bytes, .weights = 1};
    if (is_q8(like, s))
        v->weights = WEIR_Q8_WEIGHTS;
    else if (!float_of(like, &v->tensor.type))
        return false;
    if (s->bytes % v->width)
        return false;
    v->tensor.n_elements = s->bytes / v->width * v->weights;
    if (v->tensor.n_elements < LEAST_ELEMENTS)
        return false;
    set_shape(s, &v->tensor);
    for (size_t i = 0; i < seen->sample.n; i++)
        add_piece(v, seen->slot->plain + i * seen->sample.piece, seen->sample.piece,
                  pack_piece_at(&seen->sample, i) / v->width);
    return true;
}

/* Whole tiles from all over the segment, behind the sample; a short one is in the slot already. */
static weir_err read_tiles(struct view *v, const struct pack_seen *seen,
                           const struct weir_segment *s, struct weir_diag *diag)
{
    const size_t tile_bytes = WEIR_TILE_BYTES / v->width * v->width;
    const uint64_t n_tiles = (s->bytes - 1) / tile_bytes + 1;
    const bool there = s->bytes == seen->sample.piece;
    const uint64_t n = there || n_tiles < N_TILES ? n_tiles : N_TILES;
    weir_err err = WEIR_OK;
    v->n_pieces = 0;
    for (uint64_t i = 0; !err && i < n; i++) {
        const uint64_t at = n_tiles * i / n * tile_bytes, left = s->bytes - at;
        const size_t n_bytes = left < tile_bytes ? (size_t)left : tile_bytes;
        uint8_t *to = seen->slot->plain + (there ? 0 : PACK_SAMPLE_BYTES) + i * tile_bytes;
        if (!there)
            err = pack_read(seen->reader, seen->entry, s->file_offset + at, to, n_bytes, diag);
        add_piece(v, to, n_bytes, at / v->width);
    }
    return err;
}

static void copy_transform(const struct weir_transform *from, struct weir_transform *to)
{
    to->kind = from->kind; /* field by field: what lies between them stays zero */
    to->number = from->number;
    to->made = from->made;
    to->near = from->near;
    to->item_bytes = from->item_bytes;
    to->row_elements = from->row_elements;
    to->block_rows = from->block_rows;
    to->block_cols = from->block_cols;
}

/* By the number. */
static const struct weir_elements item_elements[] = {
    [WEIR_NUMBER_INT] = {.elem_bytes = 1, .n_parts = 1, .part = {{0, 1, 1, false, 0}}},
    [WEIR_NUMBER_E4M3] = {.elem_bytes = 1, .n_parts = 1, .part = {{0, 1, 1, true, 4}}},
    [WEIR_NUMBER_E5M2] = {.elem_bytes = 1, .n_parts = 1, .part = {{0, 1, 1, true, 5}}},
};

static const struct weir_elements q8_elements[] = {
    [WEIR_NUMBER_E4M3] = {.elem_bytes = WEIR_Q8_WEIGHTS,
                          .n_parts = 1,
                          .part = {{0, WEIR_Q8_WEIGHTS, 1, true, 4}}},
    [WEIR_NUMBER_E5M2] = {.elem_bytes = WEIR_Q8_WEIGHTS,
                          .n_parts = 1,
                          .part = {{0, WEIR_Q8_WEIGHTS, 1, true, 5}}},
};

/* Takes the coding with this transform when it beats what there is. */
static weir_err weigh(const struct view *v, const struct weir_transform *t, const uint8_t *item,
                      uint64_t bytes, double *best_bytes, struct weir_coding **best)
{
    size_t n = 0, n_scales = 0;
    for (size_t i = 0; i < v->n_pieces; i++) {
        const struct born_piece *p = &v->piece[i];
        const uint64_t first = p->first * v->weights;
        n += p->n;
        n_scales += born_scales(t, (uint32_t)(first / t->row_elements % t->block_rows),
                                (uint32_t)(first % t->row_elements), p->n);
    }
    const struct weir_elements *like =
        v->weights > 1 ? &q8_elements[t->number] : &item_elements[t->number];
    struct weir_coding *coding = NULL;
    double bits = 0;
    weir_err err = weir_coding_choose(like, item, n * v->weights, &coding, &bits);
    if (err || !coding)
        return err;
    const double taken = (double)(n * v->weights) * bits / 8 + (double)n_scales * sizeof(float);
    const double made_bytes = (double)bytes * taken / (double)(n * v->width);
    if (made_bytes >= *best_bytes * worthwhile) {
        free(coding);
        return WEIR_OK;
    }
    coding->elem_bytes = (uint16_t)v->width;
    copy_transform(t, &coding->transform);
    free(*best);
    *best = coding;
    *best_bytes = made_bytes;
    return WEIR_OK;
}

/* The numbers that a glance at the sample does not rule out. */
static unsigned numbers_seen(const struct view *v)
{
    unsigned seen = 0;
    if (v->weights > 1) { /* most of E5M2's are E4M3's, too */
        for (size_t i = 0; i < v->n_pieces; i++)
            if (!born_q8_glance(v->piece[i].bytes, v->piece[i].n, WEIR_NUMBER_E4M3))
                return 0;
        return 1U << WEIR_NUMBER_E4M3;
    }
    for (unsigned number = WEIR_NUMBER_INT; number <= WEIR_NUMBER_E5M2; number++)
        if (born_glance(&v->tensor, v->piece, v->n_pieces, (enum weir_number)number))
            seen |= 1U << number;
    return seen;
}

/* Q8_0: what the weights were between shows only in what fits. */
static weir_err choose_q8(struct view *v, uint64_t bytes, struct born_room *room,
                          double *best_bytes, struct weir_coding **best)
{
    static const enum weir_number order[] = {WEIR_NUMBER_E5M2, WEIR_NUMBER_E4M3};
    static const enum weir_float made[] = {WEIR_FLOAT_BF16, WEIR_FLOAT_F32};
    const unsigned n_ways = sizeof(order) / sizeof(order[0]) * sizeof(made) / sizeof(made[0]);
    struct weir_transform t;
    for (unsigned way = 0; way < n_ways; way++) {
        v->tensor.type = made[way % 2];
        if (born_q8_find(&v->tensor, v->piece, v->n_pieces, order[way / 2], room, &t))
            return weigh(v, &t, room->item, bytes, best_bytes, best);
    }
    return WEIR_OK;
}

weir_err pack_born_choose(const struct pack_seen *seen, double *best_bytes,
                          struct weir_coding **best, struct weir_diag *diag)
{
    /* Most of E5M2's numbers are E4M3's, too, and so are small integers. */
    static const enum weir_number order[] = {WEIR_NUMBER_INT, WEIR_NUMBER_E5M2, WEIR_NUMBER_E4M3};
    const struct pack *p = seen->reader->pack;
    const struct weir_segment *s = &p->ix.entry[seen->entry].segment[seen->segment];
    struct view v;
    if (!view_of(seen, s, &v))
        return WEIR_OK;
    const unsigned numbers = numbers_seen(&v);
    if (!numbers)
        return WEIR_OK;
    weir_err err = read_tiles(&v, seen, s, diag);
    struct born_room *room = malloc(sizeof(*room));
    if (!room)
        return WEIR_ERR_NOMEM;
    room->item = seen->slot->stored;
    if (!err && v.weights > 1)
        err = choose_q8(&v, s->bytes, room, best_bytes, best);
    for (size_t i = 0; !err && v.weights == 1 && i < sizeof(order) / sizeof(order[0]); i++) {
        struct weir_transform t;
        if (numbers >> order[i] & 1 &&
            born_find(&v.tensor, v.piece, v.n_pieces, order[i], room, &t))
            err = weigh(&v, &t, room->item, s->bytes, best_bytes, best);
    }
    free(room);
    return err;
}
