/* goldens.c - every folder of golden/ computed in many ways: near transformers' logits, and in each
 * way the same bits.
 *
 *     infer_goldens FOLDER...
 * A line for each folder; exits 1 if one is wrong. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "infer/graph.h"
#include "infer/hash.h"
#include "tiny.h"

enum { MAX_IDS = 64, MAX_TEXTS = 4 };

static const float tolerance = 1e-4F;

/* One way to compute it. */
struct way {
    const char *config, *dtype, *prefix, *kernels;
    uint32_t chunk, n_texts;
    unsigned n_threads;
    bool kv_bf16;
};

struct text {
    uint32_t id[MAX_IDS];
    size_t n;
};

struct result {
    float *logits; /* of all positions */
    size_t n_vocab;
    uint64_t hash;
    weir_err err;
    struct weir_diag diag;
};

static void end_if(weir_err err, const struct weir_diag *diag)
{
    if (!err)
        return;
    fprintf(stderr, "%s: %s\n", weir_err_text(err), diag->text);
    exit(1);
}

static struct text read_ids(const char *folder)
{
    struct tiny_bytes b = tiny_read(folder, "ids.txt");
    struct text t = {.n = 0};
    char *at = b.at, *behind;
    while (t.n < MAX_IDS) {
        unsigned long id = strtoul(at, &behind, 10);
        if (behind == at)
            break;
        t.id[t.n++] = (uint32_t)id;
        at = behind;
    }
    free(b.at);
    return t;
}

/* Text s is the ids from the s-th on, so that texts of one pass differ in length and content; text
 * 0 is the one that counts. */
static void run(const struct weir_model *model, const struct way *way, const struct text *t,
                struct result *r)
{
    struct weir_graph *g;
    struct weir_graph_token token[MAX_IDS * MAX_TEXTS];
    struct weir_logits_hash *hash;
    const uint32_t most = way->chunk * way->n_texts;
    struct weir_graph_options o = {.n_threads = way->n_threads,
                                   .n_sequences = way->n_texts,
                                   .context = (uint32_t)t->n,
                                   .chunk = most,
                                   .n_logits = most,
                                   .kv_bf16 = way->kv_bf16,
                                   .kernels = way->kernels};
    r->err = weir_graph_new(model, &o, &g, &r->diag);
    end_if(r->err, &r->diag);
    end_if(weir_logits_hash_new(&hash), &r->diag);
    for (size_t at = 0; at < t->n; at += way->chunk) {
        size_t n = 0, asked = 0;
        for (uint32_t i = 0; i < way->chunk && at + i < t->n; i++)
            for (uint32_t s = 0; s < way->n_texts; s++)
                if (at + i + s < t->n)
                    token[n++] = (struct weir_graph_token){s, t->id[at + i + s], s == 0};
        end_if(weir_graph_run(g, token, n, &r->diag), &r->diag);
        for (size_t i = 0; i < n; i++) {
            if (!token[i].wants_logits)
                continue;
            const float *logits = weir_graph_logits(g, asked);
            memcpy(r->logits + (at + asked++) * r->n_vocab, logits, r->n_vocab * sizeof(*logits));
            weir_logits_hash_add(hash, logits, r->n_vocab);
        }
    }
    r->hash = weir_logits_hash_value(hash);
    weir_logits_hash_free(hash);
    weir_graph_free(g);
}

static struct result compute(const char *folder, const struct way *way, const struct text *t)
{
    struct tiny_bytes config = tiny_read(folder, way->config);
    struct tiny_bytes list = tiny_read(folder, "tensors.txt");
    struct tiny_bytes weights = tiny_safetensors(&list, way->dtype, way->prefix);
    struct weir_source source[2];
    struct weir_checkpoint_file file[2] = {{"config.json", &source[0]},
                                           {"model.safetensors", &source[1]}};
    struct weir_checkpoint *ck;
    struct weir_model_config c;
    struct weir_model *model;
    struct result r = {0};
    weir_source_from_memory(config.at, config.n, &source[0]);
    weir_source_from_memory(weights.at, weights.n, &source[1]);
    end_if(weir_checkpoint_from_files(file, 2, NULL, &ck, &r.diag), &r.diag);
    end_if(weir_model_config_read(ck, &c, &r.diag), &r.diag);
    end_if(weir_model_open(ck, &c, &model, &r.diag), &r.diag);
    r.n_vocab = c.vocab;
    r.logits = calloc(MAX_IDS * (size_t)c.vocab, sizeof(*r.logits));
    if (!r.logits || c.vocab == 0)
        exit(1);
    run(model, way, t, &r);
    weir_model_free(model);
    weir_checkpoint_free(ck);
    free(weights.at);
    free(list.at);
    free(config.at);
    return r;
}

static bool has_kernels(const char *name)
{
#if defined(__x86_64__)
    return strcmp(name, "avx512bf16") != 0 || __builtin_cpu_supports("avx512bf16");
#else
    return false;
#endif
}

