/* gpu_weights_check.c - whether a GPU's weights are the checkpoint's: every matrix of three passes,
 * in every tier, with budgets from the least to the most, byte by byte, and within the budget.
 *
 *     gpu_weights_check [-q] SRC...     SRC: a store, a folder of files, a folder of golden/
 * Of a store also that damage is found.  -q: fewer ways.  Exits 77 without a GPU. */
#include <getopt.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "gpu_weights.h"
#include "gpu_weights_damage.h"
#include "measure_device.h"
#include "opened.h"

enum {
    PASSES = 3,
    SKIPPED = 77,
    DELAY_US = 300,
    MOST_BROUGHT = 4096,
    SLACK_BYTES = 64 << 20, /* that the driver may take besides what is counted */
};

static const char *const tier_name[] = {"auto", "cpu", "gpu", "fused", "raw"};

static void *take(size_t bytes)
{
    void *p = calloc(bytes ? bytes : 1, 1);
    if (!p) {
        fputs("no memory\n", stderr);
        exit(1);
    }
    return p;
}

static size_t aligned(size_t at)
{
    return (at + WEIR_GPU_ALIGN - 1) / WEIR_GPU_ALIGN * WEIR_GPU_ALIGN;
}

/* ---- what it must be: the plain bytes of all tensors ---- */

struct reference {
    uint8_t *bytes;
    size_t *at; /* by number of the tensor */
    size_t n;
};

static struct reference read_all(const struct weir_model *model)
{
    const struct weir_checkpoint *ck = model->checkpoint;
    const size_t n = weir_checkpoint_n_tensors(ck);
    struct reference r = {.at = take((n + 1) * sizeof(*r.at))};
    struct weir_reader *reader;
    struct weir_diag diag = {""};
    for (size_t i = 0; i < n; i++) {
        r.at[i] = r.n;
        r.n = aligned(r.n + weir_checkpoint_tensor(ck, i)->bytes);
    }
    r.bytes = take(r.n);
    opened_check(weir_reader_new(ck, model->row_bytes, &reader), &diag, "reader");
    for (size_t i = 0; i < n; i++)
        opened_check(
            weir_reader_copy(reader, weir_checkpoint_tensor(ck, i), r.bytes + r.at[i], &diag),
            &diag, "reader");
    weir_reader_free(reader);
    return r;
}

/* ---- one way ---- */

struct way {
    enum weir_tier tier;
    uint32_t depth, cache_layers;
    uint64_t bytes, host_bytes;
    bool disturbed; /* delays and poison */
};

/* Rows on their way to `host` + at, and which ones they must be. */
struct brought {
    size_t at;
    struct weir_matrix matrix;
};

struct run {
    struct weir_gpu *gpu;
    struct weir_gpu_stream *stream;
    struct gpu_weights *w;
    const struct weir_model *model;
    const struct reference *r;
    uint8_t *device, *host; /* room for all rows; host: pinned */
    size_t room, used;
    struct brought brought[MOST_BROUGHT];
    size_t n_brought;
    uint64_t n_bad, n_compared;
};

/* Queues the way of a matrix's rows to the host; they must be those of `part`, one below the other,
 * from row `first` of the first on. */
static void bring(struct run *c, const struct weir_gpu_matrix *m,
                  const struct weir_matrix *const part[3], uint32_t first)
{
    struct weir_diag diag = {""};
    const size_t row_bytes = (size_t)m->n_columns * 2;
    size_t at = c->used;
    c->used = aligned(c->used + m->n_rows * row_bytes);
    if (c->used > c->room || c->n_brought + 3 > MOST_BROUGHT) {
        fputs("more rows than the model has\n", stderr);
        exit(1);
    }
    opened_check(weir_gpu_matrix_unpack(c->stream, m, 0, m->n_rows, c->device + at), &diag,
                 "unpack");
    uint32_t left = m->n_rows;
    for (size_t i = 0; i < 3 && part[i] && left; i++, first = 0) {
        struct brought *b = &c->brought[c->n_brought++];
        *b = (struct brought){at, *part[i]};
        b->matrix.first_row += first;
        b->matrix.n_rows -= first;
        if (b->matrix.n_rows > left)
            b->matrix.n_rows = left;
        left -= b->matrix.n_rows;
        at += b->matrix.n_rows * row_bytes;
    }
    c->n_bad += left != 0;
}

