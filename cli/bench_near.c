#include "bench_near.h"

#include <stdlib.h>
#include <string.h>

enum {
    SAMPLE_BYTES = 512 << 10, /* what pack looks at, in whole rows */
    MAX_TILE_ROWS = WEIR_TILE_BYTES / 2 / WEIR_QUANTISE_MIN_ROW + 2,
};

struct near_room {
    uint8_t items[WEIR_TILE_BYTES], made[WEIR_TILE_BYTES];
    float scale[MAX_TILE_ROWS];
};

struct near_room *near_room_new(void)
{
    return malloc(sizeof(struct near_room));
}

void near_room_free(struct near_room *room)
{
    free(room);
}

static size_t row_bytes_of(const struct bench_run *run)
{
    return run->rows.n_elements * weir_float_bytes(run->rows.type);
}

static weir_err choose(const struct weir_kernels *kernels, struct bench_run *run,
                       const uint8_t *plain, uint8_t *sample, size_t n_sampled)
{
    const size_t row_bytes = row_bytes_of(run), n_rows = (size_t)run->rows.n_rows;
    double bits, signal = 0;
    for (size_t i = 0; i < n_sampled; i++)
        memcpy(sample + i * row_bytes, plain + n_rows * i / n_sampled * row_bytes, row_bytes);
    struct weir_rows some = run->rows;
    some.n_rows = n_sampled;
    weir_err err =
        weir_quantise_choose(kernels, &some, sample, run->near, &run->coding, &run->step, &bits);
    if (err || !run->coding)
        return err;
    run->rms = calloc(n_rows + 1, sizeof(run->rms[0]));
    if (!run->rms)
        return WEIR_ERR_NOMEM;
    for (size_t i = 0; i < n_rows; i++)
        run->rms[i] = weir_quantise_rms(kernels, run->rows.type, plain + i * row_bytes,
                                        run->rows.n_elements, &signal);
    return WEIR_OK;
}

weir_err near_choose(const struct weir_kernels *kernels, struct bench_run *run,
                     const uint8_t *plain)
{
    const size_t row_bytes = row_bytes_of(run);
    size_t n = SAMPLE_BYTES / row_bytes;
    n = n ? n : 1;
    n = n < run->rows.n_rows ? n : (size_t)run->rows.n_rows;
    uint8_t *sample = malloc(n * row_bytes);
    weir_err err = sample ? choose(kernels, run, plain, sample, n) : WEIR_ERR_NOMEM;
    free(sample);
    return err;
}

weir_err near_encode(const struct bench_run *run, const struct near_tile *tile,
                     const uint8_t *plain, size_t n, uint8_t *payload, struct weir_tile_head *head)
{
    const struct weir_transform *t = &run->coding->transform;
    const size_t first = tile->at / run->coding->elem_bytes, count = n / run->coding->elem_bytes;
    const uint32_t column = (uint32_t)(first % t->row_elements);
    struct near_room *room = tile->room;
    const struct weir_quantise_job job = {run->coding, run->step, column,
                                          run->rms + first / t->row_elements, NULL};
    weir_quantise(tile->kernels, &job, plain, count, room->items, room->made, room->scale);
    const struct weir_tile_items items = {
        .item = room->items,
        .column = column,
        .scale = room->scale,
        .n_scales = (size_t)weir_transform_scales(t, 0, column, count),
    };
    return weir_tile_encode_made(tile->encoder, run->coding, &items, room->made, n, payload, head);
}

bool near_check(const struct weir_kernels *kernels, struct bench_run *run, const uint8_t *plain,
                const uint8_t *decoded)
{
    const size_t row_bytes = row_bytes_of(run), n = run->rows.n_elements;
    run->nearness = (struct weir_nearness){.step = run->step.share};
    for (size_t i = 0; i < run->rows.n_rows; i++)
        if (weir_nearness_measure(kernels, run->coding, run->step.share * run->rms[i],
                                  plain + i * row_bytes, decoded + i * row_bytes, n,
                                  &run->nearness) != n)
            return false;
    return true;
}