struct error {
    double most, mean;
    size_t n_other_choices; /* positions at which another token is the likeliest */
};

static size_t greatest(const float *x, size_t n)
{
    size_t best = 0;
    for (size_t i = 1; i < n; i++)
        best = x[i] > x[best] ? i : best;
    return best;
}

static struct error compare(const struct result *r, const float *golden, size_t n_positions)
{
    struct error e = {0};
    size_t n = n_positions * r->n_vocab;
    for (size_t i = 0; i < n; i++) {
        double off = fabs((double)r->logits[i] - (double)golden[i]);
        e.most = off > e.most || isnan(off) ? off : e.most;
        e.mean += off / (double)n;
    }
    for (size_t p = 0; p < n_positions; p++)
        e.n_other_choices += greatest(r->logits + p * r->n_vocab, r->n_vocab) !=
                             greatest(golden + p * r->n_vocab, r->n_vocab);
    return e;
}

static bool same_bits(const char *folder, const struct text *t, uint64_t hash)
{
    static const struct way ways[] = {
        {"config5.json", "F32", "", NULL, 64, 1, 1, false},
        {"config.json", "BF16", "", NULL, 1, 1, 2, false},
        {"config.json", "F16", "", NULL, 7, 4, 4, false},
        {"config.json", "BF16", "", "scalar", 5, 2, 1, false},
        {"config.json", "F32", "", "scalar", 64, 1, 3, false},
        {"config.json", "BF16", "model.language_model.", NULL, 16, 3, 1, false},
        {"config.json", "F32", "language_model.model.", NULL, 3, 4, 2, false},
    };
    bool fine = true;
    for (size_t i = 0; i < sizeof(ways) / sizeof(ways[0]); i++) {
        struct result r = compute(folder, &ways[i], t);
        if (r.hash != hash) {
            printf("FAILED %s: way %zu gives other bits\n", folder, i);
            fine = false;
        }
        free(r.logits);
    }
    return fine;
}

/* What weights, keys and values and the vectors in BF16 give is further off than what F32 does, but
 * not more than 1.2 times as far as transformers is in BF16, which also rounds everything between
 * the matrices: at most and on average. */
static bool bf16_is_near(const char *folder, const struct text *t, const float *golden)
{
    static const struct way ways[] = {
        {"config.json", "BF16", "", NULL, 16, 1, 2, false},
        {"config.json", "BF16", "", NULL, 16, 1, 2, true},
        {"config.json", "BF16", "", "avx512bf16", 16, 1, 2, false},
        {"config.json", "BF16", "", "avx512bf16", 16, 1, 2, true},
    };
    struct tiny_bytes b = tiny_read(folder, "bf16.txt");
    double most = 0, mean = 0;
    bool fine = sscanf(b.at, "%lf %lf", &most, &mean) == 2;
    for (size_t i = 0; i < sizeof(ways) / sizeof(ways[0]); i++) {
        if (ways[i].kernels && !has_kernels(ways[i].kernels))
            continue;
        struct result r = compute(folder, &ways[i], t);
        struct error e = compare(&r, golden, t->n);
        printf("   BF16, %s, KV in %s: %.1e off, %.1e on average; transformers: %.1e, %.1e\n",
               ways[i].kernels ? ways[i].kernels : "exact products",
               ways[i].kv_bf16 ? "BF16" : "F32", e.most, e.mean, most, mean);
        if (!(e.most <= 1.2 * most && e.mean <= 1.2 * mean)) {
            printf("FAILED %s: too far\n", folder);
            fine = false;
        }
        free(r.logits);
    }
    free(b.at);
    return fine;
}

static bool check(const char *folder)
{
    const struct way way = {"config.json", "F32", "", NULL, 64, 1, 1, false};
    struct text t = read_ids(folder);
    struct tiny_bytes golden = tiny_read(folder, "logits.f32");
    struct result r = compute(folder, &way, &t);
    if (golden.n != t.n * r.n_vocab * sizeof(float)) {
        printf("FAILED %s: logits.f32 has %zu bytes\n", folder, golden.n);
        return false;
    }
    struct error e = compare(&r, (const float *)(const void *)golden.at, t.n);
    bool fine = e.most <= (double)tolerance && e.n_other_choices == 0;
    printf("%s %s: %.1e off, %zu other choices, %016llx\n", fine ? "ok" : "FAILED", folder, e.most,
           e.n_other_choices, (unsigned long long)r.hash);
    fine = same_bits(folder, &t, r.hash) && fine;
    fine = bf16_is_near(folder, &t, (const float *)(const void *)golden.at) && fine;
    free(r.logits);
    free(golden.at);
    return fine;
}

int main(int argc, char **argv)
{
    int status = argc > 1 ? 0 : 2;
    for (int i = 1; i < argc; i++)
        if (!check(argv[i]))
            status = 1;
    return status;
}
