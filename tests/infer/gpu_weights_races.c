/* gpu_weights_races.c - what a GPU may do in another order than it usually does, done in that
 * order: on the fake one, which is told when to do what.
 *
 *     fake_gpu_races SRC... */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "fake_gpu.h"
#include "gpu_weights_ahead.h"
#include "opened.h"

enum { MOST_DEPTH = 3 };

/* The first layer's qkv as the pass has it. */
static uint8_t *first_layer(struct gpu_weights *w, struct weir_gpu_stream *s, size_t *n)
{
    struct weir_diag diag = {""};
    struct gpu_layer l;
    opened_check(gpu_weights_layer(w, 0, s, &l, &diag), &diag, "layer");
    *n = (size_t)l.qkv.n_rows * l.qkv.n_columns * 2;
    uint8_t *to = fake_must(malloc(*n));
    opened_check(weir_gpu_to_host(s, to, l.qkv.at, *n), &diag, "to host");
    opened_check(gpu_weights_layer_done(w, 0, s), &diag, "done");
    return to;
}

/* A pass ends after its first layer, and another begins.  What was on its way for the first is
 * nobody's any more; nothing happens to it until the second one's first layer is where it goes.  If
 * it comes then it must not lie on top. */
static bool restart(struct weir_gpu *gpu, const struct weir_model *model, uint32_t depth)
{
    const struct weir_device_rules rules = {.tier = WEIR_TIER_GPU, .depth = depth};
    struct weir_diag diag = {""};
    struct weir_gpu_stream *s;
    struct gpu_weights *w;
    uint64_t least, most;
    size_t n;
    opened_check(gpu_weights_needs(model, &rules, &least, &most, &diag), &diag, "needs");
    opened_check(gpu_weights_new(gpu, model, &rules, least, &w, &diag), &diag, "weights");
    opened_check(weir_gpu_stream_new(gpu, &s), &diag, "stream");
    uint8_t *must = first_layer(w, s, &n);
    ahead_wait(w);
    fake_at_once(true);
    uint8_t *is = first_layer(w, s, &n);
    ahead_wait(w);
    fake_at_once(false);
    opened_check(weir_gpu_stream_wait(s), &diag, "wait");
    const bool fine = memcmp(must, is, n) == 0;
    weir_gpu_stream_free(s);
    gpu_weights_free(w);
    free(must);
    free(is);
    return fine || ahead_fail("what was let go lies on top of what was asked for");
}

static bool check(struct weir_gpu *gpu, const char *src)
{
    struct opened *o = fake_must(calloc(1, sizeof(*o)));
    bool fine = true;
    opened_model(o, src);
    for (uint32_t depth = 1; depth <= MOST_DEPTH; depth++)
        fine = restart(gpu, o->model, depth) && fine;
    opened_close(o);
    free(o);
    return fine;
}

int main(int argc, char **argv)
{
    struct weir_diag diag = {""};
    struct weir_gpu *gpu;
    bool fine = true;
    if (argc < 2)
        return 2;
    (void)setenv("FAKE_GPU_SEED", "0", 1); /* as late as may be, but where it is told */
    opened_check(weir_gpu_open(0, &gpu, &diag), &diag, "GPU");
    for (int i = 1; i < argc; i++)
        fine = check(gpu, argv[i]) && fine;
    weir_gpu_close(gpu);
    puts(fine ? "all fine" : "WRONG");
    return fine ? 0 : 1;
}
