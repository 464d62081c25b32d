/* gpu_errors.c - what a graph on a GPU that is no GPU (fake_gpu/) says when it cannot go on, and
 * that it goes on afterwards as if nothing had been.
 *
 *     infer_gpu_errors FOLDER */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cuda/matrix.h"
#include "fake_gpu/fake.h"
#include "infer/device.h"
#include "infer/sample.h"
#include "tiny.h"

enum { N_TOKENS = 5, N_STEPS = 3, VOCAB = 61, CONTEXT = 32, N_CHOSEN = 12 };

static int status;

static void expect(bool fine, const char *what, long number)
{
    if (fine)
        return;
    printf("FAILED %s: %ld\n", what, number);
    status = 1;
}

static void end_if(weir_err err, const struct weir_diag *diag)
{
    if (!err)
        return;
    fprintf(stderr, "%s: %s\n", weir_err_text(err), diag->text);
    exit(1);
}

struct opened {
    struct tiny_bytes config, list, weights;
    struct weir_source source[2];
    struct weir_checkpoint *ck;
    struct weir_model *model;
    struct weir_device *device;
};

static void open_all(const char *folder, struct opened *m)
{
    struct weir_model_config c;
    struct weir_diag diag = {""};
    struct weir_checkpoint_file file[2] = {{"config.json", &m->source[0]},
                                           {"model.safetensors", &m->source[1]}};
    m->config = tiny_read(folder, "config.json");
    m->list = tiny_read(folder, "tensors.txt");
    m->weights = tiny_safetensors(&m->list, "BF16", "");
    weir_source_from_memory(m->config.at, m->config.n, &m->source[0]);
    weir_source_from_memory(m->weights.at, m->weights.n, &m->source[1]);
    end_if(weir_checkpoint_from_files(file, 2, NULL, &m->ck, &diag), &diag);
    end_if(weir_model_config_read(m->ck, &c, &diag), &diag);
    end_if(weir_model_open(m->ck, &c, &m->model, &diag), &diag);
    end_if(weir_device_open(0, &m->device, &diag), &diag);
}

static void close_all(struct opened *m)
{
    weir_device_close(m->device);
    weir_model_free(m->model);
    weir_checkpoint_free(m->ck);
    free(m->weights.at);
    free(m->list.at);
    free(m->config.at);
}

static const struct weir_graph_options options = {
    .n_sequences = 2, .context = CONTEXT, .chunk = 16};

static struct weir_graph *new_graph(const struct opened *m, enum weir_tier tier)
{
    struct weir_graph *g;
    struct weir_diag diag = {""};
    const struct weir_device_rules rules = {.tier = tier, .small_piece = 4};
    end_if(weir_device_graph_new(m->device, m->model, &options, &rules, &g, &diag), &diag);
    return g;
}

/* Step 0: a long piece and a single token; then single tokens of both, so that one is queued, one
 * recorded, one replayed. */
static size_t fill_step(int step, struct weir_graph_token *token)
{
    size_t n = 0;
    for (uint32_t i = 0; step == 0 && i < N_TOKENS; i++)
        token[n++] = (struct weir_graph_token){0, 3 * i + 1, false};
    token[n++] = (struct weir_graph_token){0, 7, true};
    token[n++] = (struct weir_graph_token){1, 9 + (uint32_t)step, true};
    return n;
}

static void add_logits(const struct weir_graph *g, float *to)
{
    memcpy(to, weir_graph_logits(g, 0), VOCAB * sizeof(float));
    memcpy(to + VOCAB, weir_graph_logits(g, 1), VOCAB * sizeof(float));
}

static bool same_bits(const void *a, const void *b, size_t n)
{
    return memcmp(a, b, n) == 0;
}

/* All steps; where call `failing` of a step fails it is done again.  Whether any did. */
static bool run_steps(struct weir_graph *g, long failing, float *logits)
{
    bool any = false;
    struct weir_diag diag = {""};
    weir_graph_begin(g, 0, 0);
    weir_graph_begin(g, 1, 0);
    for (int step = 0; step < N_STEPS; step++) {
        struct weir_graph_token token[N_TOKENS + 2];
        const size_t n = fill_step(step, token);
        const uint32_t before[] = {weir_graph_length(g, 0), weir_graph_length(g, 1)};
        fake_gpu_fail(failing);
        weir_err err = weir_graph_run(g, token, n, &diag);
        fake_gpu_fail(0);
        if (err) {
            any = true;
            expect(err == WEIR_ERR_IO, "another error", failing);
            expect(weir_graph_length(g, 0) == before[0] && weir_graph_length(g, 1) == before[1],
                   "lengths after an error", failing);
            end_if(weir_graph_run(g, token, n, &diag), &diag);
        }
        add_logits(g, logits + (size_t)step * 2 * VOCAB);
    }
    return any;
}

static void calls_that_fail(const struct opened *m, enum weir_tier tier)
{
    static float expected[N_STEPS * 2 * VOCAB], got[N_STEPS * 2 * VOCAB];
    struct weir_graph *g = new_graph(m, tier);
    bool any = true;
    (void)run_steps(g, 0, expected);
    weir_graph_free(g);
    for (long i = 1; any; i++) {
        g = new_graph(m, tier);
        any = run_steps(g, i, got);
        expect(same_bits(expected, got, sizeof(got)), "other logits after an error", i);
        weir_graph_free(g);
        expect(i < 1000, "it never ends", i);
    }
}