static void bring_layer(struct run *c, uint32_t i)
{
    const struct weir_layer *l = &c->model->layer[i];
    struct weir_diag diag = {""};
    struct gpu_layer g;
    opened_check(gpu_weights_layer(c->w, i, c->stream, &g, &diag), &diag, "layer");
    bring(c, &g.qkv, (const struct weir_matrix *[3]){&l->q, &l->k, &l->v}, 0);
    bring(c, &g.o, (const struct weir_matrix *[3]){&l->o}, 0);
    bring(c, &g.gate_up, (const struct weir_matrix *[3]){&l->gate, &l->up}, 0);
    bring(c, &g.down, (const struct weir_matrix *[3]){&l->down}, 0);
    opened_check(gpu_weights_layer_done(c->w, i, c->stream), &diag, "layer done");
}

static void bring_output(struct run *c)
{
    struct weir_diag diag = {""};
    for (uint32_t i = 0; i < gpu_weights_n_blocks(c->w); i++) {
        struct gpu_block_rows b;
        opened_check(gpu_weights_block(c->w, i, c->stream, &b, &diag), &diag, "block");
        bring(c, &b.matrix, (const struct weir_matrix *[3]){&c->model->output}, b.first_row);
        opened_check(gpu_weights_block_done(c->w, i, c->stream), &diag, "block done");
    }
}

/* Compares all that was brought. */
static void compare(struct run *c)
{
    for (size_t i = 0; i < c->n_brought; i++) {
        const struct weir_matrix *m = &c->brought[i].matrix;
        const size_t number = (size_t)(m->tensor - weir_checkpoint_tensor(c->model->checkpoint, 0));
        const size_t row_bytes = (size_t)m->n_cols * 2, n = m->n_rows * row_bytes;
        const uint8_t *must = c->r->bytes + c->r->at[number] + m->first_row * row_bytes;
        c->n_bad += memcmp(c->host + c->brought[i].at, must, n) != 0;
        c->n_compared += n;
    }
    c->n_brought = c->used = 0;
}

static void pass(struct run *c)
{
    struct weir_diag diag = {""};
    opened_check(weir_gpu_fill(c->stream, c->device, 0, c->room), &diag, "fill");
    for (uint32_t i = 0; i < c->model->config.n_layers; i++)
        bring_layer(c, i);
    bring_output(c);
    opened_check(weir_gpu_to_host(c->stream, c->host, c->device, c->used), &diag, "to host");
    opened_check(weir_gpu_stream_wait(c->stream), &diag, "wait");
    opened_check(gpu_weights_verify_wait(c->w, &diag), &diag, "verify");
    compare(c);
}

/* The embeddings, from the device or from the host: some rows. */
static void check_embedding(struct run *c)
{
    const struct weir_matrix *m = &c->model->embedding;
    const uint32_t id[] = {0, m->n_rows / 2, m->n_rows - 1};
    struct weir_diag diag = {""};
    struct weir_gpu_matrix on_device;
    float *to = take(3 * (size_t)m->n_cols * sizeof(*to));
    if (gpu_weights_embedding(c->w, &on_device)) {
        bring(c, &on_device, (const struct weir_matrix *[3]){m}, 0);
        opened_check(weir_gpu_to_host(c->stream, c->host, c->device, c->used), &diag, "to host");
        opened_check(weir_gpu_stream_wait(c->stream), &diag, "wait");
        compare(c);
    } else {
        opened_check(gpu_weights_embed(c->w, id, 3, 2, to, &diag), &diag, "embed");
        const size_t number = (size_t)(m->tensor - weir_checkpoint_tensor(c->model->checkpoint, 0));
        const uint8_t *rows = c->r->bytes + c->r->at[number];
        for (size_t i = 0; i < 3 * (size_t)m->n_cols; i++) {
            const size_t at = (id[i / m->n_cols] * (size_t)m->n_cols + i % m->n_cols) * 2;
            const uint32_t wide = (uint32_t)(rows[at] | rows[at + 1] << 8) << 16;
            float must;
            memcpy(&must, &wide, sizeof(must));
            c->n_bad += to[i] != 2 * must;
        }
    }
    free(to);
}

