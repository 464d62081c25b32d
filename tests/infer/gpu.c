/* gpu.c - every folder of golden/ computed on a GPU in many ways: as near to transformers' logits
 * as BF16 may be, and in each way the same bits.
 *
 * Heads there are of all sizes, and a GPU's have a multiple of 8 numbers: where the folder's do
 * not, they are made 16 and the processor's logits are what is compared with.
 *
 *     infer_gpu FOLDER...
 * A line for each folder; exits 1 if one is wrong, 77 where there is no GPU. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "infer/device.h"
#include "infer/hash.h"
#include "tiny.h"

enum { MAX_IDS = 64, MAX_TEXTS = 8, SKIPPED = 77, HEAD_STEP = 8, WIDE_HEAD = 16, MAX_LINE = 512 };

struct model {
    struct tiny_bytes config, list, weights;
    bool is_widened; /* logits.f32 is another model's */
    struct weir_source source[2];
    struct weir_checkpoint *ck;
    struct weir_model *model;
    uint32_t id[MAX_IDS];
    size_t n_ids;
};

/* One way to compute it. */
struct way {
    uint32_t chunk;          /* tokens of a text in a pass */
    uint32_t n_texts, place; /* that the text is in */
    enum weir_tier tier;
    uint32_t small_piece, delay_us;
    bool poison, no_recording;
};

struct result {
    float *logits; /* of all positions */
    uint64_t hash;
    struct weir_device_counts counts;
};

static void end_if(weir_err err, const struct weir_diag *diag)
{
    if (!err)
        return;
    fprintf(stderr, "%s: %s\n", weir_err_text(err), diag ? diag->text : "");
    exit(1);
}

static void read_ids(const char *folder, struct model *m)
{
    struct tiny_bytes b = tiny_read(folder, "ids.txt");
    char *at = b.at, *behind;
    for (m->n_ids = 0; m->n_ids < MAX_IDS; at = behind) {
        unsigned long id = strtoul(at, &behind, 10);
        if (behind == at)
            break;
        m->id[m->n_ids++] = (uint32_t)id;
    }
    free(b.at);
}

/* ---- heads of 16 ---- */

static bool is_of(const char *name, const char *const *parts)
{
    bool found = false;
    for (; *parts; parts++)
        found = found || strstr(name, *parts);
    return found;
}

/* A line of tensors.txt with other heads. */
static void widen_line(const char *line, uint32_t head_dim, FILE *to)
{
    static const char *const rows[] = {"q_proj", "k_proj", "v_proj", "q_norm", "k_norm", NULL};
    static const char *const columns[] = {"o_proj.weight", NULL};
    char name[MAX_LINE], kind[MAX_LINE];
    int shift;
    size_t dim[2];
    const int got = sscanf(line, "%511s %d %511s %zu %zu", name, &shift, kind, &dim[0], &dim[1]);
    if (got < 4)
        return;
    if (is_of(name, rows))
        dim[0] = dim[0] / head_dim * WIDE_HEAD;
    if (is_of(name, columns))
        dim[1] = dim[1] / head_dim * WIDE_HEAD;
    fprintf(to, "%s %d %s %zu", name, shift, kind, dim[0]);
    if (got == 5)
        fprintf(to, " %zu", dim[1]);
    fprintf(to, "\n");
}

static void widen_list(struct tiny_bytes *list, uint32_t head_dim)
{
    struct tiny_bytes wide = {NULL, 0};
    FILE *to = open_memstream(&wide.at, &wide.n);
    if (!to)
        exit(1);
    for (char *line = list->at; *line;) {
        char *end = strchr(line, '\n');
        if (end)
            *end = 0;
        widen_line(line, head_dim, to);
        line = end ? end + 1 : line + strlen(line);
    }
    (void)fclose(to);
    free(list->at);
    *list = wide;
}

