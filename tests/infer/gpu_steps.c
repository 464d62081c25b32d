/* gpu_steps.c - what comes next, chosen on a GPU and fed to the next pass from there: the ids that
 * the processor's sampler chooses by the same logits, wherever, whenever and in whatever company.
 *
 *     infer_gpu_steps FOLDER
 * Exits 1 if something is wrong, 77 where there is no GPU. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "infer/device.h"
#include "opened.h"

enum {
    N_IDS = 20,
    MOST_TEXTS = 5,
    CONTEXT = 32,
    CHUNK = 16,
    FIRST_PROMPT = 2, /* tokens of text 0; each has one more */
    VOCAB = 61,
    SKIPPED = 77,
};

static int status;
static const char *where = "opening";

static void expect(bool fine, const char *what, long number)
{
    if (fine)
        return;
    printf("FAILED %s: %s: %ld\n", where, what, number);
    status = 1;
}

static void end_if(weir_err err, const struct weir_diag *diag)
{
    if (!err)
        return;
    printf("FAILED %s: %s: %s\n", where, weir_err_text(err), diag ? diag->text : "");
    exit(1);
}

/* ---- the model ---- */

struct setup {
    struct opened opened;
    struct weir_model *model;
    struct weir_device *device;
};

/* One way to get there. */
struct way {
    const char *name;
    uint32_t n_texts;
    enum weir_tier tier;
    bool processor, host_choice, no_recording, poison;
    uint32_t delay_us;
    bool is_ahead; /* passes begin before the one before has ended */
};

static const struct way ways[] = {
    {.name = "one text", .n_texts = 1, .tier = WEIR_TIER_RAW, .is_ahead = true},
    {.name = "five texts", .n_texts = 5, .tier = WEIR_TIER_RAW, .is_ahead = true},
    {.name = "fused", .n_texts = 3, .tier = WEIR_TIER_FUSED, .is_ahead = true},
    {.name = "queued", .n_texts = 2, .tier = WEIR_TIER_RAW, .no_recording = true, .is_ahead = true},
    {.name = "delays", .n_texts = 4, .tier = WEIR_TIER_RAW, .delay_us = 200, .is_ahead = true},
    {.name = "NaNs", .n_texts = 5, .tier = WEIR_TIER_RAW, .poison = true, .is_ahead = true},
    {.name = "streamed", .n_texts = 3, .tier = WEIR_TIER_GPU},
    {.name = "the host chooses", .n_texts = 3, .tier = WEIR_TIER_RAW, .host_choice = true},
};

/* What a graph takes that keeps as little as it can on the device. */
static uint64_t least_bytes(const struct setup *m, const struct weir_graph_options *o,
                            const struct weir_device_rules *rules)
{
    struct weir_device_needs needs;
    struct weir_diag diag = {""};
    end_if(weir_device_graph_needs(m->model, o, rules, &needs, &diag), &diag);
    return needs.fixed + needs.least_weights;
}

static struct weir_graph *new_graph(const struct setup *m, const struct way *way)
{
    struct weir_graph *g;
    struct weir_diag diag = {""};
    const struct weir_graph_options o = {
        .n_threads = 1, .n_sequences = way->n_texts, .context = CONTEXT, .chunk = 2 * CHUNK};
    struct weir_device_rules rules = {.tier = way->tier,
                                      .n_threads = 1,
                                      .host_choice = way->host_choice,
                                      .no_recording = way->no_recording,
                                      .delay_us = way->delay_us,
                                      .poison = way->poison};
    if (way->tier == WEIR_TIER_GPU)
        rules.bytes = least_bytes(m, &o, &rules);
    end_if(way->processor ? weir_graph_new(m->model, &o, &g, &diag)
                          : weir_device_graph_new(m->device, m->model, &o, &rules, &g, &diag),
           &diag);
    return g;
}

/* ---- texts ---- */