static struct weir_device_rules rules_of(const struct way *way)
{
    return (struct weir_device_rules){.tier = way->tier,
                                      .cache_layers = way->cache_layers,
                                      .depth = way->depth,
                                      .host_bytes = way->host_bytes,
                                      .delay_us = way->disturbed ? DELAY_US : 0,
                                      .delay_seed = way->bytes + way->depth,
                                      .poison = way->disturbed};
}

static void print(const struct way *way, const struct weir_device_counts *n)
{
    printf("%-5s depth %u cache %-10u bytes %11" PRIu64 " host %11" PRIu64
           "%s: %u packed, %u rows, "
           "%u wire of %u",
           tier_name[way->tier], way->depth, way->cache_layers, way->bytes, way->host_bytes,
           way->disturbed ? " disturbed" : "", n->n_packed, n->n_rows, n->n_wire, n->n_layers);
}

/* Whether all was as it must be. */
static bool try(struct run *c, const struct way *way)
{
    const struct weir_device_rules rules = rules_of(way);
    struct weir_diag diag = {""};
    struct weir_gpu_usage before, after;
    struct weir_device_counts counts = {.n_layers = 0};
    opened_check(weir_gpu_usage(c->gpu, &before), &diag, "usage");
    weir_gpu_limit(c->gpu, before.taken + way->bytes);
    c->n_bad = c->n_compared = 0;
    weir_err err = gpu_weights_new(c->gpu, c->model, &rules, way->bytes, &c->w, &diag);
    if (!err) {
        for (int i = 0; i < PASSES; i++)
            pass(c);
        check_embedding(c);
        gpu_weights_counts(c->w, &counts);
        opened_check(weir_gpu_usage(c->gpu, &after), &diag, "usage");
        gpu_weights_free(c->w);
    }
    weir_gpu_limit(c->gpu, UINT64_MAX);
    print(way, &counts);
    const bool within =
        !err && after.measured <= before.measured + counts.weight_bytes + SLACK_BYTES;
    const bool fine = !err && c->n_bad == 0 && c->n_compared > 0 && within;
    printf(", counted %" PRIu64 ", measured %" PRIu64 ", copied %" PRIu64 ", decoded %" PRIu64
           ": %s%s\n",
           counts.weight_bytes, err ? 0 : after.measured - before.measured, counts.copied_bytes,
           counts.decoded_bytes, fine ? "fine" : "WRONG ", err ? diag.text : "");
    return fine;
}

/* Budgets from the least to the most. */
static bool try_budgets(struct run *c, struct way way, unsigned n_budgets)
{
    struct weir_diag diag = {""};
    const struct weir_device_rules rules = rules_of(&way);
    uint64_t least, most;
    bool fine = true;
    opened_check(gpu_weights_needs(c->model, &rules, &least, &most, &diag), &diag, "needs");
    for (unsigned i = 0; i < n_budgets; i++) {
        way.bytes = least + (most - least) * i / (n_budgets > 1 ? n_budgets - 1 : 1);
        if (n_budgets == 1)
            way.bytes = most;
        fine = try(c, &way) && fine;
    }
    return fine;
}

static bool try_all(struct run *c, bool quick)
{
    static const enum weir_tier tier[] = {WEIR_TIER_RAW, WEIR_TIER_FUSED, WEIR_TIER_AUTO,
                                          WEIR_TIER_GPU, WEIR_TIER_CPU};
    bool fine = true;
    for (size_t t = 0; t < sizeof(tier) / sizeof(tier[0]); t++) {
        struct way way = {.tier = tier[t], .depth = 2};
        const bool caches = tier[t] == WEIR_TIER_GPU || tier[t] == WEIR_TIER_CPU;
        fine = try_budgets(c, way, quick ? 2 : 4) && fine;
        way.disturbed = true;
        for (way.depth = 1; way.depth <= (quick ? 1 : 3); way.depth++)
            fine = try_budgets(c, way, quick ? 2 : 3) && fine;
        way.host_bytes = 1; /* nothing of it is pinned but slots */
        way.depth = 2;
        way.cache_layers = caches ? 1 : 0;
        fine = try_budgets(c, way, quick ? 2 : 3) && fine;
        way.cache_layers = WEIR_CACHE_AUTO;
        if (caches)
            fine = try_budgets(c, way, 3) && fine;
    }
    return fine;
}

