/* Is a tensor of floats made of something narrower, and is that the smaller way to store it? */
#include "pack_plan.h"

#include <stdlib.h>
#include <string.h>

#include "born.h"

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
    size_t width; /* bytes of an element */
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

/* The pieces of the sample.  false: nothing that this is about. */
static bool view_of(const struct pack_seen *seen, const struct weir_segment *s, struct view *v)
{
    const struct pack *p = seen->reader->pack;
    const struct weir_elements *like = pack_elements(p, seen->entry, seen->segment);
    *v = (struct view){.width = like->elem_bytes};
    if (!float_of(like, &v->tensor.type) || s->bytes % v->width)
        return false;
    v->tensor.n_elements = s->bytes / v->width;
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
    const uint64_t n_tiles = (s->bytes - 1) / WEIR_TILE_BYTES + 1;
    const bool there = s->bytes == seen->sample.piece;
    const uint64_t n = there || n_tiles < N_TILES ? n_tiles : N_TILES;
    weir_err err = WEIR_OK;
    v->n_pieces = 0;
    for (uint64_t i = 0; !err && i < n; i++) {
        const uint64_t at = n_tiles * i / n * WEIR_TILE_BYTES, left = s->bytes - at;
        const size_t n_bytes = left < WEIR_TILE_BYTES ? (size_t)left : WEIR_TILE_BYTES;
        uint8_t *to = seen->slot->plain + (there ? 0 : PACK_SAMPLE_BYTES) + i * WEIR_TILE_BYTES;
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

static const struct weir_elements item_elements[] = {
    [WEIR_NUMBER_INT] = {.elem_bytes = 1, .n_parts = 1, .part = {{0, 1, 1, false, 0}}},
    [WEIR_NUMBER_E4M3] = {.elem_bytes = 1, .n_parts = 1, .part = {{0, 1, 1, true, 4}}},
    [WEIR_NUMBER_E5M2] = {.elem_bytes = 1, .n_parts = 1, .part = {{0, 1, 1, true, 5}}},
};

/* Takes the coding with this transform when it beats what there is. */
static weir_err weigh(const struct view *v, const struct weir_transform *t, const uint8_t *item,
                      uint64_t bytes, double *best_bytes, struct weir_coding **best)
{
    size_t n = 0, n_scales = 0;
    for (size_t i = 0; i < v->n_pieces; i++) {
        const struct born_piece *p = &v->piece[i];
        n += p->n;
        n_scales += born_scales(t, (uint32_t)(p->first / t->row_elements % t->block_rows),
                                (uint32_t)(p->first % t->row_elements), p->n);
    }
    struct weir_coding *coding = NULL;
    double bits = 0;
    weir_err err = weir_coding_choose(&item_elements[t->number], item, n, &coding, &bits);
    if (err || !coding)
        return err;
    const double taken = (double)n * bits / 8 + (double)n_scales * sizeof(float);
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
    for (unsigned number = WEIR_NUMBER_INT; number <= WEIR_NUMBER_E5M2; number++)
        if (born_glance(&v->tensor, v->piece, v->n_pieces, (enum weir_number)number))
            seen |= 1U << number;
    return seen;
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
    for (size_t i = 0; !err && i < sizeof(order) / sizeof(order[0]); i++) {
        struct weir_transform t;
        if (numbers >> order[i] & 1 &&
            born_find(&v.tensor, v.piece, v.n_pieces, order[i], room, &t))
            err = weigh(&v, &t, room->item, s->bytes, best_bytes, best);
    }
    free(room);
    return err;
}
