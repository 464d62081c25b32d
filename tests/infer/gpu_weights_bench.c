/* gpu_weights_bench.c - how fast a GPU's weights stream, against how fast the machine copies.
 *
 *     gpu_weights_bench SRC WAY...      WAY: TIER,DEPTH,CACHE,HOST,PERCENT
 * HOST: bytes that may be pinned, 0: as usual.  PERCENT: of the way from the least budget to the
 * most; above 100: a budget in MB.  A line for each way; exits 77 without a GPU. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "gpu_weights.h"
#include "opened.h"

enum { PASSES = 6, SKIPPED = 77, COPY_BYTES = 256 << 20, COPIES = 8, PERCENT = 100 };

static const uint64_t MEGA = 1000000;

static double now(void)
{
    struct timespec t;
    (void)clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

static void check(weir_err err, const struct weir_diag *diag)
{
    opened_check(err, diag, "bench");
}

/* Bytes a second from pinned memory to the device. */
static double copy_rate(struct weir_gpu *gpu, struct weir_gpu_stream *s)
{
    struct weir_diag diag = {""};
    void *device = weir_gpu_alloc(gpu, COPY_BYTES), *host = weir_gpu_alloc_host(gpu, COPY_BYTES);
    if (!device || !host) {
        check(WEIR_ERR_NOMEM, &diag);
        return 0; /* check() ends it */
    }
    memset(host, 1, COPY_BYTES);
    check(weir_gpu_to_device(s, device, host, COPY_BYTES), &diag);
    check(weir_gpu_stream_wait(s), &diag);
    const double begin = now();
    for (int i = 0; i < COPIES; i++)
        check(weir_gpu_to_device(s, device, host, COPY_BYTES), &diag);
    check(weir_gpu_stream_wait(s), &diag);
    const double seconds = now() - begin;
    weir_gpu_free(gpu, device);
    weir_gpu_free_host(gpu, host);
    return COPIES * (double)COPY_BYTES / seconds;
}

static void pass(struct gpu_weights *w, uint32_t n_layers, struct weir_gpu_stream *s)
{
    struct weir_diag diag = {""};
    struct gpu_layer l;
    struct gpu_block_rows b;
    for (uint32_t i = 0; i < n_layers; i++) {
        check(gpu_weights_layer(w, i, s, &l, &diag), &diag);
        check(gpu_weights_layer_done(w, i, s), &diag);
    }
    for (uint32_t i = 0; i < gpu_weights_n_blocks(w); i++) {
        check(gpu_weights_block(w, i, s, &b, &diag), &diag);
        check(gpu_weights_block_done(w, i, s), &diag);
    }
    check(weir_gpu_stream_wait(s), &diag);
    check(gpu_weights_verify_wait(w, &diag), &diag);
}

struct bench {
    struct weir_gpu *gpu;
    struct weir_gpu_stream *stream;
    const struct weir_model *model;
    double copy_rate;
};

/* "gpu,2,0,0,50" */
static bool parse(char *text, struct weir_device_rules *rules, unsigned *percent)
{
    static const char *const name[] = {"auto", "cpu", "gpu", "fused", "raw"};
    const char *tier = strtok(text, ",");
    *rules = (struct weir_device_rules){.depth = 0};
    for (size_t i = 0; tier && i < sizeof(name) / sizeof(name[0]); i++)
        if (strcmp(tier, name[i]) == 0)
            rules->tier = (enum weir_tier)i;
    const char *number[4];
    for (int i = 0; i < 4; i++)
        if (!(number[i] = strtok(NULL, ",")))
            return false;
    rules->depth = (uint32_t)strtoul(number[0], NULL, 10);
    rules->cache_layers = (uint32_t)strtoul(number[1], NULL, 10);
    rules->host_bytes = strtoull(number[2], NULL, 10);
    *percent = (unsigned)strtoul(number[3], NULL, 10);
    return true;
}

static void run(const struct bench *b, char *way)
{
    struct weir_diag diag = {""};
    struct weir_device_rules rules;
    struct weir_device_counts before, after;
    struct weir_gpu_usage usage;
    struct gpu_weights *w;
    unsigned percent;
    uint64_t least, most;
    printf("%-20s ", way);
    if (!parse(way, &rules, &percent)) {
        puts("?");
        return;
    }
    check(gpu_weights_needs(b->model, &rules, &least, &most, &diag), &diag);
    const uint64_t bytes =
        percent > PERCENT ? MEGA * percent : least + (most - least) / PERCENT * percent;
    double begin = now();
    check(gpu_weights_new(b->gpu, b->model, &rules, bytes, &w, &diag), &diag);
    const double load_seconds = now() - begin;
    const uint32_t n_layers = b->model->config.n_layers;
    pass(w, n_layers, b->stream);
    gpu_weights_counts(w, &before);
    begin = now();
    for (int i = 0; i < PASSES; i++)
        pass(w, n_layers, b->stream);
    const double seconds = (now() - begin) / PASSES;
    gpu_weights_counts(w, &after);
    check(weir_gpu_usage(b->gpu, &usage), &diag);
    const double copied = (double)(after.copied_bytes - before.copied_bytes) / PASSES;
    const double decoded = (double)(after.decoded_bytes - before.decoded_bytes) / PASSES;
    printf(
        "budget %6.0f MB, takes %6.0f MB, load %5.2f s, %2u packed %2u rows %2u wire, pass %8.3f "
        "ms, copied %6.1f MB at %6.2f GB/s = %3.0f %% of a copy, decoded at %7.1f GB/s\n",
        (double)bytes * 1e-6, (double)after.weight_bytes * 1e-6, load_seconds, after.n_packed,
        after.n_rows, after.n_wire, seconds * 1e3, copied * 1e-6, copied / seconds * 1e-9,
        PERCENT * copied / seconds / b->copy_rate, decoded / seconds * 1e-9);
    (void)fflush(stdout);
    gpu_weights_free(w);
}

int main(int argc, char **argv)
{
    static struct opened o;
    struct weir_diag diag = {""};
    struct bench b = {.copy_rate = 0};
    if (argc < 2)
        return 1;
    weir_err err = weir_gpu_open(0, &b.gpu, &diag);
    if (err == WEIR_ERR_NOT_FOUND) {
        printf("skipped: %s\n", diag.text);
        return SKIPPED;
    }
    check(err, &diag);
    opened_model(&o, argv[1]);
    b.model = o.model;
    check(weir_gpu_stream_new(b.gpu, &b.stream), &diag);
    b.copy_rate = copy_rate(b.gpu, b.stream);
    printf("%s: %.0f MB of weights, %u layers; copies from pinned memory %.2f GB/s\n", argv[1],
           (double)o.model->weight_bytes * 1e-6, o.model->config.n_layers, b.copy_rate * 1e-9);
    for (int i = 2; i < argc; i++)
        run(&b, argv[i]);
    weir_gpu_stream_free(b.stream);
    opened_close(&o);
    weir_gpu_close(b.gpu);
    return 0;
}