static const struct weir_sampler_options kinds[] = {
    {.temperature = 0},
    {.temperature = 0, .repeat_penalty = 2, .repeat_last = 3},
    {.temperature = 0.8F, .top_k = 40, .top_p = 0.95F, .min_p = 0.05F},
    {.temperature = 3, .top_k = 7, .top_p = 1},
    {.temperature = 1.5F, .top_p = 0.9F, .repeat_penalty = 1.3F},
    {.temperature = 2, .top_k = 1, .top_p = 1},
};

static struct weir_sampler *new_sampler(const struct weir_sampler_options *kind, uint32_t text)
{
    struct weir_sampler *s;
    struct weir_sampler_options o = *kind;
    o.seed = 100 + text;
    end_if(weir_sampler_new(VOCAB, &o, &s), NULL);
    return s;
}

static uint32_t prompt_id(uint32_t text, uint32_t i)
{
    return (11 * text + 7 * i + 3) % VOCAB;
}

/* Prompt of a text; its last token asks. */
static size_t add_prompt(uint32_t text, uint32_t sequence, struct weir_sampler *s,
                         struct weir_graph_token *token)
{
    const uint32_t n = FIRST_PROMPT + text;
    for (uint32_t i = 0; i < n; i++) {
        token[i] = (struct weir_graph_token){sequence, prompt_id(text, i), i + 1 == n};
        weir_sampler_accept(s, token[i].id);
    }
    return n;
}

struct answers {
    uint32_t id[MOST_TEXTS][N_IDS];
    float logits[MOST_TEXTS][N_IDS][VOCAB];
};

/* What is right: each text alone, a pass at a time, the sampler by itself. */
static void answer_plainly(const struct setup *m, bool processor,
                           const struct weir_sampler_options *kind, struct answers *out)
{
    const struct way way = {
        .n_texts = 1, .tier = WEIR_TIER_RAW, .no_recording = true, .processor = processor};
    struct weir_diag diag = {""};
    for (uint32_t t = 0; t < MOST_TEXTS; t++) {
        struct weir_graph *g = new_graph(m, &way);
        struct weir_sampler *s = new_sampler(kind, t);
        struct weir_graph_token token[CHUNK];
        size_t n = add_prompt(t, 0, s, token);
        for (uint32_t k = 0; k < N_IDS; k++, n = 1) {
            end_if(weir_graph_run(g, token, n, &diag), &diag);
            memcpy(out->logits[t][k], weir_graph_logits(g, 0), sizeof(out->logits[t][k]));
            end_if(weir_sampler_next(s, out->logits[t][k], &out->id[t][k]), &diag);
            weir_sampler_accept(s, out->id[t][k]);
            token[0] = (struct weir_graph_token){0, out->id[t][k], true};
        }
        weir_sampler_free(s);
        weir_graph_free(g);
    }
}

static bool same_bits(const void *a, const void *b)
{
    return memcmp(a, b, VOCAB * sizeof(float)) == 0;
}

static void compare(const struct answers *right, uint32_t text, uint32_t k,
                    const struct weir_graph_choice *choice, bool wants_logits)
{
    const void *logits = right->logits[text][k]; /* bits are compared */
    const long number = (long)text * N_IDS + (long)k;
    expect(choice->id == right->id[text][k], "another id", number);
    expect(choice->length == FIRST_PROMPT + text + k, "another length", (long)choice->length);
    expect(wants_logits == (choice->logits != NULL), "logits that were not wanted, or none", k);
    if (wants_logits && choice->logits)
        expect(same_bits(choice->logits, logits), "other logits", number);
}

/* All texts at once: passes begin as soon as they may. */
static void answer_together(struct weir_graph *g, uint32_t n_texts, struct weir_sampler **sampler,
                            const struct answers *right, bool wants_logits)
{
    struct weir_graph_token token[2 * CHUNK];
    struct weir_graph_choice choice[MOST_TEXTS];
    struct weir_diag diag = {""};
    size_t n = 0;
    uint32_t begun = 0;
    for (uint32_t t = 0; t < n_texts; t++)
        n += add_prompt(t, t, sampler[t], token + n);
    for (uint32_t ended = 0; ended < N_IDS; ended++) {
        while (begun < N_IDS && weir_graph_may_start(g)) {
            end_if(weir_graph_start(g, token, n, sampler, wants_logits, &diag), &diag);
            for (n = 0; n < n_texts; n++)
                token[n] = (struct weir_graph_token){(uint32_t)n, WEIR_GRAPH_CHOSEN, true};
            begun++;
        }
        end_if(weir_graph_finish(g, choice, &diag), &diag);
        for (uint32_t t = 0; t < n_texts; t++)
            compare(right, t, ended, &choice[t], wants_logits);
    }
}

