#include "gpu_plan.h"

/* How many layers lie where: `best` in the form that the tier multiplies with, `wire` in device
 * memory as stored; the others stream. */
struct split {
    uint32_t best, wire;
    bool output_best, output_wire;
    bool embedding; /* in device memory, with memory of its own */
};

static enum weir_tier tier_of(const struct gpu_plan_in *in)
{
    return in->tier == WEIR_TIER_AUTO ? WEIR_TIER_FUSED : in->tier;
}

/* ---- what a split takes ---- */

static enum gpu_place streamed(const struct gpu_plan_in *in, const struct gpu_part_sizes *s)
{
    if (tier_of(in) == WEIR_TIER_CPU)
        return GPU_PLACE_READ_ROWS;
    return tier_of(in) == WEIR_TIER_RAW || !s->wire ? GPU_PLACE_HOST_ROWS : GPU_PLACE_HOST_WIRE;
}

static enum gpu_place best(const struct gpu_plan_in *in)
{
    return tier_of(in) == WEIR_TIER_FUSED ? GPU_PLACE_PACKED : GPU_PLACE_ROWS;
}

static enum gpu_place wired(const struct gpu_part_sizes *s)
{
    return s->wire ? GPU_PLACE_WIRE : GPU_PLACE_ROWS;
}

/* Number i of n is one of `some` that are spread evenly. */
static bool is_one_of(uint32_t i, uint32_t some, uint32_t n)
{
    return ((uint64_t)i + 1) * some / n > (uint64_t)i * some / n;
}

static void place(const struct gpu_plan_in *in, const struct split *s, struct gpu_plan *out)
{
    const uint32_t n = in->n_layers, n_stay = s->best + s->wire;
    uint32_t k = 0; /* of those that do not stream */
    for (uint32_t i = 0; i < n; i++) {
        if (is_one_of(i, n - n_stay, n))
            out->layer[i] = streamed(in, &in->layer[i]);
        else
            out->layer[i] = is_one_of(k++, s->wire, n_stay) ? wired(&in->layer[i]) : best(in);
    }
    out->output = s->output_best   ? best(in)
                  : s->output_wire ? wired(&in->output)
                                   : streamed(in, &in->output);
    out->embedding = GPU_PLACE_READ_ROWS;
    if (in->tied && gpu_place_stays(out->output))
        out->embedding = GPU_PLACE_SHARED;
    else if (s->embedding)
        out->embedding = best(in);
}

static uint64_t stay_bytes(const struct gpu_part_sizes *s, enum gpu_place p)
{
    if (p == GPU_PLACE_ROWS)
        return s->rows;
    if (p == GPU_PLACE_PACKED)
        return s->packed;
    return p == GPU_PLACE_WIRE ? s->wire : 0;
}

static uint64_t larger(uint64_t a, uint64_t b)
{
    return a > b ? a : b;
}

/* Adds what is needed for something that lies at `p`; slot: its largest part as rows. */
static void add(const struct gpu_part_sizes *s, enum gpu_place p, uint64_t slot, uint64_t tiles,
                struct gpu_plan *out)
{
    out->stay_bytes += stay_bytes(s, p);
    if (gpu_place_stays(p))
        return;
    out->slot_bytes = larger(out->slot_bytes, slot);
    if (p == GPU_PLACE_WIRE)
        out->batch_tiles = larger(out->batch_tiles, tiles);
    else
        out->ring_stays = true;
}

/* All of `out` but the depth, for a split. */
static void weigh(const struct gpu_plan_in *in, const struct split *s, struct gpu_plan *out)
{
    const uint64_t chunk_tiles = in->chunk_bytes / WEIR_TILE_BYTES;
    uint64_t codings = in->output.coding_bytes + in->embedding.coding_bytes;
    place(in, s, out);
    out->stay_bytes = out->slot_bytes = out->batch_tiles = 0;
    out->ring_stays = false;
    for (uint32_t i = 0; i < in->n_layers; i++) {
        const struct gpu_part_sizes *l = &in->layer[i];
        add(l, out->layer[i], l->rows, l->n_tiles, out);
        codings += l->coding_bytes;
    }
    add(&in->output, out->output, in->block_rows, in->block_tiles, out);
    if (gpu_place_stays(out->embedding))
        out->stay_bytes += stay_bytes(&in->embedding, out->embedding);
    /* Packing begins and ends inside tiles. */
    out->scratch_bytes = in->chunk_bytes;
    out->ring_bytes = in->chunk_bytes;
    out->other_bytes =
        codings + (GPU_RING * chunk_tiles + out->depth * out->batch_tiles) * in->tile_bytes;
    out->bytes = out->stay_bytes + GPU_RING * out->ring_bytes +
                 larger(out->scratch_bytes, out->depth * out->slot_bytes) + out->other_bytes;
    if (out->bytes < out->least_bytes)
        out->least_bytes = out->bytes;
}

/* ---- choosing ---- */