/* The most device memory that a tier could use; most_odd: as measured for any shape. */
static uint64_t most_of(const struct weir_model *model, enum weir_tier tier, double most_odd)
{
    const struct weir_device_crossing all = {.n_rows = 1, .n_columns = 1, .most_odd = most_odd};
    const struct weir_device_rules rules = {.tier = tier, .crossing = &all, .n_crossings = 1};
    struct weir_diag diag = {""};
    uint64_t least, most;
    opened_check(gpu_weights_needs(model, &rules, &least, &most, &diag), &diag, "needs");
    return most;
}

/* Where any exception was measured to be one too many, matrices that have some stay rows.  Narrow
 * ones do anyhow. */
static bool falls_back(const struct weir_model *model)
{
    const uint64_t packed = most_of(model, WEIR_TIER_FUSED, 1);
    const uint64_t odd = most_of(model, WEIR_TIER_FUSED, 0);
    const uint64_t rows = most_of(model, WEIR_TIER_RAW, 1);
    const bool fine = packed == rows || (packed < odd && odd <= rows);
    if (!fine)
        printf("packed %" PRIu64 ", with exceptions as rows %" PRIu64 ", rows %" PRIu64 ": WRONG\n",
               packed, odd, rows);
    else
        printf("up to %" PRIu64 " bytes of %" PRIu64 ": fine\n", packed, rows);
    return fine;
}

static bool check_model(struct weir_gpu *gpu, const char *src, bool quick)
{
    struct opened *o = take(sizeof(*o));
    struct run *c = take(sizeof(*c));
    struct weir_diag diag = {""};
    opened_model(o, src);
    struct reference r = read_all(o->model);
    c->gpu = gpu;
    c->model = o->model;
    c->r = &r;
    c->room = 2 * r.n + (1 << 20);
    c->device = weir_gpu_alloc(gpu, c->room);
    c->host = weir_gpu_alloc_host(gpu, c->room);
    opened_check(c->device && c->host ? WEIR_OK : WEIR_ERR_NOMEM, &diag, "memory");
    opened_check(weir_gpu_stream_new(gpu, &c->stream), &diag, "stream");
    printf("%s: %zu bytes\n", src, r.n);
    bool fine = try_all(c, quick);
    fine = falls_back(o->model) && fine;
    weir_gpu_stream_free(c->stream);
    weir_gpu_free(gpu, c->device);
    weir_gpu_free_host(gpu, c->host);
    free(r.bytes);
    free(r.at);
    free(c);
    opened_close(o);
    free(o);
    return fine;
}

int main(int argc, char **argv)
{
    struct weir_diag diag = {""};
    struct weir_gpu *gpu;
    bool quick = false, fine = true;
    for (int key; (key = getopt(argc, argv, "q")) != -1;) {
        if (key != 'q')
            return 1;
        quick = true;
    }
    weir_err err = weir_gpu_open(0, &gpu, &diag);
    if (err == WEIR_ERR_NOT_FOUND) {
        printf("skipped: %s\n", diag.text);
        return SKIPPED;
    }
    opened_check(err, &diag, "GPU");
    for (int i = optind; i < argc; i++) {
        const size_t n = strlen(argv[i]);
        fine = check_model(gpu, argv[i], quick) && fine;
        if (n > 5 && strcmp(argv[i] + n - 5, ".weir") == 0 && !strchr(argv[i], ','))
            fine = damage_check(gpu, argv[i]) && fine;
    }
    weir_gpu_close(gpu);
    puts(fine ? "all fine" : "WRONG");
    return fine ? 0 : 1;
}
