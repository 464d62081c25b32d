/* Near-lossless tensors: which, with what steps, and how far from what they were.
 *
 * Steps take the root of the mean square of whole rows, and an extent may hold less than a row: so
 * all of the tensor is read once, when its coding is chosen, and again when it is encoded.  What is
 * kept in between is a float for each row. */
#include "pack_plan.h"

#include <stdlib.h>
#include <string.h>

enum {
    SAMPLE_BYTES = 512 << 10, /* at most, or one row */
    BLOCK_BYTES = 1 << 20,    /* looked at together; or one row */
    MAX_ROW_BYTES = 2 << 20,  /* items and what is made of them fit a slot's other half */
    TRIES = 8,                /* to come up to an SNR */
    MAX_TILE_ELEMENTS = WEIR_TILE_BYTES / 2,
    MAX_TILE_ROWS = MAX_TILE_ELEMENTS / WEIR_QUANTISE_MIN_ROW + 2,
};

_Static_assert(2 * (int)MAX_ROW_BYTES <= (int)WEIR_MAX_EXTENT_BYTES, "a block fits a slot");

/* ---- choosing ---- */

struct source {
    struct pack_reader *reader;
    uint32_t entry;
    uint64_t at; /* of the tensor, in its file */
    struct weir_rows shape;
    size_t row_bytes;
    const struct pack_slot *slot;
};

static weir_err read_rows(const struct source *s, uint64_t row, size_t n, uint8_t *to,
                          struct weir_diag *diag)
{
    return pack_read(s->reader, s->entry, s->at + row * s->row_bytes, to, n * s->row_bytes, diag);
}

/* Rows evenly spread; which ones depends on the tensor alone. */
static weir_err take_sample(const struct source *s, size_t *n_rows, struct weir_diag *diag)
{
    const uint64_t n_all = s->shape.n_rows;
    uint64_t n = SAMPLE_BYTES / s->row_bytes;
    n = n ? n : 1;
    n = n < n_all ? n : n_all;
    for (uint64_t i = 0; i < n; i++) {
        const uint64_t row = n_all / n * i + n_all % n * i / n;
        weir_err err = read_rows(s, row, 1, s->slot->plain + i * s->row_bytes, diag);
        if (err)
            return err;
    }
    *n_rows = (size_t)n;
    return WEIR_OK;
}

/* Reads the tensor, and fills in the roots of its rows' mean squares and its nearness. */
static weir_err measure(const struct source *s, const struct weir_coding *coding,
                        struct pack_near *near, struct weir_diag *diag)
{
    const struct weir_kernels *kernels = s->reader->pack->kernels;
    const size_t n = s->shape.n_elements;
    const size_t together = s->row_bytes < BLOCK_BYTES ? BLOCK_BYTES / s->row_bytes : 1;
    near->nearness = (struct weir_nearness){.step = near->step.share};
    for (uint64_t row = 0, some; row < s->shape.n_rows; row += some) {
        some = s->shape.n_rows - row < together ? s->shape.n_rows - row : together;
        weir_err err = read_rows(s, row, (size_t)some, s->slot->plain, diag);
        if (err)
            return err;
        for (size_t i = 0; i < some; i++) {
            const uint8_t *from = s->slot->plain + i * s->row_bytes;
            float scale, *rms = &near->rms[row + i];
            *rms = weir_quantise_rms(kernels, s->shape.type, from, n, &near->nearness.signal);
            const struct weir_quantise_job job = {coding, near->step, 0, rms, &near->nearness};
            weir_quantise(kernels, &job, from, n, s->slot->stored, s->slot->stored + 2 * n, &scale);
        }
    }
    return WEIR_OK;
}

static weir_err measure_until_near(const struct source *s, const struct weir_near *wanted,
                                   struct weir_coding **coding, struct pack_near *near,
                                   struct weir_diag *diag)
{
    for (int i = 0; i < TRIES; i++) {
        weir_err err = measure(s, *coding, near, diag);
        if (err ||
            weir_near_reached(wanted, near->nearness.signal, near->nearness.noise, &near->step))
            return err;
    }
    free(*coding);
    *coding = NULL;
    return WEIR_OK;
}

