#include "fs/tile_cache.h"

#include <criterion/criterion.h>
#include <pthread.h>
#include <stdatomic.h>
#include <string.h>
#include <time.h>

#include "codec/tile.h"
#include "fail_alloc.h"

static struct weir_tile_cache *new_cache(size_t n_slots)
{
    struct weir_tile_cache *c = NULL;
    cr_assert_eq(weir_tile_cache_new(n_slots, &c), WEIR_OK);
    return c;
}

static void pause_ms(long ms)
{
    struct timespec t = {ms / 1000, ms % 1000 * 1000000};
    nanosleep(&t, NULL);
}

/* A tile's bytes: its number, over and over, and a last byte of its own. */
static void write_tile(uint8_t *bytes, uint64_t tile)
{
    for (size_t at = 0; at < WEIR_TILE_BYTES; at += sizeof(tile))
        memcpy(bytes + at, &tile, sizeof(tile));
    bytes[WEIR_TILE_BYTES - 1] = (uint8_t)~tile;
}

static bool is_tile(const uint8_t *bytes, uint64_t tile)
{
    uint64_t first, middle;
    memcpy(&first, bytes, sizeof(first));
    memcpy(&middle, bytes + WEIR_TILE_BYTES / 2, sizeof(middle));
    return first == tile && middle == tile && bytes[WEIR_TILE_BYTES - 1] == (uint8_t)~tile;
}

/* Pins a tile, fills it if that is wanted, lets it go again.  True: it had to fill. */
static bool use(struct weir_tile_cache *c, uint64_t tile, bool spent)
{
    struct weir_tile_pin pin;
    cr_assert_eq(weir_tile_cache_pin(c, tile, &pin), WEIR_OK);
    bool filled = pin.must_fill;
    if (filled) {
        write_tile(pin.bytes, tile);
        weir_tile_cache_filled(c, &pin, WEIR_OK);
    }
    cr_assert(is_tile(pin.bytes, tile), "tile %llu", (unsigned long long)tile);
    weir_tile_cache_unpin(c, &pin, spent);
    return filled;
}

static bool touch(struct weir_tile_cache *c, uint64_t tile)
{
    return use(c, tile, false);
}

/* As touch(), by somebody who reads in order. */
static bool pass(struct weir_tile_cache *c, uint64_t tile)
{
    return use(c, tile, true);
}

Test(tile_cache, refuses_sizes)
{
    struct weir_tile_cache *c = NULL;
    cr_expect_eq(weir_tile_cache_new(0, &c), WEIR_ERR_INVALID);
    cr_expect_eq(weir_tile_cache_new(((size_t)1 << 24) + 1, &c), WEIR_ERR_INVALID);
    cr_expect_null(c);
    weir_tile_cache_free(NULL);
}

Test(tile_cache, evicts_the_least_recently_used)
{
    struct weir_tile_cache *c = new_cache(3);
    static const struct {
        uint64_t tile;
        bool fills;
    } steps[] = {
        {10, true},  {11, true},  {12, true},          {10, false},        {13, true}, /* 11 goes */
        {10, false}, {12, false}, {13, false},         {11, true},                     /* 10 goes */
        {12, false}, {13, false}, {10, true},          {UINT64_MAX, true}, /* 11 and 12 go */
        {13, false}, {10, false}, {UINT64_MAX, false},
    };
    for (size_t i = 0; i < sizeof(steps) / sizeof(steps[0]); i++)
        cr_expect_eq(touch(c, steps[i].tile), steps[i].fills, "step %zu", i);
    struct weir_tile_cache_counts counts = weir_tile_cache_counts(c);
    cr_expect_eq(counts.misses, 7);
    cr_expect_eq(counts.hits, 9);
    weir_tile_cache_free(c);
}

Test(tile_cache, a_pinned_tile_stays)
{
    struct weir_tile_cache *c = new_cache(2);
    struct weir_tile_pin pin;
    touch(c, 1);
    cr_assert_eq(weir_tile_cache_pin(c, 1, &pin), WEIR_OK);
    for (uint64_t tile = 2; tile < 9; tile++)
        cr_expect(touch(c, tile));
    cr_expect(is_tile(pin.bytes, 1));
    weir_tile_cache_unpin(c, &pin, false);
    cr_expect_not(touch(c, 1));
    weir_tile_cache_free(c);
}