/* The most layers that may stay in the tier's best form. */
static uint32_t most_best(const struct gpu_plan_in *in)
{
    const enum weir_tier tier = tier_of(in);
    if (tier == WEIR_TIER_RAW || tier == WEIR_TIER_FUSED || in->cache_layers > in->n_layers)
        return in->n_layers;
    return in->cache_layers;
}

static bool output_may_stay(const struct gpu_plan_in *in)
{
    return most_best(in) == in->n_layers && in->n_layers > 0;
}

static bool fits(const struct gpu_plan_in *in, struct split *s, struct gpu_plan *out)
{
    const bool wire = tier_of(in) == WEIR_TIER_GPU;
    s->output_best = output_may_stay(in) && s->best + s->wire == in->n_layers;
    s->output_wire = wire && s->best + s->wire == in->n_layers && !s->output_best;
    weigh(in, s, out);
    if (out->bytes <= in->bytes)
        return true;
    if (s->output_best && wire) {
        s->output_best = false;
        s->output_wire = true;
        weigh(in, s, out);
        if (out->bytes <= in->bytes)
            return true;
    }
    s->output_best = s->output_wire = false;
    weigh(in, s, out);
    return out->bytes <= in->bytes;
}

/* As many layers in the best form as there may be, while the others lie in device memory, too. */
static bool choose_whole(const struct gpu_plan_in *in, struct split *s, struct gpu_plan *out)
{
    for (uint32_t n = most_best(in) + 1; n-- > 0;) {
        s->best = n;
        s->wire = in->n_layers - n;
        if (fits(in, s, out))
            return true;
    }
    return false;
}

/* Some stream: those that were asked for stay in the best form, then as stored. */
static bool choose_some(const struct gpu_plan_in *in, struct split *s, struct gpu_plan *out)
{
    const bool wire = tier_of(in) == WEIR_TIER_GPU;
    const bool any = wire && in->cache_layers > in->n_layers;
    for (uint32_t n = any ? 1 : most_best(in) + 1; n-- > 0;) {
        s->best = n;
        for (uint32_t w = wire ? in->n_layers - n + 1 : 1; w-- > 0;) {
            s->wire = w;
            if (fits(in, s, out))
                return true;
        }
    }
    return false;
}

static void add_embedding(const struct gpu_plan_in *in, struct split *s, struct gpu_plan *out)
{
    if (out->embedding == GPU_PLACE_SHARED || tier_of(in) == WEIR_TIER_CPU)
        return;
    s->embedding = true;
    weigh(in, s, out);
    if (out->bytes <= in->bytes)
        return;
    s->embedding = false;
    weigh(in, s, out);
}

/* Pinned memory for as many as there is room for; the others are read each time. */
static void place_on_host(const struct gpu_plan_in *in, struct gpu_plan *out)
{
    uint64_t left = in->host_bytes;
    out->pinned_bytes = GPU_RING * out->ring_bytes;
    left = left > out->pinned_bytes ? left - out->pinned_bytes : 0;
    for (uint32_t i = 0; i <= in->n_layers; i++) {
        const bool is_output = i == in->n_layers;
        enum gpu_place *p = is_output ? &out->output : &out->layer[i];
        const struct gpu_part_sizes *s = is_output ? &in->output : &in->layer[i];
        if (*p != GPU_PLACE_HOST_WIRE && *p != GPU_PLACE_HOST_ROWS)
            continue;
        uint64_t bytes = *p == GPU_PLACE_HOST_WIRE ? s->wire : s->rows;
        if (bytes <= left) {
            left -= bytes;
            out->pinned_bytes += bytes;
        } else {
            *p = *p == GPU_PLACE_HOST_WIRE ? GPU_PLACE_READ_WIRE : GPU_PLACE_READ_ROWS;
            out->read_bytes += bytes;
        }
    }
}

bool gpu_plan_make(const struct gpu_plan_in *in, struct gpu_plan *out)
{
    struct split s = {.best = 0};
    *out = (struct gpu_plan){
        .tier = tier_of(in), .depth = in->depth ? in->depth : 2, .least_bytes = UINT64_MAX};
    if (out->depth > GPU_MAX_DEPTH)
        out->depth = GPU_MAX_DEPTH;
    bool whole = tier_of(in) == WEIR_TIER_GPU && choose_whole(in, &s, out);
    if (!whole && !choose_some(in, &s, out))
        return false;
    add_embedding(in, &s, out);
    place_on_host(in, out);
    return true;
}

void gpu_plan_bounds(const struct gpu_plan_in *in, uint64_t *least, uint64_t *most)
{
    struct gpu_plan_in other = *in;
    struct gpu_plan plan;
    other.bytes = 0;
    (void)gpu_plan_make(&other, &plan);
    *least = plan.least_bytes;
    other.bytes = UINT64_MAX;
    (void)gpu_plan_make(&other, &plan);
    *most = plan.bytes;
}
