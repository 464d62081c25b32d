/* Where weights lie for a GPU: never more than there may be, and no less than there could. */
#include "gpu_plan.h"

#include <criterion/criterion.h>

enum { N = 12, STEPS = 97 };

static const uint64_t MIB = 1 << 20;

static const enum weir_tier all_tiers[] = {WEIR_TIER_AUTO, WEIR_TIER_CPU, WEIR_TIER_GPU,
                                           WEIR_TIER_FUSED, WEIR_TIER_RAW};

static struct gpu_part_sizes layers[N];

/* Layers of 16 MiB and a little, each a little different. */
static struct gpu_plan_in problem(enum weir_tier tier)
{
    struct gpu_plan_in in = {.tier = tier,
                             .host_bytes = UINT64_MAX,
                             .n_layers = N,
                             .layer = layers,
                             .block_rows = 14 * MIB,
                             .block_tiles = 112,
                             .chunk_bytes = 2 * MIB,
                             .tile_bytes = 512};
    for (uint64_t i = 0; i < N; i++)
        layers[i] = (struct gpu_part_sizes){.rows = 16 * MIB + 4096 * i,
                                            .packed = 12 * MIB + 4096 * i,
                                            .wire = 10 * MIB + 4096 * i,
                                            .n_tiles = 128,
                                            .coding_bytes = 7 << 14};
    in.output = (struct gpu_part_sizes){28 * MIB, 21 * MIB, 19 * MIB, 224, 1 << 14};
    in.embedding = in.output;
    return in;
}

static uint64_t taken(const struct gpu_part_sizes *s, enum gpu_place p)
{
    return p == GPU_PLACE_ROWS     ? s->rows
           : p == GPU_PLACE_PACKED ? s->packed
           : p == GPU_PLACE_WIRE   ? s->wire
                                   : 0;
}

static bool from_host(enum gpu_place p)
{
    return p != GPU_PLACE_WIRE && !gpu_place_stays(p);
}

/* What the plan takes, added up by the book. */
static uint64_t total(const struct gpu_plan_in *in, const struct gpu_plan *p)
{
    const uint64_t ring = GPU_RING * in->chunk_bytes;
    uint64_t bytes = taken(&in->output, p->output) + taken(&in->embedding, p->embedding), slot = 0;
    uint64_t codings = in->output.coding_bytes + in->embedding.coding_bytes, tiles = 0;
    for (uint32_t i = 0; i < in->n_layers; i++) {
        bytes += taken(&in->layer[i], p->layer[i]);
        codings += in->layer[i].coding_bytes;
        if (!gpu_place_stays(p->layer[i]) && in->layer[i].rows > slot)
            slot = in->layer[i].rows;
        if (p->layer[i] == GPU_PLACE_WIRE)
            tiles = in->layer[i].n_tiles;
    }
    if (!gpu_place_stays(p->output) && in->block_rows > slot)
        slot = in->block_rows;
    if (p->output == GPU_PLACE_WIRE && !tiles)
        tiles = in->block_tiles;
    uint64_t work = p->depth * slot;
    if (work < in->chunk_bytes)
        work = in->chunk_bytes;
    return bytes + codings + ring + work +
           in->tile_bytes * (GPU_RING * in->chunk_bytes / WEIR_TILE_BYTES + p->depth * tiles);
}

static uint64_t streamed(const struct gpu_plan_in *in, const struct gpu_plan *p)
{
    uint64_t bytes = from_host(p->output) ? in->output.wire : 0;
    for (uint32_t i = 0; i < in->n_layers; i++)
        bytes += from_host(p->layer[i]) ? in->layer[i].wire : 0;
    return bytes;
}

Test(gpu_plan, stays_within_every_budget)
{
    for (size_t t = 0; t < sizeof(all_tiers) / sizeof(all_tiers[0]); t++) {
        for (uint32_t depth = 1; depth <= 3; depth++) {
            struct gpu_plan_in in = problem(all_tiers[t]);
            struct gpu_plan p;
            uint64_t least, most, before = UINT64_MAX;
            in.depth = depth;
            gpu_plan_bounds(&in, &least, &most);
            in.bytes = least - 1;
            cr_assert_not(gpu_plan_make(&in, &p));
            cr_assert_eq(p.least_bytes, least);
            for (uint64_t i = 0; i <= STEPS; i++) {
                in.bytes = least + (most - least) * i / STEPS;
                cr_assert(gpu_plan_make(&in, &p));
                cr_assert_eq(p.bytes, total(&in, &p));
                cr_assert_leq(p.bytes, in.bytes);
                cr_assert_leq(streamed(&in, &p), before); /* more room is never worse */
                before = streamed(&in, &p);
            }
        }
    }
}