Test(tile_cache, a_failed_fill_is_tried_anew)
{
    struct weir_tile_cache *c = new_cache(2);
    for (int i = 0; i < 5; i++) {
        struct weir_tile_pin pin;
        cr_assert_eq(weir_tile_cache_pin(c, 7, &pin), WEIR_OK);
        cr_assert(pin.must_fill);
        weir_tile_cache_filled(c, &pin, WEIR_ERR_CORRUPT);
    }
    cr_expect(touch(c, 7));
    cr_expect_not(touch(c, 7));
    struct weir_tile_pin pin;
    cr_expect(touch(c, 8));
    cr_assert_eq(weir_tile_cache_pin(c, 9, &pin), WEIR_OK); /* 7 goes */
    weir_tile_cache_filled(c, &pin, WEIR_ERR_IO);
    cr_expect(touch(c, 10));
    cr_expect_not(touch(c, 8), "the slot of a failed fill is taken first");
    weir_tile_cache_free(c);
}

Test(tile_cache, a_stream_leaves_the_others_their_tiles)
{
    enum { N_USED = 20, N_SLOTS = 8 * WEIR_TILE_CACHE_SPENT };
    struct weir_tile_cache *c = new_cache(N_SLOTS);
    for (uint64_t tile = 0; tile < N_USED; tile++)
        touch(c, tile);
    for (uint64_t tile = 1000; tile < 2000; tile++)
        cr_assert(pass(c, tile));
    for (uint64_t tile = 0; tile < N_USED; tile++)
        cr_expect_not(touch(c, tile), "tile %llu is gone", (unsigned long long)tile);
    for (uint64_t tile = 2000 - WEIR_TILE_CACHE_SPENT; tile < 2000; tile++)
        cr_expect_not(pass(c, tile), "spent tile %llu is gone at once", (unsigned long long)tile);
    weir_tile_cache_free(c);
}

Test(tile_cache, what_is_wanted_again_is_spent_no_more)
{
    struct weir_tile_cache *c = new_cache(WEIR_TILE_CACHE_SPENT + 8);
    cr_expect(pass(c, 1));
    cr_expect_not(touch(c, 1));
    for (uint64_t tile = 1000; tile < 1200; tile++)
        pass(c, tile);
    cr_expect_not(touch(c, 1));
    weir_tile_cache_free(c);
}

Test(tile_cache, spent_tiles_are_all_there_is)
{
    struct weir_tile_cache *c = new_cache(2);
    for (uint64_t tile = 0; tile < 9; tile++)
        cr_expect(pass(c, tile));
    cr_expect_not(pass(c, 8));
    cr_expect_not(pass(c, 7));
    weir_tile_cache_free(c);
}

/* ---- several threads ---- */

enum { N_THREADS = 8 };

struct joiner {
    struct weir_tile_cache *cache;
    uint64_t tile;
    weir_err want;
    bool fine;
};

static void *join_fill(void *arg)
{
    struct joiner *j = arg;
    struct weir_tile_pin pin;
    weir_err err = weir_tile_cache_pin(j->cache, j->tile, &pin);
    j->fine = err == j->want;
    if (!err) {
        j->fine = j->fine && !pin.must_fill && is_tile(pin.bytes, j->tile);
        weir_tile_cache_unpin(j->cache, &pin, false);
    }
    return NULL;
}

/* One thread fills, the others wait for it and see how it ended. */
static void check_single_flight(weir_err end)
{
    struct weir_tile_cache *c = new_cache(4);
    struct weir_tile_pin pin;
    cr_assert_eq(weir_tile_cache_pin(c, 3, &pin), WEIR_OK);
    cr_assert(pin.must_fill);

    struct joiner joiner[N_THREADS];
    pthread_t thread[N_THREADS];
    for (size_t i = 0; i < N_THREADS; i++) {
        joiner[i] = (struct joiner){c, 3, end, false};
        cr_assert_eq(pthread_create(&thread[i], NULL, join_fill, &joiner[i]), 0);
    }
    while (weir_tile_cache_counts(c).hits < N_THREADS)
        pause_ms(1);
    write_tile(pin.bytes, 3);
    weir_tile_cache_filled(c, &pin, end);
    if (!end)
        weir_tile_cache_unpin(c, &pin, false);
    for (size_t i = 0; i < N_THREADS; i++) {
        pthread_join(thread[i], NULL);
        cr_expect(joiner[i].fine, "thread %zu", i);
    }
    cr_expect_eq(weir_tile_cache_counts(c).misses, 1);
    for (uint64_t tile = 20; tile < 24; tile++)
        cr_expect(touch(c, tile), "all four slots are free again");
    weir_tile_cache_free(c);
}

Test(tile_cache, one_thread_fills_for_all)
{
    check_single_flight(WEIR_OK);
}

Test(tile_cache, all_who_wait_get_the_error)
{
    check_single_flight(WEIR_ERR_CORRUPT);
    check_single_flight(WEIR_ERR_IO);
}

static void *touch_two(void *arg)
{
    struct joiner *j = arg;
    j->fine = touch(j->cache, j->tile);
    return NULL;
}