static void widen_config(struct tiny_bytes *config)
{
    struct tiny_bytes wide = {NULL, 0};
    char *old = strstr(config->at, "\"head_dim\": "), *brace = strchr(config->at, '{');
    if (old) {
        char *digits = old + strlen("\"head_dim\": ");
        if (asprintf(&wide.at, "%.*s%d%s", (int)(digits - config->at), config->at, WIDE_HEAD,
                     digits + strspn(digits, "0123456789")) < 0)
            exit(1);
    } else if (!brace || asprintf(&wide.at, "{\"head_dim\": %d, %s", WIDE_HEAD, brace + 1) < 0) {
        exit(1);
    }
    wide.n = strlen(wide.at);
    free(config->at);
    *config = wide;
}

static void widen_heads(struct model *m)
{
    struct weir_model_config c;
    struct weir_diag diag = {""};
    end_if(weir_model_config_from_json(m->config.at, m->config.n, NULL, 0, &c, &diag), &diag);
    if (c.head_dim % HEAD_STEP == 0)
        return;
    widen_list(&m->list, c.head_dim);
    widen_config(&m->config);
    m->is_widened = true;
}

/* ---- the model ---- */

static void open_model(const char *folder, struct model *m)
{
    struct weir_model_config c;
    struct weir_diag diag = {""};
    struct weir_checkpoint_file file[2] = {{"config.json", &m->source[0]},
                                           {"model.safetensors", &m->source[1]}};
    m->config = tiny_read(folder, "config.json");
    m->list = tiny_read(folder, "tensors.txt");
    widen_heads(m);
    m->weights = tiny_safetensors(&m->list, "BF16", "");
    weir_source_from_memory(m->config.at, m->config.n, &m->source[0]);
    weir_source_from_memory(m->weights.at, m->weights.n, &m->source[1]);
    end_if(weir_checkpoint_from_files(file, 2, NULL, &m->ck, &diag), &diag);
    end_if(weir_model_config_read(m->ck, &c, &diag), &diag);
    end_if(weir_model_open(m->ck, &c, &m->model, &diag), &diag);
    read_ids(folder, m);
}

static void close_model(struct model *m)
{
    weir_model_free(m->model);
    weir_checkpoint_free(m->ck);
    free(m->weights.at);
    free(m->list.at);
    free(m->config.at);
}

static struct weir_graph *new_graph(struct weir_device *d, const struct model *m,
                                    const struct way *way)
{
    struct weir_graph *g;
    struct weir_diag diag = {""};
    const uint32_t most = way->chunk * way->n_texts;
    const struct weir_graph_options o = {.n_sequences = way->n_texts,
                                         .context = (uint32_t)m->n_ids,
                                         .chunk = most,
                                         .n_logits = most};
    const struct weir_device_rules rules = {.tier = way->tier,
                                            .n_threads = 1,
                                            .small_piece = way->small_piece,
                                            .delay_us = way->delay_us,
                                            .delay_seed = 1,
                                            .no_recording = way->no_recording,
                                            .poison = way->poison};
    end_if(weir_device_graph_new(d, m->model, &o, &rules, &g, &diag), &diag);
    return g;
}

/* Texts but the one that counts are the ids in another order, so that lengths are equal and what is
 * said is not. */
static size_t fill_pass(const struct model *m, const struct way *way, size_t at,
                        struct weir_graph_token *token)
{
    size_t n = 0;
    for (uint32_t i = 0; i < way->chunk && at + i < m->n_ids; i++)
        for (uint32_t s = 0; s < way->n_texts; s++) {
            const bool counts = s == way->place;
            const size_t other = (at + i) * 7 + s;
            token[n++] = (struct weir_graph_token){
                s, counts ? m->id[at + i] : m->id[other % m->n_ids], true};
        }
    return n;
}

static struct result compute(struct weir_device *d, const struct model *m, const struct way *way)
{
    static struct weir_graph_token token[MAX_IDS * MAX_TEXTS];
    struct weir_graph *g = new_graph(d, m, way);
    struct weir_logits_hash *hash;
    struct weir_diag diag = {""};
    const size_t vocab = m->model->config.vocab;
    struct result r = {.logits = calloc(MAX_IDS * vocab, sizeof(float))};
    end_if(r.logits ? weir_logits_hash_new(&hash) : WEIR_ERR_NOMEM, &diag);
    for (size_t at = 0; at < m->n_ids; at += way->chunk) {
        const size_t n = fill_pass(m, way, at, token);
        end_if(weir_graph_run(g, token, n, &diag), &diag);
        for (size_t i = way->place, k = at; i < n; i += way->n_texts, k++) {
            memcpy(r.logits + k * vocab, weir_graph_logits(g, i), vocab * sizeof(float));
            weir_logits_hash_add(hash, r.logits + k * vocab, vocab);
        }
    }
    r.hash = weir_logits_hash_value(hash);
    r.counts = weir_device_graph_counts(g);
    weir_logits_hash_free(hash);
    weir_graph_free(g);
    return r;
}