static void check_way(const struct setup *m, const struct way *way,
                      const struct weir_sampler_options *kind, const struct answers *right,
                      bool wants_logits)
{
    struct weir_graph *g = new_graph(m, way);
    struct weir_sampler *sampler[MOST_TEXTS];
    where = way->name;
    for (uint32_t t = 0; t < way->n_texts; t++)
        sampler[t] = new_sampler(kind, t);
    answer_together(g, way->n_texts, sampler, right, wants_logits);
    const struct weir_device_counts c = weir_device_graph_counts(g);
    expect((c.n_choosing > 0) == (!way->processor && !way->host_choice), "who chooses",
           (long)c.n_choosing);
    expect((c.n_ahead > 0) == way->is_ahead, "passes that begin early", (long)c.n_ahead);
    for (uint32_t t = 0; t < way->n_texts; t++)
        weir_sampler_free(sampler[t]);
    weir_graph_free(g);
}

static void check_kind(const struct setup *m, const struct weir_sampler_options *kind)
{
    static struct answers right;
    const struct way processor = {.name = "the processor", .n_texts = 3, .processor = true};
    answer_plainly(m, true, kind, &right);
    check_way(m, &processor, kind, &right, true);
    answer_plainly(m, false, kind, &right);
    for (size_t i = 0; i < sizeof(ways) / sizeof(ways[0]); i++) {
        check_way(m, &ways[i], kind, &right, true);
        check_way(m, &ways[i], kind, &right, false);
    }
}

/* ---- what a caller does not want after all ---- */

/* A text is cut off and another begun in its place while a pass with both of them is on its way;
 * its sampler is gone by then. */
static void cut_on_the_way(const struct setup *m)
{
    static struct answers right;
    struct weir_graph *g = new_graph(m, &ways[1]);
    struct weir_graph_token token[2 * CHUNK];
    struct weir_graph_choice choice[MOST_TEXTS];
    struct weir_diag diag = {""};
    struct weir_sampler *s[2] = {new_sampler(&kinds[2], 0), new_sampler(&kinds[2], 1)};
    struct weir_sampler *third = new_sampler(&kinds[2], 2);
    where = "cut";
    answer_plainly(m, false, &kinds[2], &right);
    size_t n = add_prompt(0, 0, s[0], token);
    n += add_prompt(1, 1, s[1], token + n);
    end_if(weir_graph_start(g, token, n, s, false, &diag), &diag);
    for (uint32_t t = 0; t < 2; t++)
        token[t] = (struct weir_graph_token){t, WEIR_GRAPH_CHOSEN, true};
    end_if(weir_graph_start(g, token, 2, s, false, &diag), &diag);
    end_if(weir_graph_finish(g, choice, &diag), &diag);
    compare(&right, 1, 0, &choice[1], false);
    weir_graph_cut(g, 0, choice[0].length);
    expect(weir_graph_length(g, 0) == FIRST_PROMPT, "length when cut", weir_graph_length(g, 0));
    weir_sampler_free(s[0]);
    weir_graph_begin(g, 0, 0);
    n = add_prompt(2, 0, third, token);
    token[n] = (struct weir_graph_token){1, WEIR_GRAPH_CHOSEN, true};
    s[0] = third;
    end_if(weir_graph_start(g, token, n + 1, s, false, &diag), &diag);
    end_if(weir_graph_finish(g, choice, &diag), &diag);
    expect(choice[0].id == WEIR_GRAPH_CHOSEN, "an id of a text that was cut", choice[0].id);
    compare(&right, 1, 1, &choice[1], false);
    end_if(weir_graph_finish(g, choice, &diag), &diag);
    compare(&right, 2, 0, &choice[0], false);
    compare(&right, 1, 2, &choice[1], false);
    weir_sampler_free(s[0]);
    weir_sampler_free(s[1]);
    weir_graph_free(g);
}