Test(gpu_plan, keeps_all_where_it_may)
{
    static const struct {
        enum weir_tier tier;
        uint32_t cache;
        enum gpu_place layer, output, embedding;
    } with[] = {
        {WEIR_TIER_AUTO, 0, GPU_PLACE_PACKED, GPU_PLACE_PACKED, GPU_PLACE_PACKED},
        {WEIR_TIER_FUSED, 0, GPU_PLACE_PACKED, GPU_PLACE_PACKED, GPU_PLACE_PACKED},
        {WEIR_TIER_RAW, 0, GPU_PLACE_ROWS, GPU_PLACE_ROWS, GPU_PLACE_ROWS},
        {WEIR_TIER_GPU, 0, GPU_PLACE_WIRE, GPU_PLACE_WIRE, GPU_PLACE_ROWS},
        {WEIR_TIER_GPU, WEIR_CACHE_AUTO, GPU_PLACE_ROWS, GPU_PLACE_ROWS, GPU_PLACE_ROWS},
        {WEIR_TIER_CPU, 0, GPU_PLACE_READ_ROWS, GPU_PLACE_READ_ROWS, GPU_PLACE_READ_ROWS},
    };
    for (size_t k = 0; k < sizeof(with) / sizeof(with[0]); k++) {
        struct gpu_plan_in in = problem(with[k].tier);
        struct gpu_plan p;
        in.cache_layers = with[k].cache;
        in.bytes = UINT64_MAX;
        cr_assert(gpu_plan_make(&in, &p));
        for (uint32_t i = 0; i < N; i++)
            cr_assert_eq(p.layer[i], with[k].layer);
        cr_assert_eq(p.output, with[k].output);
        cr_assert_eq(p.embedding, with[k].embedding);
    }
}

Test(gpu_plan, keeps_so_many_layers_as_rows)
{
    for (uint32_t cache = 0; cache <= N; cache++) {
        struct gpu_plan_in in = problem(cache % 2 ? WEIR_TIER_GPU : WEIR_TIER_CPU);
        struct gpu_plan p;
        uint32_t n = 0;
        in.cache_layers = cache;
        in.bytes = UINT64_MAX;
        cr_assert(gpu_plan_make(&in, &p));
        for (uint32_t i = 0; i < N; i++)
            n += p.layer[i] == GPU_PLACE_ROWS;
        cr_assert_eq(n, cache);
    }
}

Test(gpu_plan, spreads_what_streams)
{
    struct gpu_plan_in in = problem(WEIR_TIER_AUTO);
    struct gpu_plan p;
    uint64_t least, most;
    gpu_plan_bounds(&in, &least, &most);
    for (uint64_t k = 0; k <= STEPS; k++) {
        uint32_t n = 0, run = 0, longest = 0, shortest = N;
        in.bytes = least + (most - least) * k / STEPS;
        cr_assert(gpu_plan_make(&in, &p));
        for (uint32_t i = 0; i < 2 * N; i++) { /* pass after pass */
            if (gpu_place_stays(p.layer[i % N])) {
                run++;
                continue;
            }
            longest = n && run > longest ? run : longest;
            shortest = n && run < shortest ? run : shortest;
            run = 0;
            n++;
        }
        if (n > 1)
            cr_assert_leq(longest - shortest, 1, "%u of %u", n / 2, N);
    }
}

/* Of all layers, what is more than 10 MiB. */
static const uint64_t wire_above = UINT64_C(66) * 4096;

Test(gpu_plan, pins_no_more_than_it_may)
{
    struct gpu_plan_in in = problem(WEIR_TIER_FUSED);
    struct gpu_plan p;
    uint64_t most;
    gpu_plan_bounds(&in, &in.bytes, &most);
    for (uint64_t i = 0; i <= STEPS; i++) {
        uint32_t n_read = 0;
        in.host_bytes = i * 2 * MIB;
        cr_assert(gpu_plan_make(&in, &p));
        if (in.host_bytes >= GPU_RING * in.chunk_bytes)
            cr_assert_leq(p.pinned_bytes, in.host_bytes);
        for (uint32_t k = 0; k < N; k++)
            n_read += p.layer[k] == GPU_PLACE_READ_WIRE;
        cr_assert_eq(n_read == 0, in.host_bytes >= GPU_RING * in.chunk_bytes +
                                                       (uint64_t)N * 10 * MIB + wire_above);
    }
}

Test(gpu_plan, shares_a_tied_matrix)
{
    struct gpu_plan_in in = problem(WEIR_TIER_AUTO);
    struct gpu_plan p;
    in.tied = true;
    in.bytes = UINT64_MAX;
    cr_assert(gpu_plan_make(&in, &p));
    cr_assert_eq(p.embedding, GPU_PLACE_SHARED);
    cr_assert_eq(p.bytes, total(&in, &p));
}

Test(gpu_plan, streams_rows_of_what_only_the_host_decodes)
{
    struct gpu_plan_in in = problem(WEIR_TIER_GPU);
    struct gpu_plan p;
    uint64_t most;
    for (uint32_t i = 0; i < N; i++)
        layers[i].wire = 0;
    gpu_plan_bounds(&in, &in.bytes, &most);
    cr_assert(gpu_plan_make(&in, &p));
    for (uint32_t i = 0; i < N; i++)
        cr_assert_eq(p.layer[i], GPU_PLACE_HOST_ROWS);
    cr_assert_leq(p.bytes, in.bytes);
}
