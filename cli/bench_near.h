/* bench_near.h - near-lossless runs for bench_measure.c, as codec/pack_near.c has tensors. */
#ifndef WEIR_CLI_BENCH_NEAR_H
#define WEIR_CLI_BENCH_NEAR_H

#include "bench.h"

/* Chooses run->coding, step and rms for the run's plain bytes; leaves them NULL where it does not
 * get smaller so.  WEIR_ERR_NOMEM. */
WEIR_MUST_CHECK weir_err near_choose(const struct weir_kernels *kernels, struct bench_run *run,
                                     const uint8_t *plain);

/* A tile of such a run, from byte `at` of it on; `plain` stays as it is.  Of one thread. */
struct near_room;
struct near_room *near_room_new(void); /* NULL: no memory */
void near_room_free(struct near_room *room);
struct near_tile {
    const struct weir_kernels *kernels;
    struct weir_tile_encoder *encoder;
    struct near_room *room;
    size_t at;
};
WEIR_MUST_CHECK weir_err near_encode(const struct bench_run *run, const struct near_tile *tile,
                                     const uint8_t *plain, size_t n, uint8_t *payload,
                                     struct weir_tile_head *head);

/* Fills in run->nearness.  false: a weight is more than half a step off. */
bool near_check(const struct weir_kernels *kernels, struct bench_run *run, const uint8_t *plain,
                const uint8_t *decoded);

#endif
