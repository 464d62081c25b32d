/* gpu_steps.c - tokens a second on a GPU with what chooses them: the device, the device with logits
 * hashed beside it, or samplers of the host.
 *
 *     gpu_steps STORE [-t TIER[,...]] [-b BATCH[,...]] [-n TOKENS] [-r REPEATS]
 * Every tier is there at once, and ways take turns, so that all are measured in the same minutes. A
 * line of CSV for each: the median, least and most of the repeats' milliseconds a pass.  Exits 77
 * where there is no GPU. */
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "infer/device.h"
#include "infer/hash.h"
#include "infer/opened.h"

enum {
    PROMPT = 16,
    N_WARM = 8,
    MOST_BATCH = 64,
    MOST_TIERS = 4,
    MOST_BATCHES = 8,
    MOST_REPEATS = 16,
    MANY_LIKELY = 300, /* more than the device draws from */
    HOST_PART = 8,     /* of the tokens that samplers of the host choose: they are slow */
    SKIPPED = 77,
};

enum way { DEVICE, DEVICE_HASHED, HOST, N_WAYS };

static const char *const way_names[N_WAYS] = {"device", "device, hashed", "host, hashed"};

struct running {
    const char *name;
    struct weir_graph *g;
};

struct job {
    struct running tier[MOST_TIERS];
    uint32_t batch[MOST_BATCHES], n_tokens, n_repeats, vocab;
    size_t n_tiers, n_batches;
};

static double found[MOST_TIERS][MOST_BATCHES][N_WAYS][MOST_REPEATS]; /* ms a pass */

static void end_if(weir_err err, const struct weir_diag *diag)
{
    if (!err)
        return;
    fprintf(stderr, "%s: %s\n", weir_err_text(err), diag->text);
    exit(1);
}