/* ---- the same bits ---- */

/* Pieces of at most 64 tokens: cut and accompanied as one likes. */
static const struct way small_ways[] = {
    {.chunk = 1, .n_texts = 1, .tier = WEIR_TIER_RAW},
    {.chunk = 1, .n_texts = 1, .tier = WEIR_TIER_RAW, .no_recording = true},
    {.chunk = 1, .n_texts = 4, .place = 2, .tier = WEIR_TIER_RAW},
    {.chunk = 1, .n_texts = 8, .place = 7, .tier = WEIR_TIER_RAW, .poison = true},
    {.chunk = 7, .n_texts = 3, .place = 1, .tier = WEIR_TIER_RAW},
    {.chunk = 48, .n_texts = 1, .tier = WEIR_TIER_RAW, .poison = true},
    {.chunk = 2, .n_texts = 1, .tier = WEIR_TIER_RAW},
    {.chunk = 30, .n_texts = 5, .place = 3, .tier = WEIR_TIER_RAW, .poison = true},
    {.chunk = 1, .n_texts = 1, .tier = WEIR_TIER_GPU, .poison = true},
    {.chunk = 16, .n_texts = 8, .place = 5, .tier = WEIR_TIER_GPU, .delay_us = 50},
    {.chunk = 48, .n_texts = 1, .tier = WEIR_TIER_FUSED},
    {.chunk = 1, .n_texts = 4, .place = 3, .tier = WEIR_TIER_FUSED, .poison = true},
    {.chunk = 5, .n_texts = 2, .place = 1, .tier = WEIR_TIER_CPU, .poison = true},
};

/* Longer ones, here of more than 8 tokens: cut in one way, accompanied as one likes. */
static const struct way large_ways[] = {
    {.chunk = 20, .n_texts = 1, .tier = WEIR_TIER_RAW, .small_piece = 8},
    {.chunk = 20, .n_texts = 3, .place = 2, .tier = WEIR_TIER_RAW, .small_piece = 8},
    {.chunk = 20, .n_texts = 8, .place = 4, .tier = WEIR_TIER_RAW, .small_piece = 8, .poison = 1},
    {.chunk = 20, .n_texts = 2, .place = 1, .tier = WEIR_TIER_FUSED, .small_piece = 8},
    {.chunk = 20, .n_texts = 2, .tier = WEIR_TIER_GPU, .small_piece = 8, .delay_us = 50},
    {.chunk = 20, .n_texts = 1, .tier = WEIR_TIER_CPU, .small_piece = 8, .poison = true},
};

static bool same_bits(struct weir_device *d, const struct model *m, const char *folder,
                      const struct way *way, size_t n, uint64_t *hash)
{
    bool fine = true;
    struct result first = {0};
    for (size_t i = 0; i < n; i++) {
        struct result r = compute(d, m, &way[i]);
        const bool records = way[i].chunk == 1 && !way[i].no_recording && !way[i].delay_us;
        first = i ? first : r;
        if (r.hash != first.hash) {
            printf("FAILED %s: way %zu of %zu gives other bits\n", folder, i, n);
            fine = false;
        }
        if (records && way[i].tier == WEIR_TIER_RAW && r.counts.n_replays == 0) {
            printf("FAILED %s: way %zu of %zu replays nothing\n", folder, i, n);
            fine = false;
        }
        free(r.logits);
    }
    *hash = first.hash;
    return fine;
}

/* The fake's library gives other bits, so that it shows where it is used. */
static bool uses_both(struct weir_device *d, const char *folder, uint64_t small, uint64_t large)
{
    struct weir_device_info info;
    end_if(weir_device_info(d, &info), NULL);
    if (strcmp(info.name, "fake") != 0 || small != large)
        return true;
    printf("FAILED %s: long pieces go the way of short ones\n", folder);
    return false;
}