/* Leaves *coding NULL where the tensor stays lossless. */
static weir_err choose(const struct source *s, double lossless_bytes, struct weir_coding **coding,
                       struct pack_near *near, struct weir_diag *diag)
{
    const struct weir_near *wanted = s->reader->pack->near;
    size_t n_rows = 0;
    double bits = 8;
    weir_err err = take_sample(s, &n_rows, diag);
    struct weir_rows some = s->shape;
    some.n_rows = n_rows;
    if (!err)
        err = weir_quantise_choose(s->reader->pack->kernels, &some, s->slot->plain, wanted, coding,
                                   &near->step, &bits);
    if (err || !*coding)
        return err;
    if (bits / 8 * (double)s->shape.n_rows * (double)s->row_bytes >= lossless_bytes) {
        free(*coding);
        *coding = NULL;
        return WEIR_OK;
    }
    return measure_until_near(s, wanted, coding, near, diag);
}

weir_err pack_near_choose(const struct pack_seen *seen, double lossless_bytes,
                          struct pack_choice *choice, struct weir_diag *diag)
{
    const struct pack *p = seen->reader->pack;
    const struct weir_segment *at = &p->ix.entry[seen->entry].segment[seen->segment];
    struct source s = {
        .reader = seen->reader, .entry = seen->entry, .at = at->file_offset, .slot = seen->slot};
    if (!at->tensor || !weir_near_wants(at->tensor, p->near_embeddings) ||
        !weir_quantise_rows(at->tensor, &s.shape))
        return WEIR_OK;
    s.row_bytes = s.shape.n_elements * weir_float_bytes(s.shape.type);
    if (s.row_bytes > MAX_ROW_BYTES || s.shape.n_rows * s.row_bytes != at->bytes)
        return WEIR_OK;
    struct pack_near *near = calloc(1, sizeof(*near));
    struct weir_coding *coding = NULL;
    if (near)
        near->rms = malloc((size_t)s.shape.n_rows * sizeof(near->rms[0]));
    weir_err err =
        near && near->rms ? choose(&s, lossless_bytes, &coding, near, diag) : WEIR_ERR_NOMEM;
    if (err || !coding) {
        free(coding);
        pack_near_free(near);
        return err;
    }
    free(choice->coding);
    choice->coding = coding;
    choice->near = near;
    return WEIR_OK;
}

void pack_near_free(struct pack_near *near)
{
    if (!near)
        return;
    free(near->rms);
    free(near);
}

/* ---- encoding ---- */

struct pack_near_room {
    uint8_t items[WEIR_TILE_BYTES], made[WEIR_TILE_BYTES];
    float scale[MAX_TILE_ROWS];
};

struct pack_near_room *pack_near_room_new(void)
{
    return malloc(sizeof(struct pack_near_room));
}

void pack_near_room_free(struct pack_near_room *room)
{
    free(room);
}

weir_err pack_near_encode(const struct pack *p, const struct pack_near_tile *tile, uint8_t *plain,
                          size_t n_bytes, uint8_t *payload, struct weir_tile_head *head)
{
    const struct weir_coding *coding = tile->object->coding;
    const struct weir_transform *t = &coding->transform;
    struct pack_near_room *room = tile->room;
    const uint64_t first = tile->number * (tile->object->tile_bytes / coding->elem_bytes);
    const uint32_t column = (uint32_t)(first % t->row_elements);
    const size_t n = n_bytes / coding->elem_bytes;
    const struct weir_quantise_job job = {coding, tile->near->step, column,
                                          tile->near->rms + first / t->row_elements, NULL};
    weir_quantise(p->kernels, &job, plain, n, room->items, room->made, room->scale);
    const struct weir_tile_items items = {
        .item = room->items,
        .column = column,
        .scale = room->scale,
        .n_scales = (size_t)weir_transform_scales(t, 0, column, n),
    };
    memcpy(plain, room->made, n_bytes);
    return weir_tile_encode_made(tile->encoder, coding, &items, plain, n_bytes, payload, head);
}