static double now(void)
{
    struct timespec t;
    (void)clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

/* ---- one measurement ---- */

struct texts {
    uint32_t n;
    struct weir_sampler *sampler[MOST_BATCH];
    struct weir_logits_hash *hash;
    bool hashes;
    size_t vocab;
};

static void make_texts(struct texts *t, uint32_t n, enum way way, uint32_t vocab)
{
    struct weir_diag diag = {""};
    *t = (struct texts){.n = n, .hashes = way != DEVICE, .vocab = vocab};
    end_if(weir_logits_hash_new(&t->hash), &diag);
    for (uint32_t i = 0; i < n; i++) {
        const struct weir_sampler_options o = {.temperature = 0.8F,
                                               .top_k = way == HOST ? MANY_LIKELY : 40,
                                               .top_p = 0.95F,
                                               .min_p = 0.05F,
                                               .seed = i};
        end_if(weir_sampler_new(vocab, &o, &t->sampler[i]), &diag);
    }
}

static void free_texts(struct texts *t)
{
    for (uint32_t i = 0; i < t->n; i++)
        weir_sampler_free(t->sampler[i]);
    weir_logits_hash_free(t->hash);
}

static void start(struct weir_graph *g, struct texts *t, bool prompt)
{
    static struct weir_graph_token token[MOST_BATCH * PROMPT];
    struct weir_diag diag = {""};
    size_t n = 0;
    for (uint32_t s = 0; s < t->n; s++)
        for (uint32_t i = 0; i < (prompt ? PROMPT : 1); i++)
            token[n++] = (struct weir_graph_token){
                s, prompt ? (s * 131 + i * 7919) % 1000 : WEIR_GRAPH_CHOSEN,
                !prompt || i + 1 == PROMPT};
    end_if(weir_graph_start(g, token, n, t->sampler, t->hashes, &diag), &diag);
}

static void finish(struct weir_graph *g, struct texts *t)
{
    struct weir_graph_choice choice[MOST_BATCH];
    struct weir_diag diag = {""};
    end_if(weir_graph_finish(g, choice, &diag), &diag);
    for (uint32_t i = 0; i < t->n && t->hashes; i++)
        weir_logits_hash_add(t->hash, choice[i].logits, t->vocab);
}

static double measure(struct weir_graph *g, const struct job *job, uint32_t n, enum way way)
{
    struct texts t;
    const uint32_t n_tokens = way == HOST ? job->n_tokens / HOST_PART + 1 : job->n_tokens;
    const uint32_t n_warm = way == HOST ? 1 : N_WARM;
    uint32_t begun = 1;
    double from = 0;
    make_texts(&t, n, way, job->vocab);
    for (uint32_t s = 0; s < n; s++)
        weir_graph_begin(g, s, 0);
    start(g, &t, true);
    for (uint32_t ended = 0; ended < n_warm + n_tokens; ended++) {
        if (ended == n_warm)
            from = now();
        while (begun < n_warm + n_tokens && weir_graph_may_start(g)) {
            start(g, &t, false);
            begun++;
        }
        finish(g, &t);
    }
    const double ms = 1e3 * (now() - from) / n_tokens;
    free_texts(&t);
    return ms;
}

/* ---- all of them ---- */

static int by_value(const void *a, const void *b)
{
    const double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static void print(const struct job *job)
{
    printf("decode,batch,chooses,tok/s,median ms,least ms,most ms\n");
    for (size_t b = 0; b < job->n_batches; b++)
        for (int way = 0; way < N_WAYS; way++)
            for (size_t t = 0; t < job->n_tiers; t++) {
                double *ms = found[t][b][way];
                qsort(ms, job->n_repeats, sizeof(*ms), by_value);
                const double median = ms[job->n_repeats / 2];
                printf("%s,%u,\"%s\",%.1f,%.3f,%.3f,%.3f\n", job->tier[t].name, job->batch[b],
                       way_names[way], 1e3 * job->batch[b] / median, median, ms[0],
                       ms[job->n_repeats - 1]);
            }
}

static void measure_all(struct job *job)
{
    for (uint32_t r = 0; r < job->n_repeats; r++)
        for (size_t b = 0; b < job->n_batches; b++)
            for (int way = 0; way < N_WAYS; way++)
                for (size_t t = 0; t < job->n_tiers; t++) {
                    double ms = measure(job->tier[t].g, job, job->batch[b], (enum way)way);
                    found[t][b][way][r] = ms;
                    fprintf(stderr, "%s %u %s: %.3f ms\n", job->tier[t].name, job->batch[b],
                            way_names[way], ms);
                }
}

static uint32_t largest(const struct job *job)
{
    uint32_t most = 1;
    for (size_t i = 0; i < job->n_batches; i++)
        most = job->batch[i] > most ? job->batch[i] : most;
    return most;
}

static void load(struct job *job, struct weir_device *d, const struct weir_model *model)
{
    static const char *const names[] = {"auto", "cpu", "gpu", "fused", "raw"};
    struct weir_diag diag = {""};
    const uint32_t most = largest(job);
    const struct weir_graph_options o = {
        .n_sequences = most, .context = PROMPT + N_WARM + job->n_tokens, .chunk = most * PROMPT};
    for (size_t t = 0; t < job->n_tiers; t++) {
        struct weir_device_rules rules = {.tier = WEIR_TIER_AUTO};
        for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++)
            if (strcmp(job->tier[t].name, names[i]) == 0)
                rules.tier = (enum weir_tier)i;
        const double began = now();
        end_if(weir_device_graph_new(d, model, &o, &rules, &job->tier[t].g, &diag), &diag);
        fprintf(stderr, "%s: loaded in %.1f s\n", job->tier[t].name, now() - began);
    }
}

static void read_options(int argc, char **argv, struct job *job)
{
    int c;
    while ((c = getopt(argc, argv, "t:b:n:r:")) != -1) {
        const uint32_t n = (uint32_t)strtoul(optarg ? optarg : "", NULL, 10);
        char *list = optarg, *item;
        if (c == 'n')
            job->n_tokens = n;
        else if (c == 'r')
            job->n_repeats = n > 0 && n <= MOST_REPEATS ? n : 1;
        else if (c == 't')
            for (job->n_tiers = 0; job->n_tiers < MOST_TIERS && (item = strsep(&list, ","));)
                job->tier[job->n_tiers++].name = item;
        else if (c == 'b')
            for (job->n_batches = 0; job->n_batches < MOST_BATCHES && (item = strsep(&list, ","));)
                job->batch[job->n_batches++] = (uint32_t)strtoul(item, NULL, 10) % (MOST_BATCH + 1);
        else
            exit(2);
    }
    if (optind + 1 != argc)
        exit(2);
}

int main(int argc, char **argv)
{
    struct job job = {.tier = {{"fused", NULL}, {"raw", NULL}},
                      .n_tiers = 2,
                      .batch = {1, 8, 32},
                      .n_batches = 3,
                      .n_tokens = 64,
                      .n_repeats = 3};
    struct weir_device *d;
    struct weir_diag diag = {""};
    static struct opened opened;
    read_options(argc, argv, &job);
    weir_err err = weir_device_open(0, &d, &diag);
    if (err == WEIR_ERR_NOT_FOUND || err == WEIR_ERR_UNSUPPORTED) {
        printf("skipped: %s\n", diag.text);
        return SKIPPED;
    }
    end_if(err, &diag);
    opened_model(&opened, argv[optind]);
    job.vocab = opened.model->config.vocab;
    load(&job, d, opened.model);
    measure_all(&job);
    print(&job);
    for (size_t t = 0; t < job.n_tiers; t++)
        weir_graph_free(job.tier[t].g);
    weir_device_close(d);
    opened_close(&opened);
    return 0;
}
