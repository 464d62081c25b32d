#include "gpu_weights_damage.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "gpu_weights_ahead.h"
#include "opened.h"

enum { PLACES = 4, EARLY_PASSES = 12, BUDGETS = 6 };

/* A store in memory, to be spoilt. */
struct spoilt {
    uint8_t *bytes;
    struct weir_source source;
    struct weir_store *store;
    struct weir_checkpoint *ck;
    struct weir_model *model;
};

static void open_spoilt(struct spoilt *s, const char *src)
{
    struct weir_diag diag = {""};
    struct weir_model_config config;
    struct weir_source file;
    opened_check(weir_source_open_file(src, &file, &diag), &diag, src);
    s->bytes = malloc((size_t)file.size);
    opened_check(s->bytes ? WEIR_OK : WEIR_ERR_NOMEM, &diag, src);
    opened_check(weir_source_read(&file, 0, s->bytes, (size_t)file.size), &diag, src);
    weir_source_from_memory(s->bytes, (size_t)file.size, &s->source);
    weir_source_close(&file);
    opened_check(weir_store_open(&s->source, &s->store, &diag), &diag, src);
    opened_check(weir_checkpoint_from_store(s->store, "", NULL, &s->ck, &diag), &diag, src);
    opened_check(weir_model_config_read(s->ck, &config, &diag), &diag, src);
    opened_check(weir_model_open(s->ck, &config, &s->model, &diag), &diag, src);
}

static void close_spoilt(struct spoilt *s)
{
    weir_model_free(s->model);
    weir_checkpoint_free(s->ck);
    weir_store_free(s->store);
    free(s->bytes);
}

static weir_err pass(struct gpu_weights *w, uint32_t n, uint32_t n_layers,
                     struct weir_gpu_stream *s, struct weir_diag *diag)
{
    weir_err err = ahead_layers(w, n, n_layers, s, diag);
    weir_err waited = weir_gpu_stream_wait(s);
    weir_err sound = err ? WEIR_OK : gpu_weights_verify_wait(w, diag);
    return err ? err : waited ? waited : sound;
}

static weir_err load_and_pass(struct weir_gpu *gpu, const struct spoilt *s,
                              const struct weir_device_rules *rules, uint64_t bytes)
{
    const uint32_t n = s->model->config.n_layers;
    struct weir_diag diag = {""};
    struct weir_gpu_stream *stream;
    struct gpu_weights *w;
    opened_check(weir_gpu_stream_new(gpu, &stream), &diag, "stream");
    weir_err err = gpu_weights_new(gpu, s->model, rules, bytes, &w, &diag);
    if (!err) {
        err = pass(w, n, n, stream, &diag);
        if (err && pass(w, n, n, stream, NULL) != err) /* it is still damaged */
            err = WEIR_OK;
        gpu_weights_free(w);
    }
    weir_gpu_stream_free(stream);
    return err;
}

/* A byte in the middle of a tile of a layer. */
static uint8_t *byte_of(const struct spoilt *s, uint32_t layer)
{
    const struct weir_layer *l = &s->model->layer[layer];
    const struct weir_object *o = weir_store_object(s->store, l->down.tensor->object);
    const uint32_t extent = (uint32_t)(o->first_tile / WEIR_EXTENT_TILES);
    const struct weir_extent e = weir_store_extent(s->store, extent);
    struct weir_extent_tile tile[WEIR_EXTENT_TILES];
    struct weir_diag diag = {""};
    size_t n;
    opened_check(weir_store_extent_tiles(s->store, extent, s->bytes + e.at, tile, &n, &diag), &diag,
                 "extent");
    const struct weir_extent_tile *t = &tile[o->first_tile % WEIR_EXTENT_TILES];
    return s->bytes + e.at + t->payload_at + t->head.payload_bytes / 2;
}