/* ---- what makes no sense, and what the device does not do ---- */

static void refused(const struct setup *m)
{
    struct weir_graph *g = new_graph(m, &ways[1]);
    struct weir_diag diag;
    struct weir_graph_choice choice[2];
    struct weir_sampler *s[] = {new_sampler(&kinds[0], 0), new_sampler(&kinds[3], 0)};
    const struct weir_graph_token unknown = {0, WEIR_GRAPH_CHOSEN, true};
    const struct weir_graph_token twice[] = {{0, 1, true}, {0, 2, true}};
    const struct weir_graph_token two[] = {{0, 1, true}, {1, 2, true}};
    const struct weir_graph_token again[] = {{0, WEIR_GRAPH_CHOSEN, false},
                                             {0, WEIR_GRAPH_CHOSEN, true}};
    where = "refused";
    expect(weir_graph_start(g, &unknown, 1, s, false, &diag) == WEIR_ERR_INVALID,
           "nothing was chosen", 0);
    expect(weir_graph_run(g, &unknown, 1, &diag) == WEIR_ERR_INVALID, "nothing was chosen", 1);
    expect(weir_graph_start(g, twice, 2, s, false, &diag) == WEIR_ERR_INVALID, "two choices", 0);
    expect(weir_graph_length(g, 0) == 0, "length", weir_graph_length(g, 0));
    end_if(weir_graph_start(g, two, 2, s, false, &diag), &diag);
    expect(!weir_graph_may_start(g), "unlike samplers are the host's", 0);
    expect(weir_graph_start(g, &unknown, 1, s, false, &diag) == WEIR_ERR_INVALID, "too early", 0);
    expect(weir_graph_run(g, two, 1, &diag) == WEIR_ERR_INVALID, "too early", 1);
    end_if(weir_graph_finish(g, choice, &diag), &diag);
    expect(choice[0].id < VOCAB && choice[1].id < VOCAB, "ids", choice[0].id);
    expect(weir_device_graph_counts(g).n_choosing == 0, "it chose", 0);
    expect(weir_graph_start(g, again, 2, s, false, &diag) == WEIR_ERR_INVALID, "one id twice", 0);
    end_if(weir_graph_start(g, &unknown, 1, s, false, &diag), &diag);
    expect(weir_graph_may_start(g), "the device chooses", 0);
    expect(weir_graph_start(g, again, 2, s, false, &diag) == WEIR_ERR_INVALID, "one id twice", 1);
    end_if(weir_graph_finish(g, choice, &diag), &diag);
    expect(choice[0].id < VOCAB && choice[0].length == 2, "id", choice[0].id);
    weir_sampler_free(s[0]);
    weir_sampler_free(s[1]);
    weir_graph_free(g);
}

int main(int argc, char **argv)
{
    static struct setup m;
    struct weir_diag diag = {""};
    if (argc != 2)
        return 2;
    weir_err err = weir_device_open(0, &m.device, &diag);
    if (err == WEIR_ERR_NOT_FOUND || err == WEIR_ERR_UNSUPPORTED) {
        printf("skipped: %s\n", diag.text);
        return SKIPPED;
    }
    end_if(err, &diag);
    opened_model(&m.opened, argv[1]);
    m.model = m.opened.model;
    expect(m.model->config.vocab == VOCAB, "another vocabulary", (long)m.model->config.vocab);
    for (size_t i = 0; i < sizeof(kinds) / sizeof(kinds[0]); i++)
        check_kind(&m, &kinds[i]);
    cut_on_the_way(&m);
    refused(&m);
    weir_device_close(m.device);
    opened_close(&m.opened);
    if (!status)
        printf("ok\n");
    return status;
}
