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

/* ---- what comes ahead ---- */

/* Extents that come when the test says so. */
struct ahead {
    struct origin origin; /* first: load() takes it */
    uint32_t begun[16];   /* in order */
    unsigned slot[16];
    uint8_t *bytes[16];
    _Atomic unsigned n_begun, n_checks, n_drops;
    bool refuses, damages;
};

static bool begin(void *self, uint32_t extent, unsigned slot, uint8_t *bytes)
{
    struct ahead *a = self;
    if (a->refuses)
        return false;
    unsigned n = a->n_begun;
    cr_assert_lt(n, 16);
    a->begun[n] = extent;
    a->slot[n] = slot;
    a->bytes[n] = bytes;
    atomic_fetch_add(&a->n_begun, 1);
    return true;
}

static weir_err verify(void *self, uint32_t extent, unsigned slot, const uint8_t *bytes)
{
    struct ahead *a = self;
    (void)slot;
    atomic_fetch_add(&a->n_checks, 1);
    return bytes[BYTES - 1] == (uint8_t)extent ? WEIR_OK : WEIR_ERR_CORRUPT;
}

static void drop(void *self, uint32_t extent, unsigned slot)
{
    struct ahead *a = self;
    (void)extent;
    (void)slot;
    atomic_fetch_add(&a->n_drops, 1);
}

static struct extent_cache *new_ahead(struct ahead *a, unsigned n_slots, unsigned n_ahead)
{
    const struct extent_cache_options options = {.n_slots = n_slots,
                                                 .n_ahead = n_ahead,
                                                 .slot_bytes = BYTES,
                                                 .self = a,
                                                 .load = load,
                                                 .begin = begin,
                                                 .check = verify,
                                                 .drop = drop};
    struct extent_cache *cache = NULL;
    cr_assert_eq(extent_cache_new(&options, &cache), WEIR_OK);
    return cache;
}

/* The i-th that was begun arrives. */
static void come(struct extent_cache *cache, struct ahead *a, unsigned i, weir_err err)
{
    cr_assert_lt(i, a->n_begun);
    memset(a->bytes[i], a->damages ? 0xee : (int)a->begun[i], BYTES);
    extent_cache_came(cache, a->slot[i], err);
}

Test(extent_cache, has_what_came_ahead)
{
    struct ahead a = {0};
    struct extent_cache *cache = new_ahead(&a, 4, 2);
    extent_cache_expect(cache, 5);
    extent_cache_expect(cache, 5);
    cr_expect_eq(a.n_begun, 1, "once");
    come(cache, &a, 0, WEIR_OK);
    cr_expect_eq(read_one(cache, 5), WEIR_OK);
    cr_expect_eq(read_one(cache, 5), WEIR_OK);
    cr_expect_eq(a.n_checks, 1);
    cr_expect_eq(a.origin.n_loads, 0);
    extent_cache_expect(cache, 5);
    cr_expect_eq(a.n_begun, 1, "it is there");
    a.damages = true; /* then it is asked for again */
    extent_cache_expect(cache, 6);
    come(cache, &a, 1, WEIR_OK);
    cr_expect_eq(read_one(cache, 6), WEIR_OK);
    cr_expect_eq(a.origin.n_loads, 1);
    extent_cache_expect(cache, 7); /* an error that nobody waited for is nobody's */
    come(cache, &a, 2, WEIR_ERR_NETWORK);
    cr_expect_eq(read_one(cache, 7), WEIR_OK);
    cr_expect_eq(a.origin.n_loads, 2);
    a.refuses = true;
    extent_cache_expect(cache, 8);
    cr_expect_eq(read_one(cache, 8), WEIR_OK);
    cr_expect_eq(a.origin.n_loads, 3);
    cr_expect_eq(a.n_drops, 0);
    extent_cache_free(cache);
}

Test(extent_cache, leaves_slots_to_those_who_wait)
{
    struct ahead a = {0};
    struct extent_cache *cache = new_ahead(&a, 3, 2);
    for (uint32_t i = 10; i < 10 + 2 * EXTENT_CACHE_PENDING; i++)
        extent_cache_expect(cache, i);
    cr_expect_eq(a.n_begun, 2);
    for (uint32_t i = 0; i < 6; i++) /* one slot is left */
        cr_expect_eq(read_one(cache, i), WEIR_OK);
    cr_expect_eq(a.origin.n_loads, 6);
    come(cache, &a, 0, WEIR_OK);
    cr_expect_eq(a.n_begun, 2, "it has come and is not read yet");
    cr_expect_eq(read_one(cache, 10), WEIR_OK);
    cr_expect_eq(a.n_begun, 3, "the next of the newest that were announced");
    cr_expect_eq(a.begun[2], 10 + EXTENT_CACHE_PENDING);
    come(cache, &a, 1, WEIR_OK);
    come(cache, &a, 2, WEIR_OK);
    /* Nobody reads what has come: it makes room in the end. */
    for (uint32_t i = 100; a.n_begun == 3 && i < 200; i++)
        cr_expect_eq(read_one(cache, i), WEIR_OK);
    cr_expect_gt(a.n_begun, 3);
    cr_expect_gt(a.n_drops, 0);
    for (unsigned i = 3; i < a.n_begun; i++)
        come(cache, &a, i, WEIR_OK);
    extent_cache_free(cache);
}

struct late {
    struct extent_cache *cache;
    uint32_t extent;
    weir_err err;
};

static void *read_late(void *self)
{
    struct late *l = self;
    l->err = read_one(l->cache, l->extent);
    return NULL;
}

Test(extent_cache, tells_when_somebody_begins_to_wait, .timeout = 20)
{
    static const weir_err errors[] = {WEIR_OK, WEIR_ERR_NETWORK};
    for (unsigned i = 0; i < 2; i++) {
        struct ahead a = {0};
        struct extent_cache *cache = new_ahead(&a, 4, 2);
        struct late late = {cache, 3, WEIR_ERR_IO};
        pthread_t thread;
        extent_cache_expect(cache, 3);
        cr_expect(!extent_cache_urged(cache, a.slot[0]));
        cr_assert_eq(pthread_create(&thread, NULL, read_late, &late), 0);
        while (!extent_cache_urged(cache, a.slot[0]))
            nanosleep(&(struct timespec){.tv_nsec = 1000000}, NULL);
        cr_expect(!extent_cache_urged(cache, a.slot[0]), "once");
        come(cache, &a, 0, errors[i]);
        (void)pthread_join(thread, NULL);
        cr_expect_eq(late.err, errors[i]);
        cr_expect_eq(a.origin.n_loads, 0);
        extent_cache_free(cache);
    }
}