/* With every slot pinned a thread waits, and goes on when one comes back. */
Test(tile_cache, waits_for_a_slot)
{
    struct weir_tile_cache *c = new_cache(1);
    struct weir_tile_pin pin;
    cr_assert_eq(weir_tile_cache_pin(c, 1, &pin), WEIR_OK);
    write_tile(pin.bytes, 1);
    weir_tile_cache_filled(c, &pin, WEIR_OK);

    struct joiner joiner[2] = {{c, 2, WEIR_OK, false}, {c, 3, WEIR_OK, false}};
    pthread_t thread[2];
    for (size_t i = 0; i < 2; i++)
        cr_assert_eq(pthread_create(&thread[i], NULL, touch_two, &joiner[i]), 0);
    pause_ms(50);
    cr_expect_eq(weir_tile_cache_counts(c).misses, 1, "nobody took the pinned slot");
    cr_expect(is_tile(pin.bytes, 1));
    weir_tile_cache_unpin(c, &pin, false);
    for (size_t i = 0; i < 2; i++) {
        pthread_join(thread[i], NULL);
        cr_expect(joiner[i].fine);
    }
    weir_tile_cache_free(c);
}

enum {
    CROWD_TILES = 40,
    CROWD_SLOTS = 12, /* above N_THREADS: a thread pins one at a time, so fewer would do too */
    CROWD_ROUNDS = 2000,
    BAD_TILE = 13,
};

struct crowd {
    struct weir_tile_cache *cache;
    _Atomic int filling[CROWD_TILES]; /* threads that fill this tile right now */
    _Atomic int n_wrong;
};

struct walker {
    struct crowd *crowd;
    uint64_t seed;
};

static uint64_t next_random(uint64_t *seed)
{
    *seed = *seed * UINT64_C(6364136223846793005) + 1442695040888963407;
    return *seed >> 33;
}

static void visit(struct crowd *w, uint64_t tile)
{
    struct weir_tile_pin pin;
    weir_err err = weir_tile_cache_pin(w->cache, tile, &pin);
    if (err) {
        w->n_wrong += tile != BAD_TILE || err != WEIR_ERR_CORRUPT;
        return;
    }
    if (pin.must_fill) {
        w->n_wrong += w->filling[tile]++ != 0;
        write_tile(pin.bytes, tile);
        w->filling[tile]--;
        err = tile == BAD_TILE ? WEIR_ERR_CORRUPT : WEIR_OK;
        weir_tile_cache_filled(w->cache, &pin, err);
    }
    if (err)
        return;
    w->n_wrong += !is_tile(pin.bytes, tile);
    weir_tile_cache_unpin(w->cache, &pin, false);
}

static void *walk(void *arg)
{
    struct walker *walker = arg;
    for (int i = 0; i < CROWD_ROUNDS; i++)
        visit(walker->crowd, next_random(&walker->seed) % CROWD_TILES);
    return NULL;
}

static void check_crowd(size_t n_slots)
{
    struct crowd crowd = {.cache = new_cache(n_slots)};
    struct walker walker[N_THREADS];
    pthread_t thread[N_THREADS];
    for (size_t i = 0; i < N_THREADS; i++) {
        walker[i] = (struct walker){&crowd, i + 1};
        cr_assert_eq(pthread_create(&thread[i], NULL, walk, &walker[i]), 0);
    }
    for (size_t i = 0; i < N_THREADS; i++)
        pthread_join(thread[i], NULL);
    cr_expect_eq(crowd.n_wrong, 0);
    struct weir_tile_cache_counts counts = weir_tile_cache_counts(crowd.cache);
    cr_expect_eq(counts.hits + counts.misses, (uint64_t)N_THREADS * CROWD_ROUNDS);
    weir_tile_cache_free(crowd.cache);
}

Test(tile_cache, a_crowd_sees_right_bytes)
{
    check_crowd(CROWD_SLOTS);
}

Test(tile_cache, a_crowd_gets_by_with_few_slots)
{
    check_crowd(3);
    check_crowd(1);
}

Test(tile_cache, survives_each_allocation_failing)
{
    struct weir_tile_cache *c = NULL;
    weir_err err = WEIR_ERR_NOMEM;
    int n = 0;
    for (; err == WEIR_ERR_NOMEM; n++) {
        fail_alloc_at(n);
        err = weir_tile_cache_new(2, &c);
        fail_alloc_at(-1);
        cr_assert((err == WEIR_ERR_NOMEM) == (c == NULL));
    }
    cr_assert_eq(err, WEIR_OK);
    cr_assert_gt(n, 3, "too few were made to fail");
    weir_tile_cache_free(c);
}