/* Passes that nothing could be recorded of are queued: the same logits. */
static void recordings_that_fail(const struct opened *m)
{
    static float expected[N_STEPS * 2 * VOCAB], got[N_STEPS * 2 * VOCAB];
    for (long i = 0; i <= 2; i++) { /* none, where it begins, where it ends */
        struct weir_graph *g = new_graph(m, WEIR_TIER_RAW);
        fake_gpu_fail_recording(i);
        expect(!run_steps(g, 0, got), "a recording that fails is an error", i);
        fake_gpu_fail_recording(0);
        if (i == 0)
            memcpy(expected, got, sizeof(got));
        const uint32_t n = weir_device_graph_counts(g).n_recordings;
        expect((n > 0) == (i == 0), "recordings", n);
        expect(same_bits(expected, got, sizeof(got)), "other logits without a recording", i);
        weir_graph_free(g);
    }
}

/* Ids that are chosen and fed, where call `failing` of each pass that begins fails and is made
 * again; whether any did. */
static bool choose_steps(struct weir_graph *g, long failing, uint32_t *ids)
{
    const struct weir_sampler_options drawn = {
        .temperature = 1.5F, .top_p = 1, .repeat_penalty = 1.5F, .seed = 7};
    const struct weir_graph_token first = {0, 5, true}, next = {0, WEIR_GRAPH_CHOSEN, true};
    struct weir_diag diag = {""};
    struct weir_sampler *s;
    bool any = false;
    int begun = 0;
    end_if(weir_sampler_new(VOCAB, &drawn, &s), &diag);
    for (int ended = 0; ended < N_CHOSEN; ended++) {
        struct weir_graph_choice choice;
        while (begun < N_CHOSEN && weir_graph_may_start(g)) {
            const uint32_t before = weir_graph_length(g, 0);
            const struct weir_graph_token *token = begun++ ? &next : &first;
            fake_gpu_fail(failing);
            weir_err err = weir_graph_start(g, token, 1, &s, false, &diag);
            fake_gpu_fail(0);
            if (!err)
                continue;
            any = true;
            expect(weir_graph_length(g, 0) == before, "length after a pass did not begin", failing);
            end_if(weir_graph_start(g, token, 1, &s, false, &diag), &diag);
        }
        end_if(weir_graph_finish(g, &choice, &diag), &diag);
        ids[ended] = choice.id;
    }
    weir_sampler_free(s);
    return any;
}

static void choices_that_fail(const struct opened *m)
{
    uint32_t expected[N_CHOSEN], got[N_CHOSEN];
    bool any = true;
    struct weir_graph *g = new_graph(m, WEIR_TIER_RAW);
    (void)choose_steps(g, 0, expected);
    weir_graph_free(g);
    for (long i = 1; any && i < 1000; i++) {
        g = new_graph(m, WEIR_TIER_RAW);
        any = choose_steps(g, i, got);
        expect(same_bits(expected, got, sizeof(got)), "other ids after an error", i);
        weir_graph_free(g);
    }
}

/* Without what it had loaded. */
static void reopen(struct opened *m)
{
    struct weir_diag diag = {""};
    weir_device_close(m->device);
    end_if(weir_device_open(0, &m->device, &diag), &diag);
}

/* The least budget is enough, and less is refused by its name.  small_piece: below the chunk, the
 * library is wanted, and counted as the plan says, whoever else is on the device. */
static void budgets(struct opened *m, uint32_t small_piece)
{
    struct weir_device_needs needs;
    struct weir_device_info info;
    struct weir_graph *g = NULL;
    struct weir_diag diag = {""};
    struct weir_device_rules rules = {.tier = WEIR_TIER_RAW, .small_piece = small_piece};
    end_if(weir_device_graph_needs(m->model, &options, &rules, &needs, &diag), &diag);
    rules.bytes = needs.fixed + needs.least_weights;
    reopen(m);
    end_if(weir_device_graph_new(m->device, m->model, &options, &rules, &g, &diag), &diag);
    weir_graph_free(g);
    end_if(weir_device_info(m->device, &info), &diag);
    expect(info.taken_bytes == (small_piece ? WEIR_GPU_BLAS_BYTES : 0), "memory that is left",
           (long)info.taken_bytes);
    reopen(m);
    rules.bytes--;
    expect(weir_device_graph_new(m->device, m->model, &options, &rules, &g, &diag) ==
                   WEIR_ERR_NOMEM &&
               strstr(diag.text, "would be"),
           "a budget too small", (long)rules.bytes);
    rules.bytes = 0;
    weir_device_limit(m->device, needs.fixed + needs.least_weights - 1);
    expect(weir_device_graph_new(m->device, m->model, &options, &rules, &g, &diag) ==
               WEIR_ERR_NOMEM,
           "a limit too small", (long)needs.fixed);
    weir_device_limit(m->device, UINT64_MAX);
}

static void bad_options(const struct opened *m)
{
    const struct weir_graph_options bad[] = {
        {.context = 100000}, {.chunk = 1 << 20}, {.n_sequences = 1 << 20}};
    const struct weir_device_rules rules = {.tier = WEIR_TIER_RAW};
    struct weir_graph *g;
    struct weir_diag diag;
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
        expect(weir_device_graph_new(m->device, m->model, &bad[i], &rules, &g, &diag) ==
                   WEIR_ERR_INVALID,
               "bad options", (long)i);
}

int main(int argc, char **argv)
{
    struct opened m = {.ck = NULL};
    if (argc != 2)
        return 2;
    open_all(argv[1], &m);
    calls_that_fail(&m, WEIR_TIER_RAW);
    calls_that_fail(&m, WEIR_TIER_GPU);
    calls_that_fail(&m, WEIR_TIER_FUSED);
    recordings_that_fail(&m);
    choices_that_fail(&m);
    budgets(&m, 0);
    budgets(&m, options.chunk / 4);
    bad_options(&m);
    close_all(&m);
    printf("%ld calls\n", fake_gpu_calls());
    return status;
}