/* ---- near enough ---- */

struct error {
    double most, mean;
};

static struct error compare(const float *a, const float *b, size_t n)
{
    struct error e = {0};
    for (size_t i = 0; i < n; i++) {
        const double off = fabs((double)a[i] - (double)b[i]);
        e.most = off > e.most || isnan(off) ? off : e.most;
        e.mean += off / (double)n;
    }
    return e;
}

/* The logits of all positions without BF16. */
static float *true_logits(const struct model *m, const char *folder)
{
    const size_t vocab = m->model->config.vocab, n = m->n_ids * vocab;
    struct weir_graph_token token[MAX_IDS];
    struct weir_graph *g;
    struct weir_diag diag = {""};
    if (!m->is_widened) {
        struct tiny_bytes golden = tiny_read(folder, "logits.f32");
        if (golden.n != n * sizeof(float))
            exit(1);
        return (float *)(void *)golden.at;
    }
    const uint32_t most = (uint32_t)m->n_ids;
    const struct weir_graph_options o = {
        .n_threads = 1, .context = most, .chunk = most, .n_logits = most};
    float *logits = malloc(n * sizeof(*logits) + 1);
    end_if(weir_graph_new(m->model, &o, &g, &diag), &diag);
    for (uint32_t i = 0; i < most; i++)
        token[i] = (struct weir_graph_token){0, m->id[i], true};
    end_if(weir_graph_run(g, token, most, &diag), &diag);
    for (size_t i = 0; logits && i < most; i++)
        memcpy(logits + i * vocab, weir_graph_logits(g, i), vocab * sizeof(*logits));
    weir_graph_free(g);
    return logits;
}

/* As far off as transformers in BF16 is, and a fifth. */
static bool is_near(struct weir_device *d, const struct model *m, const char *folder,
                    const struct way *way)
{
    struct tiny_bytes b = tiny_read(folder, "bf16.txt");
    struct result r = compute(d, m, way);
    float *expected = true_logits(m, folder);
    double most = 0, mean = 0;
    struct error e = {INFINITY, INFINITY};
    if (expected && sscanf(b.at, "%lf %lf", &most, &mean) == 2)
        e = compare(r.logits, expected, m->n_ids * m->model->config.vocab);
    const bool fine = e.most <= 1.2 * most && e.mean <= 1.2 * mean;
    printf("%s %s%s: %.1e off, %.1e on average; transformers in BF16: %.1e, %.1e; %016llx\n",
           fine ? "ok" : "FAILED", folder, m->is_widened ? " (heads of 16)" : "", e.most, e.mean,
           most, mean, (unsigned long long)r.hash);
    free(r.logits);
    free(expected);
    free(b.at);
    return fine;
}

static bool check(struct weir_device *d, const char *folder)
{
    struct model m = {0};
    uint64_t small, large;
    open_model(folder, &m);
    bool fine = is_near(d, &m, folder, &small_ways[0]);
    fine = is_near(d, &m, folder, &large_ways[0]) && fine;
    fine =
        same_bits(d, &m, folder, small_ways, sizeof(small_ways) / sizeof(small_ways[0]), &small) &&
        fine;
    fine =
        same_bits(d, &m, folder, large_ways, sizeof(large_ways) / sizeof(large_ways[0]), &large) &&
        fine;
    fine = uses_both(d, folder, small, large) && fine;
    close_model(&m);
    return fine;
}

int main(int argc, char **argv)
{
    struct weir_device *d;
    struct weir_diag diag = {""};
    weir_err err = weir_device_open(0, &d, &diag);
    if (err == WEIR_ERR_NOT_FOUND || err == WEIR_ERR_UNSUPPORTED) {
        printf("skipped: %s\n", diag.text);
        return SKIPPED;
    }
    end_if(err, &diag);
    int status = argc > 1 ? 0 : 2;
    for (int i = 1; i < argc; i++)
        if (!check(d, argv[i]))
            status = 1;
    weir_device_close(d);
    return status;
}