/* Damage of which the pass needs something. */
static bool find_damage(struct weir_gpu *gpu, struct spoilt *s,
                        const struct weir_device_rules *rules, uint64_t bytes)
{
    const uint32_t n_layers = s->model->config.n_layers;
    bool fine = true;
    for (uint32_t i = 0; i < PLACES; i++) {
        uint8_t *byte = byte_of(s, (n_layers - 1) * i / (PLACES - 1));
        *byte ^= 4;
        const weir_err err = load_and_pass(gpu, s, rules, bytes);
        *byte ^= 4;
        if (err != WEIR_ERR_CORRUPT) {
            printf("tier %d, %llu bytes: damage of layer %u gave: %s\n", rules->tier,
                   (unsigned long long)bytes, (n_layers - 1) * i / (PLACES - 1),
                   weir_err_text(err));
            fine = false;
        }
    }
    return fine;
}

static bool end_early(struct weir_gpu *gpu, const struct spoilt *s,
                      const struct weir_device_rules *rules, uint64_t bytes)
{
    const uint32_t n = s->model->config.n_layers;
    struct weir_diag diag = {""};
    struct weir_gpu_stream *stream;
    struct gpu_weights *w;
    opened_check(weir_gpu_stream_new(gpu, &stream), &diag, "stream");
    opened_check(gpu_weights_new(gpu, s->model, rules, bytes, &w, &diag), &diag, "weights");
    weir_err err = WEIR_OK;
    for (uint32_t i = 0; i < EARLY_PASSES && !err; i++)
        err = pass(w, i * 7 % (n + 1), n, stream, &diag);
    if (err)
        printf("tier %d: after passes that ended early: %s: %s\n", rules->tier, weir_err_text(err),
               diag.text);
    gpu_weights_free(w);
    weir_gpu_stream_free(stream);
    return !err;
}

/* ---- what is on its way meanwhile ---- */

/* Weights of which layer *damaged, decoded from device memory, is followed in its slot by parts
 * from the host, up to the first of the next pass.  NULL: this budget gives none. */
static struct gpu_weights *reusing(struct weir_gpu *gpu, const struct spoilt *s, uint64_t bytes,
                                   uint32_t *damaged)
{
    const struct weir_device_rules rules = {.tier = WEIR_TIER_GPU, .cache_layers = 1, .depth = 1};
    struct weir_diag diag = {""};
    struct gpu_weights *w;
    opened_check(gpu_weights_new(gpu, s->model, &rules, bytes, &w, &diag), &diag, "weights");
    const struct gpu_streaming *order = &w->streaming;
    *damaged = UINT32_MAX;
    for (uint32_t i = 0; i < order->n_order; i++)
        if (gpu_place_of(w, order->order[i]) == GPU_PLACE_WIRE)
            *damaged = order->order[i];
    if (*damaged < s->model->config.n_layers &&
        gpu_place_of(w, order->order[0]) != GPU_PLACE_WIRE &&
        gpu_place_of(w, order->order[order->n_order - 1]) != GPU_PLACE_WIRE)
        return w;
    gpu_weights_free(w);
    return NULL;
}

/* A pass whose damaged layer's slot has been written again before anybody asks. */
static bool find_in_reused_slot(struct weir_gpu *gpu, struct spoilt *s)
{
    const struct weir_device_rules rules = {.tier = WEIR_TIER_GPU, .cache_layers = 1, .depth = 1};
    const uint32_t n = s->model->config.n_layers;
    struct weir_diag diag = {""};
    struct weir_gpu_stream *stream;
    uint64_t least, most, step;
    uint32_t layer = 0;
    struct gpu_weights *w = NULL;
    opened_check(gpu_weights_needs(s->model, &rules, &least, &most, &diag), &diag, "needs");
    step = (most - least) / AHEAD_BUDGETS;
    for (uint64_t bytes = least; bytes < most && !w; bytes += step)
        w = reusing(gpu, s, bytes, &layer);
    if (!w)
        return ahead_fail("no budget has a slot used again");
    gpu_weights_free(w);
    uint8_t *byte = byte_of(s, layer);
    *byte ^= 4;
    for (uint64_t bytes = least; bytes < most && !(w = reusing(gpu, s, bytes, &layer));)
        bytes += step;
    *byte ^= 4;
    opened_check(weir_gpu_stream_new(gpu, &stream), &diag, "stream");
    weir_err err = ahead_layers(w, n, n, stream, &diag);
    if (!err)
        ahead_wait(w);
    if (!err)
        err = gpu_weights_verify_wait(w, &diag);
    weir_gpu_stream_free(stream); /* waits: its work waits for what is with the weights */
    gpu_weights_free(w);
    return err == WEIR_ERR_CORRUPT || ahead_fail("damage in a slot that was used again");
}

