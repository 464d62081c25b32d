#include "extent_cache.h"

#include <criterion/criterion.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <string.h>
#include <time.h>

#include "fail_alloc.h"

enum { BYTES = 1000, N_THREADS = 8, N_READS = 2000 };

/* Where extents come from: extent e is BYTES of the byte e. */
struct origin {
    _Atomic unsigned n_loads, n_inside, most_inside;
    _Atomic bool fails;
    unsigned ms; /* that a load takes */
};

static weir_err load(void *self, uint32_t extent, unsigned slot, uint8_t *bytes)
{
    struct origin *o = self;
    (void)slot;
    atomic_fetch_add(&o->n_loads, 1);
    unsigned n = atomic_fetch_add(&o->n_inside, 1) + 1;
    if (n > atomic_load(&o->most_inside))
        atomic_store(&o->most_inside, n);
    if (o->ms)
        nanosleep(&(struct timespec){.tv_nsec = o->ms * 1000000L}, NULL);
    memset(bytes, (int)extent, BYTES);
    atomic_fetch_sub(&o->n_inside, 1);
    return o->fails ? WEIR_ERR_NETWORK : WEIR_OK;
}

static struct extent_cache *new_cache(struct origin *o, unsigned n_slots)
{
    const struct extent_cache_options options = {
        .n_slots = n_slots, .slot_bytes = BYTES, .self = o, .load = load};
    struct extent_cache *cache = NULL;
    cr_assert_eq(extent_cache_new(&options, &cache), WEIR_OK);
    return cache;
}

static weir_err read_one(struct extent_cache *cache, uint32_t extent)
{
    uint8_t got[20], want[20];
    weir_err err = extent_cache_read(cache, extent, BYTES - sizeof(got), got, sizeof(got));
    memset(want, (int)extent, sizeof(want));
    if (!err)
        cr_assert_arr_eq(got, want, sizeof(got), "extent %u", extent);
    return err;
}

Test(extent_cache, keeps_those_wanted_last)
{
    struct origin o = {0};
    struct extent_cache *cache = new_cache(&o, 3);
    static const struct {
        uint32_t extent;
        unsigned n_loads;
    } rows[] = {{1, 1}, {1, 1}, {2, 2}, {3, 3}, {1, 3}, {4, 4}, {1, 4}, {3, 4}, {2, 5}, {4, 6}};
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        cr_expect_eq(read_one(cache, rows[i].extent), WEIR_OK);
        cr_expect_eq(o.n_loads, rows[i].n_loads, "row %zu: %u", i, o.n_loads);
    }
    extent_cache_free(cache);
    extent_cache_free(NULL);
}

Test(extent_cache, forgets_failures)
{
    struct origin o = {.fails = true};
    struct extent_cache *cache = new_cache(&o, 1);
    cr_expect_eq(read_one(cache, 1), WEIR_ERR_NETWORK);
    cr_expect_eq(read_one(cache, 1), WEIR_ERR_NETWORK);
    o.fails = false;
    cr_expect_eq(read_one(cache, 1), WEIR_OK);
    o.fails = true;
    cr_expect_eq(read_one(cache, 1), WEIR_OK);
    cr_expect_eq(read_one(cache, 2), WEIR_ERR_NETWORK);
    extent_cache_free(cache);
}

struct reader {
    struct extent_cache *cache;
    uint32_t n_extents;
    unsigned n_reads, seed;
    weir_err wanted;
};

static void *read_many(void *self)
{
    struct reader *r = self;
    for (unsigned i = 0; i < r->n_reads; i++) {
        r->seed = r->seed * 1103515245U + 12345U;
        cr_assert_eq(read_one(r->cache, (r->seed >> 16) % r->n_extents), r->wanted);
    }
    return NULL;
}

static void run_readers(struct extent_cache *cache, uint32_t n_extents, unsigned n_reads,
                        weir_err wanted)
{
    pthread_t thread[N_THREADS];
    struct reader reader[N_THREADS];
    for (unsigned i = 0; i < N_THREADS; i++) {
        reader[i] = (struct reader){cache, n_extents, n_reads, i, wanted};
        cr_assert_eq(pthread_create(&thread[i], NULL, read_many, &reader[i]), 0);
    }
    for (unsigned i = 0; i < N_THREADS; i++)
        (void)pthread_join(thread[i], NULL);
}

Test(extent_cache, is_shared_by_threads)
{
    struct origin o = {0};
    struct extent_cache *cache = new_cache(&o, 3); /* fewer than threads: some wait for a slot */
    run_readers(cache, 9, N_READS, WEIR_OK);
    cr_expect_leq(o.most_inside, 3);
    extent_cache_free(cache);
}

Test(extent_cache, loads_once_for_all_who_wait)
{
    struct origin o = {.ms = 50};
    struct extent_cache *cache = new_cache(&o, 2);
    run_readers(cache, 1, 1, WEIR_OK);
    cr_expect_eq(o.n_loads, 1);
    extent_cache_free(cache);
}

Test(extent_cache, fails_once_for_all_who_wait)
{
    struct origin o = {.ms = 200, .fails = true};
    struct extent_cache *cache = new_cache(&o, 2);
    run_readers(cache, 1, 1, WEIR_ERR_NETWORK);
    cr_expect_leq(o.n_loads, 3, "%u loads: each waits for a server that is gone", o.n_loads);
    extent_cache_free(cache);
}

Test(extent_cache, survives_failing_allocations)
{
    struct origin o = {0};
    const struct extent_cache_options options = {
        .n_slots = 2, .slot_bytes = BYTES, .self = &o, .load = load};
    struct extent_cache *cache = NULL;
    fail_alloc_at(0);
    cr_expect_eq(extent_cache_new(&options, &cache), WEIR_ERR_NOMEM);
    fail_alloc_at(-1);
    cr_expect_null(cache);
    cache = new_cache(&o, 2);
    fail_alloc_at(0);
    cr_expect_eq(read_one(cache, 1), WEIR_ERR_NOMEM);
    fail_alloc_at(-1);
    cr_expect_eq(read_one(cache, 1), WEIR_OK);
    extent_cache_free(cache);
}