/* What a pass does not need may be damaged: also where it was read ahead. */
static bool pass_before_damage(struct weir_gpu *gpu, struct spoilt *s, enum weir_tier tier)
{
    const struct weir_device_rules rules = {.tier = tier, .depth = 2, .host_bytes = 1};
    const uint32_t n = s->model->config.n_layers, damaged = n - 1;
    struct weir_diag diag = {""};
    struct weir_gpu_stream *stream;
    struct gpu_weights *w;
    uint64_t least, most;
    bool fine = true;
    uint8_t *byte = byte_of(s, damaged);
    opened_check(gpu_weights_needs(s->model, &rules, &least, &most, &diag), &diag, "needs");
    opened_check(weir_gpu_stream_new(gpu, &stream), &diag, "stream");
    *byte ^= 4;
    opened_check(gpu_weights_new(gpu, s->model, &rules, least, &w, &diag), &diag, "weights");
    for (uint32_t i = 1; i <= n; i++) {
        weir_err err = ahead_layers(w, i, n, stream, &diag);
        ahead_wait(w);
        if (!err)
            err = gpu_weights_verify_wait(w, &diag);
        fine = fine && err == (i > damaged ? WEIR_ERR_CORRUPT : WEIR_OK);
    }
    *byte ^= 4;
    opened_check(weir_gpu_stream_wait(stream), &diag, "wait");
    fine = !ahead_layers(w, n, n, stream, &diag) && !gpu_weights_verify_wait(w, &diag) && fine;
    weir_gpu_stream_free(stream);
    gpu_weights_free(w);
    return fine || ahead_fail("a pass in front of damage, or after it");
}

bool damage_check(struct weir_gpu *gpu, const char *src)
{
    static const enum weir_tier tier[] = {WEIR_TIER_RAW, WEIR_TIER_FUSED, WEIR_TIER_GPU,
                                          WEIR_TIER_CPU};
    struct spoilt s = {.bytes = NULL};
    bool fine = true;
    open_spoilt(&s, src);
    for (size_t i = 0; i < BUDGETS * sizeof(tier) / sizeof(tier[0]); i++) {
        const struct weir_device_rules rules = {.tier = tier[i / BUDGETS],
                                                .host_bytes = i % 2 ? 1 : 0,
                                                .cache_layers = 0,
                                                .depth = 1 + (uint32_t)i % 3};
        struct weir_diag diag = {""};
        uint64_t least, most;
        opened_check(gpu_weights_needs(s.model, &rules, &least, &most, &diag), &diag, "needs");
        /* All streams, a third or two stay, all stays: streamed and stored parts share slots. */
        const uint64_t share = i % BUDGETS < 2 ? 0 : i % BUDGETS > 3 ? 3 : i % BUDGETS - 1;
        const uint64_t bytes = least + (most - least) / 3 * share;
        fine = find_damage(gpu, &s, &rules, bytes) && fine;
        fine = end_early(gpu, &s, &rules, bytes) && fine;
    }
    fine = find_in_reused_slot(gpu, &s) && fine;
    fine = pass_before_damage(gpu, &s, WEIR_TIER_GPU) && fine;
    fine = pass_before_damage(gpu, &s, WEIR_TIER_CPU) && fine;
    close_spoilt(&s);
    printf("%s, damaged and read in part: %s\n", src, fine ? "fine" : "WRONG");
    return fine;
}
